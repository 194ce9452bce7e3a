"""What damage costs: a cut file its last record, a flipped byte one record, a wrong length its own record."""

import gzip
import random
import time
from io import BytesIO
from typing import Any

import pytest

from corpora.documents import RawPage, Rejection
from corpora.warc import Administrative, ReadLimits, read_pages

N_PAGES = 24


def read(data: bytes, **options: Any) -> list[RawPage | Rejection | Administrative]:
    return list(read_pages(BytesIO(data), source="a.warc.gz", **options))


def bodies(items: list[RawPage | Rejection | Administrative]) -> dict[str, bytes]:
    return {item.url: item.body for item in items if isinstance(item, RawPage)}


def broken(items: list[RawPage | Rejection | Administrative]) -> list[Rejection]:
    return [item for item in items if isinstance(item, Rejection) and item.broken]


def make_layouts(archive: Any) -> dict[str, bytes]:
    records = [archive.page(n) for n in range(N_PAGES)]
    arc = [archive.arc_header(), *(archive.arc_page(n) for n in range(N_PAGES))]
    return {
        "plain": b"".join(records),
        "members": archive.members(records),
        "stored members": archive.members(records, level=0),
        "one member": archive.one_member(records),
        "arc": b"".join(arc),
        "arc members": archive.members(arc),
    }


