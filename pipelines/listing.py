"""What Common Crawl's news crawl holds, month by month: the paths of its WARC files.

A month has a list, `crawl-data/CC-NEWS/YYYY/MM/warc.paths.gz`; a store or a mirror without it is listed
key by key. A list that breaks off is an error, never a shorter month.
"""

import gzip
import re
import time
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from corpora.errors import RecordError
from corpora.urls import redact_credentials
from pipelines.ranged import open_ranged
from pipelines.storage import is_web, join, list_sizes, open_read
from pipelines.web_requests import Patience, read_whole

DEFAULT_CRAWL_ROOT = "https://data.commoncrawl.org"
FIRST_MONTH = (2016, 8)
MAX_LIST_BYTES = 256 << 20  # of a list, unpacked: a million paths are 60 MB
MAX_PAGE_BYTES = 16 << 20  # of one page of a store's listing; 1,000 keys are 0.3 MB
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_WARC = ".warc.gz"
_OUTSIDE = re.compile(r"^/|(^|/)\.\.(/|$)|://|[\x00-\x1f\x7f]")

Month = tuple[int, int]


class NothingThereError(ValueError):
    """A pattern, folder or month that holds no file of a crawl, or none yet."""


class ListedFile(NamedTuple):
    """A file of a crawl: its path below the crawl's root, and its size where the listing says it."""

    path: str
    n_bytes: int | None


def parse_months(text: str, *, now: Month | None = None) -> list[Month]:
    """Months from "2016-09", "2016-09..2019-02" or several of these with commas between; sorted, each once.

    With `now`, "2016-09.." goes on to that month.

    >>> parse_months("2016-11..2017-01,2016-09")
    [(2016, 9), (2016, 11), (2016, 12), (2017, 1)]
    >>> parse_months("2016-12..", now=(2017, 1))
    [(2016, 12), (2017, 1)]
    """
    months: set[Month] = set()
    for part in text.split(","):
        first, dots, last = (piece.strip() for piece in part.partition(".."))
        start = _parse_month(first, text)
        is_open = dots and not last and now is not None
        end = max(start, now or start) if is_open else _parse_month(last, text) if dots else start
        if end < start:
            raise ValueError(f"months {text!r}: {first} is after {last}; write the earlier month first")
        months.update(_step(start, end))
    return sorted(months)


def this_month() -> Month:
    """The month that it is, in UTC."""
    now = time.gmtime()
    return now.tm_year, now.tm_mon


def month_folder(year: int, month: int) -> str:
    """The folder of a month below a crawl's root."""
    return f"crawl-data/CC-NEWS/{year:04d}/{month:02d}"


def list_month_paths(
    year: int,
    month: int,
    *,
    crawl_root: str = DEFAULT_CRAWL_ROOT,
    patience: Patience = Patience(),  # noqa: B008 # frozen
    may_be_absent: bool = False,
) -> list[ListedFile]:
    """The WARC files of a month below `crawl_root` (https, s3, or a local folder), sorted, each once.

    With `may_be_absent` a month that nobody lists has none; else it is NothingThereError, or its list's OSError.
    """
    folder = month_folder(year, month)
    try:
        with _open_below(crawl_root, f"{folder}/warc.paths.gz", patience) as stream:
            name = redact_credentials(join(crawl_root, folder, "warc.paths.gz"))
            lines = _check_below_root(read_path_lines(stream, name=name), name)
    except (FileNotFoundError, PermissionError) as error:
        # Stores answer "denied" for what is not there to those who may not list it.
        try:
            found = sorted(set(_list_folder(crawl_root, folder, patience, error)))
        except (FileNotFoundError, PermissionError):
            if not may_be_absent:
                raise
            found = []
    else:
        found = [ListedFile(line, None) for line in sorted(set(lines))]
    if not found and not may_be_absent:
        shown = redact_credentials(crawl_root)
        raise NothingThereError(f"{shown}: no {_WARC} files of {year:04d}-{month:02d}; leave it out")
    return found


