"""Undoes HTTP: the content of a response record in, status, media type and decoded body out.

The rule: a body is never shortened silently. What was cut off in transit keeps what decodes; what is damaged or packed
in an unknown way is `Unreadable` with a reason; a body that does not begin as the encoding it claims is taken as it is,
for crawlers often store pages decoded and leave the header in place.
"""

import re
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

import brotli
import zstandard
from warcio.statusandheaders import StatusAndHeaders, StatusAndHeadersParser, StatusAndHeadersParserException

_PIECE_BYTES = 1 << 18
_FEED_BYTES = 1 << 14
_MAX_GZIP_MEMBERS = 100_000
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_CHUNK_LINE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]{0,4096})?\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s;\"',]+)", re.IGNORECASE)
_STATUS = re.compile(r"\s*(\d{3})(?!\d)")
# What servers write there that names no packing at all.
_NO_ENCODING = frozenset({"", "identity", "none", "binary", "8bit", "7bit", "utf-8", "utf8"})
# RFC 9659: a zstd window of 8 MB is all that a browser grants; more would be memory an attacker chooses.
_ZSTD_WINDOW_BYTES = 8 << 20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_ENCODINGS = 8


class Response(NamedTuple):
    """What a server sent, unpacked."""

    status: int  # 0 when the status line holds none
    mime: str  # lower case, without parameters; "" when not declared
    charset: str  # as sent; "" when not declared
    body: bytes


class Unreadable(NamedTuple):
    """Why a payload cannot be had."""

    reason: str
    detail: str
    broken: bool


class _TooLargeError(Exception):
    """The output passed the cap."""


class _NotPackedError(Exception):
    """The body does not begin as the encoding it claims."""


def read_response(content: bytes, *, max_body_bytes: int, max_header_bytes: int) -> Response | Unreadable:
    """The response in a record's content; content that is no HTTP message is a body of status 200."""
    first = 0
    while True:
        head_end = _find_head_end(content, first, max_header_bytes)
        if head_end < 0:
            return Unreadable("too_large", f"HTTP headers of more than {max_header_bytes} bytes", False)
        headers = _parse_head(content[first:head_end])
        status = _STATUS.match(headers.statusline)
        if not (status and status[1].startswith("1") and is_http(content, head_end)):
            break
        first = head_end  # an interim response (100 Continue, 103 Early Hints) stands before the real one
    body = undo_transfer(memoryview(content)[head_end:], headers.get_header("Transfer-Encoding", ""), max_body_bytes)
    if not isinstance(body, Unreadable):
        body = undo_content(body, _join_values(headers, "content-encoding"), max_body_bytes)
    if isinstance(body, Unreadable):
        return body
    mime, charset = split_content_type(headers.get_header("Content-Type", ""))
    return Response(int(status[1]) if status else 0, mime, charset, bytes(body))


def is_http(content: bytes, first: int = 0) -> bool:
    """Whether an HTTP response starts there."""
    return content[first : first + 5].upper() == b"HTTP/"


def split_content_type(value: str) -> tuple[str, str]:
    """Media type and charset of a Content-Type.

    >>> split_content_type('Text/HTML; charset="UTF-8"')
    ('text/html', 'UTF-8')
    """
    charset = _CHARSET.search(value)
    return value.split(";", 1)[0].split(",", 1)[0].strip().lower(), charset[1] if charset else ""


def undo_transfer(body: memoryview, encoding: str, max_body_bytes: int) -> memoryview | bytes | Unreadable:
    """The body without chunks."""
    if "chunked" not in encoding.lower() or not _CHUNK_LINE.match(body):
        return body
    joined = BytesIO()
    at = 0
    while line := _CHUNK_LINE.match(body, at):
        n_bytes = int(line[1], 16)
        at = line.end()
        if not n_bytes:
            return _end_chunks(joined, body, at)
        if joined.tell() + min(n_bytes, len(body) - at) > max_body_bytes:
            return Unreadable("too_large", f"a body of more than {max_body_bytes} bytes", False)
        joined.write(body[at : at + n_bytes])
        at += n_bytes
        if at >= len(body):
            return joined.getvalue()  # the connection ended inside a chunk: this is all that was received
        line_end = _LINE_END.match(body, at)
        at = line_end.end() if line_end else at
    rest = bytes(body[at : at + 32])
    if b"\n" not in rest and len(body) - at < len(rest) + 1:
        return joined.getvalue()  # it ended inside a chunk's first line
    return Unreadable("damaged_payload", f"chunked, but at byte {at} of the body stands {rest!r}", True)


def _end_chunks(joined: BytesIO, body: memoryview, at: int) -> bytes | Unreadable:
    """After the last chunk: header lines may follow, then a blank line, then nothing."""
    rest = bytes(body[at:])
    trailer = re.match(rb"(?:[^\s:]+:[^\n]*\n)*", rest)
    rest = rest[trailer.end() if trailer else 0 :]
    if rest.strip():
        return Unreadable("damaged_payload", f"{len(rest)} bytes stand after the last chunk", True)
    return joined.getvalue()


