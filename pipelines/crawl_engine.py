"""Runs a crawl in one event loop: partitions in, finished partitions out, all hosts side by side.

The rule: a host's URLs are visited one after the other in the order of their rows; hosts run at the same time, those
with most URLs first, for they take longest. Whatever stops the loop, what was fetched is committed on the way out.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.crawl_addresses import Resolver
from pipelines.crawl_journal import Journal, Part, PartSummary, hold, read_part
from pipelines.crawl_outcomes import Outcome
from pipelines.crawl_politeness import HostGates, SharedClock
from pipelines.crawl_records import make_response
from pipelines.crawl_settings import FetchSettings
from pipelines.crawl_tasks import read_tasks, task_path
from pipelines.crawl_visits import Visitor

CLOCK_NAME = ".crawl-clock"  # hidden: it is nobody's input
COMMIT_INTERVAL_S = 0.5
_OPEN_PARTS = 16  # at the same time: the next begins while one waits for its last, slow hosts
_HOSTS_PER_CONNECTION = 16  # hosts under way; most of them wait for their delay
_URLS_PER_CONNECTION = 32  # URLs under way; more than hosts because of those that redirects took to other hosts
_BIG_RECORD = 1 << 20  # bytes; from here on packing it is worth a thread

Watch = Callable[[Outcome | None, int], None]  # told of each outcome and of how many tasks; None: of an earlier run


class Host(NamedTuple):
    """The rows of a partition that belong to one host."""

    site: str
    start: int
    end: int


class Crawl:
    """All that the partitions of one process share."""

    def __init__(self, folder: Path, settings: FetchSettings, watch: Watch, *, patience_s: float = 0.0) -> None:
        self._settings = settings
        self._patience_s = patience_s  # with another process that has the partition
        self._watch = watch
        self._stack = ExitStack()
        clock = SharedClock(folder / CLOCK_NAME)
        self._stack.callback(clock.close)
        self._resolver = Resolver(hosts=settings.hosts, allow_addresses=settings.allow_addresses)
        self._stack.callback(self._resolver.close)
        self.gates = HostGates(settings, clock)
        self._visitor = Visitor(settings, self.gates, self._resolver)
        self._parts = asyncio.Semaphore(_OPEN_PARTS)
        self._hosts = asyncio.Semaphore(settings.n_connections * _HOSTS_PER_CONNECTION)
        self._urls = asyncio.Semaphore(settings.n_connections * _URLS_PER_CONNECTION)

    async def run(self, parts: Iterable[tuple[Part, str]]) -> list[PartSummary]:
        """Fetches (partition, fingerprint of its tasks), and says what each holds."""
        try:
            async with asyncio.TaskGroup() as group:
                jobs = [group.create_task(self._fetch_part(part, fingerprint)) for part, fingerprint in parts]
        except BaseExceptionGroup as errors:
            raise _first(errors) from None  # the others only say that they were cancelled, or the same
        finally:
            self._stack.close()
        return [job.result() for job in jobs]

    async def _fetch_part(self, part: Part, fingerprint: str) -> PartSummary:
        async with self._parts:
            with hold(part.lock, patience_s=self._patience_s):
                finished = read_part(part)
                if finished is not None:
                    self._watch(None, finished.n_tasks)
                    return finished
                path = task_path(part.folder, part.name, part.partition)
                if not path.exists():
                    raise OSError(f"{path}: gone, and so is {part.table}; give the crawl another name to fetch anew")
                tasks = await asyncio.to_thread(read_tasks, path)
                journal = Journal(part, self._settings)
                try:
                    self._watch(None, sum(journal.done))
                    await self._fetch_hosts(tasks, journal)
                finally:
                    journal.close()
                summary = await asyncio.to_thread(journal.finish, tasks, fingerprint)
                path.unlink(missing_ok=True)
                return summary

    async def _fetch_hosts(self, tasks: pa.Table, journal: Journal) -> None:
        committing = asyncio.create_task(_commit_now_and_then(journal))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_fail_with(committing))
                hosts = sorted(find_hosts(tasks), key=lambda host: host.start - host.end)
                async with asyncio.TaskGroup() as visits:
                    for host in hosts:
                        await self._hosts.acquire()
                        visit = visits.create_task(self._fetch_host(host, tasks, journal, visits))
                        visit.add_done_callback(lambda _: self._hosts.release())
                committing.cancel()
        finally:
            committing.cancel()

    async def _fetch_host(self, host: Host, tasks: pa.Table, journal: Journal, visits: asyncio.TaskGroup) -> None:
        for row, n_rows, url in _distinct_urls(host, tasks):
            if journal.is_done(row):
                continue
            await self._urls.acquire()
            gone = asyncio.Event()  # to another host, or done: this host's next URL may have its turn
            visit = visits.create_task(self._fetch_url(row, n_rows, url, journal, gone.set))
            visit.add_done_callback(partial(_end_visit, self._urls, gone))
            await gone.wait()

    async def _fetch_url(self, row: int, n_rows: int, url: str, journal: Journal, leave: Callable[[], None]) -> None:
        visit = await self._visitor.visit(url, leave)
        record = None
        if visit.answer is not None:
            if len(visit.answer.raw) < _BIG_RECORD:
                record = make_response(visit.outcome, visit.answer)
            else:
                record = await asyncio.to_thread(make_response, visit.outcome, visit.answer)
        journal.add(row, n_rows, visit.outcome, record)
        self._watch(visit.outcome, n_rows)


def find_hosts(tasks: pa.Table) -> Iterator[Host]:
    """The runs of rows of one host; rows are sorted by host."""
    runs = pc.run_end_encode(tasks["site"].combine_chunks()) if tasks.num_rows else None
    if runs is None:
        return
    start = 0
    for site, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield Host(site, start, end)
        start = end


def _distinct_urls(host: Host, tasks: pa.Table) -> Iterator[tuple[int, int, str]]:
    """(first row, number of rows, URL): tasks that differ in their key alone share one visit."""
    urls = (tasks["url"][row].as_py() for row in range(host.start, host.end))
    row = host.start
    for url, same in itertools.groupby(urls):
        n_rows = sum(1 for _ in same)
        yield row, n_rows, url
        row += n_rows


def _end_visit(urls: asyncio.Semaphore, gone: asyncio.Event, _: "asyncio.Task[None]") -> None:
    urls.release()
    gone.set()


async def _commit_now_and_then(journal: Journal) -> None:
    while True:
        await asyncio.sleep(COMMIT_INTERVAL_S)
        await asyncio.to_thread(journal.commit)


async def _fail_with(committing: "asyncio.Task[None]") -> None:
    """Ends quietly with the committing task, or with its error, so that a full disk stops the visits."""
    await asyncio.wait([committing])
    if not committing.cancelled():
        committing.result()


def _first(errors: BaseExceptionGroup) -> BaseException:
    """The first error that is none of a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
