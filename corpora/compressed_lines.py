"""The lines of a text file, plain or packed by xz, bzip2, gzip or zstd: a stream in, blocks of numbered lines out.

The rule: whatever the file is like, memory stays bounded and every line before a damage comes out. A packed file that
is cut off or damaged ends there, in one `LineDamage` that says so; a line that is too long costs itself alone. Only
true input errors (`OSError` of the stream) are raised.

How a file is packed is told by its first bytes, and by its name only where those say nothing. Files of many streams,
members or frames (pbzip2, pzstd, concatenated files) are read to their end, with NULs between them.

Limits of what can be known. A checksum comes after what it checks, so lines shortly before a damage may be garbled;
they fail to be read as what they should be. What a packer still held back where the damage is met (up to 900 kB of
text with bzip2) is lost with it.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

__all__ = ["DAMAGED", "LINE_TOO_LONG", "TRUNCATED", "LineBatch", "LineBlock", "LineDamage", "read_blocks", "read_lines"]

TRUNCATED = "truncated"
DAMAGED = "damaged_member"
LINE_TOO_LONG = "line_too_long"

DEFAULT_LINE_BYTES = 16 << 20  # the longest submissions, with galleries and crossposts in them, are below 1 MiB
_BATCH_BYTES = 1 << 16  # stays in the cache while its lines are read
_READ_BYTES = 256 << 10
# Given to a decoder at once: what came of it is lost where the decoder meets a damage in it, and it bounds what a bomb
# makes (zstd: 4 bytes may stand for 128 KiB, so 16 MiB). Smaller pieces cost no speed that could be measured.
_FEED_BYTES = 512
_ZSTD_WINDOW_BYTES = 1 << 31  # --long=31, as the newer dumps are packed
_LZMA_MEMORY_BYTES = 1 << 30
_BOM = b"\xef\xbb\xbf"


class LineBatch(NamedTuple):
    """Lines that follow each other, without their line ends."""

    first: int  # number of the first one in the unpacked file, from 1
    lines: list[bytes]
    is_ended: bool = True  # False for the last line of a file that has no line end after it


class LineBlock(NamedTuple):
    """Lines that follow each other, as they lie in the file: for readers that need not cut them apart."""

    first: int  # number of the first one in the unpacked file, from 1
    data: bytes  # without the last line's end
    n_lines: int
    is_braced: bool  # each line end in it stands between "}" and "{"
    is_ended: bool = True  # as for LineBatch


class LineDamage(NamedTuple):
    """A line that cannot be had, or the end of a file that goes no further."""

    line: int
    reason: str  # TRUNCATED, DAMAGED or LINE_TOO_LONG
    detail: str


class _Decoder(Protocol):
    """What all four libraries offer: one stream, member or frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY_BYTES)


def _gzip() -> _Decoder:
    return zlib.decompressobj(wbits=31)


def _zstd() -> _Decoder:
    decoder: _Decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
    return decoder


