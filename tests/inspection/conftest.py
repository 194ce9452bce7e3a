"""Small honest runs: a crawl file that is really read, documents, rejects, shards and a manifest that agree."""

import gzip
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.manifest import (
    Books,
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    ShardEntry,
    VocabularyEntry,
    dump_manifest,
    settings_hash,
)
from bpe.shards import make_shard_entry, write_shard
from bpe.tokenized import TokenizedDocument
from bpe.vocabulary import BYTE_LETTERS, Vocabulary, add_special_tokens, dump_vocabulary, make_vocabulary
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA, Document, RawPage, Rejection, reject
from corpora.warc import Administrative, read_pages
from inspection.cli import main
from inspection.report import render_report

SOURCE = "crawl/2016/09/NEWS-00000.warc.gz"
SETTINGS = {"corpus": "little", "variant": "default", "deduplication": {"by_url": True, "by_prefix_chars": 0}}
# What happens to the records of the crawl file, in turn: most are kept.
FATES = ("kept", "kept", "language", "kept", "duplicate_url", "kept", "too_few_words", "kept")
BLOCK_TOKENS = 600


class LittleRun(NamedTuple):
    """A run, and the truth about it."""

    folder: Path
    warc_root: Path
    manifest: Manifest
    documents: list[Document]
    rejections: list[Rejection]


