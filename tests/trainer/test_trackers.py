"""Trackers show the log's numbers, each update once however often a run is resumed, and are needed by nobody."""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.trackers import NONE, TENSORBOARD, WANDB, numbers_of, open_tracker, require_tracker

# Stands in for the wandb package, which needs an account: it keeps what it is given.
_WANDB = """
import json
from pathlib import Path

class Run:
    def __init__(self, path):
        self.path = path
    def log(self, numbers, step):
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, **numbers}) + "\\n")
    def finish(self):
        pass

def init(*, project, name, id, resume, dir):
    assert resume == "allow"
    return Run(Path(dir) / f"{project}-{name}-{id}.jsonl")
"""


def _entry(update: int) -> dict[str, object]:
    return {
        "update": update, "loss": 1.0 / update, "perplexity": None, "place": [0, 0, 1], "batch": "a", "skipped": True
    }  # fmt: skip


def test_only_numbers_are_drawn() -> None:
    assert numbers_of(_entry(2)) == {"loss": 0.5}


def test_a_resumed_run_shows_each_update_once_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for after, last in ((0, 7), (4, 9)):  # killed after update 7, its last checkpoint is of update 4
        tracker = open_tracker(TENSORBOARD, tmp_path, after=after)
        assert tracker is not None
        for update in range(after + 1, last + 1):
            tracker.update(_entry(update))
        tracker.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert shown.Tags()["scalars"] == ["loss"]
    assert [event.step for event in shown.Scalars("loss")] == list(range(1, 10))


def test_a_resumed_run_is_one_run_with_each_update_once_in_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text(_WANDB)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "wandb", None)  # so that whatever is there is put back after the test
    del sys.modules["wandb"]
    run = tmp_path / "run"
    run.mkdir()
    require_tracker(WANDB)
    for after, last in ((0, 7), (4, 9)):
        tracker = open_tracker(WANDB, run, after=after)
        assert tracker is not None
        for update in range(after + 1, last + 1):
            tracker.update(_entry(update))
        tracker.close()
    (history,) = run.glob("shardmill-run-*.jsonl")
    assert [json.loads(line)["step"] for line in history.read_text().splitlines()] == list(range(1, 10))


def test_a_tracker_that_is_not_installed_is_refused_with_the_remedy(
    small_data: Path, tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    if importlib.util.find_spec(WANDB) is not None:
        pytest.skip("wandb is installed here")
    done = run_here("--data", small_data, "--output", tmp_path / "run", "--tracker", "wandb")
    assert done.returncode == 2
    assert "--tracker wandb: it is not installed; `pip install wandb`, or use --tracker none" in done.stderr
    assert done.stderr.count("\n") == 1
    assert open_tracker(NONE, tmp_path, after=0) is None
    require_tracker(NONE)
