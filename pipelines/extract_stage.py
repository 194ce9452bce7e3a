"""Extract: each split of the input becomes one work file, and that is never done twice.

No shuffle and no state: reading, the killable extractor and the writing of one split happen in one
place, so a crash costs the splits under work and nothing else. What comes out is the reference to a
work file, not its documents.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from corpora.documents import RawPage, Rejection
from corpora.warc import Administrative
from pipelines.inputs import InputFile, open_input, read_input_list
from pipelines.progress import ProgressNote
from pipelines.sandbox import Sandbox, SandboxLimits
from pipelines.sandbox_child import load_function
from pipelines.settings import InputKind, kind_of
from pipelines.splits import Split, group_of, split_input
from pipelines.storage import is_url, join, write_atomically
from pipelines.work_files import WorkSummary, WorkWriter, read_summary

INPUTS = "inputs"  # side output: one (name, bytes, fingerprint) a file


class ReadInputList(beam.DoFn):
    """Path of the input list -> one row a file; the job graph stays small however long the list is."""

    def process(self, path: str) -> Iterator[Any]:
        yield from read_input_list(path)


class CountKinds(beam.DoFn):
    """Path of an input list -> how many of its files are of each kind; counted in the job, whose graph has one size."""

    def __init__(self, kinds: Mapping[str, InputKind]) -> None:
        self.kinds = kinds

    def process(self, path: str) -> Iterator[Any]:
        yield dict(Counter(kind_of(file.name, self.kinds) for file in read_input_list(path)))


class PlanSplits(beam.DoFn):
    """Input file -> its splits, and on INPUTS what identifies the file."""

    def __init__(self, limit_bytes: int | None, kinds: Mapping[str, InputKind]) -> None:
        self.limit_bytes = limit_bytes
        self.kinds = kinds

    def process(self, element: Any, n_files: Mapping[str, int]) -> Iterator[Any]:
        file = InputFile(*element)
        kind = kind_of(file.name, self.kinds)
        group = group_of(file.name, kind=kind, n_files=n_files[kind]) if self.kinds[kind].whole_files else ""
        splits = split_input(file, limit_bytes=self.limit_bytes, group=group)
        first = splits[0]
        yield beam.pvalue.TaggedOutput(INPUTS, (first.source, first.n_bytes, first.fingerprint))
        yield from (tuple(split) for split in splits)


class ExtractSplits(beam.DoFn):
    """Split -> (part name, reference to its work file); a split whose work file is there is not read again."""

    def __init__(
        self,
        *,
        kinds: Mapping[str, InputKind],
        work_folder: str,
        timeout_s: float,
        driver_pid: int,
        strict: bool,
    ) -> None:
        self.kinds = kinds
        self.work_folder = work_folder
        self.timeout_s = timeout_s
        self.driver_pid = driver_pid  # 0 on a remote runner
        self.strict = strict
        self.pages = Metrics.counter("extract", "pages")
        self.reused = Metrics.counter("extract", "splits_reused")

    def setup(self) -> None:
        if self.driver_pid:
            exit_with_driver(self.driver_pid)
        self.stack = ExitStack()
        self.sandboxes: dict[str, Sandbox] = {}  # of a kind, started by the first split that has to be extracted
        shown = self.driver_pid and not is_url(self.work_folder)  # progress is read from a local disk only
        self.note = ProgressNote(self.work_folder) if shown else None

    def teardown(self) -> None:
        self.stack.close()

    def process(self, element: Any) -> Iterator[Any]:
        split = Split(*element)
        path = join(self.work_folder, split.work_name)
        summary = read_summary(path)
        if summary is not None:
            self.reused.inc()
        else:
            kind = kind_of(split.source, self.kinds)
            summary = extract_split(split, path, kind=self.kinds[kind], sandbox=self._sandbox(kind), note=self.note)
            self.pages.inc(summary.books.read)
        if self.note:
            self.note.finish_split(split.end - split.start, summary.books)
        if self.strict and summary.books.broken:
            raise DamagedInputError(split, summary)
        yield split.part_name, (split.ordinal, path, summary)

    def _sandbox(self, name: str) -> Sandbox:
        if name not in self.sandboxes:
            kind, limits = self.kinds[name], SandboxLimits(timeout_s=self.timeout_s)
            sandbox = Sandbox(kind.process, settings=kind.settings, check=kind.versions, limits=limits)
            self.sandboxes[name] = self.stack.enter_context(sandbox)
        return self.sandboxes[name]


class DamagedInputError(Exception):
    """`--strict` and a damaged record: the run stops."""

    def __init__(self, split: Split, summary: WorkSummary) -> None:
        self.split, self.summary = split, summary
        found = ", ".join(f"{reason} {n}" for reason, n in summary.books.broken)
        super().__init__(
            f"{split.source} between bytes {split.start} and {split.end}: {found};"
            " replace the file, or run without --strict to keep what can be read"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return DamagedInputError, (self.split, self.summary)


def extract_split(
    split: Split, path: str, *, kind: InputKind, sandbox: Sandbox, note: ProgressNote | None = None
) -> WorkSummary:
    """Reads, extracts and judges every record of a split and writes its work file."""

    read = load_function(kind.read)

    def write(stream: BinaryIO) -> WorkSummary:
        with WorkWriter(stream) as writer, open_input(split.location) as file:
            records: Any = read(file, source=split.source, start=split.start, end=split.end, limits=kind.limits)
            reading = _Reading(records, writer)
            for verdict in sandbox.map(reading.pages()):
                writer.add(verdict)
                if note:
                    note.page(writer.n_kept, writer.n_rejected)
            return writer.finish(n_read=reading.n_read, administrative=reading.administrative)

    return write_atomically(path, write)


class _Reading:
    """Feeds pages to the sandbox, and what the reader itself rejects straight to the writer."""

    def __init__(self, records: Iterable[RawPage | Rejection | Administrative], writer: WorkWriter) -> None:
        self._records = records
        self._writer = writer
        self.n_read = 0
        self.administrative = 0

    def pages(self) -> Iterator[RawPage]:
        for record in self._records:
            if isinstance(record, Administrative):
                self.administrative += 1
                continue
            self.n_read += 1
            if isinstance(record, Rejection):
                self._writer.add(record)
            else:
                yield record


def exit_with_driver(driver_pid: int) -> None:
    """Ends this worker process soon after its driver is gone: a killed run leaves nobody working."""
    if driver_pid == os.getpid() or any(thread.name == "exit-with-driver" for thread in threading.enumerate()):
        return

    def watch() -> None:
        while True:
            time.sleep(0.5)
            try:
                os.kill(driver_pid, 0)
            except ProcessLookupError:
                os._exit(1)

    threading.Thread(target=watch, name="exit-with-driver", daemon=True).start()
