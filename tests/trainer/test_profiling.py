"""A run is profiled and measured without being changed: the log is the same, but for what it says of speed."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.hardware import Efficiency, peak_tflops

Run = Callable[..., Any]


def test_a_profile_is_readable_and_the_run_goes_on_as_without_it(
    small_data: Path, tmp_path: Path, run_here: Run
) -> None:
    logs = []
    for name, flags in (("plain", ()), ("profiled", ("--profile", 1, "--peak-tflops", 0.5))):
        run = tmp_path / name
        done = run_here("--data", small_data, "--output", run, "--max-updates", 6, "--window-blocks", 2, *flags)
        assert done.returncode == 0, done.stderr
        logs.append([json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()])
    assert [entry["loss"] for entry in logs[0]] == [entry["loss"] for entry in logs[1]]
    assert "mfu" not in logs[0][0]
    for entry in logs[1]:
        assert 0 < entry["mfu"] < 1
    assert "MFU" in done.stdout
    folder = tmp_path / "profiled" / "profile"
    assert "aten::addmm" in (folder / "operations.txt").read_text()
    assert json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))["traceEvents"]
    assert str(folder / "operations.txt") in done.stdout


def test_a_run_that_ends_before_its_profile_says_so(small_data: Path, tmp_path: Path, run_here: Run) -> None:
    done = run_here("--data", small_data, "--output", tmp_path / "run", "--max-updates", 2, "--profile", 5)
    assert done.returncode == 0, done.stderr
    assert "ended 6 updates before what --profile asked for" in done.stdout
    assert not (tmp_path / "run" / "profile" / "trace.json.gz").exists()


def test_mfu_is_the_arithmetic_done_over_the_arithmetic_possible() -> None:
    assert Efficiency(2e9, 2 * 1e12).mfu(500.0) == 0.5
    assert Efficiency(2e9, 0.0).mfu(500.0) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA A10G", 70.0),
        ("Tesla V100-SXM2-16GB", 125.0),
        ("cpu", 0.0),
    ],
)
def test_a_gpu_s_peak_is_known_by_its_name(name: str, peak: float) -> None:
    assert peak_tflops(name) == peak