def undo_content(body: memoryview | bytes, encodings: str, max_body_bytes: int) -> memoryview | bytes | Unreadable:
    """The body without its content encodings, the last applied undone first."""
    names = [name.strip().lower() for name in encodings.split(",")]
    if len(names) > _MAX_ENCODINGS:
        return Unreadable("content_encoding", f"{len(names)} encodings", False)
    for name in reversed(names):
        if name in _NO_ENCODING or not body:
            continue
        undo = _UNDO.get(name)
        if undo is None:
            return Unreadable("content_encoding", f"unknown content encoding {name[:80]!r}", False)
        try:
            body = undo(body, max_body_bytes)
        except _NotPackedError:
            continue
        except _TooLargeError:
            return Unreadable("too_large", f"a body of more than {max_body_bytes} bytes once {name} is undone", False)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            return Unreadable("damaged_payload", f"{name}: {error}", True)
    if len(body) > max_body_bytes:
        return Unreadable("too_large", f"a body of {len(body)} bytes", False)
    return body


def _undo_gzip(body: memoryview | bytes, max_bytes: int) -> bytes:
    out, at = BytesIO(), 0
    if bytes(body[:2]) != b"\x1f\x8b":
        raise _NotPackedError
    for _ in range(_MAX_GZIP_MEMBERS):
        at = _inflate(body, at, zlib.decompressobj(wbits=31), out, max_bytes)
        if bytes(body[at : at + 2]) != b"\x1f\x8b":
            return out.getvalue()  # what else follows the last member is padding
    raise zlib.error(f"more than {_MAX_GZIP_MEMBERS} members")


def _undo_deflate(body: memoryview | bytes, max_bytes: int) -> bytes:
    """Deflate means zlib's format, but servers send it raw too (RFC 9110 8.4.1.2)."""
    if len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0:
        out = BytesIO()
        try:
            _inflate(body, 0, zlib.decompressobj(), out, max_bytes)
            return out.getvalue()
        except zlib.error:
            if out.tell():
                raise
    out, inflater = BytesIO(), zlib.decompressobj(wbits=-15)
    try:
        _inflate(body, 0, inflater, out, max_bytes)
    except zlib.error:
        if _looks_plain(body):
            raise _NotPackedError from None
        raise
    if not inflater.eof and _looks_plain(body):
        raise _NotPackedError
    return out.getvalue()


def _inflate(body: memoryview | bytes, at: int, inflater: "zlib._Decompress", out: BytesIO, max_bytes: int) -> int:
    """Inflates the stream at `at` into `out` and says where it ends. One that does not end was cut off, and is kept."""
    while not inflater.eof:
        fed: memoryview | bytes = inflater.unconsumed_tail
        if not fed:
            fed = body[at : at + _FEED_BYTES]
            at += len(fed)
        piece = inflater.decompress(fed, _PIECE_BYTES)
        if not fed and not piece:
            break
        _write(out, piece, max_bytes)
    return at - len(inflater.unused_data)


def _undo_brotli(body: memoryview | bytes, max_bytes: int) -> bytes:
    decoder, out, at = brotli.Decompressor(), BytesIO(), 0
    try:
        while not decoder.is_finished():
            fed = b""
            if decoder.can_accept_more_data():
                fed = bytes(body[at : at + _FEED_BYTES])
                at += len(fed)
            # The limit is what stops a bomb: 1 KB of brotli can stand for gigabytes.
            piece = decoder.process(fed, output_buffer_limit=_PIECE_BYTES)
            if not fed and not piece:
                break
            _write(out, piece, max_bytes)
    except brotli.error:
        if _looks_plain(body):
            raise _NotPackedError from None
        raise
    if not decoder.is_finished() and _looks_plain(body):
        raise _NotPackedError
    return out.getvalue()


def _undo_zstd(body: memoryview | bytes, max_bytes: int) -> bytes:
    if bytes(body[:4]) != _ZSTD_MAGIC:
        raise _NotPackedError
    out = BytesIO()
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    with decoder.stream_reader(body, read_across_frames=True) as reader:
        while piece := reader.read(_PIECE_BYTES):
            _write(out, piece, max_bytes)
    return out.getvalue()


def _write(out: BytesIO, piece: bytes, max_bytes: int) -> None:
    if out.tell() + len(piece) > max_bytes:
        raise _TooLargeError
    out.write(piece)


def _looks_plain(body: memoryview | bytes) -> bool:
    """Whether the body begins as text, that is without control characters.

    Brotli and raw deflate have no magic number; and a brotli stream often begins with 0x5b, which is "[".
    """
    return not any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in bytes(body[:512]))


_UNDO: dict[str, Callable[[memoryview | bytes, int], bytes]] = {
    "gzip": _undo_gzip,
    "x-gzip": _undo_gzip,
    "deflate": _undo_deflate,
    "br": _undo_brotli,
    "zstd": _undo_zstd,
}


def _find_head_end(content: bytes, first: int, max_header_bytes: int) -> int:
    """Where the body starts, -1 if the headers pass the cap; without a blank line it is all headers."""
    blank = _BLANK_LINE.search(content, first, first + max_header_bytes)
    if blank:
        return blank.end()
    return len(content) if len(content) - first < max_header_bytes else -1


def _parse_head(head: bytes) -> StatusAndHeaders:
    try:
        return StatusAndHeadersParser([], verify=False).parse(BytesIO(head))
    except (StatusAndHeadersParserException, EOFError):
        return StatusAndHeaders("", [])


def _join_values(headers: StatusAndHeaders, name: str) -> str:
    return ",".join(value for key, value in headers.headers if key.lower() == name)
