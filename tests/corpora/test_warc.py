"""What the reader makes of sound files: formats, fields, offsets; and the real files of others, warcio beside it."""

import csv
import gzip
import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from corpora.documents import RawPage, Rejection
from corpora.urls import redact_credentials
from corpora.warc import BROKEN_REASONS, READ_REASONS, Administrative, normalise_date, read_pages


def read(data: bytes, **options: Any) -> list[RawPage | Rejection | Administrative]:
    return list(read_pages(BytesIO(data), source="a.warc.gz", **options))


def pages(items: list[RawPage | Rejection | Administrative]) -> list[RawPage]:
    return [item for item in items if isinstance(item, RawPage)]


def rejections(items: list[RawPage | Rejection | Administrative]) -> list[Rejection]:
    return [item for item in items if isinstance(item, Rejection)]


def read_file(path: Path) -> list[RawPage | Rejection | Administrative]:
    with path.open("rb") as stream:
        return list(read_pages(stream, source=path.name))


def test_a_page_carries_its_record_and_its_http_headers(archive: Any) -> None:
    content = archive.http(b"<p>hi</p>", headers=b'Content-Type: Text/HTML; Charset="ISO-8859-2"\r\nX: y\r\n')
    data = archive.members([archive.info(), archive.record(content, url="http://example.com/a b")])
    first, page = read(data)
    assert first == Administrative("warcinfo", 0)
    assert isinstance(page, RawPage)
    assert page._replace(document_id=b"") == RawPage(
        document_id=b"",
        url="http://example.com/a%20b",
        fetched_at="2016-09-26T21:18:09Z",
        status=200,
        mime="text/html",
        http_charset="ISO-8859-2",
        body=b"<p>hi</p>",
        source="a.warc.gz",
        offset=len(archive.members([archive.info()])),
    )


def test_all_layouts_of_the_same_records_give_the_same_pages(archive: Any) -> None:
    records = [archive.info(), *(r for n in range(5) for r in (archive.request(n), archive.page(n)))]
    layouts = {
        "plain": b"".join(records),
        "members": archive.members(records),
        "one member": archive.one_member(records),
        "several a member": archive.one_member(records[:4]) + archive.one_member(records[4:]),
    }
    expected = [f"http://example.com/{n}" for n in range(5)]
    for name, data in layouts.items():
        items = read(data)
        assert [page.url for page in pages(items)] == expected, name
        assert [page.body for page in pages(items)] == [page.body for page in pages(read(layouts["plain"]))], name
        assert not rejections(items), name
        ids = [page.document_id for page in pages(items)]
        assert len(set(ids)) == len({page.offset for page in pages(items)}) == 5, name


def test_offsets_are_where_the_record_or_its_member_starts(archive: Any) -> None:
    records = [archive.page(n) for n in range(4)]
    for data, magic in ((b"".join(records), b"WARC/1.0"), (archive.members(records), b"\x1f\x8b\x08")):
        for page in pages(read(data)):
            assert data[page.offset :].startswith(magic)
            assert read(data, start=page.offset, end=page.offset + 1) == [page]
    inflated = b"".join(records)
    for page in pages(read(archive.one_member(records))):
        assert inflated[page.offset :].startswith(b"WARC/1.0")


def test_arc_files_are_read_plain_and_gzipped(archive: Any) -> None:
    records = [archive.arc_header(), *(archive.arc_page(n) for n in range(3))]
    for data in (b"".join(records), archive.members(records), archive.one_member(records)):
        first, *rest = read(data)
        assert isinstance(first, Administrative)
        assert [page.url for page in pages(rest)] == [f"http://example.com/{n}" for n in range(3)]
        assert {(page.fetched_at, page.status, page.mime) for page in pages(rest)} == {
            ("2014-02-16T05:02:21Z", 200, "text/html")
        }


def test_a_dns_record_of_an_arc_file_is_a_page_of_type_text_dns(archive: Any) -> None:
    line = b"dns:www.archive.org 68.87.76.178 20080430204825 text/dns 14\n20080430204825\n"
    (page,) = pages(read(archive.arc_header() + line))
    assert (page.url, page.mime, page.status, page.body) == ("dns:www.archive.org", "text/dns", 200, b"20080430204825")


def test_a_conversion_record_is_a_plain_text_page(archive: Any) -> None:
    record = archive.record("Grüße".encode(), record_type="conversion", mime="text/plain")
    (page,) = pages(read(record))
    assert (page.status, page.mime, page.http_charset, page.body.decode()) == (200, "text/plain", "", "Grüße")


