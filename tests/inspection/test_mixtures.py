"""A mixture is summed up and verified by its runs; where one run is asked for, it says which there are."""

import hashlib
import json
from pathlib import Path

import pytest

from bpe.mixture import FILE_NAME, Mixture, MixtureSource, dump_mixture
from bpe.shared_vocabulary import SharedVocabulary


@pytest.fixture
def mixed(make_run, tmp_path: Path):
    """Two runs and a mixture of them, as `prep-shards mix` writes it."""
    runs = make_run("first"), make_run("second", n_records=30)
    sources = [
        MixtureSource(f"../{run.folder.name}", hashlib.sha256(manifest.read_bytes()).hexdigest(), weight)
        for run, weight in zip(runs, ("1", "2.5"), strict=True)
        for manifest in [run.folder / "manifest.json"]
    ]
    vocabulary = runs[0].manifest.vocabulary
    wanted = SharedVocabulary(vocabulary.fingerprint, vocabulary.encoding, vocabulary.size)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / FILE_NAME).write_bytes(dump_mixture(Mixture(tuple(sources), wanted)))
    return tmp_path / "mixed", runs


def test_the_summary_holds_what_an_epoch_sees_of_each_run(inspect_shards, mixed) -> None:
    folder, runs = mixed
    tokens = [sum(s.n_tokens for s in run.manifest.shards if s.split == "train") for run in runs]
    values = json.loads(inspect_shards("summary", folder, "--json").out)
    assert [run["train_tokens"] for run in values["runs"]] == tokens
    assert values["epoch_tokens"] == tokens[0] + int(tokens[1] * 2.5)
    lines = inspect_shards("summary", folder / "mixture.json").out.splitlines()
    assert f"{tokens[0]:,}" in next(line for line in lines if str(runs[0].folder) in line)
    assert f"{int(tokens[1] * 2.5):,}" in next(line for line in lines if str(runs[1].folder) in line)
    assert ".." not in lines[-1]


def test_all_runs_of_a_mixture_are_verified(inspect_shards, mixed) -> None:
    folder, runs = mixed
    done = inspect_shards("verify", folder)
    assert done.status == 0
    assert [line.split(":")[0] for line in done.out.splitlines()] == [f"OK {run.folder}" for run in runs]
    shard = runs[1].folder / runs[1].manifest.shards[0].name
    data = bytearray(shard.read_bytes())
    data[512] ^= 1
    shard.write_bytes(data)
    done = inspect_shards("verify", folder)
    assert done.status == 1
    assert f"OK {runs[0].folder}" in done.out
    assert shard.name in done.out
    values = json.loads(inspect_shards("verify", folder, "--json").out)
    assert (values["ok"], [run["ok"] for run in values["runs"]]) == (False, [True, False])


def test_a_run_that_is_another_by_now_is_named(inspect_shards, mixed) -> None:
    folder, runs = mixed
    (runs[0].folder / "manifest.json").write_bytes((runs[1].folder / "manifest.json").read_bytes())
    done = inspect_shards("verify", folder)
    assert done.status == 1
    assert "first/manifest.json" in done.err
    assert "prep-shards mix" in done.err


@pytest.mark.parametrize("command", ["show", "trace"])
def test_documents_are_asked_of_a_run(inspect_shards, mixed, command: str) -> None:
    folder, runs = mixed
    done = inspect_shards(command, folder, "--document", "00")
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert all(str(run.folder) in done.err for run in runs)
