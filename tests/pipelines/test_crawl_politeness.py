"""One connection and one delay per host, whoever asks; and what a host that is busy is granted."""

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.crawl_politeness import SharedClock
from pipelines.crawl_visits import seconds_to_wait


def gaps_of(visits: list[Any], host: str) -> list[float]:
    """Seconds between an answer and the next request, by the server's own log; negative where they overlap."""
    own = sorted((visit for visit in visits if visit.host == host), key=lambda visit: visit.began_s)
    return [after.began_s - before.answered_s for before, after in pairwise(own)]


def test_a_thousand_urls_of_fifty_hosts_are_fetched_with_one_connection_and_a_delay_each(web: Any, crawl: Any) -> None:
    hosts = [f"h{number:02}.example" for number in range(50)]
    rows = crawl([web.url(host, f"/{number}") for host in hosts for number in range(20)], delay_s=0.03, n_partitions=5)
    assert {row["outcome"] for row in rows.values()} == {"fetched"}
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for visit in web.visits:
        seen[visit.host].append(visit.target)
    assert set(seen) == set(hosts)
    for host, targets in seen.items():
        # In the order of their text, robots.txt first.
        assert targets == ["/robots.txt", *sorted(f"/{number}" for number in range(20))]
        assert min(gaps_of(web.visits, host)) >= 0.03


def test_redirects_from_many_hosts_to_one_wait_for_its_turn(web: Any, crawl: Any) -> None:
    hosts = [f"h{number:02}.example" for number in range(20)]
    for number, host in enumerate(hosts):
        web.answers[host, "/"] = web.redirect(web.url("b.example", f"/{number}"))
    urls = [*(web.url(host) for host in hosts), *(web.url("b.example", f"/own{number}") for number in range(10))]
    rows = crawl(urls, delay_s=0.02, n_partitions=4)
    assert {row["outcome"] for row in rows.values()} == {"fetched"}
    assert len(web.seen("b.example")) == 31
    assert web.seen("b.example").count("/robots.txt") == 1
    assert min(gaps_of(web.visits, "b.example")) >= 0.02


def test_a_redirect_elsewhere_does_not_hold_up_its_own_host(web: Any, crawl: Any) -> None:
    async def slowly(_: Any, writer: Any) -> None:
        await asyncio.sleep(1.0)
        writer.write(web.page())

    web.answers["b.example", "/slow"] = slowly
    web.answers["a.example", "/0"] = web.redirect(web.url("b.example", "/slow"))
    began = time.monotonic()
    crawl([web.url("a.example", f"/{number}") for number in range(5)])
    last = max(visit.began_s for visit in web.visits if visit.host == "a.example")
    assert last - began < 0.9


def test_a_host_with_and_without_www_is_one_host(web: Any, crawl: Any) -> None:
    crawl([web.url(host, f"/{number}") for host in ("a.example", "www.a.example") for number in range(5)], delay_s=0.03)
    together = [visit._replace(host="a.example") for visit in web.visits]
    assert len(together) == 12
    assert min(gaps_of(together, "a.example")) >= 0.03


def test_no_more_connections_are_open_than_allowed(web: Any, crawl: Any) -> None:
    n_open, most = 0, 0

    async def count(_: Any, writer: Any) -> None:
        nonlocal n_open, most
        n_open += 1
        most = max(most, n_open)
        await asyncio.sleep(0.02)
        n_open -= 1
        writer.write(web.page())

    hosts = [f"h{number:02}.example" for number in range(30)]
    for host in hosts:
        web.answers[host, "*"] = count
    crawl([web.url(host, f"/{number}") for host in hosts for number in range(2)], n_connections=4)
    assert most == 4


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for_by_all_pages_of_the_host(web: Any, crawl: Any, status: str, form: str) -> None:
    async def busy(_: Any, writer: Any) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=2)  # a date has whole seconds
        writer.write(web.page(b"", status, Retry_After="1" if form == "seconds" else format_datetime(moment, True)))

    web.answers["a.example", "/0"] = [busy, web.page()]
    web.answers["b.example", "/"] = web.page()
    rows = crawl([*(web.url("a.example", f"/{number}") for number in range(3)), web.url("b.example")])
    assert {row["outcome"] for row in rows.values()} == {"fetched"}
    assert web.seen("a.example") == ["/robots.txt", "/0", "/0", "/1", "/2"]
    assert gaps_of(web.visits, "a.example")[1] >= 0.95


def test_a_host_that_asks_for_more_than_the_limit_is_left_alone(web: Any, crawl: Any) -> None:
    web.answers["a.example", "/0"] = web.page(b"", "429 Too Many Requests", Retry_After="3600")
    urls = [web.url("a.example", f"/{number}") for number in range(5)]
    rows = crawl(urls)
    assert [rows[url]["outcome"] for url in urls] == ["retry_after"] * 5
    assert rows[urls[0]]["status"] == 429
    assert web.seen("a.example") == ["/robots.txt", "/0"]


def test_a_host_that_stays_busy_is_asked_as_often_as_allowed(web: Any, crawl: Any) -> None:
    web.answers["a.example", "/"] = web.page(b"", "503 Service Unavailable")
    row = crawl([web.url("a.example")], retries=2)[web.url("a.example")]
    assert (row["outcome"], row["status"]) == ("http_status", 503)
    assert web.seen("a.example") == ["/robots.txt", "/", "/", "/"]


@given(st.text(max_size=40))
def test_any_retry_after_is_a_time_of_zero_or_more(text: str) -> None:
    assert seconds_to_wait(text) >= 0


@given(st.integers(min_value=0, max_value=10**6))
def test_seconds_are_read_as_written(seconds: int) -> None:
    assert seconds_to_wait(f" {seconds} ") == seconds


def test_processes_keep_each_other_off_a_host_and_know_when_it_was_last_asked(tmp_path: Path) -> None:
    # Locks belong to the open file, so two openings are as good as two processes.
    one, other = SharedClock(tmp_path / "clock"), SharedClock(tmp_path / "clock")
    assert one.last_end("a.example") == 0.0
    assert one.try_lock("a.example")
    assert not other.try_lock("a.example")
    assert other.try_lock("b.example")
    before = time.time()
    one.write_end("a.example")
    one.unlock("a.example")
    assert before <= other.last_end("a.example") <= time.time()
    assert other.try_lock("a.example")
    other.close()
    assert one.try_lock("a.example")  # whoever dies lets go
    one.close()
