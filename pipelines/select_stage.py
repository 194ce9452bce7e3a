"""Select: from work files to documents, rejects and encoded documents on their way to shards.

It reads work files and never pages. Only keys and decisions are shuffled; a part's text is read where
its Parquet files are written, once. A part is some consecutive splits of one input file, so its rows
stand in the order of the crawl and its name says where they came from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from bpe.encoding import Encoder
from bpe.manifest import FileEntry
from bpe.vocabulary import load_vocabulary
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA
from corpora.sentences import split_sentences
from corpora.urls import host_of
from pipelines.deduplication import Loser, make_candidate
from pipelines.ledger import Books, add_books, check_balance, move_to_rejected
from pipelines.settings import DeduplicationRules, ShardRules
from pipelines.sharding import EncodedDocument, ShardCounts, shard_key, write_table
from pipelines.work_files import WorkSummary, read_groups

ENCODED = "encoded"  # side output of parts: (shard key, EncodedDocument as a tuple)


class Statistics(NamedTuple):
    """What the report shows of the text; sorted pairs, so that equal statistics are equal bytes."""

    languages: tuple[tuple[str, int], ...] = ()  # of kept documents, and of those rejected for theirs
    domains: tuple[tuple[str, int], ...] = ()  # of kept documents
    characters: tuple[tuple[int, int], ...] = ()  # documents by length, bucket = power of two below it
    duplicates: tuple[tuple[str, int], ...] = ()


class PartSummary(NamedTuple):
    """One part as the manifest needs it."""

    documents: FileEntry | None  # None where nothing was kept
    rejected: FileEntry | None
    books: Books
    administrative: int
    text_bytes: int
    statistics: Statistics


class ReadCandidates(beam.DoFn):
    """(part name, work file) -> one candidate a document."""

    def __init__(self, rules: DeduplicationRules) -> None:
        self.rules = rules

    def process(self, element: Any) -> Iterator[Any]:
        part_name, (_, path, _) = element
        columns = ["document_id", "url", "text", "fetched_at", "reason"]
        for table in read_groups(path, columns):
            documents = table.filter(pc.equal(table["reason"], ""))
            for row in documents.to_pylist():
                yield tuple(
                    make_candidate(
                        part_name, row["document_id"], row["url"], row["text"], row["fetched_at"], self.rules
                    )
                )


class WriteParts(beam.DoFn):
    """(part name, its work files and its losers) -> PartSummary; the kept documents, encoded, on ENCODED."""

    def __init__(self, *, folder: str, rules: ShardRules, vocabulary: str) -> None:
        self.folder, self.rules, self.vocabulary = folder, rules, vocabulary

    def setup(self) -> None:
        self.encoder = Encoder(load_vocabulary(self.vocabulary), mode=self.rules.encoding) if self.vocabulary else None

    def process(self, element: Any, counts: Any) -> Iterator[Any]:
        part_name, groups = element
        files = sorted(groups["files"])
        losers = {loser.document_id: loser for loser in (Loser(*one) for one in groups["losers"])}
        kept, rejected = read_part([path for _, path, _ in files], losers)
        yield self._write(part_name, [WorkSummary(*summary) for _, _, summary in files], kept, rejected, losers)
        if self.encoder is not None:
            for encoded in encode_documents(kept, self.encoder):
                key = shard_key(encoded.document_id, self.rules, ShardCounts(*counts))
                yield beam.pvalue.TaggedOutput(ENCODED, (key, tuple(encoded)))

    def _write(
        self,
        part_name: str,
        summaries: list[WorkSummary],
        kept: pa.Table,
        rejected: pa.Table,
        losers: dict[bytes, Loser],
    ) -> PartSummary:
        duplicates = Counter(loser.reason for loser in losers.values())
        books = move_to_rejected(add_books(Books(*summary.books) for summary in summaries), duplicates)
        check_balance(books, part_name)
        if (kept.num_rows, rejected.num_rows) != (books.kept, books.read - books.kept):
            raise ValueError(
                f"{part_name}: {kept.num_rows} documents and {rejected.num_rows} rejects at hand, but its books say"
                f" {books.kept} and {books.read - books.kept}; remove the output's work folder and run again"
            )
        return PartSummary(
            write_table(self.folder, f"documents/{part_name}.parquet", kept) if kept.num_rows else None,
            write_table(self.folder, f"rejected/{part_name}.parquet", rejected) if rejected.num_rows else None,
            books,
            sum(summary.administrative for summary in summaries),
            sum(len(text.as_py().encode()) for text in kept["text"]),
            part_statistics(kept, rejected, duplicates),
        )


def read_part(paths: Iterable[str], losers: dict[bytes, Loser]) -> tuple[pa.Table, pa.Table]:
    """Kept documents and rejects of some work files, the losers of deduplication among the latter."""
    kept, rejected = [DOCUMENT_SCHEMA.empty_table()], [REJECTION_SCHEMA.empty_table()]
    lost = pa.array(list(losers), pa.binary(16))
    for path in paths:
        for table in read_groups(path):
            is_document = pc.equal(table["reason"], "")
            rejected.append(table.filter(pc.invert(is_document)).select(REJECTION_SCHEMA.names).cast(REJECTION_SCHEMA))
            documents = table.filter(is_document).select(DOCUMENT_SCHEMA.names).cast(DOCUMENT_SCHEMA)
            is_lost = pc.is_in(documents["document_id"], lost)
            kept.append(documents.filter(pc.invert(is_lost)))
            rejected.append(_as_rejects(documents.filter(is_lost), losers))
    order = [("offset", "ascending"), ("document_id", "ascending")]
    return pa.concat_tables(kept).combine_chunks(), pa.concat_tables(rejected).combine_chunks().sort_by(order)


def encode_documents(documents: pa.Table, encoder: Encoder) -> Iterator[EncodedDocument]:
    """Sentences, then ids, of each document of a table."""
    for batch in documents.to_batches(max_chunksize=1_000):
        for row in batch.select(["document_id", "url", "source", "offset", "language", "text"]).to_pylist():
            sentences = split_sentences(row["text"], language=row["language"] or "en")
            ids, lengths = encoder.encode(sentences)
            yield EncodedDocument(
                row["document_id"],
                ids.astype("<u2", copy=False).tobytes(),
                lengths.astype("<u2", copy=False).tobytes(),
                row["url"],
                row["source"],
                row["offset"],
            )


def part_statistics(kept: pa.Table, rejected: pa.Table, duplicates: Counter[str]) -> Statistics:
    """Counts for the report, from one part."""
    languages = Counter(kept["language"].to_pylist())
    for reason, detail in zip(rejected["reason"].to_pylist(), rejected["detail"].to_pylist(), strict=True):
        if reason == "language":
            languages[detail.split(" ")[0]] += 1
    lengths = pc.utf8_length(kept["text"]).to_pylist()
    return Statistics(
        tuple(sorted(languages.items())),
        tuple(sorted(Counter(map(host_of, kept["url"].to_pylist())).items())),
        tuple(sorted(Counter(1 << max(n.bit_length() - 1, 0) for n in lengths).items())),
        tuple(sorted((reason.removeprefix("duplicate_"), n) for reason, n in duplicates.items())),
    )


def add_statistics(many: Iterable[Statistics]) -> Statistics:
    """The sum of statistics."""
    totals: tuple[Counter[Any], ...] = tuple(Counter() for _ in Statistics._fields)
    for statistics in many:
        for total, pairs in zip(totals, statistics, strict=True):
            total.update(dict(pairs))
    return Statistics(*(tuple(sorted(total.items())) for total in totals))


def _as_rejects(documents: pa.Table, losers: dict[bytes, Loser]) -> pa.Table:
    rows = [
        {
            "document_id": row["document_id"],
            "url": row["url"],
            "stage": "deduplicate",
            "reason": losers[row["document_id"]].reason,
            "detail": f"kept {losers[row['document_id']].kept_id.hex()}",
            "source": row["source"],
            "offset": row["offset"],
            "broken": False,
            "dropped_by": losers[row["document_id"]].kept_id,
            "similarity": None,
        }
        for row in documents.select(["document_id", "url", "source", "offset"]).to_pylist()
    ]
    return pa.Table.from_pylist(rows, REJECTION_SCHEMA)
