"""Shard format 1: tokenized documents in, a tar of blocks out, and the same documents back.

In: `TokenizedDocument`s, or the place of a shard and its entry in the manifest. Out: a tar and what the
manifest says of it, or blocks as arrays that lie on the file itself (mmap, nothing is copied); a shard in
an object store is fetched to this machine's cache first (bpe.shard_cache). The rule:
nothing is read that the manifest does not vouch for. Headers must be the ones that the entry implies
and a block must have its checksum before an array of it is handed out; no member is ever decoded,
unpickled or executed. `bpe.layout` says what a block is made of.
"""

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.entries import ShardEntry
from bpe.errors import ShardError
from bpe.layout import DEFAULT_BLOCK_TOKENS, PARTS, BlockTable, block_members, checksum, member_names, starts
from bpe.places import Place, StorePath
from bpe.shard_cache import cached_path, forget_cached, is_cached, open_cached
from bpe.shard_writing import Placement, ShardContents, make_shard_entry, write_shard, write_shard_to
from bpe.tokenized import TokenizedDocument
from bpe.ustar import END, RECORD, Member, check_header, padded, refuse, walk_members

__all__ = [
    "DEFAULT_BLOCK_TOKENS",
    "BlockTable",
    "DocumentBorders",
    "Placement",
    "Shard",
    "ShardBlock",
    "ShardContents",
    "block_documents",
    "check_shard",
    "document_at",
    "find_borders",
    "make_shard_entry",
    "open_shard",
    "read_block",
    "scan_shard",
    "write_shard",
    "write_shard_to",
]

Array = npt.NDArray[Any]


class ShardBlock(NamedTuple):
    """A block as arrays that lie on the file: read-only, and little-endian on every machine."""

    tokens: npt.NDArray[np.uint16]  # [n_tokens]
    sentence_lengths: npt.NDArray[np.uint16]  # [n_sentences], in tokens, each >= 1
    sentences_per_document: npt.NDArray[np.uint32]  # [n_documents]


class DocumentBorders(NamedTuple):
    """Where the documents of a block begin; one more element than documents, the last is the end."""

    tokens: npt.NDArray[np.int64]  # [n_documents + 1]
    sentences: npt.NDArray[np.int64]  # [n_documents + 1]


class Shard:
    """An open shard; close it, or leave that to the last array that lies on it."""

    def __init__(
        self, path: str, data: mmap.mmap, blocks: BlockTable, *, map_again: Callable[[], mmap.mmap] | None = None
    ) -> None:
        self.path = path
        self.blocks = blocks
        self._data = data
        self._map_again = map_again  # a copy can be made anew, once; what is damaged then, is so in the store

    def __len__(self) -> int:
        """Number of blocks."""
        return int(self.blocks.offset.size)

    def block(self, k: int) -> ShardBlock:
        """Block k, its headers and checksum verified; ShardError where they are not the manifest's."""
        _check_number(self.path, self.blocks, k)
        try:
            return _verify_block(self.path, self._data, self.blocks, k)
        except ShardError:
            if self._map_again is None:
                raise
            self._data, self._map_again = self._map_again(), None
            return _verify_block(self.path, self._data, self.blocks, k)

    def close(self) -> None:
        """Lets go of the file; the memory stays mapped as long as an array of it lives."""
        try:
            self._data.close()
        except BufferError:  # arrays of this shard are still in use: they keep it open, and close it with them
            del self._data

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_shard(path: Place, entry: ShardEntry) -> Shard:
    """Opens a shard that has the size that the manifest says; blocks are checked as they are read."""
    if isinstance(path, StorePath):
        data, map_again = _map_cached(path, entry)
    else:
        data, map_again = _map(path), None
    if len(data) != entry.bytes:
        raise refuse(str(path), len(data), f"{len(data)} bytes, but the manifest says {entry.bytes}")
    if data[len(data) - len(END) :] != END and map_again is None:
        raise refuse(str(path), len(data) - len(END), "the tar does not end with two zero records")
    return Shard(str(path), data, entry.blocks, map_again=map_again)


def read_block(path: Place, entry: ShardEntry, k: int) -> ShardBlock:
    """Block k of a shard, verified: for whoever needs few. Of a shard in a store that is not cached only it is read."""
    _check_number(str(path), entry.blocks, k)
    if isinstance(path, StorePath) and not is_cached(entry):
        return _read_stored_block(path, entry, k)
    with open_shard(path, entry) as shard:
        return shard.block(k)


def check_shard(path: Path, entry: ShardEntry) -> None:
    """Verifies every byte of a shard: the tar, each block's counts, sums and checksum, the sha256."""
    scanned = scan_shard(path)
    for name, said in entry.blocks._asdict().items():
        found = getattr(scanned, name)
        if not np.array_equal(found, said):
            k = _first_difference(found, said)
            raise ShardError(path, f"block {k}", f"{name} is not what the manifest says; fetch the shard again")
    with open_shard(path, entry) as shard:
        for k in range(len(shard)):
            _check_sums(shard, k)
        digest = hashlib.sha256(shard._data).hexdigest()
    if digest != entry.sha256:
        raise ShardError(path, "", f"sha256 {digest}, but the manifest says {entry.sha256}; fetch the shard again")


