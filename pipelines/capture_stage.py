"""Fetch, the other way: the pages of a list of URLs out of Common Crawl's archives instead of from their hosts.

Every file of an index is read once, whole, and what it knows of a wanted page is kept. Then, for each part of the
list, the best capture of every URL (`corpora.captures` says which) is read out of its archive by its place, checked
and copied, as it was stored, into a WARC file of our own:

    OUT/fetched/common-crawl-<part>.warc.gz            records in the order of the list
    OUT/fetched/common-crawl-<part>.outcomes.parquet   one row a URL, as the crawler writes it; the commit of its part
    OUT/fetched/fetched.json                           written last: counts, and what it was made from

Nothing is lost in silence: a URL that no index knows, or whose captures are all damaged or gone, has its row. The
files depend on the list, the index and the archives alone.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq

from corpora.captures import Capture
from corpora.errors import CorpusError
from pipelines.capture_copying import copy_part, read_outcomes, read_pages_wanted, table_path
from pipelines.capture_lookup import IndexCounts, hash_keys, look_up, read_counts, read_wanted
from pipelines.command import print_lines
from pipelines.crawl_outcomes import FETCHED
from pipelines.extract_stage import ReadInputList, exit_with_driver
from pipelines.fetched_files import (
    FETCHED_FOLDER,
    FETCHED_NAME,
    FetchedRun,
    check_way,
    describe_fetched,
    find_fetched,
    write_fetched,
)
from pipelines.inputs import InputFile, fingerprint, open_input, write_input_list
from pipelines.running import log_to, run_pipeline
from pipelines.runs import hold_output
from pipelines.settings import Execution
from pipelines.splits import Split
from pipelines.storage import (
    join,
    list_files,
    make_folder,
    open_read,
    remove,
    remove_tree,
    sweep_temporaries,
    write_atomically,
)
from pipelines.url_choice import assign_parts, part_stem
from pipelines.url_files import FOLDER, UrlRun, read_url_run
from pipelines.url_stage import driver_pid, with_size

__all__ = ["NAME", "run_common_crawl"]

NAME = "common-crawl"
_ROWS_AT_ONCE = 50_000
INDEX_FILES = "index_files"  # side output: counts of each file


class Plan(NamedTuple):
    """What is looked up, and where; `mark` is in every table that is made by it."""

    output: str
    work_folder: str
    crawl_root: str
    parts: tuple[tuple[str, int, int], ...]  # (name of the file of URLs, part, of so many)
    mark: str


def run_common_crawl(execution: Execution, index: Sequence[InputFile], *, crawl_root: str) -> FetchedRun:
    """The whole stage; parts that an earlier try has finished are not read again."""
    urls = read_url_run(execution.output)
    if urls is None:
        raise ValueError(f"{join(execution.output, FOLDER)} holds no finished list of URLs; run --stage urls first")
    index = [with_size(file) for file in index]
    plan = make_plan(execution.output, urls, index, crawl_root=crawl_root)
    check_way(execution.output, prefix=NAME)
    finished = None if execution.overwrite else find_fetched(execution.output, by=NAME, mark=plan.mark)
    if finished is not None:
        print_lines("already finished", describe_fetched(finished, execution.output))
        return finished
    with hold_output(execution.output):
        _prepare(plan, overwrite=execution.overwrite)
        index_list = join(execution.output, "work", "index.tsv")
        write_input_list(index, index_list)
        wanted = join(plan.work_folder, "wanted.npy")
        write_wanted(plan, wanted)
        job = f"{NAME}-{plan.mark[:12]}"
        with log_to(join(execution.output, "work", "workers.log"), debug=execution.debug):
            run_pipeline(lambda pipeline: build(pipeline, plan, execution, index_list, wanted), execution, name=job)
        run = find_fetched(execution.output, by=NAME, mark=plan.mark)
        if run is None:
            raise CorpusError(f"{execution.output}: the job ended without a summary; its runner's log says why")
        if not execution.keep_work:
            remove_tree(plan.work_folder, root=execution.output)
    print_lines(describe_fetched(run, execution.output))
    return run


def build(pipeline: Any, plan: Plan, execution: Execution, index_list: str, wanted: str) -> None:
    """The job's graph."""
    pid = driver_pid(execution)
    found = (
        pipeline
        | "Name the list of the index" >> beam.Create([index_list])
        | "Read the list of the index" >> beam.ParDo(ReadInputList())
        | "Spread index files" >> beam.Reshuffle()
        | "Look URLs up"
        >> beam.ParDo(ReadIndexFile(plan, wanted, driver_pid=pid)).with_outputs(INDEX_FILES, main="work")
    )
    captures = found.work | "Spread captures" >> beam.Reshuffle() | "Key captures" >> beam.ParDo(PackCaptures(plan))
    parts = pipeline | "Name the parts" >> beam.Create([part_stem(part, n) for _, part, n in plan.parts])
    outcomes = (
        {"captures": captures, "parts": parts | "Key the parts" >> beam.Map(_with_itself)}
        | "Bring captures to parts" >> beam.CoGroupByKey()
        | "Copy records" >> beam.ParDo(CopyRecords(plan, driver_pid=pid))
    )
    gathered = {
        "outcomes": outcomes | "Gather outcomes" >> beam.Map(_under_one_key),
        "index": found[INDEX_FILES] | "Gather counts" >> beam.Map(_under_one_key),
        "start": pipeline | "Commit even an empty list" >> beam.Create([("run", None)]),
    }
    _ = gathered | "Gather" >> beam.CoGroupByKey() | "Commit what was found" >> beam.ParDo(CommitFound(plan))


