"""Decontamination: texts that share a passage with an evaluation set are marked, cut or dropped, and counted.

After GPT-3 (Brown et al. 2020, appendix C): "we removed the colliding 13-gram as well as a 200 character window around
it, splitting the original document into pieces", "pieces less than 200 characters long were discarded", "documents
split into more than 10 pieces were considered contaminated and removed entirely". Here the window is around the whole
sentences that the passage stands in, and no word is cut in two.

One of its rules is not followed. GPT-3 ignored 13-grams of more than 10 training documents, mostly "common cultural
phrases, legal boilerplate". That makes the fate of a document depend on all others, so a new month would change what
earlier ones kept; and news that an evaluation set was taken from stands in many documents, which is contamination. So
nothing is ignored by how often it is found. Instead the counts say in how many documents each evaluation text was
found, and passages that a person judges common can be named beside the evaluation sets
(`corpora.evaluation_sets.COMMON_PHRASES`).

The rule: whatever is reported was compared word by word; hashes alone decide nothing.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corpora.contamination_counts import Cleaned, TaskCounts
from corpora.contamination_index import NGRAM_WORDS, ContaminationIndex, Hits, find_hits
from corpora.sentences import split_sentences
from corpora.word_places import find_words

__all__ = ["MODES", "Cleaned", "DecontaminationRules", "Passage", "TaskCounts", "clean_texts", "cut_passages",
           "find_passages"]  # fmt: skip

MODES = ("mark", "cut", "drop")
_BATCH_CHARS = 400_000  # of texts hashed at once: their arrays stay small, whether they are pages or books
_SHOWN_CHARS = 200
_MAX_SPACE_CHARS = 40  # how far white space is looked for: longer than words are
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecontaminationRules:
    """What is done to a document that shares a passage with an evaluation set. The sizes matter to `cut` alone."""

    mode: str = "mark"
    window_chars: int = 200  # cut on either side of the sentences of a passage
    min_piece_chars: int = 200  # shorter pieces between cuts are dropped too
    max_cuts: int = 10  # a document of more cuts is dropped

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"the mode is {self.mode!r}; it is {', '.join(MODES[:-1])} or {MODES[-1]}")
        if self.window_chars < 0 or self.min_piece_chars < 1 or self.max_cuts < 0:
            raise ValueError("window_chars and max_cuts cannot be negative, and min_piece_chars is at least 1")


class Passage(NamedTuple):
    """A stretch of a document whose words are those of some evaluation texts, in the same order."""

    begin: int  # code points
    end: int  # code points, exclusive
    texts: tuple[int, ...]  # numbers of the evaluation texts, ascending


def clean_texts(
    texts: Sequence[str], languages: Sequence[str], index: ContaminationIndex, rules: DecontaminationRules
) -> Iterator[Cleaned]:
    """One verdict for each text, in order."""
    for first, last in _find_batches(texts):
        batch = texts[first:last]
        hits = find_hits(index, batch)
        for number, text in enumerate(batch):
            passages = find_passages(text, index, hits[number]) if number in hits else []
            if passages:
                yield _clean(text, languages[first + number], passages, index, rules)
            else:
                yield Cleaned(text)


def _find_batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Consecutive texts, [first, last), of about a batch's characters; a longer text is a batch of its own."""
    first, n_chars = 0, 0
    for number, text in enumerate(texts):
        if number > first and n_chars + len(text) > _BATCH_CHARS:
            yield first, number
            first, n_chars = number, 0
        n_chars += len(text)
    if first < len(texts):
        yield first, len(texts)


def find_passages(text: str, index: ContaminationIndex, hits: Hits) -> list[Passage]:
    """The passages that are really there, in order of where they begin; overlapping ones are not joined.

    `hits` says what to look for: entries of the index that the text has the hash of.
    """
    wanted = _group(index, hits)
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for run in sorted(wanted):
        by_first.setdefault(run[0], []).append(run)
    placed = find_words(text)
    passages = []
    for place, word in enumerate(placed.words):
        for run in by_first.get(word, ()):
            if tuple(placed.words[place : place + len(run)]) == run:
                last = place + len(run) - 1
                passages.append(Passage(placed.begins[place], placed.ends[last], tuple(sorted(wanted[run]))))
    return passages


