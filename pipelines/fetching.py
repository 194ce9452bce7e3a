"""The polite crawler: URLs in, WARC files and exactly one outcome per URL out; a stage of its own that resumes.

    settings = FetchSettings(contact="ops@example.org")
    summary = fetch_urls(tasks, "OUT/fetched", settings, name="links")      # this process
    tasks | FetchUrls("OUT/fetched", settings, name="links")                # inside a Beam pipeline, several workers

In the folder: NAME-00000-00000.warc.gz (WARC 1.1, a gzip member per record) and NAME-00000.outcomes.parquet
(`crawl_outcomes.OUTCOME_SCHEMA`) per partition; the table is written last, so what it names is there.

What a crawl fetches is the web's affair and no two crawls are alike. What holds for every one: the set of tasks has
exactly one outcome each, hosts are divided among partitions by their name alone, and the URLs of a host are visited in
the order of their text.
"""

import argparse
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from pipelines.crawl_journal import Part, PartSummary, read_part
from pipelines.crawl_outcomes import OUTCOMES
from pipelines.crawl_progress import CrawlProgress
from pipelines.crawl_run import FetchSummary, StoppedError, fetch_urls, run_parts, summarize
from pipelines.crawl_settings import FetchSettings, FetchTask, read_hosts_file
from pipelines.crawl_tasks import (
    TaskSet,
    check_place,
    clean_task,
    partition_of,
    site_of_url,
    task_path,
    write_tasks,
)
from pipelines.extract_stage import exit_with_driver
from pipelines.storage import write_atomically

__all__ = [
    "OUTCOMES", "FetchPartitions", "FetchSettings", "FetchSummary", "FetchTask", "FetchUrls", "StoppedError",
    "add_fetch_flags", "fetch_urls", "read_fetch_settings", "summarize",
]  # fmt: skip

BEAM_PARTITIONS = 64  # where the settings name no number
_ZOMBIE_S = 3600.0  # a worker that its runner has given up may still be at a partition; its successor waits


class FetchUrls(beam.PTransform):
    """FetchTask -> PartSummary, one a partition; politeness holds with any number of workers.

    The folder must be one that all workers share. `driver_pid` is that of a local run's driver, 0 elsewhere.
    """

    def __init__(self, folder: str, settings: FetchSettings, *, name: str, driver_pid: int = 0) -> None:
        super().__init__()
        check_place(folder, name)
        self.folder, self.settings, self.name, self.driver_pid = folder, settings, name, driver_pid

    def expand(self, tasks: beam.pvalue.PCollection) -> beam.pvalue.PCollection:
        n_partitions = self.settings.n_partitions or BEAM_PARTITIONS
        summaries: beam.pvalue.PCollection = (
            tasks
            | "Key by the partition of the host" >> beam.Map(_with_partition, n_partitions)
            | "Gather each partition's URLs" >> beam.GroupByKey()
            | "Fetch partitions"
            >> beam.ParDo(FetchPartitions(self.folder, self.settings, name=self.name, driver_pid=self.driver_pid))
        )
        return summaries


def _with_partition(task: FetchTask, n_partitions: int) -> tuple[int, tuple[str, str]]:
    return partition_of(site_of_url(task.url), n_partitions), (task.url, task.key)


class FetchPartitions(beam.DoFn):
    """(partition, all of its tasks) -> PartSummary; one that is finished is not fetched again."""

    def __init__(self, folder: str, settings: FetchSettings, *, name: str, driver_pid: int = 0) -> None:
        self.folder, self.settings, self.name, self.driver_pid = folder, settings, name, driver_pid
        self.reused = Metrics.counter("fetch", "partitions_reused")

    def setup(self) -> None:
        if self.driver_pid:
            exit_with_driver(self.driver_pid)

    def process(self, element: tuple[int, Iterable[tuple[str, str]]]) -> Iterator[PartSummary]:
        number, rows = element
        part = Part(check_place(self.folder, self.name), self.name, number)
        tasks = [FetchTask(*row) for row in rows]
        found = TaskSet()
        for task in tasks:
            found.add(task)
        finished = read_part(part)
        if finished is not None and finished.fingerprint == found.fingerprint:
            self.reused.inc()
            yield finished
            return
        fingerprint = _lay_out(part, tasks, found, finished)
        (summary,) = run_parts(
            part.folder, self.settings, [(part, fingerprint)], CrawlProgress(len(tasks), shown=False)
        )
        for outcome, n_tasks in summary.outcomes:
            Metrics.counter("fetch", outcome).inc(n_tasks)
        yield summary


