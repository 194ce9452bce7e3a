"""Documents become shards: encoded, keyed by a hash of their id, sorted, written, named by the key.

Which shard a document goes to, its place there and the shard's name are pure functions of the ids
and of the run's size, so any runner, any number of workers and any replay give the same bytes.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bpe.manifest import FileEntry, ShardEntry
from bpe.shards import ShardContents, make_shard_entry, write_shard_to
from bpe.tokenized import TokenizedDocument
from pipelines.settings import TEXT_BYTES_PER_TOKEN, ShardRules
from pipelines.storage import HashingWriter, join, write_atomically

TRAIN, HELD_OUT = "train", "held-out"
LINEAGE_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.binary(16), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("block", pa.int32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
    ]
)


class ShardCounts(NamedTuple):
    """How many shards a run has of each split; part of every shard's name."""

    train: int
    held_out: int


class EncodedDocument(NamedTuple):
    """A TokenizedDocument as plain bytes, which shuffle cheaply, with its lineage."""

    document_id: bytes
    ids: bytes  # uint16 LE
    sentence_lengths: bytes  # uint16 LE
    url: str
    source: str
    offset: int


def count_shards(text_bytes: int, rules: ShardRules) -> ShardCounts:
    """Shards that a text of this size needs, from an estimate of its tokens (2 bytes each)."""
    tokens_bytes = 2 * text_bytes / TEXT_BYTES_PER_TOKEN
    train = rules.n_shards or max(1, math.ceil(tokens_bytes * (1 - rules.held_out) / rules.shard_bytes))
    held_out = max(1, math.ceil(tokens_bytes * rules.held_out / rules.shard_bytes)) if rules.held_out else 0
    return ShardCounts(train, held_out)


def is_held_out(document_id: bytes, share: float) -> bool:
    """Whether a document is kept apart: a hash of its id, so it is so in every run that holds it."""
    return _fraction(document_id, b"held-out") < share


def shard_key(document_id: bytes, rules: ShardRules, counts: ShardCounts) -> str:
    """Name of the shard without the run's name, as in "train/00003"."""
    if is_held_out(document_id, rules.held_out):
        return f"{HELD_OUT}/{int(_fraction(document_id, b'shard') * counts.held_out):05d}"
    return f"{TRAIN}/{int(_fraction(document_id, b'shard') * counts.train):05d}"


def shard_file_name(name: str, key: str, counts: ShardCounts) -> str:
    """File name without ending.

    >>> shard_file_name("ccnews", "train/00003", ShardCounts(64, 1))
    'ccnews-00003-of-00064'
    >>> shard_file_name("ccnews", "held-out/00000", ShardCounts(64, 1))
    'ccnews-held-out-00000-of-00001'
    """
    split, index = key.split("/")
    if split == HELD_OUT:
        return f"{name}-held-out-{index}-of-{counts.held_out:05d}"
    return f"{name}-{index}-of-{counts.train:05d}"


class WriteShards(beam.PTransform):
    """(shard key, EncodedDocument as a tuple) -> ShardEntry of every shard, written under `folder`."""

    def __init__(self, *, folder: str, name: str, rules: ShardRules, counts: Any) -> None:
        super().__init__()
        self.folder, self.name, self.rules, self.counts = folder, name, rules, counts

    def expand(self, keyed: Any) -> Any:
        writer = WriteShard(folder=self.folder, name=self.name, rules=self.rules)
        return (
            keyed
            | "Group by shard" >> beam.GroupByKey()
            | "Write shards" >> beam.ParDo(writer, counts=self.counts)
        )  # fmt: skip


class WriteShard(beam.DoFn):
    """(shard key, its documents) -> ShardEntry; the order of delivery does not matter."""

    def __init__(self, *, folder: str, name: str, rules: ShardRules) -> None:
        self.folder, self.name, self.rules = folder, name, rules

    def process(self, group: Any, counts: Any) -> Iterator[Any]:
        key, elements = group
        documents = sorted((EncodedDocument(*element) for element in elements), key=lambda one: one.document_id)
        name = shard_file_name(self.name, key, ShardCounts(*counts))
        yield write_documents(
            self.folder, name, documents, split=key.split("/")[0], block_tokens=self.rules.block_tokens
        )


def write_documents(
    folder: str, name: str, documents: list[EncodedDocument], *, split: str, block_tokens: int
) -> ShardEntry:
    """Writes one shard and its lineage, each atomically, and says what they hold."""

    def write(stream: BinaryIO) -> ShardContents:
        return write_shard_to(stream, map(_tokenized, documents), block_tokens=block_tokens)

    contents = write_atomically(join(folder, "shards", f"{name}.tar"), write)
    lineage = write_table(folder, f"shards/{name}.parquet", _lineage(documents, contents.placements))
    return make_shard_entry(contents, stem=f"shards/{name}", split=split, lineage=lineage)


def write_table(folder: str, name: str, *tables: pa.Table) -> FileEntry:
    """Writes tables of one schema as one Parquet file, atomically; its entry for the manifest."""

    def write(stream: BinaryIO) -> FileEntry:
        hashing = HashingWriter(stream)
        with pq.ParquetWriter(hashing, tables[0].schema, compression="zstd", write_page_checksum=True) as writer:
            for table in tables:
                writer.write_table(table)
        rows = sum(table.num_rows for table in tables)
        return FileEntry(name=name, bytes=hashing.n_bytes, sha256=hashing.sha256, rows=rows)

    return write_atomically(join(folder, name), write)


def _lineage(documents: list[EncodedDocument], placements: Iterable[tuple[int, int]]) -> pa.Table:
    places = list(placements)
    assert len(places) == len(documents)
    columns = [
        [one.document_id for one in documents],
        [one.url for one in documents],
        [one.source for one in documents],
        [one.offset for one in documents],
        [block for block, _ in places],
        [position for _, position in places],
        [len(one.ids) // 2 for one in documents],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, LINEAGE_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LINEAGE_SCHEMA)


def _tokenized(one: EncodedDocument) -> TokenizedDocument:
    return TokenizedDocument(one.document_id, np.frombuffer(one.ids, "<u2"), np.frombuffer(one.sentence_lengths, "<u2"))


def _fraction(document_id: bytes, purpose: bytes) -> float:
    """A number in [0, 1) that is a function of the id; independent for each purpose."""
    digest = hashlib.blake2b(document_id, digest_size=6, person=purpose).digest()
    return int.from_bytes(digest, "big") / (1 << 48)
