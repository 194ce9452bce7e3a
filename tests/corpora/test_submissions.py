"""Submissions of Reddit: real files in every packing, damage of every kind, and books that balance."""

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpora.compressed_lines import LineBatch, LineDamage, read_lines
from corpora.reasons import REASONS
from corpora.submissions import BROKEN_REASONS, BadLine, Submission, parse_submission, read_submissions

Pack = Callable[[bytes], bytes]


def pack_zstd(data: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


PACKINGS: dict[str, Pack] = {
    "plain": bytes, "xz": lzma.compress, "bz2": bz2.compress, "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": pack_zstd,
}  # fmt: skip
PACKED = {name: pack for name, pack in PACKINGS.items() if name != "plain"}


def read(data: bytes, name: str = "RS") -> list[tuple[int, Submission | BadLine]]:
    """(line, record) of all that is in a file."""
    found = []
    for first, records in read_submissions(io.BytesIO(data), name=name):
        found += [(line, record) for line, record in enumerate(records, first) if record is not None]
    return found


def broken(data: bytes, name: str = "RS") -> Counter[str]:
    return Counter(record.reason for _, record in read(data, name) if isinstance(record, BadLine))


@pytest.fixture(scope="module")
def real(shared_data: Path) -> bytes:
    """A month of 2005, unpacked."""
    return lzma.decompress((shared_data / "reddit" / "pushshift-RS" / "RS_v2_2005-07.xz").read_bytes())


def test_real_months_are_read_whole(shared_data: Path):
    for month, n in (("2005-06", 103), ("2005-07", 1_079)):
        data = (shared_data / "reddit" / "pushshift-RS" / f"RS_v2_{month}.xz").read_bytes()
        found = read(data)
        assert [line for line, _ in found] == list(range(1, n + 1))
        assert all(isinstance(record, Submission) for _, record in found)
    first = read((shared_data / "reddit" / "pushshift-RS" / "RS_v2_2005-06.xz").read_bytes())[0][1]
    assert (first.url, first.score, first.is_self, first.created_utc, first.subreddit, first.id) == (
        "http://www.downingstreetmemo.com", 183, False, 1_119_552_233, "reddit.com", "87",
    )  # fmt: skip


def test_old_and_new_forms_give_the_same_fields(shared_data: Path):
    path = shared_data / "reddit" / "pushshift-importer" / "test_submissions.json"
    expected = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = [record for _, record in read(path.read_bytes())]
    assert len(found) == len(expected) == 31
    for record, line in zip(found, expected, strict=True):
        assert isinstance(record, Submission)
        assert record.url == line["url"]
        assert (record.score, record.is_self, record.over_18) == (line["score"], line["is_self"], line["over_18"])
        assert record.created_utc == int(float(line["created_utc"]))  # a number, one with a fraction, or a string


def test_a_file_of_comments_is_none_of_submissions(shared_data: Path):
    path = shared_data / "reddit" / "pushshift-importer" / "test_comments.json"
    counts = broken(path.read_bytes())
    assert counts == {"not_a_submission": len(read(path.read_bytes()))}


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_records(real: bytes, packing: str):
    assert read(PACKINGS[packing](real)) == read(real)


@pytest.mark.parametrize("packing", PACKED)
def test_streams_that_follow_each_other_are_read_to_the_end_with_padding_between(real: bytes, packing: str):
    pack, half = PACKED[packing], len(real) // 2
    assert read(pack(real[:half]) + bytes(512) + pack(real[half:]) + bytes(512)) == read(real)


def frame_of_long_window(data: bytes) -> bytes:
    """A zstd frame as `--long=31` declares it, by hand: making one would take 2 GiB."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, (31 - 10) << 3])
    pieces = [data[start : start + (1 << 17)] for start in range(0, len(data), 1 << 17)]
    for number, piece in enumerate(pieces, 1):
        frame += (len(piece) << 3 | (number == len(pieces))).to_bytes(3, "little") + piece
    return frame


def test_zstd_with_a_skippable_frame_first_is_read(real: bytes):
    assert read(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + pack_zstd(real)) == read(real)


def test_zstd_with_a_window_of_two_gigabytes_is_read(real: bytes):
    long = frame_of_long_window(real)
    with pytest.raises(zstandard.ZstdError, match="memory"):  # what a reader says that was not told of long windows
        zstandard.ZstdDecompressor().decompressobj().decompress(long)
    assert read(long) == read(real)


@pytest.mark.parametrize("packing", PACKED)
def test_a_file_that_is_cut_off_keeps_the_records_before_and_says_so(real: bytes, packing: str):
    whole, packed = read(real), PACKED[packing](real)
    for k in range(1, 64, 1 if packing != "bz2" else 8):
        found = read(packed[: len(packed) * k // 64])
        assert found[:-1] == whole[: len(found) - 1]
        assert found[-1][0] == len(found)
        assert found[-1][1].reason == "truncated"
    assert len(found) > (900 if packing != "bz2" else 500)  # bzip2 gives a block of 900 kB or none of it


def test_a_plain_file_that_is_cut_off_keeps_the_lines_before(real: bytes):
    found = read(real[:-700])
    assert found[:-1] == read(real)[: len(found) - 1]
    assert found[-1] == (1_079, BadLine("truncated", "the file ends inside the line"))
    assert read(real.removesuffix(b"\n")) == read(real)


@pytest.mark.parametrize("packing", PACKED)
def test_damage_in_the_middle_keeps_the_lines_before_it(real: bytes, packing: str):
    packed = bytearray(PACKED[packing](real))
    at = len(packed) * 3 // 4
    packed[at : at + 64] = b"\xff" * 64
    found, whole = read(bytes(packed)), read(real)
    same = next(row for row, (one, other) in enumerate(zip(found, whole, strict=False)) if one != other)
    assert same > (700 if packing != "bz2" else 500)  # of 1,079; bzip2 gives a block of 900 kB or none of it
    assert any(isinstance(record, BadLine) for _, record in found)


@pytest.mark.parametrize("ending", [".xz", ".bz2", ".gz", ".zst"])
def test_a_packed_file_without_its_beginning_is_damage_and_not_lines(ending: str):
    assert broken(b"\0" * 8 + b"\x8f\x00\n" * 100, name=f"RS_2017-01{ending}") == {"damaged_member": 1}


@pytest.mark.parametrize("packing", PACKED)
def test_a_bomb_is_one_line_that_is_too_long_and_stays_bounded(packing: str):
    packed = lzma.compress(bytes(64 << 20), preset=0) if packing == "xz" else PACKED[packing](bytes(64 << 20))
    assert len(packed) < 200_000
    tracemalloc.start()
    found = list(read_lines(io.BytesIO(packed), name="bomb", max_line_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [one.reason for one in found if isinstance(one, LineDamage)] == ["line_too_long"]
    assert peak < 40 << 20


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"url": "http://exa', "bad_json"),
        (b"<html>", "bad_json"),
        (b"\xff\xfe{", "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"a":' * 100_000, "bad_json"),
        (b"[1, 2]", "not_a_submission"),
        (b'"text"', "not_a_submission"),
        (b'{"error": 404}', "not_a_submission"),
    ],
)
def test_a_line_that_is_no_submission_is_broken_with_its_reason(line: bytes, reason: str):
    record = parse_submission(line)
    assert isinstance(record, BadLine)
    assert record.reason == reason
    assert record.reason in BROKEN_REASONS & REASONS.keys()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"url": "http://a.b/", "score": null, "is_self": null}', ("http://a.b/", None, None)),
        (b'{"url": "http://a.b/", "score": "12", "is_self": "true"}', ("http://a.b/", 12, True)),
        (b'{"url": "http://a.b/", "score": 3.0, "is_self": false}', ("http://a.b/", 3, False)),
        (b'{"url": "http://a.b/\\ud800", "score": 3}', ("http://a.b/?", 3, None)),
        (b'{"url": "http://a.b/\\u0000", "score": NaN}', ("http://a.b/\0", None, None)),
        (b'{"url": null, "is_self": false, "score": 1}', (None, 1, False)),
        (b'{"url": 7, "score": 1}', (None, 1, None)),
        (b'{"url": "http://a.b/", "score": 1, "title": "\xff\xfe"}', ("http://a.b/", 1, None)),
        (b'\0\0{"url": "http://a.b/", "score": 1}\0\r', ("http://a.b/", 1, None)),
    ],
)
def test_odd_values_are_read_leniently_and_nothing_is_guessed(line: bytes, expected: tuple[object, ...]):
    record = parse_submission(line)
    assert isinstance(record, Submission)
    assert (record.url, record.score, record.is_self) == expected


def test_blank_lines_do_not_count_and_a_file_of_them_is_empty():
    assert read(b'\n\r\n{"url": "http://a.b/"}\n\0\0\n')[0][0] == 3
    assert len(read(b'\n\r\n{"url": "http://a.b/"}\n\0\0\n')) == 1
    for data in (b"", b"\n\n", bytes(100)):
        assert broken(data) == {"empty_file": 1}


def test_a_line_that_is_too_long_costs_itself_alone():
    good, long = b'{"url": "http://a.b/"}', b'{"url": "' + b"x" * (3 << 20) + b'"}'
    data = b"\n".join([good, long, good, long, good, b""])
    found = []
    for item in read_lines(io.BytesIO(data), name="RS", max_line_bytes=1 << 20):
        lines = item.lines if isinstance(item, LineBatch) else [item.reason]
        first = item.first if isinstance(item, LineBatch) else item.line
        found += list(enumerate(lines, first))
    assert found == [(1, good), (2, "line_too_long"), (3, good), (4, "line_too_long"), (5, good)]


lines = st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20)


@settings(max_examples=100, deadline=None)
@given(lines, st.sampled_from(sorted(PACKED)), st.booleans())
def test_lines_come_out_as_they_went_in_with_their_numbers(lines: list[bytes], packing: str, ended: bool):
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    found = []
    for item in read_lines(io.BytesIO(PACKED[packing](data)), name="x"):
        assert isinstance(item, LineBatch)
        found += list(enumerate(item.lines, item.first))
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert found == list(enumerate(expected, 1))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_parsing_never_raises(line: bytes):
    record = parse_submission(line)
    assert record is None or isinstance(record, (Submission, BadLine))


# Lines that would be read as something else if line ends were only white space: values in halves, two on a line.
ODD_LINES = [
    b"", b" ", b"{}", b"{}}", b'{"a": {}', b'{"url": "x}', b'{y"}', b'{"url": "x"}{"url": "y"}', b'{"url":', b'"x"}',
    b"7",
    b'{"url": "x", "b": [{}', b'{"url": "x"}\r', b'{"url": "\xff"}', b'{"url": "x", "score": NaN}', b'{"error": 404}',
]  # fmt: skip
good_lines = st.integers(0, 99).map(lambda number: b'{"url": "http://a.b/%d", "score": 3}' % number)


@settings(max_examples=500, deadline=None)
@given(st.lists(good_lines | st.sampled_from(ODD_LINES), max_size=8), st.booleans())
def test_many_lines_are_read_just_as_one_by_one(lines: list[bytes], ended: bool):
    data = b"\n".join(lines) + b"\n" * ended
    expected = [(n, record) for n, line in enumerate(lines, 1) if (record := parse_submission(line)) is not None]
    found = read(data)
    if not expected:
        assert [record.reason for _, record in found if isinstance(record, BadLine)] == ["empty_file"]
        return
    number, last = expected[-1]
    if not ended and number == len(lines) and isinstance(last, BadLine) and last.reason == "bad_json":
        expected[-1] = number, BadLine("truncated", "the file ends inside the line")
    assert found == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["url", "score", "is_self", "over_18", "created_utc", "subreddit", "id", "removed_by_category", "domain", "x"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_object_is_a_submission_or_broken_and_fields_have_their_types(fields: dict[str, object]):
    record = parse_submission(json.dumps(fields).encode())
    assert record is not None
    if isinstance(record, Submission):
        assert "url" in fields or fields.get("is_self") is not None
        assert record.score is None or isinstance(record.score, int)
        assert record.is_self is None or isinstance(record.is_self, bool)
        assert not isinstance(record.url, str) or record.url.encode().decode() == record.url
