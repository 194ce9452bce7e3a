"""What lies on the disk after any stop is believed as far as it was synced, and no further."""

import gzip
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from warcio.archiveiterator import ArchiveIterator

from corpora.documents import RawPage
from corpora.warc import Administrative, read_pages
from pipelines.crawl_http import Answer
from pipelines.crawl_journal import Journal, Part, hold, read_part
from pipelines.crawl_outcomes import FETCHED, Outcome
from pipelines.crawl_records import make_response
from pipelines.crawl_settings import FetchTask
from pipelines.crawl_tasks import read_tasks, write_tasks

N_TASKS = 30


def answer_of(number: int) -> Answer:
    body = random.Random(number).randbytes(300 + number)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return Answer(200, (), head + body, len(head), False, "127.0.0.1")


def add(journal: Journal, number: int) -> None:
    answer = answer_of(number)
    url = f"http://a.example/{number:02}"
    outcome = Outcome(FETCHED, 200, url, len(answer.body), "", None, None, "2026-11-25T17:06:02Z", "")
    if number % 5 == 4:
        journal.add(number, 1, outcome._replace(outcome="http_status", status=404, n_bytes=0), None)
    else:
        journal.add(number, 1, outcome, make_response(outcome, answer))


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path, "t", 7)


@pytest.fixture
def tasks(tmp_path: Path) -> Any:
    rows = [("a.example", FetchTask(f"http://a.example/{number:02}", str(number))) for number in range(N_TASKS)]
    write_tasks(tmp_path / "tasks.parquet", rows)
    return read_tasks(tmp_path / "tasks.parquet")


