"""Reading a file in ranges gives, together, what reading it whole gives: on sound files and on damaged ones."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.documents import RawPage, Rejection
from corpora.warc import Administrative, ReadLimits, read_pages

Items = list[RawPage | Rejection | Administrative]
# Longer than any piece of the files below and much shorter than the files: readers start inside them.
LIMITS = ReadLimits(sync_bytes=2_500, record_bytes=1 << 20)


def read(data: bytes, *, start: int = 0, end: int | None = None, limits: ReadLimits = LIMITS) -> Items:
    return list(read_pages(BytesIO(data), source="a", start=start, end=end, limits=limits))


def read_in_ranges(data: bytes, borders: list[int], limits: ReadLimits = LIMITS) -> Items:
    edges = sorted({0, *(border for border in borders if border < len(data))})
    return [
        item
        for start, end in zip(edges, [*edges[1:], None], strict=True)
        for item in read(data, start=start, end=end, limits=limits)
    ]


def make_pieces(archive: Any) -> dict[str, list[bytes]]:
    """Sound and damaged pieces that a file may be made of, gzipped and plain."""
    page, other, quoting = archive.page(1), archive.page(2), archive.page(3, n_words=100)
    member = archive.members([page])
    inner = archive.members([archive.page(8)])
    gzipped = [
        member,
        archive.members([other]),
        archive.members([archive.info()]),
        archive.one_member([page, archive.request(2), other]),
        archive.members([archive.record(archive.http(inner))], level=0),
        archive.members([archive.page(4, length="9999")]),
        archive.members([archive.page(5, length="17")]),
        archive.members([archive.record(b"", record_type="revisit")]),
        gzip.compress(b"", mtime=0),
        gzip.compress(b"not a record", mtime=0),
        member[:-30],
        member[:100] + b"\xff" * 20 + member[120:],
        b"\0" * 100,
        b"junk \x1f\x8b\x08 junk",
    ]
    plain = [
        page,
        other,
        archive.info(),
        archive.page(4, length="400"),
        archive.page(5, length="17"),
        archive.page(6, length="-4"),
        archive.record(archive.http(quoting)),
        page[:200],
        page.replace(b"WARC/1.0", b"WBRC/1.0"),
        b"\r\n",
        b"junk\n",
    ]
    arc = [archive.arc_page(n, length=length) for n, length in enumerate((None, None, "20", "9999", "x"))]
    return {"gzipped": gzipped, "plain": plain, "arc": [*arc, arc[0][:50], b"junk\n"]}


@pytest.mark.parametrize("form", ["gzipped", "plain", "arc"])
def test_any_ranges_of_any_file_give_what_the_whole_gives(archive: Any, form: str) -> None:
    pieces = make_pieces(archive)[form]

    @settings(max_examples=120, deadline=None)
    @given(st.lists(st.sampled_from(pieces), max_size=30), st.lists(st.integers(0, 15_000), max_size=8))
    def check(parts: list[bytes], borders: list[int]) -> None:
        data = pieces[0] + b"".join(parts)
        assert read_in_ranges(data, borders) == read(data)

    check()


@pytest.mark.parametrize("form", ["gzipped", "plain", "arc"])
def test_a_border_at_every_byte_changes_nothing(archive: Any, form: str) -> None:
    data = b"".join(make_pieces(archive)[form])[:4_000]
    whole = read(data)
    for border in range(len(data)):
        assert read_in_ranges(data, [border]) == whole, border


def test_one_byte_ranges_change_nothing(archive: Any) -> None:
    data = archive.members([archive.page(n, n_words=5) for n in range(6)])
    assert read_in_ranges(data, list(range(len(data)))) == read(data)


def test_a_member_of_many_records_belongs_to_the_range_it_starts_in(archive: Any) -> None:
    data = archive.one_member([archive.page(n) for n in range(9)])
    assert len(read(data, end=1)) == 9
    assert read(data, start=1) == []


def test_a_crawled_warc_inside_a_record_is_not_taken_for_the_file_itself(archive: Any) -> None:
    inner = archive.members([archive.page(n) for n in range(3)])
    outer = archive.record(archive.http(inner, headers=b"Content-Type: application/gzip\r\n"))
    data = archive.members([archive.page(10), outer, archive.page(11)], level=0)
    assert inner in data
    whole = read(data)
    assert len(whole) == 3
    for border in range(0, len(data), 7):
        assert read_in_ranges(data, [border]) == whole, border


def test_ranges_of_real_files_give_what_the_whole_gives(shared_data: Path) -> None:
    for path in sorted((shared_data / "warc").rglob("*arc*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        limits = ReadLimits(sync_bytes=100_000)
        borders = [len(data) * step // 11 for step in range(1, 11)]
        assert read_in_ranges(data, borders, limits) == read(data, limits=limits), path.name
