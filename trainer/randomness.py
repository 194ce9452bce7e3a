"""Random words that are a function of what they are for: Philox, keyed and counted, never a running state.

In: a seed, a purpose, a place (epoch, window, first word). Out: the same 64-bit words on every machine, rank
and process, in any order of asking. The rule: nothing in the data path draws from anything else.

Only `random_raw` is used, because its words are part of the generator's definition; what numpy makes of them
(`permutation`, `choice`) may change from one release to the next, and would change the order of a run.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

WORDS_PER_COUNT = 4  # Philox-4x64 makes four words at each value of its counter
MAX_SEED = 2**63 - 1


class Purpose(IntEnum):
    """What words are drawn for: half of the key, so that no two uses share a word."""

    BLOCK_ORDER = 1
    DOCUMENT_ORDER = 2
    SAMPLE_ORDER = 3
    MASKS = 4
    DROPOUT = 5
    WEIGHTS = 6
    BLOCK_CHOICE = 7
    PAIRS = 8
    STATIC_ORDER = 9
    DIGEST = 10


def draw_words(n: int, *, seed: int, purpose: Purpose, epoch: int = 0, window: int = 0, start: int = 0) -> Words:
    """`n` words of the stream (seed, purpose, epoch, window), from word `start` on, a multiple of four."""
    assert start % WORDS_PER_COUNT == 0
    # One Philox counter is four words of 64 bits; the generator counts in the first and carries into the next.
    place = np.array([start // WORDS_PER_COUNT, window, epoch, 0], dtype=np.uint64)
    key = np.array([seed, purpose], dtype=np.uint64)
    words: Words = np.random.Philox(key=key, counter=place).random_raw(n)
    return words


def draw_permutation(n: int, *, seed: int, purpose: Purpose, epoch: int = 0, window: int = 0) -> Indices:
    """A permutation of 0..n-1: the order of `n` random words (a tie, of odds n^2 / 2^65, keeps its order).

    >>> draw_permutation(5, seed=1, purpose=Purpose.BLOCK_ORDER).tolist()
    [0, 3, 4, 2, 1]
    """
    words = draw_words(n, seed=seed, purpose=purpose, epoch=epoch, window=window)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


def derive_seed(*, seed: int, purpose: Purpose, place: tuple[int, int, int]) -> int:
    """A seed of 63 bits for a generator that keeps a state, such as torch's, at one place of a run."""
    first, second, third = place
    word = draw_words(1, seed=seed, purpose=purpose, epoch=first, window=second, start=WORDS_PER_COUNT * third)[0]
    return int(word >> np.uint64(1))
