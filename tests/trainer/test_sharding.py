"""Sharded weights compute what whole ones do, and a checkpoint of either is gone on from with the other."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

Start = Callable[..., "subprocess.Popen[str]"]


def _train(start: Start, data: Path, run: Path, *flags: object, n_ranks: int) -> list[dict[str, Any]]:
    """A run's log; Adam's epsilon is large, so that rounding in tiny gradients does not grow into other weights."""
    shared = ("--clip-norm", 1.0, "--adam-epsilon", 1e-3, "--evaluate-every", 4, "--micro-batch", 2)
    process = start("--data", data, "--output", run, *shared, *flags, n_ranks=n_ranks)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_sharded_runs_have_the_losses_norms_and_weights_of_whole_ones_and_go_on_from_each_other_s_checkpoints(
    small_data: Path, tmp_path: Path, start_trainer: Start
) -> None:
    """Two ranks; the held-out split gives them different numbers of forward passes."""
    whole, sharded = tmp_path / "ddp", tmp_path / "fsdp"
    _train(start_trainer, small_data, whole, "--max-updates", 6, n_ranks=2)
    _train(start_trainer, small_data, sharded, "--sharding", "fsdp", "--max-updates", 6, n_ranks=2)
    for name, tensor in load_file(whole / "checkpoints/update-00000006/optimizer.safetensors").items():
        other = load_file(sharded / "checkpoints/update-00000006/optimizer.safetensors")[name]
        assert tensor.shape == other.shape
        assert other.allclose(tensor, rtol=1e-2, atol=1e-5), name
    # Each goes on from the other's kind.
    logs = [
        _train(start_trainer, small_data, whole, "--sharding", "fsdp", "--max-updates", 10, n_ranks=2),
        _train(start_trainer, small_data, sharded, "--sharding", "ddp", "--max-updates", 10, n_ranks=2),
    ]
    assert len(logs[0]) == len(logs[1]) == 10
    for ours, theirs in zip(*logs, strict=True):
        assert ours["batch"] == theirs["batch"]
        for key in ("loss", "gradient_norm", "held_out_loss"):
            assert ours.get(key) == pytest.approx(theirs.get(key), abs=1e-4), key
    # And one rank from what two have left.
    assert len(_train(start_trainer, small_data, sharded, "--sharding", "fsdp", "--max-updates", 11, n_ranks=1)) == 11
