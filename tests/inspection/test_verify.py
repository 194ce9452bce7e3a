"""verify: an honest run is OK; every kind of damage is named with its file and place, and nothing is executed."""

import hashlib
import io
import json
import tarfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.manifest import dump_manifest, load_manifest
from inspection import verify_rows
from inspection.run_folder import open_run
from inspection.verify import count_bytes, verify_run


def flip(path, place, bit=1):
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


def rewrite(run, change):
    """A manifest that agrees with itself and says what `change` makes of it."""
    manifest = change(load_manifest(run.folder))
    (run.folder / "manifest.json").write_bytes(dump_manifest(manifest))


def entry_of(run, entry, **changes):
    """The entry of a file as it is now on disk."""
    path = run.folder / entry.name
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return entry._replace(bytes=path.stat().st_size, sha256=sha256, **changes)


def with_shard(manifest, k, shard):
    return manifest._replace(shards=(*manifest.shards[:k], shard, *manifest.shards[k + 1 :]))


def faults_of(run, *, quick=False):
    return list(verify_run(open_run(str(run.folder)), quick=quick))


@pytest.mark.parametrize("options", [{}, {"with_shards": False}, {"with_documents": False}])
def test_an_honest_run_is_ok(inspect_shards, make_run, options):
    run = make_run(**options)
    for extra in ((), ("--quick",)):
        outcome = inspect_shards("verify", run.folder, *extra)
        assert (outcome.status, outcome.err) == (0, "")
        assert outcome.out.startswith(f"OK {run.folder}")
        assert outcome.out.count("\n") == 1


def test_progress_ends_at_exactly_the_bytes_that_there_are(little_run):
    run = open_run(str(little_run.folder))
    told = []
    assert list(verify_run(run, quick=False, advance=told.append)) == []
    assert sum(told) == count_bytes(run)


def test_one_flipped_byte_anywhere_in_a_shard_names_the_shard_and_where_it_can_the_block(little_run):
    shard = little_run.manifest.shards[1]
    path = little_run.folder / shard.name
    for place in np.linspace(0, shard.bytes - 1, 60).astype(int).tolist():
        flip(path, place)
        faults = faults_of(little_run)
        flip(path, place)
        assert faults, f"byte {place}"
        assert {fault.file for fault in faults} == {shard.name}
    block = 2
    flip(path, int(shard.blocks.offset[block]) + 512 + 100)  # behind the header: among the tokens
    [fault] = faults_of(little_run)
    assert f"block {block}" in fault.place + fault.found


def test_the_command_names_the_shard_and_exits_1(inspect_shards, little_run):
    shard = little_run.manifest.shards[0]
    flip(little_run.folder / shard.name, 600)
    outcome = inspect_shards("verify", little_run.folder)
    assert outcome.status == 1
    line = outcome.out.splitlines()[0]
    assert line.startswith(shard.name)
    assert "block 0" in line
    answer = json.loads(inspect_shards("verify", little_run.folder, "--json").out)
    assert (answer["ok"], answer["faults"][0]["file"]) == (False, shard.name)


def test_every_damaged_block_is_named_not_only_the_first(little_run):
    shard = little_run.manifest.shards[1]
    for block in (0, 2, 3):
        flip(little_run.folder / shard.name, int(shard.blocks.offset[block]) + 512 + 10)
    found = " ".join(fault.place + fault.found for fault in faults_of(little_run))
    assert all(f"block {block}" in found for block in (0, 2, 3))
    assert "block 1" not in found


