"""Where arrays become tensors: the one place.

In: masked blocks of numpy arrays. Out: a `MaskedBatch` on the device that computes.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.masking import MaskedBlocks


class MaskedBatch(NamedTuple):
    """One forward pass's input; B blocks of T tokens, N of which are predicted."""

    input_ids: Tensor  # int64 [B, T], after masking
    attention: Tensor | None  # bool [B, T], False on padding; None where there is no padding
    chosen: Tensor  # int64 [N], places of the predicted tokens in the flattened batch
    targets: Tensor  # int64 [N], what stood there
    segments: Tensor | None = None  # of pairs: int64 [B, T], 0 in the first segment, 1 from the second on
    follows: Tensor | None = None  # of pairs: int64 [B], 1 where the second segment follows the first, else 0
    documents: Tensor | None = None  # for document attention: int64 [B, T], ordinal of the document in its block


def to_device(blocks: MaskedBlocks, device: torch.device) -> MaskedBatch:
    """The tensors of masked blocks, as wide as these are."""
    column = np.arange(blocks.input_ids.shape[1])
    attention = column < blocks.n_tokens[:, None]
    targets = blocks.labels.reshape(-1)[blocks.chosen].astype(np.int64)
    pairs = blocks.pairs
    return MaskedBatch(
        _move(blocks.input_ids.astype(np.int64), device),
        None if attention.all() else _move(attention, device),
        _move(blocks.chosen, device),
        _move(targets, device),
        None if pairs is None else _move((column >= pairs.second[:, None]).astype(np.int64), device),
        None if pairs is None else _move(pairs.follows.astype(np.int64), device),
        None if blocks.documents is None else _move(blocks.documents.astype(np.int64), device),
    )


def _move(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor
    # From pinned memory the copy runs beside what the GPU is doing.
    return tensor.pin_memory().to(device, non_blocking=True)
