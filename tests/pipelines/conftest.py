"""What tests of pipelines share: real web servers that misbehave on request, and small finished runs."""

import asyncio
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.encoding import Encoder
from bpe.manifest import FileEntry, InputEntry, Manifest, ShardEntry, load_manifest
from bpe.vocabulary import BYTE_LETTERS, add_special_tokens, dump_vocabulary, load_vocabulary, make_vocabulary
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA, Document, Rejection, make_document_id
from pipelines.commit import RunIdentity, VocabularyCopy, commit
from pipelines.crawl_run import fetch_urls
from pipelines.crawl_settings import FetchSettings, FetchTask
from pipelines.ledger import Books
from pipelines.select_stage import PartSummary, encode_documents, write_part
from pipelines.settings import ShardRules, as_plain
from pipelines.sharding import EncodedDocument, ShardCounts, shard_file_name, shard_key, write_documents
from pipelines.splits import Split
from pipelines.work_files import WorkSummary


class Request(NamedTuple):
    """What a client asked for."""

    target: str
    range: str  # "" where it asked for the whole
    if_range: str
    at_s: float  # monotonic


class Site:
    """What the server holds and how it misbehaves; tests change it as they go.

    `faults[path]` is used up fault by fault, one a request; `always[path]` holds for every request.
    A fault is one of: "status 503", "retry-after 1", "drop 1000" (so many bytes of the body, then the
    connection is closed), "stall 1000", "trickle", "trickle header", "ignore range", "cut range 1000",
    "no length", "no validators", "redirect /other", "wrong range", "empty range", "no content-range".
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.pages: Callable[[str], bytes | None] = lambda target: None  # what is made up for a target
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.always: dict[str, str] = {}
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.url = ""


class SiteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def handle(self) -> None:
        with suppress(ConnectionError):  # clients go away in the middle: that is what is tested
            super().handle()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        path = unquote(self.path.split("?")[0])
        headers = self.headers
        site.requests.append(
            Request(self.path, headers.get("Range", ""), headers.get("If-Range", ""), time.monotonic())
        )
        fault = site.faults[path].popleft() if site.faults[path] else site.always.get(path, "")
        body = site.pages(self.path)
        if body is None:
            body = site.files.get(path)
        with suppress(ConnectionError):
            if body is None:
                self.answer(404, {}, b"not here")
            else:
                self.serve(body, f'"{site.etags.get(path, "v1")}"', fault)

    def serve(self, body: bytes, etag: str, fault: str) -> None:
        kind, _, argument = fault.rpartition(" ")
        if kind == "status":
            return self.answer(int(argument), {}, b"go away")
        if kind == "retry-after":
            return self.answer(503, {"Retry-After": argument}, b"later")
        if kind == "redirect":
            return self.answer(302, {"Location": argument}, b"")
        start, end = 0, len(body)
        wanted = self.headers.get("Range", "")
        if_range = self.headers.get("If-Range", etag)
        ranged = wanted.startswith("bytes=") and fault not in ("ignore range", "no length") and if_range == etag
        if ranged:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(body):
                return self.answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
            end = min(end, start + int(argument)) if kind == "cut range" else end
        sent = {} if fault == "no validators" else {"ETag": etag, "Last-Modified": "Mon, 26 Sep 2016 21:18:09 GMT"}
        if ranged and fault != "no content-range":
            last = start - 1 if fault == "empty range" else end - 1
            sent["Content-Range"] = f"bytes {start + (fault == 'wrong range')}-{last}/{len(body)}"
        return self.answer(206 if ranged else 200, sent, body[start:end], fault)

    def answer(self, status: int, headers: dict[str, str], body: bytes, fault: str = "") -> None:
        if fault == "trickle header":
            return self.trickle(b"HTTP/1.1 206 Partial Content\r\nX-Slow: " + b"a" * 10_000, 1)
        kind, _, argument = fault.rpartition(" ")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault == "no length":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind in ("drop", "stall"):
            self.wfile.write(body[: int(argument)])
            self.wfile.flush()
            if kind == "stall":
                self.site.stopping.wait(20)
            self.close_connection = True
        elif fault == "trickle":
            self.trickle(body, 1)
        else:
            self.wfile.write(body)
        return None

    def trickle(self, data: bytes, n_bytes: int) -> None:
        for start in range(0, len(data), n_bytes):
            self.wfile.write(data[start : start + n_bytes])
            self.wfile.flush()
            if self.site.stopping.wait(0.05):
                break
        self.close_connection = True


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server of the test's own; `site.url` is its root."""
    held = Site()
    handler = type("Handler", (SiteHandler,), {"site": held})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    held.url = f"http://127.0.0.1:{server.server_port}"
    yield held
    held.stopping.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Visited(NamedTuple):
    """A request that the crawled server saw; times are monotonic seconds."""

    host: str
    target: str
    began_s: float
    answered_s: float  # just before the answer was sent
    headers: dict[str, str]


