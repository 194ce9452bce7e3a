"""Real web servers on the loopback interface that misbehave on request: one of files, one of many hosts to crawl."""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

from pipelines.crawl_run import fetch_urls
from pipelines.crawl_settings import FetchSettings, FetchTask


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
