"""Held-out perplexity is that of the held-out split, the same on any number of ranks and for any micro-batch."""

import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

from trainer.evaluation import HeldOut, measure_loss
from trainer.model import make_model
from trainer.parallel import Ranks
from trainer.settings import load_settings
from trainer.sources import Source, open_runs

CPU = torch.device("cpu")


def _held_out(data: Path, recipe: Path, **overrides: int) -> HeldOut:
    return HeldOut(open_runs([data]), load_settings(str(recipe), overrides), vocabulary_size=500)


def test_every_held_out_token_is_measured_once_whatever_the_ranks(small_data: Path, small_recipe: Path) -> None:
    n_tokens = Source(open_runs([small_data]), split="held-out").n_tokens
    seen = []
    for n_ranks, micro_batch in ((1, 4), (3, 2)):
        held_out = _held_out(small_data, small_recipe, micro_batch=micro_batch)
        rows = [
            (tuple(row), tuple(labels))
            for rank in range(n_ranks)
            for blocks in held_out.batches(Ranks(rank, n_ranks, CPU))
            for row, labels in zip(blocks.input_ids.tolist(), blocks.labels.tolist(), strict=True)
        ]
        seen.append(sorted(rows))
    assert seen[0] == seen[1]
    assert sum(label == 65_535 and token > 3 for row in seen[0] for token, label in zip(*row, strict=True)) < n_tokens
    assert sum(max(token, 0) > 3 for row, _ in seen[0] for token in row) == n_tokens


def test_an_untrained_model_is_as_perplexed_as_its_vocabulary_is_large(small_data: Path, small_recipe: Path) -> None:
    model = make_model(load_settings(str(small_recipe), {}), vocabulary_size=500).train()
    ranks = Ranks(0, 1, CPU)
    loss = measure_loss(model, _held_out(small_data, small_recipe), ranks, dtype=torch.float32)
    assert math.exp(loss) == pytest.approx(500, rel=0.1)
    assert model.training
    assert loss == measure_loss(model, _held_out(small_data, small_recipe), ranks, dtype=torch.float32)
    coarse = measure_loss(model, _held_out(small_data, small_recipe), ranks, dtype=torch.bfloat16)
    assert coarse == pytest.approx(loss, abs=0.02)


def test_no_more_sequences_are_measured_than_asked_for(small_data: Path, small_recipe: Path) -> None:
    held_out = _held_out(small_data, small_recipe, evaluation_sequences=13)
    assert sum(blocks.input_ids.shape[0] for blocks in held_out.batches(Ranks(0, 1, CPU))) == 13


def test_runs_without_a_held_out_split_have_nothing_to_measure(
    random_shards: ModuleType, small_recipe: Path, tmp_path: Path
) -> None:
    data = random_shards.make_run(tmp_path / "one", random_shards.Shape(n_tokens=100, n_shards=1))
    assert not _held_out(data, small_recipe)
