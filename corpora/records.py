"""Carves a run of bytes (a plain file, or one inflated gzip member) into archive records: bytes in, records out.

The rule: a record comes out only if what follows it confirms where it ends; any other stretch is one `Break` with its
place and reason, and carving goes on at the next line that starts a record. A length that is wrong by blank lines
only goes unnoticed, since nothing is lost by it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from io import BytesIO
from typing import NamedTuple

from warcio.recordloader import ARCHeadersParser
from warcio.statusandheaders import StatusAndHeaders, StatusAndHeadersParser, StatusAndHeadersParserException

from corpora.members import ARC_START, BLANKS, COMPLETE, TRUNCATED, WARC_START, Feed, PlainFeed

WARC = "warc"
ARC = "arc"

_WARC_ANYWHERE = re.compile(rb"WARC/\d{1,3}\.\d{1,3}[ \t]*\r?\n[A-Za-z][A-Za-z0-9\-]*[ \t]*:")
# An ARC line is searched by its tail, which is rare: searching for its URL first would be quadratic.
_ARC_TAIL = re.compile(rb" \d{8,20} [^\s]{1,255} [^\s]{1,20}[ \t]*\r?\n")
_ARC_SCHEME = re.compile(rb"(?:https?|ftp|dns|filedesc|whois|gopher|news|nntp|mailto):")
_ARC_TRAITS = tuple(re.compile(trait) for trait in (rb":/", rb"\d+\.\d+\.\d+", rb"\d{5,}", rb"\w/\w", rb" \d+\r?$"))
_LINE_ENDS = re.compile(rb"[\r\n]*")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(r"\s*\d{1,18}\s*", re.ASCII)
_INCREDIBLE_BYTES = 1 << 40  # no record is this long: a length beyond it is wrong, not large
_LOOK_BYTES = 1 << 16  # seen of what follows a record, and kept while searching


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLimits:
    """What one record may cost; the defaults keep a reader below 300 MB on any input."""

    record_bytes: int = 64 << 20  # of a record, inflated, and again of its body, decoded
    header_bytes: int = 1 << 20  # of a record's headers, and again of its HTTP headers
    sync_bytes: int = 8 << 20  # read before a range that starts inside a file, to be in step where it begins
    skip_bytes: int = 1 << 30  # inflated and forgotten to get past a too large record amid others in one gzip member

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must not be negative")
        if not self.record_bytes or not self.header_bytes:
            raise ValueError("record_bytes and header_bytes must be positive")


class CarvedRecord(NamedTuple):
    """One record as it stands in the archive, its content complete."""

    position: int  # of its first byte, in the run of bytes
    form: str  # WARC or ARC
    headers: StatusAndHeaders
    content: bytes


class Break(NamedTuple):
    """A stretch that is not a record that can be handed on."""

    position: int
    reason: str
    detail: str
    headers: StatusAndHeaders | None = None  # of the record that began here, where they could be read


class Tape:
    """A feed with look-ahead: `buffer` holds what was read and not yet dropped, `base` is the position of its start."""

    def __init__(self, feed: Feed, *, base: int = 0, form: str = "") -> None:
        self.feed = feed
        self.base = base
        self.form = form  # WARC or ARC once known: a run holds one kind
        self.buffer = bytearray()
        self.abandoned = False  # there is more, but it is too costly to read

    def ensure(self, n_bytes: int) -> bool:
        """Whether the buffer holds `n_bytes`, after reading as much as that takes."""
        while len(self.buffer) < n_bytes:
            piece = self.feed.read()
            if not piece:
                return False
            self.buffer += piece
        return True

    def drop(self, n_bytes: int) -> None:
        """Passes over `n_bytes`, also those not read yet."""
        unread = n_bytes - len(self.buffer)
        self.base += n_bytes
        if unread > 0:
            self.buffer.clear()
            self.buffer += self.feed.skip(unread)
        else:
            del self.buffer[:n_bytes]

    def copy(self, first: int, end: int) -> bytes:
        """A part of the buffer, copied once."""
        with memoryview(self.buffer) as view:
            return bytes(view[first:end])


def carve(tape: Tape, *, limits: ReadLimits) -> Iterator[CarvedRecord | Break]:
    """All records from the tape's place on, and a `Break` for each stretch that is none."""
    is_first = True
    while not tape.abandoned:
        _drop_blanks(tape, limits)
        if not tape.ensure(1):
            if tape.feed.outcome != COMPLETE:
                yield Break(tape.base, tape.feed.outcome, tape.feed.detail)
            return
        item = _take_record(tape, limits, is_first) if _form_here(tape) else _pass_junk(tape, limits)
        is_first = False
        if isinstance(item, Break) and tape.feed.outcome not in ("", COMPLETE):
            _drop_blanks(tape, limits)
            if not tape.buffer:  # damage to the feed is why nothing was found in its rest; it is reported once
                yield item._replace(reason=tape.feed.outcome, detail=tape.feed.detail)
                return
        yield item


