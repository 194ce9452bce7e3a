"""Reads WARC, ARC and WET files, plain or gzipped, whole or by byte range: a seekable file in, pages out.

The rule: nothing is lost without a `Rejection`, and damage costs the record it is in. Only true input errors
(`OSError`) are raised. Reading a file in ranges gives, together, exactly what reading it whole gives: an item belongs
to the range in which its gzip member (in a plain file: the record itself) starts.

Offsets. `offset` is where the record's gzip member starts in the file, or the record itself in a plain file: reading
from there finds it again. A member that holds several records (a whole WARC compressed at once) gives its first record
its own offset; a later one gets the member's offset plus the record's position in the inflated member. For a file that
is one member this is the record's place in the decompressed file.

Limits of what can be known. Bytes flipped inside a member of many records are noticed only when its checksum is
reached, and all of its records after an undecodable place are lost, under one rejection; so are damaged members that
stand side by side and cannot be told apart. Ranges add up as long as no gzip member and no record of a plain file is
longer than `ReadLimits.sync_bytes`: from there on, a record that a crawler stored inside another one, or damage that
begins just where a range does, can be taken for the file's own or be missed.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from warcio.statusandheaders import StatusAndHeaders

from corpora.documents import RawPage, Rejection, make_document_id
from corpora.members import (
    COMPLETE,
    DAMAGED,
    GZIP_MAGIC,
    TRUNCATED,
    Member,
    PlainFeed,
    Window,
    begins_record,
    looks_like_member,
    next_member,
    skip_padding,
)
from corpora.payloads import Unreadable, is_http, read_response, split_content_type
from corpora.records import ARC, WARC, Break, CarvedRecord, ReadLimits, Tape, carve, find_next_record
from corpora.urls import redact_credentials

__all__ = ["BROKEN_REASONS", "READ_REASONS", "Administrative", "ReadLimits", "read_pages"]

# Damage; the other reasons of this stage say that a sound record is not wanted or not readable by us.
BROKEN_REASONS = frozenset(
    {
        "empty_file",  # not a single byte
        "unknown_format",  # neither gzip nor a record anywhere in the first `record_bytes`
        "not_a_record",  # bytes between records that start none
        "bad_header",  # headers without end, without a type or without the URL that a page needs
        "content_length",  # missing, no number, or contradicted by what follows
        DAMAGED,  # a gzip member that does not inflate, or with a wrong checksum
        TRUNCATED,  # the file ends inside a record
        "damaged_payload",  # chunks or compressed content that cannot be undone
    }
)
READ_REASONS = BROKEN_REASONS | {"too_large", "content_encoding", "revisit"}

_PAGE_TYPES = frozenset({"response", "resource", "conversion"})
_DEFAULT_LIMITS = ReadLimits()
_GZIP = "gzip"
_FORMAT_BYTES = 1 << 16
_GZIP_HEAD_BYTES = 64
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f]")
_DATE = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?)?", re.ASCII
)
_ARC_DATE = re.compile(r"\d{14}", re.ASCII)


class Administrative(NamedTuple):
    """A record that holds no page: warcinfo, request, metadata, an ARC file's header, and types we do not know."""

    record_type: str
    offset: int


class _Place(NamedTuple):
    """Where an item stands, and what names it."""

    source: str
    offset: int
    member: int  # where its member starts; equal to `offset` unless it is a later record of a member

    def identify(self, url: str) -> bytes:
        if self.offset == self.member:
            return make_document_id(self.source, self.offset, url)
        # Offsets of later records of a member may meet those of other members. URLs hold no NUL: ids never meet.
        return make_document_id(self.source, self.member, f"{self.offset - self.member}\0{url}")


def read_pages(
    stream: BinaryIO, *, source: str, start: int = 0, end: int | None = None, limits: ReadLimits = _DEFAULT_LIMITS
) -> Iterator[RawPage | Rejection | Administrative]:
    """Everything that starts in bytes [start, end) of the file, in the file's order.

    `stream` is the whole file, seekable, not decompressed. `source` names it in what comes out.
    """
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"no byte range: [{start}, {end})")
    window = Window(stream)
    end = window.size if end is None else min(end, window.size)
    form = _detect_format(window, limits)
    if not form:
        if start == 0 and (end > 0 or window.size == 0):
            yield _reject_file(window, source)
        return
    carve_file = _carve_members if form == _GZIP else _carve_plain
    for place, item in carve_file(window, source, start, end, form, limits):
        yield _convert(place, item, limits)


def _detect_format(window: Window, limits: ReadLimits) -> str:
    """_GZIP, WARC or ARC by content; where the file's first bytes are damaged, by what is found next."""
    head = window.look(0, _FORMAT_BYTES)
    if not head:
        return ""
    if head.startswith(GZIP_MAGIC[: len(head)]):
        return _GZIP
    if begins_record(head) or b"WARC/".startswith(head[:5]):
        return WARC if head.lstrip(b"\r\n\0").startswith(b"WARC/"[: len(head)]) else ARC
    member = next_member(window, 0, limits.record_bytes)
    plain = Tape(PlainFeed(window, 0))
    found = find_next_record(plain, skip=0, search_bytes=limits.record_bytes)
    # A first line that stands where gzip's own header ends is in a member that holds its bytes uncompressed.
    if member is not None and (not found or member < plain.base or plain.base < _GZIP_HEAD_BYTES):
        return _GZIP
    return plain.form if found else ""


