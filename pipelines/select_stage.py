"""Select: from work files to documents, rejects and encoded documents on their way to shards.

It reads work files and never pages. Only keys and decisions are shuffled; a part's text is read where
its Parquet files are written, once. A part is some consecutive splits of one input file, or some small
files together, so its rows stand in the order of the crawl and its name says where they came from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from bpe.encoding import Encoder
from bpe.manifest import FileEntry
from bpe.vocabulary import load_vocabulary
from corpora.contamination_counts import TaskCounts
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA
from corpora.sentences import split_sentences
from pipelines.decontaminate_stage import CleanedPart, Decontaminator
from pipelines.deduplication import LOSERS, Loser, make_candidate
from pipelines.ledger import Books, add_books, check_balance, move_to_rejected
from pipelines.part_statistics import Statistics, part_statistics
from pipelines.score_cut import Cut
from pipelines.settings import DeduplicationRules, ShardRules
from pipelines.sharding import EncodedDocument, ShardCounts, shard_key, write_table
from pipelines.work_files import WorkSummary, read_groups

ENCODED = "encoded"  # side output of parts: (shard key, EncodedDocument as a tuple)
ALTERED = "altered"  # side output of parts: (part name, (document id, text)) as it was when documents were compared
BELOW_CUT = "below_cut"
_STAGE_OF = {BELOW_CUT: "rank"}  # all other losers lost in deduplication


class PartSummary(NamedTuple):
    """One part as the manifest needs it."""

    documents: FileEntry | None  # None where nothing was kept
    rejected: FileEntry | None
    books: Books
    administrative: int
    text_bytes: int
    statistics: Statistics
    contamination: tuple[TaskCounts, ...] = ()


class ReadCandidates(beam.DoFn):
    """(part name, work file) -> one candidate a document; on LOSERS those whose score is below the cut."""

    def __init__(self, rules: DeduplicationRules) -> None:
        self.rules = rules

    def process(self, element: Any, cut: Any = None) -> Iterator[Any]:
        part_name, (_, path, _) = element
        cut = Cut(*cut) if cut is not None else None
        columns = ["document_id", "url", "text", "fetched_at", "reason", "score"]
        for table in read_groups(path, columns):
            documents = table.filter(pc.equal(table["reason"], ""))
            for row in documents.to_pylist():
                if cut is not None and row["score"] < cut.score:
                    detail = f"score {row['score']:.6f}, the cut is {cut.score:.6f}"
                    lost = Loser(row["document_id"], BELOW_CUT, b"", detail=detail)
                    yield beam.pvalue.TaggedOutput(LOSERS, (part_name, tuple(lost)))
                    continue
                yield tuple(
                    make_candidate(
                        part_name, row["document_id"], row["url"], row["text"], row["fetched_at"], self.rules
                    )
                )


class WriteParts(beam.DoFn):
    """(part name, its work files and its losers) -> PartSummary.

    On ENCODED go the kept documents, encoded; on ALTERED, where `keep_altered`, the texts of documents that were
    compared with others and then changed or dropped.
    """

    def __init__(
        self,
        *,
        folder: str,
        rules: ShardRules,
        vocabulary: str,
        evaluation_index: str,
        kinds: tuple[str, ...],
        keep_altered: bool,
    ) -> None:
        self.folder, self.rules, self.vocabulary = folder, rules, vocabulary
        self.evaluation_index, self.kinds, self.keep_altered = evaluation_index, kinds, keep_altered

    def setup(self) -> None:
        self.encoder = Encoder(load_vocabulary(self.vocabulary), mode=self.rules.encoding) if self.vocabulary else None
        self.decontaminator = Decontaminator(self.evaluation_index) if self.evaluation_index else None

    def process(self, element: Any, counts: Any) -> Iterator[Any]:
        part_name, groups = element
        files = sorted(groups["files"])
        losers = {loser.document_id: loser for loser in (Loser(*one) for one in groups["losers"])}
        kept, rejected = read_part([path for _, path, _ in files], losers)
        cleaned = self.decontaminator.clean(kept) if self.decontaminator is not None else _unchanged(kept)
        kept, short, encoded = self._encode(cleaned.kept)
        for document in encoded:
            key = shard_key(document.document_id, self.rules, ShardCounts(*counts))
            yield beam.pvalue.TaggedOutput(ENCODED, (key, tuple(document)))
        if self.keep_altered:
            altered = _texts_of(cleaned.kept, short) | dict(cleaned.altered)
            yield from (beam.pvalue.TaggedOutput(ALTERED, (part_name, one)) for one in sorted(altered.items()))
        later = [cleaned.rejected, short]
        yield write_part(
            self.folder,
            part_name,
            [WorkSummary(*summary) for _, _, summary in files],
            kept,
            rejected=pa.concat_tables([rejected, *later]).sort_by(_REJECT_ORDER),
            reasons=Counter(loser.reason for loser in losers.values()) + _count_reasons(later),
            contamination=cleaned.counts,
            kinds=self.kinds,
        )

    def _encode(self, documents: pa.Table) -> tuple[pa.Table, pa.Table, list[EncodedDocument]]:
        """Documents that are kept, rejects of those too short, and what was kept as tokens."""
        if self.encoder is None:
            return documents, REJECTION_SCHEMA.empty_table(), []
        encoded = list(encode_documents(documents, self.encoder))
        kept, short = drop_short(documents, encoded, min_tokens=self.rules.min_tokens)
        dropped = set(short["document_id"].to_pylist())
        return kept, short, [document for document in encoded if document.document_id not in dropped]


def _unchanged(kept: pa.Table) -> CleanedPart:
    return CleanedPart(kept, REJECTION_SCHEMA.empty_table(), [], ())


def _texts_of(documents: pa.Table, rejected: pa.Table) -> dict[bytes, str]:
    mine = documents.filter(pc.is_in(documents["document_id"], rejected["document_id"]))
    return dict(zip(mine["document_id"].to_pylist(), mine["text"].to_pylist(), strict=True))


_REJECT_ORDER = [("offset", "ascending"), ("document_id", "ascending")]


def write_part(
    folder: str,
    part_name: str,
    summaries: list[WorkSummary],
    kept: pa.Table,
    *,
    rejected: pa.Table,
    reasons: Counter[str],
    contamination: tuple[TaskCounts, ...],
    kinds: tuple[str, ...],
) -> PartSummary:
    """Writes both tables of a part; `reasons` are those that selection rejected for, so that the books balance."""
    books = move_to_rejected(add_books(Books(*summary.books) for summary in summaries), reasons)
    check_balance(books, part_name)
    if (kept.num_rows, rejected.num_rows) != (books.kept, books.read - books.kept):
        raise ValueError(
            f"{part_name}: {kept.num_rows} documents and {rejected.num_rows} rejects at hand, but its books say"
            f" {books.kept} and {books.read - books.kept}; remove the output's work folder and run again"
        )
    return PartSummary(
        write_table(folder, f"documents/{part_name}.parquet", kept) if kept.num_rows else None,
        write_table(folder, f"rejected/{part_name}.parquet", rejected) if rejected.num_rows else None,
        books,
        sum(summary.administrative for summary in summaries),
        pc.sum(pc.binary_length(kept["text"])).as_py() or 0,
        part_statistics(kept, rejected, reasons, kinds=kinds),
        contamination,
    )


def read_part(paths: Iterable[str], losers: Mapping[bytes, Loser]) -> tuple[pa.Table, pa.Table]:
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
    return pa.concat_tables(kept).combine_chunks(), pa.concat_tables(rejected).combine_chunks().sort_by(_REJECT_ORDER)


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


def drop_short(documents: pa.Table, encoded: list[EncodedDocument], *, min_tokens: int) -> tuple[pa.Table, pa.Table]:
    """Documents of at least so many tokens, and one, and the rejects of the others; `encoded` has one for each row."""
    n_tokens = pa.array([len(one.ids) // 2 for one in encoded], pa.int64())
    is_short = pc.less(n_tokens, max(min_tokens, 1))
    if not pc.any(is_short).as_py():
        return documents, REJECTION_SCHEMA.empty_table()
    rows = [
        make_reject_row(row, stage="encode", reason="too_few_tokens" if n else "empty_text", detail=f"{n} tokens")
        for row, n in zip(
            documents.filter(is_short).select(_PLACE).to_pylist(), n_tokens.filter(is_short).to_pylist(), strict=True
        )
    ]
    return documents.filter(pc.invert(is_short)), pa.Table.from_pylist(rows, REJECTION_SCHEMA)


_PLACE = ["document_id", "url", "source", "offset"]


def make_reject_row(
    place: Mapping[str, object], *, stage: str, reason: str, detail: str, loser: Loser | None = None
) -> dict[str, object]:
    """A row of REJECTION_SCHEMA for a document that was fit to keep until now."""
    verdict = {"stage": stage, "reason": reason, "detail": detail, "broken": False}
    stands = {"dropped_by": loser.kept_id or None, "similarity": loser.similarity} if loser else {}
    return {"dropped_by": None, "similarity": None, **place, **verdict, **stands}


def _as_rejects(documents: pa.Table, losers: Mapping[bytes, Loser]) -> pa.Table:
    rows = []
    for place in documents.select(_PLACE).to_pylist():
        loser = losers[place["document_id"]]
        stage, detail = _STAGE_OF.get(loser.reason, "deduplicate"), loser.detail or f"kept {loser.kept_id.hex()}"
        rows.append(make_reject_row(place, stage=stage, reason=loser.reason, detail=detail, loser=loser))
    return pa.Table.from_pylist(rows, REJECTION_SCHEMA)


def _count_reasons(tables: Iterable[pa.Table]) -> Counter[str]:
    return Counter(reason for table in tables for reason in table["reason"].to_pylist())
