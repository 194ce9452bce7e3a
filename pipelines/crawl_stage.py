"""Fetch by crawling: the list of URLs of a run goes to the polite crawler, which goes on wherever it was stopped.

On this machine the crawler runs in this process; on a cluster each partition of hosts is a worker's.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from corpora.errors import CorpusError
from pipelines.capture_copying import read_pages_wanted
from pipelines.command import print_lines
from pipelines.crawl_journal import PartSummary
from pipelines.fetched_files import (
    FETCHED_FOLDER,
    FetchedRun,
    check_way,
    describe_fetched,
    find_fetched,
    read_fetched,
    write_fetched,
)
from pipelines.fetching import FetchSettings, FetchTask, FetchUrls, fetch_urls
from pipelines.running import run_pipeline
from pipelines.runs import hold_output
from pipelines.settings import Execution
from pipelines.storage import join
from pipelines.url_files import FOLDER, UrlRun, read_url_run

BY = "crawl"
NAME = "links"  # of the crawl's files


def run_crawl(execution: Execution, settings: FetchSettings) -> FetchedRun:
    """Fetches what has no outcome yet; ValueError where there is no list of URLs, or the crawl was of another one."""
    urls = read_url_run(execution.output)
    if urls is None:
        raise ValueError(f"{join(execution.output, FOLDER)} holds no finished list of URLs; run --stage urls first")
    mark = hashlib.sha256("".join(entry.sha256 for entry in urls.parts).encode()).hexdigest()
    check_way(execution.output, prefix=NAME)
    run = find_fetched(execution.output, by=BY, mark=mark)
    if run is None:
        with hold_output(execution.output):
            if execution.is_local:
                write_fetched(execution.output, FetchedRun(BY, mark, _crawl(execution, settings, urls)))
            else:
                job = f"{NAME}-{mark[:12]}"
                run_pipeline(lambda pipeline: build(pipeline, execution, settings, urls, mark), execution, name=job)
        run = read_fetched(execution.output)
        if run is None:
            raise CorpusError(f"{execution.output}: the job ended without a summary; its runner's log says why")
    else:
        print_lines("already finished")
    print_lines(describe_fetched(run, execution.output))
    return run


def _crawl(execution: Execution, settings: FetchSettings, urls: UrlRun) -> tuple[tuple[str, int], ...]:
    folder = join(execution.output, FETCHED_FOLDER)
    tasks = (task for entry in urls.parts for task in tasks_of(join(execution.output, entry.name)))
    return fetch_urls(tasks, folder, settings, name=NAME, progress=execution.progress).outcomes


def build(pipeline: Any, execution: Execution, settings: FetchSettings, urls: UrlRun, mark: str) -> None:
    """The job's graph on a cluster, whose workers share the folder."""
    paths = [join(execution.output, entry.name) for entry in urls.parts]
    folder = join(execution.output, FETCHED_FOLDER)
    summaries = (
        pipeline
        | "Name the files of URLs" >> beam.Create(paths)
        | "Read URLs" >> beam.ParDo(ReadTasks())
        | "Fetch URLs" >> FetchUrls(folder, settings, name=NAME)
    )
    gathered = {
        "summaries": summaries | "Gather outcomes" >> beam.Map(_under_one_key),
        "start": pipeline | "Commit even an empty list" >> beam.Create([("run", None)]),
    }
    _ = (
        gathered
        | "Gather" >> beam.CoGroupByKey()
        | "Commit the crawl" >> beam.ParDo(CommitCrawl(execution.output, mark))
    )


class ReadTasks(beam.DoFn):
    """Path of a file of URLs -> its tasks."""

    def process(self, path: str) -> Iterator[Any]:
        yield from tasks_of(path)


class CommitCrawl(beam.DoFn):
    """The partitions' summaries under one key -> the stage's commit."""

    def __init__(self, output: str, mark: str) -> None:
        self.output, self.mark = output, mark

    def process(self, element: Any) -> Iterator[str]:
        outcomes = Counter[str]()
        for summary in element[1]["summaries"]:
            outcomes.update(dict(PartSummary(*summary).outcomes))
        yield write_fetched(self.output, FetchedRun(BY, self.mark, tuple(sorted(outcomes.items()))))


def tasks_of(path: str) -> Iterator[FetchTask]:
    """What the crawler is asked for by a file of URLs."""
    for pages in read_pages_wanted(path):
        yield from (FetchTask(page.url, page.key) for page in pages)


def _under_one_key(element: Any) -> tuple[str, Any]:
    return "run", tuple(element)