_DECODERS: dict[str, Callable[[], _Decoder]] = {".xz": _xz, ".bz2": bz2.BZ2Decompressor, ".gz": _gzip, ".zst": _zstd}
_MAGIC = ((b"\xfd7zXZ\0", ".xz"), (b"BZh", ".bz2"), (b"\x1f\x8b", ".gz"), (b"\x28\xb5\x2f\xfd", ".zst"))
_UNPACKING_ERRORS = (OSError, EOFError, ValueError, MemoryError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f


def read_lines(
    stream: BinaryIO, *, name: str, max_line_bytes: int = DEFAULT_LINE_BYTES
) -> Iterator[LineBatch | LineDamage]:
    """All lines of a file, in its order; empty ones too, so that numbers are those that `sed -n Np` knows.

    `name` is only looked at for its ending. A last line without a line end comes out like the others, except where a
    packed file was cut off inside it: then it is the damage.
    """
    for item in read_blocks(stream, name=name, max_line_bytes=max_line_bytes):
        if isinstance(item, LineBlock):
            yield LineBatch(item.first, item.data.split(b"\n"), item.is_ended)
        else:
            yield item


def read_blocks(
    stream: BinaryIO, *, name: str, max_line_bytes: int = DEFAULT_LINE_BYTES
) -> Iterator[LineBlock | LineDamage]:
    """As `read_lines`, with the lines of a block in one piece."""
    head = stream.read(_READ_BYTES)
    ending = packed_as(head, name)
    pieces = _unpack(stream, head, _DECODERS[ending]) if ending else _read_plain(stream, head)
    yield from _split(_gather(pieces), max_line_bytes)


def packed_as(head: bytes, name: str) -> str:
    """The ending that belongs to how a file is packed, "" for a plain one."""
    for magic, ending in _MAGIC:
        if head.startswith(magic):
            return ending
    if head[1:4] == _SKIPPABLE_MAGIC and 0x50 <= head[0] <= 0x5F:
        return ".zst"
    claimed = "." + name.lower().rpartition(".")[2]
    return claimed if claimed in _DECODERS and head else ""


class _End(NamedTuple):
    """How a file ended that did not end well."""

    reason: str
    detail: str


def _read_plain(stream: BinaryIO, head: bytes) -> Iterator[bytes | _End]:
    yield head.removeprefix(_BOM)
    while piece := stream.read(_BATCH_BYTES):
        yield piece


def _unpack(stream: BinaryIO, head: bytes, start: Callable[[], _Decoder]) -> Iterator[bytes | _End]:
    decoder, begun = start(), False
    for fed in _feeds(stream, head):
        while fed:
            if not begun and not (fed := fed.lstrip(b"\0")):
                break  # padding between two streams, or after the last
            begun = True
            try:
                yield from _decode(decoder, fed)
            except _UNPACKING_ERRORS as error:
                yield _End(DAMAGED, f"cannot be unpacked any further: {error}")
                return
            fed = b""
            if decoder.eof:
                fed, decoder, begun = decoder.unused_data, start(), False
    if begun:
        yield _End(TRUNCATED, "the file ends inside its packed data")


def _decode(decoder: _Decoder, fed: bytes) -> Iterator[bytes]:
    """What comes of some bytes, in pieces of bounded size."""
    if not isinstance(decoder, (bz2.BZ2Decompressor, lzma.LZMADecompressor)):
        yield decoder.decompress(fed)
        return
    yield decoder.decompress(fed, _BATCH_BYTES)  # 45 bytes of bzip2 may stand for any number of megabytes
    while not decoder.eof and not decoder.needs_input:
        yield decoder.decompress(b"", _BATCH_BYTES)


def _feeds(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    while head:
        for start in range(0, len(head), _FEED_BYTES):
            yield head[start : start + _FEED_BYTES]
        head = stream.read(_READ_BYTES)


def _gather(pieces: Iterator[bytes | _End]) -> Iterator[bytes | _End]:
    """Pieces of a size that is worth splitting into lines."""
    held: list[bytes] = []
    n_bytes = 0
    for piece in pieces:
        if isinstance(piece, _End):
            yield b"".join(held)
            yield piece
            return
        held.append(piece)
        n_bytes += len(piece)
        if n_bytes >= _BATCH_BYTES:
            yield b"".join(held)
            held, n_bytes = [], 0
    yield b"".join(held)


def _split(pieces: Iterator[bytes | _End], max_line_bytes: int) -> Iterator[LineBlock | LineDamage]:
    number, begun, is_dropping = 1, b"", False  # of the line that has begun
    for piece in pieces:
        if isinstance(piece, _End):
            yield LineDamage(number, piece.reason, piece.detail)
            return
        if is_dropping:
            _, line_end, piece = piece.partition(b"\n")
            if not line_end:
                continue
            is_dropping, number = False, number + 1
        last_end = piece.rfind(b"\n")
        if last_end >= 0:
            block = _number_lines(number, begun + piece[:last_end])
            yield from _sift(block, max_line_bytes)
            number += block.n_lines
            begun = piece[last_end + 1 :]
        else:
            begun += piece
        if len(begun) > max_line_bytes:
            yield _too_long(number, max_line_bytes)
            is_dropping, begun = True, b""
    if begun:
        yield LineBlock(number, begun, 1, is_braced=True, is_ended=False)


def _number_lines(first: int, data: bytes) -> LineBlock:
    n_lines, line_end = 1, data.find(b"\n")
    while line_end >= 0:
        if data[line_end - 1 : line_end + 2] != b"}\n{":
            return LineBlock(first, data, data.count(b"\n") + 1, is_braced=False)
        n_lines += 1
        line_end = data.find(b"\n", line_end + 1)
    return LineBlock(first, data, n_lines, is_braced=True)


def _sift(block: LineBlock, max_line_bytes: int) -> Iterator[LineBlock | LineDamage]:
    """A block without the lines that are too long."""
    if len(block.data) <= max_line_bytes:
        yield block
        return
    lines = block.data.split(b"\n")
    if max(map(len, lines)) <= max_line_bytes:
        yield block
        return
    for number, line in enumerate(lines, block.first):
        if len(line) <= max_line_bytes:
            yield LineBlock(number, line, 1, is_braced=True)
        else:
            yield _too_long(number, max_line_bytes)


def _too_long(line: int, max_line_bytes: int) -> LineDamage:
    return LineDamage(line, LINE_TOO_LONG, f"a line of more than {max_line_bytes} bytes")
