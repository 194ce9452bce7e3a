"""Rows and batches: special tokens where the model learned them, nothing too long, nothing lost unseen."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.vocabulary import BOS, EOS, PAD
from trainer.heads import find_segments
from trainer.inputs import batches_by_length, collate, join_ids, share_tokens
from trainer.tasks import Features, Ids

SIZES = st.integers(0, 60)


def _ids(n: int, *, first: int = 10) -> Ids:
    return np.arange(first, first + n).astype(np.uint16)


def test_a_pair_is_parted_by_two_separators() -> None:
    joined = join_ids([_ids(2), _ids(3, first=50)], max_tokens=512)
    assert joined.ids.tolist() == [BOS, 10, 11, EOS, EOS, 50, 51, 52, EOS]
    assert joined.n_cut == 0


@settings(deadline=None)
@given(SIZES, SIZES, st.integers(8, 64))
def test_of_two_texts_the_longer_one_loses_tokens_until_both_fit(first: int, second: int, max_tokens: int) -> None:
    joined = join_ids([_ids(first), _ids(second, first=500)], max_tokens=max_tokens)
    kept = [token for token in joined.ids.tolist() if token not in (BOS, EOS)]
    assert joined.ids.size <= max_tokens
    assert len(kept) + joined.n_cut == first + second
    left, right = share_tokens(first, second, n_tokens=max_tokens - 4)
    assert kept == _ids(left).tolist() + _ids(right, first=500).tolist()
    # One by one from the end of the longer text, of equal ones from the second, says the same slowly.
    while first + second > max_tokens - 4:
        first, second = (first - 1, second) if first > second else (first, second - 1)
    assert (left, right) == (first, second)


@settings(deadline=None)
@given(SIZES, st.integers(8, 64))
def test_one_text_is_cut_at_its_end(size: int, max_tokens: int) -> None:
    joined = join_ids([_ids(size)], max_tokens=max_tokens)
    kept = min(size, max_tokens - 2)
    assert joined.ids.tolist() == [BOS, *_ids(kept).tolist(), EOS]
    assert joined.n_cut == size - kept


def test_rows_of_several_features_lie_below_each_other_with_padding_at_their_ends() -> None:
    features = [
        Features((_ids(3), _ids(1)), np.array([1], np.int64), (0,)),
        Features((_ids(2),), np.array([0], np.int64), (1,)),
    ]
    batch = collate(features, torch.device("cpu"))
    assert batch.input_ids.tolist() == [[10, 11, 12], [10, PAD, PAD], [10, 11, PAD]]
    assert batch.attention is not None
    assert batch.attention.sum(dim=1).tolist() == [3, 1, 2]
    assert batch.owners.tolist() == [0, 0, 1]
    assert batch.targets.tolist() == [[1], [0]]
    assert collate(features[1:], torch.device("cpu")).attention is None


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 7))
def test_batches_by_length_hold_each_feature_once(sizes: list[int], batch: int) -> None:
    features = [Features((_ids(size),), np.zeros(1, np.int64), (k,)) for k, size in enumerate(sizes)]
    batches = list(batches_by_length(features, batch=batch))
    assert sorted(number for numbers in batches for number in numbers) == list(range(len(sizes)))
    assert max(map(len, batches)) <= batch
    assert [sizes[number] for numbers in batches for number in numbers] == sorted(sizes, reverse=True)


def test_segments_begin_after_the_two_separators_as_in_pretraining() -> None:
    rows = torch.tensor([[0, 5, 6, 2, 2, 7, 8, 2, 1], [0, 5, 2, 2, 9, 2, 1, 1, 1], [0, 5, 6, 7, 8, 9, 2, 1, 1]])
    assert [row.tolist().index(1) if row.any() else None for row in find_segments(rows)] == [5, 4, None]