def find_next_record(tape: Tape, *, skip: int, search_bytes: int | None = None) -> bool:
    """Moves the tape to the next line that starts a record, `skip` bytes on or later.

    False leaves the tape at its end or, once `search_bytes` were seen, abandoned.
    """
    tape.ensure(skip)
    tape.drop(min(skip, len(tape.buffer)))
    limit = None if search_bytes is None else tape.base + search_bytes
    while True:
        at = _search(tape)
        if at >= 0:
            tape.drop(at)
            return True
        tape.drop(max(0, len(tape.buffer) - _LOOK_BYTES))
        if limit is not None and tape.base > limit:
            tape.abandoned = True
            return False
        if not tape.ensure(len(tape.buffer) + 1):
            tape.drop(len(tape.buffer))
            return False


def _search(tape: Tape) -> int:
    if tape.form != ARC and (found := _WARC_ANYWHERE.search(tape.buffer)):
        tape.form = WARC
        return found.start()
    at = 0
    while tape.form != WARC and (tail := _ARC_TAIL.search(tape.buffer, at)):
        line = max(tape.buffer.rfind(b"\n", 0, tail.start()) + 1, tail.start() - _LOOK_BYTES)
        schemes = [scheme.start() for scheme in _ARC_SCHEME.finditer(tape.copy(line, tail.start()))]
        if schemes:
            tape.form = ARC
            # Where the line break before the record is damaged, its URL is the last one on the line.
            return line + (0 if schemes[0] == 0 else schemes[-1])
        at = tail.end()
    return -1


def _resync(tape: Tape, limits: ReadLimits, *, skip: int) -> bool:
    # A plain file costs one pass at most; a member may be a bomb.
    return find_next_record(tape, skip=skip, search_bytes=limits.record_bytes if tape.feed.end_is_proof else None)


def _drop_blanks(tape: Tape, limits: ReadLimits) -> None:
    dropped = 0
    while dropped <= limits.record_bytes and tape.ensure(1):
        blanks = BLANKS.match(tape.buffer)
        n_blanks = blanks.end() if blanks else 0
        is_all = n_blanks == len(tape.buffer)
        tape.drop(n_blanks)
        dropped += n_blanks
        if not is_all:
            return


def _form_here(tape: Tape) -> str:
    """WARC or ARC if a record starts at the tape's place, else ""; the first one fixes the tape's form."""
    tape.ensure(_LOOK_BYTES)
    form = _form_at(tape, 0)
    tape.form = tape.form or form
    return form


def _form_at(tape: Tape, at: int) -> str:
    if tape.form != ARC and WARC_START.match(tape.buffer, at):
        return WARC
    if tape.form != WARC and ARC_START.match(tape.buffer, at):
        return ARC
    return ""


def _pass_junk(tape: Tape, limits: ReadLimits) -> Break:
    position, head = tape.base, tape.copy(0, 32)
    is_rest = not tape.ensure(_LOOK_BYTES)
    begins_line = b"WARC/1.0\r\n".startswith(head) or (b"\n" not in tape.buffer and _ARC_SCHEME.match(head))
    found = _resync(tape, limits, skip=1)
    outcome = tape.feed.outcome
    if not found and outcome and outcome != COMPLETE:
        return Break(position, outcome, tape.feed.detail)
    if not found and is_rest and begins_line:
        return Break(position, TRUNCATED, "the file ends inside the first line of a record")
    return Break(position, "not_a_record", f"no record starts here, but {head!r}")


def _take_record(tape: Tape, limits: ReadLimits, is_first: bool) -> CarvedRecord | Break:
    position = tape.base
    first_line = tape.buffer.find(b"\n") + 1
    header_bytes = _find_header_end(tape, limits)
    if not header_bytes:
        return _pass_header(tape, limits, first_line)
    try:
        headers = _parse_headers(tape.copy(0, header_bytes), tape.form)
    except (StatusAndHeadersParserException, EOFError) as error:
        _resync(tape, limits, skip=first_line)
        return Break(position, "bad_header", str(error))
    declared = headers.get_header("length" if tape.form == ARC else "Content-Length")
    if declared is None or not _LENGTH.fullmatch(declared):
        _resync(tape, limits, skip=first_line)
        return Break(position, "content_length", f"the record's length is {declared!r}", headers)
    end = header_bytes + int(declared)
    if int(declared) > limits.record_bytes:
        return _pass_oversized(tape, limits, headers, first_line, end, is_first)
    if not tape.ensure(end):
        return _pass_short(tape, limits, headers, first_line, end)
    verdict = _judge_end(tape, end)
    if verdict == "content_length":
        found = _resync(tape, limits, skip=first_line)
        detail = f"no record ends after the {declared} bytes declared" + ("" if found else ", and none follows")
        return Break(position, verdict, detail, headers)
    record = CarvedRecord(position, tape.form, headers, tape.copy(header_bytes, end))
    tape.drop(end)
    return Break(position, verdict, tape.feed.detail, headers) if verdict else record


def _find_header_end(tape: Tape, limits: ReadLimits) -> int:
    """Length of the header block with its blank line, 0 if none ends within the limit."""
    if tape.form == ARC:
        return tape.buffer.find(b"\n") + 1
    seen = 0
    while True:
        blank = _BLANK_LINE.search(tape.buffer, max(0, seen - 3), limits.header_bytes)
        if blank:
            return blank.end()
        seen = len(tape.buffer)
        if seen >= limits.header_bytes or not tape.ensure(seen + 1):
            return 0


