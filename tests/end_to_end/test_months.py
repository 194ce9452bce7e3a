"""Months of CC-NEWS, from a mirror on disk and from a web server that answers ranges: the same run."""

import gzip
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MONTH = "crawl-data/CC-NEWS/2016/09"


@pytest.fixture
def mirror(project_root: Path, tmp_path: Path) -> Path:
    """One month as Common Crawl lays it out."""
    folder = tmp_path / "mirror"
    (folder / MONTH).mkdir(parents=True)
    names = []
    for file in sorted((project_root / "tests/data/sample").glob("*.warc.gz")):
        (folder / MONTH / file.name).write_bytes(file.read_bytes())
        names.append(f"{MONTH}/{file.name}\n")
    (folder / MONTH / "warc.paths.gz").write_bytes(gzip.compress("".join(names).encode()))
    return folder


@pytest.fixture
def server(mirror: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = mirror / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            end = min(int(asked[2]) + 1 if asked and asked[2] else len(data), len(data))
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self.wfile.write(data[start:end])

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def test_a_month_from_the_web_is_the_month_from_disk(
    command, mirror: Path, server: str, digest: Callable[[Path], dict[str, str]], tmp_path: Path
):
    for name, root in (("disk", str(mirror)), ("web", server)):
        flags = ["--months", "2016-09..2016-09", "--crawl-root", root, "--output", str(tmp_path / name)]
        command("beam", "run", "pipelines/ccnews.py", *flags)
    assert digest(tmp_path / "web") == digest(tmp_path / "disk")
    assert f'"{MONTH}/CC-NEWS-SAMPLE-00000.warc.gz"' in (tmp_path / "web" / "manifest.json").read_text()


def test_one_can_try_it_on_the_beginning_of_one_file(command, mirror: Path, tmp_path: Path):
    flags = ["--months", "2016-09", "--crawl-root", str(mirror), "--max-warcs", "1", "--limit-bytes", "100000"]
    done = command("beam", "run", "pipelines/ccnews.py", *flags, "--output", str(tmp_path / "out"))
    assert re.search(r"^read \d\d records: .* broken 0$", done.stdout, re.MULTILINE)


def test_a_month_that_is_not_there_is_named(command, mirror: Path, tmp_path: Path):
    flags = ["--months", "2016-10", "--crawl-root", str(mirror), "--output", str(tmp_path / "out")]
    done = command("beam", "run", "pipelines/ccnews.py", *flags, status=2)
    assert "2016-10" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
