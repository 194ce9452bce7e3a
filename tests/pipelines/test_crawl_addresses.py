"""Nothing but public addresses is ever connected to: forms of addresses, redirects, names that change their mind."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.crawl_addresses import Resolver, follow, parse_target, site_of, why_refused
from pipelines.crawl_outcomes import FetchError

# Every one leads to the canary's socket, or to a place that no crawler has any business at.
INSIDE = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.0x1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://①②⑦.0.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://public.example@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@public.example/",
    "http://127.0.0.1%2f:{port}/",
    "http://rebound.example:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://[::ffff:10.0.0.1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET",
    "javascript:alert(1)",
    "//127.0.0.1:{port}/",
]


def test_no_form_of_an_inside_address_is_connected_to(web: Any, crawl: Any) -> None:
    urls = [url.format(port=web.port) for url in INSIDE]
    rows = crawl(urls, hosts=(("rebound.example", "127.0.0.1"),), allow_addresses=())
    assert {row["outcome"] for row in rows.values()} == {"refused_address", "bad_url"}
    assert web.n_connections == 0


def test_no_redirect_leads_inside(crawled_servers: Callable[..., Any], crawl: Any) -> None:
    canary, outside = crawled_servers("127.0.0.1"), crawled_servers("127.0.0.2")
    for number, url in enumerate(INSIDE):
        location = url.format(port=canary.port).encode("ascii", "ignore").decode()
        outside.answers["a.example", f"/{number}"] = outside.redirect(location)
    # The robots.txt of a host may redirect as well.
    outside.answers["b.example", "/robots.txt"] = outside.redirect(f"http://127.0.0.1:{canary.port}/robots.txt")
    hosts = (("a.example", "127.0.0.2"), ("b.example", "127.0.0.2"), ("rebound.example", "127.0.0.1"))
    urls = [*(outside.url("a.example", f"/{number}") for number in range(len(INSIDE))), outside.url("b.example")]
    rows = crawl(urls, hosts=hosts, allow_addresses=("127.0.0.2",))
    refused = {key for key, row in rows.items() if row["outcome"] in ("refused_address", "bad_url")}
    # A Location without a host of its own, "//…" with one, and what has lost its letters apart: all are refused.
    assert refused == set(urls)
    assert canary.n_connections == 0
    assert outside.seen("b.example") == ["/robots.txt"]


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_checked(
    crawled_servers: Callable[..., Any], crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = crawled_servers("127.0.0.2")
    answers, asked = cycle(["127.0.0.2", "127.0.0.1"]), []

    def rebind(host: str, *rest: Any, **options: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), outside.port))]

    inside = socket.create_server(("127.0.0.1", outside.port))
    inside.setblocking(False)
    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    rows = crawl([outside.url("a.example", f"/{number}") for number in range(4)], hosts=(),
                 allow_addresses=("127.0.0.2",))  # fmt: skip
    assert [row["outcome"] for row in rows.values()] == ["fetched"] * 4
    assert set(asked) == {"a.example"}
    with pytest.raises(BlockingIOError):
        inside.accept()  # nobody came
    inside.close()


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
     "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1",
     "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
     "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "fe80::1",
     "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1",
     "100::1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    assert why_refused(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"])
def test_a_public_address_is_not_refused(text: str) -> None:
    assert why_refused(ipaddress.ip_address(text)) == ""


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_wrapping(address: ipaddress.IPv4Address) -> None:
    refused = why_refused(address)
    if refused:
        assert why_refused(ipaddress.IPv6Address(f"::ffff:{address}"))
        assert why_refused(ipaddress.IPv6Address(f"64:ff9b::{address}"))
        assert why_refused(ipaddress.IPv6Address(f"::{address}"))
    for host in (str(int(address)), hex(int(address)), ".".join(f"0{int(part):o}" for part in str(address).split("."))):
        assert parse_target(f"http://{host}/").host == str(address)


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_parsed_is_one_plain_ascii_request(host: str, path: str) -> None:
    for url in (f"http://{host}/{path}", f"http://a.example/{path}", f"https://{host}", host):
        try:
            target = parse_target(url)
        except FetchError:
            continue
        assert target.url.isascii()
        assert target.url.isprintable()
        assert " " not in target.url
        assert target.path.startswith("/")
        assert parse_target(target.url) == target


def test_user_and_password_are_not_part_of_a_target() -> None:
    assert parse_target("https://joe:secret@a.example/x").url == "https://a.example/x"
    assert follow(parse_target("http://a.example/"), "//joe:secret@b.example/y").url == "http://b.example/y"


def test_a_redirect_in_raw_utf_8_leads_where_browsers_go() -> None:
    location = "/Zürich?q=é".encode().decode("latin-1")  # as headers are read
    assert follow(parse_target("http://a.example/"), location).path == "/Z%C3%BCrich?q=%C3%A9"
    assert follow(parse_target("http://a.example/x/"), "y\xfc").path == "/x/y%C3%BC"


@pytest.mark.parametrize("port", [0, 22, 25, 79, 110, 587])
def test_ports_of_other_services_are_refused(port: int) -> None:
    with pytest.raises(FetchError, match="port"):
        parse_target(f"http://a.example:{port}/")


def test_a_site_is_a_host_with_and_without_www() -> None:
    assert site_of("www.a.example") == site_of("a.example") == "a.example"
    assert site_of("www.com") == "www.com"


def test_of_several_addresses_only_the_public_ones_are_left() -> None:
    hosts = (("mixed.example", "10.0.0.1"), ("mixed.example", "8.8.8.8"), ("mixed.example", "::1"))
    resolver = Resolver(hosts=hosts)
    assert asyncio.run(resolver.addresses("mixed.example")) == ["8.8.8.8"]
    resolver.close()
