"""Scaling the loss changes no digit of a gradient, and its overflows are not taken for divergence."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checkpoints import START, Progress, load_last, save_checkpoint
from trainer.loss_scale import GROWTH_UPDATES, START_SCALE, UNSCALED, LossScale, is_falling, next_scale, scale_for
from trainer.model import make_model
from trainer.optimization import make_optimizer
from trainer.parallel import Ranks, StopRequest, choose_precision
from trainer.plan import BatchSize, Order, masking_rules, packing_rules
from trainer.pretrain import advance
from trainer.settings import Settings
from trainer.sources import Source, open_runs
from trainer.streaming import BatchStream
from trainer.updates import Learner, run_update

CPU = torch.device("cpu")
SMALL = Settings(
    layers=1, hidden=16, heads=2, feed_forward=32, block_tokens=32, batch_sequences=4, micro_batch=2, warmup_updates=1
)


def _learner() -> Learner:
    model = make_model(SMALL, vocabulary_size=500)
    return Learner(SMALL, Ranks(0, 1, CPU), torch.float32, model, model, make_optimizer(model, SMALL))


def _batches(data: Path) -> BatchStream:
    order = Order(Source(open_runs([str(data)]), split="train"), packing_rules(SMALL))
    masking = masking_rules(SMALL, vocabulary_size=500)
    return BatchStream(order, masking, batch=BatchSize(4), micro_batch=2, rank=0, n_ranks=1)


@given(st.lists(st.booleans(), max_size=60))
@settings(deadline=None)
def test_the_scale_is_a_power_of_two_of_at_least_1_and_halves_on_overflow(overflows: list[bool]) -> None:
    scaling = scale_for(torch.float16, UNSCALED)
    for overflowed in overflows:
        before, scaling = scaling, next_scale(scaling, overflowed=overflowed)
        assert math.frexp(scaling.scale)[0] == 0.5
        assert scaling.scale == (max(1.0, before.scale / 2) if overflowed else before.scale)


def test_the_scale_doubles_after_enough_updates_without_overflow_and_only_where_there_is_one() -> None:
    scaling = LossScale(8.0, 0, True)
    for _ in range(GROWTH_UPDATES):
        assert scaling.scale == 8.0
        scaling = next_scale(scaling, overflowed=False)
    assert scaling == LossScale(16.0, 0, True)
    assert next_scale(UNSCALED, overflowed=True) == UNSCALED
    assert scale_for(torch.float16, LossScale(1.0, 7, True)) == LossScale(1.0, 7, True)
    assert scale_for(torch.bfloat16, scaling) == UNSCALED
    assert scale_for(torch.float16, UNSCALED).scale == START_SCALE


def test_losses_and_weights_are_the_same_to_the_last_bit_with_and_without_a_scale(small_data: Path) -> None:
    plain, scaled = _learner(), _learner()
    for update, batch in zip(range(1, 4), _batches(small_data), strict=False):
        ours = run_update(plain, batch, update, stop=StopRequest(), started=0.0)
        theirs = run_update(scaled, batch, update, stop=StopRequest(), started=0.0, scaling=LossScale(4096.0, 0, True))
        assert ours is not None
        assert theirs is not None
        assert (ours.loss, ours.gradient_norm) == (theirs.loss, theirs.gradient_norm)
    for one, other in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_overflows_skip_updates_and_count_only_once_the_scale_cannot_fall(small_data: Path) -> None:
    learner, progress = _learner(), START._replace(scaling=LossScale(2.0**127, 0, True))
    before = [parameter.clone() for parameter in learner.model.parameters()]
    for _, batch in zip(range(2), _batches(small_data), strict=False):
        report = run_update(
            learner, batch, progress.update + 1, stop=StopRequest(), started=0.0, scaling=progress.scaling
        )
        assert report is not None
        assert report.rescaled
        assert not report.applied
        progress = advance(progress, batch, report)
    assert (progress.update, progress.steps, progress.skipped_in_row) == (2, 0, 0)
    assert progress.scaling == LossScale(2.0**125, 0, True)
    assert all(torch.equal(*pair) for pair in zip(before, learner.model.parameters(), strict=True))
    report = report._replace(rescaled=is_falling(LossScale(1.0, 0, True)))
    assert advance(progress, batch, report).skipped_in_row == 1


def test_the_scale_is_kept_in_the_checkpoint(tmp_path: Path) -> None:
    learner = _learner()
    progress = Progress(7, 5, START.place, 0, LossScale(1024.0, 3, True))
    save_checkpoint(tmp_path, learner.model, learner.optimizer, progress, description={}, keep=1)
    checkpoint = load_last(tmp_path, warn=pytest.fail)
    assert checkpoint is not None
    assert checkpoint.progress == progress


def test_float16_is_refused_on_processors_with_the_remedy(small_data: Path, tmp_path: Path, run_here: object) -> None:
    with pytest.raises(ValueError, match="needs a GPU; on processors use --precision bfloat16, float32, or auto"):
        choose_precision("float16", CPU)
    done = run_here("--data", small_data, "--output", tmp_path / "run", "--precision", "float16")  # type: ignore[operator]
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
