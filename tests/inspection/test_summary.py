"""summary: the funnel adds up, and every figure is the manifest's."""

import json


def test_the_funnel_adds_up_and_has_every_reason(inspect_shards, little_run):
    values = json.loads(inspect_shards("summary", little_run.folder, "--json").out)
    outcomes = values["outcomes"]
    assert sum(one["records"] for one in outcomes) == values["books"]["read"] == 41
    assert abs(sum(one["share"] for one in outcomes) - 1) < 1e-9
    assert {(one["kind"], one["reason"]): one["records"] for one in outcomes} == {
        ("kept", ""): 25, ("rejected", "language"): 5, ("rejected", "duplicate_url"): 5,
        ("rejected", "too_few_words"): 5, ("broken", "truncated"): 1,
    }  # fmt: skip


def test_json_has_counts_splits_vocabulary_settings_and_code_version(inspect_shards, little_run):
    values = json.loads(inspect_shards("summary", little_run.folder, "--json").out)
    manifest = little_run.manifest
    assert values["counts"]["tokens"] == manifest.counts.tokens
    assert {name: one["documents"] for name, one in values["splits"].items()} == {"train": 21, "held-out": 4}
    assert values["blocks"] == sum(shard.blocks.offset.size for shard in manifest.shards)
    assert values["vocabulary"]["fingerprint"] == manifest.vocabulary.fingerprint
    assert values["vocabulary"]["encoding"] == "lossless"
    assert (values["settings_hash"], values["code_version"]) == (manifest.settings_hash, "0.1.0")
    assert values["bytes_per_token"] == manifest.counts.text_bytes / manifest.counts.tokens


def test_text_shows_counts_shares_and_where_they_come_from(inspect_shards, little_run):
    out = inspect_shards("summary", little_run.folder).out
    lines = {" ".join(line.split()) for line in out.splitlines()}
    tokens = little_run.manifest.counts.tokens
    assert {"read 41", "kept 25 61.0 %", "language 5 12.2 %", "truncated 1 2.4 %"} <= lines
    assert f"tokens {tokens:,}, 1.00 bytes a token" in lines
    assert "vocabulary 261 ids, lossless encoding" in lines
    assert any(line.startswith("held-out 1 ") for line in lines)
    assert little_run.manifest.settings_hash in out
    assert "news0.example.org" in out


def test_several_runs_are_shown_in_turn(inspect_shards, make_run):
    first, second = make_run("first"), make_run("second", with_shards=False)
    outcome = inspect_shards("summary", first.folder, second.folder)
    assert str(first.folder) in outcome.out
    assert "none: documents only" in outcome.out
    values = json.loads(inspect_shards("summary", first.folder, second.folder, "--json").out)
    assert [run["name"] for run in values["runs"]] == ["little", "little"]


def test_an_empty_run_has_a_summary(inspect_shards, make_run):
    run = make_run(n_records=0, with_shards=False)
    outcome = inspect_shards("summary", run.folder)
    assert outcome.status == 0
    assert "documents only" in outcome.out
