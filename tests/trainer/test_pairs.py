"""Pairs: made by BERT's rules, from tokens that are there, never longer than a block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import packing
from trainer.packing import BOS, EOS, PAD, Blocks
from trainer.pairs import N_SEPARATORS, PackedPairs, pack_pairs

DOCUMENTS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=8)


def _pack(
    documents: list[list[int]], *, block_tokens: int, single: bool, seed: int = 0
) -> tuple[PackedPairs, Blocks, np.ndarray]:
    lengths = np.array([n for document in documents for n in document], dtype=np.uint16)
    counts = np.array([len(document) for document in documents], dtype=np.uint32)
    tokens = np.arange(10, 10 + int(lengths.sum()), dtype=np.uint16)  # each token says its own place
    items = packing.build_items(lengths, counts, np.arange(counts.size), separators=False)
    items, _ = packing.cut_long_items(items, block_tokens=block_tokens - N_SEPARATORS)
    packed = pack_pairs(items, block_tokens=block_tokens, single=single, seed=seed, epoch=0, window=0)
    blocks = packing.gather_blocks(tokens, packed.items, packed.spans, width=block_tokens)
    document_of = np.repeat(np.arange(counts.size), [sum(document) for document in documents])
    return packed, blocks, document_of


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.sampled_from([12, 20, 64]), st.booleans(), st.integers(0, 99))
def test_a_pair_is_two_segments_of_real_text_with_their_separators(
    documents: list[list[int]], block_tokens: int, single: bool, seed: int
) -> None:
    packed, blocks, document_of = _pack(documents, block_tokens=block_tokens, single=single, seed=seed)
    assert np.array_equal(blocks.n_tokens, packing.span_tokens(packed.items, packed.spans))
    for row in range(blocks.n_tokens.size):
        n, second = int(blocks.n_tokens[row]), int(packed.second[row])
        ids = blocks.ids[row]
        assert n <= block_tokens
        assert ids[0] == BOS
        assert (ids[n:] == PAD).all()
        assert ids[second - 2 : second].tolist() == [EOS, EOS]
        assert ids[n - 1] == EOS
        a, b = ids[1 : second - 2], ids[second : n - 1]
        for segment in (a, b):
            assert segment.size
            assert EOS not in (segment[0], segment[-1])
            text = segment[segment != EOS].astype(int)
            assert (np.diff(text) == 1).all()  # a run of one document, nothing left out within
            assert len(set(document_of[text - 10])) == 1
        of_a, of_b = (int(document_of[int(segment[0]) - 10]) for segment in (a, b))
        if packed.follows[row]:
            assert of_a == of_b
            assert b[0] > a[-1]
        else:
            assert of_a != of_b


def test_half_of_the_pairs_follow_and_segments_fill_blocks() -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(5, 40, size=60).tolist() for _ in range(40)]
    packed, blocks, _ = _pack(documents, block_tokens=256, single=False)
    assert packed.follows.mean() == pytest.approx(0.5, abs=0.1)
    assert blocks.n_tokens.mean() > 0.93 * 256


def test_sentence_pairs_hold_two_natural_sentences() -> None:
    rng = np.random.default_rng(1)
    documents = [rng.integers(5, 40, size=60).tolist() for _ in range(40)]
    packed, blocks, _ = _pack(documents, block_tokens=128, single=True)
    assert packed.follows.mean() == pytest.approx(0.5, abs=0.05)
    assert set(np.count_nonzero(blocks.ids == EOS, axis=1).tolist()) == {3}
    assert packed.n_dropped == 0


def test_what_no_pair_takes_is_counted() -> None:
    packed, blocks, _ = _pack([[5], [30, 30]], block_tokens=40, single=True, seed=3)
    n_text = int((blocks.ids >= 10).sum())
    wanted = sum(int(packed.items.n_tokens[a:b].sum()) for a, b in zip(*packed.spans, strict=True))
    assert n_text == wanted
    assert packed.n_dropped > 0  # 60 tokens do not fit into 36
    lonely, _, _ = _pack([[5]], block_tokens=40, single=True)
    assert lonely.spans.first.size == 0
    assert lonely.n_dropped == 5


def test_segments_are_truncated_from_the_longer_one_at_both_ends() -> None:
    fronts, backs = [], []
    for seed in range(200):
        packed, blocks, _ = _pack([[20, 14], [20, 14]], block_tokens=30, single=True, seed=seed)
        for row in np.flatnonzero(packed.follows):
            a = blocks.ids[row, 1 : packed.second[row] - 2]
            start = 10 if a[0] < 44 else 44
            fronts.append(int(a[0]) - start)
            backs.append(start + 19 - int(a[-1]))
    assert min(fronts) >= 0
    assert np.mean(fronts) == pytest.approx(np.mean(backs), rel=0.2)
