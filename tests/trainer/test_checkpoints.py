"""A checkpoint gives back every bit, or is found out; the one before it is used then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.checkpoints import (
    DamagedCheckpointError,
    Progress,
    list_checkpoints,
    load_last,
    read_checkpoint,
    restore,
    save_checkpoint,
)
from trainer.model import MaskedLanguageModel, Shape, init_weights
from trainer.optimization import make_optimizer, set_learning_rate
from trainer.plan import SampleId
from trainer.run_folder import RunError
from trainer.settings import Settings

SHAPE = Shape(
    vocabulary_size=40, max_tokens=8, layers=1, hidden=8, heads=2, feed_forward=8, dropout=0.0, attention_dropout=0.0
)


def _training(seed: int = 0) -> tuple[MaskedLanguageModel, torch.optim.AdamW]:
    model = MaskedLanguageModel(SHAPE)
    init_weights(model, torch.Generator().manual_seed(seed))
    return model, make_optimizer(model, Settings())


def _step(model: MaskedLanguageModel, optimizer: torch.optim.AdamW) -> float:
    loss = model(torch.arange(4, 12)[None], None, torch.arange(8)).tokens_NV.logsumexp(-1).sum()
    loss.backward()
    set_learning_rate(optimizer, 1e-2)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def _save(folder: Path, update: int, training: tuple[MaskedLanguageModel, torch.optim.AdamW], *, keep: int = 3) -> Path:
    progress = Progress(update, update, SampleId(1, 2, 3), 0)
    return save_checkpoint(folder, *training, progress, description={"settings": {}}, keep=keep)


def test_a_checkpoint_gives_back_weights_moments_and_place_to_the_last_bit(tmp_path: Path) -> None:
    training = _training()
    for _ in range(3):
        _step(*training)
    _save(tmp_path, 3, training)
    expected = [_step(*training) for _ in range(3)]
    other = _training(seed=1)
    checkpoint = load_last(tmp_path, warn=pytest.fail)
    assert checkpoint is not None
    assert restore(checkpoint, *other) == Progress(3, 3, SampleId(1, 2, 3), 0)
    assert [_step(*other) for _ in range(3)] == expected


def test_a_checkpoint_before_the_first_step_can_be_gone_on_from(tmp_path: Path) -> None:
    _save(tmp_path, 0, _training())
    training = _training(seed=1)
    checkpoint = load_last(tmp_path, warn=pytest.fail)
    assert checkpoint is not None
    restore(checkpoint, *training)
    assert _step(*training) == _step(*_training())


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    training = _training()
    for update in range(1, 6):
        _step(*training)
        _save(tmp_path, update, training, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["update-00000004", "update-00000005"]
    assert sorted(tmp_path.iterdir()) == list_checkpoints(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_any_flipped_byte_is_found_out_and_the_checkpoint_before_is_used(tmp_path: Path, name: str) -> None:
    training = _training()
    for update in (1, 2):
        _step(*training)
        _save(tmp_path, update, training)
    file = tmp_path / "update-00000002" / name
    intact = file.read_bytes()
    for place in range(0, len(intact), max(1, len(intact) // 25)):
        file.write_bytes(intact[:place] + bytes([intact[place] ^ 0x10]) + intact[place + 1 :])
        said: list[str] = []
        checkpoint = load_last(tmp_path, warn=said.append)
        assert checkpoint is not None
        assert checkpoint.progress.update == 1
        assert len(said) == 1
        assert "update-00000002 is damaged" in said[0]


@pytest.mark.parametrize("size", [0, 10, 500])
def test_a_torn_or_missing_file_is_found_out(tmp_path: Path, size: int) -> None:
    training = _training()
    _step(*training)
    path = _save(tmp_path, 1, training)
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        intact = (path / name).read_bytes()
        (path / name).write_bytes(intact[: min(size, len(intact) - 2)])
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint(path)
        (path / name).unlink()
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint(path)
        (path / name).write_bytes(intact)
    read_checkpoint(path)


def test_when_none_is_intact_the_run_is_refused_and_not_started_over(tmp_path: Path) -> None:
    training = _training()
    _step(*training)
    (_save(tmp_path, 1, training) / "state.json").write_text("{}")
    with pytest.raises(RunError, match="none of 1 checkpoints is intact"):
        load_last(tmp_path, warn=lambda _: None)
    assert load_last(tmp_path / "nothing", warn=pytest.fail) is None


def test_a_checkpoint_says_what_it_belongs_to(tmp_path: Path) -> None:
    path = _save(tmp_path, 1, _training())
    state = json.loads((path / "state.json").read_text().partition(" ")[2])
    assert state["settings"] == {}
    assert state["progress"]["place"] == [1, 2, 3]


# In a process of its own, which has computed nothing yet when it forks.
_KILLER = """
import os, signal, sys, time
from pathlib import Path
import torch
from trainer.checkpoints import Progress, load_last, save_checkpoint
from trainer.optimization import make_optimizer
from trainer.plan import SampleId
from trainer.settings import Settings

torch.set_num_threads(1)
model = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.zeros(100_000))})
optimizer = make_optimizer(model, Settings())
folder, update, one_save = Path(sys.argv[1]), 0, None
for attempt in range(20):
    started = time.monotonic()
    child = os.fork()
    if not child:
        signal.alarm(60)  # should this test itself be killed
        while True:
            update += 1
            with torch.no_grad():
                model["a"].fill_(update)
            progress = Progress(update, 0, SampleId(0, 0, update), 0)
            save_checkpoint(folder, model, optimizer, progress, description={}, keep=2)
    while one_save is None:
        if list(folder.glob("update-*")):
            one_save = time.monotonic() - started
    time.sleep(one_save * (1 + 0.07 * attempt))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    checkpoint = load_last(folder, warn=sys.exit)
    if checkpoint is not None:
        assert checkpoint.progress.update >= update
        update = checkpoint.progress.update
        assert checkpoint.model["a"].unique().tolist() == [update]
print(update)
"""


def test_killing_a_process_that_writes_checkpoints_never_leaves_a_torn_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
