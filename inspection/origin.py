"""A record's origin: the crawl file and byte it came from, read again where the file is at hand."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from bpe.places import Place, size_of
from corpora.documents import RawPage, Rejection
from inspection.errors import NotFoundError
from inspection.lookup import Record

CRAWL_ENDINGS = (".warc", ".arc", ".wet", ".warc.gz", ".arc.gz", ".wet.gz")
DUMP_ENDINGS = (".xml", ".xml.gz", ".bz2")  # parts of dumps end in .xml-p1p41242.bz2
BOOK_ENDINGS = (".txt", ".txt.gz", ".epub")
# Who reads the records of a file; imported when needed, since most look at runs where no input is ever read again.
_READERS = {
    CRAWL_ENDINGS: ("corpora.warc", "read_pages"),
    DUMP_ENDINGS: ("corpora.mediawiki_dump", "read_articles"),
    BOOK_ENDINGS: ("corpora.book_files", "read_books"),
}
START_BYTES = 200


class Origin(NamedTuple):
    """Where a record stood in the crawl."""

    url: str
    source: str  # name of the input file
    offset: int  # byte where the record, or its gzip member, starts


class Reread(NamedTuple):
    """The record as it stands in the crawl file now; its id, and so its place and its URL, are the same."""

    file: str
    url: str
    status: int  # HTTP status; 0 where the record holds no page that can be read
    mime: str
    n_bytes: int  # of the page's body
    start: str  # of the page's body, bytes that are not ASCII escaped
    trouble: str  # why the record holds no page that can be read, "" where it does


def origin_of(record: Record) -> Origin:
    """Where a record came from, whichever of the run's tables says so."""
    row = record.document or record.rejection or (record.placed.lineage if record.placed else None)
    assert row is not None, "a record is found in at least one table"
    return Origin(row.url, row.source, row.offset)


def reread(record: Record, warc_root: Place) -> Reread:
    """Reads the record again at its offset; NotFoundError where file or record are not there, or are others."""
    origin = origin_of(record)
    path = _locate(origin.source, warc_root)
    item = _find_item(path, origin, record.document_id)
    if item is None:
        found = f"the record at byte {origin.offset} is another one"
        raise NotFoundError(f"{path}: {found}; this is not the file that was read")
    if isinstance(item, Rejection):
        return Reread(str(path), item.url, 0, "", 0, "", f"{item.reason}: {item.detail}")
    start = item.body[:START_BYTES].decode("ascii", "backslashreplace")
    return Reread(str(path), item.url, item.status, item.mime, len(item.body), start, "")


def _find_item(path: Place, origin: Origin, document_id: bytes) -> RawPage | Rejection | None:
    """What starts at the offset and has this id; then, since offsets in one large member are no places, anywhere."""
    read = _find_reader(path)
    ranges = [(origin.offset, origin.offset + 1)]
    if path.name.lower().endswith((".gz", ".bz2")):
        ranges.append((0, size_of(path) or 0))
    with path.open("rb") as stream:
        for start, end in ranges:
            for item in read(stream, source=origin.source, start=start, end=end):
                if isinstance(item, (RawPage, Rejection)) and item.document_id == document_id:
                    return item
    return None


def _find_reader(path: Place) -> Callable[..., Iterator[object]]:
    for endings, (module, function) in _READERS.items():
        if path.name.lower().endswith(endings):
            try:
                reader: Callable[..., Iterator[object]] = getattr(importlib.import_module(module), function)
            except ImportError as error:
                raise NotFoundError(
                    f"reading crawl files takes shardmill[pipelines]: {error.name} is not installed"
                ) from error
            return reader
    known = ", ".join(ending for endings in _READERS for ending in endings[:1])
    raise NotFoundError(f"{path}: not a file whose records can be read ({known} and alike)")


def _locate(source: str, warc_root: Place) -> Place:
    """The input file under the root, by its relative name or its last part."""
    name = PurePosixPath(source)
    if name.is_absolute() or ".." in name.parts or "://" in source:
        raise NotFoundError(f"{source!r} is no relative name, so it is not looked for under {warc_root}")
    for path in (warc_root / name, warc_root / name.name):
        if path.is_file():
            return path
    raise NotFoundError(f"{warc_root}: neither {name} nor {name.name} is there; name the folder that holds the input")
