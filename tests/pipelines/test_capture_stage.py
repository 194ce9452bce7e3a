"""Pages out of Common Crawl: a real capture over a real server, every outcome, and the same bytes after any stop."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpora.captures import Capture, parse_index_line
from corpora.documents import RawPage
from corpora.openwebtext import UrlRules
from corpora.warc import read_pages
from pipelines.capture_copying import OUTCOMES, find_record
from pipelines.capture_reading import PieceReader
from pipelines.capture_stage import run_common_crawl
from pipelines.fetched_files import FetchedRun, read_fetched, write_fetched
from pipelines.inputs import resolve_inputs
from pipelines.running import PipelineFailedError
from pipelines.settings import Execution
from pipelines.url_stage import run_url_stage
from pipelines.web_requests import Patience

IndexLines = Callable[[Path], list[str]]
RULES = UrlRules(drop_wikipedia=False)  # the only page of Common Crawl's own tour is one of Wikipedia's
ESCOPETE = "https://an.wikipedia.org/wiki/Escopete"
HASTY = Patience(timeout_s=0.5, retries=2, backoff_s=0.01, max_wait_s=0.1)


def make_list(output: Path, urls: list[str], *, created_utc: int = 1) -> None:
    """A finished list of these URLs."""
    path = output.parent / f"{output.name}.ndjson"
    lines = [json.dumps({"url": url, "score": 9, "is_self": False, "created_utc": created_utc}) for url in urls]
    path.write_text("".join(f"{line}\n" for line in lines))
    inputs = resolve_inputs(inputs=[str(path)], list_endings=())
    run_url_stage(RULES, Execution(output=str(output), progress=False), inputs)


def find(output: Path, index: Path, root: str | Path, **options: Any) -> FetchedRun:
    inputs = resolve_inputs(inputs=[str(index)], list_endings=())
    return run_common_crawl(Execution(output=str(output), progress=False, **options), inputs, crawl_root=str(root))


def outcomes(output: Path) -> dict[str, dict[str, Any]]:
    tables = sorted((output / "fetched").glob("*.outcomes.parquet"))
    return {row["url"]: row for table in tables for row in pq.read_table(table).to_pylist()}


@pytest.fixture(scope="module")
def crawl(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, index_lines: IndexLines) -> Path:
    """A crawl of one archive, with its index."""
    root = tmp_path_factory.mktemp("crawl")
    shutil.copy(shared_data / "warc" / "commoncrawl-whirlwind" / "whirlwind.warc.gz", root)
    (root / "index.cdxj").write_text("".join(index_lines(root / "whirlwind.warc.gz")))
    return root


def test_a_page_is_copied_as_it_was_stored_and_every_url_has_its_outcome(crawl: Path, tmp_path: Path):
    output = tmp_path / "out"
    make_list(output, [f"{ESCOPETE}?utm_source=reddit#top", "http://example.com/never-crawled"])
    run = find(output, crawl / "index.cdxj", crawl)
    assert run.outcomes == (("fetched", 1), ("not_in_index", 1))
    assert run == read_fetched(str(output))
    assert run.details["index"] == {"lines": 1, "good": 1, "wanted": 1, "broken": 0}
    rows = outcomes(output)
    row = rows[f"{ESCOPETE}?utm_source=reddit#top"]
    assert (row["outcome"], row["final_url"], row["fetched_at"]) == ("fetched", ESCOPETE, "2024-05-18T01:58:10Z")
    assert row["detail"] == "copied from whirlwind.warc.gz at byte 1023"
    assert rows["http://example.com/never-crawled"]["outcome"] == "not_in_index"
    stored = (output / "fetched" / row["warc"]).read_bytes()[row["offset"] :][: row["length"]]
    assert stored == (crawl / "whirlwind.warc.gz").read_bytes()[1_023:][:17_351]
    with (output / "fetched" / row["warc"]).open("rb") as stream:
        (page,) = read_pages(stream, source=row["warc"])
    assert isinstance(page, RawPage)
    assert (page.url, page.offset, len(page.body)) == (ESCOPETE, row["offset"], row["n_bytes"])


def test_from_a_web_server_the_bytes_are_the_same_and_no_more_is_asked_for(crawl: Path, tmp_path: Path, site):
    site.files["/archive/whirlwind.warc.gz"] = (crawl / "whirlwind.warc.gz").read_bytes()
    site.files["/index.cdxj.gz"] = gzip.compress((crawl / "index.cdxj").read_bytes(), mtime=0)
    site.faults["/archive/whirlwind.warc.gz"].extend(["status 503", "drop 1000"])
    for output, index, root in ((tmp_path / "web", f"{site.url}/index.cdxj.gz", f"{site.url}/archive"),
                                (tmp_path / "disk", crawl / "index.cdxj", crawl)):  # fmt: skip
        make_list(output, [ESCOPETE])
        inputs = resolve_inputs(inputs=[str(index)], list_endings=())
        run_common_crawl(Execution(output=str(output), progress=False), inputs, crawl_root=str(root))
    asked = [request.range for request in site.requests if request.target == "/archive/whirlwind.warc.gz"]
    assert asked == ["bytes=1023-18373"] * 3
    assert outcomes(tmp_path / "web") == outcomes(tmp_path / "disk")
    archives = [next((tmp_path / name / "fetched").glob("*.warc.gz")).read_bytes() for name in ("web", "disk")]
    assert archives[0] == archives[1] != b""


def test_the_best_capture_is_taken_and_the_next_one_where_it_is_damaged(crawl: Path, tmp_path: Path):
    good = json.loads((crawl / "index.cdxj").read_text().splitlines()[0].partition(" {")[2].join(["{", ""]))
    lines = []
    for moment, changes in (("20230101000000", {}), ("20240601000000", {"offset": "1024"}),
                            ("20240701000000", {"filename": "gone.warc.gz"}), ("20250101000000", {})):  # fmt: skip
        lines.append(f"k {moment} {json.dumps({**good, **changes})}\n")
    (tmp_path / "index.cdxj").write_text("".join(lines))
    output = tmp_path / "out"
    make_list(output, [ESCOPETE], created_utc=1_715_000_000)  # May 2024
    find(output, tmp_path / "index.cdxj", crawl)
    row = outcomes(output)[ESCOPETE]
    assert row["outcome"] == "fetched"
    assert row["detail"].startswith("copied from whirlwind.warc.gz at byte 1023; whirlwind.warc.gz at byte 1024: ")
    assert row["detail"].endswith("; gone.warc.gz at byte 1023: no such file")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"offset": "1024"}, "damaged_capture"),
        ({"length": "17350"}, "damaged_capture"),
        ({"offset": "99999999"}, "damaged_capture"),
        ({"url": f"{ESCOPETE}#x", "offset": "0", "length": "516"}, "damaged_capture"),
        ({"filename": "gone.warc.gz"}, "missing_archive"),
        ({"filename": "../whirlwind.warc.gz"}, "not_in_index"),
        ({"status": "404"}, "not_in_index"),
    ],
)
def test_a_capture_that_cannot_be_had_is_an_outcome(crawl: Path, changes: dict[str, str], outcome: str):
    line = (crawl / "index.cdxj").read_text().splitlines()[0]
    fields = json.loads("{" + line.partition("{")[2])
    capture = parse_index_line(f"k 20240518015810 {json.dumps({**fields, **changes})}".encode())
    captures = [capture] if isinstance(capture, Capture) else []
    found = find_record(captures, 0, PieceReader(), crawl_root=str(crawl))
    assert (found.outcome, found.member) == (outcome, b"")
    assert outcome in OUTCOMES
    assert bool(found.detail) == bool(captures)


def test_a_list_whose_captures_are_all_gone_is_a_finished_stage(crawl: Path, tmp_path: Path):
    text = (crawl / "index.cdxj").read_text().replace("whirlwind", "gone")
    (tmp_path / "index.cdxj").write_text(text + "{broken\n")
    output = tmp_path / "out"
    make_list(output, [ESCOPETE])
    run = find(output, tmp_path / "index.cdxj", crawl)
    assert run.outcomes == (("missing_archive", 1),)
    assert run.details["index"]["broken"] == 1
    assert outcomes(output)[ESCOPETE]["warc"] == ""


def test_a_finished_stage_is_not_done_again_and_another_index_is_refused(crawl: Path, tmp_path: Path, capsys):
    output = tmp_path / "out"
    make_list(output, [ESCOPETE])
    find(output, crawl / "index.cdxj", crawl)
    before = {path: path.stat().st_mtime_ns for path in (output / "fetched").iterdir()}
    capsys.readouterr()
    find(output, crawl / "index.cdxj", crawl)
    assert "already finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (output / "fetched").iterdir()} == before
    (tmp_path / "other.cdxj").write_text("\n")
    with pytest.raises(ValueError, match="another list of URLs"):
        find(output, tmp_path / "other.cdxj", crawl)
    assert find(output, tmp_path / "other.cdxj", crawl, overwrite=True).outcomes == (("not_in_index", 1),)


def test_pages_of_a_crawl_and_of_common_crawl_are_never_mixed(crawl: Path, tmp_path: Path):
    output = tmp_path / "out"
    make_list(output, [ESCOPETE])
    (output / "fetched").mkdir()
    (output / "fetched" / "links-00000-00000.warc.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"files of another fetch \(links-"):
        find(output, crawl / "index.cdxj", crawl)
    (output / "fetched" / "links-00000-00000.warc.gz").unlink()
    write_fetched(str(output), FetchedRun("crawl", "mark", (("fetched", 1),)))
    with pytest.raises(ValueError, match=r"fetched another way \(crawl\)"):
        find(output, crawl / "index.cdxj", crawl)


def test_without_a_list_of_urls_the_command_to_run_is_named(crawl: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="run --stage urls first"):
        find(tmp_path / "out", crawl / "index.cdxj", crawl)


def test_an_archive_that_cannot_be_read_now_stops_the_stage_and_the_next_try_goes_on(
    crawl: Path, tmp_path: Path, site, monkeypatch
):
    monkeypatch.setattr("pipelines.capture_copying.PieceReader", lambda: PieceReader(HASTY))
    site.files["/whirlwind.warc.gz"] = (crawl / "whirlwind.warc.gz").read_bytes()
    site.always["/whirlwind.warc.gz"] = "status 503"
    output = tmp_path / "out"
    make_list(output, [ESCOPETE])
    with pytest.raises(PipelineFailedError, match="gave up after 3 tries"):
        find(output, crawl / "index.cdxj", site.url)
    assert read_fetched(str(output)) is None
    assert not list((output / "fetched").iterdir())
    site.always.clear()
    assert find(output, crawl / "index.cdxj", site.url).outcomes == (("fetched", 1),)


@pytest.mark.parametrize("fault", ["", "ignore range", "no content-range", "drop 100", "trickle header", "stall 10"])
def test_pieces_are_what_lies_in_the_file_however_the_server_behaves(site, fault: str):
    data = bytes(range(256)) * 40
    site.files["/a.warc.gz"] = data
    site.faults["/a.warc.gz"].extend([fault] if fault else [])
    reader = PieceReader(HASTY)
    assert reader.read(f"{site.url}/a.warc.gz", 1_000, 500) == data[1_000:1_500]
    assert reader.read(f"{site.url}/a.warc.gz", len(data) - 10, 500) == data[-10:]
    assert reader.read(f"{site.url}/a.warc.gz", len(data) + 10, 500) == b""
    for status, kind in ((404, FileNotFoundError), (403, PermissionError)):
        site.faults["/a.warc.gz"].append(f"status {status}")
        with pytest.raises(kind):
            reader.read(f"{site.url}/a.warc.gz", 0, 10)
    site.faults["/a.warc.gz"].append("wrong range")
    with pytest.raises(OSError, match="use another mirror"):
        reader.read(f"{site.url}/a.warc.gz", 0, 10)


def test_pieces_of_local_files_are_read_as_well(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    reader = PieceReader()
    assert reader.read(str(tmp_path / "a"), 3, 4) == b"3456"
    assert reader.read((tmp_path / "a").as_uri(), 8, 4) == b"89"
    with pytest.raises(FileNotFoundError):
        reader.read(str(tmp_path / "b"), 0, 1)
