"""One update: forward and backward on a rank's share of the global batch, and a step that all ranks take or skip.

In: a batch of arrays. Out: new weights and an `UpdateReport`. The rule: gradients are those of the mean loss over all
predicted tokens of the global batch, and for pairs of the mean next-sentence loss over all its pairs added to it,
whatever ranks and micro-batches they came from.
"""

import math
import time
from typing import NamedTuple

import torch
from torch import nn

from trainer.batches import to_device
from trainer.loss_scale import UNSCALED, LossScale, is_falling, unscale_gradients
from trainer.model import MaskedLanguageModel
from trainer.optimization import SumLosses, gradient_norm, learning_rate, set_learning_rate, sum_losses
from trainer.parallel import Ranks, StopRequest, add_over_ranks, computing_in, sum_over_ranks, without_sync
from trainer.randomness import Purpose, derive_seed
from trainer.reporting import NextSentence, UpdateReport
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
    sum_losses: SumLosses = sum_losses  # or the same, compiled


def run_update(
    learner: Learner,
    batch: RankBatch,
    update: int,
    *,
    stop: StopRequest,
    started: float,
    scaling: LossScale = UNSCALED,
) -> UpdateReport | None:
    """One step on one global batch; None, and nothing changed, where some rank was asked to stop."""
    settings, ranks = learner.settings, learner.ranks
    n_masked, n_tokens, n_sequences, n_documents, digest, stopping, *tokens_by_corpus = sum_over_ranks(
        [batch.n_masked, batch.n_tokens, batch.n_sequences, batch.n_documents, batch.digest, int(bool(stop))]
        + batch.tokens_by_corpus.tolist(),
        ranks,
    )
    if stopping:
        return None
    means = accumulate_gradients(
        learner, batch, update, n_masked=n_masked, n_sequences=n_sequences, stop=stop, scaling=scaling
    )
    if means is None:
        return None
    unscale_gradients(learner.model.parameters(), scaling)
    norm = gradient_norm(learner.model.parameters(), clip_norm=settings.clip_norm)
    loss, pair_loss, pair_accuracy, norm_value = torch.cat((add_over_ranks(means, ranks), norm[None])).tolist()
    # All are the same on every rank, so all of them step or all of them skip.
    applied = math.isfinite(loss) and math.isfinite(pair_loss) and math.isfinite(norm_value)
    rate = learning_rate(update, settings)
    if applied:
        set_learning_rate(learner.optimizer, rate)
        learner.optimizer.step()
    learner.optimizer.zero_grad()
    return UpdateReport(
        update=update,
        loss=loss,
        gradient_norm=norm_value,
        learning_rate=rate,
        n_tokens=n_tokens,
        n_masked=n_masked,
        n_sequences=n_sequences,
        n_documents=n_documents,
        tokens_by_corpus=tuple(tokens_by_corpus),
        next_sentence=NextSentence(pair_loss, pair_accuracy) if settings.is_pair else None,
        seconds=time.monotonic() - started,
        place=batch.place,
        digest=digest % (1 << DIGEST_BITS),
        applied=applied,
        loss_scale=scaling.scale if scaling.changes else None,
        rescaled=not applied and math.isfinite(loss) and is_falling(scaling),
    )


def accumulate_gradients(
    learner: Learner,
    batch: RankBatch,
    update: int,
    *,
    n_masked: int,
    n_sequences: int,
    stop: StopRequest,
    scaling: LossScale = UNSCALED,
) -> torch.Tensor | None:
    """Gradients of the mean losses over the global batch, of `n_masked` predicted tokens and `n_sequences` pairs.

    The gradients, not the losses, are times the scale. This rank's part of these means, float32 [3]: the loss of
    tokens, that of pairs, and the pairs told right.
    """
    settings, ranks = learner.settings, learner.ranks
    n_pairs = max(1, n_sequences)
    counts = torch.tensor([max(1, n_masked), n_pairs, n_pairs], dtype=torch.float32, device=ranks.device)
    # Gradients are averaged over ranks, but means are over tokens and pairs: each rank's sums count n_ranks times.
    weights = scaling.scale * ranks.n_ranks / counts
    total = torch.zeros(3, device=ranks.device)
    for step, arrays in enumerate(batch.micro_batches):
        if step and step % LISTEN_EVERY == 0 and sum_over_ranks([int(bool(stop))], ranks)[0]:
            learner.optimizer.zero_grad()
            return None
        # Dropout is a function of the place, so a checkpoint need not hold the state of a generator.
        torch.manual_seed(derive_seed(seed=settings.seed, purpose=Purpose.DROPOUT, place=(update, ranks.rank, step)))
        inputs = to_device(arrays, ranks.device)
        with without_sync(learner.averaged, last=step == len(batch.micro_batches) - 1):
            with computing_in(learner.dtype, ranks.device):
                predictions = learner.averaged(
                    inputs.input_ids, inputs.attention, inputs.chosen, inputs.segments, inputs.documents
                )
                losses = learner.sum_losses(predictions, inputs)
            torch.autograd.backward((losses * weights).sum())
        total += losses.detach()
    return total / counts
