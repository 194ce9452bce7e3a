"""URLs: files of Reddit submissions become the list of addresses to fetch, each page once.

Each file is read by one worker (packed files cannot be cut) and leaves a work file, which is never made twice. Its
links travel packed, a table for each row group and partition, to the partition that their canonical form hashes to;
there the URLs are chosen and written in order. No name and no byte depends on the number of workers.

Of the submissions of one URL the one of the highest score stands for it, then the earliest, then the first by file and
line; the others are rejects (`duplicate_url`) that name it. With `sum_scores` a URL's score is the sum over all of its
submissions, and where that is too low each of them counts as `low_score`.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpe.entries import FileEntry
from bpe.manifest import settings_hash
from corpora.compressed_lines import DEFAULT_LINE_BYTES
from corpora.errors import CorpusError
from corpora.openwebtext import Link, UrlRules, bounded, make_judge
from corpora.submissions import Submission, read_submissions
from pipelines.command import print_lines
from pipelines.dataflow import check_inputs
from pipelines.dry_run import show_plan
from pipelines.extract_stage import ReadInputList, exit_with_driver
from pipelines.inputs import InputFile, fingerprint, open_input, size_of_input, write_input_list
from pipelines.ledger import Books, move_to_rejected
from pipelines.running import log_to, run_pipeline
from pipelines.runs import hold_output
from pipelines.settings import Execution, as_plain
from pipelines.sharding import write_table
from pipelines.splits import Split
from pipelines.storage import join, list_files, make_folder, remove, remove_tree, sweep_temporaries, write_atomically
from pipelines.url_choice import assign_parts, choose_urls, pack, part_stem, unpack
from pipelines.url_files import (
    COMMIT_NAME,
    FOLDER,
    REJECT_SCHEMA,
    LinkWriter,
    UrlRun,
    read_link_books,
    read_url_run,
    write_url_run,
)
from pipelines.work_files import read_groups

BYTES_PER_PART = 64 << 20  # of packed submissions: some 100,000 links, which one worker holds at a time
MAX_PARTS = 4_096
FILES = "files"  # side output: one (name, bytes, fingerprint, books) a file


class UrlSettings(NamedTuple):
    """All that decides the bytes of the stage, besides its input."""

    rules: UrlRules
    n_parts: int
    max_line_bytes: int = DEFAULT_LINE_BYTES

    def as_dict(self) -> dict[str, object]:
        return {"rules": as_plain(self.rules), "n_parts": self.n_parts, "max_line_bytes": self.max_line_bytes}


class PartOutcome(NamedTuple):
    """One partition as the commit needs it."""

    urls: FileEntry
    rejected: FileEntry | None
    lost: tuple[tuple[str, str, int], ...]  # (source, reason, submissions) of links that were not chosen


def run_url_stage(rules: UrlRules, execution: Execution, inputs: Sequence[InputFile]) -> UrlRun:
    """The whole stage, going on from what an earlier try has finished; a finished one is not done again."""
    inputs = [with_size(file) for file in inputs]
    settings = UrlSettings(rules, count_parts(file.n_bytes or 0 for file in inputs))
    check_inputs(execution, inputs)
    finished = check_urls(execution.output, settings, inputs, overwrite=execution.overwrite)
    if finished is not None:
        print_lines(f"already finished: {execution.output}/{FOLDER}", describe_urls(finished, execution.output))
        return finished
    with hold_output(execution.output):
        prepare_urls(execution.output, work_folder_of_urls(execution.output, settings))
        write_input_list(inputs, input_list_of(execution.output))
        log = join(execution.output, "work", "workers.log")
        with log_to(log, debug=execution.debug):
            run_pipeline(lambda pipeline: build(pipeline, settings, execution), execution, name=job_of(settings))
        run = read_url_run(execution.output)
        if run is None:
            raise CorpusError(f"{execution.output}: the job ended without {COMMIT_NAME}; its runner's log says why")
        clear_urls(
            execution.output, run, work_folder_of_urls(execution.output, settings), keep_work=execution.keep_work
        )
    print_lines(describe_urls(run, execution.output))
    return run


def plan_url_stage(rules: UrlRules, execution: Execution, inputs: Sequence[InputFile]) -> None:
    """Shows the stage's job instead of running it."""
    check_inputs(execution, inputs)
    settings = UrlSettings(rules, count_parts(with_size(file).n_bytes or 0 for file in inputs))
    show_plan(lambda pipeline: build(pipeline, settings, execution), execution, name=job_of(settings))


