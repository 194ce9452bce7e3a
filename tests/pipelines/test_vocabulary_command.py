"""`prep-shards vocabulary` as a user runs it: what it writes, says, and how it ends."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.vocabulary import load_vocabulary
from pipelines.prep_shards import main

TEXT = """The lighthouse keeper counted the ships that passed. She wrote each name into a ledger.

No ship was ever late: the keeper's clock was slow. The tide-table lay beside the ledger.
"""


def train(folder, *flags, name="vocab.json", size="300"):
    return main(["vocabulary", "train", "--output", str(folder / name), "--size", size, *map(str, flags)])


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 3)
    return path


def test_training_says_what_it_made(tmp_path, text_file, capsys):
    assert train(tmp_path, "--input", text_file) == 0
    vocabulary = load_vocabulary(tmp_path / "vocab.json")
    assert vocabulary.size == 300
    said = capsys.readouterr().out
    assert "vocabulary: 300 ids" in said
    assert f"fingerprint: {vocabulary.fingerprint}" in said
    assert "trained on 12 sentences" in said
    assert "filler" not in said


def test_text_gzipped_text_and_documents_give_one_vocabulary(tmp_path, text_file):
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(text_file.read_bytes()))
    pq.write_table(pa.table({"text": [TEXT] * 3}), tmp_path / "text.parquet")
    made = []
    for name in ("text.txt", "text.txt.gz", "text.parquet"):
        assert train(tmp_path, "--input", tmp_path / name, name=f"{name}.json") == 0
        made.append((tmp_path / f"{name}.json").read_bytes())
    assert made[0] == made[1] == made[2]


def test_words_at_the_start_of_a_sentence_are_trained_without_a_blank(tmp_path, text_file):
    train(tmp_path, "--input", text_file, "--min-frequency", 1, size="600")
    assert {"The", "Ġthe"} <= set(load_vocabulary(tmp_path / "vocab.json").tokens)


def test_too_little_text_is_said(tmp_path, text_file, capsys):
    assert train(tmp_path, "--input", text_file, size="5000") == 0
    assert "of 5,000 ids are filler; use more text or a smaller --size" in capsys.readouterr().out
    assert load_vocabulary(tmp_path / "vocab.json").size == 5_000


def test_max_bytes_stops_after_the_document_that_reaches_it(tmp_path, text_file, capsys):
    assert train(tmp_path, "--input", text_file, "--max-bytes", 10, size="270") == 0
    assert "trained on 2 sentences" in capsys.readouterr().out


def test_a_truncated_file_is_said_and_what_stands_before_is_used(tmp_path, text_file, capsys):
    data = gzip.compress(text_file.read_bytes() + b"".join(b"%d\n" % k for k in range(20_000)))
    (tmp_path / "cut.txt.gz").write_bytes(data[:-100])
    assert train(tmp_path, "--input", tmp_path / "cut.txt.gz") == 0
    assert "damaged: cut.txt.gz at byte" in capsys.readouterr().out


def test_a_vocabulary_is_replaced_whole(tmp_path, text_file, capsys):
    for _ in range(2):
        assert train(tmp_path, "--input", text_file) == 0
    assert "(replaced)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt", "vocab.json"]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--input", "{}/text.txt", "--size", "10"], "size is 10"),
        (["--input", "{}/text.txt", "--min-frequency", "0"], "min_frequency is 0"),
        (["--input", "{}/text.txt", "--max-bytes", "-1"], "--max-bytes is -1"),
        (["--input", "{}/nothing.txt"], "nothing.txt"),
        (["--input", "{}"], "manifest.json"),
        (["--input", "{}/empty.txt"], "no text"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(tmp_path, text_file, capsys, flags, found):
    (tmp_path / "empty.txt").write_bytes(b"\n\n")
    assert train(tmp_path, *[flag.format(tmp_path) for flag in flags]) == 2
    complaint = capsys.readouterr().err
    assert found in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "vocab.json").exists()


def test_gpt2s_files_become_robertas_vocabulary(tmp_path, shared_data, capsys):
    folder = shared_data / "bpe"
    files = ["--encoder", folder / "encoder.json", "--merges", folder / "vocab.bpe", "--dict", folder / "dict.txt"]
    output = tmp_path / "vocab.json"
    assert main(["vocabulary", "import-gpt2", *map(str, files), "--output", str(output)]) == 0
    assert "vocabulary: 50,265 ids" in capsys.readouterr().out
    assert load_vocabulary(output).tokens[50_260] == "<|endoftext|>"


def test_files_that_are_not_gpt2s_are_bad_data_and_exit_1(tmp_path, capsys):
    for name in ("encoder.json", "vocab.bpe", "dict.txt"):
        (tmp_path / name).write_text("{}")
    files = [
        "--encoder",
        tmp_path / "encoder.json",
        "--merges",
        tmp_path / "vocab.bpe",
        "--dict",
        tmp_path / "dict.txt",
    ]
    assert main(["vocabulary", "import-gpt2", *map(str, files), "--output", str(tmp_path / "vocab.json")]) == 1
    assert "encoder.json" in capsys.readouterr().err
