"""The values that travel from a crawl record to a cleaned document, and their Parquet schemas.

A record becomes a `RawPage`; a `RawPage` becomes exactly one `Document` or one `Rejection`. Nothing
else may happen to it: that is how read = kept + rejected + broken holds in every run.
"""

import hashlib
from typing import NamedTuple

import pyarrow as pa

# Where a record can be lost, in the order a record passes them.
STAGES = (
    *("urls", "fetch", "read", "decode", "extract", "clean", "language", "quality"),
    *("rank", "deduplicate", "decontaminate", "encode", "forget"),
)


class RawPage(NamedTuple):
    """One content-bearing record of a crawl, its transfer and content encoding undone."""

    document_id: bytes  # bytes16, see `make_document_id`
    url: str  # as recorded, credentials removed
    fetched_at: str  # "2016-09-26T21:18:09Z", "" when the record does not say
    status: int  # HTTP status; 200 for records that carry no HTTP headers
    mime: str  # lower case, without parameters; "" when not declared
    http_charset: str  # charset parameter of Content-Type as sent; "" when not declared
    body: bytes
    source: str  # name of the input file: relative, never an absolute path
    offset: int  # byte where the record (its gzip member, where it has one) starts in the file


class Document(NamedTuple):
    """A cleaned text that is worth keeping, with all that says where it came from."""

    document_id: bytes  # bytes16
    url: str
    title: str
    text: str
    published: str  # ISO date or date-time as found, "" when unknown
    language: str  # of the text, ISO 639-1 where there is one
    source: str
    offset: int
    fetched_at: str
    authors: tuple[str, ...]
    declared_language: str  # what the page says of itself
    site: str
    charset: str  # the encoding that the page was read with
    decoded_by: str  # the rung of the decoding ladder that decided it
    extractor: str  # name and version
    score: float | None = None  # of a corpus that ranks its documents, as Stories does
    gaps: int = 0  # places where something that stood in a sentence could not be rendered, as in wikitext
    contamination: tuple[str, ...] = ()  # evaluation sets that the text shares passages with, where it was looked for


class Rejection(NamedTuple):
    """A record that was not kept: where, and why. `broken` tells damage from mere unfitness."""

    document_id: bytes  # bytes16
    url: str
    stage: str  # one of STAGES
    reason: str  # from a fixed set, snake_case: it is a key of the books
    detail: str  # free text for a person
    source: str
    offset: int
    broken: bool
    dropped_by: bytes | None = None  # id of the kept document that stands for a duplicate
    similarity: float | None = None  # Jaccard similarity to it, where it was measured


DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.binary(16), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("published", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("fetched_at", pa.string(), nullable=False),
        pa.field("authors", pa.list_(pa.string()), nullable=False),
        pa.field("declared_language", pa.string(), nullable=False),
        pa.field("site", pa.string(), nullable=False),
        pa.field("charset", pa.string(), nullable=False),
        pa.field("decoded_by", pa.string(), nullable=False),
        pa.field("extractor", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("gaps", pa.int32(), nullable=False),
        pa.field("contamination", pa.list_(pa.string()), nullable=False),
    ]
)

REJECTION_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.binary(16), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("broken", pa.bool_(), nullable=False),
        pa.field("dropped_by", pa.binary(16)),
        pa.field("similarity", pa.float64()),
    ]
)


def make_document_id(source: str, offset: int, url: str) -> bytes:
    """The 16 bytes that name a record for ever: a hash of where it stands and of its URL.

    Place is part of it because one URL is often fetched twice; two records never share an id.

    >>> make_document_id("a.warc.gz", 0, "http://example.com/").hex()
    'd4641643814ccd728ef833b9db6f3d29'
    """
    name = f"{source}\0{offset}\0{url}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=16).digest()


def reject(page: RawPage, stage: str, reason: str, detail: str = "", *, broken: bool = False) -> Rejection:
    """The rejection of a page at a stage."""
    assert stage in STAGES
    return Rejection(page.document_id, page.url, stage, reason, detail, page.source, page.offset, broken)
