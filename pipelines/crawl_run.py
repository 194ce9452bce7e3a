"""Runs a crawl in this process: tasks in, WARC files, outcomes and their sum out; no Beam.

The rule: whatever ends the run, the next one with the same tasks goes on from what is on the disk.
"""

import asyncio
import contextlib
import resource
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.crawl_engine import Crawl
from pipelines.crawl_journal import Part, PartSummary, hold
from pipelines.crawl_outcomes import FETCHED
from pipelines.crawl_progress import CrawlProgress
from pipelines.crawl_settings import FetchSettings, FetchTask
from pipelines.crawl_tasks import check_place, plan_tasks


class FetchSummary(NamedTuple):
    """What a finished crawl holds."""

    n_tasks: int
    n_fetched: int
    outcomes: tuple[tuple[str, int], ...]  # (outcome, tasks), sorted
    n_bytes: int  # of the fetched bodies, as sent
    warcs: tuple[str, ...]  # paths, sorted
    tables: tuple[str, ...]  # paths of the outcomes, one per partition


class StoppedError(SystemExit):
    """A crawl was interrupted by a signal; how to go on was said on stderr."""


def fetch_urls(
    tasks: Iterable[FetchTask], folder: str | Path, settings: FetchSettings, *, name: str, progress: bool = True
) -> FetchSummary:
    """Fetches what has no outcome yet and says what the crawl of that name holds.

    Raises ValueError where the tasks are not those that this crawl was begun with, OSError where the disk fails or
    another process is at it, and StoppedError, a SystemExit, after Ctrl-C or SIGTERM.
    """
    place = check_place(folder, name)
    with hold(place / f"{name}.work.lock"):
        plan = plan_tasks(tasks, place, settings, name=name)
        parts = [Part(place, name, number) for number in range(plan.n_partitions)]
        shown = CrawlProgress(plan.n_tasks, shown=progress)
        try:
            summaries = run_parts(place, settings, [(part, "") for part in parts], shown)
        finally:
            shown.close()
        shutil.rmtree(place / f"{name}.work", ignore_errors=True)
    return summarize(summaries, place, name=name)


def summarize(summaries: Iterable[PartSummary], folder: str | Path, *, name: str) -> FetchSummary:
    """The sum of a crawl's partitions."""
    place, counts, n_bytes = Path(folder), Counter[str](), 0
    warcs: list[str] = []
    tables: list[str] = []
    for summary in summaries:
        counts.update(dict(summary.outcomes))
        n_bytes += summary.n_bytes
        warcs += [str(place / warc) for warc in summary.warcs]
        tables.append(str(Part(place, name, summary.partition).table))
    pairs = tuple(sorted(counts.items()))
    return FetchSummary(counts.total(), counts[FETCHED], pairs, n_bytes, tuple(sorted(warcs)), tuple(sorted(tables)))


def run_parts(
    place: Path,
    settings: FetchSettings,
    parts: list[tuple[Part, str]],
    shown: CrawlProgress,
    *,
    patience_s: float = 0.0,
) -> list[PartSummary]:
    """Fetches (partition, fingerprint of its tasks); signals stop it cleanly where this is the main thread."""
    _allow_sockets(settings.n_connections)

    async def crawl() -> list[PartSummary]:
        return await Crawl(place, settings, shown.add, patience_s=patience_s).run(parts)

    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(crawl())
    with _stopping() as received, asyncio.Runner() as runner:
        task = runner.get_loop().create_task(crawl())
        for number in (signal.SIGINT, signal.SIGTERM):
            runner.get_loop().add_signal_handler(number, _stop, number, received, task)
        try:
            return runner.get_loop().run_until_complete(task)
        except asyncio.CancelledError:
            word = "interrupted" if received[0] == signal.SIGINT else "stopped"
            sys.stderr.write(
                f"\n{word}: {shown.n_done:,} URLs have their outcome and are kept; the same command goes on from here\n"
            )
            raise StoppedError(128 + received[0]) from None


@contextlib.contextmanager
def _stopping() -> Iterator[list[int]]:
    """Collects signals, and gives them back to whom they belonged."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield []
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _stop(number: int, received: list[int], task: "asyncio.Task[object]") -> None:
    received.append(number)
    task.cancel()


def _allow_sockets(n_connections: int) -> None:
    """Raises the soft limit of open files as far as it may be and must be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n_connections + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if allowed < wanted:
            raise ValueError(
                f"{n_connections} connections need {wanted} open files, but {hard} are allowed: raise the limit"
                " (ulimit -n) or say --fetch-connections with a smaller number"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
