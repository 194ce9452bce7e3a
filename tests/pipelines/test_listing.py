import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.errors import RecordError
from pipelines.listing import ListedFile, list_keys, list_month_paths, month_folder, parse_months, read_path_lines
from pipelines.storage import join, remove_tree, write_atomically
from pipelines.web_requests import Patience

QUICK = Patience(timeout_s=1.0, backoff_s=0.01, retries=2)
FOLDER = "crawl-data/CC-NEWS/2016/09"


def warc_paths(n: int) -> list[str]:
    return [f"{FOLDER}/CC-NEWS-201609{1 + k // 24:02d}{k % 24:02d}0000-{k:05d}.warc.gz" for k in range(n)]


def packed(lines: list[str]) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def bucket(keys: list[str], *, per_page: int = 1_000) -> Callable[[str], bytes | None]:
    """What S3's ListObjectsV2 answers for a bucket of these keys: so many a page, then a token."""

    def answer(target: str) -> bytes | None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if asked.get("list-type") != "2":
            return None
        matching = [key for key in sorted(keys) if key.startswith(asked["prefix"])]
        start = int(asked.get("continuation-token", "0==/+").removesuffix("==/+"))
        page = matching[start : start + per_page]
        more = start + per_page < len(matching)
        contents = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(key)}</Size></Contents>" for key in page)
        token = f"<NextContinuationToken>{start + per_page}==/+</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>b</Name><IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>"
        ).encode()

    return answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-09", [(2016, 9)]),
        ("2016-11..2017-02", [(2016, 11), (2016, 12), (2017, 1), (2017, 2)]),
        (" 2019-02 , 2016-08..2016-09,2016-09", [(2016, 8), (2016, 9), (2019, 2)]),
        ("2017-12..2017-12", [(2017, 12)]),
    ],
)
def test_months_are_read_sorted_and_each_once(text: str, expected: list[tuple[int, int]]) -> None:
    assert parse_months(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2016-07", "CC-NEWS begins with 2016-08"),
        ("2015-12..2016-10", "CC-NEWS begins with 2016-08"),
        ("2019-02..2016-09", "2019-02 is after 2016-09"),
        ("2016-13", "'2016-13' is no month"),
        ("2016-00", "'2016-00' is no month"),
        ("2016-9", "'2016-9' is no month"),
        ("2016", "'2016' is no month"),
        ("", "'' is no month"),
        ("2016-09..", "'' is no month"),
        ("2016-09...2016-10", "'.2016-10' is no month"),
        ("2016-09,", "'' is no month"),
        ("٢٠١٦-٠٩", "is no month"),
    ],
)
def test_months_that_are_none_are_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        parse_months(text)
    assert "\n" not in str(caught.value)


def test_an_open_end_is_the_month_that_it_is_now() -> None:
    assert parse_months("2018-11..,2016-09", now=(2019, 1)) == [(2016, 9), (2018, 11), (2018, 12), (2019, 1)]
    assert parse_months("2019-02..", now=(2019, 1)) == [(2019, 2)]  # begun early, it waits for that month


def test_a_month_may_be_absent_where_one_waits_for_it(site: Any, tmp_path: Path) -> None:
    for root in (site.url, str(tmp_path)):
        assert list_month_paths(2016, 9, crawl_root=root, patience=QUICK, may_be_absent=True) == []
        with pytest.raises((OSError, ValueError)):
            list_month_paths(2016, 9, crawl_root=root, patience=QUICK)


def test_the_papers_months_are_thirty() -> None:
    assert len(parse_months("2016-09..2019-02")) == 30


