"""Finetuning of one seed: updates over the task's examples, measured on dev, the best state kept (Table 10).

In: a start's weights, features, a seed. Out: the best state and how it was come by. The rule: what is learned is a
function of start, data, settings and seed; each rank has its share of every batch, and the loss is the mean over the
examples of the whole batch, whatever ranks and forward passes they are spread over.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from torch import Tensor, distributed, nn

from trainer.finetune_settings import FinetuneSettings, schedule_of, updates_per_epoch
from trainer.heads import FinetunedModel
from trainer.inputs import batches_by_length, collate
from trainer.model import Encoder, init_weights
from trainer.optimization import gradient_norm, learning_rate, make_optimizer, set_learning_rate
from trainer.parallel import (
    Ranks,
    StopRequest,
    add_over_ranks,
    computing_in,
    sum_over_ranks,
    without_sync,
    wrap_model,
)
from trainer.progress import ProgressLine
from trainer.randomness import Indices, Purpose, derive_seed, draw_permutation
from trainer.run_folder import LOG, RunError
from trainer.settings import Settings
from trainer.starts import Start
from trainer.tasks import Features, Scores, Split, Task

_SCORING_BATCH = 32  # features per forward pass where there is no --micro-batch


class Encoded(NamedTuple):
    """A split and its features."""

    split: Split[Any]
    features: list[Features]


class Finetuning(NamedTuple):
    """What all seeds share."""

    task: Task[Any]
    settings: FinetuneSettings
    start: Start
    train: Encoded
    dev: tuple[Encoded, ...]
    ranks: Ranks
    dtype: torch.dtype  # of matrix products
    line: ProgressLine


class Finetuned(NamedTuple):
    """A seed that was trained to its end."""

    model: FinetunedModel  # in its best state
    update: int  # after which it was
    last_update: int
    updates: int
    dev: dict[str, dict[str, float]]  # split -> metric -> value, in that state
    chosen: float  # the value of the metric that decides


class Best(NamedTuple):
    """The best state so far."""

    update: int
    dev: dict[str, dict[str, float]]
    weights: Mapping[str, Tensor]


def make_finetuned_model(task: Task[Any], start: Start, *, seed: int) -> tuple[FinetunedModel, str]:
    """The start's encoder and a head, drawn by the seed unless the start has one that fits; and what was done."""
    encoder = Encoder(start.shape)
    encoder.load_state_dict(start.encoder)
    head = task.make_head(start.shape)
    word = derive_seed(seed=seed, purpose=Purpose.WEIGHTS, place=(0, 0, 0))
    init_weights(head, torch.Generator().manual_seed(word))
    drawn = {name: tensor.shape for name, tensor in head.state_dict().items()}
    if not start.head:
        return FinetunedModel(encoder, head), "a new head"
    if drawn == {name: tensor.shape for name, tensor in start.head.items()}:
        head.load_state_dict(start.head)
        return FinetunedModel(encoder, head), "the head that was finetuned before"
    return FinetunedModel(encoder, head), "a new head, because the one that was finetuned before has other outputs"


def finetune_seed(finetuning: Finetuning, seed: int, folder: Path, stop: StopRequest) -> Finetuned | None:
    """One seed, from the start to the end of its schedule or of its patience; None where it was asked to stop."""
    settings, ranks = finetuning.settings, finetuning.ranks
    n_examples = len(finetuning.train.features)
    schedule = schedule_of(settings, n_examples=n_examples)
    every = settings.evaluate_every or updates_per_epoch(settings, n_examples=n_examples)
    model, head = make_finetuned_model(finetuning.task, finetuning.start, seed=seed)
    finetuning.line.say(f"seed {seed}: {head}, {schedule.updates} updates of {settings.batch} examples")
    model = model.to(ranks.device).train()
    learner = _Learner(finetuning, seed, schedule, model, wrap_model(model, ranks), make_optimizer(model, schedule))
    best, n_worse, update, said = None, 0, 0, ""
    with SeedLog(folder, speaks=ranks.speaks) as log:
        while update < schedule.updates and not (settings.patience and n_worse >= settings.patience):
            if sum_over_ranks([int(bool(stop))], ranks)[0]:
                return None
            update += 1
            loss = run_update(learner, update)
            log.write({"update": update, "loss": loss, "lr": learning_rate(update, schedule)})
            finetuning.line.show(f"seed {seed}: update {update} of {schedule.updates}, loss {loss:.4f}{said}")
            if update % every == 0 or update == schedule.updates:
                dev = measure(finetuning, model)
                log.write({"update": update, "dev": dev})
                if best is None or _value(finetuning.task, dev) > _value(finetuning.task, best.dev):
                    best, n_worse = Best(update, dev, _copy(model)), 0
                    said = f"; best {finetuning.task.chosen_metric} {_value(finetuning.task, dev):.4f} after {update}"
                else:
                    n_worse += 1
    assert best is not None  # the last update is measured
    model.load_state_dict(best.weights)
    return Finetuned(model, best.update, update, schedule.updates, best.dev, _value(finetuning.task, best.dev))


