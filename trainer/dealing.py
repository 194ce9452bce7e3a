"""Who computes what: the sequences of a global batch dealt to ranks, and those of a rank to micro-batches.

In: the lengths of the sequences. Out: rows. The rule: every rank has as many micro-batches as the others and none is
empty, so that ranks meet at each step; which rows go together changes no sum, only how much padding is computed.
"""

import numpy as np

from trainer.packing import Indices

_WIDTH_STEP = 8  # tensor cores want multiples of 8


def round_widths(lengths: Indices, block_tokens: int) -> Indices:
    """How wide a micro-batch is whose longest row has so many tokens.

    >>> round_widths(np.array([3, 8, 9, 30]), 30).tolist()
    [8, 8, 16, 30]
    """
    widths: Indices = np.minimum(lengths + -lengths % _WIDTH_STEP, block_tokens)
    return widths


def cut_evenly(n: int, n_parts: int) -> list[tuple[int, int]]:
    """Borders of `n_parts` shares of `n` rows, which differ by one row at most.

    >>> cut_evenly(7, 3)
    [(0, 2), (2, 4), (4, 7)]
    """
    return [(part * n // n_parts, (part + 1) * n // n_parts) for part in range(n_parts)]


def deal_by_number(lengths: Indices, micro_batch: int) -> list[Indices]:
    """`micro_batch` rows at a time, rows of about the same length together."""
    rows = _by_length(lengths)
    return [rows[start : start + micro_batch] for start in range(0, rows.size, micro_batch)]


def deal_by_tokens(lengths: Indices, budget: int) -> list[Indices]:
    """As many rows at a time as make no more than `budget` tokens when padded to the longest of them.

    >>> [lengths.size for lengths in deal_by_tokens(np.array([9, 2, 3, 3, 1, 8]), 18)]
    [2, 4]
    """
    rows = _by_length(lengths)
    dealt, start = [], 0
    while start < rows.size:
        n = max(1, budget // int(lengths[rows[start]]))
        dealt.append(rows[start : start + n])
        start += n
    return dealt


def split_rows(dealt: list[Indices], n: int) -> list[Indices]:
    """The same rows in `n` micro-batches: the one with most rows is halved until there are as many.

    ValueError where there are fewer rows than micro-batches.
    """
    dealt = list(dealt)
    while len(dealt) < n:
        largest = max(range(len(dealt)), key=lambda number: dealt[number].size)
        rows = dealt[largest]
        if rows.size < 2:
            raise ValueError(f"{len(dealt)} sequences cannot make {n} micro-batches; raise batch_tokens or micro_batch")
        dealt[largest : largest + 1] = [rows[: rows.size // 2], rows[rows.size // 2 :]]
    return dealt


def _by_length(lengths: Indices) -> Indices:
    """Rows, the longest first; of equal ones in their order."""
    return np.argsort(-lengths, kind="stable")
