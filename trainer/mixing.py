"""How often which block is seen in which epoch, where corpora are mixed by weight.

In: the number of blocks and the weight of each source, a seed, an epoch. Out: the numbers of the blocks of that epoch,
with repeats. The rule: it is a pure function of these, so a resumed run needs to remember nothing.

A source of n blocks and weight w is an endless row of permutations of its blocks, of which each epoch takes the next
w n. So after any number of epochs its blocks have been seen as evenly as can be: any two of them differ by at most one.
A whole weight takes whole permutations, each block w times an epoch; weight 1/3 sees each block once in three epochs
before it sees one again.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from trainer.randomness import Indices, Purpose, draw_permutation


class Part(NamedTuple):
    """Blocks of a split that belong to one source."""

    first: int  # number of its first block in the split
    n_blocks: int
    weight: Fraction  # times that it is seen in an epoch


def blocks_in_epoch(part: Part, epoch: int) -> tuple[int, int]:
    """Which places of the endless row an epoch takes, from and to."""
    per_epoch = part.weight * part.n_blocks
    return int(per_epoch * epoch), int(per_epoch * (epoch + 1))


def count_blocks(parts: Sequence[Part], epoch: int) -> int:
    """Number of blocks in an epoch, repeats counted."""
    return sum(end - start for start, end in (blocks_in_epoch(part, epoch) for part in parts))


def draw_blocks(parts: Sequence[Part], *, seed: int, epoch: int) -> Indices:
    """The blocks of an epoch, ascending, each as often as it is seen; weights of 1 give every block once.

    >>> draw_blocks([Part(0, 3, Fraction(1)), Part(3, 2, Fraction(2))], seed=0, epoch=5).tolist()
    [0, 1, 2, 3, 3, 4, 4]
    """
    drawn = [part.first + _draw(part, seed, epoch, ordinal) for ordinal, part in enumerate(parts)]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)


def _draw(part: Part, seed: int, epoch: int, ordinal: int) -> Indices:
    start, end = blocks_in_epoch(part, epoch)
    if start == end:
        return np.zeros(0, np.int64)
    first, last = start // part.n_blocks, (end - 1) // part.n_blocks
    rows = []
    for round_ in range(first, last + 1):
        low, high = max(start - round_ * part.n_blocks, 0), min(end - round_ * part.n_blocks, part.n_blocks)
        if high - low == part.n_blocks:
            rows.append(np.arange(part.n_blocks))  # all of them: in which order is decided later
        else:
            order = draw_permutation(
                part.n_blocks, seed=seed, purpose=Purpose.BLOCK_CHOICE, epoch=round_, window=ordinal
            )
            rows.append(order[low:high])
    return np.concatenate(rows)
