"""robots.txt by RFC 9309: what a server answers decides what is fetched, and how slowly."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from pipelines.crawl_robots import is_allowed, parse_rules

TABLE = [
    # robots.txt, path, allowed
    (b"", "/", True),
    (b"User-agent: *\nDisallow: /", "/x", False),
    (b"User-agent: *\nDisallow:", "/x", True),
    (b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /x\r\n", "/x", False),
    (b"User-agent: shardmill\nDisallow: /\n\nUser-agent: *\nDisallow:", "/x", False),
    (b"User-agent: shardmill\nDisallow:\n\nUser-agent: *\nDisallow: /", "/x", True),
    (b"User-agent: SHARDMILL/0.1\nDisallow: /x", "/x", False),
    (b"User-agent: otherbot\nDisallow: /\n", "/x", True),
    (b"User-agent: mill\nDisallow: /\n", "/x", True),
    (b"User-agent: otherbot\nUser-agent: shardmill\nDisallow: /x", "/x", False),
    (b"User-agent: shardmill\nDisallow: /x\nUser-agent: *\nDisallow: /\nUser-agent: shardmill\nDisallow: /z",
     "/z", False),
    (b"User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),  # the longest match wins
    (b"User-agent: *\nAllow: /a\nDisallow: /a", "/a", True),  # of equals, Allow does
    (b"User-agent: *\nDisallow: /*.pdf$", "/x.pdf", False),
    (b"User-agent: *\nDisallow: /*.pdf$", "/x.pdf?a", True),
    (b"User-agent: *\nDisallow: /*?", "/x?a=1", False),
    (b"User-agent: *\nDisallow: /%C3%BC", "/\xc3\xbc", False),
    ("User-agent: *\nDisallow: /ü".encode(), "/%C3%BC", False),
    (b"# all\nUSER-AGENT : * # us\nDISALLOW : /x # not this\n", "/x", False),
    (b"<html><body>Not found</body></html>", "/x", True),
    (b"\xff\xfe\x00garbage\x00\n" * 100, "/x", True),
]  # fmt: skip


@pytest.mark.parametrize(("robots", "path", "allowed"), TABLE)
def test_rules_are_read_as_the_rfc_says(robots: bytes, path: str, allowed: bool) -> None:
    path = path.encode("latin-1").decode() if not path.isascii() else path
    assert is_allowed(parse_rules(robots), f"http://a.example{path}") is allowed


STATUSES = [
    ("200 OK", "fetched"),
    ("204 No Content", "fetched"),
    ("400 Bad Request", "fetched"),
    ("401 Unauthorized", "fetched"),
    ("403 Forbidden", "fetched"),
    ("404 Not Found", "fetched"),
    ("410 Gone", "fetched"),
    ("429 Too Many Requests", "robots_unreachable"),
    ("500 Internal Server Error", "robots_unreachable"),
    ("502 Bad Gateway", "robots_unreachable"),
    ("503 Service Unavailable", "robots_unreachable"),
    ("599 Odd", "robots_unreachable"),
]


def test_a_status_of_robots_txt_allows_all_or_forbids_all(web: Any, crawl: Any) -> None:
    hosts = [f"h{number:02}.example" for number in range(len(STATUSES))]
    for host, (status, _) in zip(hosts, STATUSES, strict=True):
        web.answers[host, "/robots.txt"] = web.page(b"", status)
    rows = crawl([web.url(host) for host in hosts])
    assert [rows[web.url(host)]["outcome"] for host in hosts] == [outcome for _, outcome in STATUSES]
    for host, (_, outcome) in zip(hosts, STATUSES, strict=True):
        assert ("/" in web.seen(host)) is (outcome == "fetched")


def test_no_page_is_asked_for_where_robots_txt_gives_no_answer(web: Any, crawl: Any) -> None:
    async def hang_up(_: Any, writer: Any) -> None:
        writer.transport.abort()

    async def break_off(_: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nUser-agent: *\n")
        await writer.drain()

    web.answers["a.example", "/robots.txt"] = hang_up
    web.answers["b.example", "/robots.txt"] = break_off
    web.answers["h00.example", "/robots.txt"] = web.page(b"User-agent: *\nDisallow: /hidden\n")
    urls = [web.url("a.example"), web.url("b.example"), web.url("h00.example", "/hidden/1"), web.url("h00.example")]
    rows = crawl(urls)
    assert [rows[url]["outcome"] for url in urls] == ["connection", "connection", "robots_disallowed", "fetched"]
    assert set(web.seen("a.example")) == set(web.seen("b.example")) == {"/robots.txt"}
    assert web.seen("h00.example") == ["/robots.txt", "/"]


def test_robots_txt_is_asked_for_once_per_host_and_before_its_pages(web: Any, crawl: Any) -> None:
    crawl([web.url(host, f"/{number}") for host in ("a.example", "b.example") for number in range(20)])
    for host in ("a.example", "b.example"):
        assert web.seen(host)[0] == "/robots.txt"
        assert web.seen(host).count("/robots.txt") == 1


def test_robots_txt_is_followed_through_five_redirects_and_no_further(web: Any, crawl: Any) -> None:
    rules = web.page(b"User-agent: *\nDisallow: /x\n")
    for host, n_hops in (("a.example", 5), ("b.example", 6)):
        for hop in range(n_hops):
            web.answers[host, f"/r{hop}" if hop else "/robots.txt"] = web.redirect(f"/r{hop + 1}")
        web.answers[host, f"/r{n_hops}"] = rules
    rows = crawl([web.url("a.example", "/x"), web.url("b.example", "/x")])
    assert rows[web.url("a.example", "/x")]["outcome"] == "robots_disallowed"
    assert rows[web.url("b.example", "/x")]["outcome"] == "fetched"  # RFC 9309 2.3.1.2: taken for unavailable
    assert "/r6" not in web.seen("b.example")


def test_500_kib_of_a_robots_txt_are_read_and_the_line_cut_there_is_not(web: Any, crawl: Any) -> None:
    # 512,000 bytes: the line with the whole path begins within the limit and ends after it.
    start = b"User-agent: *\nDisallow: /early\n"
    filler = b"# " + b"x" * (512_000 - len(start) - 2 - 1 - len(b"Disallow: /")) + b"\n"
    body = start + filler + b"Disallow: /late\n" + b"# y\n" * 200_000
    assert body.index(b"late") == 512_000
    web.answers["a.example", "/robots.txt"] = web.page(body)
    rows = crawl([web.url("a.example", "/early"), web.url("a.example", "/late"), web.url("a.example", "/other")])
    assert [rows[web.url("a.example", path)]["outcome"] for path in ("/early", "/late", "/other")] == [
        "robots_disallowed", "fetched", "fetched",
    ]  # fmt: skip


def test_a_robots_txt_made_to_exhaust_the_parser_is_read_in_a_moment() -> None:
    agents = b"".join(b"User-agent: a%d\n" % number for number in range(15_000))
    crossed = agents + b"Allow: /x\n" * 20_000 + b"User-agent: *\nDisallow: /no\n"
    wild = b"User-agent: *\nDisallow: /" + b"a*" * 2_000 + b"b$\nDisallow: /no\n"
    for robots in (crossed, wild, wild * 100):
        began = time.monotonic()
        rules = parse_rules(robots[:512_000])
        assert is_allowed(rules, "http://a.example/" + "a" * 4_000)
        assert not is_allowed(rules, "http://a.example/no")
        assert time.monotonic() - began < 5


def test_a_packed_robots_txt_is_unpacked_up_to_the_limit(web: Any, crawl: Any) -> None:
    import gzip

    bomb = gzip.compress(b"User-agent: *\nDisallow: /x\n" + b"\n" * 100_000_000, 9)
    web.answers["a.example", "/robots.txt"] = web.page(bomb, Content_Encoding="gzip")
    rows = crawl([web.url("a.example", "/x"), web.url("a.example", "/y")])
    assert [rows[web.url("a.example", path)]["outcome"] for path in ("/x", "/y")] == ["robots_disallowed", "fetched"]


def test_a_crawl_delay_is_kept_and_one_beyond_the_limit_leaves_the_host_alone(web: Any, crawl: Any) -> None:
    web.answers["a.example", "/robots.txt"] = web.page(b"User-agent: *\nCrawl-delay: 0.3\n")
    web.answers["b.example", "/robots.txt"] = web.page(b"User-agent: *\nCrawl-delay: 3600\n")
    rows = crawl([web.url(host, f"/{n}") for host in ("a.example", "b.example") for n in range(3)])
    assert {row["outcome"] for key, row in rows.items() if "b.example" in key} == {"crawl_delay"}
    assert web.seen("b.example") == ["/robots.txt"]
    visits = [visit for visit in web.visits if visit.host == "a.example"]
    gaps = [after.began_s - before.answered_s for before, after in pairwise(visits)]
    assert len(gaps) == 3
    assert min(gaps) >= 0.3


def test_the_target_of_a_redirect_is_asked_for_only_if_its_own_host_allows_it(web: Any, crawl: Any) -> None:
    web.answers["b.example", "/robots.txt"] = web.page(b"User-agent: *\nDisallow: /private\n")
    web.answers["a.example", "/1"] = web.redirect(web.url("b.example", "/private/x"))
    web.answers["a.example", "/2"] = web.redirect(web.url("b.example", "/open"))
    rows = crawl([web.url("a.example", "/1"), web.url("a.example", "/2")])
    assert rows[web.url("a.example", "/1")]["outcome"] == "robots_disallowed"
    assert rows[web.url("a.example", "/1")]["final_url"] == web.url("b.example", "/private/x")
    assert rows[web.url("a.example", "/2")]["outcome"] == "fetched"
    assert rows[web.url("a.example", "/2")]["final_url"] == web.url("b.example", "/open")
    assert web.seen("b.example") == ["/robots.txt", "/open"]


def test_rules_expire(web: Any, crawl: Any, quick_settings: Callable[..., Any]) -> None:
    async def slowly(_: Any, writer: Any) -> None:
        import asyncio

        await asyncio.sleep(0.6)
        writer.write(web.page())

    web.answers["a.example", "*"] = slowly
    web.answers["a.example", "/robots.txt"] = [web.page(b""), web.page(b"User-agent: *\nDisallow: /")]
    rows = crawl([web.url("a.example", f"/{number}") for number in range(4)], robots_expiry_s=1.0)
    assert sorted(row["outcome"] for row in rows.values()) == ["fetched"] * 2 + ["robots_disallowed"] * 2
