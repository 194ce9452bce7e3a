"""An index of evaluation texts: which of them share a run of 13 words with a document.

In go evaluation texts, out come sorted arrays of n-gram hashes that say which text and where in it, small enough for
every worker to hold (GLUE, SQuAD and RACE together: some 100 MB), and safe to load from a file.

Which runs count is GPT-3's rule (Brown et al. 2020, section 4 and appendix C): a text is found by any 13 of its words
in a row; one of fewer words only by all of them, and never one of fewer than 8 ("due to spurious collisions"). A word
is that of `corpora.shingles`: letters, digits and underscores, NFKC, case folded; so case, punctuation, line ends and
paragraphs do not count, and "don't" is two words.

The rule: a hash is a hint. Whatever it points at is compared word by word (`corpora.decontamination`), so that no
collision of hashes ever marks, cuts or drops anything.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpora.evaluation_sets import EvaluationText
from corpora.shingles import HashedRuns, describe_hashing, hash_ngrams, hash_words
from corpora.word_places import list_words

__all__ = ["MIN_WORDS", "NGRAM_WORDS", "ContaminationIndex", "IndexedText", "build_index", "find_hits", "load_index",
           "save_index"]  # fmt: skip

NGRAM_WORDS = 13
MIN_WORDS = 8  # texts of fewer words are not looked for
INDEX_VERSION = 1

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]


class IndexedText(NamedTuple):
    """One evaluation text: distinct in the words of its task."""

    task: str
    split: str
    words: tuple[str, ...]


class Runs(NamedTuple):
    """Hashes of runs of words, sorted; the same hash may stand for several texts."""

    hashes: U64  # [runs], ascending
    texts: U32  # [runs], which text
    places: U32  # [runs], word of the text that the run begins with


class ContaminationIndex(NamedTuple):
    """Everything that is asked of evaluation texts. Texts are numbered in order of task, split and words."""

    whole: Runs  # of NGRAM_WORDS words, from texts of at least so many
    short: Runs  # of MIN_WORDS words, the first of a text that is too short for `whole`
    bits: NDArray[np.uint8]  # a Bloom filter of the hashes of the MIN_WORDS that every run begins with
    letters: NDArray[np.uint8]  # UTF-8 of all texts' words, a space between two words
    borders: NDArray[np.int64]  # [texts + 1], bytes
    labels: NDArray[np.uint8]  # [texts], places in `names`
    names: tuple[tuple[str, str], ...]  # task and split
    meta: dict[str, Any]  # what the builder wants to keep with it; plain JSON

    def text(self, number: int) -> IndexedText:
        words = self.letters[self.borders[number] : self.borders[number + 1]].tobytes().decode().split(" ")
        task, split = self.names[self.labels[number]]
        return IndexedText(task, split, tuple(words))

    @property
    def n_texts(self) -> int:
        return int(self.labels.size)


class Hits(NamedTuple):
    """Entries of the index that a document's words have the hash of."""

    whole: NDArray[np.int64]  # places in index.whole
    short: NDArray[np.int64]  # places in index.short


def build_index(
    texts: Iterable[EvaluationText], *, common_phrases: Sequence[str] = (), meta: dict[str, Any] | None = None
) -> ContaminationIndex:
    """The index of some texts. Runs of words that lie within a common phrase are left out of it.

    A text that stands in two splits of a task is counted once, in the first.
    """
    distinct: dict[tuple[str, str], tuple[str, str]] = {}  # task and words -> split and the text as published
    for task, split, text in sorted(texts):
        words = list_words(text)
        if words:
            distinct.setdefault((task, " ".join(words)), (split, text))
    rows = sorted((task, split, words, text) for (task, words), (split, text) in distinct.items())
    names = tuple(sorted({row[:2] for row in rows}))
    phrases = [f" {' '.join(list_words(phrase))} " for phrase in common_phrases]
    hashed = hash_words([text for _, _, _, text in rows])
    n_words = np.array([words.count(" ") + 1 for _, _, words, _ in rows], np.int64)
    assert (np.diff(hashed.starts) == n_words).all(), "list_words and hash_words see different words"
    letters = [words.encode() for _, _, words, _ in rows]
    whole, short = _whole_runs(hashed, phrases), _short_runs(hashed, [row[2] for row in rows], phrases)
    grams = hash_ngrams(hashed, MIN_WORDS)
    begins = [grams.hashes[grams.starts[runs.texts] + runs.places] for runs in (whole, short)]
    return ContaminationIndex(
        whole,
        short,
        _make_bits(np.concatenate(begins)),
        np.frombuffer(b"".join(letters), np.uint8),
        np.cumsum([0, *map(len, letters)], dtype=np.int64),
        np.array([names.index(row[:2]) for row in rows], np.uint8),
        names,
        dict(meta or {}),
    )


