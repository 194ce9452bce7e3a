"""Ranks get equal numbers of micro-batches, none of them empty, and every row once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.dealing import cut_evenly, deal_by_number, deal_by_tokens, split_rows

LENGTHS = st.lists(st.integers(3, 64), min_size=12, max_size=80).map(np.array)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 6), st.integers(2, 8))
def test_every_row_is_dealt_once_and_no_rank_has_fewer_micro_batches(
    lengths: np.ndarray, n_ranks: int, micro_batch: int
) -> None:
    shares = cut_evenly(lengths.size, n_ranks)
    assert [row for low, high in shares for row in range(low, high)] == list(range(lengths.size))
    budget = micro_batch * 64
    dealt = [deal_by_tokens(lengths[low:high], budget) for low, high in shares]
    n = max(map(len, dealt))
    for (low, high), mine in zip(shares, dealt, strict=True):
        pieces = split_rows(mine, n)
        assert len(pieces) == n
        assert sorted(np.concatenate(pieces).tolist()) == list(range(high - low))
        for rows in pieces:
            assert rows.size >= 1
            assert rows.size * lengths[low:high][rows].max() <= budget


@given(LENGTHS, st.integers(1, 9))
def test_rows_of_about_the_same_length_go_together(lengths: np.ndarray, micro_batch: int) -> None:
    dealt = deal_by_number(lengths, micro_batch)
    flat = lengths[np.concatenate(dealt)]
    assert (np.diff(flat) <= 0).all()
    assert all(rows.size == micro_batch for rows in dealt[:-1])


def test_too_few_rows_for_the_micro_batches_is_an_error() -> None:
    with pytest.raises(ValueError, match="raise batch_tokens"):
        split_rows([np.array([0]), np.array([1])], 3)
