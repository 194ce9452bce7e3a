"""A real web server on the loopback interface that misbehaves on request."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote

import pytest


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
