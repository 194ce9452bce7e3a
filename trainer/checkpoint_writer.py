"""Checkpoints written beside training: a step waits for the copy of its tensors, not for the disk.

In: snapshots. Out: checkpoints, as `trainer.checkpoints` writes them. The rule: one is written at a time and the next
waits for it, so a run needs memory for one snapshot; what goes wrong is raised to the run, never lost.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from trainer.checkpoints import Snapshot, write_snapshot


class CheckpointWriter:
    """Writes snapshots into a folder, in a thread where `background`; leaving it waits for the last one."""

    def __init__(self, folder: Path, *, keep: int, background: bool) -> None:
        self._folder = folder
        self._keep = keep
        self._background = background
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A snapshot that was taken is written whatever ended the run; the run's own error comes first."""
        try:
            self.wait()
        except Exception as also:
            if error is None:
                raise
            error.add_note(f"and the last checkpoint was not written: {also}")

    def write(self, snapshot: Snapshot) -> None:
        """Takes a snapshot over; waits for the one before, and raises what that met."""
        self.wait()
        if not self._background:
            write_snapshot(self._folder, snapshot, keep=self._keep)
            return
        # Not a daemon: even an interpreter that ends on an error lets it finish.
        self._thread = threading.Thread(target=self._work, args=(snapshot,), name="checkpoint")
        self._thread.start()

    def check(self) -> None:
        """Raises what writing met, if it met something; waits for nothing."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Waits until what was taken over is on the disk, or raises why it is not."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self, snapshot: Snapshot) -> None:
        try:
            write_snapshot(self._folder, snapshot, keep=self._keep)
        except Exception as error:  # noqa: BLE001 - raised to the run by wait()
            self._error = error