def read_path_lines(stream: BinaryIO, *, name: str) -> list[str]:
    """The lines of a list of paths, plain or gzip, without blank ones and # comments; RecordError if it is damaged."""
    data = _unpack(stream, name=name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(name, error.start, "not UTF-8 text", remedy="is this a list of paths?") from error
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def list_keys(endpoint: str, prefix: str, *, patience: Patience = Patience()) -> Iterator[ListedFile]:  # noqa: B008
    """All keys below a prefix of a bucket that speaks S3's ListObjectsV2 over http(s), page after page."""
    token = ""
    seen: set[str] = set()
    while True:
        query = f"list-type=2&prefix={quote(prefix, safe='')}"
        if token:
            query += f"&continuation-token={quote(token, safe='')}"
        url = f"{endpoint.rstrip('/')}/?{query}"
        page = read_whole(url, max_bytes=MAX_PAGE_BYTES, patience=patience)
        files, token = _parse_page(page, name=redact_credentials(endpoint))
        yield from files
        if not token:
            return
        if token in seen:
            raise RecordError(redact_credentials(endpoint), 0, "the listing goes in a circle", remedy="run again later")
        seen.add(token)


def _parse_month(text: str, whole: str) -> Month:
    match = _MONTH.fullmatch(text)
    if not match or not 1 <= int(match[2]) <= 12:
        raise ValueError(f"months {whole!r}: {text!r} is no month; write 2016-09 or 2016-09..2019-02")
    month = int(match[1]), int(match[2])
    if month < FIRST_MONTH:
        raise ValueError(f"months {whole!r}: CC-NEWS begins with {FIRST_MONTH[0]}-{FIRST_MONTH[1]:02d}")
    return month


def _step(start: Month, end: Month) -> Iterator[Month]:
    """Calendar months: adding 31 days to a date skips February now and then."""
    for ordinal in range(start[0] * 12 + start[1] - 1, end[0] * 12 + end[1]):
        yield ordinal // 12, ordinal % 12 + 1


def _open_below(root: str, path: str, patience: Patience) -> BinaryIO:
    location = join(root, path)
    return open_ranged(location, patience=patience) if is_web(location) else open_read(location)


def _list_folder(root: str, folder: str, patience: Patience, absent: OSError) -> Iterator[ListedFile]:
    """The WARC files of a folder, by whatever way its root can be listed; raises `absent` where there is none."""
    if not is_web(root):
        for name, n_bytes in list_sizes(join(root, folder), f"*{_WARC}"):
            yield ListedFile(f"{folder}/{name}", n_bytes)
        return
    base = urlsplit(root).path.strip("/")
    try:
        keys = list(list_keys(root, f"{folder}/", patience=patience))
    except (OSError, RecordError):
        raise absent from None  # an ordinary web server, which lists nothing
    for key in keys:
        if key.path.endswith(_WARC):
            yield key._replace(path=key.path.removeprefix(f"{base}/") if base else key.path)


def _check_below_root(lines: list[str], name: str) -> list[str]:
    for number, line in enumerate(lines, start=1):
        if _OUTSIDE.search(line):
            raise RecordError(name, 0, f"line {number}: {line[:80]!r} is no path below the crawl's root")
    return lines


def _unpack(stream: BinaryIO, *, name: str) -> bytes:
    head = stream.read(2)
    stream.seek(0)
    if head == b"\x1f\x8b":
        data = _inflate(stream, name)
    elif name.endswith(".gz"):
        raise RecordError(name, 0, "not gzip, though it is called so", remedy="fetch it again")
    else:
        data = stream.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise RecordError(name, 0, f"more than {MAX_LIST_BYTES >> 20} MiB", remedy="is this a list of paths?")
    return data


def _inflate(stream: BinaryIO, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(MAX_LIST_BYTES + 1)
    except EOFError as error:
        found = "the list breaks off before its end"
        raise RecordError(name, stream.tell(), found, remedy="fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordError(name, stream.tell(), f"damaged gzip: {error}", remedy="fetch it again") from error


def _parse_page(page: bytes, *, name: str) -> tuple[list[ListedFile], str]:
    """(files, token of the next page, "" on the last) of one page of a listing."""
    if b"<!" in page:  # a document type declares entities: none belong here
        raise RecordError(name, 0, "not a listing of a bucket", remedy="check the address")
    try:
        root = ElementTree.fromstring(page)
    except ElementTree.ParseError as error:
        raise RecordError(name, 0, f"not a listing of a bucket: {error}", remedy="check the address") from error
    if _local(root.tag) != "ListBucketResult":
        raise RecordError(name, 0, f"a {_local(root.tag)}, not a listing of a bucket", remedy="check the address")
    files = []
    for contents in root:
        if _local(contents.tag) == "Contents":
            fields = {_local(field.tag): field.text or "" for field in contents}
            if not fields.get("Key"):
                raise RecordError(name, 0, "a key without a name", remedy="check the address")
            files.append(ListedFile(fields["Key"], int(fields["Size"]) if fields.get("Size") else None))
    fields = {_local(field.tag): field.text or "" for field in root}
    if fields.get("IsTruncated") == "true" and not fields.get("NextContinuationToken"):
        raise RecordError(name, 0, "the listing goes on, but does not say where", remedy="run again later")
    return files, fields.get("NextContinuationToken", "") if fields.get("IsTruncated") == "true" else ""


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
