"""How gzip members are found and inflated."""

import gzip
import random
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.members import (
    CHUNK_BYTES,
    COMPLETE,
    DAMAGED,
    PIECE_BYTES,
    TRUNCATED,
    Member,
    Window,
    looks_like_member,
    next_member,
    skip_padding,
)


def inflate(data: bytes, start: int = 0) -> tuple[bytes, Member]:
    member = Member(Window(BytesIO(data)), start)
    pieces = []
    while piece := member.read():
        assert len(piece) <= PIECE_BYTES
        pieces.append(piece)
    return b"".join(pieces), member


@settings(deadline=None)
@given(st.binary(max_size=2000), st.binary(max_size=50), st.integers(0, 9))
def test_a_member_gives_what_was_packed_and_ends_where_it_ends(data: bytes, rest: bytes, level: int) -> None:
    packed = gzip.compress(data, level)
    found, member = inflate(packed + rest)
    assert (found, member.outcome, member.position) == (data, COMPLETE, len(packed))


@pytest.mark.parametrize("n_bytes", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * CHUNK_BYTES + 17])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_long_members_come_in_bounded_pieces(n_bytes: int, level: int) -> None:
    data = random.Random(n_bytes).randbytes(n_bytes // 2) + bytes(n_bytes - n_bytes // 2)
    packed = gzip.compress(data, level)
    found, member = inflate(b"x" * 1000 + packed + b"tail", 1000)
    assert (found == data, member.outcome, member.position) == (True, COMPLETE, 1000 + len(packed))


@settings(deadline=None)
@given(st.integers(0, 999))
def test_a_cut_member_gives_all_that_stands_before_the_cut(cut: int) -> None:
    data = bytes(range(256)) * 40 + random.Random(5).randbytes(800)
    packed = gzip.compress(data, mtime=0)
    found, member = inflate(packed[: len(packed) * cut // 1000])
    assert data.startswith(found)
    assert member.outcome == TRUNCATED
    if cut > 990:
        assert len(found) > len(data) * 0.97


@pytest.mark.parametrize("n_bytes", [5_000, 500_000])
def test_a_damaged_member_gives_what_inflates_before_the_damage(n_bytes: int) -> None:
    data = random.Random(3).randbytes(n_bytes)
    packed = bytearray(gzip.compress(data, mtime=0))
    packed[-3] ^= 255  # the length at its end: everything inflates, and is wrong all the same
    found, member = inflate(bytes(packed))
    assert found == data
    assert member.outcome == DAMAGED
    assert "incorrect length check" in member.detail


def test_the_next_member_is_the_next_that_begins_with_a_record(archive: Any) -> None:
    first, second = archive.members([archive.page(1)]), archive.members([archive.page(2)])
    noise = b"\x1f\x8b\x08\x00 by chance \x1f\x8b\x08\xff" + gzip.compress(b"somebody's page")
    window = Window(BytesIO(first + noise + second))
    assert next_member(window, 0) == 0
    assert next_member(window, 1) == len(first + noise)
    assert next_member(window, 1, end=len(first + noise)) is None
    assert next_member(window, len(first + noise) + 1) is None


def test_deflate_that_gives_nothing_is_not_followed_for_long(archive: Any) -> None:
    nothing = b"\0\0\0\xff\xff"  # an empty stored block
    data = b"\x1f\x8b\x08\0" + bytes(6) + nothing * 2_000_000
    member = Member(Window(BytesIO(data)), 0)
    assert member.read(max_fed_bytes=1 << 16) == b""
    assert member.position <= 1 << 17
    assert next_member(Window(BytesIO(data + archive.members([archive.page(1)]))), 0) == len(data)


def test_members_are_found_across_the_borders_of_chunks(archive: Any) -> None:
    member = archive.members([archive.page(1)])
    for shift in range(-20, 3):
        start = CHUNK_BYTES + shift
        window = Window(BytesIO(b"-" * start + member))
        assert next_member(window, 0) == start
        assert looks_like_member(window, start)


def test_a_header_with_reserved_flags_is_none() -> None:
    for flags, expected in ((0x00, True), (0x1F, True), (0x20, False), (0x80, False)):
        assert looks_like_member(Window(BytesIO(b"\x1f\x8b\x08" + bytes([flags]))), 0) is expected


def test_padding_is_skipped_to_the_next_byte_or_the_end() -> None:
    window = Window(BytesIO(b"a" + bytes(CHUNK_BYTES) + b"b\0"))
    assert skip_padding(window, 1) == CHUNK_BYTES + 1
    assert skip_padding(window, CHUNK_BYTES + 2) == window.size
    assert skip_padding(window, 0) == 0


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=3))
def test_a_window_finds_what_bytes_find(data: bytes, needle: bytes) -> None:
    assert Window(BytesIO(data)).find(needle, 0) == data.find(needle)


class SlowFile(BytesIO):
    """A file that gives a few bytes at a time, as remote ones do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size or 7))


def test_short_reads_change_nothing() -> None:
    window = Window(SlowFile(b"0123456789" * 10))
    assert window.look(5, 60) == (b"0123456789" * 10)[5:65]
