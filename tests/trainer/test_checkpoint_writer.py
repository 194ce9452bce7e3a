"""Checkpoints written beside training hold what was snapshot, and nothing that goes wrong with one is lost."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from trainer.checkpoint_writer import CheckpointWriter
from trainer.checkpoints import Progress, Snapshot, list_checkpoints, read_checkpoint, take_snapshot
from trainer.optimization import make_optimizer
from trainer.plan import SampleId
from trainer.settings import Settings


def _model(n: int = 1_000) -> tuple[torch.nn.Module, torch.optim.AdamW]:
    model = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.zeros(n))})
    return model, make_optimizer(model, Settings())


def _snapshot(update: int, training: tuple[torch.nn.Module, torch.optim.AdamW]) -> Snapshot:
    return take_snapshot(*training, Progress(update, 0, SampleId(0, 0, update), 0), description={})


@pytest.mark.parametrize("background", [True, False])
def test_a_checkpoint_holds_the_weights_of_its_snapshot_whatever_is_trained_since(
    tmp_path: Path, background: bool
) -> None:
    model, optimizer = _model(500_000)
    with CheckpointWriter(tmp_path, keep=3, background=background) as writer:
        for update in (1, 2, 3):
            with torch.no_grad():
                model["a"].fill_(update)  # type: ignore[index]
            writer.write(_snapshot(update, (model, optimizer)))
            with torch.no_grad():
                model["a"].fill_(-1)  # type: ignore[index]
            writer.check()
    written = {path.name: read_checkpoint(path).model["a"].unique().tolist() for path in list_checkpoints(tmp_path)}
    assert written == {"update-00000001": [1], "update-00000002": [2], "update-00000003": [3]}
    assert not list(tmp_path.glob(".writing-*"))


def test_what_the_writer_meets_is_raised_to_the_run_at_its_next_look(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    training = _model()
    with CheckpointWriter(tmp_path / "file", keep=3, background=True) as writer:
        writer.write(_snapshot(1, training))
        for thread in threading.enumerate():
            if thread.name == "checkpoint":
                thread.join()
        with pytest.raises(OSError, match="file"):
            writer.check()
        writer.check()  # said once
        writer.write(_snapshot(2, training))
        with pytest.raises(OSError, match="file"):
            writer.write(_snapshot(3, training))
    with pytest.raises(OSError, match="file"), CheckpointWriter(tmp_path / "file", keep=3, background=True) as writer:
        writer.write(_snapshot(1, training))


def test_an_error_of_the_run_comes_first_and_its_last_snapshot_is_written(tmp_path: Path) -> None:
    training = _model()
    with pytest.raises(ValueError, match="of the run"):
        _write_and_fail(tmp_path, _snapshot(1, training))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["update-00000001"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="of the run") as caught:
        _write_and_fail(tmp_path / "file", _snapshot(2, training))
    assert "the last checkpoint was not written" in caught.value.__notes__[0]


def _write_and_fail(folder: Path, snapshot: Snapshot) -> None:
    with CheckpointWriter(folder, keep=3, background=True) as writer:
        writer.write(snapshot)
        raise ValueError("of the run")


# In a process of its own, which has computed nothing yet when it forks.
_KILLER = """
import os, signal, sys, time
from pathlib import Path
import torch
from trainer.checkpoint_writer import CheckpointWriter
from trainer.checkpoints import Progress, load_last, take_snapshot
from trainer.optimization import make_optimizer
from trainer.plan import SampleId
from trainer.settings import Settings

torch.set_num_threads(1)
model = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.zeros(100_000))})
optimizer = make_optimizer(model, Settings())
folder, update, one_save = Path(sys.argv[1]), 0, None
for attempt in range(6):
    started = time.monotonic()
    child = os.fork()
    if not child:
        signal.alarm(60)  # should this test itself be killed
        writer = CheckpointWriter(folder, keep=2, background=True)
        while True:
            update += 1
            with torch.no_grad():
                model["a"].fill_(update)
            progress = Progress(update, 0, SampleId(0, 0, update), 0)
            writer.write(take_snapshot(model, optimizer, progress, description={}))
            with torch.no_grad():
                model["a"].fill_(-1)
    while one_save is None:
        if list(folder.glob("update-*")):
            one_save = time.monotonic() - started
    time.sleep(one_save * (1 + 0.23 * attempt))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    checkpoint = load_last(folder, warn=sys.exit)
    if checkpoint is not None:
        assert checkpoint.progress.update >= update
        update = checkpoint.progress.update
        assert checkpoint.model["a"].unique().tolist() == [update]
print(update)
"""


def test_killed_while_the_thread_writes_the_checkpoint_before_is_whole(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5