def test_each_missing_cut_grown_or_flipped_file_is_named(little_run):
    names = [
        little_run.manifest.documents[0].name, little_run.manifest.rejected[1].name,
        little_run.manifest.shards[2].lineage.name, little_run.manifest.shards[0].name, "vocab.json", "report.html",
    ]  # fmt: skip
    for name in names:
        path = little_run.folder / name
        data = path.read_bytes()
        path.unlink()
        assert [(fault.file, "missing" in fault.found) for fault in faults_of(little_run)] == [(name, True)]
        path.write_bytes(data[:-1])
        assert [(fault.file, "bytes" in fault.found) for fault in faults_of(little_run, quick=True)] == [(name, True)]
        path.write_bytes(data + b"\0")
        assert [fault.file for fault in faults_of(little_run)] == [name]
        path.write_bytes(data)
        flip(path, len(data) // 2)
        assert {fault.file for fault in faults_of(little_run)} == {name}
        path.write_bytes(data)
    assert faults_of(little_run) == []


def test_files_that_the_manifest_does_not_list_are_named(little_run):
    for name in ("shards/extra.tar", "documents/part-9.parquet", "rejected/.part.tmp"):
        (little_run.folder / name).write_bytes(b"x")
    (little_run.folder / "work").mkdir()
    (little_run.folder / "work" / "anything").write_bytes(b"x")
    faults = faults_of(little_run, quick=True)
    assert sorted(fault.file for fault in faults) == [
        "documents/part-9.parquet",
        "rejected/.part.tmp",
        "shards/extra.tar",
    ]
    assert all("not listed" in fault.found for fault in faults)


def test_rejects_that_differ_from_the_books_are_named_by_reason(little_run):
    entry = little_run.manifest.rejected[0]
    path = little_run.folder / entry.name
    table = pq.read_table(path)
    reasons = ["language" if reason == "too_few_words" else reason for reason in table["reason"].to_pylist()]
    changed = table.set_column(table.schema.get_field_index("reason"), table.schema.field("reason"), pa.array(reasons))
    pq.write_table(changed, path)
    rewrite(little_run, lambda m: m._replace(rejected=(entry_of(little_run, entry), *m.rejected[1:])))
    places = {fault.place: fault for fault in faults_of(little_run)}
    assert places.keys() == {"books.rejected.language", "books.rejected.too_few_words"}
    assert "rebuild" in places["books.rejected.language"].found


def test_a_table_with_other_rows_than_the_manifest_says_is_named(little_run):
    first, second = little_run.manifest.documents
    path = little_run.folder / first.name
    pq.write_table(pq.read_table(path).slice(1), path)
    rewrite(little_run, lambda m: m._replace(documents=(entry_of(little_run, first), second)))
    for quick in (True, False):
        fault = faults_of(little_run, quick=quick)[0]
        assert (fault.file, "rows" in fault.found) == (first.name, True)


def test_a_table_without_its_columns_is_named(little_run):
    first, second = little_run.manifest.documents
    path = little_run.folder / first.name
    pq.write_table(pq.read_table(path).drop_columns(["url"]), path)
    rewrite(little_run, lambda m: m._replace(documents=(entry_of(little_run, first), second)))
    [fault] = faults_of(little_run, quick=True)
    assert (fault.file, "no column url" in fault.found) == (first.name, True)


def test_text_that_is_not_as_long_as_counted_is_named(little_run):
    counts = little_run.manifest.counts
    rewrite(little_run, lambda m: m._replace(counts=counts._replace(text_bytes=counts.text_bytes + 1)))
    [fault] = faults_of(little_run)
    assert fault.place == "counts.text_bytes"


def test_lineage_that_differs_from_its_shard_is_named_with_its_row_or_block(little_run):
    k, shard = 1, little_run.manifest.shards[1]
    path = little_run.folder / shard.lineage.name
    table = pq.read_table(path)
    for column, change, place in (
        ("position", lambda values: [values[1], values[0], *values[2:]], "row 0"),
        ("block", lambda values: [*values[:-1], values[-1] - 1], f"row {table.num_rows - 1}"),
        ("n_tokens", lambda values: [*values[:4], values[4] + 1, *values[5:]], "block 1, document 1"),
    ):
        values = pa.array(change(table[column].to_pylist()), pa.int32())
        pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)
        rewrite(little_run, lambda m: with_shard(m, k, shard._replace(lineage=entry_of(little_run, shard.lineage))))
        assert place in {fault.place for fault in faults_of(little_run)}


def test_a_document_that_is_there_twice_is_named_with_both_places(little_run):
    first, second = little_run.manifest.documents
    path = little_run.folder / first.name
    rows = pq.read_table(path).to_pylist()
    rows[3] |= {"document_id": rows[2]["document_id"]}
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    rewrite(little_run, lambda m: m._replace(documents=(entry_of(little_run, first), second)))
    faults = faults_of(little_run)
    [double] = [fault for fault in faults if "already" in fault.found]
    assert (double.file, double.place) == (first.name, "row 3")
    assert f"{first.name} row 2" in double.found
    assert any("is not among the documents" in fault.found for fault in faults)  # the id that gave way