def _carve_plain(
    window: Window, source: str, start: int, end: int, form: str, limits: ReadLimits
) -> Iterator[tuple[_Place, CarvedRecord | Break]]:
    begin = max(0, start - limits.sync_bytes)
    tape = Tape(PlainFeed(window, begin), base=begin, form=form)
    if begin and not find_next_record(tape, skip=0, search_bytes=end - begin):
        return
    for item in carve(tape, limits=limits):
        if item.position >= end:
            return
        if item.position >= start:
            yield _Place(source, item.position, item.position), item


def _carve_members(
    window: Window, source: str, start: int, end: int, _form: str, limits: ReadLimits
) -> Iterator[tuple[_Place, CarvedRecord | Break]]:
    begin = max(0, start - limits.sync_bytes)
    position = next_member(window, begin, end) if begin else 0
    while position is not None and (position := skip_padding(window, position)) < end:
        member, is_damaged, after = Member(window, position), False, None
        items = carve(Tape(member), limits=limits) if looks_like_member(window, position) else iter((_NO_MEMBER,))
        for index, item in enumerate(items):
            if isinstance(item, Break) and item.reason in (DAMAGED, TRUNCATED):
                is_damaged, after = True, next_member(window, position + 1)
                item = _explain_damage(item, after)
            if position >= start:
                yield _Place(source, position + (item.position if index else 0), position), item
        if is_damaged:
            position = after
        elif member.outcome == COMPLETE:
            position = member.position
        else:
            # Given up as too costly. What was inflated of it was sound, so the next member starts after that.
            position = next_member(window, member.position)


_NO_MEMBER = Break(0, DAMAGED, "no gzip member starts here")


def _explain_damage(item: Break, after: int | None) -> Break:
    if after is None:
        return item._replace(detail=f"{item.detail}; no member follows")
    # A member that runs to the end of the file although others follow was not cut off.
    return item._replace(reason=DAMAGED, detail=f"{item.detail}; the next member starts at byte {after}")


def _reject_file(window: Window, source: str) -> Rejection:
    reason = "unknown_format" if window.size else "empty_file"
    detail = "neither WARC nor ARC, plain or gzipped" if window.size else "the file has no bytes"
    return Rejection(make_document_id(source, 0, ""), "", "read", reason, detail, source, 0, True)


def _convert(place: _Place, item: CarvedRecord | Break, limits: ReadLimits) -> RawPage | Rejection | Administrative:
    if isinstance(item, Break):
        return _reject(place, "" if item.headers is None else _read_url(item.headers), item.reason, item.detail)
    url = _read_url(item.headers)
    if item.form == ARC:
        if url.startswith("filedesc:"):
            return Administrative("filedesc", place.offset)
        return _convert_page(place, item, url, "response", limits)
    record_type = (item.headers.get_header("WARC-Type") or "").strip().lower()
    if not record_type:
        return _reject(place, url, "bad_header", "the record has no WARC-Type")
    if record_type == "revisit":
        return _reject(place, url, "revisit", "a page that had not changed since an earlier visit; it is stored there")
    if record_type not in _PAGE_TYPES:
        return Administrative(record_type, place.offset)
    return _convert_page(place, item, url, record_type, limits)


def _convert_page(
    place: _Place, record: CarvedRecord, url: str, record_type: str, limits: ReadLimits
) -> RawPage | Rejection:
    if not url:
        return _reject(place, url, "bad_header", f"the {record_type} record has no WARC-Target-URI")
    headers, content = record.headers, record.content
    date = headers.get_header("archive-date" if record.form == ARC else "WARC-Date") or ""
    status, (mime, charset), body = 200, split_content_type(headers.get_header("Content-Type") or ""), content
    if record_type == "response" and is_http(content):
        payload = read_response(content, max_body_bytes=limits.record_bytes, max_header_bytes=limits.header_bytes)
        if isinstance(payload, Unreadable):
            return _reject(place, url, payload.reason, payload.detail)
        status, mime, charset, body = payload
    elif mime == "application/http":
        mime = charset = ""  # it says so of the record, but no HTTP message is in it
    document_id = place.identify(url)
    fetched_at = normalise_date(date)
    return RawPage(document_id, url, fetched_at, status, mime, charset, body, place.source, place.offset)


def _reject(place: _Place, url: str, reason: str, detail: str) -> Rejection:
    broken = reason in BROKEN_REASONS
    return Rejection(place.identify(url), url, "read", reason, detail, place.source, place.offset, broken)


def _read_url(headers: StatusAndHeaders) -> str:
    """The URL as recorded, without what cannot be part of one and without credentials."""
    url: str = headers.get_header("WARC-Target-URI") or headers.get_header("uri") or ""
    if url.startswith("<") and url.endswith(">"):
        url = url[1:-1]  # Wget 1.19 wrote it so
    url = _CONTROLS.sub("", url).strip().replace(" ", "%20")
    return redact_credentials(url)


def normalise_date(date: str) -> str:
    """A record's date as "YYYY-MM-DDTHH:MM:SSZ"; "" when it is none. What WARC 1.1 lets a date leave out is its start.

    >>> normalise_date("20140216050221"), normalise_date("2016-09-26T23:18:09.25+02:00"), normalise_date("Monday")
    ('2014-02-16T05:02:21Z', '2016-09-26T21:18:09Z', '')
    """
    date = date.strip()
    try:
        if _ARC_DATE.fullmatch(date):
            moment = datetime.strptime(date, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        else:
            found = _DATE.fullmatch(date)
            if not found:
                return ""
            year, month, day, hour, minute, second, zone = found.groups()
            clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}{zone or 'Z'}"
            moment = datetime.fromisoformat(f"{year}-{month}-{day or '01'}T{clock}").astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
