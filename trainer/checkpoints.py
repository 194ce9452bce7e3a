"""Checkpoints: a folder each, whole or not there, verified before it is used.

    RUN/checkpoints/update-00000060/model.safetensors       weights, by their names in the model
                                    optimizer.safetensors   Adam's two moments, by the same names
                                    state.json              update, place, settings; bytes and sha256 of the two

In: model, optimizer and progress. Out: the same, from the last checkpoint that is intact. The rule: files are written
to a temporary folder, synced, and renamed once; nothing is unpickled; a checkpoint with a wrong byte is never used.
Tensors are whole in it, however they lay over ranks, so any number of ranks goes on from it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.loss_scale import UNSCALED, LossScale
from trainer.plan import SampleId
from trainer.run_folder import RunError
from trainer.sharding import laid_out_like, whole

FORMAT = "shardmill-checkpoint-1"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_PREFIX, _TEMPORARY = "update-", ".writing-"


class Progress(NamedTuple):
    """How far a run is."""

    update: int  # updates done, skipped ones counted
    steps: int  # of the optimizer: updates that were not skipped
    place: SampleId  # first sample of the next update
    skipped_in_row: int
    scaling: LossScale = UNSCALED  # of the next update's loss


START = Progress(0, 0, SampleId(0, 0, 0), 0)


class Snapshot(NamedTuple):
    """What a checkpoint is written from, on the processor: training that goes on does not change it."""

    progress: Progress
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    description: Mapping[str, object]  # of the run, for whoever exports it


class Checkpoint(NamedTuple):
    """A checkpoint as read: tensors on the processor."""

    path: Path
    progress: Progress
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


class DamagedCheckpointError(Exception):
    """A checkpoint whose files are not what was written."""


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    description: Mapping[str, object],
    keep: int,
) -> Path:
    """Writes a checkpoint and removes all but the last `keep`; `description` is of the run, for whoever exports it."""
    return write_snapshot(folder, take_snapshot(model, optimizer, progress, description=description), keep=keep)


def take_snapshot(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    description: Mapping[str, object],
    writes: bool = True,
) -> Snapshot:
    """Copies weights and moments, 12 bytes a parameter; where they are sharded all ranks call it at once.

    A rank that does not write takes part, but keeps nothing.
    """
    weights = {name: _copied(tensor, kept=writes) for name, tensor in model.state_dict().items()}
    moments = {name: _copied(tensor, kept=writes) for name, tensor in _moments(model, optimizer).items()}
    return Snapshot(progress, weights, moments, description)


def write_snapshot(folder: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """Writes a checkpoint and removes all but the last `keep`; OSError where the disk does not take it."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove(folder.glob(f"{_TEMPORARY}*"))
    final = folder / f"{_PREFIX}{snapshot.progress.update:08d}"
    temporary = folder / f"{_TEMPORARY}{final.name}"
    temporary.mkdir()
    try:
        save_file(dict(snapshot.model), temporary / MODEL)
        save_file(dict(snapshot.optimizer), temporary / OPTIMIZER)
    except SafetensorError as error:
        raise OSError(f"{final} cannot be written ({error}); is the disk full?") from error
    state = {
        "format": FORMAT,
        "progress": snapshot.progress._asdict(),
        "files": {name: _describe(temporary / name) for name in (MODEL, OPTIMIZER)},
        **snapshot.description,
    }
    body = json.dumps(state, sort_keys=True)
    (temporary / STATE).write_text(f"{_hash(body)} {body}\n")
    for path in (*temporary.iterdir(), temporary):
        sync_to_disk(path)
    if final.exists():  # it was found damaged, or it would not be written again
        shutil.rmtree(final)
    temporary.rename(final)
    sync_to_disk(folder)
    _remove(list_checkpoints(folder)[:-keep])
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints, oldest first, damaged ones included."""
    return sorted(folder.glob(f"{_PREFIX}*"))


def update_of(checkpoint: Path) -> int:
    """The update after which a checkpoint was written, by its folder's name."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def load_last(folder: Path, *, warn: Callable[[str], None]) -> Checkpoint | None:
    """The last intact checkpoint, None where none was written yet; each damaged one is told to `warn`.

    RunError where there are some, but none is intact.
    """
    found = list_checkpoints(folder)
    for path in reversed(found):
        try:
            return read_checkpoint(path)
        except DamagedCheckpointError as error:
            warn(f"{path} is damaged ({error}); going back to the one before")
    if found:
        raise RunError(f"{folder}: none of {len(found)} checkpoints is intact; start again with another --output")
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint, verified; DamagedCheckpointError where a byte of it is not as it was written."""
    try:
        digest, _, body = (path / STATE).read_text().rstrip("\n").partition(" ")
        if digest != _hash(body):
            raise DamagedCheckpointError(f"{STATE} is not what was written")
        state = json.loads(body)
        if state["format"] != FORMAT:
            raise RunError(f"{path}: format {state['format']!r}, this version reads {FORMAT!r}")
        for name, said in state["files"].items():
            if _describe(path / name) != said:
                raise DamagedCheckpointError(f"{name} is not what was written")
        model, optimizer = load_file(path / MODEL), load_file(path / OPTIMIZER)
    except (OSError, UnicodeDecodeError, SafetensorError) as error:
        raise DamagedCheckpointError(str(error)) from error
    progress = state["progress"]
    named = {"place": SampleId(*progress["place"]), "scaling": LossScale(*progress.get("scaling", UNSCALED))}
    return Checkpoint(path, Progress(**{**progress, **named}), model, optimizer)


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Puts a checkpoint's tensors into model and optimizer; of sharded ones each rank takes its part."""
    shapes = model.state_dict()
    model.load_state_dict({name: laid_out_like(tensor, shapes[name]) for name, tensor in checkpoint.model.items()})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ordered = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()
    state["state"] = {
        number: {
            "step": torch.tensor(float(checkpoint.progress.steps)),
            **{moment: laid_out_like(checkpoint.optimizer[f"{moment}.{name}"], shapes[name]) for moment in _MOMENTS},
        }
        for number, name in enumerate(ordered)
        if checkpoint.progress.steps
    }
    optimizer.load_state_dict(state)
    return checkpoint.progress


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in _MOMENTS
        if parameter in optimizer.state
    }


def _copied(tensor: Tensor, *, kept: bool) -> Tensor:
    """The whole of a tensor, in memory of its own on the processor."""
    tensor = whole(tensor.detach())
    return tensor.to("cpu", copy=True, memory_format=torch.contiguous_format) if kept else tensor.new_empty(0)


def _describe(path: Path) -> dict[str, object]:
    with path.open("rb") as stream:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def sync_to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)