def _parse_headers(head: bytes, form: str) -> StatusAndHeaders:
    if form == ARC:
        return ARCHeadersParser().parse(BytesIO(head))
    return StatusAndHeadersParser([], verify=False).parse(BytesIO(head))


def _pass_header(tape: Tape, limits: ReadLimits, first_line: int) -> Break:
    position = tape.base
    if len(tape.buffer) >= limits.header_bytes:
        _resync(tape, limits, skip=first_line)
        return Break(position, "too_large", f"headers of more than {limits.header_bytes} bytes")
    if _resync(tape, limits, skip=first_line) or (tape.feed.end_is_proof and tape.feed.outcome == COMPLETE):
        return Break(position, "bad_header", "the record's headers do not end")
    return _end_of_feed(tape, position, "the file ends inside a record's headers", None)


def _pass_short(tape: Tape, limits: ReadLimits, headers: StatusAndHeaders, first_line: int, end: int) -> Break:
    """The feed ended before the record did: its length is wrong, or the rest is missing."""
    position, n_missing = tape.base, end - len(tape.buffer)
    found = _resync(tape, limits, skip=first_line)
    return _judge_short(tape, Break(position, "", "", headers), n_missing, is_wrong=found)


def _judge_short(tape: Tape, place: Break, n_missing: int, *, is_wrong: bool) -> Break:
    if is_wrong:
        return place._replace(reason="content_length", detail="another record starts inside the length declared")
    # A plain file that ends in the separator of records was not cut inside one.
    ends_well = isinstance(tape.feed, PlainFeed) and tape.form == WARC and tape.feed.ends_with(b"\r\n\r\n")
    if tape.feed.outcome == COMPLETE and (ends_well or tape.feed.end_is_proof or n_missing > _INCREDIBLE_BYTES):
        detail = f"the record's length reaches {n_missing} bytes beyond the end"
        return place._replace(reason="content_length", detail=detail)
    return _end_of_feed(tape, place.position, f"the file ends {n_missing} bytes before the record does", place.headers)


def _end_of_feed(tape: Tape, position: int, detail: str, headers: StatusAndHeaders | None) -> Break:
    if tape.feed.outcome == COMPLETE:
        return Break(position, TRUNCATED, detail, headers)
    return Break(position, tape.feed.outcome, tape.feed.detail, headers)


def _pass_oversized(
    tape: Tape, limits: ReadLimits, headers: StatusAndHeaders, first_line: int, end: int, is_first: bool
) -> Break:
    """A length beyond the cap: true, and then the record is passed over, or wrong."""
    position = tape.base
    too_large = Break(position, "too_large", f"a record of {end} bytes, more than {limits.record_bytes}", headers)
    if isinstance(tape.feed, PlainFeed) and _starts_or_ends(tape.feed.peek(position + end), tape.form):
        tape.drop(end)
        return too_large
    if _resync(tape, limits, skip=first_line):
        return Break(position, "content_length", "another record starts inside the length declared", headers)
    if not tape.abandoned:
        n_missing = position + end - tape.base
        return _judge_short(tape, too_large, n_missing, is_wrong=False)
    if not is_first and end <= limits.skip_bytes:
        tape.abandoned = False
        tape.drop(position + end - tape.base)
    return too_large


def _judge_end(tape: Tape, end: int) -> str:
    """Why the record cannot end at `end`: "" when it does, "content_length", or the outcome of the feed."""
    tape.ensure(end + _LOOK_BYTES)
    line_ends = _LINE_ENDS.match(tape.buffer, end)
    after = line_ends.end() if line_ends else end
    if after >= len(tape.buffer) or (tape.feed.outcome and not tape.copy(after, len(tape.buffer)).strip(b"\0")):
        return tape.feed.outcome if tape.feed.outcome != COMPLETE else ""
    if _form_at(tape, after):
        return ""
    # The separator in its place tells that the length is right and the next record's first line is what is damaged.
    if tape.form == WARC and tape.buffer.startswith(b"\r\n\r\n", end):
        return ""
    if tape.form == ARC and after > end and _resembles_arc_line(tape, after):
        return ""
    return "content_length"


def _starts_or_ends(seen: bytes | None, form: str) -> bool:
    """Whether a place in a plain file is its end or, line breaks aside, looks like the start of a record."""
    rest = None if seen is None else seen.lstrip(b"\r\n")
    return rest is not None and (
        not rest or rest.startswith(b"WARC/") or (form == ARC and bool(_ARC_SCHEME.match(rest)))
    )


def _resembles_arc_line(tape: Tape, at: int) -> bool:
    line_end = tape.buffer.find(b"\n", at)
    line = tape.copy(at, line_end if line_end >= 0 else len(tape.buffer))
    if line_end < 0:
        return tape.feed.outcome != "" and _ARC_SCHEME.match(line) is not None
    return sum(trait.search(line) is not None for trait in _ARC_TRAITS) >= 3