def find_hits(index: ContaminationIndex, texts: Sequence[str]) -> dict[int, Hits]:
    """Which texts have words that the index knows, by their number in `texts`; those that have none are left out.

    All runs of MIN_WORDS are hashed, and only those that some entry begins with, as far as `bits` can tell, are looked
    up: so most texts cost their words' hashes and little more.
    """
    words = hash_words(texts)
    grams = hash_ngrams(words, MIN_WORDS)
    maybe = _find_likely(index.bits, grams.hashes)
    owners = np.searchsorted(grams.starts, maybe, "right") - 1
    short = _look_up(index.short, grams.hashes[maybe], owners)
    begins = maybe - grams.starts[owners] + words.starts[owners]
    fits = begins + NGRAM_WORDS <= words.starts[owners + 1]
    whole = _look_up(index.whole, _hash_runs_at(words, begins[fits]), owners[fits])
    none = np.empty(0, np.int64)
    return {number: Hits(whole.get(number, none), short.get(number, none)) for number in sorted({*whole, *short})}


def save_index(index: ContaminationIndex, stream: BinaryIO) -> None:
    """Writes the index as an .npz of plain arrays; the same index gives the same bytes."""
    head = {"version": INDEX_VERSION, "hashing": describe_hashing(), "names": index.names, "meta": index.meta}
    arrays = {f"{kind}_{field}": getattr(runs, field) for kind, runs in (("whole", index.whole), ("short", index.short))
              for field in ("hashes", "texts", "places")}  # fmt: skip
    np.savez(
        stream,
        head=np.frombuffer(json.dumps(head, sort_keys=True).encode(), np.uint8),
        bits=index.bits,
        letters=index.letters,
        borders=index.borders,
        labels=index.labels,
        **arrays,
    )


