"""Common Crawl's index and records: a real capture, the rule of what is best, and damage of every kind."""

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.captures import (
    BadIndexLine,
    Capture,
    check_record,
    is_below_root,
    order_captures,
    parse_index_line,
)

OFFSET, LENGTH = 1_023, 17_351  # of the only page in Common Crawl's own tour
FIELDS = {
    "url": "https://an.wikipedia.org/wiki/Escopete", "mime": "text/html", "mime-detected": "text/html",
    "status": "200", "digest": "RY7PLBUFQNI2FFV5FTUQK72W6SNPXLQU", "length": str(LENGTH), "offset": str(OFFSET),
    "filename": "whirlwind.warc.gz",
}  # fmt: skip
HEAD = b"org,wikipedia,an)/wiki/escopete 20240518015810 "
CAPTURE = Capture("https://an.wikipedia.org/wiki/Escopete", 1_715_997_490, "whirlwind.warc.gz", OFFSET, LENGTH)


def line(**changes: object) -> bytes:
    return HEAD + json.dumps({**FIELDS, **changes}).encode()


@pytest.fixture(scope="module")
def warc(shared_data: Path) -> bytes:
    return (shared_data / "warc" / "commoncrawl-whirlwind" / "whirlwind.warc.gz").read_bytes()


def test_a_line_of_an_index_file_and_an_answer_of_the_index_server_give_the_same_capture():
    answer = json.dumps({"urlkey": "org,wikipedia,an)/wiki/escopete", "timestamp": "20240518015810", **FIELDS})
    assert parse_index_line(line()) == parse_index_line(answer.encode()) == CAPTURE
    assert parse_index_line(line(offset=OFFSET, length=LENGTH, status=200)) == CAPTURE  # as other indexers write them


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "301"},
        {"status": "404"},
        {"status": "-"},
        {"status": None},
        {"mime": "application/pdf", "mime-detected": "application/pdf"},
        {"mime": "text/html", "mime-detected": "application/pdf"},
        {"mime": "warc/revisit", "mime-detected": None},
    ],
)
def test_what_is_no_success_or_no_html_is_no_capture(changes: dict[str, object]):
    assert parse_index_line(line(**changes)) is None


@pytest.mark.parametrize(
    "bad",
    [
        b"CDX N b a m s k r M S V g",
        b"org,wikipedia,an)/wiki/escopete 20240518015810",
        b"{",
        b"\xff\xfe{}x",
        HEAD + b"[]{",
        line()[: len(HEAD) + 40],
        line(offset="x"),
        line(offset="-5"),
        line(length="0"),
        line(length=str(1 << 40)),
        line(url=""),
        line(filename="../../etc/passwd"),
        line(filename="/etc/passwd"),
        line(filename="http://elsewhere.example/a.warc.gz"),
        b"org,wikipedia,an)/wiki/escopete 20241318015810 " + json.dumps(FIELDS).encode(),
        json.dumps(FIELDS).encode(),
    ],
)
def test_a_line_that_is_none_of_an_index_is_bad_and_never_raises(bad: bytes):
    assert isinstance(parse_index_line(bad), BadIndexLine)


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_parsing_never_raises(data: bytes):
    assert parse_index_line(data) is None or isinstance(parse_index_line(data), BadIndexLine)


def test_credentials_of_crawled_urls_are_not_kept():
    assert "CANARY" not in repr(parse_index_line(line(url="https://joe:CANARY@an.wikipedia.org/?token=CANARY")))


def test_the_best_capture_is_the_first_at_or_after_the_submission_else_the_last_before():
    at = {moment: CAPTURE._replace(captured_utc=moment) for moment in (10, 20, 30, 40)}
    for submitted, expected in ((25, [30, 40, 20, 10]), (20, [20, 30, 40, 10]), (99, [40, 30, 20, 10]),
                                (0, [10, 20, 30, 40])):  # fmt: skip
        shuffled = random.Random(submitted).sample(list(at.values()), 4)
        assert [one.captured_utc for one in order_captures(shuffled, submitted)] == expected
    twins = [CAPTURE._replace(file=name, offset=offset) for name in "ba" for offset in (9, 3)]
    assert [(one.file, one.offset) for one in order_captures([*twins, *twins], 0)] == [
        ("a", 3), ("a", 9), ("b", 3), ("b", 9),
    ]  # fmt: skip


def test_a_real_record_is_taken_as_it_was_stored(warc: bytes):
    data = warc[OFFSET : OFFSET + LENGTH]
    checked = check_record(data, CAPTURE)
    assert checked.member == data
    assert checked.complaint == ""
    assert checked.page is not None
    assert (checked.page.url, checked.page.status, checked.page.mime) == (CAPTURE.url, 200, "text/html")
    assert checked.page.fetched_at == "2024-05-18T01:58:10Z"
    plain = gzip.decompress(data)
    repacked = check_record(plain, CAPTURE._replace(length=len(plain)))
    assert gzip.decompress(repacked.member) == plain
    assert repacked.page is not None
    assert repacked.page.body == checked.page.body


def test_whatever_else_lies_there_is_a_complaint(warc: bytes):
    for start, end in ((OFFSET, OFFSET + LENGTH - 1), (OFFSET, OFFSET + LENGTH + 1), (OFFSET + 1, OFFSET + 1 + LENGTH),
                       (0, LENGTH), (516, OFFSET), (OFFSET + LENGTH, len(warc)), (0, 516)):  # fmt: skip
        data = warc[start:end]
        for length in (LENGTH, len(data)):
            checked = check_record(data, CAPTURE._replace(length=length))
            assert checked.page is None
            assert checked.member == b""
            assert checked.complaint
    other = check_record(warc[OFFSET : OFFSET + LENGTH], CAPTURE._replace(url="https://an.wikipedia.org/wiki/Other"))
    assert other.complaint == "the record is of another page"


def test_a_flipped_byte_is_a_complaint_and_never_raises(warc: bytes):
    data, places = warc[OFFSET : OFFSET + LENGTH], random.Random(3)
    unseen = 0
    for _ in range(60):
        at = places.randrange(10, LENGTH)  # the header of a gzip member holds bytes that mean nothing
        broken = bytearray(data)
        broken[at] ^= 1 << places.randrange(8)
        unseen += check_record(bytes(broken), CAPTURE).page is not None
    assert unseen == 0


def test_names_of_files_stay_below_their_root():
    for name in ("", "/a", "..", "a/../b", "../a", "https://a/b", "s3://a/b", "a\nb"):
        assert not is_below_root(name)
    assert is_below_root("crawl-data/CC-MAIN-2024-22/segments/1715971057216.39/warc/CC-MAIN-0.warc.gz")
