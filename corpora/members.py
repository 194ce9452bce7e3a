"""Finds gzip members in a file and inflates them piece by piece: compressed bytes in, bounded pieces of bytes out.

The rule: nothing here holds more than a few hundred kilobytes, whatever the file claims about itself, and where a
member starts depends on the bytes of the file alone, never on where reading began.
"""

import os
import re
import zlib
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 18  # read from the file at once
FEED_BYTES = 1 << 16  # given to zlib at once
PIECE_BYTES = 1 << 18  # taken from zlib at once

_GLANCE_BYTES = 32
_CANDIDATE_BYTES = 1 << 20  # read of what may be a member before it must have given something

GZIP_MAGIC = b"\x1f\x8b\x08"
_RESERVED_FLAGS = 0xE0

# How a feed can end. The last two are also the reasons that damage is booked under.
COMPLETE = "complete"
TRUNCATED = "truncated"
DAMAGED = "damaged_member"

WARC_START = re.compile(rb"WARC/\d{1,3}\.\d{1,3}[ \t]*\r?\n")
# URL, IP address, date, mime, length. Lenient on date and length: a bad one is the record's error, not the reader's.
ARC_START = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]{0,20}:[^\n]{0,65536} \S{1,64} \d{4,20} \S{1,255} \S{1,20}[ \t]*\r?\n")
BLANKS = re.compile(rb"[\r\n\0]*")
_LOOK_BYTES = 1 << 12  # enough to see a record's first line


class Feed(Protocol):
    """Where the bytes of records come from: a plain file or one gzip member."""

    outcome: str  # "" while there may be more, then COMPLETE, TRUNCATED or DAMAGED
    detail: str  # what zlib said
    end_is_proof: bool  # a complete end shows that nothing was cut off

    def read(self) -> bytes:
        """The next piece; b"" once `outcome` is set."""
        ...

    def skip(self, n_bytes: int) -> bytes:
        """Passes over the next `n_bytes`, or to the end; gives back what was read beyond them."""
        ...


class Window:
    """A seekable file as buffered random access; `OSError` of the file passes through."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, os.SEEK_END)
        self._base = 0
        self._chunk = b""

    def read(self, position: int, n_bytes: int) -> memoryview:
        """Up to `n_bytes` from `position`; shorter at a chunk's end, empty only at the end of the file."""
        if not self._base <= position < self._base + len(self._chunk):
            self._load(position)
        first = position - self._base
        return memoryview(self._chunk)[first : first + n_bytes]

    def look(self, position: int, n_bytes: int) -> bytes:
        """The `n_bytes` from `position`, fewer only at the end of the file."""
        seen = bytes(self.read(position, n_bytes))
        while len(seen) < n_bytes and (more := self.read(position + len(seen), n_bytes - len(seen))):
            seen += more
        return seen

    def glance(self, position: int) -> bytes:
        """A few bytes from anywhere, without giving up the chunk at hand."""
        self._stream.seek(position)
        return self._stream.read(_GLANCE_BYTES)

    def find(self, needle: bytes, position: int) -> int:
        """Where `needle` next starts at or after `position`, or -1."""
        while position < self.size:
            if not self._base <= position <= self._base + len(self._chunk) - len(needle):
                self._load(position)
            found = self._chunk.find(needle, position - self._base)
            if found >= 0:
                return self._base + found
            if len(self._chunk) < len(needle):
                return -1
            position = self._base + len(self._chunk) - len(needle) + 1
        return -1

    def _load(self, position: int) -> None:
        self._stream.seek(position)
        parts: list[bytes] = []
        missing = CHUNK_BYTES
        while missing and (part := self._stream.read(missing)):
            parts.append(part)
            missing -= len(part)
        self._base, self._chunk = position, b"".join(parts)


class PlainFeed:
    """The bytes of an uncompressed file from `position` on."""

    end_is_proof = False  # a file cut in half ends just like a whole one

    def __init__(self, window: Window, position: int) -> None:
        self._window = window
        self.position = position
        self.outcome = ""
        self.detail = ""

    def read(self) -> bytes:
        piece = bytes(self._window.read(self.position, PIECE_BYTES))
        self.position += len(piece)
        if not piece:
            self.outcome = COMPLETE
        return piece

    def skip(self, n_bytes: int) -> bytes:
        self.position += n_bytes
        return b""

    def ends_with(self, suffix: bytes) -> bool:
        return self._window.look(max(0, self._window.size - len(suffix)), len(suffix)) == suffix

    def peek(self, position: int) -> bytes | None:
        """A few bytes from further on, b"" at the end of the file, None beyond it."""
        return self._window.glance(position) if position <= self._window.size else None


