"""Sketches of sets: a fixed number of values such that two sets agree in each with probability J.

Fast similarity sketching (Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching", FOCS 2017): every element goes
to one random bin a round, and later rounds fill only the bins that are still empty. One or two rounds are enough for a
long text, where MinHash takes a pass for each value; it is never worse, also where a set is smaller than its sketch.
What is computed here lies in the state of runs: no value may change under one `SKETCH_VERSION`.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from corpora.shingles import HashedRuns, mix64, splitmix64

__all__ = ["SKETCH_VERSION", "make_keys", "make_sketches"]

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]

SKETCH_VERSION = 1
_EMPTY = np.uint32(0xFFFFFFFF)  # no bin holds it: the largest hash is made one smaller
_FOLD = np.uint64(0xA0761D6478BD642F)


def make_sketches(grams: HashedRuns, n_values: int) -> U32:
    """uint32 [texts, n_values]; texts without an element have a row that agrees with no other: see `make_keys`.

    Elements may repeat: only the smallest hash in a bin counts.
    """
    n_texts = grams.starts.size - 1
    sketches = np.full((n_texts, n_values), _EMPTY, np.uint32)
    sizes = np.diff(grams.starts)
    open_texts = np.flatnonzero(sizes)
    elements, sizes = grams.hashes, sizes[open_texts]
    begins = np.repeat(open_texts * n_values, sizes)  # of the sketch that an element belongs to
    for turn in range(2 * n_values):
        if open_texts.size == 0:
            break
        _fill(sketches, elements, begins, turn=turn)
        is_open = (sketches[open_texts] == _EMPTY).any(axis=1)
        if not is_open.all():
            chosen = np.repeat(is_open, sizes)
            elements, begins = elements[chosen], begins[chosen]
            open_texts, sizes = open_texts[is_open], sizes[is_open]
    return sketches


def make_keys(sketches: U32, *, rows: int, bands: int) -> U64:
    """uint64 [texts, bands]: a key for each run of `rows` values; keys of two bands meet by accident only."""
    values = sketches.reshape(sketches.shape[0], bands, rows).astype(np.uint64)
    keys = np.broadcast_to(splitmix64(2, bands), values.shape[:2]).copy()
    for row in range(rows):
        keys ^= values[:, :, row]
        keys *= _FOLD
        keys ^= keys >> np.uint64(32)
    return mix64(keys)


def _fill(sketches: U32, elements: U64, begins: NDArray[np.int64], *, turn: int) -> None:
    """One round: each bin that is empty takes the smallest hash that falls into it."""
    n_values, values = sketches.shape[1], sketches.reshape(-1)
    # The elements are well mixed already, so the first round, which is the last for most, needs no hash of its own.
    hashed = mix64(elements + _turn_constant(turn)) if turn else elements
    if turn < n_values:
        bins = hashed >> np.uint64(32)
        bins *= np.uint64(n_values)
        bins >>= np.uint64(32)
        places = bins.view(np.int64)
        places += begins
    else:
        places = begins + (turn - n_values)  # the paper's second half: every element to one bin, in turn
    if turn:
        is_free = np.flatnonzero(values[places] == _EMPTY)
        places, hashed = places[is_free], hashed[is_free]
    np.minimum.at(values, places, np.minimum(hashed.astype(np.uint32), _EMPTY - np.uint32(1)))  # the low half


@lru_cache(maxsize=4_096)
def _turn_constant(turn: int) -> np.uint64:
    return np.uint64(splitmix64(3, turn)[-1])
