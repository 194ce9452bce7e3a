"""What servers may do to a crawler: trickle, lie, never end, redirect in circles, show wrong certificates."""

import asyncio
import gzip
import ipaddress
import resource
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from corpora.documents import RawPage
from corpora.warc import read_pages


def trickle(data: bytes, *, every_s: float = 0.02) -> Any:
    async def answer(_: Any, writer: Any) -> None:
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(every_s)

    return answer


def endless(head: bytes, piece: bytes) -> Any:
    async def answer(_: Any, writer: Any) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return answer


async def silence(reader: Any, _: Any) -> None:
    await reader.read()


def pages_of(folder: Path) -> dict[str, RawPage]:
    found = {}
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for item in read_pages(stream, source=path.name):
                if isinstance(item, RawPage):
                    found[item.url] = item
    return found


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
BAD = [
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "bad_response"),
    (b"HTTP/1.1 abc\r\n\r\n", "bad_response"),
    (b"\x00\x01\x02\x03\r\n\r\n", "bad_response"),
    (OK + b"Content-Length: -5\r\n\r\nhello", "bad_response"),
    (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "bad_response"),
    (OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello", "bad_response"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\nhello\r\n0\r\n\r\n", "bad_response"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello world\r\n0\r\n\r\n", "bad_response"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "connection"),
    (OK + b"Content-Length: 100\r\n\r\nhello", "connection"),
    (OK + b"Content-Len", "connection"),
    (b"", "connection"),
    (OK.replace(b"text/html", b"image/png") + b"Content-Length: 5\r\n\r\nhello", "media_type"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", "http_status"),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello", "http_status"),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", "http_status"),
    (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "http_status"),  # leads nowhere
    (b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n", "bad_url"),
    (b"HTTP/1.1 302 Found\r\nLocation: mailto:a@a.example\r\nContent-Length: 0\r\n\r\n", "bad_url"),
    (OK + b"Content-Length: 5\r\n\r\nhello", "fetched"),
    (OK + b"\r\nhello, until the end", "fetched"),
    (b"HTTP/1.0 200 OK\r\n\r\nhello", "fetched"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"\r\nhello", "fetched"),
    (OK + b"X: \xff\xfe\r\nContent-Length: 5\r\n\r\nhelloand more than promised", "fetched"),
    (OK.replace(b"\r\n", b"\n") + b"Content-Length: 5\n\nhello", "fetched"),
]  # fmt: skip


def test_each_answer_has_its_outcome_and_what_is_fetched_is_what_was_sent(web: Any, crawl: Any, tmp_path: Path) -> None:
    for number, (answer, _) in enumerate(BAD):
        web.answers[f"h{number:02}.example", "/"] = answer
    urls = [web.url(f"h{number:02}.example") for number in range(len(BAD))]
    rows = crawl(urls)
    assert [rows[url]["outcome"] for url in urls] == [outcome for _, outcome in BAD]
    pages = pages_of(tmp_path / "fetched")
    assert set(pages) == {url for url, (_, outcome) in zip(urls, BAD, strict=True) if outcome == "fetched"}
    assert {page.body for page in pages.values()} == {b"hello", b"hello, until the end"}
    assert {page.status for page in pages.values()} == {200}
    for url, page in pages.items():
        assert page.offset == rows[url]["offset"]
        assert page.source == rows[url]["warc"]


def test_slow_and_endless_answers_end_at_the_deadline_or_the_cap(web: Any, crawl: Any, tmp_path: Path) -> None:
    web.answers["h00.example", "/"] = trickle(OK + b"X-Slow: " + b"a" * 10_000)
    web.answers["h01.example", "/"] = trickle(OK + b"\r\n" + b"a" * 10_000)
    web.answers["h02.example", "/"] = silence
    web.answers["h03.example", "/"] = endless(OK + b"\r\n", b"x" * 65_536)
    web.answers["h04.example", "/"] = endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"64\r\n" + b"abcd" * 25 + b"\r\n"
    )
    web.answers["h05.example", "/"] = endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000)  # 10^6 headers and more
    web.answers["h06.example", "/"] = endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65_536)
    web.answers["h07.example", "/"] = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    web.answers["h08.example", "/"] = endless(OK + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x" * 65_536)
    web.answers["h10.example", "/"] = endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 10_000)
    web.answers["h09.example", "/robots.txt"] = trickle(OK + b"\r\n" + b"a" * 10_000)
    outcomes = ["timeout"] * 3 + ["fetched"] * 2 + ["bad_response"] * 4 + ["robots_unreachable", "bad_response"]
    urls = [web.url(f"h{number:02}.example") for number in range(len(outcomes))]
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = crawl(urls, deadline_s=2.5, body_bytes=400_000)
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert [rows[url]["outcome"] for url in urls] == outcomes
    for url in urls[3:5]:
        assert rows[url]["n_bytes"] == 400_000
        assert rows[url]["detail"] == "cut after 400000 bytes"
    pages = pages_of(tmp_path / "fetched")
    assert len(pages[urls[3]].body) == 400_000
    assert pages[urls[4]].body.startswith(b"abcdabcd")


def test_a_body_of_just_the_cap_is_whole_and_one_byte_more_is_cut(web: Any, crawl: Any) -> None:
    for path, n_bytes in (("/a", 1_000), ("/b", 1_001)):
        web.answers["a.example", path] = web.page(b"x" * n_bytes)
    rows = crawl([web.url("a.example", path) for path in ("/a", "/b")], body_bytes=1_000)
    assert [(row["n_bytes"], row["detail"]) for row in rows.values()] == [(1_000, ""), (1_000, "cut after 1000 bytes")]


