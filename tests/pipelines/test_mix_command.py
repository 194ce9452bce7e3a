"""`prep-shards mix` as a user runs it: what it writes and says, and which runs it does not mix."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpe.manifest import (
    Books,
    Counts,
    Manifest,
    ShardEntry,
    VocabularyEntry,
    dump_manifest,
    load_manifest,
    settings_hash,
)
from bpe.mixture import load_mixture
from pipelines.prep_shards import main
from pipelines.sharding import EncodedDocument, is_held_out, write_documents


def make_documents(ids: range, seed: int) -> list[EncodedDocument]:
    rng = np.random.default_rng(seed)
    documents = []
    for number in ids:
        tokens = rng.integers(4, 500, 50).astype("<u2")
        place = hashlib.blake2b(b"%d" % number, digest_size=16).digest()
        lengths = np.array([20, 30], "<u2")
        url = f"http://example.com/{number}"
        documents.append(EncodedDocument(place, tokens.tobytes(), lengths.tobytes(), url, "a", number))
    return sorted(documents, key=lambda one: one.document_id)


def make_run(
    folder: Path, ids: range, *, held_out: float = 0.2, vocabulary: str = "1" * 64, encoding: str = "fairseq"
) -> Path:
    """A finished run of random documents with real lineage, split by their ids as every run is."""
    (folder / "shards").mkdir(parents=True)
    documents = make_documents(ids, seed=len(folder.name))
    shards: list[ShardEntry] = []
    for split, index in (("train", 0), ("held-out", 0)):
        chosen = [one for one in documents if is_held_out(one.document_id, held_out) == (split == "held-out")]
        if chosen:
            name = f"run-{split}-{index:05d}-of-00001"
            shards.append(write_documents(str(folder), name, chosen, split=split, block_tokens=500))
    settings: dict[str, object] = {"corpus": folder.name, "held_out": held_out}
    manifest = Manifest(
        name=folder.name,
        code_version="0.1.0",
        settings=settings,
        settings_hash=settings_hash(settings),
        inputs=(),
        vocabulary=VocabularyEntry("vocab.json", 9, "2" * 64, vocabulary, 500, encoding),
        books=Books(len(ids), len(ids), {}, {}),
        counts=Counts(len(ids), 2 * len(ids), 50 * len(ids), 0, 0),
        statistics={"languages": {}, "domains": {"distinct": 0, "top": []}, "characters": {}, "duplicates": {}},
        documents=(),
        rejected=(),
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
        report=None,
    )
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))
    return folder


@pytest.fixture
def news(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "news", range(200))


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "books", range(1_000, 1_060))


def mix(*sources: object, output: Path, flags: tuple[str, ...] = ()) -> int:
    return main(["mix", "--source", *map(str, sources), "--output", str(output), *flags])


def test_a_mixture_names_runs_relative_to_itself_with_hash_and_weight(
    news: Path, books: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mix(f"{news}:0.5", f"{books}:2", output=tmp_path / "mixed") == 0
    mixture = load_mixture(tmp_path / "mixed")
    assert [(one.run, one.weight) for one in mixture.sources] == [("../runs/news", "0.5"), ("../runs/books", "2")]
    for one, run in zip(mixture.sources, (news, books), strict=True):
        assert one.manifest_sha256 == hashlib.sha256((run / "manifest.json").read_bytes()).hexdigest()
    assert mixture.vocabulary == ("1" * 64, "fairseq", 500)
    assert str(tmp_path) not in (tmp_path / "mixed" / "mixture.json").read_text()
    said = capsys.readouterr().out
    tokens = {run: sum(s.n_tokens for s in load_manifest(run).shards if s.split == "train") for run in (news, books)}
    assert f"news: {tokens[news]:,} tokens in" in said
    assert f"weight 2: {2 * tokens[books]:,} an epoch" in said


def test_a_mixture_and_its_runs_may_be_moved_together(news: Path, tmp_path: Path) -> None:
    assert mix(news, output=tmp_path / "runs" / "mixed") == 0
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    (source,) = load_mixture(tmp_path / "elsewhere" / "mixed").sources
    assert (tmp_path / "elsewhere" / "mixed" / source.run / "manifest.json").is_file()
    assert source.weight == "1"


def test_the_same_mixture_again_is_no_change_and_another_needs_overwrite(
    news: Path, books: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mixed"
    assert mix(news, books, output=output) == 0
    before = (output / "mixture.json").read_bytes()
    assert mix(news, books, output=output) == 0
    assert (output / "mixture.json").read_bytes() == before
    assert mix(f"{news}:3", books, output=output) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (output / "mixture.json").read_bytes() == before
    assert mix(f"{news}:3", books, output=output, flags=("--overwrite",)) == 0
    assert load_mixture(output).sources[0].weight == "3"


def test_a_document_held_out_in_one_run_is_not_trained_on_from_another(
    news: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = make_run(tmp_path / "again", range(100, 300))  # half of the same documents, the same share held out
    assert mix(news, again, output=tmp_path / "mixed") == 0
    wider = make_run(tmp_path / "wider", range(100, 300), held_out=0.5)
    shared = [one.document_id for one in make_documents(range(100, 200), 0)]
    n_leaks = sum(is_held_out(one, 0.5) and not is_held_out(one, 0.2) for one in shared)
    assert n_leaks > 0
    assert mix(news, wider, output=tmp_path / "refused") == 1
    complaint = capsys.readouterr().err
    assert f"{n_leaks} documents to train on are held out in {wider}" in complaint
    assert str(news / "manifest.json") in complaint
    assert "--held-out" in complaint
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("make", "status", "says"),
    [
        (lambda news, tmp: [f"{news}:0"], 2, "'0' is no weight"),
        (lambda news, tmp: [f"{news}:heavy"], 2, "write RUN:WEIGHT"),
        (lambda news, tmp: [f"s3://bucket/{news.name}:1"], 2, "fetch it first"),
        (lambda news, tmp: [f"{tmp}/nowhere:1"], 1, "no manifest, so there is no finished run here"),
        (lambda news, tmp: [news, f"{news}:2"], 2, "named twice"),
        (lambda news, tmp: [news, make_run(tmp / "x", range(9), vocabulary="4" * 64)], 1, "encode both with one"),
        (lambda news, tmp: [news, make_run(tmp / "x", range(9), encoding="lossless")], 1, "encode both with one"),
        (lambda news, tmp: [make_run(tmp / "x", range(500, 520), held_out=1.0)], 1, "no shards to train on"),
        (lambda news, tmp: [f"{make_run(tmp / 'x', range(5))}:0.01"], 2, "hold no block"),
    ],
)
def test_what_cannot_be_mixed_is_said_in_one_line(
    news: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, status: int, says: str
) -> None:
    assert mix(*make(news, tmp_path), output=tmp_path / "mixed") == status
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "mixed").exists()


def test_a_shard_that_is_missing_or_was_cut_is_named(
    news: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = next((news / "shards").glob("*train*.tar"))
    shard.write_bytes(shard.read_bytes()[:-512])
    assert mix(news, output=tmp_path / "mixed") == 1
    assert shard.name in capsys.readouterr().err
    shard.unlink()
    assert mix(news, output=tmp_path / "mixed") == 1
    assert f"{shard.name}: missing" in capsys.readouterr().err


def test_a_mixture_is_not_put_into_the_folder_of_a_run(news: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mix(news, output=news) == 2
    assert "holds a run" in capsys.readouterr().err
