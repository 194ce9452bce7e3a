"""How a follower is doing, for monitoring: `/metrics` in Prometheus' text format, and `/healthz`.

Counts of documents and tokens are those of the corpus, so they go on after a restart; failures and times are of this
process. `/healthz` answers 503, and says why, when windows fail again and again or nobody has looked for too long.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bpe.growing import Growing

PREFIX = "shardmill_follow_"
SICK_AFTER_FAILURES = 3  # in a row
_PATIENCE_S = 120.0  # beyond three times the interval between looks


@dataclass(kw_only=True)
class FollowStatus:
    """What there is to say; the supervisor writes it, the server reads it."""

    every_s: float
    growing: Growing | None = None
    pending_files: int = 0
    pending_bytes: int = 0
    oldest_pending_at: float | None = None  # on the monotonic clock
    changed_files: int = 0
    window: int = 0  # that is being made, 0 for none
    compacting: bool = False
    window_s: float = 0.0  # that the last one took
    last_success: float = 0.0  # seconds since 1970
    failures: int = 0
    failures_in_a_row: int = 0
    last_failure: str = ""
    waits_for_room: bool = False
    looked_at: float = field(default_factory=time.monotonic)

    def complaint(self) -> str:
        """What is wrong, "" when all is well."""
        if self.failures_in_a_row >= SICK_AFTER_FAILURES:
            return f"{self.failures_in_a_row} failures in a row: {self.last_failure}"
        idle_s = time.monotonic() - self.looked_at
        if not (self.window or self.compacting) and idle_s > 3 * self.every_s + _PATIENCE_S:
            return f"nobody has looked for new files for {idle_s:.0f} s"
        return ""


class _Collector:
    """The status as metrics."""

    def __init__(self, status: FollowStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status, windows = self._status, self._status.growing.windows if self._status.growing else ()
        yield _gauge("generation", "generation of the corpus", status.growing.generation if status.growing else 0)
        yield _counter("windows", "windows that the corpus is made of", windows[-1].last if windows else 0)
        yield _gauge("runs", "runs that the newest generation lists", len(windows))
        yield _counter("files", "input files that the corpus is made of", sum(one.files for one in windows))
        documents = CounterMetricFamily(f"{PREFIX}documents", "records of the corpus", labels=["outcome"])
        for outcome in ("kept", "rejected", "broken"):
            documents.add_metric([outcome], sum(getattr(one, outcome) for one in windows))
        yield documents
        yield _counter("tokens", "tokens of the corpus", sum(one.tokens for one in windows))
        yield _counter("failures", "windows and looks that failed, in this process", status.failures)
        yield _gauge("consecutive_failures", "failures since the last success", status.failures_in_a_row)
        yield _gauge("pending_files", "files that wait for a window", status.pending_files)
        yield _gauge("pending_bytes", "bytes of the files that wait, where known", status.pending_bytes)
        waited = time.monotonic() - status.oldest_pending_at if status.oldest_pending_at is not None else 0.0
        yield _gauge("oldest_pending_seconds", "time that the oldest of them has waited", waited)
        yield _gauge("changed_files", "files that changed after they were taken", status.changed_files)
        yield _gauge("window_seconds", "time that the last window took", status.window_s)
        yield _gauge("window_in_progress", "number of the window that is being made, 0 for none", status.window)
        yield _gauge("compacting", "1 while windows are merged", float(status.compacting))
        yield _gauge("last_success_timestamp_seconds", "when the last window was published", status.last_success)
        yield _gauge("waiting_for_room", "1 while the disk is too full to begin a window", float(status.waits_for_room))


@contextmanager
def serve_health(status: FollowStatus, *, host: str, port: int | None) -> Iterator[str]:
    """Serves the status while the context is open, unless there is no port; gives the address, OSError if taken."""
    if port is None:
        yield ""
        return
    registry = CollectorRegistry()
    registry.register(_Collector(status))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/healthz":
                complaint = status.complaint()
                self._answer(503 if complaint else 200, "text/plain; charset=utf-8", f"{complaint or 'ok'}\n".encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"/metrics and /healthz are here\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise OSError(f"--metrics-port {port}: {error.strerror} on {host}; choose another") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)
