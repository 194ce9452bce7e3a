"""Tokens of a shard as people read them: sentence by sentence, decoded with the run's own vocabulary."""

from typing import NamedTuple

import numpy as np

from bpe.encoding import Encoder
from bpe.errors import ShardError
from bpe.shards import document_at, read_block
from bpe.vocabulary import load_vocabulary
from inspection.lookup import Placed
from inspection.run_folder import RunFolder


class Sentence(NamedTuple):
    """One sentence of an encoded document."""

    text: str  # decoded; not the original's white space unless the encoding is lossless
    ids: list[int]


def open_decoder(run: RunFolder) -> Encoder:
    """What decodes the run's ids: the copy of the vocabulary that lies in the run, checked to be the very one."""
    entry = run.manifest.vocabulary
    if entry is None:
        raise ShardError(run.path, "", "the run has no vocabulary, so it has no tokens")
    vocabulary = load_vocabulary(run.path / entry.name)
    if vocabulary.fingerprint != entry.fingerprint:
        raise ShardError(
            run.path / entry.name, "", f"fingerprint {vocabulary.fingerprint}, the manifest says {entry.fingerprint}"
        )
    return Encoder(vocabulary, mode=entry.encoding)


def read_sentences(run: RunFolder, placed: Placed, decoder: Encoder, *, most: int | None = None) -> list[Sentence]:
    """The sentences of a document, or its first `most`."""
    row = placed.lineage
    block = read_block(run.path / placed.shard.name, placed.shard, row.block)
    tokens = document_at(block, row.position, document_id=row.document_id)
    ends = np.cumsum(tokens.sentence_lengths, dtype=np.int64)[:most]
    ids = [piece.tolist() for piece in np.split(tokens.ids, ends)[: ends.size]]
    return [Sentence(decoder.decode(np.array(piece, np.uint16)), piece) for piece in ids]
