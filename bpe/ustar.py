"""USTAR, the small part of it that shards are made of: plain files whose headers have one form only.

In: names and sizes, or the bytes of a tar. Out: headers, or the members with their places. The rule: a
header is accepted only when it is, byte for byte, the header that we would write for its name and
size. Whatever else a tar can say (links, devices, long names, sparse files) is thereby refused, and
only then is it looked at, to name what it is.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

from bpe.errors import ShardError

RECORD = 512  # bytes: headers, and what payloads are padded to
END = bytes(2 * RECORD)  # two zero records end a tar; nothing follows them
MAX_PAYLOAD = 8**11 - 1  # eleven octal digits

_CHECKSUM = slice(148, 156)
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"x": "a PAX extended header",
    b"g": "a global PAX header",
    b"L": "a GNU long name",
    b"K": "a GNU long link name",
    b"S": "a sparse file",
}


class Bytes(Protocol):
    """bytes, or an mmap: what can be sliced into bytes and has a length."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...


class Member(NamedTuple):
    """A file in a tar; its payload starts one record after its header."""

    name: str
    offset: int  # byte of the header
    size: int  # bytes of payload, padding not counted


def make_header(name: str, size: int) -> bytes:
    """The header of a plain file: mode 0644, time 0, owner 0 without a name; ValueError past 8 GiB."""
    if not 0 <= size <= MAX_PAYLOAD:
        raise ValueError(f"{name} would hold {size} bytes; a tar member holds at most {MAX_PAYLOAD}")
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\x000000000\x000000000\x00",  # mode, uid, gid
        b"%011o\0" % size,
        b"00000000000\0",  # modification time
        b" " * 8,  # the checksum counts itself as blanks
        b"0".ljust(101, b"\0"),  # type, link name
        b"ustar\x0000".ljust(72, b"\0"),  # magic, version, user and group name
        b"0000000\x000000000\x00",  # device numbers
        bytes(167),  # prefix of the name, unused bytes
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def padded(size: int) -> int:
    """Bytes that a payload takes with its padding."""
    return -size % RECORD + size


def check_header(path: str, data: Bytes, member: Member) -> None:
    """Raises ShardError, naming the place, unless exactly this header stands there."""
    header = data[member.offset : member.offset + RECORD]
    if header != make_header(member.name, member.size):
        found = describe_header(header, expected=member.name)
        if found is None:
            found = f"{member.name} has {_read_size(header)} bytes, {member.size} were expected"
        raise refuse(path, member.offset, found)


def walk_members(path: str, data: Bytes, names: Iterable[str]) -> list[Member]:
    """The members up to the end of the tar, which must bear the first of `names` in order; else ShardError.

    Reads headers and padding only: a size is believed after it was compared with the bytes that are there.
    """
    members: list[Member] = []
    offset = 0
    for name in names:
        header = data[offset : offset + RECORD]
        if header == bytes(RECORD):
            _check_end(path, data, offset)
            return members
        found = describe_header(header, expected=name)
        if found is not None:
            raise refuse(path, offset, found)
        member = Member(name, offset, _read_size(header))
        start = offset + RECORD
        offset = start + padded(member.size)
        if offset > len(data):
            raise refuse(path, member.offset, f"{name} claims {member.size} bytes, {len(data) - start} follow")
        if any(data[start + member.size : offset]):
            raise refuse(path, start + member.size, f"the padding of {name} is not zero")
        members.append(member)
    raise refuse(path, offset, "more members than a shard can have")


def describe_header(header: bytes, *, expected: str) -> str | None:
    """What is wrong with a header where a plain file of this name is expected; None where nothing is."""
    if len(header) < RECORD:
        return f"the tar ends without its two zero records ({len(header)} bytes where {expected} or the end should be)"
    if header == bytes(RECORD):
        return f"the tar ends where {expected} was expected"
    if _octal(header[_CHECKSUM].rstrip(b"\0 ")) != sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
        return f"the header checksum is wrong where {expected} was expected"
    kind = header[156:157]
    if kind != b"0":
        return (
            f"{_KINDS.get(kind, f'a member of the unknown type {kind!r}')} where the plain file {expected} was expected"
        )
    name = _read_name(header)
    if name != expected:
        return f"a member {name[:80]!r}{_name_fault(name)} where {expected} was expected"
    size = _read_size(header)
    if not 0 <= size <= MAX_PAYLOAD:
        return f"{expected} claims {size} bytes"
    if header != make_header(expected, size):
        return f"the header of {expected} has an owner, a time, a mode or a form that shards do not have"
    return None


def refuse(path: str, offset: int, found: str) -> ShardError:
    """The error for a tar that is not a shard of ours."""
    return ShardError(path, f"byte {offset}", f"{found}; fetch the shard again, or rebuild the run with --overwrite")


def _check_end(path: str, data: Bytes, offset: int) -> None:
    left = len(data) - offset
    if left < len(END) or data[offset : offset + len(END)] != END:
        raise refuse(path, offset, "the tar ends with one zero record, two were expected")
    if left > len(END):
        raise refuse(path, offset + len(END), f"{left - len(END)} bytes follow the end of the tar")


def _name_fault(name: str) -> str:
    if name.startswith("/"):
        return " (an absolute name)"
    if ".." in PurePosixPath(name).parts:
        return " (a name that leaves its folder)"
    return ""


def _read_name(header: bytes) -> str:
    name, prefix = (part.split(b"\0", 1)[0].decode("latin-1") for part in (header[:100], header[345:500]))
    return f"{prefix}/{name}" if prefix else name


def _read_size(header: bytes) -> int:
    """Size as tars write it: octal, or base 256 (negative with all bits set) where the first bit is set."""
    field = header[124:136]
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F if field[0] == 0x80 else 0xFF]) + field[1:], "big", signed=True)
    value = _octal(field.rstrip(b"\0 "))
    return -1 if value is None else value


def _octal(digits: bytes) -> int | None:
    """Value of octal digits; None for anything else, an empty field included."""
    return int(digits, 8) if digits and not digits.strip(b"01234567") else None