@given(st.integers(2016 * 12 + 7, 2040 * 12), st.integers(0, 100))
def test_every_calendar_month_of_a_range_is_there_once(first: int, more: int) -> None:
    start, end = ((n // 12, n % 12 + 1) for n in (first, first + more))
    months = parse_months(f"{start[0]}-{start[1]:02d}..{end[0]}-{end[1]:02d}")
    assert months == sorted(set(months))
    assert (len(months), months[0], months[-1]) == (more + 1, start, end)


def test_a_month_on_a_web_server_is_its_list_sorted_and_each_path_once(site: Any) -> None:
    paths = warc_paths(50)
    site.files[f"/{FOLDER}/warc.paths.gz"] = packed([*reversed(paths), "", "# a comment", paths[3]])
    site.faults[f"/{FOLDER}/warc.paths.gz"].extend(["status 503", "drop 20"])
    listed = list_month_paths(2016, 9, crawl_root=f"{site.url}/", patience=QUICK)
    assert listed == [ListedFile(path, None) for path in paths]


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_list_that_breaks_off_is_an_error_and_never_a_shorter_month(tmp_path: Path, kept: float) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    data = packed(warc_paths(400))
    (folder / "warc.paths.gz").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(RecordError, match=r"warc\.paths\.gz at byte \d+: the list breaks off before its end; fetch it"):
        list_month_paths(2016, 9, crawl_root=str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"\x1f", f"{FOLDER}/a.warc.gz\n".encode()])
def test_a_list_called_gz_that_is_not_gzip_is_an_error(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    (folder / "warc.paths.gz").write_bytes(data)
    with pytest.raises(RecordError, match="not gzip, though it is called so; fetch it again"):
        list_month_paths(2016, 9, crawl_root=str(tmp_path))


@pytest.mark.parametrize("at", [0.3, 0.6, 0.99])
def test_a_list_with_a_flipped_byte_is_an_error(tmp_path: Path, at: float) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    data = bytearray(packed(warc_paths(400)))
    data[int(len(data) * at)] ^= 0xFF
    (folder / "warc.paths.gz").write_bytes(bytes(data))
    with pytest.raises(RecordError, match=r"warc\.paths\.gz at byte"):
        list_month_paths(2016, 9, crawl_root=str(tmp_path))


def test_a_list_cut_on_the_way_is_fetched_to_its_end(site: Any) -> None:
    data = packed(warc_paths(400))
    site.files[f"/{FOLDER}/warc.paths.gz"] = data
    site.faults[f"/{FOLDER}/warc.paths.gz"].append(f"drop {len(data) // 2}")
    assert len(list_month_paths(2016, 9, crawl_root=site.url, patience=QUICK)) == 400


def test_a_mirror_without_a_list_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for name in ("b.warc.gz", "a.warc.gz", "notes.txt"):
        (folder / name).write_bytes(b"12345")
    assert list_month_paths(2016, 9, crawl_root=str(tmp_path)) == [
        ListedFile(f"{FOLDER}/a.warc.gz", 5),
        ListedFile(f"{FOLDER}/b.warc.gz", 5),
    ]


def test_an_object_store_without_a_list_is_listed_with_sizes() -> None:
    root = "memory://crawl"
    try:
        for name in ("b.warc.gz", "a.warc.gz", "warc.paths"):
            write_atomically(join(root, FOLDER, name), lambda stream: stream.write(b"12345"))
        listed = list_month_paths(2016, 9, crawl_root=root)
    finally:
        remove_tree(join(root, "crawl-data"), root=root)
    assert listed == [ListedFile(f"{FOLDER}/a.warc.gz", 5), ListedFile(f"{FOLDER}/b.warc.gz", 5)]


def test_a_bucket_over_http_is_listed_page_after_page(site: Any) -> None:
    paths = warc_paths(2_345)
    site.pages = bucket([*paths, f"{FOLDER}/notes.txt", "crawl-data/CC-NEWS/2016/10/x.warc.gz"])
    site.faults["/"].extend(["", "status 503", "drop 1000"])
    listed = list_month_paths(2016, 9, crawl_root=site.url, patience=QUICK)
    assert [one.path for one in listed] == paths
    assert listed[0].n_bytes == len(paths[0])
    assert sum("list-type=2" in request.target for request in site.requests) == 3 + 2


def test_keys_with_marks_of_xml_come_out_as_they_are(site: Any) -> None:
    keys = ["a/<b>&c.warc.gz", "a/é ü+%20.warc.gz"]
    site.pages = bucket(keys, per_page=1)
    assert [one.path for one in list_keys(site.url, "a/", patience=QUICK)] == keys


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (b"<html><body>hello</body></html>", "a html, not a listing"),
        (b"<ListBucketResult><Contents>", "not a listing of a bucket"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult>&b;</ListBucketResult>", "not a listing of a bucket"),
        (b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "does not say where"),
        (b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>", "a key without a name"),
        (
            b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
            b"</ListBucketResult>",
            "goes in a circle",
        ),
    ],
)
def test_a_listing_that_is_none_is_an_error(site: Any, page: bytes, complaint: str) -> None:
    site.pages = lambda target: page
    with pytest.raises(RecordError, match=complaint):
        list(list_keys(site.url, "a/", patience=QUICK))


def test_a_month_that_is_not_there_is_an_error_with_the_address_of_its_list(site: Any) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{FOLDER}/warc\.paths\.gz: the server answers 404"):
        list_month_paths(2016, 9, crawl_root=site.url, patience=QUICK)


def test_a_month_that_a_mirror_does_not_hold_is_a_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.warc\.gz files of 2016-09; leave it out"):
        list_month_paths(2016, 9, crawl_root=str(tmp_path))


@pytest.mark.parametrize("line", ["../../etc/passwd", "/etc/passwd", "https://other.host/a.warc.gz", "a\x00b"])
def test_a_list_that_leads_out_of_the_crawl_is_refused(tmp_path: Path, line: str) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    (folder / "warc.paths.gz").write_bytes(packed([*warc_paths(3), line]))
    with pytest.raises(RecordError, match=r"line 4: .* is no path below the crawl's root"):
        list_month_paths(2016, 9, crawl_root=str(tmp_path))


def test_plain_lists_may_have_comments_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf# mine\r\na.warc.gz\r\n\r\n b c.warc.gz \r\n")
    with path.open("rb") as stream:
        assert read_path_lines(stream, name="list.txt") == ["a.warc.gz", "b c.warc.gz"]


def test_what_is_not_text_is_not_taken_for_a_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.warc.gz\n\xff\xfe")
    with path.open("rb") as stream, pytest.raises(RecordError, match=r"list\.txt at byte 10: not UTF-8 text"):
        read_path_lines(stream, name="list.txt")


def test_folders_of_months_are_those_of_common_crawl() -> None:
    assert month_folder(2016, 9) == FOLDER
