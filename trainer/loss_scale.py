"""The loss's factor in float16, whose small gradients would be rounded to zero without it.

In: whether the gradient of an update overflowed. Out: the factor of the next one. The rule: it is a power of two, so
scaling changes no digit of a gradient; it is part of a run's progress, so that a resumed run goes on with it.

Half after an overflow, twice after 2,000 updates without one: "Mixed Precision Training" (arXiv 1710.03740), section
3.2, and the numbers of torch.amp.GradScaler, which would need a second look of every rank at every gradient.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

START_SCALE = 65536.0
GROWTH_UPDATES = 2_000


class LossScale(NamedTuple):
    """What the loss of an update is multiplied by, and its gradient divided by."""

    scale: float = 1.0
    n_good: int = 0  # updates since the scale last changed
    changes: bool = False  # whether it follows the gradients: in float16 only


UNSCALED = LossScale()


def scale_for(dtype: torch.dtype, kept: LossScale) -> LossScale:
    """What a run goes on with, which may have begun in another precision."""
    if dtype != torch.float16:
        return UNSCALED
    return kept if kept.changes else LossScale(START_SCALE, 0, True)


def is_falling(scaling: LossScale) -> bool:
    """Whether an overflow may mean that the scale is too high, rather than that training diverges."""
    return scaling.changes and scaling.scale > 1.0


def next_scale(scaling: LossScale, *, overflowed: bool) -> LossScale:
    """The scale after one more update."""
    if not scaling.changes:
        return scaling
    if overflowed:
        return LossScale(max(1.0, scaling.scale / 2), 0, True)
    if scaling.n_good + 1 < GROWTH_UPDATES:
        return LossScale(scaling.scale, scaling.n_good + 1, True)
    return LossScale(scaling.scale * 2, 0, True)


def unscale_gradients(parameters: Iterable[nn.Parameter], scaling: LossScale) -> None:
    """Takes the factor out of the gradients."""
    if scaling.scale != 1.0:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], 1.0 / scaling.scale)
