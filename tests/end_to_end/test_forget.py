"""Forgetting in a run over the bundled sample, as a user does it, and everything that looks at the run afterwards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bpe.encoding import Encoder
from bpe.manifest import load_manifest
from bpe.shards import block_documents, open_shard
from bpe.vocabulary import load_vocabulary
from corpora.urls import host_of


def rows_of(run: Path, kind: str) -> list[dict[str, object]]:
    return [row for path in sorted((run / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def texts_of_shards(run: Path) -> list[str]:
    manifest = load_manifest(run)
    encoder = Encoder(load_vocabulary(run / "vocab.json"), mode="fairseq")
    texts = []
    for entry in manifest.shards:
        with open_shard(run / entry.name, entry) as shard:
            for k in range(len(shard)):
                texts += [encoder.decode(document.ids) for document in block_documents(shard.block(k))]
    return texts


@pytest.fixture(scope="module")
def asked_for(reference_run: Path) -> tuple[str, str]:
    """A page, the keeper of a duplicate where there is one, and a domain of others."""
    documents = rows_of(reference_run, "documents")
    keepers = {row["dropped_by"] for row in rows_of(reference_run, "rejected")}
    page = next(row for row in documents if row["document_id"] in keepers)
    domain = next(
        host_of(str(row["url"])) for row in documents if host_of(str(row["url"])) != host_of(str(page["url"]))
    )
    return str(page["url"]), domain


@pytest.fixture(scope="module")
def forgotten(
    reference_run: Path, asked_for: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, command: Callable
) -> Path:
    """The run without them."""
    run = tmp_path_factory.mktemp("forgotten") / "out"
    shutil.copytree(reference_run, run)
    url, domain = asked_for
    done = command("prep-shards", "forget", run, "--url", url, "--domain", domain, "--reason", "asked to")
    assert "documents were dropped as duplicates of these" in done.stdout
    return run


def test_nothing_under_the_run_names_or_holds_what_was_forgotten(
    reference_run: Path, forgotten: Path, asked_for: tuple[str, str]
):
    url, domain = asked_for
    before, after = rows_of(reference_run, "documents"), rows_of(forgotten, "documents")
    ids = {row["document_id"] for row in after}
    gone = [row for row in before if row["document_id"] not in ids]
    assert {row["document_id"] for row in gone} == {
        row["document_id"] for row in before if row["url"] == url or host_of(str(row["url"])) == domain
    }
    needles = [str(row["url"]) for row in gone] + [str(row["text"])[:200] for row in gone] + [domain]
    for path in sorted(path for path in forgotten.rglob("*") if path.is_file()):
        held = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            held += repr(pq.read_table(path).to_pylist()) + repr(pq.read_metadata(path).to_dict())
        assert [needle for needle in needles if needle in held or repr(needle)[1:-1] in held] == [], path
    beginnings = {str(row["text"]).split(". ")[0].strip()[:60] for row in gone}
    beginnings -= {str(row["text"]).split(". ")[0].strip()[:60] for row in after}
    assert beginnings
    assert not any(text.startswith(tuple(beginnings)) for text in texts_of_shards(forgotten))
    assert any(text.startswith(tuple(beginnings)) for text in texts_of_shards(reference_run))


def test_other_files_are_as_they_were(reference_run: Path, forgotten: Path, digest: Callable):
    before, after = digest(reference_run), digest(forgotten)
    [removal] = load_manifest(forgotten).removals
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {*removal.files, "manifest.json", "report.html"}
    assert after["vocab.json"] == before["vocab.json"]


def test_the_inspection_commands_know_what_happened(
    reference_run: Path, forgotten: Path, asked_for: tuple[str, str], command: Callable, sample: str
):
    url, _ = asked_for
    assert command("inspect-shards", "verify", forgotten).stdout.startswith("OK ")
    shown = json.loads(command("inspect-shards", "summary", forgotten, "--json").stdout)
    assert [(one["reason"], one["targets"]) for one in shown["removals"]] == [("asked to", {"url": 1, "domain": 1})]
    assert "forgotten" in command("inspect-shards", "summary", forgotten).stdout
    row = next(row for row in rows_of(reference_run, "documents") if row["url"] == url)
    digits = row["document_id"].hex()  # type: ignore[attr-defined]  # bytes
    traced = command("inspect-shards", "trace", forgotten, "--document", digits, "--warc-root", Path(sample).parent)
    assert "forgotten, at stage forget: removal 1" in traced.stdout
    assert "the same record" in traced.stdout  # the crawl has it still: what a run forgets, its input does not
    assert url not in command("inspect-shards", "trace", forgotten, "--document", digits).stdout
    command("inspect-shards", "trace", forgotten, "--url", url, status=1)


def test_no_run_of_the_pipeline_brings_it_back(
    forgotten: Path, command: Callable, sample: str, vocabulary: Path, digest: Callable
):
    flags = ["--input", sample, "--output", str(forgotten), "--vocabulary", str(vocabulary), "--held-out", "0.05"]
    before = digest(forgotten)
    done = command("beam", "run", "pipelines/ccnews.py", *flags)
    assert "already finished" in done.stdout
    assert "forgotten since" in done.stdout
    refused = command("beam", "run", "pipelines/ccnews.py", *flags, "--overwrite", status=2)
    assert "--overwrite would bring them back" in refused.stderr
    assert digest(forgotten) == before


def test_what_was_kept_aside_of_a_forgotten_text_goes_too(
    reference_run: Path, command: Callable, sample: str, tmp_path: Path
):
    """A text that decontamination cut is kept under state/ as it was, for later runs to compare with."""
    page = max(rows_of(reference_run, "documents"), key=lambda row: len(str(row["text"])))
    leaked = " ".join(str(page["text"]).split()[10:40])
    (tmp_path / "eval" / "SQuAD").mkdir(parents=True)
    sets = {"version": "1.1", "data": [{"title": "", "paragraphs": [{"context": leaked, "qas": []}]}]}
    (tmp_path / "eval" / "SQuAD" / "dev-v1.1.json").write_text(json.dumps(sets))
    run = tmp_path / "out"
    rules = ["--decontaminate", f"{tmp_path / 'eval'}:cut", "--near-duplicates", "0.5:0.99"]
    command("beam", "run", "pipelines/ccnews.py", "--input", sample, "--output", run, *rules)
    kept_aside = {row["document_id"] for row in rows_of(run, "state") if "text" in row}
    assert page["document_id"] in kept_aside
    command("prep-shards", "forget", run, "--document-id", page["document_id"].hex())
    mine = [row for row in rows_of(run, "state") if row.get("document_id") == page["document_id"]]
    assert {"text", "keys"} & {name for row in mine for name in row} == set()  # exact keys, hashes, stay
    command("inspect-shards", "verify", run)
