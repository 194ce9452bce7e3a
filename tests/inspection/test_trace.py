"""trace: every document, kept or not, leads back to its byte of the crawl file."""

import json

import pytest

from inspection.rows import Lineage, iterate_rows


def trace(inspect_shards, run, *asked):
    outcome = inspect_shards("trace", run.folder, *asked, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def test_every_document_and_every_reject_is_found_with_its_source_and_offset(inspect_shards, make_run):
    run = make_run(n_records=16)
    for document in run.documents:
        values = trace(inspect_shards, run, "--document", document.document_id.hex())
        assert (values["outcome"], values["source"], values["offset"]) == ("kept", document.source, document.offset)
        assert values["shard"].startswith("shards/little-")
    for lost in run.rejections:
        values = trace(inspect_shards, run, "--document", lost.document_id.hex())
        assert values["outcome"] == ("broken" if lost.broken else "rejected")
        assert [values[key] for key in ("stage", "reason", "detail", "offset")] == [
            lost.stage, lost.reason, lost.detail, lost.offset,
        ]  # fmt: skip


def test_the_record_is_read_again_at_its_offset_and_is_the_same(inspect_shards, little_run):
    document = little_run.documents[5]
    asked = ("--document", document.document_id.hex(), "--warc-root", little_run.warc_root)
    again = trace(inspect_shards, little_run, *asked)["reread"]
    assert (again["url"], again["status"], again["mime"]) == (document.url, 200, "text/html")
    assert again["start"].startswith(f"<html><title>{document.title}</title>")
    text = inspect_shards("trace", little_run.folder, *asked).out
    assert "the same record: status 200" in text
    assert f"byte {document.offset}" in text


def test_the_crawl_file_is_found_by_its_last_name_too(inspect_shards, little_run):
    document = little_run.documents[0]
    deep = little_run.warc_root / "crawl" / "2016" / "09"
    again = trace(inspect_shards, little_run, "--document", document.document_id.hex(), "--warc-root", deep)["reread"]
    assert again["url"] == document.url


def test_another_file_of_the_same_name_is_not_taken_for_the_input(inspect_shards, little_run):
    path = little_run.warc_root / little_run.documents[0].source
    path.write_bytes(path.read_bytes()[little_run.documents[1].offset :])
    asked = ("--document", little_run.documents[5].document_id.hex(), "--warc-root", little_run.warc_root)
    outcome = inspect_shards("trace", little_run.folder, *asked)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "not the file that was read" in outcome.err


@pytest.mark.parametrize("root", ["nowhere", "."])
def test_a_crawl_that_is_not_there_is_said_in_one_line(inspect_shards, little_run, tmp_path, root):
    asked = ("--document", little_run.documents[0].document_id.hex(), "--warc-root", tmp_path / root)
    outcome = inspect_shards("trace", little_run.folder, *asked)
    assert (outcome.status, outcome.err.count("\n")) == (2 if root == "nowhere" else 1, 1)


def test_a_url_finds_every_record_of_it(inspect_shards, little_run):
    document, lost = little_run.documents[1], little_run.rejections[0]
    for wanted in (document, lost):
        [values] = trace(inspect_shards, little_run, "--url", wanted.url)["records"]
        assert values["document_id"] == wanted.document_id.hex()
    outcome = inspect_shards("trace", little_run.folder, "--url", "http://nowhere.example/")
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)


def test_each_place_in_a_shard_leads_to_the_document_of_its_lineage(inspect_shards, little_run):
    shard = little_run.manifest.shards[0]
    for _, row in iterate_rows(little_run.folder, [shard.lineage], Lineage):
        asked = ("--shard", shard.name, "--block", row.block, "--position", row.position)
        values = trace(inspect_shards, little_run, *asked)
        assert (values["document_id"], values["offset"]) == (row.document_id.hex(), row.offset)


def test_a_run_without_texts_traces_by_lineage(inspect_shards, make_run):
    run = make_run(with_documents=False)
    document = run.documents[3]
    values = trace(inspect_shards, run, "--document", document.document_id.hex(), "--warc-root", run.warc_root)
    assert (values["url"], values["reread"]["url"]) == (document.url, document.url)


def test_a_duplicate_names_the_document_that_stands_for_it(inspect_shards, little_run):
    lost = next(one for one in little_run.rejections if one.reason == "duplicate_url")
    out = inspect_shards("trace", little_run.folder, "--document", lost.document_id.hex()).out
    kept = lost.detail.split(" ")[1]
    assert f"duplicate_url, at stage deduplicate: kept {kept}" in out
    assert trace(inspect_shards, little_run, "--document", kept)["outcome"] == "kept"
