"""Processes that want one shard share one file of the cache, and none waits for another that keeps the file open."""

import fcntl
import threading
from pathlib import Path

import numpy as np

from bpe.cache_settings import Cache
from bpe.entries import FileEntry
from bpe.places import StorePath
from bpe.shard_cache import _fill
from bpe.shards import make_shard_entry, write_shard
from bpe.tokenized import TokenizedDocument


def test_who_waits_for_a_shard_is_told_when_it_is_there_though_the_other_keeps_it_open(tmp_path: Path):
    document = TokenizedDocument(bytes(16), np.arange(9, dtype="<u2"), np.array([9], "<u2"))
    contents = write_shard(tmp_path / "a.tar", [document])
    entry = make_shard_entry(contents, stem="a", split="train", lineage=FileEntry("a.parquet", 1, "0" * 64, 1))
    path, part = tmp_path / f"{entry.sha256}.tar", tmp_path / f"{entry.sha256}.part"
    found: list[object] = []
    with part.open("a+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # it is being fetched
        place = StorePath("s3://nowhere/a.tar")  # which nobody asks
        waiting = threading.Thread(target=lambda: found.append(_fill(Cache(tmp_path, 1 << 30), path, place, entry)))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        part.rename(path)
        fcntl.flock(other, fcntl.LOCK_SH)  # it is there, and in use
        waiting.join(30)
        assert not waiting.is_alive()
    assert found == [None]
    assert not part.exists()