def test_a_resource_record_takes_its_own_content_type(archive: Any) -> None:
    (page,) = pages(read(archive.record(b"<p>", record_type="resource", mime="text/html;charset=koi8-r")))
    assert (page.status, page.mime, page.http_charset, page.body) == (200, "text/html", "koi8-r", b"<p>")


def test_a_response_that_is_no_http_message_is_a_body(archive: Any) -> None:
    (page,) = pages(read(archive.record(b"20080430\nwww.archive.org. 589 IN A", url="dns:www.archive.org")))
    assert (page.status, page.mime, page.body[:8]) == (200, "", b"20080430")


def test_a_revisit_is_rejected_and_not_broken(archive: Any) -> None:
    (item,) = read(archive.record(archive.http(b""), record_type="revisit"))
    assert isinstance(item, Rejection)
    assert (item.stage, item.reason, item.broken, item.url) == ("read", "revisit", False, "http://example.com/")


@pytest.mark.parametrize("record_type", ["warcinfo", "request", "metadata", "continuation", "of-our-own"])
def test_other_records_are_administrative(archive: Any, record_type: str) -> None:
    assert read(archive.record(b"x", record_type=record_type)) == [Administrative(record_type, 0)]


@pytest.mark.parametrize("date", [None, "", "yesterday", "2016-13-45T00:00:00Z", "9999999999"])
def test_a_page_without_a_usable_date_is_kept(archive: Any, date: str | None) -> None:
    (page,) = pages(read(archive.record(archive.http(b"x"), date=date)))
    assert page.fetched_at == ""


@given(st.text(max_size=40))
def test_normalise_date_gives_a_date_or_nothing(date: str) -> None:
    found = normalise_date(date)
    assert found == "" or (len(found) == 20 and normalise_date(found) == found)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2016-09-26T21:18:09Z", "2016-09-26T21:18:09Z"),
        ("2016-09-26T21:18:09.123456789Z", "2016-09-26T21:18:09Z"),
        ("2016-09-26T23:18:09+0200", "2016-09-26T21:18:09Z"),
        ("2016-09-26", "2016-09-26T00:00:00Z"),
        ("20140216050221", "2014-02-16T05:02:21Z"),
        ("201404010000000000", ""),
        ("2008-10-294T05:21:46-0700", ""),
    ],
)
def test_dates_of_all_kinds_become_one_kind(date: str, expected: str) -> None:
    assert normalise_date(date) == expected


def test_a_page_record_without_a_url_is_broken(archive: Any) -> None:
    (item,) = rejections(read(archive.record(archive.http(b"x"), url=None)))
    assert (item.reason, item.broken) == ("bad_header", True)


def test_urls_lose_their_brackets_and_control_characters(archive: Any) -> None:
    (page,) = pages(read(archive.record(archive.http(b"x"), url="<http://example.com/\x00a\x07b>")))
    assert page.url == "http://example.com/ab"


def test_urls_lose_their_credentials_in_pages_and_in_rejections(archive: Any) -> None:
    url = "http://user:CANARY@example.com/"
    items = read(
        archive.record(archive.http(b"x"), url=url)
        + archive.record(archive.http(b"x"), url=url, record_type="revisit")
        + archive.record(archive.http(b"x"), url=url, length="minus one")
    )
    assert len(items) == 3
    assert "CANARY" not in repr(items)


def test_repeated_headers_do_no_harm(archive: Any) -> None:
    (page,) = pages(read(archive.record(archive.http(b"x"), extra=b"WARC-Type: request\r\nContent-Length: 5\r\n")))
    assert page.body == b"x"


def test_a_million_headers_are_too_large(archive: Any) -> None:
    record = archive.record(archive.http(b"x"), extra=b"a: b\r\n" * 1_000_000)
    http = archive.record(archive.http(b"x", headers=b"a: b\r\n" * 1_000_000), url="http://example.com/2")
    for data in (record + http + archive.page(3), archive.members([record, http, archive.page(3)])):
        items = read(data)
        assert [(item.reason, item.broken) for item in rejections(items)] == [("too_large", False)] * 2
        assert [page.url for page in pages(items)] == ["http://example.com/3"]


def test_an_empty_file_is_broken_once_in_any_partition() -> None:
    (item,) = read(b"")
    assert isinstance(item, Rejection)
    assert (item.reason, item.broken, item.offset) == ("empty_file", True, 0)
    assert read(b"", start=1) == []


