"""Common Crawl's index: lines of CDXJ in, the best capture of a page out; and records checked before they are taken.

The rule of what is best: status 200 and HTML, the earliest capture at or after the moment when the page was first
submitted, since that is what people voted on; where there is none, the latest before it. Of captures of the same
second, the first by file and offset.

A line is `urlkey timestamp {json}` as the index files have it, or JSON alone, as the index server answers
(`?url=…&output=json`). The urlkey is not looked at: pages are compared by our own canonical form of the URL.
"""

import re
import zlib
from collections.abc import Iterable
from datetime import datetime
from io import BytesIO
from typing import NamedTuple

import msgspec

from corpora.documents import RawPage, Rejection
from corpora.members import GZIP_MAGIC
from corpora.processing import HTML_TYPES
from corpora.urls import canonical_url, redact_credentials
from corpora.warc import Administrative, ReadLimits, read_pages

__all__ = ["Capture", "Checked", "check_record", "order_captures", "parse_index_line"]

_TIMESTAMP = re.compile(rb"(?:\S+ )?(\d{14}) ")
_MAX_RECORD_BYTES = 1 << 30


class Capture(NamedTuple):
    """A page as some crawl found it, and where its record lies."""

    url: str  # as crawled, credentials removed
    captured_utc: int  # seconds since 1970
    file: str  # below the crawl's root
    offset: int
    length: int


class _IndexFields(msgspec.Struct, gc=False):
    url: str = ""
    status: int | str | None = None  # "200", and "-" where there is none
    mime: str | None = None
    mime_detected: str | None = msgspec.field(default=None, name="mime-detected")
    filename: str = ""
    offset: int = -1
    length: int = -1
    timestamp: str = ""


class BadIndexLine(NamedTuple):
    """A line that is no line of an index."""

    detail: str


_decode = msgspec.json.Decoder(_IndexFields, strict=False).decode


def parse_index_line(line: bytes) -> Capture | BadIndexLine | None:
    """The capture of a line, None where it is blank, no HTML or no success; never raises.

    >>> parse_index_line(b'com,example)/ 20240518015810 {"url": "http://example.com/", "status": "200", '
    ...                  b'"mime": "text/html", "filename": "a.warc.gz", "offset": "7", "length": "9"}')
    Capture(url='http://example.com/', captured_utc=1715997490, file='a.warc.gz', offset=7, length=9)
    """
    start = line.find(b"{")
    if start < 0:
        return BadIndexLine("no JSON in the line") if line.strip(b" \t\r\0") else None
    try:
        fields = _decode(line[start:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return BadIndexLine(str(error)[:80])
    if str(fields.status) != "200" or (fields.mime_detected or fields.mime) not in HTML_TYPES:
        return None
    found = _TIMESTAMP.match(line[:start])
    moment = _read_time(found[1].decode() if found else fields.timestamp)
    if moment is None or not fields.url or not fields.filename or fields.offset < 0 or fields.length < 1:
        return BadIndexLine("the time, the URL, or where the record lies is missing")
    if fields.length > _MAX_RECORD_BYTES or fields.offset > 1 << 62 or not is_below_root(fields.filename):
        return BadIndexLine("the record cannot lie where the line says")
    return Capture(redact_credentials(fields.url), moment, fields.filename, fields.offset, fields.length)


def is_below_root(file: str) -> bool:
    """Whether a file name of an index stays below the folder that it is looked for in.

    >>> is_below_root("crawl-data/a.warc.gz"), is_below_root("../a"), is_below_root("/etc/passwd")
    (True, False, False)
    """
    return bool(file) and file.isprintable() and "://" not in file and ".." not in file.split("/") and file[0] != "/"


def order_captures(captures: Iterable[Capture], submitted_utc: int) -> list[Capture]:
    """Captures of one page, the best first; `submitted_utc` is in seconds since 1970, 0 where nobody knows."""

    def order(one: Capture) -> tuple[bool, int, str, int]:
        late = one.captured_utc - submitted_utc
        return late < 0, abs(late), one.file, one.offset

    return sorted(set(captures), key=order)


class Checked(NamedTuple):
    """What was found where an index said that a record lies."""

    page: RawPage | None  # None where it cannot be taken
    member: bytes  # the record as a gzip member, just as it was stored where it was one
    complaint: str


def check_record(data: bytes, capture: Capture) -> Checked:
    """Whether the bytes are one whole record of a page; damage is a complaint, never an exception."""
    if len(data) != capture.length:
        return Checked(None, b"", f"{len(data)} of {capture.length} bytes are there")
    is_packed = data.startswith(GZIP_MAGIC)
    if is_packed and not _is_one_member(data):
        return Checked(None, b"", "not one gzip member")
    found = list(read_pages(BytesIO(data), source=capture.file, limits=_LIMITS))
    pages = [item for item in found if isinstance(item, RawPage)]
    refused = next((item for item in found if isinstance(item, Rejection)), None)
    if refused:
        return Checked(None, b"", f"{refused.reason}: {refused.detail}")
    if len(pages) != 1 or len(found) != 1:
        kind = found[0].record_type if found and isinstance(found[0], Administrative) else f"{len(found)} records"
        return Checked(None, b"", f"{kind} where the record of a page should be")
    if canonical_url(pages[0].url) != canonical_url(capture.url):
        return Checked(None, b"", "the record is of another page")
    return Checked(pages[0], data if is_packed else _pack(data), "")


_LIMITS = ReadLimits()


def _is_one_member(data: bytes) -> bool:
    inflater = zlib.decompressobj(wbits=31)
    rest, n_bytes = data, 0
    try:
        while rest and not inflater.eof and n_bytes <= _MAX_RECORD_BYTES:
            n_bytes += len(inflater.decompress(rest, 1 << 20))
            rest = inflater.unconsumed_tail
    except zlib.error:
        return False
    return inflater.eof and not inflater.unused_data


def _pack(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # its header holds neither time nor name
    return packer.compress(data) + packer.flush()


def _read_time(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(f"{text[:8]}T{text[8:]}+00:00").timestamp())
    except ValueError:
        return None