def load_index(data: bytes, *, name: str = "the index") -> ContaminationIndex:
    """An index as `save_index` wrote it; nothing in the file can be executed. ValueError where it is another thing."""
    remedy = "remove it and start the run again"
    if not data.startswith(b"PK"):
        raise ValueError(f"{name}: not an index of evaluation texts; {remedy}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            found = {"version": head["version"], "hashing": head["hashing"]}
            if found != {"version": INDEX_VERSION, "hashing": describe_hashing()}:
                raise ValueError(f"{name}: made by another version of this program or of Python ({found}); {remedy}")
            whole, short = (_runs(*(arrays[f"{kind}_{field}"] for field in ("hashes", "texts", "places")))
                            for kind in ("whole", "short"))  # fmt: skip
            names = tuple((task, split) for task, split in head["names"])
            bits, letters, borders, labels = (arrays[name] for name in ("bits", "letters", "borders", "labels"))
            return ContaminationIndex(whole, short, bits, letters, borders, labels, names, head["meta"])
    except (KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name}: not an index of evaluation texts: {error}; {remedy}") from error


def _whole_runs(words: HashedRuns, phrases: Sequence[str]) -> Runs:
    grams = hash_ngrams(words, NGRAM_WORDS)
    counts = np.diff(grams.starts)
    texts = np.repeat(np.arange(counts.size), counts)
    places = np.arange(grams.hashes.size) - np.repeat(grams.starts[:-1], counts)
    allowed = hash_ngrams(hash_words(phrases), NGRAM_WORDS).hashes
    kept = ~np.isin(grams.hashes, allowed)
    # A text may repeat itself: one place is enough.
    order = np.lexsort((places[kept], texts[kept], grams.hashes[kept]))
    hashes, texts, places = grams.hashes[kept][order], texts[kept][order], places[kept][order]
    again = np.zeros(hashes.size, np.bool_)
    again[1:] = (hashes[1:] == hashes[:-1]) & (texts[1:] == texts[:-1])
    return _runs(hashes[~again], texts[~again], places[~again])


def _short_runs(hashed: HashedRuns, texts: Sequence[str], phrases: Sequence[str]) -> Runs:
    n_words = np.diff(hashed.starts)
    short = np.flatnonzero((n_words >= MIN_WORDS) & (n_words < NGRAM_WORDS))
    looked_for = [one for one in short.tolist() if not any(f" {texts[one]} " in phrase for phrase in phrases)]
    short = np.array(looked_for, np.int64)
    grams = hash_ngrams(hashed, MIN_WORDS)
    hashes = grams.hashes[grams.starts[short]] if short.size else np.empty(0, np.uint64)
    order = np.lexsort((short, hashes))
    return _runs(hashes[order], short[order], np.zeros(short.size))


def _runs(hashes: U64, texts: NDArray[Any], places: NDArray[Any]) -> Runs:
    return Runs(hashes, texts.astype(np.uint32), places.astype(np.uint32))


def _make_bits(hashes: U64) -> NDArray[np.uint8]:
    """A Bloom filter of two bits a hash: it says "not here" to all but 1 in 250 others, in two looks or mostly one.

    A binary search takes twenty looks, each into another part of the memory.
    """
    log_bits = max(16, (32 * hashes.size - 1).bit_length())
    bits = np.zeros(1 << (log_bits - 3), np.uint8)
    for place in _bit_places(hashes, log_bits):
        np.bitwise_or.at(bits, place >> 3, np.uint8(1) << (place & 7).astype(np.uint8))
    return bits


def _bit_places(hashes: U64, log_bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two places from 0 to below 2^log_bits, from the first bits of each hash and from those behind them."""
    first = hashes >> np.uint64(64 - log_bits)
    second = (hashes << np.uint64(log_bits)) >> np.uint64(64 - log_bits)
    return first.astype(np.int64), second.astype(np.int64)


def _find_likely(bits: NDArray[np.uint8], hashes: U64) -> NDArray[np.int64]:
    """Places of the hashes that may be among those that the filter was made of."""
    log_bits = bits.size.bit_length() + 2
    first = (hashes >> np.uint64(64 - log_bits)).astype(np.int64)
    likely = np.flatnonzero((bits[first >> 3] >> (first & 7).astype(np.uint8)) & np.uint8(1))
    _, second = _bit_places(hashes[likely], log_bits)
    found: NDArray[np.int64] = likely[((bits[second >> 3] >> (second & 7).astype(np.uint8)) & np.uint8(1)) == 1]
    return found


def _hash_runs_at(words: HashedRuns, begins: NDArray[np.int64]) -> U64:
    """The hashes of the runs of NGRAM_WORDS that begin at these words."""
    rows = words.hashes[begins[:, None] + np.arange(NGRAM_WORDS)]
    return hash_ngrams(HashedRuns(rows.ravel(), np.arange(begins.size + 1) * NGRAM_WORDS), NGRAM_WORDS).hashes


def _look_up(runs: Runs, hashes: U64, owners: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Entries of `runs` with these hashes, by the text that each hash is of, every entry once."""
    if not hashes.size:
        return {}
    first = np.searchsorted(runs.hashes, hashes, "left")
    last = np.searchsorted(runs.hashes, hashes, "right")
    found = np.flatnonzero(last > first)
    entries: dict[int, list[NDArray[np.int64]]] = {}
    for owner, begin, end in zip(owners[found].tolist(), first[found].tolist(), last[found].tolist(), strict=True):
        entries.setdefault(owner, []).append(np.arange(begin, end))
    return {owner: np.unique(np.concatenate(ranges)) for owner, ranges in entries.items()}