def cut_passages(text: str, passages: Sequence[Passage], rules: DecontaminationRules, *, language: str = "en"
                 ) -> tuple[str, list[tuple[int, ...]]]:  # fmt: skip
    """The pieces that are left of a text, a line end between two, and for each cut the evaluation texts behind it."""
    spans = _find_cuts(text, passages, rules, language)
    pieces, begin = [], 0
    for cut_begin, cut_end, _ in [*spans, (len(text), len(text), set())]:
        piece = text[begin:cut_begin].strip()
        pieces += [piece] if len(piece) >= rules.min_piece_chars else []
        begin = cut_end
    return "\n".join(pieces), [tuple(sorted(owners)) for _, _, owners in spans]


def _clean(
    text: str, language: str, passages: list[Passage], index: ContaminationIndex, rules: DecontaminationRules
) -> Cleaned:
    found = tuple(sorted({number for passage in passages for number in passage.texts}))
    detail = _describe(text, passages, index)
    if rules.mode == "mark":
        return Cleaned(text, found, detail=detail)
    if rules.mode == "drop":
        return Cleaned(None, found, detail=detail)
    cuts: list[tuple[int, ...]] = []
    while passages:  # once more where the ends of two pieces happen to make a passage
        text, more = cut_passages(text, passages, rules, language=language or "en")
        cuts += more
        hits = find_hits(index, [text])
        passages = find_passages(text, index, hits[0]) if hits else []
    if len(cuts) > rules.max_cuts or not text:
        what = f"{len(cuts)} cuts" if text else "nothing left after the cut"
        return Cleaned(None, found, tuple(cuts), f"{what}; {detail}")
    return Cleaned(text, found, tuple(cuts), detail)


def _group(index: ContaminationIndex, hits: Hits) -> dict[tuple[str, ...], set[int]]:
    """The runs of words that are looked for, and the evaluation texts that have each."""
    wanted: dict[tuple[str, ...], set[int]] = {}
    for runs, entries in ((index.whole, hits.whole), (index.short, hits.short)):
        for entry in entries.tolist():
            number, place = int(runs.texts[entry]), int(runs.places[entry])
            # Of a short text that is all of it: it has fewer words than a run.
            wanted.setdefault(index.text(number).words[place : place + NGRAM_WORDS], set()).add(number)
    return wanted


def _find_cuts(
    text: str, passages: Sequence[Passage], rules: DecontaminationRules, language: str
) -> list[tuple[int, int, set[int]]]:
    """Disjoint stretches to cut, in order: the sentences of a passage, the window, and the words at its ends whole."""
    ends, place = [], 0
    for sentence in split_sentences(text, language=language):
        place += len(sentence)
        ends.append(place)
    spans: list[tuple[int, int, set[int]]] = []
    for passage in passages:
        first, last = bisect_right(ends, passage.begin), bisect_left(ends, passage.end)
        begin = max((ends[first - 1] if first else 0) - rules.window_chars, 0)
        end = min(ends[last] + rules.window_chars, len(text))
        begin, end = _move_out(text, begin, -1), _move_out(text, end, 1)
        if spans and begin <= spans[-1][1]:
            begin, before, owners = spans.pop()
            spans.append((begin, max(before, end), owners | set(passage.texts)))
        else:
            spans.append((begin, end, set(passage.texts)))
    return spans


def _move_out(text: str, place: int, step: int) -> int:
    """The nearest white space at or beyond `place`, in the direction of `step`.

    Where there is none near by, as in scripts without spaces, the nearest place that is not inside a word.
    """
    for near in range(place, place + step * _MAX_SPACE_CHARS, step):
        if not 0 < near < len(text) or text[near - 1].isspace() or text[near].isspace():
            return min(max(near, 0), len(text))
    while 0 < place < len(text) and _in_word(text[place - 1]) and _in_word(text[place]):
        place += step
    return place


def _in_word(char: str) -> bool:
    """Letters, digits and what combines with them; apostrophes too, so that "don't" is not cut either."""
    return char.isalnum() or char in "_'’\u200c\u200d" or unicodedata.category(char)[0] == "M"


def _describe(text: str, passages: Sequence[Passage], index: ContaminationIndex) -> str:
    first = passages[0]
    end = first.end
    for passage in passages[1:]:  # the runs of one long passage overlap
        if passage.begin < end and not set(passage.texts).isdisjoint(first.texts):
            end = passage.end
    shown = _SPACES.sub(" ", text[first.begin : end])
    shown = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "…"
    names = sorted({" ".join(index.names[index.labels[number]]) for number in first.texts})
    others = {number for passage in passages for number in passage.texts} - set(first.texts)
    more = f", and passages of {len(others)} other texts" if others else ""
    return f"{', '.join(names)}: “{shown}”{more}"