class Member:
    """One gzip member, inflated in pieces. `outcome` is COMPLETE only after its CRC and length were found right."""

    end_is_proof = True

    def __init__(self, window: Window, start: int) -> None:
        self.start = start
        self.position = start  # compressed bytes before it were consumed; where the member ends, once COMPLETE
        self.outcome = ""
        self.detail = ""
        self._window = window
        self._inflater = zlib.decompressobj(wbits=31)

    def read(self, *, max_fed_bytes: int | None = None) -> bytes:
        """The next piece. Deflate can go on for long without giving a byte; `max_fed_bytes` ends that with b""."""
        limit = None if max_fed_bytes is None else self.position + max_fed_bytes
        while not self.outcome and (limit is None or self.position < limit):
            fed: bytes | memoryview = self._inflater.unconsumed_tail
            if not fed:
                fed = self._window.read(self.position, FEED_BYTES)
                self.position += len(fed)
            at_end = not fed
            piece = self._inflate(fed)
            if self._inflater.eof and not self.outcome:
                self.position -= len(self._inflater.unused_data)
                self.outcome = COMPLETE
            elif at_end and not piece and not self.outcome:
                self.outcome, self.detail = TRUNCATED, "the file ends inside a gzip member"
            if piece:
                return piece
        return b""

    def skip(self, n_bytes: int) -> bytes:
        while piece := self.read():
            if len(piece) > n_bytes:
                return piece[n_bytes:]
            n_bytes -= len(piece)
        return b""

    def _inflate(self, fed: bytes | memoryview) -> bytes:
        # zlib throws away what it made before it met an error; a copy of its state lets us have that too. The first
        # feed needs none (a fresh inflater is its copy), so most members of a crawl never pay for one.
        first = self.position - self.start <= FEED_BYTES and not self._inflater.unconsumed_tail
        saved = None if first else self._inflater.copy()
        try:
            return self._inflater.decompress(fed, PIECE_BYTES)
        except zlib.error as error:
            self.outcome, self.detail = DAMAGED, str(error)
            return _salvage(saved or zlib.decompressobj(wbits=31), fed)


def _salvage(inflater: "zlib._Decompress", fed: bytes | memoryview) -> bytes:
    """What can be inflated of `fed` before the error in it."""
    parts: list[bytes] = []
    try:
        for index in range(len(fed)):
            parts.append(inflater.decompress(fed[index : index + 1]))
    except zlib.error:
        pass  # the caller has met this error already and reports it
    return b"".join(parts)


def looks_like_member(window: Window, position: int) -> bool:
    """Whether a gzip header, or what is left of one at the end of the file, stands at `position`."""
    head = window.look(position, 4)
    return head.startswith(GZIP_MAGIC[: len(head)]) and (len(head) < 4 or not head[3] & _RESERVED_FLAGS)


def next_member(window: Window, position: int, end: int | None = None) -> int | None:
    """Where the next member that begins with a record starts, at or after `position` and before `end`.

    The magic number occurs by chance, and pages that were crawled compressed hold gzip members of their own;
    so a candidate counts only if it inflates to the first line of a record.
    """
    while (position := window.find(GZIP_MAGIC, position)) >= 0 and (end is None or position < end):
        if looks_like_member(window, position) and begins_record(_first_bytes(Member(window, position))):
            return position
        position += 1
    return None


def skip_padding(window: Window, position: int) -> int:
    """Where the NULs at `position` end: some writers fill up blocks with them."""
    while piece := bytes(window.read(position, FEED_BYTES)):
        rest = piece.lstrip(b"\0")
        position += len(piece) - len(rest)
        if rest:
            break
    return position


def _first_bytes(member: Member) -> bytes:
    head = b""
    while len(head) < _LOOK_BYTES and (piece := member.read(max_fed_bytes=_CANDIDATE_BYTES)):
        head += piece
    return head


def begins_record(head: bytes) -> bool:
    """Whether the bytes begin with the first line of a WARC or ARC record, blank lines aside."""
    blanks = BLANKS.match(head)
    first = blanks.end() if blanks else 0
    return bool(WARC_START.match(head, first) or ARC_START.match(head, first))
