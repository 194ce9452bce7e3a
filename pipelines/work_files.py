"""Work files: what the extract stage leaves of one split, and all that the select stage reads.

One Parquet file a split, written under a temporary name and renamed once: first the documents in the
order of their records, then the rejections, told apart by `reason` (empty on documents). The counts
lie in the file's metadata, so a file that is there and opens is a finished split.
"""

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA, Document, Rejection
from pipelines.ledger import Books, open_books
from pipelines.storage import exists, open_read, write_atomically

ROWS_PER_GROUP = 1_000
_VERDICT = tuple(name for name in REJECTION_SCHEMA.names if name not in DOCUMENT_SCHEMA.names)
WORK_SCHEMA = pa.schema([*DOCUMENT_SCHEMA, *(REJECTION_SCHEMA.field(name) for name in _VERDICT)])
_NO_VERDICT = {"stage": "", "reason": "", "detail": "", "broken": False, "dropped_by": None, "similarity": None}
_NO_DOCUMENT: dict[str, object] = {
    name: "" for name in DOCUMENT_SCHEMA.names if name not in ("document_id", "url", "source", "offset")
} | {"authors": [], "score": None, "gaps": 0, "contamination": []}


class WorkSummary(NamedTuple):
    """What a work file holds."""

    books: Books
    administrative: int  # records that carry no content: warcinfo, request, metadata
    text_bytes: int  # UTF-8 bytes of the documents' texts


class WorkWriter:
    """Collects one split's verdicts and writes them; documents go to disk group by group."""

    def __init__(self, stream: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(stream, WORK_SCHEMA, compression="zstd", write_page_checksum=True)
        self._documents: list[Document] = []
        self._rejections: list[Rejection] = []
        self.n_kept = 0
        self.text_bytes = 0

    def __enter__(self) -> "WorkWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()  # of a failed split too, while its temporary file is still open

    @property
    def n_rejected(self) -> int:
        return len(self._rejections)

    def add(self, verdict: Document | Rejection) -> None:
        if isinstance(verdict, Rejection):
            self._rejections.append(verdict)
            return
        self._documents.append(verdict)
        self.n_kept += 1
        self.text_bytes += len(verdict.text.encode())
        if len(self._documents) >= ROWS_PER_GROUP:
            self._flush()

    def finish(self, *, n_read: int, administrative: int) -> WorkSummary:
        """Ends the file; raises BooksError when a record of the split has no verdict, or two."""
        self._flush()
        # Rejections arrive interleaved as the child process answers; the order on disk must not depend on that.
        rejections = sorted(self._rejections, key=lambda row: (row.offset, row.document_id, row.stage, row.reason))
        books = open_books(read=n_read, kept=self.n_kept, rejections=rejections)
        for start in range(0, len(rejections), ROWS_PER_GROUP):
            rows = [_NO_DOCUMENT | row._asdict() for row in rejections[start : start + ROWS_PER_GROUP]]
            self._writer.write_table(pa.Table.from_pylist(rows, WORK_SCHEMA))
        summary = WorkSummary(books, administrative, self.text_bytes)
        self._writer.add_key_value_metadata({"shardmill": json.dumps(summary)})
        return summary

    def _flush(self) -> None:
        if self._documents:
            rows = [document._asdict() | _NO_VERDICT for document in self._documents]
            self._writer.write_table(pa.Table.from_pylist(rows, WORK_SCHEMA))
            self._documents.clear()


def write_work_file(
    path: str, verdicts: Iterable[Document | Rejection], *, n_read: int, administrative: int
) -> WorkSummary:
    """A whole work file at once, from verdicts that are all at hand."""

    def write(stream: BinaryIO) -> WorkSummary:
        with WorkWriter(stream) as writer:
            for verdict in verdicts:
                writer.add(verdict)
            return writer.finish(n_read=n_read, administrative=administrative)

    return write_atomically(path, write)


def read_summary(path: str) -> WorkSummary | None:
    """The summary of a finished split, or None where it is not there or cannot be read and must be made again."""
    if not exists(path):
        return None
    try:
        with open_read(path) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
            books, administrative, text_bytes = json.loads(metadata[b"shardmill"])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError):
        return None
    read, kept, rejected, broken = books
    pairs = [tuple((str(reason), int(n)) for reason, n in column) for column in (rejected, broken)]
    return WorkSummary(Books(read, kept, *pairs), administrative, text_bytes)


def read_groups(path: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a work file, one table at a time; page checksums are verified."""
    with open_read(path) as stream:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns, use_threads=False)  # workers are what runs side by side
