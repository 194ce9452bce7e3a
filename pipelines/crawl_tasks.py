"""The URLs of a crawl, laid out on disk by host: an iterable of tasks in, one sorted file per partition out.

The rule: every host (with and without `www.`) belongs to exactly one partition, so one worker is polite to it, and a
task is a row whose number never changes once the plan is written. Memory does not grow with the number of tasks.

Files, below the crawl's folder: NAME.plan.json says what is to be fetched and stays; NAME.work/tasks/00017.parquet
holds a partition's tasks until it is finished. The latter keep URLs as they came, tokens included, readable by the
owner alone.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.crawl_addresses import parse_target, site_of
from pipelines.crawl_outcomes import FetchError
from pipelines.crawl_settings import FetchSettings, FetchTask
from pipelines.storage import cannot_write, write_atomically

BUCKETS = 256  # the most partitions that a plan can have
TASKS_PER_PARTITION = 20_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SCHEMA = pa.schema([("site", pa.string()), ("url", pa.string()), ("key", pa.string())])
_FLUSH_ROWS = 512
_GROUP_ROWS = 16_384
_MASK = (1 << 128) - 1


class Plan(NamedTuple):
    """What a crawl of this name fetches."""

    n_tasks: int
    n_partitions: int
    fingerprint: str  # of the set of tasks, whatever their order


class TaskSet:
    """Counts tasks and fingerprints them: a sum of hashes, so that their order does not matter."""

    def __init__(self) -> None:
        self.n_tasks = 0
        self._sum = 0

    def add(self, task: FetchTask) -> None:
        name = f"{task.url}\0{task.key}".encode("utf-8", "surrogatepass")
        self._sum = (self._sum + int.from_bytes(blake2b(name, digest_size=16).digest(), "big")) & _MASK
        self.n_tasks += 1

    @property
    def fingerprint(self) -> str:
        return f"{self._sum:032x}"


def check_place(folder: str | Path, name: str) -> Path:
    """The crawl's folder as a local path, made if it is not there; ValueError where it or the name cannot be."""
    if "://" in str(folder):
        raise ValueError(f"{folder}: a crawl appends to its files, so its folder must be on a disk or a shared mount")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: the name of a crawl is up to 100 letters, digits, dots, dashes and underscores")
    path = Path(folder)
    try:
        (path / f"{name}.work" / "tasks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(error, path) from error
    return path


def site_of_url(url: str) -> str:
    """What a URL is grouped by; "" where it cannot be asked for."""
    try:
        return site_of(parse_target(url).host)
    except FetchError:
        return ""


def partition_of(site: str, n_partitions: int) -> int:
    """The partition of a host, the same on every machine."""
    return _bucket_of(site) * n_partitions // BUCKETS


def plan_tasks(tasks: Iterable[FetchTask], folder: Path, settings: FetchSettings, *, name: str) -> Plan:
    """The plan, and a file per partition; one that is there already is kept, once it is seen to be of these tasks."""
    path = folder / f"{name}.plan.json"
    before = read_plan(path)
    if before:
        _check_same(tasks, before, path)
        return before
    work = folder / f"{name}.work"
    spool = work / "spool"
    shutil.rmtree(spool, ignore_errors=True)  # of a run that was stopped while it planned
    found = _spool(tasks, spool)
    wanted = settings.n_partitions or -(-found.n_tasks // TASKS_PER_PARTITION)
    plan = Plan(found.n_tasks, max(1, min(wanted, BUCKETS)), found.fingerprint)
    for partition in range(plan.n_partitions):
        rows: list[tuple[str, FetchTask]] = []
        for bucket in range(BUCKETS):
            if bucket * plan.n_partitions // BUCKETS == partition:
                rows += _read_spooled(spool / f"{bucket:03}")
        write_tasks(task_path(folder, name, partition), rows)
    text = json.dumps(plan._asdict(), indent=1, sort_keys=True) + "\n"
    write_atomically(str(path), lambda stream: stream.write(text.encode()))
    shutil.rmtree(spool, ignore_errors=True)
    return plan


def read_plan(path: Path) -> Plan | None:
    """The plan that an earlier run wrote; None where there is none."""
    try:
        return Plan(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged; delete it and {path.name.removesuffix('.plan.json')}.work") from error


def task_path(folder: Path, name: str, partition: int) -> Path:
    return folder / f"{name}.work" / "tasks" / f"{partition:05}.parquet"


def write_tasks(path: Path, rows: list[tuple[str, FetchTask]]) -> None:
    """A partition's file; rows are (site, task), in any order."""
    rows.sort()  # by site, then URL: the order in which a host is visited

    def write(stream: BinaryIO) -> None:
        with pq.ParquetWriter(stream, _SCHEMA, compression="zstd") as writer:
            for start in range(0, len(rows), _GROUP_ROWS):
                piece = rows[start : start + _GROUP_ROWS]
                columns = [[row[0] for row in piece], [row[1].url for row in piece], [row[1].key for row in piece]]
                writer.write_table(pa.table([pa.array(column, pa.string()) for column in columns], schema=_SCHEMA))

    write_atomically(str(path), write, mode=0o600)


def read_tasks(path: Path) -> pa.Table:
    """Columns site, url, key: compact, and row by row without becoming objects."""
    return pq.read_table(path, schema=_SCHEMA).combine_chunks()


def clean_task(task: FetchTask) -> FetchTask:
    """The task with text that can be written: a lone surrogate is no character of any URL."""
    url, key = (text.encode("utf-8", "replace").decode() for text in (task.url, task.key))
    return FetchTask(url, key)


def _spool(tasks: Iterable[FetchTask], spool: Path) -> TaskSet:
    found = TaskSet()
    waiting: list[list[str]] = [[] for _ in range(BUCKETS)]
    try:
        spool.mkdir(mode=0o700)
        for task in tasks:
            found.add(task)
            site = site_of_url(task.url)
            bucket = _bucket_of(site)
            waiting[bucket].append(json.dumps((site, *clean_task(task))))
            if len(waiting[bucket]) >= _FLUSH_ROWS:
                _append(spool / f"{bucket:03}", waiting[bucket])
        for bucket, lines in enumerate(waiting):
            _append(spool / f"{bucket:03}", lines)
    except OSError as error:
        raise cannot_write(error, spool) from error
    return found


def _append(path: Path, lines: list[str]) -> None:
    if lines:
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        lines.clear()


def _read_spooled(path: Path) -> Iterator[tuple[str, FetchTask]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            site, url, key = json.loads(line)
            yield site, FetchTask(url, key)


def _check_same(tasks: Iterable[FetchTask], before: Plan, path: Path) -> None:
    found = TaskSet()
    for task in tasks:
        found.add(task)
    if (found.n_tasks, found.fingerprint) != (before.n_tasks, before.fingerprint):
        raise ValueError(
            f"{path} plans {before.n_tasks} URLs, but these {found.n_tasks} are others: give this crawl another name,"
            " or delete the files of the earlier one"
        )


def _bucket_of(site: str) -> int:
    return blake2b(site.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]