def job_of(settings: UrlSettings) -> str:
    """The job's name: two of one name are the same run."""
    return f"urls-{settings_hash(settings.as_dict())[:12]}"


def input_list_of(output: str) -> str:
    return join(output, "work", "submissions.tsv")


def build(pipeline: Any, settings: UrlSettings, execution: Execution) -> None:
    """The job's graph, of one size however large the input is."""
    input_list, work_folder = input_list_of(execution.output), work_folder_of_urls(execution.output, settings)
    reader = ReadSubmissionFile(settings, work_folder, driver_pid=driver_pid(execution), strict=execution.strict)
    files = (
        pipeline
        | "Name the list of submissions" >> beam.Create([input_list])
        | "Read the list of submissions" >> beam.ParDo(ReadInputList())
        | "Spread submission files" >> beam.Reshuffle()
        | "Judge submissions" >> beam.ParDo(reader).with_outputs(FILES, main="work")
    )
    parts = (
        files.work
        | "Spread work files" >> beam.Reshuffle()
        | "Pack links by partition" >> beam.ParDo(PackLinks(settings.n_parts))
        | "Group links by partition" >> beam.GroupByKey()
        | "Choose URLs" >> beam.ParDo(ChooseUrls(execution.output, settings))
    )
    gathered = {
        "files": files[FILES] | "Key files" >> beam.Map(_under_one_key),
        "parts": parts | "Key parts" >> beam.Map(_under_one_key),
        "start": pipeline | "Commit even when there are no links" >> beam.Create([("run", None)]),
    }
    _ = gathered | "Gather" >> beam.CoGroupByKey() | "Commit URLs" >> beam.ParDo(CommitUrls(execution.output, settings))


class ReadSubmissionFile(beam.DoFn):
    """Input file -> (source, path of its work file), and on FILES its identity and books."""

    def __init__(self, settings: UrlSettings, work_folder: str, *, driver_pid: int, strict: bool) -> None:
        self.settings, self.work_folder = settings, work_folder
        self.driver_pid, self.strict = driver_pid, strict

    def setup(self) -> None:
        if self.driver_pid:
            exit_with_driver(self.driver_pid)

    def process(self, element: Any) -> Iterator[Any]:
        file = InputFile(*element)
        n_bytes = file.n_bytes if file.n_bytes is not None else size_of_input(file.location)
        mark = fingerprint(file)
        path = join(self.work_folder, Split(file.name, file.location, mark, n_bytes, 0, 0, n_bytes).work_name)
        books = read_link_books(path) or judge_file(file, path, self.settings)
        if self.strict and books.broken:
            raise DamagedSubmissionsError(file.name, books.broken)
        yield file.name, path
        yield beam.pvalue.TaggedOutput(FILES, (file.name, n_bytes, mark, tuple(books)))


class DamagedSubmissionsError(CorpusError):
    """`--strict` and a damaged file: the run stops."""

    def __init__(self, source: str, broken: Sequence[tuple[str, int]]) -> None:
        self.source, self.broken = source, broken
        found = ", ".join(f"{reason} {n}" for reason, n in broken)
        super().__init__(f"{source}: {found}; replace the file, or run without --strict to keep what can be read")

    def __reduce__(self) -> tuple[object, ...]:
        return DamagedSubmissionsError, (self.source, self.broken)


