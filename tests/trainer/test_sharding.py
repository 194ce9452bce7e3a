"""Sharded weights compute what whole ones do, and a checkpoint of either is gone on from with the other."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

# Without dropout one rank computes what two do; with a large epsilon of Adam's the rounding of tiny gradients does not
# grow into other weights.
FLAGS = ("--dropout", 0.0, "--attention-dropout", 0.0, "--clip-norm", 1.0, "--adam-epsilon", 1e-3)
SCHEDULE = ("--evaluate-every", 4, "--micro-batch", 2, "--checkpoint-every", 100)


@pytest.mark.slow
def test_a_run_that_goes_on_sharded_whole_and_sharded_again_is_as_one_that_was_whole_all_the_time(
    small_data: Path,
    tmp_path: Path,
    start_trainer: Callable[..., "subprocess.Popen[str]"],
    run_here: Callable[..., Any],
) -> None:
    """Losses, norms before clipping, held-out losses and Adam's moments; two ranks, then one, then two."""
    whole, mixed = tmp_path / "whole", tmp_path / "mixed"
    assert run_here("--data", small_data, "--output", whole, *FLAGS, *SCHEDULE, "--max-updates", 10).returncode == 0
    for n_ranks, last in ((2, 4), (1, 7), (2, 10)):
        flags = ("--data", small_data, "--output", mixed, *FLAGS, *SCHEDULE, "--max-updates", last)
        if n_ranks == 1:
            assert run_here(*flags).returncode == 0
            continue
        process = start_trainer(*flags, "--sharding", "fsdp", n_ranks=n_ranks)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, out + err
    logs = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (whole, mixed)]
    assert [len(log) for log in logs] == [11, 11]  # that of the untrained model first
    for ours, theirs in zip(*logs, strict=True):
        assert ours.get("batch") == theirs.get("batch")
        # A run that stops measures there too, whatever the update's number, so the mixed one was measured more often.
        assert ours.keys() <= theirs.keys()
        for key in ours.keys() & {"loss", "gradient_norm", "held_out_loss"}:
            assert ours[key] == pytest.approx(theirs[key], abs=1e-4), key
    for file in ("model.safetensors", "optimizer.safetensors"):
        tensors = [load_file(run / "checkpoints" / "update-00000010" / file) for run in (whole, mixed)]
        assert tensors[0].keys() == tensors[1].keys()
        for name, tensor in tensors[0].items():
            assert tensor.shape == tensors[1][name].shape
            assert tensor.allclose(tensors[1][name], rtol=1e-2, atol=1e-5), name
