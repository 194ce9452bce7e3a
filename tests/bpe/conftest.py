"""Documents, shards and vocabularies that the tests of bpe share; all made here, on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bpe.gpt2_files import import_gpt2
from bpe.manifest import (
    Books,
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    ShardEntry,
    VocabularyEntry,
    settings_hash,
)
from bpe.shards import ShardContents, make_shard_entry, write_shard
from bpe.tokenized import TokenizedDocument
from bpe.vocabulary import Vocabulary


def make_documents(n: int, *, seed: int = 0, max_sentences: int = 12, max_tokens: int = 40) -> list[TokenizedDocument]:
    rng = np.random.default_rng(seed)
    documents = []
    for number in range(n):
        lengths = rng.integers(1, max_tokens, size=rng.integers(1, max_sentences)).astype(np.uint16)
        ids = rng.integers(4, 50_264, size=int(lengths.sum())).astype(np.uint16)
        documents.append(TokenizedDocument(number.to_bytes(16, "big"), ids, lengths))
    return documents


def make_entry(name: str, contents: ShardContents, *, split: str = "train") -> ShardEntry:
    return make_shard_entry(
        contents,
        stem=f"shards/{name}",
        split=split,
        lineage=FileEntry(f"shards/{name}.parquet", 7, "1" * 64, contents.n_documents),
    )


def make_manifest(shards: tuple[ShardEntry, ...]) -> Manifest:
    settings: dict[str, object] = {"corpus": "test", "held_out": 0.05, "nested": {"b": [1, 2], "a": None}}
    n = sum(shard.n_documents for shard in shards)
    return Manifest(
        name="test",
        code_version="0.1.0",
        settings=settings,
        settings_hash=settings_hash(settings),
        inputs=(InputEntry("crawl/a.warc.gz", 12, "f1"), InputEntry("b: odd\udcff.txt", 0, "f2")),
        vocabulary=VocabularyEntry("vocab.json", 9, "2" * 64, "3" * 64, 50_265, "fairseq"),
        books=Books(n + 3, n, {"too_short": 2}, {"truncated": 1}),
        counts=Counts(n, sum(s.n_sentences for s in shards), sum(s.n_tokens for s in shards), 1_000, 4),
        statistics={
            "languages": {"en": n, "de": 2},
            "domains": {"distinct": 1, "top": [["example.com", n]]},
            "characters": {"1024": n},
            "duplicates": {"url": 0, "text": 0},
        },
        documents=(FileEntry("documents/part-0.parquet", 5, "4" * 64, n),),
        rejected=(FileEntry("rejected/part-0.parquet", 6, "5" * 64, 3),),
        shards=shards,
        report=FileEntry("report.html", 8, "6" * 64),
    )


@pytest.fixture(scope="session")
def documents() -> Callable[..., list[TokenizedDocument]]:
    return make_documents


@pytest.fixture(scope="session")
def entry() -> Callable[..., ShardEntry]:
    return make_entry


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, ShardEntry]:
    """A shard of five blocks and its entry."""
    path = tmp_path / "shards" / "x.tar"
    path.parent.mkdir()
    return path, make_entry("x", write_shard(path, make_documents(40), block_tokens=1_024))


@pytest.fixture
def manifest(shard: tuple[Path, ShardEntry]) -> Manifest:
    return make_manifest((shard[1],))


@pytest.fixture(scope="session")
def roberta(shared_data: Path) -> Vocabulary:
    """RoBERTa's vocabulary from GPT-2's files."""
    folder = shared_data / "bpe"
    return import_gpt2(folder / "encoder.json", folder / "vocab.bpe", folder / "dict.txt")
