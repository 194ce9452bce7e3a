"""Sentences into pairs: SEGMENT-PAIR and SENTENCE-PAIR of the paper's section 4.2, by the rules of BERT's own data.

In: the sentences of a window, in the order of its documents. Out: items, two segments of them per block, and whether
the second follows the first. The rule: every choice is a function of (seed, epoch, window) and of the sentence where a
pair starts; a second segment that does not follow comes from another document.

A pair is `<s> A </s> </s> B </s>`, with `</s>` between the sentences of a segment as everywhere. BERT's rules
(create_pretraining_data.py of its public code): sentences of a document are taken until they fill a block; A is a
uniform number of the first of them; B is the rest, or with p = 0.5 a run of sentences from a random place of a random
other document, and then the rest is put back. What is too long is cut token by token from the longer segment, at its
front or its back with p = 0.5. Short blocks are not injected (the paper's section 3.1). Of SENTENCE-PAIR no code was
published: here it is the same with one sentence in each segment.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.packing import Indices, Items, Spans, concatenate_ranges, exclusive_sum, stream_starts, walk_spans
from trainer.randomness import Purpose, Words, draw_words

N_SEPARATORS = 4  # `<s>`, two `</s>` after A, one after B
_START_WORDS = 4  # words drawn for each sentence where a pair may start
_CUT_WORDS = 8  # bits for each token that may be cut from one segment
_UNIT = 2.0**-32


class PackedPairs(NamedTuple):
    """Pairs in the order of packing."""

    items: Items
    spans: Spans  # one element per pair
    second: Indices  # column of a block where B starts
    follows: npt.NDArray[np.bool_]
    n_dropped: int  # tokens that no pair took: cut, or a document's only sentence where there is no other document


class _Segments(NamedTuple):
    """Runs of sentences [first, end), one element per pair, and tokens to cut at their two ends."""

    first: Indices
    end: Indices


def pack_pairs(items: Items, *, block_tokens: int, single: bool, seed: int, epoch: int, window: int) -> PackedPairs:
    """Draw pairs from sentences (no separators among them), each at most `block_tokens` - 4 tokens with its `</s>`.

    `single` makes SENTENCE-PAIR, else SEGMENT-PAIR.
    """
    room = block_tokens - N_SEPARATORS
    items = Items(*(column[items.n_tokens > 0] for column in items))
    words = _draw(items.size.size * _START_WORDS, epoch, window, 0, seed).reshape(-1, _START_WORDS)
    starts = stream_starts(items.size)
    first, middle, end, follows, n_lonely = _walk_pairs(items, starts, words, room=room, single=single)
    drawn = words[first]
    other = _draw_others(items, starts, first, drawn, room - (starts[middle] - starts[first]), single=single)
    a = _Segments(first, middle)
    b = _Segments(np.where(follows, middle, other.first), np.where(follows, end, other.end))
    lengths = [starts[s.end] - starts[s.first] - _has_end(items, s.end - 1) for s in (a, b)]
    cuts = _share_cut(lengths[0], lengths[1], room=room)
    fronts = _draw_fronts(cuts, epoch, window, seed)
    return _materialise(items, (a, b), cuts, fronts, lengths, follows, n_lonely)


def _draw(n: int, epoch: int, window: int, start: int, seed: int) -> Words:
    return draw_words(n, seed=seed, purpose=Purpose.PAIRS, epoch=epoch, window=window, start=start)


def _walk_pairs(
    items: Items, starts: Indices, words: Words, *, room: int, single: bool
) -> tuple[Indices, Indices, Indices, npt.NDArray[np.bool_], int]:
    """Where pairs start, where their first segment and their sentences end, and whether B follows."""
    here = np.arange(items.size.size)
    border = _document_ends(items.document)
    if single:
        filled = np.minimum(here + 2, border)
    else:
        # Sentences until they fill a block, the one that fills it included.
        filled = np.minimum(np.maximum(np.searchsorted(starts, starts[:-1] + room), here + 1), border)
    n = filled - here
    luck = (words[:, 0] >> np.uint64(32)).astype(np.float64) * _UNIT
    middle = here + 1 + np.floor(luck * (n - 1)).astype(np.int64)
    is_random = (words[:, 0] & np.uint64(1)).astype(bool) | (n == 1)
    has_other = bool(here.size) and border[0] < here.size
    if not has_other:
        is_random[:] = False
    jumps = np.where(is_random, middle, filled)
    first = walk_spans(jumps, skip=None).first
    lonely = ~is_random[first] & (n[first] == 1)  # no other document to pair it with
    kept = first[~lonely]
    return kept, middle[kept], filled[kept], ~is_random[kept], int(items.n_tokens[first[lonely]].sum())


def _draw_others(
    items: Items, starts: Indices, first: Indices, words: Words, room: Indices, *, single: bool
) -> _Segments:
    """For each pair a run of sentences from a random place of a random other document, up to its room."""
    if not first.size:
        return _Segments(first, first)
    is_first = np.append(True, items.document[1:] != items.document[:-1])
    document_starts = np.append(np.flatnonzero(is_first), items.document.size)
    n_documents = document_starts.size - 1
    own = np.cumsum(is_first)[first] - 1
    if n_documents == 1:
        return _Segments(first, first)  # nobody asks for them
    number = _scale(words[:, 1], n_documents - 1)
    number += number >= own
    start = document_starts[number] + _scale(words[:, 2], document_starts[number + 1] - document_starts[number])
    if single:
        return _Segments(start, start + 1)
    end = np.maximum(np.searchsorted(starts, starts[start] + room), start + 1)
    return _Segments(start, np.minimum(end, document_starts[number + 1]))


def _scale(words: Words, n: Indices | int) -> Indices:
    """Uniform numbers below n, which is below 2^32."""
    scaled: Indices = ((words >> np.uint64(32)) * np.asarray(n, dtype=np.uint64) >> np.uint64(32)).astype(np.int64)
    return scaled


def _document_ends(document: Indices) -> Indices:
    """For each sentence where its document ends."""
    ends = np.append(np.flatnonzero(document[1:] != document[:-1]) + 1, document.size)
    return np.repeat(ends, np.diff(np.append(0, ends))) if document.size else np.zeros(0, np.int64)


def _has_end(items: Items, number: Indices) -> Indices:
    """1 where an item has its `</s>`; pieces of a sentence that was too long have none but the last."""
    ended: Indices = items.size[number] - items.n_tokens[number]
    return ended


def _share_cut(a: Indices, b: Indices, *, room: int) -> tuple[Indices, Indices]:
    """Tokens to cut from each: one by one from the longer, from B where they are equal."""
    excess = np.maximum(a + b - room, 0)
    alone = np.minimum(excess, np.abs(a - b))
    rest = excess - alone
    return np.where(a > b, alone, 0) + rest // 2, np.where(a > b, 0, alone) + rest - rest // 2


def _draw_fronts(cuts: tuple[Indices, Indices], epoch: int, window: int, seed: int) -> list[Indices]:
    """How many of the tokens cut from each segment are cut at its front: a fair coin for each."""
    fronts = []
    for segment, cut in enumerate(cuts):
        rows = np.flatnonzero(cut)
        front = np.zeros_like(cut)
        start = (1 + segment) << 40  # far from the words of the starts
        front[rows] = _count_bits(
            _draw(rows.size * _CUT_WORDS, epoch, window, start, seed).reshape(-1, _CUT_WORDS), cut[rows]
        )
        fronts.append(front)
    return fronts


def _count_bits(words: Words, n: Indices) -> Indices:
    """How many of the first `n` bits of each row are set: tokens cut at the front."""
    bits = np.clip(n[:, None] - 64 * np.arange(words.shape[1]), 0, 64).astype(np.uint64)
    low = np.where(bits < 64, (np.uint64(1) << np.minimum(bits, 63)) - np.uint64(1), ~np.uint64(0))
    counted: Indices = np.bitwise_count(words & low).sum(axis=1, dtype=np.int64)
    return counted


def _materialise(
    items: Items,
    segments: tuple[_Segments, _Segments],
    cuts: tuple[Indices, Indices],
    fronts: list[Indices],
    lengths: list[Indices],
    follows: npt.NDArray[np.bool_],
    n_lonely: int,
) -> PackedPairs:
    """The items of A, B, A, B, ..., cut, with the `</s>` that ends each segment."""
    first, end, cut, front, length = (
        np.stack(columns, axis=1).reshape(-1)
        for columns in (
            [s.first for s in segments],
            [s.end for s in segments],
            cuts,
            fronts,
            lengths,
        )
    )
    counts = end - first
    number = concatenate_ranges(first, counts)
    segment = np.repeat(np.arange(counts.size), counts)
    size, n_tokens = items.size[number], items.n_tokens[number]
    in_stream = stream_starts(size)
    start = in_stream[:-1] - in_stream[exclusive_sum(counts)[: counts.size]][segment]
    # What is left of a segment's tokens is [low, high).
    low, high = front[segment], (length - (cut - front))[segment]
    skipped = np.maximum(low - start, 0)
    left = np.maximum(np.minimum(start + n_tokens, high) - np.maximum(start, low), 0)
    # `</s>` stays between two sentences of which something is left.
    has_end = (size > n_tokens) & (left > 0) & (start + n_tokens + 1 < high)
    kept = left > 0
    segment, new_size = segment[kept], (left + has_end)[kept]
    last = np.append(segment[1:] != segment[:-1], True)[: segment.size]
    new_size[last] = left[kept][last] + np.where(segment[last] % 2 == 0, 2, 1)
    new = Items(new_size, left[kept], (items.source[number] + skipped)[kept], items.document[number][kept])
    ends = np.flatnonzero(last) + 1
    spans = Spans(np.append(0, ends[1:-1:2]) if ends.size else ends, ends[1::2])
    total = stream_starts(new.size)
    return PackedPairs(new, spans, 1 + total[ends[::2]] - total[spans.first], follows, n_lonely + int(cut.sum()))
