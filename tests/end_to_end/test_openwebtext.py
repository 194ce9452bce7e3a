"""OpenWebText as a user runs it: real submissions, Common Crawl's way and the crawler's, and what is said on it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpora.documents import RawPage
from corpora.warc import read_pages
from pipelines import openwebtext

RUN = ("beam", "run", "pipelines/openwebtext.py")
IndexLines = Callable[[Path], list[str]]


def write_submissions(path: Path, urls: list[str]) -> None:
    rows = [
        {"url": url, "score": 5, "is_self": False, "over_18": False, "created_utc": "1500000000", "id": f"x{number}"}
        for number, url in enumerate(urls)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def sample_pages(root: Path) -> list[RawPage]:
    pages = []
    for path in sorted((root / "tests" / "data" / "sample").glob("*.warc.gz")):
        with path.open("rb") as stream:
            pages += [page for page in read_pages(stream, source=path.name) if isinstance(page, RawPage)]
    return pages


def manifest_of(output: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads((output / "manifest.json").read_bytes())
    return shown


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory, project_root: Path, index_lines: IndexLines) -> Path:
    """The bundled sample as if it were a crawl of Common Crawl's, with an index, and submissions of all its pages."""
    root = tmp_path_factory.mktemp("crawl")
    lines: list[str] = []
    for path in sorted((project_root / "tests" / "data" / "sample").glob("*.warc.gz")):
        shutil.copy(path, root)
        lines += index_lines(root / path.name)
    (root / "cdx-00000.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    write_submissions(root / "RS_2017-07.ndjson", [page.url for page in sample_pages(project_root)])
    return root


@pytest.mark.slow
def test_the_urls_of_real_submissions_are_the_same_with_one_worker_and_with_two(
    command, shared_data: Path, digest, tmp_path: Path
):
    pattern = str(shared_data / "reddit" / "pushshift-RS" / "*.xz")
    for workers in ("1", "2"):
        done = command(*RUN, "--stage", "urls", "--submissions", pattern, "--output", tmp_path / workers, "--workers",
                       workers)  # fmt: skip
        assert "read 1,182 submissions: kept 828, rejected 354, broken 0" in done.stdout
    assert digest(tmp_path / "1") == digest(tmp_path / "2")
    assert json.loads((tmp_path / "1" / "urls" / "urls.json").read_bytes())["books"]["kept"] == 828
    again = command(*RUN, "--stage", "urls", "--submissions", pattern, "--output", tmp_path / "1")
    assert "already finished" in again.stdout


@pytest.fixture(scope="module")
def finished(command, crawl: Path, vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three stages in one command, one worker."""
    output = tmp_path_factory.mktemp("openwebtext") / "out"
    command(*flags(crawl, vocabulary, output), "--workers", "1", timeout=400)
    return output


def flags(crawl: Path, vocabulary: Path, output: Path) -> list[str]:
    return [
        *RUN, "--submissions", str(crawl / "*.ndjson"), "--from-common-crawl", str(crawl / "cdx-*.gz"), "--crawl-root",
        str(crawl), "--vocabulary", str(vocabulary), "--held-out", "0.05", "--output", str(output),
    ]  # fmt: skip


def test_every_submission_is_accounted_for_from_its_line_to_its_document(finished: Path):
    urls = json.loads((finished / "urls" / "urls.json").read_bytes())
    fetched = json.loads((finished / "fetched" / "fetched.json").read_bytes())
    books = manifest_of(finished)["books"]
    assert urls["books"]["read"] == urls["books"]["kept"] + sum(urls["books"]["rejected"].values())
    assert sum(fetched["outcomes"].values()) == urls["books"]["kept"]
    assert books["read"] == fetched["outcomes"]["fetched"]
    assert books["kept"] > 30
    assert books["rejected"]["too_few_tokens"] > 0  # documents of fewer than 128 tokens
    outcomes = pq.read_table(next((finished / "fetched").glob("*.outcomes.parquet"))).to_pylist()
    places = {(row["warc"], row["offset"]): row for row in outcomes if row["warc"]}
    documents = [row for path in (finished / "documents").iterdir() for row in pq.read_table(path).to_pylist()]
    assert len(documents) == books["kept"]
    for document in documents:
        assert document["language"] == "en"
        assert places[document["source"], document["offset"]]["final_url"] == document["url"]


def test_the_run_is_recognised_and_its_settings_say_how_it_was_made(command, finished: Path, crawl, vocabulary):
    settings = manifest_of(finished)["settings"]
    assert (settings["corpus"], settings["variant"]) == ("openwebtext", "default")
    assert settings["shards"]["min_tokens"] == 128
    again = command(*flags(crawl, vocabulary, finished))
    assert again.stdout.count("already finished") == 3


@pytest.mark.slow
def test_killed_in_every_stage_it_writes_the_same_bytes(
    environment, project_root: Path, finished: Path, crawl: Path, vocabulary: Path, command, digest, tmp_path: Path
):
    words = flags(crawl, vocabulary, tmp_path / "out")
    # What a stage leaves while it runs, and so shows that it has begun but is not done.
    for begun in ("work/urls-*/*", "fetched/*.parquet", "work/*/progress/*.json"):
        run = subprocess.Popen(
            words, cwd=project_root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < end and not any((tmp_path / "out").glob(begun)):
            time.sleep(0.01)
        assert run.poll() is None, f"the run ended before it was seen to write {begun}"
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    command(*words, timeout=400)
    assert digest(tmp_path / "out") == digest(finished)


@pytest.mark.slow
def test_stages_one_by_one_with_two_workers_write_the_same_bytes(
    command, finished: Path, crawl: Path, vocabulary: Path, digest, tmp_path: Path
):
    for stage in ("urls", "fetch", "extract"):
        command(*flags(crawl, vocabulary, tmp_path / "out"), "--stage", stage, "--workers", "2", timeout=400)
    assert digest(tmp_path / "out") == digest(finished)


def test_archives_of_an_earlier_fetch_can_be_extracted_by_themselves(
    command, finished: Path, vocabulary: Path, tmp_path: Path
):
    command(*RUN, "--stage", "extract", "--fetched", str(finished / "fetched"), "--vocabulary", str(vocabulary),
            "--held-out", "0.05", "--output", str(tmp_path / "out"), "--workers", "1")  # fmt: skip
    assert manifest_of(tmp_path / "out")["books"] == manifest_of(finished)["books"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stage", "urls"], "name pushshift's files with --submissions"),
        (["--stage", "urls", "--submissions", "nowhere/*.zst"], "nowhere/*.zst"),
        (["--stage", "fetch"], "--fetch-contact"),
        (["--stage", "fetch", "--fetch-contact", "me@example.org"], "run --stage urls first"),
        (["--stage", "extract"], "run --stage fetch"),
        (["--stage", "urls", "--submissions", "a", "--fetched", "b"], "--fetched"),
        (["--submissions", "a", "--fetch-contact", "me@example.org", "--vocabulary", "none.json"], "none.json"),
        (["--stage", "urls", "--submissions", "a", "--no-such-flag"], "--no-such-flag"),
    ],
)
def test_what_is_missing_is_one_line_with_the_command_to_run(capsys, tmp_path: Path, words: list[str], said: str):
    assert openwebtext.run([*words, "--output", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


class Articles(BaseHTTPRequestHandler):
    """Serves the sample's articles by number, under a robots.txt that forbids some."""

    bodies: list[bytes]

    def do_GET(self) -> None:
        number = self.path.removeprefix("/article/")
        if self.path == "/robots.txt":
            self.answer(200, b"User-agent: *\nDisallow: /private/\n", "text/plain")
        elif number.isdecimal() and int(number) < len(self.bodies):
            self.answer(200, self.bodies[int(number)], "text/html; charset=utf-8")
        else:
            self.answer(404, b"not here", "text/html")

    def answer(self, status: int, body: bytes, mime: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", mime)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def articles(project_root: Path) -> Iterator[int]:
    """The port of a server of 12 English articles."""
    rows = [line.split("\t") for line in (project_root / "tests/data/sample/expected.tsv").read_text().splitlines()]
    wanted = {row[2] for row in rows if row[3:5] == ["en", "article"]}
    bodies = [page.body for page in sample_pages(project_root) if page.url in wanted and page.mime == "text/html"][:12]
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Articles,), {"bodies": bodies}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_pages_are_crawled_politely_and_become_documents(command, articles: int, tmp_path: Path):
    host = f"http://news.example.org:{articles}"
    paths = [*(f"article/{number}" for number in range(12)), "article/99", "private/1", "article/0?utm_source=reddit"]
    write_submissions(tmp_path / "RS.ndjson", [f"{host}/{path}" for path in paths])
    (tmp_path / "hosts").write_text("127.0.0.1 news.example.org\n")
    words = [
        *RUN, "--submissions", str(tmp_path / "RS.ndjson"), "--fetch-contact", "me@example.org",
        "--fetch-delay", "0.02", "--fetch-hosts-file", str(tmp_path / "hosts"), "--fetch-allow-address", "127.0.0.1/32",
        "--output", str(tmp_path / "out"), "--workers", "1",
    ]  # fmt: skip
    done = command(*words)
    assert "kept 14, rejected 1" in done.stdout
    fetched = json.loads((tmp_path / "out" / "fetched" / "fetched.json").read_bytes())
    assert fetched["outcomes"] == {"fetched": 12, "http_status": 1, "robots_disallowed": 1}
    books = manifest_of(tmp_path / "out")["books"]
    assert books["read"] == 12
    assert books["kept"] >= 10
    assert command(*words).stdout.count("already finished") == 3
