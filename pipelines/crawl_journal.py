"""What a partition has so far, safe against kill -9 and power loss; and how it becomes final.

The rule: an outcome is in the journal only after the record it points to is on the disk. Records are appended to WARC
files as gzip members; now and then the files are synced, and only then the outcomes of that time are appended to the
journal and it is synced. A restart believes the journal: it cuts the WARC files after the last record it names, cuts a
torn last line, and goes on. When every task has its line, the WARC files move to their place and the table of outcomes
is written: that table is the commit.
"""

import fcntl
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from corpora.urls import redact_credentials
from pipelines.crawl_outcomes import FETCHED, OUTCOME_SCHEMA, Outcome
from pipelines.crawl_records import make_warcinfo
from pipelines.crawl_settings import FetchSettings
from pipelines.storage import cannot_write, sync_folder, write_atomically

_GROUP_ROWS = 16_384


class Part(NamedTuple):
    """Where a partition lies."""

    folder: Path  # of the crawl
    name: str  # of the crawl
    partition: int

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.partition:05}"

    @property
    def table(self) -> Path:
        """The outcomes; a file that is there says that the partition is finished."""
        return self.folder / f"{self.stem}.outcomes.parquet"

    @property
    def work(self) -> Path:
        """Folder of its journal, and of its WARC files until they are final."""
        return self.folder / f"{self.name}.work" / f"{self.partition:05}"

    @property
    def lock(self) -> Path:
        return self.work.with_suffix(".lock")


class PartSummary(NamedTuple):
    """What a finished partition holds."""

    partition: int
    n_tasks: int
    fingerprint: str  # of its tasks
    outcomes: tuple[tuple[str, int], ...]  # sorted
    n_bytes: int  # of the fetched bodies, as sent
    warcs: tuple[str, ...]  # names of files in the crawl's folder


@contextmanager
def hold(path: Path, *, patience_s: float = 0.0) -> Iterator[None]:
    """Keeps other processes out while it lasts, by a lock on a file of its own.

    OSError where one is in and stays. Waiting blocks the thread.
    """
    until = time.monotonic() + patience_s
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise cannot_write(error, path) from error
    try:
        while not _try_flock(descriptor):
            if time.monotonic() >= until:
                raise OSError(f"{path}: another process is fetching this; wait for it")
            time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Journal:
    """The open partition; one process at a time (`hold`), one event loop, and `commit` from any thread."""

    def __init__(self, part: Part, settings: FetchSettings) -> None:
        self._part = part
        self._settings = settings
        self._path = part.work / "journal"
        self._lines: list[str] = []  # outcomes whose records may not be on the disk yet
        self._dirty: list[FileIO] = []
        self._warc: FileIO | None = None
        self._warc_bytes = 0
        self._adding = threading.Lock()  # held for moments; commits run in threads of their own
        self._committing = threading.Lock()  # held while the disk works
        part.work.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a+b", buffering=0)  # noqa: SIM115  # closed by `close`
        for folder in (part.work, part.work.parent):
            sync_folder(folder)
        entries = list(self._recover())
        self.done = bytearray(b"".join(b"\0" * (row - at) + b"\1" * n for at, row, n in _gaps(entries)))
        self._recover_warcs(entries)

    def is_done(self, row: int) -> bool:
        return row < len(self.done) and bool(self.done[row])

    def add(self, row: int, n_rows: int, outcome: Outcome, record: bytes | None) -> None:
        """The outcome of the tasks [row, row + n_rows), which have one URL; its record goes to a WARC file first."""
        with self._adding:
            if record is not None:
                warc, offset = self._append(record)
                outcome = outcome._replace(warc=warc, offset=offset, length=len(record))
            self._lines.append(json.dumps((row, n_rows, *outcome)) + "\n")

    def commit(self) -> None:
        """Puts what was added on the disk: records first, then their outcomes."""
        with self._committing:
            with self._adding:
                lines, self._lines = self._lines, []
                dirty, self._dirty = self._dirty, []
            for file in dirty:
                os.fsync(file.fileno())
                if file is not self._warc:
                    file.close()
            if lines:
                _write(self._file, "".join(lines).encode(), self._path)
                os.fsync(self._file.fileno())

    def close(self) -> None:
        self.commit()
        self._file.close()
        if self._warc:
            self._warc.close()

    def finish(self, tasks: pa.Table, fingerprint: str) -> PartSummary:
        """Makes the partition final; every task must have its outcome."""
        self.close()
        summary = _publish(self._part, tasks, list(_read_entries(self._path)[0]), fingerprint)
        shutil.rmtree(self._part.work, ignore_errors=True)
        return summary

    def _append(self, record: bytes) -> tuple[str, int]:
        if self._warc is None or self._warc_bytes >= self._settings.warc_bytes:
            self._open_next()
        assert self._warc is not None
        offset = self._warc_bytes
        _write(self._warc, record, Path(str(self._warc.name)))
        self._warc_bytes += len(record)
        if self._warc not in self._dirty:
            self._dirty.append(self._warc)
        return Path(str(self._warc.name)).name, offset

    def _open_next(self) -> None:
        number = len(list(self._part.work.glob("*.warc.gz")))
        path = self._part.work / f"{self._part.stem}-{number:05}.warc.gz"
        opening = make_warcinfo(path.name, self._settings)
        self._warc = open(path, "xb", buffering=0)  # noqa: SIM115  # closed by `commit` or `close`
        _write(self._warc, opening, path)
        self._warc_bytes = len(opening)
        sync_folder(self._part.work)

    def _recover(self) -> Iterator[tuple[int, int, Outcome]]:
        entries, n_bytes = _read_entries(self._path)
        os.ftruncate(self._file.fileno(), n_bytes)
        yield from entries

    def _recover_warcs(self, entries: list[tuple[int, int, Outcome]]) -> None:
        ends: Counter[str] = Counter()
        for _, _, outcome in entries:
            if outcome.offset is not None and outcome.length is not None:
                ends[outcome.warc] = max(ends[outcome.warc], outcome.offset + outcome.length)
        for path in sorted(self._part.work.glob("*.warc.gz")):
            if path.name not in ends:
                path.unlink()
        for name, end in sorted(ends.items()):
            path = self._part.work / name
            if not path.exists() and (self._part.folder / name).exists():
                continue  # all was fetched, and moving the files was interrupted
            size = path.stat().st_size if path.exists() else 0
            if size < end:
                raise OSError(f"{path}: {size} bytes, but {end} were written; delete {self._part.work} to fetch again")
            os.truncate(path, end)
        last = max(self._part.work.glob("*.warc.gz"), default=None)
        if last:
            self._warc, self._warc_bytes = open(last, "ab", buffering=0), ends[last.name]  # noqa: SIM115