def check_whole(part: Part, summary: Any) -> None:
    rows = pq.read_table(part.table).to_pylist()
    assert [row["key"] for row in rows] == [str(number) for number in range(N_TASKS)]
    n_fetched = sum(number % 5 != 4 for number in range(N_TASKS))
    assert summary.outcomes == ((FETCHED, n_fetched), ("http_status", N_TASKS - n_fetched))
    assert read_part(part) == summary
    pages = {}
    for warc in summary.warcs:
        with (part.folder / warc).open("rb") as stream:
            for item in read_pages(stream, source=warc):
                assert isinstance(item, (RawPage, Administrative))
                if isinstance(item, RawPage):
                    pages[item.url] = item
    assert len(pages) == n_fetched
    for number, row in enumerate(rows):
        if row["outcome"] == FETCHED:
            page = pages[row["final_url"]]
            assert page.body == bytes(answer_of(number).body)
            assert (page.source, page.offset) == (row["warc"], row["offset"])
            data = (part.folder / row["warc"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
            assert gzip.decompress(data).startswith(b"WARC/1.1\r\n")
    assert not part.work.exists()


def test_a_partition_is_whole_in_one_go_and_over_several_files(part: Part, tasks: Any, quick_settings: Any) -> None:
    journal = Journal(part, quick_settings(warc_bytes=4_000))
    for number in range(N_TASKS):
        add(journal, number)
        if number % 7 == 0:
            journal.commit()
    summary = journal.finish(tasks, "f")
    assert len(summary.warcs) > 2
    check_whole(part, summary)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_was_torn_off_the_end_a_restart_goes_on(
    part: Part, tasks: Any, quick_settings: Any, seed: int
) -> None:
    """A stop leaves any part of what was written since the last sync; of the journal, any part of its last lines."""
    rng = random.Random(seed)
    settings = quick_settings(warc_bytes=rng.choice([2_000, 10**9]))
    n_synced = 0
    for _ in range(200):
        journal = Journal(part, settings)
        assert all(journal.is_done(row) for row in range(n_synced))
        rest = [row for row in range(N_TASKS) if not journal.is_done(row)]
        for row in rest[: rng.randint(0, 8)]:
            add(journal, row)
            if rng.random() < 0.3:
                journal.commit()
                n_synced = row + 1
        if len(rest) == 0:
            check_whole(part, journal.finish(tasks, "f"))
            return
        journal._file.close()  # as kill -9 does: what was not committed is in no journal
        warcs = sorted(part.work.glob("*.warc.gz"))
        if warcs and rng.random() < 0.7:
            # Of records that are in no journal, any part may have reached the disk, or something else in its place.
            entries = [json.loads(line) for line in (part.work / "journal").read_bytes().splitlines()]
            end = max((entry[7] + entry[8] for entry in entries if entry[6] == warcs[-1].name), default=0)
            os.truncate(warcs[-1], rng.randint(end, warcs[-1].stat().st_size))
            with warcs[-1].open("ab") as stream:
                stream.write(rng.randbytes(rng.choice([0, 0, 50, 200])))
        if rng.random() < 0.5:
            with (part.work / "journal").open("ab") as stream:
                stream.write(rng.choice([b"[3, 1, ", b"\0" * 40, b'{"a": 1}\n', b"[1]\n", b"\xff\n"]))
    pytest.fail("never finished")


def test_a_stop_between_moving_the_files_and_the_table_is_gone_on_from(
    part: Part, tasks: Any, quick_settings: Any
) -> None:
    settings = quick_settings(warc_bytes=4_000)
    journal = Journal(part, settings)
    for number in range(N_TASKS):
        add(journal, number)
    journal.close()
    warcs = sorted(part.work.glob("*.warc.gz"))
    for path in warcs[:2]:
        path.rename(part.folder / path.name)
    check_whole(part, Journal(part, settings).finish(tasks, "f"))


def test_records_that_the_disk_has_lost_are_named(part: Part, quick_settings: Any) -> None:
    journal = Journal(part, quick_settings())
    add(journal, 0)
    journal.close()
    (warc,) = part.work.glob("*.warc.gz")
    warc.write_bytes(warc.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"were written; delete .*00007"):
        Journal(part, quick_settings())


def test_an_outcome_is_in_the_journal_only_after_a_commit(part: Part, quick_settings: Any) -> None:
    journal = Journal(part, quick_settings())
    add(journal, 0)
    assert (part.work / "journal").read_bytes() == b""
    journal.commit()
    assert json.loads((part.work / "journal").read_bytes())[:3] == [0, 1, FETCHED]
    journal.close()


def test_two_processes_do_not_fetch_one_partition(tmp_path: Path) -> None:
    with hold(tmp_path / "lock"), pytest.raises(OSError, match="another process"), hold(tmp_path / "lock"):
        pass
    with hold(tmp_path / "lock"):
        pass


def test_who_has_patience_gets_the_partition_when_it_is_let_go(tmp_path: Path) -> None:
    held = hold(tmp_path / "lock")
    held.__enter__()
    threading.Timer(0.5, held.__exit__, (None, None, None)).start()
    began = time.monotonic()
    with hold(tmp_path / "lock", patience_s=10):
        assert 0.3 < time.monotonic() - began < 5


def test_warcio_finds_every_digest_right(web: Any, crawl: Any, tmp_path: Path) -> None:
    packed = gzip.compress(b"<p>hello")
    web.answers["a.example", "/packed"] = web.page(packed, Content_Encoding="gzip")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    web.answers["a.example", "/chunked"] = chunked
    web.answers["a.example", "/long"] = web.page(b"x" * 5_000)
    crawl([web.url("a.example", path) for path in ("/packed", "/chunked", "/long", "/")], body_bytes=1_000)
    (path,) = (tmp_path / "fetched").glob("*.warc.gz")
    records = {}
    with path.open("rb") as stream:
        for record in ArchiveIterator(stream, check_digests="raise"):
            content = record.content_stream().read()
            records[record.rec_headers.get_header("WARC-Target-URI")] = (record, content)
    info, text = records.pop(None)
    assert info.rec_type == "warcinfo"
    assert b"operator: ops@example.org" in text
    assert records[web.url("a.example", "/packed")][1] == b"<p>hello"
    assert records[web.url("a.example", "/chunked")][1] == b"hello"
    long, content = records[web.url("a.example", "/long")]
    assert content == b"x" * 1_000
    assert long.rec_headers.get_header("WARC-Truncated") == "length"
    for record, _ in records.values():
        assert record.rec_headers.protocol == "WARC/1.1"
        assert record.rec_headers.get_header("WARC-IP-Address") == "127.0.0.1"
        assert record.rec_headers.get_header("WARC-Date").endswith("Z")
        assert record.rec_headers.get_header("WARC-Record-ID").startswith("<urn:uuid:")
