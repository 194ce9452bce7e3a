"""What a run over the bundled sample leaves behind: balanced books, traceable documents, readable shards."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import webdataset
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from bpe.manifest import load_manifest


def test_the_books_balance_and_every_loss_has_its_row(reference_run: Path):
    books = json.loads((reference_run / "manifest.json").read_text())["books"]
    lost = books["rejected"] | books["broken"]
    assert books["read"] == books["kept"] + sum(lost.values())
    rows = ds.dataset(reference_run / "rejected").to_table()
    counted: dict[str, int] = {}
    for reason in rows["reason"].to_pylist():
        counted[reason] = counted.get(reason, 0) + 1
    assert counted == lost
    assert all(source and not source.startswith("/") for source in rows["source"].to_pylist())


def test_documents_carry_their_provenance(reference_run: Path):
    table = ds.dataset(reference_run / "documents").to_table()
    names = {"document_id", "url", "title", "text", "published", "language", "source", "offset"}
    assert names <= set(table.column_names)
    assert len(set(table["document_id"].to_pylist())) == table.num_rows > 80
    assert set(table["language"].to_pylist()) == {"en"}


def test_webdataset_reads_every_shard_and_finds_every_token(reference_run: Path):
    manifest = load_manifest(reference_run)
    assert {shard.split for shard in manifest.shards} == {"train", "held-out"}
    for shard in manifest.shards:
        samples = list(webdataset.WebDataset(str(reference_run / shard.name), shardshuffle=False))
        assert sum(len(sample["tok"]) // 2 for sample in samples) == shard.n_tokens


def test_lineage_leads_from_every_shard_to_its_documents(reference_run: Path):
    manifest = load_manifest(reference_run)
    lineage = [pq.read_table(reference_run / shard.lineage.name) for shard in manifest.shards]
    ids = sorted(one for table in lineage for one in table["document_id"].to_pylist())
    documents = ds.dataset(reference_run / "documents").to_table()
    assert ids == sorted(documents["document_id"].to_pylist())
    assert sum(sum(table["n_tokens"].to_pylist()) for table in lineage) == manifest.counts.tokens


def test_nothing_in_the_manifest_depends_on_where_or_how_it_was_run(reference_run: Path, project_root: Path):
    text = (reference_run / "manifest.json").read_text()
    for trace in (str(reference_run.parent), str(project_root), "workers", "FnApiRunner", "localhost"):
        assert trace not in text


def test_verify_is_green_and_names_the_shard_after_one_flipped_byte(command, reference_run: Path, tmp_path: Path):
    command("inspect-shards", "verify", str(reference_run))
    shutil.copytree(reference_run, tmp_path / "copy")
    shard = load_manifest(tmp_path / "copy").shards[0]
    path = tmp_path / "copy" / shard.name
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    done = command("inspect-shards", "verify", str(tmp_path / "copy"), status=1)
    assert shard.name in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--input", "nowhere/*.warc.gz"], "nowhere"),
        (["--input", "README.md", "--workers", "0"], "--workers"),
        (["--input", "README.md", "--held-out", "2"], "--held-out"),
        (["--input", "README.md", "--vocabulary", "missing.json"], "missing.json"),
        (["--input", "README.md", "--inptu", "x"], "--inptu"),
        (["--months", "2019-02..2016-09"], "2016-09"),
        ([], "--input"),
    ],
)
def test_a_wrong_command_says_so_in_one_line_and_exits_2(command, tmp_path: Path, flags: list[str], says: str):
    done = command("beam", "run", "pipelines/ccnews.py", *flags, "--output", str(tmp_path / "out"), status=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_unknown_pipeline_is_named_with_those_there_are(command):
    assert "pipelines/ccnews.py" in command("beam", "run", "pipelines/nothing.py", status=2).stderr


def test_strict_fails_on_damage_and_names_the_file(command, sample: str, tmp_path: Path):
    done = command(
        "beam", "run", "pipelines/ccnews.py", "--input", sample, "--strict", "--output", str(tmp_path / "out"), status=1
    )
    assert ".warc.gz" in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_full_disk_fails_the_run_with_the_path_named(command, sample: str, tmp_path: Path):
    """A file in the place of a folder stands for a disk that takes no more: root is refused by nothing else."""
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "documents").write_text("in the way")
    done = command("beam", "run", "pipelines/ccnews.py", "--input", sample, "--output", str(tmp_path / "out"), status=1)
    assert "documents" in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_passwords_and_tokens_of_urls_are_nowhere_in_what_is_written_or_said(command, tmp_path: Path):
    article = "<p>" + "The harbour council met on Monday to talk about the new pier and its cost. " * 30 + "</p>"
    urls = [
        "http://reader:CANARY1@a.example/one",
        "http://a.example/two?token=CANARY2&page=3",
        "http://x:CANARY3@b.test/",
    ]
    with (tmp_path / "secrets.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for number, url in enumerate(urls):
            body = (
                f"<html><body><article>{article if number < 2 else ''}{url} {number}</article></body></html>".encode()
            )
            headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(url, "response", payload=BytesIO(body), http_headers=headers))
    output = tmp_path / "out"
    done = command(
        "beam", "run", "pipelines/ccnews.py", "--input", str(tmp_path / "*.warc.gz"), "--output", str(output)
    )
    tables = [pq.read_table(path) for folder in ("documents", "rejected") for path in (output / folder).glob("*")]
    assert sum(table.num_rows for table in tables) == 3
    said = done.stdout + done.stderr + (output / "manifest.json").read_text() + (output / "report.html").read_text()
    for table in tables:
        for column in set(table.column_names) - {"text"}:
            said += str(table[column].to_pylist())
    assert "CANARY" not in said


def test_the_paper_variant_runs_news_please(command, project_root: Path, tmp_path: Path):
    output = tmp_path / "out"
    source = str(project_root / "tests/data/sample/CC-NEWS-SAMPLE-00000.warc.gz")
    flags = ["--variant", "paper", "--input", source, "--output", str(output)]
    command("beam", "run", "pipelines/ccnews.py", *flags)
    extractors = set(ds.dataset(output / "documents").to_table()["extractor"].to_pylist())
    assert any(name.startswith("news-please") for name in extractors)
