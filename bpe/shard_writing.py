"""Writes shards of format 1: tokenized documents in, a tar of blocks and what the manifest says of it out.

The rule: the bytes depend on the documents, their order and `block_tokens` alone, and are written once,
front to back, so that any stream will do; size, checksums and sha256 are known without reading again.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.entries import FileEntry, ShardEntry
from bpe.layout import (
    DEFAULT_BLOCK_TOKENS,
    PARTS,
    BlockTable,
    block_offsets,
    block_sizes,
    checksum,
    shard_bytes,
    starts,
)
from bpe.tokenized import TokenizedDocument
from bpe.ustar import END, make_header, padded


class Placement(NamedTuple):
    """Where a document went."""

    block: int
    position: int  # among the documents of its block


class ShardContents(NamedTuple):
    """What was written: all that the manifest says of a shard but its name."""

    n_documents: int
    n_sentences: int
    n_tokens: int
    n_bytes: int
    sha256: str
    blocks: BlockTable
    placements: list[Placement]  # in the order of the documents


def make_shard_entry(contents: ShardContents, *, stem: str, split: str, lineage: FileEntry) -> ShardEntry:
    """What the manifest says of a shard that was written to `stem`.tar."""
    return ShardEntry(
        name=f"{stem}.tar",
        bytes=contents.n_bytes,
        sha256=contents.sha256,
        split=split,
        n_documents=contents.n_documents,
        n_sentences=contents.n_sentences,
        n_tokens=contents.n_tokens,
        lineage=lineage,
        blocks=contents.blocks,
    )


def write_shard(
    path: Path, documents: Iterable[TokenizedDocument], *, block_tokens: int = DEFAULT_BLOCK_TOKENS
) -> ShardContents:
    """Writes a shard to exactly this path, which should be a temporary name that the caller then renames."""
    with path.open("wb", buffering=0) as stream:
        return write_shard_to(stream, documents, block_tokens=block_tokens)


def write_shard_to(
    stream: BinaryIO, documents: Iterable[TokenizedDocument], *, block_tokens: int = DEFAULT_BLOCK_TOKENS
) -> ShardContents:
    """Writes a shard to a stream that need not be seekable; a block closes once it has `block_tokens`.

    Raises ValueError, naming the document, where sentence lengths are not those of its ids.
    """
    if block_tokens < 1:
        raise ValueError(f"block_tokens is {block_tokens}; a block holds at least one token")
    writer = _BlockWriter(stream)
    pending: list[TokenizedDocument] = []
    n_tokens = 0
    for document in documents:
        pending.append(document)
        n_tokens += document.ids.size
        if n_tokens >= block_tokens:
            writer.write(pending)
            pending, n_tokens = [], 0
    if pending:
        writer.write(pending)
    return writer.finish()


class _BlockWriter:
    """Writes blocks one after the other and keeps the account that the manifest needs."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self._rows: list[tuple[int, int, int, int]] = []  # tokens, sentences, documents, crc32c
        self._placements: list[Placement] = []

    def write(self, documents: list[TokenizedDocument]) -> None:
        k = len(self._rows)
        arrays = _join(documents)
        for array, (part, _) in zip(arrays, PARTS, strict=True):
            self._put(make_header(f"{k:08d}.{part}", array.nbytes))
            self._put(array.data.cast("B") if array.size else b"")
            self._put(bytes(padded(array.nbytes) - array.nbytes))
        tokens, sentences, n_documents = (array.size for array in arrays)
        self._rows.append((tokens, sentences, n_documents, checksum(arrays)))
        self._placements.extend(Placement(k, position) for position in range(n_documents))

    def finish(self) -> ShardContents:
        self._put(END)
        columns = np.array(self._rows, np.int64).reshape(-1, 4).T
        tokens, sentences, documents, crc32c = columns
        sizes = block_sizes(tokens, sentences, documents)
        return ShardContents(
            n_documents=int(documents.sum()),
            n_sentences=int(sentences.sum()),
            n_tokens=int(tokens.sum()),
            n_bytes=shard_bytes(sizes),
            sha256=self._sha256.hexdigest(),
            blocks=BlockTable(block_offsets(sizes), tokens, sentences, documents, crc32c.astype(np.uint32)),
            placements=self._placements,
        )

    def _put(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        left = memoryview(data)
        while left:  # unbuffered streams may take less than they are given, others do not say
            written = self._stream.write(left)
            left = left[len(left) if written is None else written :]


def _join(documents: list[TokenizedDocument]) -> list[npt.NDArray[Any]]:
    """The three arrays of a block; ValueError for a document that does not add up."""
    for document in documents:
        if document.ids.dtype != np.uint16 or document.sentence_lengths.dtype != np.uint16:
            raise ValueError(f"document {document.document_id.hex()}: ids and sentence lengths must be uint16")
    lengths = np.concatenate([document.sentence_lengths for document in documents])
    n_sentences = np.array([document.sentence_lengths.size for document in documents], "<u4")
    n_tokens = np.diff(starts(lengths)[starts(n_sentences)])
    wrong = n_tokens != [document.ids.size for document in documents]
    wrong[np.searchsorted(starts(n_sentences), np.flatnonzero(lengths == 0), "right") - 1] = True
    if wrong.any():
        document = documents[int(wrong.argmax())]
        raise ValueError(
            f"document {document.document_id.hex()}: {document.ids.size} ids, but its sentences have"
            f" {document.sentence_lengths.tolist()[:10]}… tokens; each must have at least one, and together all"
        )
    tokens = np.concatenate([document.ids for document in documents])
    return [tokens.astype("<u2", copy=False), lengths.astype("<u2", copy=False), n_sentences]