def _gaps(entries: list[tuple[int, int, Outcome]]) -> Iterator[tuple[int, int, int]]:
    """(end of the run before, first row, number of rows) of each entry, by row."""
    at = 0
    for row, n_rows, _ in sorted(entries, key=lambda entry: entry[0]):
        yield at, row, n_rows
        at = row + n_rows


def _read_entries(path: Path) -> tuple[list[tuple[int, int, Outcome]], int]:
    """The journal's sound lines, and how many bytes they take; a torn line and what follows it are none."""
    entries, n_bytes = [], 0
    with path.open("rb") as stream:
        for line in stream:
            try:
                row, n_rows, *fields = json.loads(line)
                entry = (int(row), int(n_rows), Outcome(*fields))
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            entries.append(entry)
            n_bytes += len(line)
    return entries, n_bytes


def _write(file: FileIO, data: bytes, path: Path) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise cannot_write(error, path) from error


def _publish(part: Part, tasks: pa.Table, entries: list[tuple[int, int, Outcome]], fingerprint: str) -> PartSummary:
    outcomes: list[Outcome | None] = [None] * tasks.num_rows
    for row, n_rows, outcome in entries:
        outcomes[row : row + n_rows] = [outcome] * n_rows
    assert all(outcome is not None for outcome in outcomes)
    warcs = sorted({outcome.warc for _, _, outcome in entries if outcome.warc})
    for name in warcs:
        with suppress(FileNotFoundError):  # moved already, by a run that was stopped just then
            (part.work / name).rename(part.folder / name)
    sync_folder(part.folder)
    counts = Counter(outcome.outcome for outcome in outcomes if outcome)
    n_bytes = sum(outcome.n_bytes for _, _, outcome in entries if outcome.outcome == FETCHED)
    summary = PartSummary(
        part.partition, tasks.num_rows, fingerprint, tuple(sorted(counts.items())), n_bytes, tuple(warcs)
    )  # fmt: skip

    def write(stream: BinaryIO) -> None:
        schema = OUTCOME_SCHEMA.with_metadata({"shardmill": json.dumps(summary)})
        with pq.ParquetWriter(stream, schema, compression="zstd", write_page_checksum=True) as writer:
            for start in range(0, len(outcomes), _GROUP_ROWS):
                piece = tasks.slice(start, _GROUP_ROWS)
                urls, keys = piece["url"].to_pylist(), piece["key"].to_pylist()
                rows = [
                    {"url": redact_credentials(url), "key": key, **outcome._asdict()}
                    for url, key, outcome in zip(urls, keys, outcomes[start : start + _GROUP_ROWS], strict=True)
                    if outcome
                ]
                writer.write_table(pa.Table.from_pylist(rows, schema))

    write_atomically(str(part.table), write)
    return summary


def read_part(part: Part) -> PartSummary | None:
    """The summary of a finished partition; None where it is not finished."""
    try:
        metadata = pq.read_metadata(part.table).metadata or {}
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowInvalid) as error:
        raise OSError(f"{part.table}: damaged ({error}); give the crawl another name to fetch anew") from error
    partition, n_tasks, fingerprint, outcomes, n_bytes, warcs = json.loads(metadata[b"shardmill"])
    pairs = tuple((str(outcome), int(n)) for outcome, n in outcomes)
    return PartSummary(partition, n_tasks, fingerprint, pairs, n_bytes, tuple(warcs))
