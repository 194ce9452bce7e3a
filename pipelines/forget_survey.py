"""Finds what a request means in finished runs, before anything is changed.

In: runs and targets. Out: a `Survey` of each: the documents to take out, the rejected records that would still name
them, and what was not found. Columns of ids and URLs are read, row group by row group; texts are not.

What a request means: its documents; every rejected record of the same page (its URL is the target's or that of a
document to forget), and every record that was dropped as a duplicate of one of those documents, at first or second
hand. The latter stay dropped, since their text is the one to be forgotten; their address and detail are emptied. Where
runs are surveyed together, as the windows of a growing corpus, a record of one may be a duplicate in another.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpe.manifest import FileEntry
from bpe.places import Place
from corpora.documents import make_document_id
from corpora.urls import canonical_url, redact_credentials
from inspection.rows import open_table
from inspection.run_folder import RunFolder
from pipelines.forget_request import Matcher, Target, count_hosts, targets_by_key

FORGET_STAGE = "forget"
LARGEST_LOG_BYTES = 64 << 20  # what is larger is no log of ours

Flags = npt.NDArray[np.bool_]


class Forgotten(NamedTuple):
    """A document that is to be forgotten."""

    document_id: bytes
    url: str
    file: str  # of documents, or of lineage where the run keeps no documents


class Survey(NamedTuple):
    """What a request means in a run. Of runs that were surveyed together, the last four are what it means in all."""

    forgotten: tuple[Forgotten, ...]
    emptied: frozenset[bytes]  # ids of rejected records whose address and detail go
    dependents: frozenset[bytes]  # those among them that were dropped as duplicates of documents to forget
    hosts: Counter[str]  # of the documents that remain
    standing_in: tuple[bytes, ...]  # kept documents, not asked for, for which a record that was asked for was dropped
    urls: frozenset[str]  # addresses that go, as the runs have them
    unknown: tuple[Target, ...]
    forgotten_before: tuple[Target, ...]  # asked for, and taken out by an earlier removal

    @property
    def ids(self) -> frozenset[bytes]:
        """Of the documents to forget."""
        return frozenset(one.document_id for one in self.forgotten)


class Gone(NamedTuple):
    """What a removal that was interrupted has taken out of some runs already, and of which others may still speak."""

    ids: frozenset[bytes] = frozenset()  # of documents
    urls: frozenset[str] = frozenset()


NOTHING_GONE = Gone()


def survey_run(run: RunFolder, targets: Sequence[Target]) -> Survey:
    """Looks for the targets in all tables of a run; raises ShardError where one is damaged."""
    return survey_runs([run], targets)[0]


def survey_runs(runs: Sequence[RunFolder], targets: Sequence[Target], *, gone: Gone = NOTHING_GONE) -> list[Survey]:
    """Looks for the targets in all tables of some runs; a Survey of each. Raises ShardError where one is damaged."""
    matcher = Matcher(targets)
    found = [_find_documents(run, matcher) for run in runs]
    ids = {one.document_id for forgotten, _ in found for one in forgotten} | gone.ids
    urls = {one.url for forgotten, _ in found for one in forgotten} | gone.urls
    for url in urls - {""}:
        matcher.add_url(canonical_url(url))
    rejects = [_read_rejects(run, matcher) for run in runs]
    dependents = _find_dependents(runs, ids)
    keyed = targets_by_key(targets)
    taken_out = [one for found_ones in rejects for one in found_ones.gone]
    before = [target for target in keyed.values() if _was_forgotten(target, matcher.found, taken_out)]
    urls |= {url for of_run in (*(one.named for one in rejects), *dependents) for url in of_run.values()}
    standing_in = _which_are_kept(runs, {one for found_ones in rejects for one in found_ones.stood_for_by} - ids)
    unknown = tuple(one for key, one in keyed.items() if key not in matcher.found and one not in before)
    return [
        Survey(
            forgotten=tuple(forgotten),
            emptied=frozenset(named.keys() | of_run.keys()),
            dependents=frozenset(of_run),
            hosts=hosts,
            standing_in=standing_in,
            urls=frozenset(urls - {""}),
            unknown=unknown,
            forgotten_before=tuple(before),
        )
        for (forgotten, hosts), (named, *_), of_run in zip(found, rejects, dependents, strict=True)
    ]


def _find_documents(run: RunFolder, matcher: Matcher) -> tuple[list[Forgotten], Counter[str]]:
    """Documents that are meant, in the order of files and rows, and how many of the others each host has."""
    manifest = run.manifest
    forgotten: list[Forgotten] = []
    hosts: Counter[str] = Counter()
    for entry in manifest.documents or [shard.lineage for shard in manifest.shards]:
        for table in read_tables(run.path, entry, ("document_id", "url")):
            flags = matcher.match(table["document_id"], table["url"])
            rows = table.filter(pa.array(flags)).to_pylist()
            forgotten += [Forgotten(row["document_id"], row["url"], entry.name) for row in rows]
            hosts += count_hosts(table["url"].filter(pa.array(~flags)))
    return forgotten, hosts


class _Rejects(NamedTuple):
    named: dict[bytes, str]  # records that the request means and that still say something; their address
    stood_for_by: set[bytes]  # the documents for which records that the request means were dropped
    gone: list[tuple[bytes, str, int]]  # id, source and offset of what earlier removals took out


_REJECT_COLUMNS = ("document_id", "url", "detail", "stage", "dropped_by", "source", "offset")


def _read_rejects(run: RunFolder, matcher: Matcher) -> _Rejects:
    found = _Rejects({}, set(), [])
    for entry in run.manifest.rejected:
        for table in read_tables(run.path, entry, _REJECT_COLUMNS):
            is_gone = pc.equal(table["stage"], FORGET_STAGE)
            for row in table.filter(is_gone).to_pylist():
                found.gone.append((row["document_id"], row["source"], row["offset"]))
            flags = matcher.match(table["document_id"], table["url"])
            for row in table.filter(pc.and_not(pa.array(flags), is_gone)).to_pylist():
                if row["url"] or row["detail"]:
                    found.named[row["document_id"]] = row["url"]
                if row["dropped_by"]:
                    found.stood_for_by.add(row["dropped_by"])
    return found


def _find_dependents(runs: Sequence[RunFolder], ids: set[bytes]) -> list[dict[bytes, str]]:
    """Records dropped as duplicates of these documents, of records dropped for those, and so on; of each run those
    that still say something, and their addresses."""
    dependents: list[dict[bytes, str]] = [{} for _ in runs]
    seen, latest = set(ids), set(ids)
    while latest:
        wanted = pa.array(sorted(latest), pa.binary(16))
        latest = set()
        for run, of_run in zip(runs, dependents, strict=True):
            for entry in run.manifest.rejected:
                for table in read_tables(run.path, entry, ("document_id", "url", "detail", "dropped_by")):
                    for row in table.filter(pc.is_in(table["dropped_by"], wanted)).to_pylist():
                        latest.add(row["document_id"])
                        if row["url"] or row["detail"]:
                            of_run[row["document_id"]] = row["url"]
        latest -= seen
        seen |= latest
    return [{one: url for one, url in of_run.items() if one not in ids} for of_run in dependents]


def _which_are_kept(runs: Sequence[RunFolder], ids: set[bytes]) -> tuple[bytes, ...]:
    if not ids:
        return ()
    wanted, kept = pa.array(sorted(ids), pa.binary(16)), set()
    for run in runs:
        for entry in run.manifest.documents or [shard.lineage for shard in run.manifest.shards]:
            for table in read_tables(run.path, entry, ("document_id",)):
                kept.update(table.filter(pc.is_in(table["document_id"], wanted))["document_id"].to_pylist())
    return tuple(sorted(kept))


def _was_forgotten(target: Target, found: set[tuple[str, str]], gone: Sequence[tuple[bytes, str, int]]) -> bool:
    """Whether an earlier removal took this out. An id is a hash of place and URL, so a URL can be told by it."""
    if target.kind == "id":
        return any(one.hex() == target.value for one, _, _ in gone)
    if target.kind == "domain" or (target.kind, target.value) in found:
        return False
    forms = {target.given, redact_credentials(target.given)}
    return any(make_document_id(source, offset, url) == one for one, source, offset in gone for url in forms)


def find_work_files(run: RunFolder, survey: Survey, targets: Sequence[Target]) -> list[str]:
    """Files that a run left in work/, for the next one to reuse, and that hold or name what is to be forgotten."""
    ids = pa.array(sorted(survey.ids | survey.emptied), pa.binary(16))
    matcher = Matcher(targets)
    for url in survey.urls:
        matcher.add_url(canonical_url(url))

    def concerns(path: Path) -> bool:
        if path.suffix == ".parquet":
            return _table_concerns(path, ids, matcher)
        return path.stat().st_size <= LARGEST_LOG_BYTES and _names_one(path.read_bytes(), survey.urls)

    assert isinstance(run.path, Path)  # the command refuses addresses
    return _find_files(run.path / "work", run.path, concerns)


def _find_files(folder: Path, root: Path, concerns: Callable[[Path], bool]) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    staged = root / "work" / "forget"
    return [str(path.relative_to(root)) for path in files if not path.is_relative_to(staged) and concerns(path)]


def _table_concerns(path: Path, ids: pa.Array, matcher: Matcher) -> bool:
    """Whether a work file has a row of these; one that cannot be read is made again by whoever needs it."""
    try:
        with pq.ParquetFile(path) as parquet:
            if not {"document_id", "url"} <= set(parquet.schema_arrow.names):
                return False
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=["document_id", "url"])
                if pc.any(pc.is_in(table["document_id"], ids)).as_py():
                    return True
                if matcher.match(table["document_id"], table["url"]).any():
                    return True
    except (pa.ArrowException, OSError):
        return True
    return False


def _names_one(data: bytes, urls: Iterable[str]) -> bool:
    return any(url.encode("utf-8", "surrogatepass") in data for url in urls)


def read_tables(folder: Place, entry: FileEntry, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The row groups of a table of the run, these columns of them (none is all); ShardError where it is damaged."""
    with open_table(folder, entry, columns) as parquet:
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, columns=list(columns) or None)
