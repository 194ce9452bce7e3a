"""Where arrays become tensors: the one place.

In: masked blocks of numpy arrays. Out: a `MaskedBatch` on the device that computes.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.masking import MaskedBlocks

_MULTIPLE = 8  # of columns


class MaskedBatch(NamedTuple):
    """One forward pass's input; B blocks of T tokens, N of which are predicted."""

    input_ids: Tensor  # int64 [B, T], after masking
    attention: Tensor | None  # bool [B, T], False on padding; None where there is no padding
    chosen: Tensor  # int64 [N], places of the predicted tokens in the flattened batch
    targets: Tensor  # int64 [N], what stood there


def to_device(blocks: MaskedBlocks, device: torch.device) -> MaskedBatch:
    """The tensors of masked blocks; columns that are padding in every row are left out, but for a few."""
    width = blocks.input_ids.shape[1]
    # Widths that are multiples of 8 suit the GPU, and compiled layers, which are compiled anew for other widths.
    used = min(width, -(-int(blocks.n_tokens.max()) // _MULTIPLE) * _MULTIPLE)
    targets = blocks.labels.reshape(-1)[blocks.chosen].astype(np.int64)
    chosen = blocks.chosen // width * used + blocks.chosen % width
    attention = np.arange(used) < blocks.n_tokens[:, None]
    return MaskedBatch(
        _move(blocks.input_ids[:, :used].astype(np.int64), device),
        None if attention.all() else _move(attention, device),
        _move(chosen, device),
        _move(targets, device),
    )


def _move(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor
    # From pinned memory the copy runs beside what the GPU is doing.
    return tensor.pin_memory().to(device, non_blocking=True)
