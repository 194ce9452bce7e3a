"""Copies the records of a list of pages out of archives into a WARC file of our own, and says how each page ended.

The rule: one outcome a page, whatever an index claims; and a record is copied as it was stored, once it was seen to be
one whole record of that page.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from corpora.captures import Capture, check_record, order_captures
from pipelines.capture_lookup import as_table
from pipelines.capture_reading import PieceReader
from pipelines.crawl_outcomes import FETCHED, OUTCOME_SCHEMA
from pipelines.storage import exists, join, open_read, write_atomically

OUTCOMES = {
    FETCHED: "The page was found and lies in a WARC file.",
    "not_in_index": "No index that was read knows a good capture of the page.",
    "damaged_capture": "The captures that were tried are damaged, or are not where the index says.",
    "missing_archive": "The archives that hold the captures that were tried are not there.",
}
TRIES = 3  # captures of one page
THREADS = 8  # of a worker, each with a connection of its own
_ROWS_AT_ONCE = 64  # bounds the records that are held


class WantedPage(NamedTuple):
    """A page to find."""

    url: str
    key: str
    submitted_utc: int  # seconds since 1970, 0 where nobody knows


class Found(NamedTuple):
    """How the search for a page ended."""

    outcome: str
    member: bytes
    url: str
    n_bytes: int
    fetched_at: str
    detail: str


def copy_part(
    urls: str, folder: str, stem: str, captures: Mapping[str, Sequence[Capture]], *, crawl_root: str, mark: str
) -> Counter[str]:
    """Finds the pages of a file of URLs, writes `stem`.warc.gz and then its table of outcomes; outcomes by name."""
    warc_name, reader = f"{stem}.warc.gz", PieceReader()
    rows: list[tuple[Any, ...]] = []

    def find(task: WantedPage) -> Found:
        return find_record(captures.get(task.key, ()), task.submitted_utc, reader, crawl_root=crawl_root)

    def write(out: BinaryIO) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for tasks in read_pages_wanted(urls):
                for task, found in zip(tasks, threads.map(find, tasks), strict=True):
                    rows.append(_as_row(task, found, warc_name, out.tell()))
                    out.write(found.member)

    write_atomically(join(folder, warc_name), write)
    table = as_table(rows, OUTCOME_SCHEMA.with_metadata({"shardmill": mark}))
    write_atomically(
        table_path(folder, stem),
        lambda out: pq.write_table(table, out, compression="zstd", write_page_checksum=True),
    )
    return Counter(table["outcome"].to_pylist())


def table_path(folder: str, stem: str) -> str:
    """Where a part's outcomes lie; a table that is there says that the part is finished."""
    return join(folder, f"{stem}.outcomes.parquet")


def _as_row(task: WantedPage, found: Found, warc_name: str, offset: int) -> tuple[Any, ...]:
    """A row of OUTCOME_SCHEMA."""
    if found.outcome != FETCHED:
        return (task.url, task.key, found.outcome, 0, "", 0, "", None, None, "", found.detail)
    place = (warc_name, offset, len(found.member), found.fetched_at)
    return (task.url, task.key, FETCHED, 200, found.url, found.n_bytes, *place, found.detail)


def find_record(captures: Iterable[Capture], submitted_utc: int, reader: PieceReader, *, crawl_root: str) -> Found:
    """The best capture that can be had; OSError where an archive cannot be read now but may be later."""
    outcome, complaints = "not_in_index", []
    for capture in order_captures(captures, submitted_utc)[:TRIES]:
        place = f"{capture.file} at byte {capture.offset}"
        try:
            data = reader.read(join(crawl_root, capture.file), capture.offset, capture.length)
        except (FileNotFoundError, PermissionError):  # what is not there is often said to be forbidden
            outcome = "missing_archive" if outcome == "not_in_index" else outcome
            complaints.append(f"{place}: no such file")
            continue
        checked = check_record(data, capture)
        if checked.page is not None:
            detail = "; ".join([f"copied from {place}", *complaints])
            page = checked.page
            return Found(FETCHED, checked.member, page.url, len(page.body), page.fetched_at, detail)
        outcome = "damaged_capture"
        complaints.append(f"{place}: {checked.complaint}")
    return Found(outcome, b"", "", 0, "", "; ".join(complaints))


def read_pages_wanted(path: str) -> Iterator[list[WantedPage]]:
    """The pages of a file of URLs, some rows at a time."""
    with open_read(path) as stream:
        for batch in pq.ParquetFile(stream, page_checksum_verification=True).iter_batches(
            _ROWS_AT_ONCE, columns=["url", "key", "first_utc"]
        ):
            columns = (batch[name].to_pylist() for name in ("url", "key", "first_utc"))
            yield [WantedPage(*row) for row in zip(*columns, strict=True)]


def read_outcomes(path: str, mark: str) -> Counter[str] | None:
    """Outcomes of a finished part of this very plan, None where it has to be made."""
    if not exists(path):
        return None
    with suppress(pa.ArrowInvalid, OSError), open_read(path) as stream:
        table = pq.read_table(stream, columns=["outcome"])
        if (table.schema.metadata or {}).get(b"shardmill") == mark.encode():
            return Counter(table["outcome"].to_pylist())
    return None
