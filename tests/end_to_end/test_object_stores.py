"""Runs in an object store, through moto's S3 server on loopback and a gateway before it that fails on demand."""

import http.client
import json
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

moto_server = pytest.importorskip("moto.server", reason="moto's S3 server is not installed; it comes with [dev]")
botocore_session = pytest.importorskip("botocore.session", reason="s3:// needs the driver of shardmill[aws]")

BUCKET = "corpora"


class Gateway(ThreadingHTTPServer):
    """Passes requests on to a server; answers to GET of a .tar are spoiled as `faults` says, one after the other."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), GatewayHandler)
        self.behind, self.faults, self.lock = port, list[str](), threading.Lock()
        self.n_tar_requests = 0

    def next_fault(self) -> str:
        with self.lock:
            self.n_tar_requests += 1
            return self.faults.pop(0) if self.faults else ""


class GatewayHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_shard = self.command == "GET" and self.path.split("?")[0].endswith(".tar")
        fault = self.server.next_fault() if is_shard else ""
        if fault == "refused":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "torn":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 # names of the library

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    before = Gateway(server.get_host_and_port()[1])
    threading.Thread(target=before.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield before
    before.shutdown()
    server.stop()


@pytest.fixture(scope="module")
def settings(gateway: Gateway, environment: dict[str, str]) -> dict[str, str]:
    """The environment of commands that find the server."""
    plain = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return plain | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{gateway.server_port}",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def upload(gateway: Gateway) -> Callable[[Path, str], None]:
    """Puts a folder, or a file, into the bucket."""
    client = botocore_session.Session().create_client(
        "s3", endpoint_url=f"http://127.0.0.1:{gateway.behind}", region_name="us-east-1",
        aws_access_key_id="key", aws_secret_access_key="secret",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)

    def put(source: Path, key: str) -> None:
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_file() and "work" not in path.relative_to(source).parts:
                name = key if source.is_file() else f"{key}/{path.relative_to(source)}"
                client.put_object(Bucket=BUCKET, Key=name, Body=path.read_bytes())

    return put


@pytest.fixture(scope="module")
def stored(upload: Callable[[Path, str], None], reference_run: Path) -> str:
    """The reference run, in the bucket."""
    upload(reference_run, "news")
    return f"s3://{BUCKET}/news"


@pytest.fixture
def run(settings: dict[str, str], project_root: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs a command with a cache of its own; asserts its exit status."""

    def start(*words: str, status: int = 0, **variables: str) -> "subprocess.CompletedProcess[str]":
        env = settings | {"SHARDMILL_CACHE": str(tmp_path / "cache")} | variables
        done = subprocess.run(words, cwd=project_root, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return start


def batches_of(run: Path) -> list[tuple[Any, ...]]:
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [(one["update"], one["place"], one["batch"], one["masked"]) for one in lines if "loss" in one]


def train(
    run: Callable[..., Any], data: str, output: Path, *, ranks: int = 1, status: int = 0, **variables: str
) -> Any:
    words = ["torchrun", f"--nproc-per-node={ranks}", "trainer/pretrain.py", "--recipe", "tiny", "--data", data]
    more = ["--output", str(output), "--max-updates", "3", "--device", "cpu"]
    return run(*words, *more, status=status, **variables)


def test_inspection_says_of_a_stored_run_what_it_says_of_the_local_one(run, stored: str, reference_run: Path):
    for words in (("verify",), ("summary",), ("show",)):
        local, remote = (run("inspect-shards", *words, place).stdout for place in (str(reference_run), stored))
        plain = [
            re.sub(r"-{5,}", "-", text.replace(place, "RUN"))
            for text, place in ((local, str(reference_run)), (remote, stored))
        ]
        assert plain[0] == plain[1]


def test_training_from_a_store_sees_the_very_batches_and_fetches_each_shard_once(
    run, gateway: Gateway, stored: str, reference_run: Path, tmp_path: Path
):
    train(run, str(reference_run), tmp_path / "local")
    train(run, stored, tmp_path / "stored", ranks=2)
    assert batches_of(tmp_path / "stored") == batches_of(tmp_path / "local")
    before = gateway.n_tar_requests
    train(run, stored, tmp_path / "again")
    assert batches_of(tmp_path / "again") == batches_of(tmp_path / "local")
    assert gateway.n_tar_requests == before  # all was in the cache


def test_without_a_cache_blocks_are_read_by_their_ranges(run, stored: str, reference_run: Path, tmp_path: Path):
    train(run, str(reference_run), tmp_path / "local")
    train(run, stored, tmp_path / "stored", SHARDMILL_CACHE_BYTES="0")
    assert batches_of(tmp_path / "stored") == batches_of(tmp_path / "local")
    assert not list((tmp_path / "cache").glob("*.tar"))


def test_answers_that_are_refused_or_torn_are_asked_for_again(run, gateway: Gateway, stored: str, tmp_path: Path):
    gateway.faults = ["refused", "torn", "refused", "torn"]
    assert "OK" in run("inspect-shards", "verify", stored).stdout
    assert gateway.faults == []


def test_a_damaged_file_of_the_cache_is_fetched_again(run, stored: str, tmp_path: Path):
    train(run, stored, tmp_path / "first")
    cached = sorted((tmp_path / "cache").glob("*.tar"))
    assert cached
    for path in cached:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    train(run, stored, tmp_path / "second")
    assert batches_of(tmp_path / "second") == batches_of(tmp_path / "first")


def test_what_the_manifest_does_not_vouch_for_is_never_trained_on(
    run, upload: Callable[[Path, str], None], reference_run: Path, tmp_path: Path
):
    shutil.copytree(reference_run, tmp_path / "news", ignore=shutil.ignore_patterns("work"))
    for path in (tmp_path / "news/shards").glob("*.tar"):
        path.write_bytes(bytes(path.stat().st_size))
    upload(tmp_path / "news", "spoiled")
    done = train(run, f"s3://{BUCKET}/spoiled", tmp_path / "run", status=1)
    assert "it changed in the store; put the shard there again" in done.stderr
    assert batches_of(tmp_path / "run") == []


def test_a_place_that_is_not_there_is_one_line(run, stored: str, tmp_path: Path):
    for place in (f"s3://{BUCKET}/nothing", "s3://no-such-bucket/news"):
        done = run("inspect-shards", "summary", place, status=1)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert place in done.stderr


def test_a_corpus_grows_in_a_store_and_is_trained_on_there(
    run, upload: Callable[[Path, str], None], rows, project_root: Path, vocabulary: Path, reference_run: Path,
    tmp_path: Path,
):  # fmt: skip
    upload(project_root / "tests/data/sample", "crawl")
    output = f"s3://{BUCKET}/growing"
    flags = ["--vocabulary", str(vocabulary), "--held-out", "0.05", "--workers", "1", "--window-files", "1"]
    follow = ["beam", "run", "pipelines/ccnews.py", "--input", f"s3://{BUCKET}/crawl/*.warc.gz", "--output", output]
    done = run(*follow, *flags, "--follow", "--once")
    assert re.search(r"window 2: 1 files, 92 records = 61 kept .*generation 2 ", done.stdout)
    assert not (project_root / "s3:").exists()  # an address is no path
    assert "nothing more to take" in run(*follow, *flags, "--follow", "--once").stdout
    assert "OK" in run("inspect-shards", "verify", output).stdout
    train(run, output, tmp_path / "run")
    shutil.rmtree(tmp_path / "cache")
    train(run, output, tmp_path / "again", ranks=2)
    assert batches_of(tmp_path / "run") == batches_of(tmp_path / "again")