def test_ids_are_compared_a_share_at_a_time_with_the_same_outcome(little_run, monkeypatch):
    lineage = little_run.manifest.shards[2].lineage
    path = little_run.folder / lineage.name
    rows = pq.read_table(path).to_pylist()
    rows[0] |= {"document_id": rows[1]["document_id"]}
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    shard = little_run.manifest.shards[2]
    rewrite(little_run, lambda m: with_shard(m, 2, shard._replace(lineage=entry_of(little_run, lineage))))
    at_once = faults_of(little_run)
    monkeypatch.setattr(verify_rows, "IDS_AT_ONCE", 4)
    assert sorted(faults_of(little_run)) == sorted(at_once) != []


def test_a_token_outside_the_vocabulary_is_named(little_run):
    shard = little_run.manifest.shards[1]
    path = little_run.folder / shard.name
    data = bytearray(path.read_bytes())
    start = int(shard.blocks.offset[1]) + 512
    data[start : start + 2] = (60_000).to_bytes(2, "little")
    path.write_bytes(data)
    from bpe.shards import scan_shard

    blocks = scan_shard(path)
    whole = shard._replace(sha256=hashlib.sha256(data).hexdigest(), blocks=blocks)
    rewrite(little_run, lambda m: with_shard(m, 1, whole))
    [fault] = faults_of(little_run)
    assert (fault.file, fault.place) == (shard.name, "block 1")
    assert "token 60000" in fault.found


def test_another_vocabulary_than_the_manifest_says_is_named(little_run):
    path = little_run.folder / "vocab.json"
    path.write_bytes(path.read_bytes().replace(b'"version":"1.0"', b'"version": "1.0"'))
    data = path.read_bytes()
    vocabulary = little_run.manifest.vocabulary
    said = vocabulary._replace(bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), fingerprint="0" * 64)
    rewrite(little_run, lambda m: m._replace(vocabulary=said))
    [fault] = faults_of(little_run)
    assert (fault.file, "fingerprint" in fault.found) == ("vocab.json", True)


@pytest.mark.parametrize(
    "name", ["pipe:touch MARKER", "/etc/passwd", "../out/x", "http://127.0.0.1:9/x", "shards/../../x"]
)
def test_a_manifest_that_names_anything_outside_its_folder_is_refused_and_nothing_runs(
    inspect_shards, little_run, tmp_path, name
):
    marker = tmp_path / "marker"
    path = little_run.folder / "manifest.json"
    text = path.read_text().replace("shards/little-00000-of-00002.tar", name.replace("MARKER", str(marker)))
    path.write_text(text)
    for command in ("verify", "summary", "show"):
        outcome = inspect_shards(command, little_run.folder)
        assert (outcome.status, outcome.err.count("\n")) == (1, 1)
        assert "manifest.json" in outcome.err
    assert not marker.exists()


def test_a_tar_with_a_pickle_a_link_or_a_huge_size_is_refused_within_a_second(little_run, tmp_path):
    shard = little_run.manifest.shards[0]
    path = little_run.folder / shard.name
    pickled = b"cos\nsystem\n(S'touch " + str(tmp_path / "marker").encode() + b"'\ntR."
    for member, kind in (
        ("00000000.pyd", tarfile.REGTYPE),
        ("../x", tarfile.SYMTYPE),
        ("00000000.tok", tarfile.REGTYPE),
    ):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            info = tarfile.TarInfo(member)
            info.type, info.linkname, info.size = kind, "/etc/passwd", len(pickled) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(pickled))
        data = buffer.getvalue().ljust(shard.bytes, b"\0")[: shard.bytes]
        if member.endswith(".tok"):
            data = data[:124] + b"777777777777" + data[136:]
        path.write_bytes(data)
        start = time.process_time()
        faults = faults_of(little_run)
        assert time.process_time() - start < 1
        assert {fault.file for fault in faults} == {shard.name}
    assert not (tmp_path / "marker").exists()


def test_a_name_that_is_no_file_is_missing_and_nothing_waits_for_it(little_run):
    import os

    path = little_run.folder / little_run.manifest.documents[0].name
    path.unlink()
    os.mkfifo(path)
    assert "missing" in faults_of(little_run)[0].found
