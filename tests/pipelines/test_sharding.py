"""Where a document goes is a function of its id and the run's size, and of nothing else."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.shards import check_shard
from pipelines.settings import ShardRules
from pipelines.sharding import (
    EncodedDocument,
    ShardCounts,
    count_shards,
    is_held_out,
    shard_file_name,
    shard_key,
    write_documents,
)

ids = st.binary(min_size=16, max_size=16)


@given(ids, st.integers(1, 50))
def test_a_document_keeps_its_shard(document_id, n_shards):
    rules, counts = ShardRules(held_out=0.1), ShardCounts(n_shards, 1)
    key = shard_key(document_id, rules, counts)
    assert key == shard_key(document_id, rules, counts)
    assert key.startswith("held-out/") == is_held_out(document_id, 0.1)
    assert int(key.split("/")[1]) < max(counts)


def test_the_held_out_share_is_what_was_asked_for():
    rng = np.random.default_rng(7)
    share = np.mean([is_held_out(rng.bytes(16), 0.05) for _ in range(20_000)])
    assert abs(share - 0.05) < 0.006


def test_a_document_held_out_at_a_small_share_is_held_out_at_a_larger_one():
    rng = np.random.default_rng(8)
    for document_id in (rng.bytes(16) for _ in range(2_000)):
        assert is_held_out(document_id, 0.1) or not is_held_out(document_id, 0.01)


def test_shards_are_counted_from_the_text():
    assert count_shards(0, ShardRules()) == ShardCounts(1, 1)
    assert count_shards(0, ShardRules(held_out=0)) == ShardCounts(1, 0)
    assert count_shards(10 << 30, ShardRules()).train == pytest.approx(10 * 1024 / 4.4 * 2 / 256, rel=0.1)
    assert count_shards(10 << 30, ShardRules(n_shards=7)).train == 7


def test_names_say_their_place():
    assert shard_file_name("ccnews", "train/00003", ShardCounts(64, 1)) == "ccnews-00003-of-00064"


def test_a_shard_and_its_lineage_agree(tmp_path):
    rng = np.random.default_rng(9)
    documents = []
    for number in range(300):
        lengths = rng.integers(1, 40, size=rng.integers(1, 12)).astype("<u2")
        tokens = rng.integers(4, 5_000, size=int(lengths.sum())).astype("<u2")
        url = f"http://a.example/{number}"
        documents.append(EncodedDocument(os.urandom(16), tokens.tobytes(), lengths.tobytes(), url, "a", number))
    documents.sort(key=lambda one: one.document_id)
    (tmp_path / "shards").mkdir()
    entry = write_documents(str(tmp_path), "x-00000-of-00001", documents, split="train", block_tokens=4_096)
    check_shard(tmp_path / entry.name, entry)
    lineage = pq.read_table(tmp_path / entry.lineage.name)
    assert lineage.num_rows == entry.n_documents == 300
    assert sum(lineage["n_tokens"].to_pylist()) == entry.n_tokens
    assert lineage["document_id"].to_pylist() == [one.document_id for one in documents]
    assert max(lineage["block"].to_pylist()) == len(entry.blocks.offset) - 1 > 5
