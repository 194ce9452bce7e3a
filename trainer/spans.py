"""Spans of a text: where each token stands in it, windows over long ones, and the best spans by their scores.

In: a text and an encoder, or the scores of a window's tokens. Out: ids with the characters that they cover, windows
as runs of tokens, spans as pairs of tokens. The rule: characters are those of the text as it was given. Byte-level BPE
may split a character over several tokens, each of which then covers all of it, so every span of tokens is a substring.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.encoding import Encoder, Ids

Places = npt.NDArray[np.int32]
Floats = npt.NDArray[np.floating]

_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Tokens(NamedTuple):
    """A text's tokens and the characters of each; those of two tokens may overlap in one, never go backwards."""

    ids: Ids  # uint16 [n_tokens]
    places: Places  # int32 [n_tokens, 2], its first character in the text and the one after its last


class Span(NamedTuple):
    """A run of tokens."""

    first: int
    last: int  # itself of the run


class ScoredSpan(NamedTuple):
    """A run of tokens, and how good it is."""

    score: float
    span: Span


def encode_with_places(text: str, encoder: Encoder) -> Tokens:
    """Ids of the text as one sentence, blanks at its ends left out; a token has the blank before its word, as in BPE.

    Surrogates, which UTF-8 cannot hold, are read as U+FFFD one for one, so that characters keep their numbers.
    """
    body = text.strip()
    data = body.translate(_SURROGATES).encode()
    ids = encoder.encode([data.decode()]).ids
    letters = encoder.vocabulary.tokens  # spelled with one letter per byte
    ends = np.cumsum([len(letters[number]) for number in ids.tolist()], dtype=np.int64)
    begins_character = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    character = np.cumsum(begins_character) + (len(text) - len(text.lstrip())) - 1
    places = np.empty((ids.size, 2), np.int32)
    if ids.size:
        assert ends[-1] == len(data)
        places[0, 0] = character[0]
        places[1:, 0] = character[ends[:-1]]
        places[:, 1] = character[ends - 1] + 1
    return Tokens(ids, places)


def find_span(places: Places, start: int, end: int) -> Span:
    """The fewest tokens that cover the characters [start, end), which hold no blank at their ends and are not none.

    >>> find_span(np.array([[0, 3], [3, 6], [6, 9]], np.int32), 4, 7)
    Span(first=1, last=2)
    """
    first = int(np.searchsorted(places[:, 1], start, side="right"))
    last = int(np.searchsorted(places[:, 0], end, side="left")) - 1
    return Span(first, last)


def cut_windows(n_tokens: int, *, room: int, stride: int) -> list[tuple[int, int]]:
    """Runs [first, end) of at most `room` tokens, each `stride` after the one before, the last ending at the end.

    As BERT slides them; where `room` is small the stride is at most half of it, so that neighbours overlap.

    >>> cut_windows(10, room=6, stride=3)
    [(0, 6), (3, 9), (6, 10)]
    """
    stride = max(1, min(stride, room // 2))
    windows, first = [], 0
    while first + room < n_tokens:
        windows.append((first, first + room))
        first += stride
    return [*windows, (first, n_tokens)]


def find_owners(windows: list[tuple[int, int]], n_tokens: int) -> npt.NDArray[np.int64]:
    """For each token the window that shows most of what is around it [n_tokens], the first of equals.

    BERT's measure: the shorter of the two sides, and a hundredth of the window's length.
    """
    best = np.full(n_tokens, -1.0)
    owners = np.zeros(n_tokens, np.int64)
    for number, (first, end) in enumerate(windows):
        left = np.arange(end - first)
        context = np.minimum(left, left[::-1]) + 0.01 * (end - first)
        better = context > best[first:end]
        best[first:end][better] = context[better]
        owners[first:end][better] = number
    return owners


def best_spans(
    starts: Floats, ends: Floats, may_start: npt.NDArray[np.bool_], *, max_tokens: int, n_best: int
) -> list[ScoredSpan]:
    """The best of all spans of 1 to `max_tokens` tokens, best first; of equals the earlier, then the shorter.

    A span's score is that of its first token as a start and of its last as an end, added; both [n_tokens], as is
    `may_start`, the tokens at which a span may begin.
    """
    padded = np.concatenate([ends, np.full(max_tokens - 1, -np.inf, ends.dtype)])
    totals = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, max_tokens)
    totals[~may_start] = -np.inf
    flat = totals.reshape(-1)
    # A window has some 15,000 spans: those that may be among the best are found first, and only they are sorted.
    least = np.partition(flat, -n_best)[-n_best] if flat.size > n_best else -np.inf
    places = np.flatnonzero((flat >= least) & np.isfinite(flat))
    found = places[np.argsort(-flat[places], kind="stable")][:n_best].tolist()
    return [
        ScoredSpan(float(flat[place]), Span(place // max_tokens, place // max_tokens + place % max_tokens))
        for place in found
    ]
