"""What is written comes back, as arrays on the file, for our reader, tarfile and webdataset alike."""

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.shards import (
    block_documents,
    check_shard,
    document_at,
    find_borders,
    open_shard,
    scan_shard,
    write_shard,
    write_shard_to,
)
from bpe.tokenized import TokenizedDocument

sentences = st.lists(st.integers(1, 30), max_size=8)
texts = st.lists(sentences, max_size=25)


def build(shapes):
    """Documents of these sentence lengths, ids counting up."""
    documents, next_id = [], 4
    for k, lengths in enumerate(shapes):
        ids = np.arange(next_id, next_id + sum(lengths)).astype(np.uint16)
        documents.append(TokenizedDocument(k.to_bytes(16, "big"), ids, np.array(lengths, np.uint16)))
        next_id += sum(lengths)
    return documents


def same(one, other):
    return np.array_equal(one.ids, other.ids) and np.array_equal(one.sentence_lengths, other.sentence_lengths)


@given(texts, st.integers(1, 200))
def test_reading_what_was_written_gives_it_back(tmp_path_factory, entry, shapes, block_tokens):
    documents = build(shapes)
    path = tmp_path_factory.mktemp("shard") / "x.tar"
    contents = write_shard(path, documents, block_tokens=block_tokens)
    row = entry("x", contents)
    check_shard(path, row)
    with open_shard(path, row) as shard:
        back = [one for k in range(len(shard)) for one in block_documents(shard.block(k))]
    assert len(back) == len(documents)
    assert all(map(same, back, documents))
    assert contents.n_tokens == sum(one.ids.size for one in documents)
    assert contents.n_sentences == sum(one.sentence_lengths.size for one in documents)
    assert len(contents.placements) == contents.n_documents == len(documents)


@given(texts, st.integers(1, 200))
def test_what_the_manifest_needs_is_known_without_reading_again(shapes, block_tokens):
    stream = io.BytesIO()
    contents = write_shard_to(stream, build(shapes), block_tokens=block_tokens)
    data = stream.getvalue()
    assert contents.n_bytes == len(data)
    assert contents.sha256 == hashlib.sha256(data).hexdigest()


def test_a_block_closes_once_it_is_full_and_a_document_never_spans_blocks(tmp_path, entry):
    documents = build([[60], [60], [500], [1], [99]])
    contents = write_shard(tmp_path / "x.tar", documents, block_tokens=100)
    assert contents.blocks.n_tokens.tolist() == [120, 500, 100]
    assert contents.placements == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    with open_shard(tmp_path / "x.tar", entry("x", contents)) as shard:
        for document, place in zip(documents, contents.placements, strict=True):
            assert same(document_at(shard.block(place.block), place.position), document)


def test_blocks_lie_on_the_file_and_cannot_be_written_to(shard):
    path, row = shard
    block = open_shard(path, row).block(1)
    for array in block:
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.ctypes.data % 512 == 0  # pages are multiples of 512, so payloads are aligned in memory too
    assert [array.dtype.str for array in block] == ["<u2", "<u2", "<u4"]


def test_arrays_outlive_their_shard(shard):
    path, row = shard
    with open_shard(path, row) as opened:
        block = opened.block(0)
    path.unlink()
    assert int(block.sentence_lengths.sum(dtype=np.int64)) == block.tokens.size


def test_borders_tell_where_documents_begin(tmp_path, entry):
    contents = write_shard(tmp_path / "x.tar", build([[3, 4], [], [5]]))
    borders = find_borders(open_shard(tmp_path / "x.tar", entry("x", contents)).block(0))
    assert borders.tokens.tolist() == [0, 7, 7, 12]
    assert borders.sentences.tolist() == [0, 2, 2, 3]


def test_writing_is_deterministic_and_any_stream_will_do(documents, tmp_path):
    @dataclass
    class Trickle:
        """Takes at most 1,000 bytes at a time, as raw streams may, and cannot seek."""

        data: bytearray = field(default_factory=bytearray)

        def write(self, data):
            self.data += data[:1000]
            return min(len(data), 1000)

    trickle = Trickle()
    one = write_shard_to(trickle, documents(50), block_tokens=500)
    two = write_shard(tmp_path / "x.tar", iter(documents(50)), block_tokens=500)
    assert bytes(trickle.data) == (tmp_path / "x.tar").read_bytes()
    assert one.sha256 == two.sha256


def test_the_tar_itself_tells_what_the_manifest_says(shard):
    path, row = shard
    for found, said in zip(scan_shard(path), row.blocks, strict=True):
        assert np.array_equal(found, said)


def test_tarfile_reads_a_shard_as_plain_files_of_nobody(shard):
    path, _ = shard
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    assert [one.name for one in members[:4]] == ["00000000.tok", "00000000.sen", "00000000.doc", "00000001.tok"]
    assert all(one.isreg() for one in members)
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert path.stat().st_size == members[-1].offset_data + -(-members[-1].size // 512) * 512 + 1024


def test_webdataset_reads_every_block_as_a_sample(shard):
    webdataset = pytest.importorskip("webdataset")
    path, row = shard
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{k:08d}" for k in range(row.blocks.offset.size)]
    opened = open_shard(path, row)
    for k, sample in enumerate(samples):
        for part, array in zip(("tok", "sen", "doc"), opened.block(k), strict=True):
            assert sample[part] == array.tobytes()


def test_an_empty_shard_is_a_shard(tmp_path, entry):
    contents = write_shard(tmp_path / "x.tar", [])
    assert (tmp_path / "x.tar").read_bytes() == bytes(1024)
    check_shard(tmp_path / "x.tar", entry("x", contents))


@pytest.mark.parametrize(
    ("ids", "lengths"),
    [([5, 6, 7], [2]), ([5, 6, 7], [2, 2]), ([5, 6], [2, 0]), ([], [0])],
    ids=["too few", "too many", "empty sentence", "only an empty sentence"],
)
def test_a_document_that_does_not_add_up_is_refused_by_its_id(tmp_path, ids, lengths):
    good = build([[1, 2], [3]])
    bad = TokenizedDocument(b"\xab" * 16, np.array(ids, np.uint16), np.array(lengths, np.uint16))
    with pytest.raises(ValueError, match="ab" * 16):
        write_shard(tmp_path / "x.tar", [*good, bad, *good])


def test_ids_of_another_width_are_refused(tmp_path):
    bad = TokenizedDocument(b"\xcd" * 16, np.array([1, 2], np.int64), np.array([2], np.uint16))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint16"):
        write_shard(tmp_path / "x.tar", [bad])


def test_a_missing_shard_is_named(tmp_path, shard):
    with pytest.raises(ShardError, match=r"gone\.tar"):
        open_shard(tmp_path / "gone.tar", shard[1])


def test_asking_for_a_block_that_is_not_there_names_the_shard(shard):
    opened = open_shard(*shard)
    for k in (-1, len(opened)):
        with pytest.raises(ValueError, match=r"x\.tar"):
            opened.block(k)


def test_a_disk_that_is_full_is_the_systems_error(documents):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OSError, match="No space"):
        write_shard(full, documents(10))
