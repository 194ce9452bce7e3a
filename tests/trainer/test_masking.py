"""Masks: exact counts, 80/10/10, no special token, and a function of the sample's name alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.masking import IGNORE, MaskedBlocks, MaskingRules, draw_mask_words, mask_blocks
from trainer.packing import BOS, EOS, N_SPECIAL, PAD, Blocks

V = 50_265
RULES = MaskingRules(vocabulary_size=V, seed=3)


def _blocks(n: int, width: int = 512, *, seed: int = 0, full: bool = True) -> Blocks:
    rng = np.random.default_rng(seed)
    ids = rng.integers(N_SPECIAL, V - 1, size=(n, width)).astype(np.uint16)
    ids[:, 20::21] = EOS
    ids[:, 0] = BOS
    n_tokens = np.full(n, width) if full else rng.integers(2, width + 1, size=n)
    ids[np.arange(width) >= n_tokens[:, None]] = PAD
    return Blocks(ids, n_tokens)


def _mask(
    blocks: Blocks, *, first: int = 0, epoch: int = 0, window: int = 0, rules: MaskingRules = RULES
) -> MaskedBlocks:
    start = first + np.cumsum(blocks.n_tokens + 1) - blocks.n_tokens - 1
    words, places = draw_mask_words(start, blocks.n_tokens, epoch=epoch, window=window, rules=rules)
    return mask_blocks(blocks, words, places, rules=rules)


@given(st.integers(1, 6), st.integers(2, 70), st.booleans(), st.integers(0, 2**40))
def test_masking_touches_no_special_token_and_says_what_it_changed(
    n: int, width: int, compat: bool, first: int
) -> None:
    blocks = _blocks(n, width, seed=n, full=False)
    masked = _mask(blocks, first=first, rules=MaskingRules(vocabulary_size=V, fairseq_compat=compat))
    changed = masked.input_ids != blocks.ids
    predicted = masked.labels != IGNORE
    assert (predicted | ~changed).all()
    assert np.array_equal(masked.labels[predicted], blocks.ids[predicted])
    assert set(masked.chosen.tolist()) == set(np.flatnonzero(predicted).tolist())
    assert masked.chosen.size == predicted.sum()
    assert (blocks.ids[predicted] != PAD).all()
    if not compat:
        assert (blocks.ids[predicted] >= N_SPECIAL).all()
        assert (masked.input_ids[changed] >= N_SPECIAL).all()


def test_the_count_is_fifteen_percent_rounded_up_or_down_at_random() -> None:
    masked = _mask(_blocks(4000))
    counts = (masked.labels != IGNORE).sum(axis=1)
    assert set(counts.tolist()) == {76, 77}  # 0.15 * 512 = 76.8
    assert counts.mean() == pytest.approx(76.8, abs=0.03)


def test_of_the_chosen_eighty_percent_become_mask_and_ten_stay_and_ten_are_random() -> None:
    blocks = _blocks(4000)
    masked = _mask(blocks)
    before, after = blocks.ids.reshape(-1)[masked.chosen], masked.input_ids.reshape(-1)[masked.chosen]
    assert (after == V - 1).mean() == pytest.approx(0.8, abs=0.003)
    assert (after == before).mean() == pytest.approx(0.1, abs=0.003)
    random = after[(after != V - 1) & (after != before)].astype(np.int64)
    assert (random.min(), random.max()) == (pytest.approx(4, abs=20), pytest.approx(V - 2, abs=20))
    assert random.mean() == pytest.approx(V / 2, rel=0.01)


def test_every_position_is_chosen_as_often_as_any_other() -> None:
    blocks = _blocks(6000, 64)
    ordinary = blocks.ids[0] >= N_SPECIAL
    rate = (_mask(blocks).labels != IGNORE).mean(axis=0)[ordinary]
    expected = 0.15 * 64 / ordinary.sum()
    assert np.abs(rate - expected).max() < 5 * np.sqrt(expected / 6000)


def test_fairseq_may_choose_separators_and_draw_mask_as_a_random_id() -> None:
    rules = MaskingRules(vocabulary_size=8, fairseq_compat=True)
    blocks = Blocks(np.full((2000, 40), EOS, dtype=np.uint16), np.full(2000, 40))
    masked = _mask(blocks, rules=rules)
    after = masked.input_ids.reshape(-1)[masked.chosen]
    assert (after == 7).mean() == pytest.approx(0.8 + 0.1 / 4, abs=0.01)
    assert set(after.tolist()) == {EOS, 4, 5, 6, 7}


def test_a_mask_is_a_function_of_the_sample_and_not_of_its_batch() -> None:
    blocks = _blocks(12, 64, full=False)
    whole = _mask(blocks, first=100, epoch=2, window=5)
    for first, last in ((0, 1), (3, 7), (7, 12)):
        before = int((blocks.n_tokens[:first] + 1).sum())
        part = _mask(Blocks(blocks.ids[first:last], blocks.n_tokens[first:last]), first=100 + before, epoch=2, window=5)
        assert np.array_equal(part.input_ids, whole.input_ids[first:last])
        assert np.array_equal(part.labels, whole.labels[first:last])


def test_seed_epoch_window_and_sample_each_give_independent_masks() -> None:
    blocks = _blocks(500)
    base = _mask(blocks).labels != IGNORE
    others = (
        _mask(blocks, first=500 * 513),
        _mask(blocks, epoch=1),
        _mask(blocks, window=1),
        _mask(blocks, rules=MaskingRules(vocabulary_size=V, seed=4)),
    )
    ordinary = blocks.ids >= N_SPECIAL
    rate = base[ordinary].mean()
    for other in others:
        both = (base & (other.labels != IGNORE))[ordinary].mean()
        assert both == pytest.approx(rate**2, rel=0.03)


def test_the_masks_of_a_run_never_change() -> None:
    blocks = Blocks(np.arange(4, 36, dtype=np.uint16).reshape(1, 32), np.array([32]))
    masked = _mask(blocks, first=7, epoch=1, window=2, rules=MaskingRules(vocabulary_size=40, kept=0.3, randomised=0.4))
    assert masked.chosen.tolist() == [16, 13, 1, 12, 18]
    assert masked.input_ids[0, masked.chosen].tolist() == [30, 17, 5, 39, 39]


@pytest.mark.parametrize("wrong", [{"fraction": 1.5}, {"kept": 0.7, "randomised": 0.5}, {"vocabulary_size": 5}])
def test_rules_that_cannot_be_followed_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"mask_|vocabulary"):
        MaskingRules(**{"vocabulary_size": V, **wrong})  # type: ignore[arg-type]  # wrong on purpose


def test_whole_words_are_chosen_whole_and_decided_as_one() -> None:
    starts = np.zeros(V, dtype=np.bool_)
    starts[::3] = True
    rules = MaskingRules(vocabulary_size=V, seed=1, word_starts=starts)
    blocks = _blocks(200)
    masked = _mask(blocks, rules=rules)
    ordinary = blocks.ids >= N_SPECIAL
    first = starts[blocks.ids] & ordinary
    first[:, 1:] |= ordinary[:, 1:] & ~ordinary[:, :-1]
    word = np.cumsum(first.reshape(-1)) * ordinary.reshape(-1)
    predicted = (masked.labels != IGNORE).reshape(-1)
    whole = np.bincount(word, weights=predicted)[1:] / np.bincount(word)[1:]
    assert set(whole.tolist()) == {0.0, 1.0}
    assert whole.mean() == pytest.approx(0.15, abs=0.005)
    kept = (masked.input_ids == blocks.ids).reshape(-1)[predicted]
    is_mask = (masked.input_ids == V - 1).reshape(-1)[predicted]
    for decided in (kept, is_mask):  # one decision a word: neighbours of a word agree
        same = word[predicted][1:] == word[predicted][:-1]
        assert np.array_equal(decided[1:][same], decided[:-1][same])
    assert is_mask.mean() == pytest.approx(0.8, abs=0.02)
