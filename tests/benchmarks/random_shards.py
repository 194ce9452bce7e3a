"""Makes a finished run of random shards: for tests and benchmarks that need shards but no text.

In: sizes and a seed. Out: a folder with shards and a manifest that the trainer trusts. Ids follow Zipf's law and
each is half decided by the one before it, so that a model has something to learn.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.layout import DEFAULT_BLOCK_TOKENS
from bpe.manifest import (
    Books,
    Counts,
    FileEntry,
    Manifest,
    ShardEntry,
    VocabularyEntry,
    dump_manifest,
    settings_hash,
)
from bpe.shards import make_shard_entry, write_shard
from bpe.tokenized import TokenizedDocument


class Shape(NamedTuple):
    """What to make; lengths are geometric around their means, as those of real prose roughly are."""

    n_tokens: int = 100_000
    n_shards: int = 2
    held_out_tokens: int = 0
    vocabulary_size: int = 4096
    sentence_tokens: float = 24.0
    document_sentences: float = 20.0
    block_tokens: int = DEFAULT_BLOCK_TOKENS
    seed: int = 0
    vocabulary: str = "random"  # what the vocabulary's fingerprint is the hash of


def make_run(folder: Path, shape: Shape) -> Path:
    """Writes shards and manifest into a folder, and returns it."""
    (folder / "shards").mkdir(parents=True)
    rng = np.random.default_rng(shape.seed)
    plan = [("train", shape.n_tokens // shape.n_shards)] * shape.n_shards
    if shape.held_out_tokens:
        plan.append(("held-out", shape.held_out_tokens))
    shards = [
        _make_shard(folder, f"shards/random-{k:05d}-of-{len(plan):05d}", split, make_documents(rng, shape, n), shape)
        for k, (split, n) in enumerate(plan)
    ]
    manifest = _describe(shards, shape)
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))
    return folder


def make_documents(rng: np.random.Generator, shape: Shape, n_tokens: int) -> list[TokenizedDocument]:
    """Random documents of about this many tokens together."""
    lengths = rng.geometric(1 / shape.sentence_tokens, size=1 + int(2 * n_tokens / shape.sentence_tokens))
    lengths = np.minimum(lengths, 60_000)
    sentences = lengths[: 1 + int(np.searchsorted(np.cumsum(lengths), n_tokens))].astype(np.uint16)
    ids = _draw_ids(rng, int(sentences.sum(dtype=np.int64)), shape.vocabulary_size)
    counts = rng.geometric(1 / shape.document_sentences, size=sentences.size)
    ends = np.minimum(np.cumsum(counts), sentences.size)
    ends = ends[: 1 + int(np.searchsorted(ends, sentences.size))]
    token_ends = np.cumsum(sentences, dtype=np.int64)[ends - 1]
    return [
        TokenizedDocument(k.to_bytes(16, "big"), ids[a:b], sentences[c:d])
        for k, (a, b, c, d) in enumerate(
            zip(np.append(0, token_ends[:-1]), token_ends, np.append(0, ends[:-1]), ends, strict=True)
        )
    ]


def _draw_ids(rng: np.random.Generator, n: int, vocabulary_size: int) -> NDArray[np.uint16]:
    n_ordinary = vocabulary_size - 5
    ranks = np.minimum(np.exp(rng.random(n) * np.log(n_ordinary)).astype(np.int64), n_ordinary - 1)  # density 1 / rank
    places = np.arange(n)
    drawn = np.maximum.accumulate(np.where(rng.random(n) < 0.5, 0, places))  # the last one that follows no other
    for distance in range(1, 1 + int((places - drawn).max())):
        following = np.flatnonzero(places - drawn == distance)
        ranks[following] = (ranks[following - 1] * 7 + 1) % n_ordinary
    return np.asarray(4 + ranks, np.uint16)


def _make_shard(folder: Path, name: str, split: str, documents: list[TokenizedDocument], shape: Shape) -> ShardEntry:
    contents = write_shard(folder / f"{name}.tar", documents, block_tokens=shape.block_tokens)
    lineage = FileEntry(f"{name}.parquet", 0, hashlib.sha256(b"").hexdigest(), contents.n_documents)
    (folder / lineage.name).write_bytes(b"")  # random documents come from nowhere
    return make_shard_entry(contents, stem=name, split=split, lineage=lineage)


def _describe(shards: list[ShardEntry], shape: Shape) -> Manifest:
    settings = shape._asdict()
    n_documents = sum(shard.n_documents for shard in shards)
    fingerprint = hashlib.sha256(shape.vocabulary.encode()).hexdigest()
    return Manifest(
        name="random",
        code_version="0.1.0",
        settings=settings,
        settings_hash=settings_hash(settings),
        inputs=(),
        vocabulary=VocabularyEntry("vocab.json", 0, fingerprint, fingerprint, shape.vocabulary_size, "fairseq"),
        books=Books(n_documents, n_documents, {}, {}),
        counts=Counts(
            n_documents,
            sum(s.n_sentences for s in shards),
            sum(s.n_tokens for s in shards),
            text_bytes=0,
            administrative=0,
        ),
        statistics={"languages": {}, "domains": {"distinct": 0, "top": []}, "characters": {}, "duplicates": {}},
        documents=(),
        rejected=(),
        shards=tuple(shards),
        report=None,
    )
