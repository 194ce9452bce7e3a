"""The arithmetic of shard format 1: which members a block has, how long they are and where they stand.

A shard is a tar of blocks; block k has three members of one key:

    00000007.tok    uint16 LE  ids of all its tokens, document after document, without separators
    00000007.sen    uint16 LE  tokens of each sentence
    00000007.doc    uint32 LE  sentences of each document

Sizes follow from counts and places from sizes, so a shard's counts say what every one of its
headers must be. A document never spans blocks.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from bpe.ustar import END, RECORD, Member, padded

DEFAULT_BLOCK_TOKENS = 524_288  # 1 MiB of uint16
PARTS: tuple[tuple[str, np.dtype[Any]], ...] = (
    ("tok", np.dtype("<u2")),
    ("sen", np.dtype("<u2")),
    ("doc", np.dtype("<u4")),
)

CountArray = npt.NDArray[np.int64]


class BlockTable(NamedTuple):
    """What the manifest says of the blocks of a shard; one array element per block."""

    offset: CountArray  # byte of the header of the block's first member
    n_tokens: CountArray
    n_sentences: CountArray
    n_documents: CountArray
    crc32c: npt.NDArray[np.uint32]  # of the three payloads, one after the other, without padding


def starts(sizes: npt.NDArray[Any]) -> CountArray:
    """Where each of the things of these sizes starts, and where the last one ends: int64 [n + 1]."""
    borders = np.zeros(sizes.size + 1, np.int64)
    np.cumsum(sizes, dtype=np.int64, out=borders[1:])
    return borders


def checksum(payloads: Iterable[npt.NDArray[Any]]) -> int:
    """crc32c of arrays, one after the other."""
    value = 0
    for payload in payloads:
        value = google_crc32c.extend(value, payload)
    return int(value)


def block_sizes(n_tokens: CountArray, n_sentences: CountArray, n_documents: CountArray) -> CountArray:
    """Bytes of each block in the tar: three headers, three padded payloads."""
    payloads = (2 * n_tokens, 2 * n_sentences, 4 * n_documents)
    return sum((-payload % RECORD + payload for payload in payloads), np.int64(3 * RECORD) + 0 * n_tokens)


def block_offsets(sizes: CountArray) -> CountArray:
    """Where each block starts: the sizes of those before it."""
    return starts(sizes)[:-1]


def shard_bytes(sizes: CountArray) -> int:
    """Bytes of a shard with these blocks."""
    return int(sizes.sum()) + len(END)


def block_members(table: BlockTable, k: int) -> tuple[Member, Member, Member]:
    """The three members of block k, in order."""
    offset = int(table.offset[k])
    counts = (int(table.n_tokens[k]), int(table.n_sentences[k]), int(table.n_documents[k]))
    members = []
    for (part, dtype), n in zip(PARTS, counts, strict=True):
        member = Member(f"{k:08d}.{part}", offset, n * dtype.itemsize)
        offset += RECORD + padded(member.size)
        members.append(member)
    return members[0], members[1], members[2]


def member_names() -> Iterator[str]:
    """The names of a shard's members, in order."""
    for k in range(10**8):
        for part, _ in PARTS:
            yield f"{k:08d}.{part}"
