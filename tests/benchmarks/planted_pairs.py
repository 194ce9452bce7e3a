"""Documents to measure near-deduplication on: real sentences in the background, and planted pairs of known similarity.

Sentences come from the shared books; a document is some of them, drawn at random, so that documents share sentences,
names and phrases as real ones do. Some documents get a copy in which words are replaced, inserted or removed, at places
and in numbers that spread the Jaccard similarity from .2 to 1. All of it is a function of the seed.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

_SENTENCE = re.compile(r"[^.!?]{20,400}[.!?]")
_COPIED = 0.1  # share of the documents that are copies of another


class Planted(NamedTuple):
    """A document, and of which earlier one it is an altered copy; -1 where of none."""

    document_id: bytes
    text: str
    fetched_at: str
    copy_of: int


def load_sentences(data: Path) -> list[str]:
    """Sentences of the shared books, each once."""
    texts = [gzip.decompress(path.read_bytes()).decode("utf-8", "replace") for path in _books(data)]
    found = dict.fromkeys(" ".join(one.split()) for text in texts for one in _SENTENCE.findall(text))
    return list(found)


def make_documents(sentences: list[str], n_documents: int, *, seed: int, mean_sentences: int = 28) -> Iterator[Planted]:
    """So many documents, copies after their originals."""
    rng = np.random.default_rng(seed)
    words = [word for one in sentences[:2_000] for word in one.split()]
    recent: list[tuple[int, str]] = []
    for number in range(n_documents):
        copy_of = -1
        if recent and rng.random() < _COPIED:
            copy_of, original = recent[int(rng.integers(len(recent)))]
            text = alter(original, words, rng)
        else:
            n = 4 + int(rng.poisson(mean_sentences - 4))
            text = " ".join(sentences[k] for k in rng.integers(len(sentences), size=n).tolist())
        if copy_of < 0 and len(recent) < 20_000:
            recent.append((number, text))
        moment = int(rng.integers(30 * 86_400))
        fetched = (
            f"2016-09-{1 + moment // 86_400:02d}T{moment // 3_600 % 24:02d}:{moment // 60 % 60:02d}:{moment % 60:02d}Z"
        )
        yield Planted(hashlib.blake2b(b"%d/%d" % (seed, number), digest_size=16).digest(), text, fetched, copy_of)


def alter(text: str, words: list[str], rng: np.random.Generator) -> str:
    """A copy with words replaced, removed and inserted, at a rate that spreads the similarity from .2 to 1."""
    similarity = 0.2 + 0.8 * rng.random()
    rate = (1 - similarity) / (1 + similarity) / 5 * 1.1
    altered: list[str] = []
    for word, draw, kind in zip(
        old := text.split(), rng.random(len(old)).tolist(), rng.integers(3, size=len(old)), strict=True
    ):
        if draw >= rate:
            altered.append(word)
        elif kind == 0:
            altered.append(words[int(rng.integers(len(words)))])
        elif kind == 1:
            altered += [word, words[int(rng.integers(len(words)))]]
    return " ".join(altered)


def _books(data: Path) -> list[Path]:
    return sorted((data / "books" / "gutenberg").glob("*.txt.gz"))


__all__ = ["Planted", "alter", "load_sentences", "make_documents"]
