"""trace of training samples: what is named is what was trained on, token for token."""

import json
import shutil

import numpy as np
import pytest

from bpe.growing import window_folder
from bpe.shards import document_at, open_shard
from trainer.data_record import EpochRecord, append_record, begin_records
from trainer.epoch_data import describe_folders
from trainer.plan import SampleId
from trainer.replay import open_order
from trainer.run_folder import describe_run, write_description
from trainer.settings import load_settings
from trainer.sources import open_runs

BATCH = 4
RECIPE = {"block_tokens": 200, "window_blocks": 3, "batch_sequences": BATCH, "seed": 5}


@pytest.fixture
def training(little_run, tmp_path):
    """A training run's folder as pretraining begins it, over the little run."""
    folder = tmp_path / "training"
    write_description(folder, describe_run(load_settings("tiny", RECIPE), open_runs([little_run.folder])))
    return folder


def trace(inspect_shards, run, *asked):
    outcome = inspect_shards("trace", run.folder, *asked, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)["samples"]


def test_a_sample_is_made_of_exactly_the_tokens_that_its_trace_names(inspect_shards, little_run, training):
    order, _ = open_order(training)
    shards = {shard.name: shard for shard in little_run.manifest.shards}
    for offset in range(order.n_samples(0, 0)):
        [sample] = trace(inspect_shards, little_run, "--sample", f"0/0/{offset}", "--run", training)
        named = []
        for piece in sample["pieces"]:
            with open_shard(little_run.folder / piece["shard"], shards[piece["shard"]]) as shard:
                ids = document_at(shard.block(piece["block"]), piece["position"]).ids
                named += ids[piece["first_token"] :][: piece["tokens_in_sample"]].tolist()
        window = order.window(0, 0)
        spans = slice(window.spans.first[offset], window.spans.end[offset])
        items = zip(window.items.source[spans].tolist(), window.items.n_tokens[spans].tolist(), strict=True)
        assert named == [token for start, n in items for token in window.tokens[start : start + n].tolist()]


def test_each_piece_leads_back_to_the_crawl(inspect_shards, little_run, training):
    offsets = {document.document_id.hex(): document.offset for document in little_run.documents}
    asked = ("--sample", "0/1/0", "--run", training, "--warc-root", little_run.warc_root)
    [sample] = trace(inspect_shards, little_run, *asked)
    assert sample["pieces"]
    for piece in sample["pieces"]:
        assert piece["offset"] == offsets[piece["document_id"]]
        assert piece["reread"]["url"] == piece["url"]
    out = inspect_shards("trace", little_run.folder, *asked).out
    assert out.startswith("sample 0/1/0: ")
    assert "the same record" in out


def test_the_rows_of_an_update_are_its_samples_in_order(inspect_shards, little_run, training):
    order, _ = open_order(training)
    runs, _ = order.take(SampleId(0, 0, 0), 3 * BATCH)
    expected = [f"{run.epoch}/{run.window}/{k}" for run in runs for k in range(run.first, run.first + run.n_samples)]
    found = trace(inspect_shards, little_run, "--update", "3", "--run", training)
    assert [sample["sample"] for sample in found] == expected[2 * BATCH :]
    [row] = trace(inspect_shards, little_run, "--update", "3", "--row", "2", "--run", training)
    assert row == found[2]
    assert np.unique([sample["sample"] for sample in found]).size == BATCH


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (("--sample", "0/0/99999"), 1),
        (("--sample", "0/99/0"), 1),
        (("--sample", "0/0"), 2),
        (("--update", "1", "--row", "4"), 1),
    ],
)
def test_a_sample_that_is_not_there_is_one_line(inspect_shards, little_run, training, asked, status):
    outcome = inspect_shards("trace", little_run.folder, *asked, "--run", training)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (status, "", 1)


def test_a_folder_without_a_training_run_or_of_other_data_is_said_so(inspect_shards, make_run, little_run, training):
    other = make_run("other", n_records=24)
    for folder, run, said in ((other.folder, little_run, "no run"), (training, other, "did not read")):
        outcome = inspect_shards("trace", run.folder, "--sample", "0/0/0", "--run", folder)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert said in outcome.err


@pytest.fixture
def followed(make_run, publish, tmp_path):
    """A run that read two generations: one window in epoch 0, two in epoch 1. The corpus has a third by now."""
    corpus, folder = tmp_path / "grown", tmp_path / "training"
    names = [window_folder(number, number) for number in (1, 2, 3)]
    for number, name in enumerate(names, 1):
        (corpus / "windows").mkdir(parents=True, exist_ok=True)
        make_run(f"grown/{name}", n_records=16 + 8 * number)
        publish(corpus, *names[:number])
    begin_records(folder, EpochRecord(0, describe_folders([corpus], [1])))
    write_description(folder, describe_run(load_settings("tiny", RECIPE), open_runs([corpus], [1])))
    append_record(folder, EpochRecord(1, describe_folders([corpus], [2])))
    return corpus, folder


def test_samples_of_a_run_that_followed_a_growing_corpus_are_those_of_the_generation_of_their_epoch(
    inspect_shards, followed
):
    corpus, folder = followed
    order, _ = open_order(folder)
    read = {}
    for epoch in (0, 1):
        read[epoch] = set()
        for window in range(order.n_windows(epoch)):
            for offset in range(order.n_samples(epoch, window)):
                asked = ("--sample", f"{epoch}/{window}/{offset}", "--run", folder, "--json")
                outcome = inspect_shards("trace", corpus / window_folder(1, 1), *asked)
                assert outcome.status == 0, outcome.err
                for piece in json.loads(outcome.out)["samples"][0]["pieces"]:
                    read[epoch].add(piece["folder"])
    assert read[0] == {str(corpus / window_folder(1, 1))}
    assert read[1] == {str(corpus / window_folder(1, 1)), str(corpus / window_folder(2, 2))}
    update = str(order.epoch_samples(0) // BATCH + 2)  # beyond the border
    for place in (corpus / window_folder(2, 2), corpus):
        outcome = inspect_shards("trace", place, "--update", update, "--run", folder)
        assert outcome.status == 0, outcome.err
        assert "sample 1/0/" in outcome.out


def test_epochs_that_have_not_begun_and_windows_that_were_not_read_are_one_line(inspect_shards, followed):
    corpus, folder = followed
    first, third = (corpus / window_folder(number, number) for number in (1, 3))
    asked = (
        (third, ("--sample", "0/0/0"), "did not read"),
        (first, ("--sample", "2/0/0"), "epoch 2 has not begun"),
        (first, ("--update", "9999"), "update 9999 is not drawn yet: epoch 2 has not begun"),
    )
    for window, which, said in asked:
        outcome = inspect_shards("trace", window, *which, "--run", folder)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert said in outcome.err
    shutil.rmtree(corpus / window_folder(2, 2))
    assert inspect_shards("trace", first, "--sample", "0/0/0", "--run", folder).status == 0
    outcome = inspect_shards("trace", first, "--sample", "1/0/0", "--run", folder)
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)
    assert "00000002" in outcome.err