def judge_file(file: InputFile, path: str, settings: UrlSettings) -> Books:
    """Reads one file of submissions to its end and writes its work file."""

    def write(stream: BinaryIO) -> Books:
        with LinkWriter(stream) as writer, open_input(file.location) as opened:
            collect_links(opened, file.name, writer, settings)
            return writer.finish()

    books = write_atomically(path, write)
    logging.info("judged submissions file=%s read=%d links=%d", file.name, books.read, books.kept)
    return books


def collect_links(stream: BinaryIO, name: str, writer: LinkWriter, settings: UrlSettings) -> None:
    """The inner loop: every record of a stream becomes a row or a count."""
    judge, add, rejected = make_judge(settings.rules), writer.add, writer.rejected
    for first, records in read_submissions(stream, name=name, max_line_bytes=settings.max_line_bytes):
        n_blank = 0
        for line, record in enumerate(records, first):
            if isinstance(record, Submission):
                verdict = judge(record)
                if isinstance(verdict, Link):
                    writer.n_links += 1
                    add((*verdict, line, "", "", False))
                else:
                    rejected[verdict.reason] += 1
                    if verdict.url:
                        add(("", verdict.url, *_facts(record), line, verdict.reason, verdict.detail, False))
            elif record is None:
                n_blank += 1
            else:
                writer.broken[record.reason] += 1
                add(("", "", 0, 0, "", "", line, record.reason, record.detail, True))
        writer.n_read += len(records) - n_blank


class PackLinks(beam.DoFn):
    """(source, work file) -> (partition, (source, packed table)) for each row group and partition."""

    def __init__(self, n_parts: int) -> None:
        self.n_parts = n_parts

    def process(self, element: Any) -> Iterator[Any]:
        source, path = element
        for table in read_groups(path):
            # A URL goes by its canonical form, so that all of its links meet; a reject by its place.
            keys = zip(table["key"].to_pylist(), table["line"].to_pylist(), strict=True)
            parts = assign_parts((key or f"{source}\0{line}" for key, line in keys), self.n_parts)
            order = np.argsort(parts, kind="stable")
            table, parts = table.take(pa.array(order)), parts[order]
            starts = np.flatnonzero(np.diff(parts, prepend=-1))
            for start, end in zip(starts, [*starts[1:], len(parts)], strict=True):
                yield part_stem(int(parts[start]), self.n_parts), (source, pack(table.slice(start, end - start)))


class ChooseUrls(beam.DoFn):
    """(partition, its packed tables) -> PartOutcome, its files written; the order of delivery does not matter."""

    def __init__(self, folder: str, settings: UrlSettings) -> None:
        self.folder, self.settings = folder, settings

    def process(self, group: Any) -> Iterator[Any]:
        stem, packed = group
        rows = pa.concat_tables(_with_source(unpack(data), source) for source, data in packed)
        is_link = pc.equal(rows["reason"], "")
        urls, rejects, lost = choose_urls(rows.filter(is_link), self.settings.rules)
        rejects = pa.concat_tables([rows.filter(pc.invert(is_link)).select(REJECT_SCHEMA.names), rejects])
        rejects = rejects.sort_by([("source", "ascending"), ("line", "ascending")])
        name = f"{FOLDER}/rejected-{stem}.parquet"
        yield PartOutcome(
            write_table(self.folder, f"{FOLDER}/part-{stem}.parquet", urls),
            write_table(self.folder, name, rejects.cast(REJECT_SCHEMA)) if rejects.num_rows else None,
            tuple(sorted((source, reason, n) for (source, reason), n in lost.items())),
        )


class CommitUrls(beam.DoFn):
    """Everything under one key -> `urls.json`, once all else is written."""

    def __init__(self, folder: str, settings: UrlSettings) -> None:
        self.folder, self.settings = folder, settings

    def process(self, element: Any) -> Iterator[str]:
        groups = element[1]
        outcomes = [PartOutcome(*one) for one in groups["parts"]]
        lost: dict[str, Counter[str]] = {}
        for outcome in outcomes:
            for source, reason, n in outcome.lost:
                lost.setdefault(source, Counter())[reason] += n
        inputs = {
            name: (n_bytes, mark, move_to_rejected(Books(*books), lost.get(name, Counter())))
            for name, n_bytes, mark, books in groups["files"]
        }
        rejected = (FileEntry(*one.rejected) for one in outcomes if one.rejected is not None)
        parts = [FileEntry(*one.urls) for one in outcomes]
        write_url_run(self.folder, self.settings.as_dict(), inputs, parts, rejected)
        yield join(self.folder, FOLDER, COMMIT_NAME)


