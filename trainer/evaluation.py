"""Held-out perplexity: the same tokens, masked the same way, however the model came about.

In: the held-out split of the run's shards. Out: the mean loss over its predicted tokens. The rule: blocks are in the
order of their shards and masks have a seed of their own, so runs of other seeds are measured on the same predictions.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from trainer.batches import to_device
from trainer.masking import MaskedBlocks
from trainer.optimization import summed_loss
from trainer.parallel import Ranks, add_over_ranks, computing_in
from trainer.plan import Order, SampleRun, masking_rules, packing_rules
from trainer.settings import Settings
from trainer.shares import mask_run
from trainer.sources import Run, Source

_SEED = 0


class HeldOut:
    """The held-out sequences that a run is measured on; `bool()` is whether there are any."""

    def __init__(self, runs: tuple[Run, ...], settings: Settings, *, vocabulary_size: int) -> None:
        rules = replace(packing_rules(settings), shuffle=False, seed=_SEED)
        self._order = Order(Source(runs, split="held-out"), rules)
        self._masking = replace(masking_rules(settings, vocabulary_size=vocabulary_size), seed=_SEED)
        self._limit = settings.evaluation_sequences
        self._micro_batch = settings.micro_batch

    def __bool__(self) -> bool:
        return self._order.n_windows(0) > 0

    def batches(self, ranks: Ranks) -> Iterator[MaskedBlocks]:
        """This rank's micro-batches."""
        for number, run in enumerate(self._runs()):
            if number % ranks.n_ranks == ranks.rank:
                yield mask_run(self._order, run, self._masking)

    def _runs(self) -> Iterator[SampleRun]:
        left = self._limit
        for window in range(self._order.n_windows(0)):
            n_samples = min(self._order.n_samples(0, window), left)
            for first in range(0, n_samples, self._micro_batch):
                yield SampleRun(0, window, first, min(self._micro_batch, n_samples - first))
            left -= n_samples
            if not left:
                return


@torch.no_grad()
def measure_loss(model: nn.Module, held_out: HeldOut, ranks: Ranks, *, dtype: torch.dtype) -> float:
    """Mean loss in nats over the held-out predictions of all ranks; `model` is the bare one."""
    was_training = model.training
    model.eval()
    total = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    for arrays in held_out.batches(ranks):
        batch = to_device(arrays, ranks.device)
        with computing_in(dtype, ranks.device):
            logits = model(batch.input_ids, batch.attention, batch.chosen)
            total[0] += summed_loss(logits, batch.targets)
        total[1] += batch.targets.numel()
    model.train(was_training)
    loss, n_masked = add_over_ranks(total, ranks).tolist()
    return float(loss / n_masked) if n_masked else float("nan")
