"""`prep-shards encode`: plain text and documents become shards, with the same books and the same care for damage."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from bpe.encoding import Encoder
from bpe.manifest import load_manifest
from bpe.shards import block_documents, open_shard
from bpe.vocabulary import load_vocabulary

TEXTS = [
    "The harbour froze over in the night. Nobody had seen that before.\nThe ferry stayed where it was.",
    "A second text, with  two blanks,\ta tab and an accent: café. <mask> is only a word here.",
    "Third and last.",
]


def decode_run(output: Path) -> list[str]:
    """The texts of all documents of a run, as its own vocabulary copy decodes them."""
    manifest = load_manifest(output)
    assert manifest.vocabulary is not None
    encoder = Encoder(load_vocabulary(output / "vocab.json"), mode=manifest.vocabulary.encoding)
    texts = []
    for entry in manifest.shards:
        with open_shard(output / entry.name, entry) as shard:
            for block in range(len(shard)):
                texts += [encoder.decode(document.ids) for document in block_documents(shard.block(block))]
    return texts


def books_of(output: Path) -> dict[str, object]:
    books: dict[str, object] = json.loads((output / "manifest.json").read_text())["books"]
    return books


@pytest.fixture
def encode(command, vocabulary: Path, tmp_path: Path):
    def run(*flags: str, status: int = 0, name: str = "out"):
        words = ["prep-shards", "encode", "--vocabulary", str(vocabulary), "--held-out", "0", *flags]
        return command(*words, "--output", str(tmp_path / name), status=status)

    return run


def test_lossless_shards_decode_to_the_very_texts(encode, tmp_path: Path):
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.txt").write_text(text)
    encode("--input", str(tmp_path / "*.txt"), "--encoding", "lossless")
    assert sorted(decode_run(tmp_path / "out")) == sorted(TEXTS)
    assert books_of(tmp_path / "out") == {"read": 3, "kept": 3, "rejected": {}, "broken": {}}


def test_blank_lines_part_documents(encode, tmp_path: Path):
    (tmp_path / "all.txt").write_text("\n\n".join(TEXTS) + "\n")
    encode("--input", str(tmp_path / "all.txt"), "--documents", "blank-line", "--encoding", "lossless")
    assert sorted(text.strip() for text in decode_run(tmp_path / "out")) == sorted(TEXTS)
    lineage = ds.dataset(list((tmp_path / "out" / "shards").glob("*.parquet"))).to_table()
    data = (tmp_path / "all.txt").read_bytes()
    assert set(lineage["source"].to_pylist()) == {"all.txt"}
    for offset in lineage["offset"].to_pylist():
        assert data[offset:].decode().startswith(tuple(text[:5] for text in TEXTS))


def test_a_document_without_a_word_is_rejected_and_counted(encode, tmp_path: Path):
    (tmp_path / "a.txt").write_text(TEXTS[0])
    (tmp_path / "empty.txt").write_text(" \n \n")
    encode("--input", str(tmp_path / "*.txt"))
    assert books_of(tmp_path / "out") == {"read": 2, "kept": 1, "rejected": {"empty_text": 1}, "broken": {}}


def test_a_truncated_gzip_keeps_what_stands_before_and_is_counted_as_broken(encode, command, tmp_path: Path):
    lines = "".join(f"Document number {n} is about the weather on day {n * 7919 % 1000}.\n\n" for n in range(5_000))
    data = gzip.compress(lines.encode(), mtime=0)
    (tmp_path / "cut.txt.gz").write_bytes(data[: len(data) // 2])
    encode("--input", str(tmp_path / "cut.txt.gz"), "--documents", "blank-line")
    books = books_of(tmp_path / "out")
    assert books["broken"] == {"truncated": 1}
    assert 1_000 < books["kept"] < 4_000
    command("inspect-shards", "verify", str(tmp_path / "out"))


def test_a_foreign_parquet_file_needs_only_a_column_text(encode, tmp_path: Path):
    pq.write_table(pa.table({"text": [*TEXTS, None], "score": [1, 2, 3, 4]}), tmp_path / "foreign.parquet")
    encode("--input", str(tmp_path / "foreign.parquet"), "--encoding", "lossless")
    assert sorted(decode_run(tmp_path / "out")) == sorted(TEXTS)
    assert books_of(tmp_path / "out")["rejected"] == {"empty_text": 1}
    pq.write_table(pa.table({"body": TEXTS}), tmp_path / "other.parquet")
    done = encode("--input", str(tmp_path / "other.parquet"), name="other", status=1)
    assert "no column text; its columns are body" in done.stderr


def test_a_runs_documents_give_the_shards_that_the_run_itself_wrote(encode, reference_run: Path, tmp_path: Path):
    encode("--input", str(reference_run), "--held-out", "0.05")
    ours, theirs = load_manifest(tmp_path / "out"), load_manifest(reference_run)
    assert [(entry.name, entry.sha256) for entry in ours.shards] == [(e.name, e.sha256) for e in theirs.shards]


@pytest.mark.parametrize(("name", "says"), [("crawl.warc.gz", "beam run"), ("missing.txt", "missing.txt")])
def test_what_cannot_be_encoded_is_said_in_one_line(encode, tmp_path: Path, name: str, says: str):
    if name.startswith("crawl"):
        (tmp_path / name).write_bytes(b"x")
    done = encode("--input", str(tmp_path / name), status=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
