"""Planted copies: altered words of some documents, so that a run can count how many near-duplicates it finds.

A canary is the hashed words of a document with some replaced, as many as bring its similarity to just above the
threshold, where finding is hardest. It is looked for like a document and removed before anything is decided.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpora.near_duplicates import count_common
from corpora.shingles import HashedRuns, hash_ngrams, mix64, shingle_sets

__all__ = ["Canaries", "plant_canaries"]

_ONE_IN = 128  # documents have a canary
_SPREAD = 0.1  # of the similarity above the threshold
_MIN_NGRAMS = 60  # with fewer one word more or less moves the similarity too far
_OTHER_WORD = np.uint64(0x8EBC6AF09C88C6E3)


class Canaries(NamedTuple):
    """Altered copies of some texts of a batch."""

    texts: NDArray[np.int64]  # which text each is a copy of
    words: HashedRuns
    similarities: NDArray[np.float64]  # Jaccard to that text


def plant_canaries(words: HashedRuns, ids: NDArray[np.uint64], *, n: int, threshold: Fraction) -> Canaries:
    """Canaries of those texts of a batch that a hash of their id chooses."""
    draws = mix64(ids)
    n_words = np.diff(words.starts)
    chosen = np.flatnonzero((draws % np.uint64(_ONE_IN) == 0) & (n_words >= _MIN_NGRAMS + n - 1))
    texts, copies, found = [], [], []
    for text in chosen.tolist():
        original = words.of(text)
        fraction = float(draws[text] >> np.uint64(40)) / float(1 << 24)
        copy = _alter(original, n=n, similarity=float(threshold) + fraction * _SPREAD)
        pair = HashedRuns(np.concatenate([original, copy]), np.array([0, original.size, 2 * original.size]))
        one, other = shingle_sets(hash_ngrams(pair, n))
        common = count_common(one, other)
        similarity = Fraction(common, one.size + other.size - common)
        if similarity > threshold:
            texts.append(text)
            copies.append(copy)
            found.append(float(similarity))
    starts = np.zeros(len(copies) + 1, np.int64)
    np.cumsum([copy.size for copy in copies], out=starts[1:])
    flat = np.concatenate([np.empty(0, np.uint64), *copies])
    return Canaries(np.array(texts, np.int64), HashedRuns(flat, starts), np.array(found, np.float64))


def _alter(original: NDArray[np.uint64], *, n: int, similarity: float) -> NDArray[np.uint64]:
    """Words replaced at even distances: each changes n of N n-grams, so k of them leave J = (N - nk) / (N + nk)."""
    n_ngrams = original.size - n + 1
    n_replaced = math.floor(n_ngrams * (1 - similarity) / (1 + similarity) / n)
    copy = original.copy()
    places = (np.arange(n_replaced) + 1) * original.size // (n_replaced + 1)
    copy[places] = mix64(copy[places] ^ _OTHER_WORD)
    return copy
