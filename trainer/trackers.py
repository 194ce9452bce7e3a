"""Curves for whoever watches runs elsewhere: TensorBoard or Weights & Biases, beside the log that is always written.

In: the lines of log.jsonl. Out: the same numbers in RUN/tensorboard or RUN/wandb. The rule: log.jsonl is the record,
and a resumed run shows no update twice. Neither is imported unless it is asked for, neither needs a network:
WANDB_MODE=offline keeps a run on the disk until `wandb sync`.
"""

import importlib
import importlib.util
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

NONE, TENSORBOARD, WANDB = "none", "tensorboard", "wandb"
_INSTALL = {TENSORBOARD: "pip install tensorboard", WANDB: "pip install wandb"}
_PROJECT = "shardmill"  # unless WANDB_PROJECT says otherwise


class Tracker(Protocol):
    """Takes the numbers of updates."""

    def update(self, entry: Mapping[str, object]) -> None:
        """A line of log.jsonl."""

    def close(self) -> None:
        """No more will come."""


def require_tracker(name: str) -> None:
    """ValueError where what the tracker needs is not installed."""
    if name != NONE and importlib.util.find_spec(name) is None:
        raise ValueError(f"--tracker {name}: it is not installed; `{_INSTALL[name]}`, or use --tracker none")


def open_tracker(name: str, folder: Path, *, after: int) -> Tracker | None:
    """The tracker of a run in this folder that goes on after an update; None where none is asked for."""
    if name == TENSORBOARD:
        return TensorBoard(folder / TENSORBOARD, after=after)
    if name == WANDB:
        return WeightsAndBiases(folder)
    return None


def numbers_of(entry: Mapping[str, object]) -> dict[str, float]:
    """What of a line can be drawn."""
    return {
        name: value
        for name, value in entry.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "update"
    }


class TensorBoard:
    """Scalars in TensorBoard's event files."""

    def __init__(self, folder: Path, *, after: int) -> None:
        # Imported here: it is slow, and absent where nobody asked for it.
        writer = importlib.import_module("torch.utils.tensorboard")
        # What an earlier start wrote of later updates, before it was killed, is taken back.
        self._writer: Any = writer.SummaryWriter(str(folder), purge_step=after + 1)

    def update(self, entry: Mapping[str, object]) -> None:
        """One point for each number."""
        for name, value in numbers_of(entry).items():
            self._writer.add_scalar(name, value, entry["update"])

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class WeightsAndBiases:
    """History of one run at Weights & Biases, through any number of resumptions.

    What was sent cannot be taken back there, and a resumed run repeats its updates to the last bit: so those that
    were sent before are left out. RUN/wandb/sent.txt holds the run's name there and, line by line, what was sent.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / WANDB / "sent.txt"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._path.read_text().split() if self._path.exists() else []
        name = lines[0] if lines else secrets.token_hex(8)
        self._sent = max(map(int, lines[1:]), default=0)
        self._record = self._path.open("a")
        if not lines:
            self._record.write(f"{name}\n")
        self._run: Any = importlib.import_module(WANDB).init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=folder.resolve().name,
            id=name,
            resume="allow",
            dir=str(folder),
        )

    def update(self, entry: Mapping[str, object]) -> None:
        """One step of the history."""
        update = entry["update"]
        assert isinstance(update, int)
        if update <= self._sent:
            return
        self._run.log(numbers_of(entry), step=update)
        self._sent = update
        self._record.write(f"{update}\n")
        self._record.flush()

    def close(self) -> None:
        """Waits until all is sent, or kept for later."""
        self._run.finish()
        self._record.close()
