"""What the sandbox costs a page: a function that does nothing, with bodies of several sizes.

Type: python tests/benchmarks/bench_sandbox.py [n_pages]

Prints wall time, and processor time of parent and child together, per page.
Sizes grow up to 100 KB, about the mean of a news page: what grows with them is the copying through the pipe.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from corpora.documents import RawPage, Rejection, make_document_id, reject
from pipelines.sandbox import Sandbox

BODY_BYTES = (100, 10_000, 100_000)


def reject_at_once(page: RawPage, settings: object) -> Rejection:
    return reject(page, "quality", "too_short")


def make_pages(n_pages: int, body_bytes: int) -> Iterator[RawPage]:
    body = b"x" * body_bytes
    document_id = make_document_id("a", 0, "")
    for number in range(n_pages):
        own = bytes(memoryview(body))  # pickle would send one shared object once
        yield RawPage(document_id, "http://example.com/", "", 200, "text/html", "utf-8", own, "a.warc.gz", number)


def measure(n_pages: int, body_bytes: int) -> tuple[float, float]:
    """Seconds of wall time, and of processor time, for all pages."""
    here = str(Path(__file__).parent)
    with Sandbox("bench_sandbox:reject_at_once", settings=None, import_paths=[here]) as sandbox:
        child = psutil.Process(sandbox.child_pid)
        before = sum(child.cpu_times()[:2])
        wall, cpu = time.perf_counter(), time.process_time()
        assert sum(1 for _ in sandbox.map(make_pages(n_pages, body_bytes))) == n_pages
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        cpu += sum(psutil.Process(sandbox.child_pid).cpu_times()[:2]) - before
    return wall, cpu


def main() -> None:
    n_pages = int(sys.argv[1]) if len(sys.argv) > 1 else 9_000
    print(f"{'body bytes':>10}  {'wall us/page':>12}  {'cpu us/page':>12}")
    for body_bytes in BODY_BYTES:
        wall, cpu = measure(n_pages, body_bytes)
        print(f"{body_bytes:>10,}  {wall / n_pages * 1e6:>12.1f}  {cpu / n_pages * 1e6:>12.1f}")


if __name__ == "__main__":
    main()
