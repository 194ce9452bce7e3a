"""Takes documents out of a shard: an open shard and the places to leave out in, the shard of the others out.

The rule: the new shard is, byte for byte, what the writer makes of the remaining documents in their order. So blocks
close where they would have closed, had the documents never been there, and no gap tells that something stood here.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bpe.shard_writing import ShardContents, write_shard_to
from bpe.shards import Shard, document_at, find_borders
from bpe.tokenized import TokenizedDocument

Flags = npt.NDArray[np.bool_]


def rewrite_shard_to(stream: BinaryIO, shard: Shard, removed: Flags, *, block_tokens: int) -> ShardContents:
    """Writes a shard's documents but the removed ones to a stream; one block of it is in memory at a time.

    `removed` has an element for each document of the shard, in their order: bool [n_documents]. Raises ShardError
    where a block is not what the manifest says, ValueError where nothing would remain: then there is no shard.
    """
    n_documents = int(shard.blocks.n_documents.sum())
    if removed.shape != (n_documents,):
        raise ValueError(f"{shard.path} holds {n_documents} documents, but {removed.size} are spoken of")
    if removed.all():
        raise ValueError(f"{shard.path}: no document would remain; remove the shard instead")
    return write_shard_to(stream, remaining_documents(shard, removed), block_tokens=block_tokens)


def remaining_documents(shard: Shard, removed: Flags) -> Iterator[TokenizedDocument]:
    """A shard's documents but the removed ones, in order, with empty document ids."""
    first = 0
    for k, n in enumerate(shard.blocks.n_documents.tolist()):
        stay = np.flatnonzero(~removed[first : first + n])
        first += n
        if stay.size:
            block = shard.block(k)
            borders = find_borders(block)
            yield from (document_at(block, position, borders=borders) for position in stay.tolist())