def test_a_file_of_something_else_is_one_broken_item() -> None:
    for data, reason in ((b"\x89PNG" * 999, "unknown_format"), (gzip.compress(b"a,b\n" * 99), "not_a_record")):
        (item,) = read(data)
        assert isinstance(item, Rejection)
        assert (item.reason, item.broken) == (reason, True)
        assert read(data, start=1) == []


def test_a_bad_range_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="range"):
        read(b"", start=5, end=2)


class FailingFile(BytesIO):
    """A disk that breaks after the first bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("no more")
        return super().read(100)


def test_input_errors_pass_through(archive: Any) -> None:
    with pytest.raises(OSError, match="no more"):
        list(read_pages(FailingFile(archive.page(1) * 99), source="a"))


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"WARC/1.0\r\n", b"filedesc://a 0 2014 a 5\n"])
)
def test_no_bytes_make_the_reader_raise(data: bytes, head: bytes) -> None:
    for item in read(head + data):
        if isinstance(item, Rejection):
            assert item.reason in READ_REASONS
            assert item.broken == (item.reason in BROKEN_REASONS)


# --- the real files of others ---------------------------------------------------------------------------------------

# name: pages, administrative records, reasons of the rejections
EXPECTED = {
    "commoncrawl-whirlwind/CC-MAIN-2024-22.warc.paths.gz": (0, 0, ["not_a_record"]),
    "commoncrawl-whirlwind/whirlwind.warc": (1, 3, []),
    "commoncrawl-whirlwind/whirlwind.warc.gz": (1, 3, []),
    "commoncrawl-whirlwind/whirlwind.warc.wat": (0, 2, []),
    "commoncrawl-whirlwind/whirlwind.warc.wat.gz": (0, 2, []),
    "commoncrawl-whirlwind/whirlwind.warc.wet": (1, 1, []),
    "commoncrawl-whirlwind/whirlwind.warc.wet.gz": (1, 1, []),
    "damaged/content-length-too-big.plain.gz": (7, 9, ["content_length"]),
    "damaged/corrupt-middle-member.warc.gz": (7, 9, ["damaged_member"]),
    "damaged/empty.warc.gz": (0, 0, ["empty_file"]),
    "damaged/good-8.warc.gz": (8, 9, []),
    "damaged/nonchunked-single-member.warc.gz": (8, 9, []),
    "damaged/truncated-member.warc.gz": (6, 8, ["truncated"]),
    "dolma/sample-0000.warc.gz": (24, 24, []),
    "dolma/sample-0001.warc.gz": (17, 17, []),
    "gowarc/skip-non-open.warc.gz": (10, 0, []),
    "gowarc/test.warc.gz": (1, 2, []),
    "ia-web-commons/IAH-20080430204825-00000-blackbook-truncated.arc": (8, 1, []),
    "ia-web-commons/IAH-urls-wget.warc": (19, 17, []),
    "ia-web-commons/IAH-urls-wget.warc.gz": (19, 17, []),
    "ia-web-commons/html-lang-attribute.warc": (5, 0, []),
    "ia-web-commons/link-extraction-test.warc": (9, 1, []),
    "ia-web-commons/meta-itemprop.warc": (1, 0, []),
    "ia-web-commons/mutliple-headers.warc": (1, 0, []),
    "ia-web-commons/text-extraction-test.warc": (2, 2, []),
    "ia-web-commons/title-extraction-embedded-SVG.warc": (1, 0, []),
    "jwarc/cc.warc.gz": (1, 0, []),
    "jwarc/gzip_extra_sl.warc.gz": (0, 1, []),
    "resiliparse/block-sized-records.warc": (0, 3, []),
    "resiliparse/block-sized-records.warc.gz": (0, 3, []),
    "resiliparse/clipped.warc.gz": (0, 0, ["truncated"]),
    "resiliparse/clueweb-quirk.warc.gz": (29, 1, []),
    "resiliparse/warcfile.warc.gz": (16, 34, []),
    "warcio/bad.arc": (1, 0, ["content_length"] * 3),
    "warcio/example-bad-non-chunked.warc.gz": (1, 4, ["revisit"]),
    "warcio/example-bad.warc.gz.bad": (2, 3, ["revisit"]),
    "warcio/example-digest.warc": (0, 4, []),
    "warcio/example-iana.org-chunked.warc": (1, 2, []),
    "warcio/example-resource.warc.gz": (1, 2, []),
    "warcio/example-space-in-target-uri.warc.gz": (1, 1, []),
    # Its record declares 12 bytes more than the file holds.
    "warcio/example-space-in-url.arc": (0, 1, ["truncated"]),
    # Its response declares two bytes less than it has; warcio keeps it, with a warning.
    "warcio/example-trunc.warc": (0, 3, ["content_length"]),
    "warcio/example-wget-bad-target-uri.warc.gz": (3, 3, []),
    # One record in two members: neither half is one.
    "warcio/example-wrong-chunks.warc.gz": (0, 1, ["content_length", "not_a_record"]),
    "warcio/example.arc": (1, 1, []),
    "warcio/example.arc.gz": (1, 1, []),
    "warcio/example.warc": (1, 4, ["revisit"]),
    "warcio/example.warc.gz": (1, 4, ["revisit"]),
    "warcio/post-test.warc.gz": (3, 3, []),
}
# warcio stops at the first damage or keeps what it should not, and refuses a file of one member.
WARCIO_CANNOT = {
    "damaged/content-length-too-big.plain.gz",
    "damaged/corrupt-middle-member.warc.gz",
    "damaged/empty.warc.gz",
    "damaged/nonchunked-single-member.warc.gz",
    "commoncrawl-whirlwind/CC-MAIN-2024-22.warc.paths.gz",
    "gowarc/skip-non-open.warc.gz",
    "ia-web-commons/IAH-20080430204825-00000-blackbook-truncated.arc",
    "resiliparse/clipped.warc.gz",
    "warcio/bad.arc",
    "warcio/example-bad-non-chunked.warc.gz",
    "warcio/example-bad.warc.gz.bad",
    "warcio/example-space-in-url.arc",
    "warcio/example-trunc.warc",
    "warcio/example-wrong-chunks.warc.gz",
}


def test_every_real_file_is_in_the_table(shared_data: Path) -> None:
    folder = shared_data / "warc"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_real_files_give_the_records_they_hold(shared_data: Path, name: str) -> None:
    items = read_file(shared_data / "warc" / name)
    n_pages, n_administrative, reasons = EXPECTED[name]
    assert len(pages(items)) == n_pages
    assert sum(isinstance(item, Administrative) for item in items) == n_administrative
    assert [item.reason for item in rejections(items)] == reasons
    named = [item.document_id for item in items if not isinstance(item, Administrative)]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - WARCIO_CANNOT))
def test_pages_are_those_that_warcio_reads(shared_data: Path, name: str) -> None:
    path = shared_data / "warc" / name
    theirs = []
    with path.open("rb") as stream:
        for record in ArchiveIterator(stream):
            if record.rec_type in ("response", "resource", "conversion"):
                headers = record.rec_headers
                url = headers.get_header("WARC-Target-URI") or headers.get_header("uri")
                theirs.append((url.replace(" ", "%20"), record.content_stream().read()))
    assert [(page.url, page.body) for page in pages(read_file(path))] == theirs


def test_the_controlled_damages_cost_one_page_each(shared_data: Path) -> None:
    folder = shared_data / "warc" / "damaged"
    good = {page.url: page.body for page in pages(read_file(folder / "good-8.warc.gz"))}
    assert len(good) == 8
    for name, n_lost in (
        ("corrupt-middle-member.warc.gz", 1),
        ("content-length-too-big.plain.gz", 1),
        ("nonchunked-single-member.warc.gz", 0),
        ("truncated-member.warc.gz", 2),
    ):
        found = {page.url: page.body for page in pages(read_file(folder / name))}
        assert len(found) == 8 - n_lost, name
        assert found.items() <= good.items(), name


def test_a_cc_news_file_gives_the_pages_of_its_index(shared_data: Path) -> None:
    folder = shared_data / "ccnews"
    with (folder / "CC-NEWS-STANDIN-dev300.index.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    items = read_file(folder / "CC-NEWS-STANDIN-dev300.warc.gz")
    assert Counter(type(item).__name__ for item in items) == {"RawPage": 300, "Administrative": 301}
    assert [(p.url, len(p.body), p.fetched_at) for p in pages(items)] == [
        (redact_credentials(row["url"]), int(row["bytes"]), row["warc_date"]) for row in rows
    ]
    json.dumps([page.url for page in pages(items)])  # nothing in them that cannot be stored