LAYOUTS = ["plain", "members", "stored members", "one member", "arc", "arc members"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_cut_anywhere_keeps_what_stands_before_the_cut(archive: Any, layout: str) -> None:
    data = make_layouts(archive)[layout]
    whole = read(data)
    for step in range(1, 64):
        cut = len(data) * step // 64
        items = read(data[:cut])
        found = bodies(items)
        assert list(found.items()) == list(bodies(whole).items())[: len(found)], step
        if layout != "one member":
            starts = [item.offset for item in whole] + [len(data)]
            n_whole = sum(start <= cut for start in starts[1:])
            n_found = sum(not isinstance(item, Rejection) for item in items)
            # In a plain file a record is whole a few blank bytes before the next one starts.
            assert n_whole <= n_found <= n_whole + ("members" not in layout), step
            assert all(item.offset == starts[n_found] for item in broken(items)), step
        else:
            assert len(broken(items)) == 1
            assert len(found) >= N_PAGES * (step - 8) // 64, step
        assert [item.reason for item in broken(items)] in (["truncated"], []), step
        if cut not in {item.offset for item in whole} and "members" in layout:
            assert broken(items), step


@pytest.mark.parametrize("layout", ["plain", "members", "stored members", "arc", "arc members"])
def test_a_flipped_byte_costs_at_most_one_record(archive: Any, layout: str) -> None:
    data = make_layouts(archive)[layout]
    whole = read(data)
    dice = random.Random(layout)
    for _ in range(100):
        place, flip = dice.randrange(len(data)), dice.randrange(1, 256)
        hurt = bytearray(data)
        hurt[place] ^= flip
        items = read(bytes(hurt))
        same = bodies(whole).items() & bodies(items).items()
        assert len(same) >= N_PAGES - 1, (place, flip)
        assert len(broken(items)) <= 1, (place, flip)
        if len(same) < N_PAGES and "members" in layout:
            (item,) = broken(items)
            assert item.offset == max(w.offset for w in whole if w.offset <= place), (place, flip)
            assert item.reason in ("damaged_member", "truncated"), (place, flip)


def test_a_flipped_byte_in_one_big_member_is_always_noticed(archive: Any) -> None:
    data = make_layouts(archive)["one member"]
    whole = bodies(read(data))
    dice = random.Random(7)
    n_silent = 0
    for _ in range(100):
        hurt = bytearray(data)
        hurt[dice.randrange(10, len(data))] ^= dice.randrange(1, 256)
        items = read(bytes(hurt))
        n_silent += not broken(items)
        assert not (bodies(items).items() - whole.items()) or broken(items)
    assert n_silent == 0


def test_damage_says_what_zlib_said_and_where_reading_goes_on(archive: Any) -> None:
    first, second, third = (archive.members([archive.page(n, n_words=400)]) for n in range(3))
    hurt = bytearray(second)
    hurt[-6] ^= 1  # in the checksum
    items = read(first + bytes(hurt) + third)
    (item,) = broken(items)
    assert (item.reason, item.offset, item.url) == ("damaged_member", len(first), "http://example.com/1")
    assert "incorrect data check" in item.detail
    assert f"byte {len(first + second)}" in item.detail
    assert list(bodies(items)) == ["http://example.com/0", "http://example.com/2"]


def test_records_before_the_damage_in_a_member_of_several_are_kept(archive: Any) -> None:
    records = [archive.page(n, n_words=300) for n in range(60)]
    data = archive.one_member(records)
    hurt = bytearray(data)
    middle = len(data) // 2
    hurt[middle : middle + 64] = b"\xff" * 64
    items = read(bytes(hurt) + archive.members([archive.page(99)]))
    urls = list(bodies(items))
    assert urls[:20] == [f"http://example.com/{n}" for n in range(20)]
    assert urls[-1] == "http://example.com/99"
    assert [item.reason for item in broken(items)] == ["damaged_member"]


def test_several_damages_far_apart_are_several_rejections(archive: Any) -> None:
    members = [archive.members([archive.page(n)]) for n in range(12)]
    for n in (2, 3, 7, 11):
        members[n] = members[n][:-40] + b"\0\0\0\0" + members[n][-36:]
    items = read(b"".join(members))
    assert [int(url.rsplit("/", 1)[1]) for url in bodies(items)] == [0, 1, 4, 5, 6, 8, 9, 10]
    assert len(broken(items)) == 4


def test_junk_between_members_is_one_rejection_and_padding_is_none(archive: Any) -> None:
    one, two = archive.members([archive.page(1)]), archive.members([archive.page(2)])
    items = read(one + b"junk" * 50 + two + b"\0" * 999)
    assert [item.offset for item in broken(items)] == [len(one)]
    assert len(bodies(items)) == 2
    assert not broken(read(one + b"\0" * 512 + two + gzip.compress(b"")))


def test_a_file_whose_first_bytes_are_damaged_is_still_read(archive: Any) -> None:
    for layout in LAYOUTS:
        data = b"\xff\xff\xff" + make_layouts(archive)[layout][3:]
        items = read(data)
        if layout == "one member":
            assert [item.reason for item in items if isinstance(item, Rejection)] == ["unknown_format"]
        else:
            assert len(bodies(items)) >= N_PAGES - 1, layout
            assert [item.offset for item in broken(items)] == [0], layout


# --- wrong lengths --------------------------------------------------------------------------------------------------

LENGTHS = {
    "too big": "9000",
    "far too big": str(10**14),
    "beyond the cap": str(100 << 20),
    "too small": "31",
    "a little too small": "300",
    "zero": "0",
    "negative": "-1",
    "no number": "abc",
    "a fraction": "1e3",
    "empty": "",
    "of other digits": "١٢",
    "endless": "9" * 5000,
}


# An ARC line with one of these is no ARC line, but junk.
NOT_IN_ARC = {"empty", "of other digits", "endless"}
CASES = [
    (layout, length)
    for layout in ("plain", "members", "one member", "arc", "arc members")
    for length in LENGTHS
    if not (layout.startswith("arc") and length in NOT_IN_ARC)
]


@pytest.mark.parametrize(("layout", "length"), CASES)
@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_wrong_length_costs_its_own_record(archive: Any, length: str, place: int, layout: str) -> None:
    make = archive.arc_page if layout.startswith("arc") else archive.page
    records = [make(n, length=LENGTHS[length] if n == place else None) for n in range(12)]
    if layout.startswith("arc"):
        records.insert(0, archive.arc_header())
    join = {"plain": b"".join, "arc": b"".join, "one member": archive.one_member}.get(layout, archive.members)
    items = read(join(records))
    assert list(bodies(items)) == [f"http://example.com/{n}" for n in range(12) if n != place]
    (item,) = broken(items)
    # The last record of a plain ARC file gives nothing to tell a wrong length from a cut by.
    assert item.reason == "content_length" or (layout == "arc" and place == 11 and item.reason == "truncated")
    assert item.url == f"http://example.com/{place}"


def test_ten_thousand_lengths_beyond_the_end_cost_no_more_than_reading(archive: Any) -> None:
    for length in (60 << 20, 70 << 20):  # below the cap and above it
        data = archive.page(1, length=str(length)) * 10_000
        began = time.process_time()
        assert len(broken(read(data))) == 10_000
        assert time.process_time() - began < 5  # measured: 0.2 s


def test_a_missing_length_costs_its_own_record(archive: Any) -> None:
    hurt = archive.page(1).replace(b"Content-Length: ", b"Content-Width: ")
    for join in (b"".join, archive.members, archive.one_member):
        items = read(join([archive.page(0), hurt, archive.page(2)]))
        assert list(bodies(items)) == ["http://example.com/0", "http://example.com/2"]
        assert [item.reason for item in broken(items)] == ["content_length"]


def test_headers_without_an_end_cost_their_own_record(archive: Any) -> None:
    hurt = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 3\r\n"
    for join in (archive.members, archive.one_member, b"".join):
        items = read(join([archive.page(0), hurt, archive.page(2)]))
        assert list(bodies(items)) == ["http://example.com/0", "http://example.com/2"], join
        assert len(broken(items)) == 1


def test_a_page_that_quotes_a_record_is_one_page(archive: Any) -> None:
    quoted = archive.page(7) + archive.page(8)
    record = archive.record(archive.http(quoted), url="http://example.com/quoting")
    for join in (archive.members, archive.one_member, b"".join):
        items = read(join([archive.page(0), record, archive.page(2)]))
        assert list(bodies(items)) == ["http://example.com/0", "http://example.com/quoting", "http://example.com/2"]
        assert not broken(items)


# --- too large ------------------------------------------------------------------------------------------------------


def test_a_record_over_the_cap_is_passed_over_and_not_broken(archive: Any) -> None:
    limits = ReadLimits(record_bytes=100_000)
    large = archive.record(archive.http(random.Random(1).randbytes(300_000)), url="http://example.com/large")
    records = [archive.page(0), large, archive.page(2), archive.page(3)]
    for join in (b"".join, archive.members, archive.one_member):
        items = read(join(records), limits=limits)
        rejected = [item for item in items if isinstance(item, Rejection)]
        assert [(item.reason, item.broken, item.url) for item in rejected] == [
            ("too_large", False, "http://example.com/large")
        ]
        assert list(bodies(items)) == [f"http://example.com/{n}" for n in (0, 2, 3)]


def test_limits_that_make_no_sense_are_the_callers_error() -> None:
    with pytest.raises(ValueError, match="record_bytes"):
        ReadLimits(record_bytes=-1)
    with pytest.raises(ValueError, match="positive"):
        ReadLimits(header_bytes=0)