class Outcome(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


@pytest.fixture
def inspect_shards(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command in this process."""

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(one) for one in argv])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., LittleRun]:
    """Makes a run; options leave out its shards or its documents, as real commands do."""

    def make(
        name: str = "out", *, n_records: int = 40, with_shards: bool = True, with_documents: bool = True
    ) -> LittleRun:
        folder, warc_root = tmp_path / name, tmp_path / f"{name}-warcs"
        for part in ("documents", "rejected", "shards"):
            (folder / part).mkdir(parents=True)
        pages = write_crawl(warc_root, n_records)
        documents, rejections = judge(pages)
        manifest = write_run(
            folder, warc_root, documents, rejections, with_shards=with_shards, with_documents=with_documents
        )
        return LittleRun(folder, warc_root, manifest, documents, rejections)

    return make


@pytest.fixture
def little_run(make_run: Callable[..., LittleRun]) -> LittleRun:
    return make_run()


def write_crawl(warc_root: Path, n_records: int) -> list[RawPage]:
    """A crawl file of so many pages, a gzip member each, and the pages as they are read from it."""
    path = warc_root / SOURCE
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        for k in range(n_records):
            stream.write(gzip.compress(warc_record(k), mtime=0))
    with path.open("rb") as stream:
        items = list(read_pages(stream, source=SOURCE)) if n_records else []
    assert len(items) == n_records
    assert not any(isinstance(item, (Rejection, Administrative)) for item in items)
    return items  # type: ignore[return-value]  # checked above


def warc_record(k: int) -> bytes:
    body = f"<html><title>Story {k}</title><p>The river rose for the {k}th day.</p></html>".encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://news{k % 5}.example.org/story/{k}\r\n"
        f"WARC-Date: 2016-09-26T21:18:{k % 60:02d}Z\r\nWARC-Record-ID: <urn:uuid:{k:032x}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def judge(pages: list[RawPage]) -> tuple[list[Document], list[Rejection]]:
    """Kept and lost by turns; duplicates name the document that stands for them."""
    documents: list[Document] = []
    rejections: list[Rejection] = []
    for k, page in enumerate(pages):
        fate = FATES[k % len(FATES)]
        if fate == "kept":
            documents.append(document_of(page, k))
        elif fate == "duplicate_url":
            detail = f"kept {documents[-1].document_id.hex()}"
            rejections.append(reject(page, "deduplicate", fate, detail))
        else:
            rejections.append(reject(page, "language" if fate == "language" else "quality", fate, "fr 0.98"))
    end = Rejection(hashlib.blake2b(b"end", digest_size=16).digest(), "", "read", "truncated", "", SOURCE, 9_999, True)
    return documents, [*rejections, end]


def document_of(page: RawPage, k: int) -> Document:
    text = f"The river rose for the {k}th day.\nNobody in the village slept, café lights burned all night. " * 3
    return Document(
        document_id=page.document_id,
        url=page.url,
        title=f"Story {k}",
        text=text,
        published="2016-09-26",
        language="en",
        source=page.source,
        offset=page.offset,
        fetched_at=page.fetched_at,
        authors=("A. Writer",),
        declared_language="en",
        site="",
        charset="utf-8",
        decoded_by="http",
        extractor="little 1",
    )


def write_run(
    folder: Path,
    warc_root: Path,
    documents: list[Document],
    rejections: list[Rejection],
    *,
    with_shards: bool = True,
    with_documents: bool = True,
) -> Manifest:
    """Everything that a run of these leaves behind."""
    shards: list[ShardEntry] = []
    vocabulary = None
    if with_shards:
        little = make_vocabulary(add_special_tokens(list(BYTE_LETTERS), n_filler=0), ())
        vocabulary = write_vocabulary(folder, little)
        ordered = sorted(documents, key=lambda one: one.document_id)
        shares = {"train": [ordered[0:-4:2], ordered[1:-4:2]], "held-out": [ordered[-4:]]}
        for split, lists in shares.items():
            infix = "" if split == "train" else "held-out-"
            for k, share in enumerate(lists):
                name = f"shards/little-{infix}{k:05d}-of-{len(lists):05d}"
                shards.append(write_encoded(folder, name, share, little, split=split))
    source = warc_root / SOURCE
    reasons = {kind: Counter(one.reason for one in rejections if one.broken == kind) for kind in (False, True)}
    manifest = Manifest(
        name="little",
        code_version="0.1.0",
        settings=SETTINGS,
        settings_hash=settings_hash(SETTINGS),
        inputs=(InputEntry(SOURCE, source.stat().st_size, "f" * 32),),
        vocabulary=vocabulary,
        books=Books(len(documents) + len(rejections), len(documents), reasons[False], reasons[True]),
        counts=Counts(
            documents=len(documents),
            sentences=sum(shard.n_sentences for shard in shards),
            tokens=sum(shard.n_tokens for shard in shards),
            text_bytes=sum(len(one.text.encode()) for one in documents),
            administrative=3,
        ),
        statistics=statistics_of(documents),
        documents=write_parts(folder, "documents", DOCUMENT_SCHEMA, documents) if with_documents else (),
        rejected=write_parts(folder, "rejected", REJECTION_SCHEMA, rejections),
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
        report=None,
    )
    page = render_report(manifest, reasons={}).encode()
    (folder / "report.html").write_bytes(page)
    report = FileEntry("report.html", len(page), hashlib.sha256(page).hexdigest())
    manifest = manifest._replace(report=report)
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))
    return manifest


def statistics_of(documents: list[Document]) -> dict[str, object]:
    domains = Counter(one.url.split("/")[2] for one in documents)
    lengths = Counter(str(1 << len(one.text).bit_length() - 1) for one in documents)
    return {
        "languages": {"en": len(documents), "fr": 5},
        "domains": {"distinct": len(domains), "top": [list(pair) for pair in domains.most_common()]},
        "characters": dict(lengths),
        "duplicates": {"url": 5},
    }


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> VocabularyEntry:
    data = dump_vocabulary(vocabulary)
    (folder / "vocab.json").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return VocabularyEntry("vocab.json", len(data), sha256, vocabulary.fingerprint, vocabulary.size, "lossless")


def write_parts(folder: Path, kind: str, schema: pa.Schema, rows: Iterable[NamedTuple]) -> tuple[FileEntry, ...]:
    """Two files of rows."""
    rows = list(rows)
    middle = len(rows) // 2
    entries = []
    for k, part in enumerate((rows[:middle], rows[middle:])):
        table = pa.Table.from_pylist([row._asdict() for row in part], schema)
        entries.append(write_table(folder, f"{kind}/part-{k}.parquet", table))
    return tuple(entries)


def write_table(folder: Path, name: str, table: pa.Table) -> FileEntry:
    path = folder / name
    pq.write_table(table, path, compression="zstd", write_page_checksum=True, row_group_size=7)
    return FileEntry(name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), table.num_rows)


def write_encoded(
    folder: Path, stem: str, documents: list[Document], vocabulary: Vocabulary, *, split: str
) -> ShardEntry:
    """A shard and its lineage."""
    number = {token: k for k, token in enumerate(vocabulary.tokens)}

    def encode(document: Document) -> TokenizedDocument:
        pieces = [piece.encode() for piece in document.text.splitlines(keepends=True)]
        ids = [number[BYTE_LETTERS[byte]] for piece in pieces for byte in piece]
        lengths = [len(piece) for piece in pieces]
        return TokenizedDocument(document.document_id, np.array(ids, np.uint16), np.array(lengths, np.uint16))

    encoded = [encode(document) for document in documents]
    path = folder / f"{stem}.tar"
    contents = write_shard(path, encoded, block_tokens=BLOCK_TOKENS)
    places = contents.placements
    lineage = pa.table(
        {
            "document_id": pa.array([one.document_id for one in documents], pa.binary(16)),
            "url": [one.url for one in documents],
            "source": [one.source for one in documents],
            "offset": pa.array([one.offset for one in documents], pa.int64()),
            "block": pa.array([place.block for place in places], pa.int32()),
            "position": pa.array([place.position for place in places], pa.int32()),
            "n_tokens": pa.array([one.ids.size for one in encoded], pa.int32()),
        }
    )
    return make_shard_entry(contents, stem=stem, split=split, lineage=write_table(folder, f"{stem}.parquet", lineage))
