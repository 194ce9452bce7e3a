"""Rows of a run's Parquet files: found by document id, URL or place, read a row group at a time.

Nothing is indexed and nothing is loaded whole: a look-up reads one narrow column of each file, then
the row groups that have a match.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpe.errors import ShardError
from bpe.manifest import FileEntry
from bpe.places import Place, StorePath
from corpora.documents import Document, Rejection

ID_BYTES = 16
Match = Callable[[pa.ChunkedArray], npt.NDArray[np.bool_]]  # which values of a column are looked for


class Lineage(NamedTuple):
    """Where a document of a shard stands, and where it came from."""

    document_id: bytes  # bytes16
    url: str
    source: str
    offset: int
    block: int
    position: int  # among the documents of its block
    n_tokens: int


RowT = TypeVar("RowT", Document, Rejection, Lineage)


class IdPrefix(NamedTuple):
    """The first hexadecimal digits of document ids; all 32 of them name one document."""

    digits: str


def parse_id(text: str) -> IdPrefix:
    """A document id as people type it; ValueError unless it is 4 to 32 hexadecimal digits."""
    digits = text.strip().lower()
    if not 4 <= len(digits) <= 2 * ID_BYTES or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"{text!r} is no document id: it is {2 * ID_BYTES} hexadecimal digits, or the first 4 or more")
    return IdPrefix(digits)


def match_id(wanted: IdPrefix) -> Match:
    """Matches the ids that begin with these digits."""
    whole = np.frombuffer(bytes.fromhex(wanted.digits[: len(wanted.digits) // 2 * 2]), np.uint8)
    half = int(wanted.digits[-1], 16) if len(wanted.digits) % 2 else None

    def match(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        ids = id_matrix(column)
        found: npt.NDArray[np.bool_] = (ids[:, : whole.size] == whole).all(axis=1)
        if half is not None:
            found &= ids[:, whole.size] >> 4 == half
        return found

    return match


def match_value(value: object) -> Match:
    """Matches one value exactly."""

    def match(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = np.asarray(pc.equal(column, pa.scalar(value, column.type)), np.bool_)
        return found

    return match


def id_matrix(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Document ids as uint8 [rows, 16], without a copy where the column is one chunk."""
    if column.type != pa.binary(ID_BYTES) or column.null_count:
        raise pa.ArrowInvalid(f"document_id is {column.type} with {column.null_count} nulls, not {ID_BYTES} bytes each")
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.uint8, count=ID_BYTES * len(chunk), offset=ID_BYTES * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    if not chunks:
        return np.empty((0, ID_BYTES), np.uint8)
    return (np.concatenate(chunks) if len(chunks) > 1 else chunks[0]).reshape(-1, ID_BYTES)


def find_rows(
    folder: Place, entries: Iterable[FileEntry], kind: type[RowT], *, column: str, match: Match
) -> Iterator[tuple[FileEntry, RowT]]:
    """Rows of the files whose `column` matches, each with its file, in the order of the files."""
    for entry in entries:
        with open_table(folder, entry, kind._fields) as parquet:
            for group in range(parquet.num_row_groups):
                found = np.flatnonzero(match(parquet.read_row_group(group, columns=[column])[column]))
                if found.size:
                    rows = parquet.read_row_group(group, columns=list(kind._fields)).take(pa.array(found))
                    yield from ((entry, _make(kind, row)) for row in rows.to_pylist())


def iterate_rows(
    folder: Place, entries: Iterable[FileEntry], kind: type[RowT], *, rows_per_batch: int = 256
) -> Iterator[tuple[FileEntry, RowT]]:
    """All rows of the files, each with its file, in their order."""
    for entry in entries:
        with open_table(folder, entry, kind._fields) as parquet:
            for batch in parquet.iter_batches(batch_size=rows_per_batch, columns=list(kind._fields)):
                yield from ((entry, _make(kind, row)) for row in batch.to_pylist())


@contextmanager
def open_table(folder: Place, entry: FileEntry, columns: Sequence[str]) -> Iterator[Any]:
    """A `ParquetFile` of the run that has these columns; what pyarrow finds wrong becomes a ShardError naming it."""
    path = folder / entry.name
    if not path.is_file():
        raise ShardError(path, "", "missing, but listed in the manifest; fetch it again, or rebuild the run")
    try:
        # A stream of a store: only what is asked for of a table is fetched.
        source = path.open("rb") if isinstance(path, StorePath) else path
        with pq.ParquetFile(source, page_checksum_verification=True) as parquet:
            missing = [name for name in columns if name not in parquet.schema_arrow.names]
            if missing:
                raise ShardError(path, "", f"no column {missing[0]}; rebuild the run")
            yield parquet
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise ShardError(path, "", f"cannot be read as Parquet ({said}); fetch it again, or rebuild the run") from error


def _make(kind: type[RowT], row: dict[str, Any]) -> RowT:
    """A row as the value it was written from; its lists were tuples."""
    values = (row[name] for name in kind._fields)
    return kind._make(tuple(value) if isinstance(value, list) else value for value in values)