class _Learner(NamedTuple):
    finetuning: Finetuning
    seed: int
    schedule: Settings
    model: FinetunedModel
    averaged: nn.Module  # the same model, its gradients averaged over ranks
    optimizer: torch.optim.AdamW


def run_update(learner: _Learner, update: int) -> float:
    """One step on one batch; its mean loss. RunError where loss or gradient is not finite."""
    finetuning, schedule = learner.finetuning, learner.schedule
    numbers = batch_numbers(len(finetuning.train.features), update, batch=finetuning.settings.batch, seed=learner.seed)
    loss = accumulate_gradients(learner, update, numbers)
    norm = gradient_norm(learner.model.parameters(), clip_norm=schedule.clip_norm)
    loss_value, norm_value = torch.stack((add_over_ranks(loss, finetuning.ranks), norm)).tolist()
    if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
        raise RunError(
            f"seed {learner.seed}: loss {loss_value} and gradient {norm_value} at update {update} are not finite; "
            "lower --learning-rate, or compute in --precision float32"
        )
    set_learning_rate(learner.optimizer, learning_rate(update, schedule))
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    return float(loss_value)


def batch_numbers(n_examples: int, update: int, *, batch: int, seed: int) -> list[int]:
    """Which examples an update is on, the first being 1: each once an epoch, in the order of (seed, epoch)."""
    epoch, place = divmod(update - 1, -(-n_examples // batch))
    numbers: list[int] = _order(n_examples, seed, epoch)[place * batch : (place + 1) * batch].tolist()
    return numbers


@lru_cache(maxsize=1)
def _order(n_examples: int, seed: int, epoch: int) -> Indices:
    return draw_permutation(n_examples, seed=seed, purpose=Purpose.SAMPLE_ORDER, epoch=epoch)


def accumulate_gradients(learner: _Learner, update: int, numbers: Sequence[int]) -> Tensor:
    """Gradients of the batch's mean loss; this rank's part of that loss."""
    finetuning, ranks = learner.finetuning, learner.finetuning.ranks
    mine = numbers[ranks.rank :: ranks.n_ranks]
    # A rank without a share of a short batch computes all the same, at weight 0: the others wait for its gradients.
    weight = ranks.n_ranks / len(numbers) if mine else 0.0
    mine = mine or numbers[:1]
    size = finetuning.settings.micro_batch or len(mine)
    total = torch.zeros((), device=ranks.device)
    for step, first in enumerate(range(0, len(mine), size)):
        torch.manual_seed(derive_seed(seed=learner.seed, purpose=Purpose.DROPOUT, place=(update, ranks.rank, step)))
        features = [finetuning.train.features[number] for number in mine[first : first + size]]
        batch = collate(features, ranks.device)
        with without_sync(learner.averaged, last=first + size >= len(mine)):
            with computing_in(finetuning.dtype, ranks.device):
                outputs = learner.averaged(batch.input_ids, batch.attention)
            loss = finetuning.task.loss(outputs, batch)
            torch.autograd.backward(loss * weight)
        total += loss.detach() * weight
    return total / ranks.n_ranks


def measure(finetuning: Finetuning, model: FinetunedModel) -> dict[str, dict[str, float]]:
    """The metrics of each dev split."""
    return {
        dev.split.name: finetuning.task.metrics(dev.split, dev.features, score(finetuning, model, dev.features))
        for dev in finetuning.dev
    }


@torch.no_grad()
def score(finetuning: Finetuning, model: FinetunedModel, features: Sequence[Features]) -> list[Scores]:
    """Scores of features in their order, the same on every rank: each forward pass is one rank's."""
    task, ranks = finetuning.task, finetuning.ranks
    was_training = model.training
    model.eval()
    mine: dict[int, Scores] = {}
    size = finetuning.settings.micro_batch or _SCORING_BATCH
    for number, numbers in enumerate(batches_by_length(features, batch=size)):
        if number % ranks.n_ranks == ranks.rank:
            batch = collate([features[index] for index in numbers], ranks.device)
            with computing_in(finetuning.dtype, ranks.device):
                outputs = model(batch.input_ids, batch.attention)
            mine.update(zip(numbers, task.scores(outputs, batch), strict=True))
    model.train(was_training)
    everyone = [mine]
    if ranks.n_ranks > 1:
        everyone = [{} for _ in range(ranks.n_ranks)]
        distributed.all_gather_object(everyone, mine)
    scores = {number: values for part in everyone for number, values in part.items()}
    return [np.asarray(scores[number], np.float32) for number in range(len(features))]


class SeedLog:
    """log.jsonl of a seed, a line per update and per measurement; silent on ranks that do not speak."""

    def __init__(self, folder: Path, *, speaks: bool) -> None:
        self._path = folder / LOG if speaks else None
        self._stream: TextIO | None = None

    def __enter__(self) -> "SeedLog":
        if self._path is not None:
            self._stream = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """One line."""
        if self._stream is not None:
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()


def _value(task: Task[Any], dev: Mapping[str, Mapping[str, float]]) -> float:
    """What decides: the chosen metric on the first dev split."""
    return next(iter(dev.values()))[task.chosen_metric]


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