def _lay_out(part: Part, tasks: list[FetchTask], found: TaskSet, finished: PartSummary | None) -> str:
    """Writes a partition's task file, unless an earlier try did; ValueError where that one had other tasks."""
    path = task_path(part.folder, part.name, part.partition)
    mark = path.with_suffix(".fingerprint")
    before = finished.fingerprint if finished else mark.read_text() if mark.exists() else ""
    if before and before != found.fingerprint:
        raise ValueError(
            f"{part.table}: partition {part.partition} was begun with other URLs; give this crawl another name"
        )
    if not before:
        write_atomically(str(mark), lambda stream: stream.write(found.fingerprint.encode()))
    if not path.exists():
        write_tasks(path, [(site_of_url(task.url), clean_task(task)) for task in tasks])
    return found.fingerprint


def add_fetch_flags(parser: argparse.ArgumentParser) -> None:
    """--fetch-…: how the crawler behaves; see `read_fetch_settings`."""
    group = parser.add_argument_group("fetching (the polite crawler)")
    default = FetchSettings(contact="nobody@example.org")
    group.add_argument(
        "--fetch-contact", default="", metavar="E-MAIL|URL",
        help="whom the owners of visited sites can write to; sent with every request; needed to crawl",
    )  # fmt: skip
    group.add_argument("--fetch-delay", type=float, default=default.delay_s, metavar="SECONDS",
                       help="time between the end of a host's answer and the next request to it; a Crawl-delay in its"
                            " robots.txt can only lengthen it")  # fmt: skip
    group.add_argument("--fetch-connections", type=int, default=default.n_connections, metavar="N",
                       help="connections at the same time, of each worker; one per host")  # fmt: skip
    group.add_argument("--fetch-timeout", type=float, default=default.deadline_s, metavar="SECONDS",
                       help="time that all requests for one URL may take together, redirects included")  # fmt: skip
    group.add_argument("--fetch-body-bytes", type=int, default=default.body_bytes, metavar="BYTES",
                       help="size at which the body of a page is cut, as sent")  # fmt: skip
    group.add_argument("--fetch-retries", type=int, default=default.retries, metavar="N",
                       help="further tries of a request after a broken connection, 429 or 503")  # fmt: skip
    group.add_argument("--fetch-max-crawl-delay", type=float, default=default.max_crawl_delay_s, metavar="SECONDS",
                       help="leave a host alone whose robots.txt asks for a longer delay")  # fmt: skip
    group.add_argument("--fetch-max-retry-after", type=float, default=default.max_retry_after_s, metavar="SECONDS",
                       help="leave a host alone that asks to come back later than this")  # fmt: skip
    group.add_argument("--fetch-partitions", type=int, default=default.n_partitions, metavar="N",
                       help="parts that the hosts are divided into, at most 256, each fetched by one worker; 0: by the"
                            " number of URLs")  # fmt: skip
    group.add_argument("--fetch-media-types", default=",".join(default.media_types), metavar="TYPES",
                       help="beginnings of media types to fetch, with commas between; all: whatever comes")  # fmt: skip
    group.add_argument("--fetch-hosts-file", default="", metavar="FILE",
                       help="addresses of hosts in the form of /etc/hosts, used instead of DNS")  # fmt: skip
    group.add_argument(
        "--fetch-allow-address", nargs="+", action="extend", default=[], metavar="NETWORK",
        help="visit this address or network although it is not public, such as 127.0.0.0/8. Dangerous: any page that is"
             " visited can then lead the crawler to what is in that network. For crawls of your own servers",
    )  # fmt: skip
    group.add_argument("--fetch-ca-file", default="", metavar="FILE.pem",
                       help="certificates to trust instead of the system's")  # fmt: skip


def read_fetch_settings(flags: argparse.Namespace) -> FetchSettings:
    """FetchSettings from the flags; ValueError says which one is wrong, and how a missing contact is given."""
    types = flags.fetch_media_types.strip().lower()
    return FetchSettings(
        contact=flags.fetch_contact.strip(),
        delay_s=flags.fetch_delay,
        n_connections=flags.fetch_connections,
        deadline_s=flags.fetch_timeout,
        body_bytes=flags.fetch_body_bytes,
        retries=flags.fetch_retries,
        max_crawl_delay_s=flags.fetch_max_crawl_delay,
        max_retry_after_s=flags.fetch_max_retry_after,
        n_partitions=flags.fetch_partitions,
        media_types=() if types == "all" else tuple(filter(None, types.replace(" ", "").split(","))),
        hosts=read_hosts_file(flags.fetch_hosts_file) if flags.fetch_hosts_file else (),
        allow_addresses=tuple(flags.fetch_allow_address),
        ca_file=flags.fetch_ca_file,
    )