def count_parts(sizes: Iterable[int]) -> int:
    """How many parts the URLs are written in: a function of the input's size alone.

    >>> count_parts([10]), count_parts([40 << 20, 40 << 20]), count_parts([1 << 50])
    (1, 2, 4096)
    """
    return min(max(-(-sum(sizes) // BYTES_PER_PART), 1), MAX_PARTS)


def check_urls(output: str, settings: UrlSettings, inputs: Sequence[InputFile], *, overwrite: bool) -> UrlRun | None:
    """The finished stage where it is this very one, else None; ValueError where the folder holds another."""
    run = read_url_run(output)
    if run is None or overwrite:
        return None
    there = {name: one["bytes"] for name, one in run.inputs.items()}
    if run.settings_hash == settings_hash(settings.as_dict()) and there == {one.name: one.n_bytes for one in inputs}:
        return run
    what = "rules" if run.settings.get("rules") != settings.as_dict()["rules"] else "submissions"
    raise ValueError(
        f"{output}/{FOLDER} holds the URLs of other {what}; choose another --output, or replace them with --overwrite"
    )


def work_folder_of_urls(output: str, settings: UrlSettings) -> str:
    """Where the stage keeps work files that a later try can use."""
    return join(output, "work", f"urls-{settings_hash(settings.as_dict())[:16]}")


def prepare_urls(output: str, work_folder: str) -> None:
    """Makes the folders and takes back an old commit."""
    remove(join(output, FOLDER, COMMIT_NAME))
    for folder in (join(output, FOLDER), work_folder):
        make_folder(folder)
        sweep_temporaries(folder)


def clear_urls(output: str, run: UrlRun, work_folder: str, *, keep_work: bool) -> None:
    """After the commit: removes files that it does not list, and the work files unless they are kept."""
    listed = {entry.name for entry in (*run.parts, *run.rejected)}
    for name in list_files(join(output, FOLDER), "*.parquet"):
        if f"{FOLDER}/{name}" not in listed:
            remove(join(output, FOLDER, name))
    if not keep_work:
        remove_tree(work_folder, root=output)


def describe_urls(run: UrlRun, output: str) -> str:
    """What a person wants to know of the stage."""
    books = run.books
    lost: Mapping[str, int] = {**books["rejected"], **books["broken"]}
    shown = ", ".join(f"{reason} {n:,}" for reason, n in sorted(lost.items(), key=lambda pair: (-pair[1], pair[0])))
    return (
        f"read {books['read']:,} submissions: kept {books['kept']:,}, rejected {sum(books['rejected'].values()):,},"
        f" broken {sum(books['broken'].values()):,}\n  not kept: {shown or 'none'}\n"
        f"URLs: {run.n_urls:,} in {output}/{FOLDER}"
    )


def driver_pid(execution: Execution) -> int:
    """The process that workers end with; 0 on a remote runner."""
    return os.getpid() if execution.is_local else 0


def _facts(record: Submission) -> tuple[int, int, str, str]:
    return bounded(record.score), bounded(record.created_utc), record.subreddit or "", record.id or ""


def with_size(file: InputFile) -> InputFile:
    """The file with its size, which is asked for where nobody has yet."""
    return file if file.n_bytes is not None else file._replace(n_bytes=size_of_input(file.location))


def _with_source(table: pa.Table, source: str) -> pa.Table:
    field = pa.field("source", pa.string(), nullable=False)
    return table.append_column(field, pa.array([source] * table.num_rows, pa.string()))


def _under_one_key(element: Any) -> tuple[str, Any]:
    return "run", element
