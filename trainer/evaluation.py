"""Held-out perplexity: the same tokens, masked the same way, however the model came about.

In: the held-out splits of the runs of shards, windows of a growing corpus being one corpus together. Out: the mean loss
over their predicted tokens, over all and corpus by corpus. The rule: blocks are in the order of their shards, masks
have a seed of their own, and each corpus gives the same number of sequences whatever its size and weight. So runs of
other seeds and other mixtures are measured on the same predictions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import nn

from trainer.batches import to_device
from trainer.masking import MaskedBlocks
from trainer.optimization import sum_losses
from trainer.parallel import Ranks, add_over_ranks, computing_in
from trainer.plan import Order, SampleRun, masking_rules, packing_rules
from trainer.reporting import HeldOutLoss
from trainer.settings import Settings
from trainer.shares import mask_run
from trainer.sources import Run, Source, find_word_starts, group_runs

_SEED = 0


class HeldOut:
    """The held-out sequences that a run is measured on; `bool()` is whether there are any."""

    def __init__(self, runs: tuple[Run, ...], settings: Settings, *, vocabulary_size: int) -> None:
        rules = replace(packing_rules(settings), shuffle=False, seed=_SEED)
        self.is_pair = settings.is_pair
        self._orders = [Order(Source(corpus, split="held-out"), rules) for corpus in group_runs(runs)]
        word_starts = find_word_starts(runs) if settings.mask_whole_words else None
        masking = masking_rules(settings, vocabulary_size=vocabulary_size, word_starts=word_starts)
        self._masking = replace(masking, seed=_SEED)
        self._limit = settings.evaluation_sequences
        self._micro_batch = settings.micro_batch

    def __bool__(self) -> bool:
        return any(order.n_windows(0) > 0 for order in self._orders)

    @property
    def n_corpora(self) -> int:
        """Corpora, those without a held-out split included."""
        return len(self._orders)

    def batches(self, ranks: Ranks) -> Iterator[tuple[int, MaskedBlocks]]:
        """This rank's micro-batches, each with the ordinal of its corpus."""
        for number, (ordinal, run) in enumerate(self._runs()):
            if number % ranks.n_ranks == ranks.rank:
                yield ordinal, mask_run(self._orders[ordinal], run, self._masking)

    @cached_property
    def _shares(self) -> list[int]:
        """How many sequences are measured of each corpus."""
        return share_sequences(self._limit, [count_samples(order, self._limit) for order in self._orders])

    def _runs(self) -> Iterator[tuple[int, SampleRun]]:
        for ordinal, (order, left) in enumerate(zip(self._orders, self._shares, strict=True)):
            window = 0
            while left:
                n_samples = min(order.n_samples(0, window), left)
                for first in range(0, n_samples, self._micro_batch):
                    yield ordinal, SampleRun(0, window, first, min(self._micro_batch, n_samples - first))
                window, left = window + 1, left - n_samples


def count_samples(order: Order, limit: int) -> int:
    """Samples in the first epoch of an order, counted up to a limit: no more windows are packed than it takes."""
    n_samples = 0
    for window in range(order.n_windows(0)):
        n_samples += order.n_samples(0, window)
        if n_samples >= limit:
            return limit
    return n_samples


def share_sequences(limit: int, available: Sequence[int]) -> list[int]:
    """At most `limit` sequences, from each corpus as many; what one does not have, the others give.

    >>> share_sequences(100, [500, 10, 500])
    [45, 10, 45]
    """
    shares = [0] * len(available)
    # From the smallest on, so that nobody is asked again for what a smaller one lacked.
    for place, number in enumerate(sorted(range(len(available)), key=available.__getitem__)):
        shares[number] = min(available[number], -(-limit // (len(available) - place)))
        limit -= shares[number]
    return shares


@torch.no_grad()
def measure_loss(model: nn.Module, held_out: HeldOut, ranks: Ranks, *, dtype: torch.dtype) -> HeldOutLoss:
    """Losses over the held-out predictions of all ranks; `model` is the bare one."""
    was_training = model.training
    model.eval()
    # By corpus: the losses of tokens and of pairs, pairs told right, tokens, pairs.
    total = torch.zeros(held_out.n_corpora, 5, dtype=torch.float64, device=ranks.device)
    for ordinal, arrays in held_out.batches(ranks):
        batch = to_device(arrays, ranks.device)
        with computing_in(dtype, ranks.device):
            predictions = model(batch.input_ids, batch.attention, batch.chosen, batch.segments, batch.documents)
            total[ordinal, :3] += sum_losses(predictions, batch)
        total[ordinal, 3] += batch.targets.numel()
        total[ordinal, 4] += batch.input_ids.shape[0]
    model.train(was_training)
    by_corpus = add_over_ranks(total, ranks)
    loss, _, right, n_masked, n_pairs = by_corpus.sum(0).tolist()
    return HeldOutLoss(
        _mean(loss, n_masked),
        _mean(right, n_pairs) if held_out.is_pair else None,
        tuple(_mean(corpus[0], corpus[3]) for corpus in by_corpus.tolist()),
    )


def _mean(total: float, n: float) -> float:
    return total / n if n else float("nan")
