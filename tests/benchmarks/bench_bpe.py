"""Measures bpe on one core: encoding against `tokenizers` and bare tiktoken, shards, a large manifest.

    .venv/bin/python tests/benchmarks/bench_bpe.py

Text and GPT-2's vocabulary are those of $SHARDMILL_DATA (default: ../shared/data beside the checkout).
CPU time, so that a busy machine says nearly the same; read the ratios all the same.
"""

import gzip
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

os.environ["RAYON_NUM_THREADS"] = "1"  # before tokenizers is imported

import numpy as np

from bpe.encoding import Encoder
from bpe.engines import make_plain_tiktoken
from bpe.gpt2_files import import_gpt2
from bpe.layout import BlockTable, block_offsets, block_sizes, shard_bytes
from bpe.manifest import (
    Books,
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    ShardEntry,
    VocabularyEntry,
    dump_manifest,
    parse_manifest,
    settings_hash,
)
from bpe.shards import block_documents, check_shard, open_shard, write_shard
from bpe.tokenized import TokenizedDocument
from bpe.training import train_vocabulary
from bpe.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
PARAGRAPHS = 15  # of a document
T = TypeVar("T")


def main() -> int:
    if not DATA.is_dir():
        print(f"no real data at {DATA}; set SHARDMILL_DATA to its folder")
        return 1
    folder = DATA / "bpe"
    vocabulary = import_gpt2(folder / "encoder.json", folder / "vocab.bpe", folder / "dict.txt")
    documents = read_documents()
    encoded = bench_encoding(vocabulary, documents)
    bench_shards(encoded)
    bench_manifest()
    bench_training(documents)
    return 0


def read_documents() -> list[list[str]]:
    """Documents of the books as sentences, about 100 characters each."""
    documents = []
    for path in sorted((DATA / "books" / "gutenberg").glob("*.gz")):
        text = gzip.decompress(path.read_bytes()).decode("latin-1")
        paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n", text) if one.strip()]
        for start in range(0, len(paragraphs), PARAGRAPHS):
            lines = paragraphs[start : start + PARAGRAPHS]
            documents.append([sentence for line in lines for sentence in re.split(r"(?<=[.!?]) ", line)])
    return documents


def bench_encoding(vocabulary: Vocabulary, documents: list[list[str]]) -> list[TokenizedDocument]:
    n_bytes = sum(len(sentence.encode()) for document in documents for sentence in document)
    n_sentences = sum(map(len, documents))
    title(f"encoding {n_bytes / 1e6:.1f} MB, sentences of {n_bytes / n_sentences:.0f} bytes (MB/s)")
    fairseq, lossless, tiktoken = (
        Encoder(vocabulary),
        Encoder(vocabulary, mode="lossless"),
        make_plain_tiktoken(vocabulary),
    )
    texts = [" ".join(document) for document in documents]
    megabytes = n_bytes / 1e6
    some = documents[::8]
    reference = megabytes / 8 / timed(lambda: [fairseq.encode_with_tokenizers(one) for one in some])[1]
    row("tokenizers, sentence by sentence", reference, reference)
    row("tiktoken, whole documents", megabytes / timed(lambda: [tiktoken(text) for text in texts])[1], reference)
    row("fairseq, first pass", megabytes / timed(lambda: [fairseq.encode(one) for one in documents])[1], reference)
    encoded, seconds = timed(lambda: [fairseq.encode(one) for one in documents])
    row("fairseq, words known", megabytes / seconds, reference)
    pieces = [[one + " " for one in document] for document in documents]
    row("lossless, first pass", megabytes / timed(lambda: [lossless.encode(one) for one in pieces])[1], reference)
    row("lossless, words known", megabytes / timed(lambda: [lossless.encode(one) for one in pieces])[1], reference)
    return [TokenizedDocument(k.to_bytes(16, "big"), *one) for k, one in enumerate(encoded)]


