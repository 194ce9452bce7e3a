"""Reads files of books: a seekable file in, one page or one rejection out.

The rule: a file is one record, whole or not at all. What it is decides its content (a zip archive is an EPUB book,
everything else is text unless it shows that it is not); the name only tells that `.gz` is no accident.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from corpora.documents import RawPage, Rejection, make_document_id
from corpora.members import COMPLETE, DAMAGED, GZIP_MAGIC, Member, Window, looks_like_member, skip_padding

__all__ = ["BOOK_REASONS", "EPUB", "PLAIN_TEXT", "BookLimits", "read_books"]

EPUB = "application/epub+zip"
PLAIN_TEXT = "text/plain"
BOOK_REASONS = frozenset({"empty_file", "too_large", "truncated", "damaged_member", "not_a_book"})
_BROKEN = BOOK_REASONS - {"too_large", "not_a_book"}

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_READ_BYTES = 1 << 20
_SNIFFED_BYTES = 8_192
# Formats that books are found in and that are not read here.
_FOREIGN = (
    (b"%PDF-", "PDF"),
    (b"{\\rtf", "RTF"),
    (b"\xd0\xcf\x11\xe0", "a document of Word"),
    (b"\x1f\x9d", "compressed by compress"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"AT&TFORM", "DjVu"),
)
_MOBI = b"BOOKMOBI"
_MOBI_PLACE = 60
_CONTROLS = frozenset(range(1, 32)) - frozenset(b"\t\n\f\r")
_MAX_CONTROLS = 20  # different ones; Russian in UTF-16 has 16
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, kw_only=True, slots=True)
class BookLimits:
    """How large a book may be."""

    file_bytes: int = 64 << 20  # of the file as it lies; an EPUB book holds its pictures
    text_bytes: int = 16 << 20  # of a text, inflated; the longest novels have 10 MB

    def __post_init__(self) -> None:
        if self.file_bytes < 1 or self.text_bytes < 1:
            raise ValueError("file_bytes and text_bytes are sizes: they are at least 1")


_DEFAULT_LIMITS = BookLimits()


def read_books(
    stream: BinaryIO, *, source: str, start: int = 0, end: int | None = None, limits: BookLimits = _DEFAULT_LIMITS
) -> Iterator[RawPage | Rejection]:
    """The book in the file, in the range that holds the file's first byte; `OSError` of the file passes through."""
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"no byte range: [{start}, {end})")
    window = Window(stream)
    if start > 0 or (end == 0 and window.size):
        return
    yield _read_book(window, source, limits)


def _read_book(window: Window, source: str, limits: BookLimits) -> RawPage | Rejection:
    if not window.size:
        return _reject(source, "empty_file", "the file has no bytes")
    if window.size > limits.file_bytes:
        return _reject(source, "too_large", f"{window.size} bytes; the limit is {limits.file_bytes}")
    if window.look(0, len(GZIP_MAGIC)) == GZIP_MAGIC:
        body = _inflate(window, source, limits)
        if isinstance(body, Rejection):
            return body
    else:
        body = _read_plain(window)
    if body.startswith(_ZIP_MAGIC):
        return _page(source, EPUB, body)
    foreign = _name_foreign(body)
    if foreign:
        return _reject(source, "not_a_book", foreign)
    if len(body) > limits.text_bytes:
        return _reject(source, "too_large", f"{len(body)} bytes of text; the limit is {limits.text_bytes}")
    return _page(source, PLAIN_TEXT, body)


def _read_plain(window: Window) -> bytes:
    parts: list[bytes] = []
    position = 0
    while piece := bytes(window.read(position, _READ_BYTES)):
        parts.append(piece)
        position += len(piece)
    return b"".join(parts)


def _inflate(window: Window, source: str, limits: BookLimits) -> bytes | Rejection:
    """All members of a gzip file; no more than `text_bytes` and a little is ever held."""
    parts: list[bytes] = []
    n_bytes = position = 0
    while position < window.size:
        if not looks_like_member(window, position):
            return _reject(source, DAMAGED, f"no gzip member starts at byte {position}")
        member = Member(window, position)
        while piece := member.read():
            parts.append(piece)
            n_bytes += len(piece)
            if n_bytes > limits.text_bytes:
                return _reject(source, "too_large", f"more than {limits.text_bytes} bytes of text, inflated")
        if member.outcome != COMPLETE:
            return _reject(source, member.outcome, f"the member at byte {position}: {member.detail}")
        position = skip_padding(window, member.position)
    return b"".join(parts)


def _name_foreign(body: bytes) -> str:
    """What the file is instead of text, "" if it is text for all that can be seen."""
    for magic, name in _FOREIGN:
        if body.startswith(magic):
            return f"the file is {name}"
    head = body[:_SNIFFED_BYTES]
    if head[_MOBI_PLACE : _MOBI_PLACE + len(_MOBI)] == _MOBI:
        return "the file is Mobipocket"
    if head.startswith(_UTF_16_MARKS):
        return ""
    # UTF-16 has its NULs at one parity, programs and pictures at both; no text has nearly all control characters.
    is_binary = min(head[0::2].count(0), head[1::2].count(0)) > 0 or len(_CONTROLS.intersection(head)) > _MAX_CONTROLS
    return "the file is binary" if is_binary else ""


def _page(source: str, mime: str, body: bytes) -> RawPage:
    return RawPage(make_document_id(source, 0, ""), "", "", 200, mime, "", body, source, 0)


def _reject(source: str, reason: str, detail: str) -> Rejection:
    return Rejection(make_document_id(source, 0, ""), "", "read", reason, detail, source, 0, reason in _BROKEN)
