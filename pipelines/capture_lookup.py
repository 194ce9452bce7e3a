"""Looks wanted pages up in the files of an index: a file in, a table of the captures of wanted pages out.

The rule: an index is read once and whole, and what is kept of it is small. Whether a page is wanted is asked of a
sorted array of hashes, 8 bytes a page; two pages in 10^19 share one, so the keys are compared again where captures
meet the list.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpora.captures import BadIndexLine, Capture, parse_index_line
from corpora.compressed_lines import LineDamage, read_lines
from corpora.openwebtext import page_key
from pipelines.storage import exists, is_url, local_path, open_read, write_atomically

CAPTURE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("captured_utc", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
    ]
)


class IndexCounts(NamedTuple):
    """What a file of an index held."""

    lines: int = 0
    good: int = 0  # successes, and HTML
    wanted: int = 0  # of pages on the list
    broken: int = 0  # lines that are none of an index, and damage to the file


def look_up(stream: BinaryIO, name: str, path: str, wanted: Any) -> IndexCounts:
    """Reads a file of an index to its end and writes the captures of wanted pages; `wanted` is uint64, sorted."""
    lines = good = n_wanted = broken = 0

    def write(out: BinaryIO) -> IndexCounts:
        nonlocal lines, good, n_wanted, broken
        with pq.ParquetWriter(out, CAPTURE_SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            for batch in read_lines(stream, name=name):
                if isinstance(batch, LineDamage):
                    broken += 1
                    continue
                found = [parse_index_line(line) for line in batch.lines]
                captures = [one for one in found if isinstance(one, Capture)]
                lines += len(found)
                good += len(captures)
                broken += sum(isinstance(one, BadIndexLine) for one in found)
                kept = _keep_wanted(captures, wanted)
                n_wanted += len(kept)
                if kept:
                    writer.write_table(as_table(kept, CAPTURE_SCHEMA))
            counts = IndexCounts(lines, good, n_wanted, broken)
            writer.add_key_value_metadata({"shardmill": json.dumps(counts)})
            return counts

    return write_atomically(path, write)


def read_wanted(path: str) -> Any:
    """uint64 [pages], sorted; a local file is mapped, so that workers share its memory."""
    if not is_url(path):
        return np.load(local_path(path), mmap_mode="r", allow_pickle=False)
    with open_read(path) as stream:
        return np.load(stream, allow_pickle=False)


def hash_keys(keys: Sequence[str]) -> Any:
    """uint64 [keys]."""
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def read_counts(path: str) -> IndexCounts | None:
    if not exists(path):
        return None
    with suppress(pa.ArrowInvalid, OSError, KeyError, ValueError), open_read(path) as stream:
        return IndexCounts(*json.loads(pq.read_metadata(stream).metadata[b"shardmill"]))
    return None


def as_table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _keep_wanted(captures: list[Capture], wanted: Any) -> list[tuple[Any, ...]]:
    if not captures or not len(wanted):
        return []
    keys = [page_key(capture.url) for capture in captures]
    hashes = hash_keys(keys)
    at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    return [(keys[row], *captures[row]) for row in np.flatnonzero(wanted[at] == hashes).tolist()]