def scan_shard(path: Path) -> BlockTable:
    """The blocks of a shard as the tar itself tells them, whatever the manifest says; strict as ever."""
    data = _map(path)
    members = walk_members(str(path), data, member_names())
    if len(members) % len(PARTS):
        raise refuse(str(path), members[-1].offset, f"the last block ends with {members[-1].name}")
    counts = []
    for member, (_, dtype) in zip(members, PARTS * (len(members) // len(PARTS)), strict=True):
        if member.size % dtype.itemsize:
            raise refuse(str(path), member.offset, f"{member.name} has {member.size} bytes, no multiple of {dtype}")
        counts.append(member.size // dtype.itemsize)
    tokens, sentences, documents = np.array(counts, np.int64).reshape(-1, len(PARTS)).T
    offsets = np.array([member.offset for member in members[:: len(PARTS)]], np.int64)
    table = BlockTable(offsets, tokens, sentences, documents, np.zeros(offsets.size, np.uint32))
    for k in range(offsets.size):
        table.crc32c[k] = checksum(_payloads(data, table, k))
    return table


def find_borders(block: ShardBlock) -> DocumentBorders:
    """Where each document of a block begins, in its tokens and in its sentences."""
    sentences = starts(block.sentences_per_document)
    return DocumentBorders(starts(block.sentence_lengths)[sentences], sentences)


def document_at(
    block: ShardBlock, position: int, *, borders: DocumentBorders | None = None, document_id: bytes = b""
) -> TokenizedDocument:
    """The document at a position in its block; ids of documents are in the lineage, not in the shard.

    Pass the block's borders where more than one document is wanted: finding them reads all its sentences.
    """
    tokens, sentences = borders or find_borders(block)
    if not 0 <= position < tokens.size - 1:
        raise ValueError(f"the block has documents 0 to {tokens.size - 2}, there is no document {position}")
    return TokenizedDocument(
        document_id,
        block.tokens[tokens[position] : tokens[position + 1]],
        block.sentence_lengths[sentences[position] : sentences[position + 1]],
    )


def block_documents(block: ShardBlock) -> Iterator[TokenizedDocument]:
    """All documents of a block in order, with empty document ids."""
    borders = find_borders(block)
    for position in range(block.sentences_per_document.size):
        yield document_at(block, position, borders=borders)


def _check_number(path: str, blocks: BlockTable, k: int) -> None:
    n = int(blocks.offset.size)
    if not 0 <= k < n:
        raise ValueError(f"{path} has blocks 0 to {n - 1}, there is no block {k}")


def _verify_block(path: str, data: mmap.mmap | bytes, blocks: BlockTable, k: int) -> ShardBlock:
    members = block_members(blocks, k)
    for member in members:
        check_header(path, data, member)
    arrays = _payloads(data, blocks, k)
    found, expected = checksum(arrays), int(blocks.crc32c[k])
    if found != expected:
        raise refuse(path, members[0].offset, f"block {k} has crc32c {found:08x}, the manifest says {expected:08x}")
    return ShardBlock(*arrays)


def _payloads(data: mmap.mmap | bytes, table: BlockTable, k: int) -> list[Array]:
    """The three payloads of block k as arrays on the file."""
    return [
        np.frombuffer(data, dtype, member.size // dtype.itemsize, member.offset + RECORD)
        for member, (_, dtype) in zip(block_members(table, k), PARTS, strict=True)
    ]


def _read_stored_block(place: StorePath, entry: ShardEntry, k: int) -> ShardBlock:
    """A block by its range of bytes, verified as it is in a file; a damaged answer is asked for again."""
    from bpe.stores import read_range

    start = int(entry.blocks.offset[k])
    end = _end_of(block_members(entry.blocks, k)[-1])
    here = entry.blocks._replace(offset=entry.blocks.offset - start)
    try:
        return _verify_block(f"{place} from byte {start}", read_range(str(place), start, end), here, k)
    except ShardError:
        return _verify_block(f"{place} from byte {start}", read_range(str(place), start, end), here, k)


def _end_of(member: Member) -> int:
    return member.offset + RECORD + padded(member.size)


def _map_cached(place: StorePath, entry: ShardEntry) -> tuple[mmap.mmap, Callable[[], mmap.mmap]]:
    """The copy of a shard in the cache, and what makes it anew where it is found to be damaged."""
    with open_cached(place, entry) as stream:
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # keeps the file open, and so held
        status = os.fstat(stream.fileno())

    def map_again() -> mmap.mmap:
        forget_cached(cached_path(entry), status)
        with open_cached(place, entry) as again:
            return mmap.mmap(again.fileno(), 0, access=mmap.ACCESS_READ)

    return data, map_again


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            if path.stat().st_size == 0:
                raise refuse(str(path), 0, "the file is empty")
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ShardError(path, "", "missing, but listed in the manifest; fetch it again, or rebuild the run") from error


def _check_sums(shard: Shard, k: int) -> None:
    block = shard.block(k)
    lengths = block.sentence_lengths
    if not lengths.all():
        raise ShardError(shard.path, f"block {k}", f"sentence {lengths.argmin()} has no tokens; rebuild the run")
    if int(lengths.sum(dtype=np.int64)) != block.tokens.size:
        found = f"its sentences have {lengths.sum(dtype=np.int64)} tokens, the block has {block.tokens.size}"
        raise ShardError(shard.path, f"block {k}", f"{found}; rebuild the run")
    if int(block.sentences_per_document.sum(dtype=np.int64)) != lengths.size:
        found = f"its documents have {block.sentences_per_document.sum(dtype=np.int64)} sentences, the block has"
        raise ShardError(shard.path, f"block {k}", f"{found} {lengths.size}; rebuild the run")


def _first_difference(found: Array, said: Array) -> int:
    n = min(found.size, said.size)
    different = np.flatnonzero(found[:n] != said[:n])
    return int(different[0]) if different.size else n
