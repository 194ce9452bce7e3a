"""Batches to measure rules on: made-up documents, written as shards and read the way training reads them.

In: documents as sentences of ids, and settings. Out: the first global batches. The rule: nothing between the shards
and the batch is done here.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bpe.entries import Books, Counts, FileEntry, Manifest, VocabularyEntry
from bpe.manifest import settings_hash
from bpe.shards import make_shard_entry, write_shard
from bpe.tokenized import TokenizedDocument
from trainer.masking import IGNORE, MaskedBlocks
from trainer.packing import N_SPECIAL, Ids
from trainer.parallel import Ranks
from trainer.plan import Order, packing_rules
from trainer.pretrain import make_batches
from trainer.run_folder import describe_run
from trainer.settings import Settings
from trainer.sources import Run, Source
from trainer.streaming import RankBatch

VOCABULARY_SIZE = 50_265
Document = Sequence[Sequence[int]]  # ids of each sentence


class Read(NamedTuple):
    """What training reads of some documents."""

    batches: list[RankBatch]
    n_long: int  # sentences longer than a block, of the windows read


def draw_documents(n_documents: int, *, sentences: int, tokens: int, seed: int = 0) -> list[Document]:
    """Documents of this many sentences of this many random ids, none of them special."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(N_SPECIAL, VOCABULARY_SIZE - 1, size=(n_documents, sentences, tokens))
    drawn: list[Document] = ids.tolist()
    return drawn


def read_batches(
    documents: Sequence[Document], settings: Settings, *, n_batches: int = 1, rank: int = 0, n_ranks: int = 1
) -> Read:
    """The shares of a rank in the first global batches of training on these documents."""
    with tempfile.TemporaryDirectory() as folder:
        runs = (_write_run(Path(folder), documents),)
        order = Order(Source(runs, split="train"), packing_rules(settings))
        batches = make_batches(order, describe_run(settings, runs), Ranks(rank, n_ranks, torch.device("cpu")))
        read = [next(batches) for _ in range(n_batches)]
        batches.close()
        return Read(read, sum(order.n_long.values()))


def unmask(masked: MaskedBlocks) -> Ids:
    """The ids [B, T] as they were packed."""
    ids: Ids = np.where(masked.labels == IGNORE, masked.input_ids, masked.labels)
    return ids


def rows_of(read: Read) -> list[list[int]]:
    """The packed sequences of all batches, without padding."""
    return [
        row[:n].tolist()
        for batch in read.batches
        for masked in batch.micro_batches
        for row, n in zip(unmask(masked), masked.n_tokens.tolist(), strict=True)
    ]


def _write_run(folder: Path, documents: Sequence[Document]) -> Run:
    (folder / "shards").mkdir()
    stem = "shards/rules-00000-of-00001"
    contents = write_shard(folder / f"{stem}.tar", [_tokenized(k, document) for k, document in enumerate(documents)])
    lineage = FileEntry(f"{stem}.parquet", 0, hashlib.sha256(b"").hexdigest(), contents.n_documents)
    shard = make_shard_entry(contents, stem=stem, split="train", lineage=lineage)
    digest = hashlib.sha256(b"made up").hexdigest()
    manifest = Manifest(
        name="rules",
        code_version="",
        settings={},
        settings_hash=settings_hash({}),
        inputs=(),
        vocabulary=VocabularyEntry("vocab.json", 0, digest, digest, VOCABULARY_SIZE, "fairseq"),
        books=Books(shard.n_documents, shard.n_documents, {}, {}),
        counts=Counts(shard.n_documents, shard.n_sentences, shard.n_tokens, text_bytes=0, administrative=0),
        statistics={},
        documents=(),
        rejected=(),
        shards=(shard,),
        report=None,
    )
    return Run(folder, manifest, digest)


def _tokenized(number: int, document: Document) -> TokenizedDocument:
    ids = np.array([token for sentence in document for token in sentence], dtype=np.uint16)
    lengths = np.array([len(sentence) for sentence in document], dtype=np.uint16)
    return TokenizedDocument(number.to_bytes(16, "big"), ids, lengths)
