"""One update: forward and backward on a rank's share of the global batch, and a step that all ranks take or skip.

In: a batch of arrays. Out: new weights and an `UpdateReport`. The rule: gradients are those of the mean loss over all
predicted tokens of the global batch, whatever ranks and micro-batches they came from.
"""

import math
import time
from typing import NamedTuple

import torch
from torch import nn

from trainer.batches import to_device
from trainer.model import MaskedLanguageModel
from trainer.optimization import gradient_norm, learning_rate, set_learning_rate, summed_loss
from trainer.parallel import Ranks, StopRequest, add_over_ranks, computing_in, sum_over_ranks, without_sync
from trainer.randomness import Purpose, derive_seed
from trainer.reporting import UpdateReport
from trainer.settings import Settings
from trainer.shares import DIGEST_BITS
from trainer.streaming import RankBatch

LISTEN_EVERY = 8  # micro-batches between two looks at whether some rank was asked to stop


class Learner(NamedTuple):
    """What learns, and how."""

    settings: Settings
    ranks: Ranks
    dtype: torch.dtype  # of matrix products
    model: MaskedLanguageModel
    averaged: nn.Module  # the same model, its gradients averaged over ranks
    optimizer: torch.optim.AdamW


def run_update(
    learner: Learner, batch: RankBatch, update: int, *, stop: StopRequest, started: float
) -> UpdateReport | None:
    """One step on one global batch; None, and nothing changed, where some rank was asked to stop."""
    settings, ranks = learner.settings, learner.ranks
    n_masked, n_tokens, digest, stopping = sum_over_ranks(
        [batch.n_masked, batch.n_tokens, batch.digest, int(bool(stop))], ranks
    )
    if stopping:
        return None
    loss = accumulate_gradients(learner, batch, update, n_masked=n_masked, stop=stop)
    if loss is None:
        return None
    norm = gradient_norm(learner.model.parameters(), clip_norm=settings.clip_norm)
    loss_value, norm_value = torch.stack((add_over_ranks(loss, ranks), norm)).tolist()
    # Both are the same on every rank, so all of them step or all of them skip.
    applied = math.isfinite(loss_value) and math.isfinite(norm_value)
    rate = learning_rate(update, settings)
    if applied:
        set_learning_rate(learner.optimizer, rate)
        learner.optimizer.step()
    learner.optimizer.zero_grad()
    return UpdateReport(
        update=update,
        loss=loss_value,
        gradient_norm=norm_value,
        learning_rate=rate,
        n_tokens=n_tokens,
        n_masked=n_masked,
        seconds=time.monotonic() - started,
        place=batch.place,
        digest=digest % (1 << DIGEST_BITS),
        applied=applied,
    )


def accumulate_gradients(
    learner: Learner, batch: RankBatch, update: int, *, n_masked: int, stop: StopRequest
) -> torch.Tensor | None:
    """Gradients of the mean loss over all predicted tokens of the global batch; this rank's part of that loss."""
    settings, ranks = learner.settings, learner.ranks
    # Gradients are averaged over ranks, but the mean is over tokens: each rank's sum counts n_ranks times.
    weight = ranks.n_ranks / max(1, n_masked)
    total = torch.zeros((), device=ranks.device)
    for step, arrays in enumerate(batch.micro_batches):
        if step and step % LISTEN_EVERY == 0 and sum_over_ranks([int(bool(stop))], ranks)[0]:
            learner.optimizer.zero_grad()
            return None
        # Dropout is a function of the place, so a checkpoint need not hold the state of a generator.
        torch.manual_seed(derive_seed(seed=settings.seed, purpose=Purpose.DROPOUT, place=(update, ranks.rank, step)))
        inputs = to_device(arrays, ranks.device)
        with without_sync(learner.averaged, last=step == len(batch.micro_batches) - 1):
            with computing_in(learner.dtype, ranks.device):
                logits = learner.averaged(inputs.input_ids, inputs.attention, inputs.chosen)
                loss = summed_loss(logits, inputs.targets)
            torch.autograd.backward(loss * weight)
        total += loss.detach()
    return total / max(1, n_masked)
