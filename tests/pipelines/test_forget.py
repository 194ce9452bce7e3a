"""Forgetting: what is left is the run that would have been, and nothing under it says what was taken out."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.manifest import load_manifest
from bpe.shards import open_shard
from corpora.documents import Document, Rejection
from inspection.run_folder import RunFolder
from inspection.verify import verify_run
from pipelines.prep_shards import main
from pipelines.sharding import write_table
from pipelines.work_files import write_work_file

NOT_YET = "not_yet_forgotten"
Corpus = tuple[list[Document], list[Rejection]]


@pytest.fixture
def forget(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit status, output, complaints."""

    def run(folder: Path, *words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main(["forget", str(folder), *map(str, words)])
        except SystemExit as error:
            status = int(error.code or 0)
        return status, *capsys.readouterr()

    return run


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def faults_of(folder: Path) -> list[str]:
    run = RunFolder(folder, load_manifest(folder))
    return [str(fault) for fault in verify_run(run, quick=False)]


def find_in(folder: Path, needles: Iterable[str]) -> list[str]:
    """Files that hold one of the texts: in their bytes, or in any value of any column of a table."""
    wanted = [needle.encode() for needle in needles]
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            data += json.dumps(table.to_pylist(), default=repr, ensure_ascii=False).encode()
            data += repr(pq.read_metadata(path).to_dict()).encode()  # smallest and largest values of columns
        found += [path.name for needle in wanted if needle in data]
    return found


def without(corpus: Corpus, gone: set[bytes]) -> Corpus:
    """The corpus as it is when these documents are rejected, by the rules that the module under test documents.

    Their reason is another one: a run of documents that are forgotten has removals, which is what is looked at here.
    """
    documents, rejections = corpus
    urls = {one.url for one in documents if one.document_id in gone}
    lost = [
        Rejection(one.document_id, "", "forget", NOT_YET, "removal 1", one.source, one.offset, False)
        for one in documents
        if one.document_id in gone
    ]
    others = [
        one._replace(url="", detail="") if one.dropped_by in gone or one.url in urls else one for one in rejections
    ]
    return [one for one in documents if one.document_id not in gone], [*others, *lost]


def rejects_of(folder: Path) -> dict[str, list[dict[str, object]]]:
    return {path.name: pq.read_table(path).to_pylist() for path in sorted((folder / "rejected").iterdir())}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_left_is_the_run_that_would_have_been(little_corpus, write_corpus, tmp_path_factory, forget, data):
    documents, rejections = little_corpus
    gone = data.draw(st.sets(st.sampled_from(range(len(documents))), min_size=1).map(sorted))
    ids = {documents[k].document_id for k in gone}
    folder = tmp_path_factory.mktemp("forget")
    before = write_corpus(folder / "run", documents, rejections)
    old_tree = tree(folder / "run")
    wanted = write_corpus(folder / "wanted", *without(little_corpus, ids))
    status, _, err = forget(folder / "run", *(word for one in sorted(ids) for word in ("--document-id", one.hex())))
    assert (status, err) == (0, "")
    after = load_manifest(folder / "run")
    ours, theirs = tree(folder / "run"), tree(folder / "wanted")
    same = {name for name in ours.keys() | theirs.keys() if name.startswith(("documents", "shards"))}
    assert {name: ours.get(name) for name in same} == {name: theirs.get(name) for name in same}
    found = rejects_of(folder / "run")
    for row in (row for rows in found.values() for row in rows if row["reason"] == "forgotten"):
        row["reason"] = NOT_YET
    assert found == rejects_of(folder / "wanted")
    assert faults_of(folder / "run") == []
    unlike = {"removals": (), "report": None, "shards": (), "rejected": (), "books": None}
    # The fixture names the inputs of what is left; a run goes on naming all that it read.
    assert after._replace(**unlike) == wanted._replace(**unlike, inputs=before.inputs)
    assert after.books.rejected == {**before.books.rejected, "forgotten": len(ids)}
    [removal] = after.removals
    assert removal.documents == len(ids) == before.counts.documents - after.counts.documents
    assert removal.tokens == before.counts.tokens - after.counts.tokens > 0
    assert removal.text_bytes == sum(len(one.text.encode()) for one in documents if one.document_id in ids)
    assert removal.previous_manifest == old_tree["manifest.json"]
    changed = {name for name in old_tree.keys() | ours.keys() if old_tree.get(name) != ours.get(name)}
    assert set(removal.files) == changed - {"manifest.json", "report.html"}
    assert find_in(folder / "run", [f"Secret number {documents[k].offset // 100} was told" for k in gone]) == []
    assert find_in(folder / "run", [documents[k].url for k in gone]) == []


def test_one_request_after_the_other_is_one_removal_each(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, _ = little_corpus
    write_corpus(tmp_path / "run", *little_corpus)
    for k, one in enumerate(documents[:3], 1):
        assert forget(tmp_path / "run", "--url", one.url, "--date", "2026-01-31", "--reason", f"letter {k}")[0] == 0
    manifest = load_manifest(tmp_path / "run")
    assert [(one.reason, one.date, one.documents, one.targets) for one in manifest.removals] == [
        (f"letter {k}", "2026-01-31", 1, {"url": 1}) for k in (1, 2, 3)
    ]
    assert manifest.books.rejected["forgotten"] == 3
    rows = [row for entry in manifest.rejected for row in pq.read_table(tmp_path / "run" / entry.name).to_pylist()]
    lost = {row["document_id"]: row for row in rows if row["stage"] == "forget"}
    assert [lost[one.document_id]["detail"] for one in documents[:3]] == ["removal 1", "removal 2", "removal 3"]
    assert all(row["url"] == "" for row in lost.values())
    assert faults_of(tmp_path / "run") == []


def test_a_url_means_the_page_however_it_is_written(little_corpus, write_corpus, tmp_path: Path, forget):
    write_corpus(tmp_path / "run", *little_corpus)
    status, out, _ = forget(tmp_path / "run", "--url", "HTTP://NEWS3.example.org:80/story/./3/#top")
    assert status == 0
    assert "1 of 30 documents" in out
    assert find_in(tmp_path / "run", ["/story/3?", "Secret number 3 was"]) == []


def test_a_domain_means_all_below_it_and_nothing_beside_it(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, _ = little_corpus
    write_corpus(tmp_path / "run", *little_corpus)
    status, out, err = forget(tmp_path / "run", "--domain", "ews3.example.org")
    assert (status, "not found" in err) == (1, True)
    status, out, _ = forget(tmp_path / "run", "--domain", "news3.example.org")
    n = sum("news3.example.org" in one.url for one in documents)
    assert (status, f"{n} of 30 documents" in out) == (0, True)
    assert find_in(tmp_path / "run", ["news3.example.org"]) == []  # statistics and report included
    assert forget(tmp_path / "run", "--domain", "EXAMPLE.org")[0] == 0
    manifest = load_manifest(tmp_path / "run")
    assert (manifest.counts.documents, manifest.documents, manifest.shards) == (0, (), ())
    assert manifest.statistics["domains"] == {"distinct": 0, "top": []}
    assert (manifest.statistics["languages"], manifest.statistics["characters"]) == ({}, {})
    assert find_in(tmp_path / "run", ["example.org", "Secret"]) == []
    assert faults_of(tmp_path / "run") == []


def test_duplicates_of_what_is_forgotten_stay_dropped_and_lose_their_addresses(
    little_corpus, write_corpus, tmp_path: Path, forget
):
    documents, rejections = little_corpus
    duplicate = next(one for one in rejections if one.dropped_by)
    second_hand = Rejection(
        hashlib.blake2b(b"second", digest_size=16).digest(), "https://mirror.example/2", "deduplicate",
        "near_duplicate", "similarity 0.9", duplicate.source, 9_000, False, duplicate.document_id, 0.9,
    )  # fmt: skip
    write_corpus(tmp_path / "run", documents, [*rejections, second_hand])
    status, out, _ = forget(tmp_path / "run", "--document-id", duplicate.dropped_by.hex())
    assert status == 0
    assert "2 documents were dropped as duplicates of these" in out
    assert load_manifest(tmp_path / "run").removals[0].dependents == 2
    assert find_in(tmp_path / "run", [duplicate.url, "mirror.example"]) == []
    rows = [row for path in (tmp_path / "run/rejected").iterdir() for row in pq.read_table(path).to_pylist()]
    row = next(row for row in rows if row["document_id"] == second_hand.document_id)
    assert row == second_hand._replace(url="", detail="")._asdict()


def test_a_page_that_had_been_dropped_for_another_is_scrubbed_and_the_other_named(
    little_corpus, write_corpus, tmp_path: Path, forget
):
    _, rejections = little_corpus
    duplicate = next(one for one in rejections if one.dropped_by)
    before = write_corpus(tmp_path / "run", *little_corpus)
    status, out, _ = forget(tmp_path / "run", "--url", duplicate.url)
    assert status == 0
    assert duplicate.dropped_by.hex() in out
    after = load_manifest(tmp_path / "run")
    assert (after.books, after.documents) == (before.books, before.documents)
    assert (after.removals[0].documents, after.removals[0].emptied) == (0, 1)
    assert find_in(tmp_path / "run", [duplicate.url]) == []
    assert faults_of(tmp_path / "run") == []


def test_what_is_not_there_is_named_and_the_rest_is_done(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, _ = little_corpus
    write_corpus(tmp_path / "run", *little_corpus)
    request = tmp_path / "list.txt"
    request.write_text(f"# takedowns\n\nurl {documents[0].url}\nhttps://nowhere.example/x\n{'ab' * 16}\n")
    status, out, err = forget(tmp_path / "run", "--list", request)
    assert status == 1
    assert "2 not found" in err
    assert "https://nowhere.example/x" in err
    assert "ab" * 16 in err
    assert load_manifest(tmp_path / "run").removals[0].targets == {"url": 2, "id": 1}
    held = tree(tmp_path / "run")
    status, out, err = forget(tmp_path / "run", "--list", request)  # a list that is kept and used again
    assert (status, err) == (0, "")
    assert "carried out before, as removal 1" in out
    status, out, err = forget(tmp_path / "run", "--url", documents[0].url)
    assert (status, err) == (0, "")
    assert "forgotten before:" in out
    assert forget(tmp_path / "run", "--document-id", documents[0].document_id.hex())[0] == 0
    assert forget(tmp_path / "run", "--url", "https://nowhere.example/x")[0] == 1
    assert tree(tmp_path / "run") == held


def test_a_dry_run_says_all_and_changes_nothing(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, _ = little_corpus
    write_corpus(tmp_path / "run", *little_corpus)
    held = tree(tmp_path)
    status, out, _ = forget(tmp_path / "run", "--domain", "example.org", "--dry-run")
    assert status == 0
    assert all(one.document_id.hex() in out and one.url in out for one in documents)
    assert forget(tmp_path / "run", "--url", "https://nowhere.example/x", "--dry-run")[0] == 1
    assert tree(tmp_path) == held
    assert not (tmp_path / "run" / "work").exists()


def test_a_run_without_texts_forgets_too(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, rejections = little_corpus
    before = write_corpus(tmp_path / "run", documents, rejections, keep_documents=False)
    assert forget(tmp_path / "run", "--domain", "news3.example.org")[0] == 0
    gone = [one for one in documents if "news3.example.org" in one.url]
    after = load_manifest(tmp_path / "run")
    assert after.counts.documents == before.counts.documents - len(gone)
    assert [entry.rows for entry in after.rejected if "forgotten" in entry.name] == [len(gone)]
    # Texts are counted as they decode: sentence by sentence, one blank between them, none at their ends.
    lost = before.counts.text_bytes - after.counts.text_bytes
    assert lost == sum(len(one.text.strip().encode()) for one in gone)
    assert find_in(tmp_path / "run", ["news3.example.org"]) == []
    assert faults_of(tmp_path / "run") == []


def test_sums_of_the_report_are_diminished_and_reports_of_stages_lose_addresses(
    little_corpus, write_corpus, tmp_path: Path, forget
):
    documents, rejections = little_corpus
    details = {"near_duplicates": {"recall": 0.99, "pairs": [{"a": documents[0].url, "b": "https://other.example/"}]}}
    write_corpus(tmp_path / "run", documents, rejections, details=details, kinds=("crawl",))
    gone = {documents[0].document_id, documents[1].document_id}
    wanted = write_corpus(tmp_path / "wanted", *without(little_corpus, gone), kinds=("crawl",))
    assert forget(tmp_path / "run", "--url", documents[0].url, "--url", documents[1].url)[0] == 0
    found = load_manifest(tmp_path / "run").statistics["details"]
    assert found["near_duplicates"] == {"recall": 0.99, "pairs": [{"a": "", "b": "https://other.example/"}]}
    assert {name: found[name] for name in ("kinds", "gaps")} == wanted.statistics["details"]
    assert documents[0].url not in (tmp_path / "run" / "report.html").read_text()
    assert "taken out on request" in (tmp_path / "run" / "report.html").read_text()


def test_files_kept_for_the_next_run_go_where_they_hold_what_is_forgotten(
    little_corpus, write_corpus, tmp_path: Path, forget
):
    documents, _ = little_corpus
    write_corpus(tmp_path / "run", *little_corpus)
    work = tmp_path / "run" / "work" / "abc"
    work.mkdir(parents=True)
    write_work_file(str(work / "a.parquet"), documents[:5], n_read=5, administrative=0)
    write_work_file(str(work / "b.parquet"), documents[5:9], n_read=4, administrative=0)
    (work.parent / "workers.log").write_text(f"slow page {documents[2].url}\n")
    (work.parent / "inputs.tsv").write_text("crawl/NEWS-0.warc.gz\n")
    assert forget(tmp_path / "run", "--document-id", documents[2].document_id.hex())[0] == 0
    left = sorted(path.name for path in (tmp_path / "run" / "work").rglob("*") if path.is_file())
    assert left == ["b.parquet", "inputs.tsv", "lock"]
    assert find_in(tmp_path / "run", [documents[2].url, documents[2].text]) == []


def test_sketches_of_texts_go_and_exact_keys_stay(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, rejections = little_corpus
    ids = pa.array([one.document_id for one in documents], pa.binary(16))
    keys = pa.table({"document_id": ids, "keys": pa.array([bytes(8)] * len(ids), pa.binary(8))})
    (tmp_path / "run" / "state").mkdir(parents=True)
    names = ("keys-part-a", "keys-part-b", "exact-00000")
    halves = (keys.slice(0, 10), keys.slice(10), keys)
    state = [write_table(str(tmp_path / "run"), f"state/{n}.parquet", t) for n, t in zip(names, halves, strict=True)]
    write_corpus(tmp_path / "run", documents, rejections, state=state)
    before = tree(tmp_path / "run")
    assert forget(tmp_path / "run", "--document-id", documents[3].document_id.hex())[0] == 0
    assert pq.read_table(tmp_path / "run" / state[0].name).equals(
        pa.concat_tables([keys.slice(0, 3), keys.slice(4, 6)])
    )
    after = tree(tmp_path / "run")
    assert all(after[entry.name] == before[entry.name] for entry in state[1:])
    manifest = load_manifest(tmp_path / "run")
    assert [entry.rows for entry in manifest.state] == [len(ids), 9, 20]
    assert state[0].name in manifest.removals[0].files
    assert faults_of(tmp_path / "run") == []


def test_damage_stops_it_before_anything_changes(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, _ = little_corpus
    manifest = write_corpus(tmp_path / "run", *little_corpus)
    lineage = pq.read_table(tmp_path / "run" / manifest.shards[0].lineage.name)
    shard = tmp_path / "run" / manifest.shards[0].name
    data = shard.read_bytes()
    shard.write_bytes(data[:600] + bytes([data[600] ^ 1]) + data[601:])  # in block 0
    held = tree(tmp_path / "run")
    status, _, err = forget(tmp_path / "run", "--document-id", lineage["document_id"][1].as_py().hex())
    assert status == 1
    assert "block 0 has crc32c" in err
    assert tree(tmp_path / "run") == held
    (tmp_path / "run" / manifest.documents[0].name).unlink()
    status, _, err = forget(tmp_path / "run", "--url", documents[0].url)
    assert status == 1
    assert "missing, but listed" in err
    assert not (tmp_path / "run" / "work").exists()


def test_a_link_is_not_mistaken_for_what_it_leads_to(little_corpus, write_corpus, tmp_path: Path, forget):
    documents, _ = little_corpus
    manifest = write_corpus(tmp_path / "run", *little_corpus)
    for entry in manifest.documents:
        (tmp_path / "run" / entry.name).rename(tmp_path / Path(entry.name).name)
        (tmp_path / "run" / entry.name).symlink_to(tmp_path / Path(entry.name).name)
    held = tree(tmp_path)
    status, _, err = forget(tmp_path / "run", "--url", documents[0].url)
    assert (status, "is a link" in err) == (2, True)
    assert tree(tmp_path) == held


def test_a_reader_that_has_a_shard_open_keeps_what_it_opened(little_corpus, write_corpus, tmp_path: Path, forget):
    manifest = write_corpus(tmp_path / "run", *little_corpus)
    entry = manifest.shards[0]
    shard_path = tmp_path / "run" / entry.name
    with open_shard(shard_path, entry) as shard:
        before = shard.block(0).tokens.tolist()
        assert forget(tmp_path / "run", "--domain", "news3.example.org")[0] == 0
        assert shard.block(0).tokens.tolist() == before
    # The old entry and the new file do not go together.
    with pytest.raises(ShardError, match="but the manifest says"), open_shard(shard_path, entry) as shard:
        shard.block(0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to forget"),
        (["--url", "#"], "no URL"),
        (["--domain", "com"], "a whole top-level domain is never forgotten"),
        (["--domain", "ex ample.com"], "no domain"),
        (["--document-id", "abc"], "32 hexadecimal digits"),
        (["--list", "/nowhere/list.txt"], "/nowhere/list.txt: No such file"),
        (["--url", "http://a.example/", "--date", "31.1.2026"], "no day as in 2026-01-31"),
        (["--url", "http://a.example/", "--everything"], "unrecognized arguments: --everything"),
    ],
)
def test_a_wrong_command_is_told_so(little_corpus, write_corpus, tmp_path: Path, forget, words, says):
    write_corpus(tmp_path / "run", *little_corpus)
    held = tree(tmp_path / "run")
    status, _, err = forget(tmp_path / "run", *words)
    assert (status, says in err) == (2, True)
    assert tree(tmp_path / "run") == held


def test_only_finished_runs_on_local_disks_are_changed(tmp_path: Path, forget):
    status, _, err = forget("s3://bucket/run", "--domain", "example.org")
    assert (status, "local disk only" in err) == (2, True)
    (tmp_path / "strange").mkdir()
    status, _, err = forget(tmp_path / "strange", "--domain", "example.org")
    assert (status, "no manifest.json" in err) == (1, True)
    assert list((tmp_path / "strange").iterdir()) == []