class ReadIndexFile(beam.DoFn):
    """Index file -> path of a work file with its captures of wanted pages; on INDEX_FILES its counts."""

    def __init__(self, plan: Plan, wanted: str, *, driver_pid: int) -> None:
        self.plan, self.wanted, self.driver_pid = plan, wanted, driver_pid

    def setup(self) -> None:
        if self.driver_pid:
            exit_with_driver(self.driver_pid)
        self.hashes = read_wanted(self.wanted)

    def process(self, element: Any) -> Iterator[Any]:
        file = InputFile(*element)
        size = file.n_bytes or 0
        split = Split(file.name, file.location, fingerprint(file), size, 0, 0, size)
        path = join(self.plan.work_folder, split.work_name)
        counts = read_counts(path)
        if counts is None:
            with open_input(file.location) as stream:
                counts = look_up(stream, file.name, path, self.hashes)
            logging.info("looked up file=%s lines=%d wanted=%d", file.name, counts.lines, counts.wanted)
        yield path
        yield beam.pvalue.TaggedOutput(INDEX_FILES, tuple(counts))


class PackCaptures(beam.DoFn):
    """Work file -> (part, packed captures)."""

    def __init__(self, plan: Plan) -> None:
        self.n_parts = plan.parts[0][2] if plan.parts else 1

    def process(self, path: str) -> Iterator[Any]:
        with open_read(path) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE):
                groups: dict[int, list[Any]] = {}
                rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
                parts = assign_parts(batch["key"].to_pylist(), self.n_parts)
                for part, row in zip(parts.tolist(), rows, strict=True):
                    groups.setdefault(part, []).append(row)
                for part, group in groups.items():
                    yield part_stem(part, self.n_parts), group


class CopyRecords(beam.DoFn):
    """(part, its captures) -> (outcome, URLs) pairs; its WARC file and its table are written, unless they are there."""

    def __init__(self, plan: Plan, *, driver_pid: int) -> None:
        self.plan, self.driver_pid = plan, driver_pid
        self.names = {part_stem(part, n): name for name, part, n in plan.parts}

    def setup(self) -> None:
        if self.driver_pid:
            exit_with_driver(self.driver_pid)

    def process(self, element: Any) -> Iterator[Any]:
        stem, groups = element
        if stem in self.names:  # else captures whose hash is that of a wanted page, in a part that has no page
            yield tuple(sorted(self._copy(stem, groups["captures"]).items()))

    def _copy(self, stem: str, groups: Iterable[Any]) -> Counter[str]:
        folder = join(self.plan.output, FETCHED_FOLDER)
        counts = read_outcomes(table_path(folder, f"{NAME}-{stem}"), self.plan.mark)
        if counts is not None:
            return counts
        captures: dict[str, list[Capture]] = {}
        for group in groups:
            for key, *fields in group:
                captures.setdefault(key, []).append(Capture(*fields))
        counts = copy_part(
            join(self.plan.output, self.names[stem]),
            folder,
            f"{NAME}-{stem}",
            captures,
            crawl_root=self.plan.crawl_root,
            mark=self.plan.mark,
        )
        logging.info("copied part=%s fetched=%d of=%d", stem, counts[FETCHED], counts.total())
        return counts


class CommitFound(beam.DoFn):
    """Everything under one key -> the summary, once all else is written."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def process(self, element: Any) -> Iterator[str]:
        groups = element[1]
        outcomes = Counter[str]()
        for pairs in groups["outcomes"]:
            outcomes.update(dict(pairs))
        index = [sum(column) for column in zip(*groups["index"], strict=True)] or [0, 0, 0, 0]
        details = {"index": IndexCounts(*index)._asdict()}
        run = FetchedRun(NAME, self.plan.mark, tuple(sorted(outcomes.items())), details)
        yield write_fetched(self.plan.output, run)


def make_plan(output: str, urls: UrlRun, index: Sequence[InputFile], *, crawl_root: str) -> Plan:
    """What there is to do; its mark is a hash of the list of URLs and of the index files' names and sizes."""
    parts = []
    for entry in urls.parts:
        part, _, n_parts = entry.name.removesuffix(".parquet").rpartition("/part-")[2].partition("-of-")
        parts.append((entry.name, int(part), int(n_parts)))
    facts = [[entry.sha256 for entry in urls.parts], sorted((file.name, file.n_bytes) for file in index)]
    mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return Plan(output, join(output, "work", f"captures-{mark[:16]}"), crawl_root, tuple(parts), mark)


def write_wanted(plan: Plan, path: str) -> None:
    """A hash of each wanted page, sorted: uint64, 8 bytes a URL, which every worker holds."""
    hashes = [np.empty(0, np.uint64)]
    for name, _, _ in plan.parts:
        for tasks in read_pages_wanted(join(plan.output, name)):
            hashes.append(hash_keys([task.key for task in tasks]))
    write_atomically(path, lambda stream: np.save(stream, np.sort(np.concatenate(hashes)), allow_pickle=False))


def _prepare(plan: Plan, *, overwrite: bool) -> None:
    """Makes the folders, and removes what is there of other parts or, if asked to, of an earlier run."""
    folder = join(plan.output, FETCHED_FOLDER)
    for path in (folder, plan.work_folder):
        make_folder(path)
        sweep_temporaries(path)
    if overwrite:
        remove(join(folder, FETCHED_NAME))
    wanted = () if overwrite else tuple(f"{NAME}-{part_stem(part, n)}." for _, part, n in plan.parts)
    for name in list_files(folder, f"{NAME}-*"):
        if not name.startswith(wanted or ("\0",)):
            remove(join(folder, name))


def _with_itself(stem: str) -> tuple[str, str]:
    return stem, stem


def _under_one_key(element: Any) -> tuple[str, Any]:
    return "run", element