def bench_shards(documents: list[TokenizedDocument]) -> None:
    documents = documents * 8
    tokens = sum(one.ids.size for one in documents) / 1e6
    title(f"shards of {tokens:.1f} M tokens, {1e6 * tokens / len(documents):.0f} a document (M tokens/s)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.tar")
        contents, seconds = timed(lambda: write_shard(path, documents))
        row("write", tokens / seconds)
        entry = shard_entry("x", contents.blocks, n_bytes=contents.n_bytes, sha256=contents.sha256)
        row("verify every byte", tokens / timed(lambda: check_shard(path, entry))[1])
        with open_shard(path, entry) as shard:
            n = len(shard)
            row("read blocks, checksums verified", tokens / timed(lambda: [shard.block(k) for k in range(n)])[1])
            seconds = timed(lambda: [one for k in range(n) for one in block_documents(shard.block(k))])[1]
            row("read documents", tokens / seconds)
        print(f"  {'bytes per token':42}{contents.n_bytes / tokens / 1e6:10.3f}")


def bench_manifest(*, n_shards: int = 10_000, n_blocks: int = 250) -> None:
    title(f"manifest of {n_shards:,} shards of {n_blocks} blocks (seconds)")
    manifest = make_manifest(n_shards, n_blocks)
    data, seconds = timed(lambda: dump_manifest(manifest))
    row("write and check", seconds)
    row("load and check", timed(lambda: parse_manifest(data))[1])


def bench_training(documents: list[list[str]]) -> None:
    sentences = [sentence for document in documents for sentence in document]
    title("training 30,000 ids on the same text (seconds)")
    row("one thread", timed(lambda: train_vocabulary(sentences, size=30_000))[1])


def make_manifest(n_shards: int, n_blocks: int) -> Manifest:
    rng = np.random.default_rng(1)
    ranges = ((524_288, 526_000), (20_000, 30_000), (500, 900))
    tokens, sentences, documents = (rng.integers(low, high, n_blocks) for low, high in ranges)
    sizes = block_sizes(tokens, sentences, documents)
    crc32c = rng.integers(0, 1 << 32, n_blocks, np.uint32)
    blocks = BlockTable(block_offsets(sizes), tokens, sentences, documents, crc32c)
    shards = tuple(shard_entry(f"{k:05d}", blocks, n_bytes=shard_bytes(sizes)) for k in range(n_shards))
    n_tokens, n_sentences, n_documents = (int(n.sum()) * n_shards for n in (tokens, sentences, documents))
    return Manifest(
        name="bench",
        code_version="0",
        settings={},
        settings_hash=settings_hash({}),
        inputs=(InputEntry("a", 1, "f"),),
        vocabulary=VocabularyEntry("vocab.json", 1, "2" * 64, "3" * 64, 50_265, "fairseq"),
        books=Books(n_documents, n_documents, {}, {}),
        counts=Counts(n_documents, n_sentences, n_tokens, 1, 0),
        statistics={"languages": {}, "domains": {"distinct": 0, "top": []}, "characters": {}, "duplicates": {}},
        documents=(),
        rejected=(),
        shards=shards,
        report=None,
    )


def shard_entry(name: str, blocks: BlockTable, *, n_bytes: int, sha256: str = "0" * 64) -> ShardEntry:
    n_documents = int(blocks.n_documents.sum())
    return ShardEntry(
        name=f"shards/{name}.tar",
        bytes=n_bytes,
        sha256=sha256,
        split="train",
        n_documents=n_documents,
        n_sentences=int(blocks.n_sentences.sum()),
        n_tokens=int(blocks.n_tokens.sum()),
        lineage=FileEntry(f"shards/{name}.parquet", 1, "1" * 64, n_documents),
        blocks=blocks,
    )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and its CPU time in seconds."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def title(text: str) -> None:
    print(f"\n{text}")


def row(label: str, value: float, reference: float | None = None) -> None:
    ratio = f"{value / reference:9.1f}x" if reference else ""
    print(f"  {label:42}{value:10.1f}{ratio}")


if __name__ == "__main__":
    sys.exit(main())
