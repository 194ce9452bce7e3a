"""Texts to rows of ids, and rows to the tensors of a batch.

In: one text or two. Out: `<s> A </s>` or `<s> A </s></s> B </s>` (section 2.1 and fairseq's examples), and batches of
them. The rule: no row is longer than the model's positions; where two texts are too long together, tokens are taken
from the end of the longer one, one by one, and counted.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpe.encoding import Encoder
from bpe.vocabulary import BOS, EOS, PAD
from trainer.tasks import Batch, Features, Ids

_BOS, _EOS = np.array([BOS], np.uint16), np.array([EOS], np.uint16)


class Joined(NamedTuple):
    """A row, and how many tokens it lost."""

    ids: Ids  # uint16 [n_tokens], with `<s>` and `</s>`
    n_cut: int


def join_texts(encoder: Encoder, texts: Sequence[str], *, max_tokens: int) -> Joined:
    """The row of one text or two, at most `max_tokens` long."""
    parts = [encoder.encode([text]).ids for text in texts]
    return join_ids(parts, max_tokens=max_tokens)


def join_ids(parts: Sequence[Ids], *, max_tokens: int) -> Joined:
    """The same of ids.

    >>> join_ids([np.array([7, 8, 9], np.uint16), np.array([5, 6], np.uint16)], max_tokens=8)
    Joined(ids=array([0, 7, 8, 2, 2, 5, 6, 2], dtype=uint16), n_cut=1)
    """
    if len(parts) == 1:
        kept = parts[0][: max_tokens - 2]
        return Joined(np.concatenate([_BOS, kept, _EOS]), parts[0].size - kept.size)
    first, second = parts
    n_first, n_second = share_tokens(first.size, second.size, n_tokens=max_tokens - 4)
    ids = np.concatenate([_BOS, first[:n_first], _EOS, _EOS, second[:n_second], _EOS])
    return Joined(ids, first.size + second.size - n_first - n_second)


def share_tokens(first: int, second: int, *, n_tokens: int) -> tuple[int, int]:
    """How many tokens two texts keep where they may have `n_tokens` together; the first has the odd one.

    >>> share_tokens(300, 20, n_tokens=100), share_tokens(300, 200, n_tokens=101), share_tokens(3, 4, n_tokens=9)
    ((80, 20), (51, 50), (3, 4))
    """
    if first + second <= n_tokens:
        return first, second
    kept_second = min(second, max(n_tokens // 2, n_tokens - first))
    return n_tokens - kept_second, kept_second


def collate(features: Sequence[Features], device: torch.device) -> Batch:
    """The rows of some features, one below the other, padded at their ends to the longest."""
    rows = [row for feature in features for row in feature.rows]
    sizes = np.array([row.size for row in rows])
    attention = np.arange(sizes.max()) < sizes[:, None]
    ids = np.full(attention.shape, PAD, np.int64)
    ids[attention] = np.concatenate(rows)
    owners = np.repeat(np.arange(len(features)), [len(feature.rows) for feature in features])
    return Batch(
        _move(ids, device),
        None if attention.all() else _move(attention, device),
        _move(owners, device),
        _move(np.stack([feature.targets for feature in features]), device),
        len(features),
    )


def batches_by_length(features: Sequence[Features], *, batch: int) -> Iterable[list[int]]:
    """Numbers of features in groups of at most `batch`, long ones together, so that little is padding."""
    longest = np.array([max(row.size for row in feature.rows) for feature in features])
    order = np.argsort(-longest, kind="stable").tolist()
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def _move(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)
