"""A shard from which documents were taken is the shard that their absence would have given."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.removal import remaining_documents, rewrite_shard_to
from bpe.shards import block_documents, check_shard, open_shard, write_shard, write_shard_to


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 60),
    seed=st.integers(0, 1_000),
    block_tokens=st.sampled_from([1, 300, 1_024, 1 << 20]),
    data=st.data(),
)
def test_a_rewritten_shard_is_the_shard_of_the_remaining_documents(
    documents, entry, tmp_path_factory, n, seed, block_tokens, data
):
    folder = tmp_path_factory.mktemp("shards")
    (folder / "shards").mkdir()
    written = documents(n, seed=seed)
    removed = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda one: not all(one))))
    path = folder / "shards" / "x.tar"
    row = entry("x", write_shard(path, written, block_tokens=block_tokens))
    found, wanted = io.BytesIO(), io.BytesIO()
    with open_shard(path, row) as shard:
        contents = rewrite_shard_to(found, shard, removed, block_tokens=block_tokens)
    stay = [one for one, gone in zip(written, removed, strict=True) if not gone]
    expected = write_shard_to(wanted, stay, block_tokens=block_tokens)
    assert found.getvalue() == wanted.getvalue()
    assert contents.sha256 == expected.sha256
    assert contents.placements == expected.placements
    new = folder / "shards" / "y.tar"
    new.write_bytes(found.getvalue())
    check_shard(new, entry("y", contents))


def test_other_block_borders_hold_the_same_documents(shard):
    path, row = shard
    removed = np.zeros(row.n_documents, np.bool_)
    removed[::3] = True
    with open_shard(path, row) as opened:
        before = [one for k in range(len(opened)) for one in block_documents(opened.block(k))]
        after = list(remaining_documents(opened, removed))
        stay = [one for one, gone in zip(before, removed, strict=True) if not gone]
        assert len(after) == len(stay)
        for one, two in zip(after, stay, strict=True):
            assert np.array_equal(one.ids, two.ids)
            assert np.array_equal(one.sentence_lengths, two.sentence_lengths)


def test_what_does_not_fit_the_shard_is_refused(shard):
    path, row = shard
    with open_shard(path, row) as opened:
        with pytest.raises(ValueError, match="holds 40 documents, but 39 are spoken of"):
            rewrite_shard_to(io.BytesIO(), opened, np.zeros(39, np.bool_), block_tokens=1_024)
        with pytest.raises(ValueError, match="no document would remain"):
            rewrite_shard_to(io.BytesIO(), opened, np.ones(40, np.bool_), block_tokens=1_024)


def test_damage_is_not_copied(shard):
    path, row = shard
    data = bytearray(path.read_bytes())
    data[int(row.blocks.offset[1]) + 512] ^= 1
    path.write_bytes(bytes(data))
    removed = np.zeros(row.n_documents, np.bool_)
    removed[0] = True
    with open_shard(path, row) as opened, pytest.raises(ShardError, match="block 1 has crc32c"):
        rewrite_shard_to(io.BytesIO(), opened, removed, block_tokens=1_024)
