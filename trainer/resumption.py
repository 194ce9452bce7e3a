"""How a run begins, goes on and leaves its state: whose folder it is, the last checkpoint, the log up to there.

In: a run's folder and its description. Out: `Progress` to go on from. The rule: ranks go on together from the same
checkpoint, and a folder never mixes two runs.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from trainer.checkpoint_writer import CheckpointWriter
from trainer.checkpoints import START, Progress, load_last, restore, take_snapshot
from trainer.data_record import EpochRecord, begin_records
from trainer.parallel import Ranks, all_agree
from trainer.run_folder import (
    CHECKPOINTS,
    RunDescription,
    RunError,
    plain_description,
    read_description,
    refuse_other_run,
    truncate_log,
    write_description,
)
from trainer.sharding import is_sharded


class RunState(NamedTuple):
    """A run's folder, as one rank sees it."""

    folder: Path
    description: RunDescription
    ranks: Ranks
    say: Callable[[str], None]


def claim_folder(run: RunState, *, resume: str, first: EpochRecord | None) -> None:
    """Makes the folder this run's, or finds that it is; RunError where it is another's.

    `first` is what its first epoch reads, where data grow.
    """
    found = read_description(run.folder)
    if found is not None:
        if resume == "never":
            raise ValueError(f"{run.folder} holds a run, and --resume is never: name another --output, or remove it")
        refuse_other_run(run.folder, found, run.description)
    # Folders may differ between machines; what they hold may not.
    description = run.description
    read = repr((description.manifests, description.weights, description.vocabulary, description.settings)).encode()
    if not all_agree(int(hashlib.sha256(read).hexdigest()[:7], 16), run.ranks):
        raise RunError("the ranks do not read the same manifests and settings; give all of them the same --data")
    if run.ranks.speaks:
        if found is None and first is not None:
            begin_records(run.folder, first)  # before settings.json: a run that has begun has its record
        write_description(run.folder, run.description)


def resume_run(run: RunState, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Puts the last intact checkpoint to work, where there is one, and takes later lines out of the log."""
    checkpoint = load_last(run.folder / CHECKPOINTS, warn=run.say)
    progress = START if checkpoint is None else restore(checkpoint, model, optimizer)
    if not all_agree(progress.update, run.ranks):
        raise RunError(f"{run.folder}: the ranks do not find the same checkpoint; it must be on a disk that all share")
    if run.ranks.speaks:
        truncate_log(run.folder, progress.update)
    if checkpoint is not None:
        run.say(f"resuming after update {progress.update}, from {checkpoint.path}")
    return progress


def save_progress(
    run: RunState,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    saved: Progress,
    writer: CheckpointWriter,
) -> Progress:
    """Hands a checkpoint to the writer unless there is nothing new.

    There is none in a row of skipped updates, so that the last is good.
    """
    if progress.update == saved.update or progress.skipped_in_row:
        return saved
    if run.ranks.speaks or is_sharded(model):
        writer.wait()  # before the copy, so that memory holds one
        description = plain_description(run.folder, run.description)
        snapshot = take_snapshot(model, optimizer, progress, description=description, writes=run.ranks.speaks)
        if run.ranks.speaks:
            writer.write(snapshot)
    return progress


def open_writer(run: RunState) -> CheckpointWriter:
    """What writes the run's checkpoints."""
    settings = run.description.settings
    return CheckpointWriter(
        run.folder / CHECKPOINTS, keep=settings.keep_checkpoints, background=settings.async_checkpoints
    )
