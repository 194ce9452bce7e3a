"""Words and permutations are functions of their place, and pinned: a change of them changes every run."""

import numpy as np

from trainer.randomness import Purpose, draw_permutation, draw_words


def test_words_may_be_drawn_from_any_multiple_of_four() -> None:
    whole = draw_words(64, seed=9, purpose=Purpose.MASKS, epoch=1, window=2)
    part = draw_words(10, seed=9, purpose=Purpose.MASKS, epoch=1, window=2, start=20)
    assert np.array_equal(part, whole[20:30])


def test_words_and_permutations_never_change() -> None:
    words = draw_words(2, seed=1, purpose=Purpose.SAMPLE_ORDER, epoch=3, window=4)
    assert [f"{word:016x}" for word in words.tolist()] == ["a3fb59e115b98e9c", "c7822b02e2293cc2"]
    order = draw_permutation(10, seed=0, purpose=Purpose.BLOCK_ORDER, epoch=1)
    assert order.tolist() == [4, 3, 0, 1, 5, 9, 6, 2, 8, 7]


def test_a_permutation_holds_everything_once() -> None:
    order = draw_permutation(1000, seed=0, purpose=Purpose.DOCUMENT_ORDER)
    assert np.array_equal(np.sort(order), np.arange(1000))
