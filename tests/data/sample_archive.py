"""Writes what a crawler fetched as a WARC file in the layout of CC-NEWS: captures in, bytes and places out.

A gzip member per record; `warcinfo` first, then a `request` and a `response` for each fetch, now and then a `metadata`
record. The rule: the bytes depend on the captures alone (identifiers are hashes, no clock is read), and damage is done
on purpose, to finished members.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple
from uuid import UUID

from sample_articles import number
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

AGENT = "CCBot/2.0 (http://commoncrawl.org/faq/)"


class Capture(NamedTuple):
    """One fetch: what was asked for, what came back, and what the sample is meant to show with it."""

    url: str
    fetched_at: str  # "2016-09-26T21:18:09Z"
    status: str  # "200 OK"
    headers: tuple[tuple[str, str], ...]
    payload: bytes  # as sent, transfer and content encoding applied where the headers say so
    kind: str  # see README.md of the sample
    language: str  # "" where there is no text
    article: str  # key of the article on the page, "" where there is none
    damage: str = ""  # "", "flipped", "content_length" or "truncated"


class Place(NamedTuple):
    """Where a capture's content record starts."""

    offset: int
    capture: Capture


def send(body: bytes, *, encoding: str) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """A body as a server sends it or as the crawler stored it, with the headers that say so."""
    if encoding == "plain":
        return body, (("Content-Length", str(len(body))),)
    if encoding == "stored":
        # What CC-NEWS does since 2018: the payload is decoded, the original headers are kept under another name.
        kept = (("X-Crawl-Content-Encoding", "gzip"), ("X-Crawl-Transfer-Encoding", "chunked"))
        return body, (*kept, ("Content-Length", str(len(body))))
    if encoding == "stale":
        # What it did before: the payload is decoded, but its headers still say that it is not.
        return body, (("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"))
    headers: tuple[tuple[str, str], ...] = ()
    if "gzip" in encoding:
        body, headers = _pack(body), (("Content-Encoding", "gzip"),)
    if "chunked" in encoding:
        return _chunk(body), (*headers, ("Transfer-Encoding", "chunked"))
    return body, (*headers, ("Content-Length", str(len(body))))


def _pack(content: bytes) -> bytes:
    # Not gzip.compress: what it writes into the header differs from one Python to the next.
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(content) + packer.flush()


def _chunk(body: bytes, size: int = 4096) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def build_archive(name: str, captures: Sequence[Capture]) -> tuple[bytes, list[Place]]:
    """The bytes of a WARC file, and the place of each capture's response in it."""
    archive = bytearray(_write_info(name, captures[0].fetched_at))
    places = []
    for capture in captures:
        response = _write_response(capture)
        archive += _write_request(capture)
        places.append(Place(len(archive), capture))
        archive += _damage(response, capture.damage)
        if not capture.damage and number(capture.url, "metadata") % 6 == 0:
            archive += _write_metadata(capture)
    return bytes(archive), places


def _write_info(name: str, date: str) -> bytes:
    buffer, writer = _open_member()
    facts = {
        "software": "shardmill tests/data/make_sample.py",
        "description": "Made-up news pages in the layout of a CC-NEWS file; no page of this archive was ever fetched",
        "format": "WARC File Format 1.0",
        "isPartOf": "CC-NEWS-SAMPLE",
    }
    info = writer.create_warcinfo_record(name, facts)
    info.rec_headers.replace_header("WARC-Date", date)
    info.rec_headers.replace_header("WARC-Record-ID", _make_id("warcinfo", name))
    writer.write_record(info)
    return buffer.getvalue()


def _write_request(capture: Capture) -> bytes:
    host, _, path = capture.url.split("://", 1)[1].partition("/")
    fields = [("User-Agent", AGENT), ("Accept", "text/html,*/*;q=0.8"), ("Accept-Encoding", "gzip"), ("Host", host)]
    http = StatusAndHeaders(f"/{path} HTTP/1.1", fields, is_http_request=True, protocol="GET")
    return _write("request", capture, b"", http, {"WARC-Concurrent-To": _make_id("response", *_identity(capture))})


def _write_response(capture: Capture) -> bytes:
    http = StatusAndHeaders(capture.status, list(capture.headers), protocol="HTTP/1.1")
    record = _write("response", capture, capture.payload, http, {})
    if capture.damage != "content_length":
        return record
    plain = gzip.decompress(record)
    before, _, rest = plain.partition(b"\r\nContent-Length: ")
    length, _, after = rest.partition(b"\r\n")
    wrong = b"%b\r\nContent-Length: %d\r\n%b" % (before, int(length) + 4711, after)
    return _pack(wrong)


def _write_metadata(capture: Capture) -> bytes:
    lines = f"fetchTimeMs: {number(capture.url, 'ms') % 900 + 60}\r\ncharset-detected: unknown\r\n".encode()
    headers = {"WARC-Concurrent-To": _make_id("response", *_identity(capture))}
    return _write("metadata", capture, lines, None, headers, content_type="application/warc-fields")


def _write(
    kind: str,
    capture: Capture,
    payload: bytes,
    http: StatusAndHeaders | None,
    headers: dict[str, str],
    *,
    content_type: str = "",
) -> bytes:
    buffer, writer = _open_member()
    fixed = {"WARC-Date": capture.fetched_at, "WARC-Record-ID": _make_id(kind, *_identity(capture)), **headers}
    record = writer.create_warc_record(
        capture.url,
        kind,
        payload=BytesIO(payload),
        length=len(payload),
        http_headers=http,
        warc_content_type=content_type,
        warc_headers_dict=fixed,
    )
    writer.write_record(record)
    return buffer.getvalue()


def _open_member() -> tuple[BytesIO, WARCWriter]:
    buffer = BytesIO()
    return buffer, WARCWriter(buffer, gzip=True)


def _identity(capture: Capture) -> tuple[str, str]:
    return capture.url, capture.fetched_at


def _make_id(*names: str) -> str:
    return f"<urn:uuid:{UUID(bytes=hashlib.sha256(' '.join(names).encode()).digest()[:16], version=4)}>"


def _damage(member: bytes, damage: str) -> bytes:
    if damage == "flipped":
        middle = len(member) // 2
        return member[:middle] + bytes([member[middle] ^ 0x5A]) + member[middle + 1 :]
    return member[: len(member) // 2] if damage == "truncated" else member
