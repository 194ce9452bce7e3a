"""WARC 1.1 records of what was fetched: an answer in, one gzip member out.

The rule: the block of a response is what came over the wire, chunks and content encoding included, so that digests can
be checked and nothing is guessed. The URL is the one that was asked for, without credentials. No request records: they
would only repeat what the warcinfo says, and could hold a token.
"""

import base64
import gzip
import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from pipelines.crawl_http import Answer
from pipelines.crawl_outcomes import Outcome
from pipelines.crawl_settings import FetchSettings, own_version, user_agent

_LEVEL = 4  # most bodies came compressed; 6 costs twice the time for 2% of what did not


def make_warcinfo(name: str, settings: FetchSettings) -> bytes:
    """The record that opens a file: who crawled, with what, and by which rules."""
    fields = [
        ("software", f"shardmill/{own_version()}"),
        ("operator", settings.contact),
        ("http-header-user-agent", user_agent(settings)),
        ("robots", "obey (RFC 9309)"),
        ("format", "WARC File Format 1.1"),
        ("conformsTo", "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"),
        ("description", f"bodies as sent, cut at {settings.body_bytes} bytes; credentials removed from URLs"),
    ]
    block = "".join(f"{key}: {value}\r\n" for key, value in fields).encode()
    headers = [
        ("WARC-Type", "warcinfo"),
        ("WARC-Date", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("WARC-Filename", name),
        ("Content-Type", "application/warc-fields"),
    ]
    return _member(headers, block)


def make_response(outcome: Outcome, answer: Answer) -> bytes:
    """The record of a fetched page."""
    headers = [
        ("WARC-Type", "response"),
        ("WARC-Target-URI", outcome.final_url),
        ("WARC-Date", outcome.fetched_at),
        ("WARC-IP-Address", answer.address),
        ("Content-Type", "application/http; msgtype=response"),
        ("WARC-Payload-Digest", _digest(answer.body)),
        ("WARC-Block-Digest", _digest(answer.raw)),
    ]
    if answer.is_truncated:
        headers.append(("WARC-Truncated", "length"))
    return _member(headers, answer.raw)


def _member(headers: Iterable[tuple[str, str]], block: bytes) -> bytes:
    rows = [*headers, ("WARC-Record-ID", f"<urn:uuid:{uuid.uuid4()}>"), ("Content-Length", str(len(block)))]
    head = "WARC/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in rows) + "\r\n"
    return gzip.compress(head.encode() + block + b"\r\n\r\n", compresslevel=_LEVEL, mtime=0)


def _digest(data: bytes | memoryview) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")