def test_what_stands_after_a_whole_body_is_not_part_of_it(web: Any, crawl: Any) -> None:
    web.answers["a.example", "/"] = web.page(b"x" * 1_000) + b"y" * 5_000
    row = crawl([web.url("a.example")], body_bytes=1_000)[web.url("a.example")]
    assert (row["n_bytes"], row["detail"]) == (1_000, "")


def test_redirects_are_followed_five_times_and_circles_are_left(web: Any, crawl: Any) -> None:
    for hop in range(6):
        web.answers["a.example", f"/{hop}"] = web.redirect(f"/{hop + 1}")
    web.answers["b.example", "/"] = web.redirect("/")
    rows = crawl([web.url("a.example", "/0"), web.url("a.example", "/1"), web.url("b.example")])
    assert rows[web.url("a.example", "/0")]["outcome"] == "redirect_limit"
    assert rows[web.url("a.example", "/1")]["outcome"] == "fetched"
    assert rows[web.url("a.example", "/1")]["final_url"] == web.url("a.example", "/6")
    assert rows[web.url("b.example")]["outcome"] == "redirect_limit"
    assert web.seen("b.example") == ["/robots.txt"] + ["/"] * 6


def test_the_deadline_is_for_all_redirects_together(web: Any, crawl: Any) -> None:
    def slow(number: int) -> Any:
        async def answer(_: Any, writer: Any) -> None:
            await asyncio.sleep(0.5)
            writer.write(web.redirect(f"/{number + 1}"))

        return answer

    for number in range(6):
        web.answers["a.example", f"/{number}"] = slow(number)
    began = time.monotonic()
    rows = crawl([web.url("a.example", "/0")], deadline_s=1.2)
    assert rows[web.url("a.example", "/0")]["outcome"] == "timeout"
    assert time.monotonic() - began < 4


def test_a_packed_body_is_kept_as_sent_and_read_back_unpacked(web: Any, crawl: Any, tmp_path: Path) -> None:
    packed = gzip.compress(b"<p>" + b"hello " * 1_000)
    web.answers["a.example", "/"] = web.page(packed, Content_Encoding="gzip")
    rows = crawl([web.url("a.example")])
    assert rows[web.url("a.example")]["n_bytes"] == len(packed)
    assert pages_of(tmp_path / "fetched")[web.url("a.example")].body == gzip.decompress(packed)


def test_a_request_says_who_asks_and_little_else(web: Any, crawl: Any) -> None:
    crawl([web.url("a.example").replace("http://", "http://joe:secret@")])
    headers = web.visits[-1].headers
    assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert headers["user-agent"].startswith("shardmill/")
    assert headers["user-agent"].endswith("(+ops@example.org)")
    assert headers["accept-encoding"] == "gzip"
    assert headers["host"] == f"a.example:{web.port}"


def test_broken_connections_are_tried_again_and_then_given_up(web: Any, crawl: Any) -> None:
    async def hang_up(_: Any, writer: Any) -> None:
        writer.transport.abort()

    web.answers["a.example", "/"] = [hang_up, hang_up, web.page()]
    web.answers["b.example", "/"] = hang_up
    rows = crawl([web.url("a.example"), web.url("b.example")], retries=2)
    assert rows[web.url("a.example")]["outcome"] == "fetched"
    assert rows[web.url("b.example")]["outcome"] == "connection"
    assert web.seen("b.example") == ["/robots.txt", "/", "/", "/"]


def test_a_host_that_never_answers_is_given_up_and_its_other_pages_say_so(web: Any, crawl: Any) -> None:
    async def hang_up(_: Any, writer: Any) -> None:
        writer.transport.abort()

    web.answers["a.example", "*"] = hang_up
    web.answers["a.example", "/robots.txt"] = web.page(b"")
    rows = crawl([web.url("a.example", f"/{number}") for number in range(20)], retries=0, max_host_failures=4)
    assert sorted(row["outcome"] for row in rows.values()) == ["connection"] * 4 + ["host_down"] * 16
    assert len(web.seen("a.example")) == 5


def test_a_port_where_nobody_listens_is_a_refused_connection(web: Any, crawl: Any) -> None:
    url = "http://a.example:9/".replace(":9", ":65001")
    assert crawl([url])[url]["outcome"] == "connection"


def test_a_name_without_address_is_dns(crawl: Any) -> None:
    url = "http://no-such-host.invalid/"
    assert crawl([url])[url]["outcome"] == "dns"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for a.example alone, and the file that one has to trust for it."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    now = datetime.now(UTC)
    names = [x509.DNSName("a.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, False, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tls")
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "ca.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def test_a_certificate_is_checked_against_the_name_and_the_authorities(
    crawled_servers: Any, crawl: Any, authority: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    trusted, context = authority
    server = crawled_servers(tls=context)
    right, wrong = server.url("a.example", "/", "https"), server.url("b.example", "/", "https")
    rows = crawl([right, wrong], ca_file=str(trusted))
    assert (rows[right]["outcome"], rows[wrong]["outcome"]) == ("fetched", "tls")
    rows = crawl([right, wrong], folder=tmp_path / "untrusting")
    assert (rows[right]["outcome"], rows[wrong]["outcome"]) == ("tls", "tls")
    assert server.seen("b.example") == []


def test_a_plain_server_on_an_https_address_is_no_secure_connection(crawl: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def greet() -> None:
            client, _ = plain.accept()
            with client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.recv(65_536)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        url = f"https://a.example:{plain.getsockname()[1]}/"
        assert crawl([url])[url]["outcome"] == "tls"
        thread.join(5)
