"""What a person sees while a local run works: a live bar on a terminal, a line per interval elsewhere.

Workers are other processes, so each leaves a small note in the work folder and the driver adds them
up. Notes are for the eye only: the run's books never read them.
"""

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from pathlib import Path

from tqdm import tqdm

from pipelines.ledger import Books

NOTE_INTERVAL_S = 0.5
LINE_INTERVAL_S = 10.0
_SHOWN = (("pages", "read"), ("kept", "kept"), ("lost", "lost"))
_KINDS = ("bytes", "splits", "read", "kept", "lost")


class ProgressNote:
    """One worker's counts so far, kept in a file of its own."""

    def __init__(self, work_folder: str) -> None:
        folder = Path(work_folder) / "progress"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex}.json"
        self._done = dict.fromkeys(_KINDS, 0)
        self._written = 0.0

    def page(self, n_kept: int, n_lost: int) -> None:
        """Counts within the split under work."""
        now = time.monotonic()
        if now - self._written >= NOTE_INTERVAL_S:
            running = {"read": n_kept + n_lost, "kept": n_kept, "lost": n_lost}
            self._write({kind: self._done[kind] + running.get(kind, 0) for kind in _KINDS})
            self._written = now

    def finish_split(self, n_bytes: int, books: Books) -> None:
        add = {"bytes": n_bytes, "splits": 1, "read": books.read, "kept": books.kept, "lost": books.read - books.kept}
        self._done = {kind: self._done[kind] + add[kind] for kind in _KINDS}
        self._write(self._done)

    def _write(self, counts: dict[str, int]) -> None:
        with contextlib.suppress(OSError):  # a note is worth no failure
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(counts))
            temporary.replace(self._path)


class ProgressDisplay:
    """Shows the sum of all notes until closed; `total_bytes` of input is the bar's length."""

    def __init__(self, work_folder: str, *, total_bytes: int, watch: dict[str, Path]) -> None:
        self._notes = Path(work_folder) / "progress"
        self._watch = watch  # later phases: label -> folder whose files are counted
        self._total = total_bytes
        self._stop = threading.Event()
        self._first_page: float | None = None  # when it was seen: starting workers up is no reading of pages
        self._bar = tqdm(
            total=total_bytes, unit="B", unit_scale=True, dynamic_ncols=True, leave=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}",
            desc="extract", file=sys.stderr,
        ) if sys.stderr.isatty() else None  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        for note in self._notes.glob("*"):
            note.unlink(missing_ok=True)
        self._thread.start()

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2)
        self._show(final=True)
        if self._bar is not None:
            self._bar.close()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(NOTE_INTERVAL_S):
            if self._bar is not None:
                self._show()
            elif time.monotonic() - last >= LINE_INTERVAL_S:
                self._show()
                last = time.monotonic()

    def _show(self, *, final: bool = False) -> None:
        counts = self._counts()
        now = time.monotonic()
        if counts["read"] and self._first_page is None:
            self._first_page = now - NOTE_INTERVAL_S
        seconds = now - self._first_page if self._first_page is not None else 1.0
        words = (
            " ".join(f"{label}={counts[kind]:,}" for label, kind in _SHOWN) + f" pages/s={counts['read'] / seconds:.0f}"
        )
        for label, folder in self._watch.items():
            n = sum(1 for path in folder.glob("*") if not path.name.startswith(".")) if folder.is_dir() else 0
            words += f" {label}={n}" if n else ""
        if self._bar is not None:
            self._bar.n = min(counts["bytes"], self._total)
            self._bar.set_postfix_str(words)
        elif not final:
            share = 100 * counts["bytes"] / max(self._total, 1)
            sys.stderr.write(f"extract {share:.0f}% {words}\n")

    def _counts(self) -> dict[str, int]:
        counts = dict.fromkeys(_KINDS, 0)
        for note in self._notes.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                for kind, n in json.loads(note.read_text()).items():
                    counts[kind] += n
        return counts
