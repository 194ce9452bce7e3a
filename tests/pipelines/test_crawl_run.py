"""A crawl as a whole: one outcome a task after any stop, politeness over processes, no secrets."""

import gzip
import json
import logging
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpora.documents import RawPage
from corpora.warc import read_pages
from pipelines import crawl_progress
from pipelines.fetching import (
    FetchSettings,
    FetchTask,
    fetch_urls,
)

CRAWL = """
import pickle, sys
from pipelines.crawl_run import fetch_urls
from pipelines.crawl_settings import FetchTask
urls, folder, settings, name = pickle.loads(open(sys.argv[1], "rb").read())
fetch_urls([FetchTask(url, url) for url in urls], folder, settings, name=name)
"""


class Crawler:
    """Starts crawls in processes of their own, to be stopped at any moment."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder

    def start(self, urls: list[str], settings: FetchSettings, *, name: str = "t") -> subprocess.Popen[str]:
        order = self.folder.parent / f"{name}.order"
        order.write_bytes(pickle.dumps((urls, str(self.folder), settings, name)))
        command = [sys.executable, "-c", CRAWL, str(order)]
        return subprocess.Popen(command, cwd=self.root, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def crawler(project_root: Path, tmp_path: Path) -> Crawler:
    return Crawler(project_root, tmp_path / "fetched")


def wait_for_visits(web: Any, n_visits: int) -> None:
    until = time.monotonic() + 60
    while len(web.visits) < n_visits:
        assert time.monotonic() < until
        time.sleep(0.002)


def wait_for_journal(folder: Path, before: set[str]) -> None:
    until = time.monotonic() + 60
    while journaled(folder) <= before:
        assert time.monotonic() < until
        time.sleep(0.002)


def journaled(folder: Path) -> set[str]:
    """URLs whose outcome is in a journal or in a finished table."""
    found = set()
    for path in folder.glob("t.work/*/journal"):
        data = path.read_bytes()
        found |= {json.loads(line)[4] for line in data[: data.rfind(b"\n") + 1].splitlines()}
    for path in folder.glob("*.outcomes.parquet"):
        found |= set(pq.read_table(path)["url"].to_pylist())
    return found


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.outcomes.parquet")) for row in pq.read_table(path).to_pylist()]


def check_polite(visits: list[Any], delay_s: float) -> None:
    for host in {visit.host for visit in visits}:
        own = sorted((visit for visit in visits if visit.host == host), key=lambda visit: visit.began_s)
        assert min((after.began_s - before.answered_s for before, after in pairwise(own)), default=1) >= delay_s


def test_a_crawl_that_is_killed_again_and_again_loses_no_url_and_doubles_none(
    web: Any, crawler: Crawler, quick_settings: Any
) -> None:
    rng = random.Random(5)
    hosts = [f"h{number:02}.example" for number in range(50)]
    urls = [web.url(host, f"/{number}") for host in hosts for number in range(20)]
    settings = quick_settings(delay_s=0.02, n_partitions=4)
    for round_ in range(3):
        before = journaled(crawler.folder)
        n_visits = len(web.visits)
        process = crawler.start(urls, settings)
        if round_:  # the first may die before anything is on disk; the others leave something to go on from
            wait_for_journal(crawler.folder, before)
        wait_for_visits(web, min(len(web.visits), n_visits + 350) + rng.randint(1, 50))
        process.kill()
        process.wait()
        time.sleep(0.1)  # the server still reads what was sent before
        again = {web.url(visit.host, visit.target) for visit in web.visits[n_visits:]}
        assert not again & before
    before, n_visits = journaled(crawler.folder), len(web.visits)
    process = crawler.start(urls, settings)
    assert process.wait(60) == 0, process.stderr.read() if process.stderr else ""
    assert not {web.url(visit.host, visit.target) for visit in web.visits[n_visits:]} & before
    assert before  # something was left to go on from
    rows = rows_of(crawler.folder)
    assert sorted(row["url"] for row in rows) == sorted(urls)
    assert {row["outcome"] for row in rows} == {"fetched"}
    check_polite(web.visits, 0.02)
    found: Counter[tuple[str, str, int]] = Counter()
    for path in sorted(crawler.folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for item in read_pages(stream, source=path.name):
                assert not hasattr(item, "reason"), item
                if isinstance(item, RawPage):
                    found[item.url, item.source, item.offset] += 1
    assert found == Counter({(row["url"], row["warc"], row["offset"]): 1 for row in rows})
    assert not (crawler.folder / "t.work").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_crawl_within_five_seconds_and_the_same_command_goes_on(
    web: Any, crawler: Crawler, quick_settings: Any, number: signal.Signals
) -> None:
    import asyncio

    async def slowly(_: Any, writer: Any) -> None:
        await asyncio.sleep(20)

    urls = [web.url(f"h{host:02}.example", f"/{n}") for host in range(20) for n in range(3)]
    for host in range(20):
        web.answers[f"h{host:02}.example", "/2"] = slowly
    process = crawler.start(urls, quick_settings())
    wait_for_visits(web, 80)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert time.monotonic() - began < 5
    assert process.stderr is not None
    assert "40 URLs have their outcome and are kept; the same command goes on from here" in process.stderr.read()
    web.answers.clear()
    web.visits.clear()
    process = crawler.start(urls, quick_settings())
    assert process.wait(60) == 0
    assert {visit.target for visit in web.visits} == {"/robots.txt", "/2"}
    assert sorted(row["url"] for row in rows_of(crawler.folder)) == sorted(urls)


def test_processes_that_share_a_folder_share_a_hosts_delay(web: Any, crawler: Crawler, quick_settings: Any) -> None:
    for number in range(10):
        web.answers[f"h{number:02}.example", "/"] = web.redirect(web.url("b.example", f"/{number}"))
    settings = quick_settings(delay_s=0.1)
    ours = [crawler.start([web.url(f"h{host:02}.example") for host in range(start, start + 5)], settings, name=name)
            for start, name in ((0, "t"), (5, "u"))]  # fmt: skip
    assert [process.wait(60) for process in ours] == [0, 0]
    assert len(web.seen("b.example")) == 12  # each has asked for robots.txt
    check_polite(web.visits, 0.1)


def test_a_finished_crawl_is_not_fetched_again_and_other_tasks_need_another_name(
    web: Any, tmp_path: Path, quick_settings: Any
) -> None:
    tasks = [FetchTask(web.url("a.example", f"/{number}"), str(number)) for number in range(10)]
    first = fetch_urls(tasks, tmp_path, quick_settings(), name="t", progress=False)
    n_visits = len(web.visits)
    assert fetch_urls(reversed(tasks), tmp_path, quick_settings(delay_s=1), name="t", progress=False) == first
    assert len(web.visits) == n_visits
    assert (first.n_tasks, first.n_fetched, len(first.warcs), len(first.tables)) == (10, 10, 1, 1)
    with pytest.raises(ValueError, match="give this crawl another name"):
        fetch_urls(tasks[1:], tmp_path, quick_settings(), name="t", progress=False)
    with pytest.raises(ValueError, match="name of a crawl"):
        fetch_urls(tasks, tmp_path, quick_settings(), name="../t", progress=False)
    with pytest.raises(ValueError, match="must be on a disk"):
        fetch_urls(tasks, "s3://bucket/fetched", quick_settings(), name="t", progress=False)
    assert len(web.visits) == n_visits


def test_tasks_of_one_url_share_a_visit_and_have_a_row_each(web: Any, tmp_path: Path, quick_settings: Any) -> None:
    url = web.url("a.example")
    tasks = [
        FetchTask(url, "1"),
        FetchTask(url, "2"),
        FetchTask(url, "2"),
        FetchTask("", "3"),
        FetchTask("\ud800", "4"),
    ]
    summary = fetch_urls(tasks, tmp_path, quick_settings(), name="t", progress=False)
    assert web.seen("a.example") == ["/robots.txt", "/"]
    assert summary.outcomes == (("bad_url", 2), ("fetched", 3))
    assert sorted(row["key"] for row in rows_of(tmp_path)) == ["1", "2", "2", "3", "4"]


def test_no_task_at_all_is_a_crawl_as_well(tmp_path: Path, quick_settings: Any) -> None:
    summary = fetch_urls([], tmp_path, quick_settings(), name="t", progress=False)
    assert (summary.n_tasks, summary.warcs, len(summary.tables)) == (0, (), 1)


def test_a_disk_that_is_full_ends_the_crawl_with_the_path_named(web: Any, tmp_path: Path, quick_settings: Any) -> None:
    web.answers["a.example", "*"] = web.page(os.urandom(1_000_000))
    web.answers["a.example", "/robots.txt"] = web.page(b"")
    tasks = [FetchTask(web.url("a.example", f"/{number}"), "") for number in range(20)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9 << 20, before[1]))  # no file may grow beyond it
    try:
        with pytest.raises(OSError, match=r"t-00000-00000\.warc\.gz"):
            fetch_urls(tasks, tmp_path, quick_settings(), name="t", progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    n_visits = len(web.visits)
    assert 5 < n_visits < 20
    summary = fetch_urls(tasks, tmp_path, quick_settings(), name="t", progress=False)  # there is space again
    assert summary.n_fetched == 20
    assert len(web.visits) - n_visits < 16  # most of what had been written was not fetched again


CANARY = "c4nary5ecret"


def test_no_secret_of_a_url_is_left_anywhere(
    web: Any, tmp_path: Path, quick_settings: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    host = web.url("a.example").removeprefix("http://")
    web.answers["a.example", "/from"] = web.redirect(f"http://joe:{CANARY}@{host}to?access_token={CANARY}")
    web.answers["a.example", "/gone"] = web.page(b"", "404 Not Found")
    web.answers["a.example", f"/bad?token={CANARY}"] = b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"
    for target in (f"/to?access_token={CANARY}", f"/page?password={CANARY}&x=1"):
        web.answers["a.example", target] = web.page("<p>nothing of it")
    urls = [
        f"http://joe:{CANARY}@{host}page",
        f"http://{CANARY}@{host}page",
        f"http://{host}page?password={CANARY}&x=1",
        f"http://{host}from",
        f"http://joe:{CANARY}@{host}gone",
        f"http://{host}bad?token={CANARY}",
        f"http://joe:{CANARY}@{host[:-1]}x/",
        f"ftp://joe:{CANARY}@{host}",
        f"http://joe:{CANARY}@127.0.0.9/",
        f"http://joe:{CANARY}@[::1/",
    ]
    tasks = [FetchTask(url, str(number)) for number, url in enumerate(urls)]
    fetch_urls(tasks, tmp_path, quick_settings(allow_addresses=("127.0.0.1",)), name="t")
    rows = sorted(rows_of(tmp_path), key=lambda row: int(row["key"]))
    assert [row["outcome"] for row in rows] == ["fetched"] * 4 + ["http_status", "bad_response"] + ["bad_url"] * 2 + [
        "refused_address", "bad_url",
    ]  # fmt: skip
    assert web.visits[-1].headers.get("authorization") is None
    assert CANARY not in json.dumps(rows)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            assert CANARY.encode() not in data, path
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capfd.readouterr())


def test_a_crawl_that_nobody_watches_says_a_line_now_and_then(
    web: Any, tmp_path: Path, quick_settings: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl_progress, "LINE_INTERVAL_S", 0.0)
    web.answers["a.example", "/2"] = web.page(b"", "404 Not Found")
    fetch_urls([FetchTask(web.url("a.example", f"/{n}"), "") for n in range(3)], tmp_path, quick_settings(), name="t")
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(" urls/s")[0] for line in lines] == [
        "fetch 0% urls=0 fetched=0 not=0",
        "fetch 33% urls=1 fetched=1 not=0", "fetch 67% urls=2 fetched=2 not=0", "fetch 100% urls=3 fetched=2 not=1",
    ]  # fmt: skip
