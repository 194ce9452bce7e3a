"""Reading and writing s3:// through its real driver, against a loopback server that speaks as much S3 as that takes."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

pytest.importorskip("s3fs", reason="s3:// needs the driver of shardmill[aws]")

FOLDER = "crawl-data/CC-NEWS/2016/09"


class BucketHandler(BaseHTTPRequestHandler):
    """As much of S3 as a driver needs to list, read, write and remove."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    signed: set[bool]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.signed.add("Authorization" in self.headers)
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "list-type" in query:
            return self.answer(200, self.list_objects(query), {"Content-Type": "application/xml"})
        data = self.objects.get(self.key())
        if data is None:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
        headers = {"ETag": '"e"', "Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}
        if "Range" in self.headers:
            first, last = (int(text or len(data)) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
            data, whole = data[first : last + 1], len(data)
            headers["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/{whole}"
        return self.answer(206 if "Range" in self.headers else 200, data, headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            data = b"".join(unchunk(data))
        self.objects[self.key()] = data
        self.answer(200, b"", {"ETag": '"e"'})

    def do_DELETE(self) -> None:
        self.objects.pop(self.key(), None)
        self.answer(204, b"")

    def key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def list_objects(self, query: dict[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        matching = [key for key in sorted(self.objects) if key.startswith(prefix)]
        deeper = {key for key in matching if delimiter and delimiter in key[len(prefix) :]}
        folders = sorted({prefix + key[len(prefix) :].split(delimiter)[0] + delimiter for key in deeper})
        keys = [key for key in matching if key not in deeper]
        start = int(query.get("continuation-token", "0"))
        page = keys[start : start + min(1_000, int(query.get("max-keys", "1000")))]
        more = start + len(page) < len(keys)
        token = f"<NextContinuationToken>{start + len(page)}</NextContinuationToken>" if more else ""
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(self.objects[key])}</Size><ETag>e</ETag>"
            "<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in page
        )
        prefixes = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in folders)
        return (
            "<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
            f"<KeyCount>{len(page) + len(folders)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{contents}{prefixes}{token}</ListBucketResult>"
        ).encode()

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def unchunk(data: bytes) -> Iterator[bytes]:
    while True:
        size, _, data = data.partition(b"\r\n")
        n_bytes = int(size.split(b";")[0], 16)
        if not n_bytes:
            return
        yield data[:n_bytes]
        data = data[n_bytes + 2 :]


@pytest.fixture
def bucket() -> Iterator[Any]:
    handler = type("Handler", (BucketHandler,), {"objects": {}, "signed": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    handler.address = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def run(bucket: Any, program: str, **environment: str) -> Any:
    """What a program prints as JSON, run apart since drivers read their settings once a process."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": bucket.address,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **environment,
    }
    header = "import json\nfrom pipelines.inputs import *\nfrom pipelines.storage import *\n"
    done = subprocess.run(
        [sys.executable, "-c", header + program], env=settings, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_month_is_read_without_keys_from_its_list_or_page_after_page(bucket: Any) -> None:
    bucket.objects[f"{FOLDER}/warc.paths.gz"] = gzip.compress(f"{FOLDER}/a.warc.gz\n".encode())
    bucket.objects[f"{FOLDER}/a.warc.gz"] = bytes(range(256)) * 1_000
    for n in range(1_100):
        bucket.objects[f"crawl-data/CC-NEWS/2016/10/{n:04d}.warc.gz"] = b"-" * n
    said = run(
        bucket,
        """
files = resolve_inputs(months="2016-09..2016-10", crawl_root="s3://commoncrawl")
with open_input(files[0].location) as stream:
    stream.seek(70_000)
    data = stream.read(5)
matched = resolve_inputs(inputs=["s3://commoncrawl/crawl-data/CC-NEWS/2016/*/*.warc.gz"])
same = [(f.name, f.location) for f in matched] == [(f.name, f.location) for f in files]
print(json.dumps([files[0], len(files), files[7], list(data), size_of_input(files[0].location), same]))
""",
    )
    place = f"{FOLDER}/a.warc.gz"
    seventh = "crawl-data/CC-NEWS/2016/10/0006.warc.gz"
    assert said == [
        [place, f"s3://commoncrawl/{place}", None],
        1_101,
        [seventh, f"s3://commoncrawl/{seventh}", 6],
        [n % 256 for n in range(70_000, 70_005)],
        256_000,
        True,
    ]
    assert bucket.signed == {False}


def test_a_run_can_write_to_a_bucket_with_the_keys_of_its_machine(bucket: Any) -> None:
    said = run(
        bucket,
        """
path = "s3://bucket/out/shards/a.tar"
write_atomically(path, lambda stream: stream.write(b"first"))
write_atomically(path, lambda stream: stream.write(b"second"))
try:
    write_atomically("s3://bucket/out/shards/b.tar", lambda stream: stream.write(b"half") / 0)
except ZeroDivisionError:
    pass
listed = list_files("s3://bucket/out/shards", "*.tar"), size_of(path), exists("s3://bucket/out/shards/b.tar")
remove(path)
remove(path)
print(json.dumps([*listed, exists(path)]))
""",
        AWS_ACCESS_KEY_ID="id",
        AWS_SECRET_ACCESS_KEY="key",
    )
    assert said == [["a.tar"], 6, False, False]
    assert bucket.objects == {}
    assert bucket.signed == {True}