class CrawledServer:
    """All the hosts of a small web, on one socket; what it answers is changed by tests as they go.

    `answers[host, target]` is a whole response, a list of them to be used one a request (the last one stays), or a
    coroutine function that is given the connection. Everything else is an HTML page, and robots.txt is a 404.
    """

    def __init__(self, address: str, tls: Any = None) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.visits: list[Visited] = []
        self.n_connections = 0
        self.address = address
        self.tls = tls
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def url(self, host: str, target: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{target}"

    def seen(self, host: str) -> list[str]:
        return [visit.target for visit in self.visits if visit.host == host]

    @staticmethod
    def page(body: bytes | str = b"<p>hello", status: str = "200 OK", **headers: str) -> bytes:
        """A response; `Retry_After="1"` becomes a header."""
        data = body.encode() if isinstance(body, str) else body
        fields = {"Content-Type": "text/html", "Content-Length": str(len(data)), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + data

    def redirect(self, location: str, status: str = "302 Found") -> bytes:
        return self.page(b"", status, Location=location)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)

        async def start() -> None:
            server = await asyncio.start_server(self._serve, self.address, 0, ssl=self.tls)
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            began_s = time.monotonic()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            host, target = headers["host"].rpartition(":")[0], head[0].split(" ")[1]
            default = self.page(b"", "404 Not Found") if target == "/robots.txt" else self.page(f"<p>{host}{target}")
            answer = self.answers.get((host, target), self.answers.get((host, "*"), default))
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            self.visits.append(Visited(host, target, began_s, time.monotonic(), headers))
            if callable(answer):
                await answer(reader, writer)
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    def close(self) -> None:
        async def stop() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            self.loop.call_soon(self.loop.stop)

        asyncio.run_coroutine_threadsafe(stop(), self.loop)
        self.thread.join(timeout=5)


@pytest.fixture
def crawled_servers() -> Iterator[Callable[..., CrawledServer]]:
    """Starts servers of the test's own, on any address of the loopback network."""
    started: list[CrawledServer] = []

    def start(address: str = "127.0.0.1", *, tls: Any = None) -> CrawledServer:
        server = CrawledServer(address, tls)
        server.thread.start()
        assert server.ready.wait(5)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def web(crawled_servers: Callable[..., CrawledServer]) -> CrawledServer:
    return crawled_servers()


@pytest.fixture
def crawl(tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Fetches URLs with quick settings; rows of the outcomes by key, which is the URL unless tasks are given."""

    def run(urls: Iterable[str], *, folder: Path = tmp_path / "fetched", **changed: Any) -> dict[str, dict[str, Any]]:
        summary = fetch_urls([FetchTask(url, url) for url in urls], folder, quick(**changed), name="t", progress=False)
        rows = [row for table in summary.tables for row in pq.read_table(table).to_pylist()]
        assert len({row["key"] for row in rows}) == len(rows) == summary.n_tasks
        return {row["key"]: row for row in rows}

    return run


def quick(**changed: Any) -> FetchSettings:
    names = [*(f"h{number:02}.example" for number in range(60)), "a.example", "b.example", "www.a.example"]
    settings: dict[str, Any] = {
        "contact": "ops@example.org",
        "delay_s": 0.0,
        "backoff_s": 0.01,
        "hosts": tuple((name, "127.0.0.1") for name in names),
        "allow_addresses": ("127.0.0.1",),
    }
    return FetchSettings(**settings | changed)


@pytest.fixture
def quick_settings() -> Callable[..., FetchSettings]:
    return quick


SHARDS = ShardRules(held_out=0.25, block_tokens=400)
COUNTS = ShardCounts(2, 1)
NO_REASONS: Counter[str] = Counter()


@pytest.fixture(scope="session")
def byte_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> VocabularyCopy:
    """A vocabulary of all bytes and nothing longer."""
    vocabulary = make_vocabulary(add_special_tokens(list(BYTE_LETTERS), n_filler=0), ())
    path = tmp_path_factory.mktemp("vocabulary") / "bytes.json"
    path.write_bytes(dump_vocabulary(vocabulary))
    return VocabularyCopy(str(path), vocabulary.fingerprint, vocabulary.size, SHARDS.encoding)


@pytest.fixture(scope="session")
def write_corpus(byte_vocabulary: VocabularyCopy) -> Callable[..., Manifest]:
    """Writes a finished run of these documents and rejections, with the parts that real runs are written by.

    A part for each source; `keep_documents=False` leaves the texts out, as `prep-shards encode` does.
    """

    def write(
        folder: Path,
        documents: Sequence[Document],
        rejections: Sequence[Rejection],
        *,
        keep_documents: bool = True,
        state: Sequence[FileEntry] = (),
        details: Mapping[str, object] = MappingProxyType({}),
        kinds: tuple[str, ...] = (),
    ) -> Manifest:
        for name in ("documents", "rejected", "shards"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        encoder = Encoder(load_vocabulary(byte_vocabulary.path), mode=SHARDS.encoding)
        parts, encoded = [], []
        for source in sorted({one.source for one in (*documents, *rejections)}):
            kept = as_table(DOCUMENT_SCHEMA, (one for one in documents if one.source == source))
            lost = as_table(REJECTION_SCHEMA, (one for one in rejections if one.source == source))
            encoded += list(encode_documents(kept, encoder))
            part = write_source(folder, source, kept, lost, kinds)
            if not keep_documents and part.documents is not None:
                (folder / part.documents.name).unlink()
                part = part._replace(documents=None)
            parts.append(part)
        settings: dict[str, object] = {"corpus": "little", "shards": as_plain(SHARDS)}
        commit(
            str(folder),
            RunIdentity("little", settings),
            vocabulary=byte_vocabulary,
            inputs=[InputEntry(source, 1_000, "f" * 32) for source in sorted({one.source for one in documents})],
            parts=parts,
            shards=write_shards(folder, encoded),
            state=state,
            details=details,
        )
        return load_manifest(folder)

    return write


def write_source(folder: Path, source: str, kept: pa.Table, lost: pa.Table, kinds: tuple[str, ...]) -> PartSummary:
    reasons = {kind: Counter(row["reason"] for row in lost.to_pylist() if row["broken"] == kind) for kind in (0, 1)}
    pairs = [tuple(sorted(reasons[kind].items())) for kind in (0, 1)]
    books = Books(kept.num_rows + lost.num_rows, kept.num_rows, *pairs)
    return write_part(
        str(folder),
        Split(source, "", "", 0, 0, 0, 0).part_name,
        [WorkSummary(books, 1, 0)],
        kept,
        rejected=lost.sort_by([("offset", "ascending"), ("document_id", "ascending")]),
        reasons=NO_REASONS,
        contamination=(),
        kinds=kinds,
    )


def write_shards(folder: Path, encoded: Iterable[EncodedDocument]) -> list[ShardEntry]:
    shares: dict[str, list[EncodedDocument]] = defaultdict(list)
    for one in encoded:
        shares[shard_key(one.document_id, SHARDS, COUNTS)].append(one)
    return [
        write_documents(
            str(folder),
            shard_file_name("little", key, COUNTS),
            sorted(share, key=lambda one: one.document_id),
            split=key.split("/")[0],
            block_tokens=SHARDS.block_tokens,
        )
        for key, share in sorted(shares.items())
    ]


def as_table(schema: pa.Schema, rows: Iterable[NamedTuple]) -> pa.Table:
    return pa.Table.from_pylist([row._asdict() for row in rows], schema)


@pytest.fixture(scope="session")
def little_corpus() -> tuple[list[Document], list[Rejection]]:
    """Forty pages of three crawl files: most are kept, some are rejected, some are duplicates of what is kept."""
    documents: list[Document] = []
    rejections: list[Rejection] = []
    for k in range(40):
        source, offset, url = f"crawl/NEWS-{k % 3}.warc.gz", 100 * k, little_url(k)
        document_id = make_document_id(source, offset, url)
        if k % 8 in (2, 5):
            keeper = documents[-1]
            reason, dropped_by = ("duplicate_text", keeper.document_id) if k % 8 == 5 else ("too_short", None)
            detail = f"kept {keeper.document_id.hex()}" if dropped_by else f"short text of page {k}"
            stage = "deduplicate" if dropped_by else "quality"
            rejections.append(
                Rejection(document_id, url, stage, reason, detail, source, offset, False, dropped_by=dropped_by)
            )
            continue
        text = f"Secret number {k} was told by a witness. The river rose {k} feet, café lights burned. " * (1 + k % 3)
        documents.append(
            Document(
                document_id, url, f"Story {k}", text, "2016-09-26", "en" if k % 4 else "de", source, offset,
                f"2016-09-26T21:18:{k:02d}Z", ("A. Writer",), "en", f"site {k}", "utf-8", "http", "little 1",
                gaps=k % 2,
            )
        )  # fmt: skip
    return documents, rejections


def little_url(k: int) -> str:
    return f"https://www.news{k % 7}.example.org/story/{k}?utm_source=feed"
