"""Encode: documents that are clean already (a run's Parquet files, or plain text) become shards.

The same shards as a corpus pipeline writes, and the same books: a document without a word to encode
is a rejection, a truncated file is broken, and both have their rows.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpe.encoding import Encoder
from bpe.vocabulary import load_vocabulary
from corpora.decoding import decode_page
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA, Rejection, make_document_id
from corpora.errors import RecordError
from pipelines.extract_stage import INPUTS
from pipelines.inputs import InputFile, fingerprint, open_input, size_of_input
from pipelines.ledger import open_books
from pipelines.part_statistics import Statistics, add_statistics, part_statistics
from pipelines.select_stage import ENCODED, PartSummary, drop_short, encode_documents
from pipelines.settings import ShardRules
from pipelines.sharding import ShardCounts, shard_key, write_table
from pipelines.splits import Split

ROWS = 1_000
COLUMNS = ("document_id", "url", "source", "offset", "language", "text")
TEXT_SCHEMA = pa.schema([DOCUMENT_SCHEMA.field(name) for name in COLUMNS])


class TextRow(NamedTuple):
    """One document of a plain text file."""

    offset: int  # byte in the uncompressed file
    text: str


class EncodeFiles(beam.DoFn):
    """Input file -> PartSummary; its documents on ENCODED, what identifies it on INPUTS."""

    def __init__(self, *, folder: str, rules: ShardRules, counts: ShardCounts, vocabulary: str, by_line: bool) -> None:
        self.folder, self.rules, self.counts = folder, rules, counts
        self.vocabulary, self.by_line = vocabulary, by_line

    def setup(self) -> None:
        self.encoder = Encoder(load_vocabulary(self.vocabulary), mode=self.rules.encoding)

    def process(self, element: Any) -> Iterator[Any]:
        file = InputFile(*element)
        n_bytes = file.n_bytes if file.n_bytes is not None else size_of_input(file.location)
        yield beam.pvalue.TaggedOutput(INPUTS, (file.name, n_bytes, fingerprint(file)))
        rejections: list[Rejection] = []
        n_kept = text_bytes = 0
        statistics = []
        for table in read_documents(file, rejections, by_line=self.by_line):
            encoded = list(encode_documents(table, self.encoder))
            kept, short = drop_short(table, encoded, min_tokens=self.rules.min_tokens)
            rejections += [Rejection(**row) for row in short.to_pylist()]
            lost = set(short["document_id"].to_pylist())
            for document in encoded:
                if document.document_id not in lost:
                    key = shard_key(document.document_id, self.rules, self.counts)
                    yield beam.pvalue.TaggedOutput(ENCODED, (key, tuple(document)))
            n_kept += kept.num_rows
            text_bytes += pc.sum(pc.binary_length(kept["text"])).as_py() or 0
            statistics.append(part_statistics(kept, REJECTION_SCHEMA.empty_table(), Counter()))
        yield self._summarise(file, n_kept, text_bytes, rejections, statistics)

    def _summarise(
        self, file: InputFile, n_kept: int, text_bytes: int, rejections: list[Rejection], statistics: list[Statistics]
    ) -> PartSummary:
        rows = pa.Table.from_pylist([row._asdict() for row in rejections], REJECTION_SCHEMA)
        name = Split(file.name, "", "", 0, 0, 0, 0).part_name
        rejected = write_table(self.folder, f"rejected/{name}.parquet", rows) if rejections else None
        books = open_books(read=n_kept + len(rejections), kept=n_kept, rejections=rejections)
        return PartSummary(None, rejected, books, 0, text_bytes, add_statistics(statistics))


def read_documents(file: InputFile, rejections: list[Rejection], *, by_line: bool) -> Iterator[pa.Table]:
    """Tables of COLUMNS from a Parquet file of documents or from plain text; damage goes to `rejections`."""
    with open_input(file.location) as stream:
        if file.name.endswith(".parquet"):
            yield from _read_parquet(file, stream)
        else:
            rows = read_text(file.name, stream, rejections, by_line=by_line)
            yield from _tables(file.name, rows)


def _read_parquet(file: InputFile, stream: BinaryIO) -> Iterator[pa.Table]:
    try:
        parquet = pq.ParquetFile(stream, page_checksum_verification=True)
    except pa.ArrowInvalid as error:
        raise RecordError(
            file.name, 0, f"not a Parquet file: {error}", remedy="make it again or leave it out"
        ) from error
    names = parquet.schema_arrow.names
    if "text" not in names:
        raise RecordError(
            file.name, 0, f"no column text; its columns are {', '.join(names)}", remedy="rename the column"
        )
    first = 0
    for batch in parquet.iter_batches(batch_size=ROWS, columns=[name for name in COLUMNS if name in names]):
        yield _complete(file.name, pa.Table.from_batches([batch]), first)
        first += batch.num_rows


def _complete(source: str, table: pa.Table, first: int) -> pa.Table:
    """Fills the columns that a foreign Parquet file lacks: ids from its name and the row, the rest empty."""
    columns = {name: table[name] for name in table.column_names}
    n = table.num_rows
    columns.setdefault("url", pa.array([""] * n))
    columns.setdefault("source", pa.array([source] * n))
    columns.setdefault("offset", pa.array(range(first, first + n), pa.int64()))
    columns.setdefault("language", pa.array([""] * n))
    if "document_id" not in columns:
        keys = zip(
            columns["source"].to_pylist(), columns["offset"].to_pylist(), columns["url"].to_pylist(), strict=True
        )
        columns["document_id"] = pa.array([make_document_id(*key) for key in keys], pa.binary(16))
    filled = {
        name: pc.fill_null(columns[name], "") if name in ("text", "url", "language") else columns[name]
        for name in COLUMNS
    }
    return pa.table({name: filled[name] for name in COLUMNS}).cast(TEXT_SCHEMA)


def read_text(source: str, stream: BinaryIO, rejections: list[Rejection], *, by_line: bool) -> Iterator[TextRow]:
    """Documents of a plain text file: the whole file, or what stands between blank lines.

    A truncated or damaged .gz keeps the documents before the damage and adds one broken rejection.
    """
    lines = _lines(source, stream, rejections)
    pending: list[bytes] = []
    start = offset = 0
    for line in lines:
        if by_line and not line.strip():
            if pending:
                yield TextRow(start, _decode(pending))
            pending.clear()
        else:
            if not pending:
                start = offset
            pending.append(line)
        offset += len(line)
    if pending:
        yield TextRow(start, _decode(pending))


def _lines(source: str, stream: BinaryIO, rejections: list[Rejection]) -> Iterator[bytes]:
    if not source.endswith(".gz"):
        yield from stream
        return
    n_bytes = 0
    with gzip.open(stream) as text:
        while True:
            try:
                line = text.readline()
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                reason = "truncated" if isinstance(error, EOFError) else "damaged_member"
                place = make_document_id(source, n_bytes, "")
                rejections.append(Rejection(place, "", "read", reason, str(error), source, n_bytes, True))
                return
            if not line:
                return
            n_bytes += len(line)
            yield line


def _decode(lines: list[bytes]) -> str:
    return decode_page(b"".join(lines), http_charset="utf-8").text


def _tables(source: str, rows: Iterable[TextRow]) -> Iterator[pa.Table]:
    pending: list[dict[str, object]] = []
    for row in rows:
        place = make_document_id(source, row.offset, "")
        values = (place, "", source, row.offset, "", row.text)
        pending.append(dict(zip(COLUMNS, values, strict=True)))
        if len(pending) >= ROWS:
            yield pa.Table.from_pylist(pending, TEXT_SCHEMA)
            pending.clear()
    if pending:
        yield pa.Table.from_pylist(pending, TEXT_SCHEMA)
