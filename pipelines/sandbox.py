"""Runs the extraction of pages in a killable child process: a page that hangs, crashes or eats memory is lost alone.

In: an iterable of `RawPage`. Out: one `Document` or `Rejection` a page, in the order of the pages.
The one rule: every page that goes in comes out. When the child dies or a deadline passes, the first page without
an answer is tried once more, alone, in a fresh child, so that the verdict depends on the page and not on what the
child had seen before; if it fails again it is rejected (stage "extract", reason `extract_timeout`,
`extract_crashed` or `extract_memory`) and the pages behind it go on. These rejections are not `broken`:
nothing says that the input is damaged, only that our extractor cannot take it.
An exception of the function itself is `extract_error`, with its type, message and place.

The child (`pipelines.sandbox_child`) never imports Beam; its answers are unpickled with two classes allowed.
Cost measured with a function that does nothing: `tests/benchmarks/bench_sandbox.py`.
"""

import io
import logging
import pickle
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Self

from corpora.documents import Document, RawPage, Rejection, reject
from pipelines import sandbox_child as wire
from pipelines.sandbox_process import Answer, ChildProcess, Failure, SandboxError

__all__ = ["Sandbox", "SandboxCounts", "SandboxError", "SandboxLimits"]

logger = logging.getLogger(__name__)

BATCHES_AHEAD = 2  # one under work, one on its way
PROCESS_PAGE, CHECK_LIBRARIES = "corpora.processing:process_page", "corpora.processing:library_versions"
MAX_WARNINGS = 10
ANSWER_CLASSES = {("corpora.documents", kind.__name__): kind for kind in (Document, Rejection)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxLimits:
    """What one page may cost, and how long one child lives."""

    # Processor time decides before waiting time does, so that a busy machine gives the verdicts of an idle one.
    timeout_s: float = 30.0  # waited for one page
    cpu_s: float = 10.0  # of processor time for one page; 200 times the slowest percentile of trafilatura
    memory_bytes: int = 2 << 30  # address space of the child; it starts with 0.4 GB, of which 0.15 are resident
    batch_pages: int = 50
    batch_bytes: int = 512 << 10  # fits the pipe and the allocator: 80 us of copying for 100 KB, against 220 at 4 MiB
    recycle_pages: int = 10_000  # pages after which a child is replaced, which takes about 1 s
    recycle_bytes: int = 640 << 20  # resident memory after which it is
    start_s: float = 120.0  # to import the extractors on a busy machine

    def __post_init__(self) -> None:
        for name in ("timeout_s", "cpu_s", "memory_bytes", "batch_pages", "batch_bytes", "recycle_pages"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.recycle_bytes <= 0 or self.start_s <= 0:
            raise ValueError("recycle_bytes and start_s must be above 0")


class SandboxCounts(NamedTuple):
    """What a sandbox went through."""

    pages: int  # answered
    children: int  # started
    recycled: int  # replaced because of age or size
    failures: int  # died or cut, first tries and second tries


class Sandbox:
    """One child process at a time, as a context manager; for one thread.

    `function` is called in the child as `function(page, settings)`, and `check` once as `check(settings)` before any
    page: it raises where a library is missing ("" is none; by default the libraries of `process_page` are checked).
    `import_paths` are folders that the child can
    import from besides this project and the environment.
    Raises SandboxError when the child cannot start, for instance because an extractor is not installed.
    """

    def __init__(
        self,
        function: str = PROCESS_PAGE,
        *,
        settings: object,
        check: str | None = None,
        limits: SandboxLimits | None = None,
        import_paths: Sequence[str] = (),
    ) -> None:
        if not all(function.partition(":")):
            raise ValueError(f"function is {function!r}; it is written module:name")
        self._function = function
        self._check = check if check is not None else CHECK_LIBRARIES if function == PROCESS_PAGE else ""
        self._warned: set[str] = set()
        self._settings = pickle.dumps(settings)
        self._limits = limits or SandboxLimits()
        self._import_paths = tuple(import_paths)
        self._child: ChildProcess | None = None
        self._queue: deque[RawPage] = deque()  # read and not answered; the first `n_unanswered` are with the child
        self._mapping = threading.Lock()
        self._pages = self._children = self._recycled = self._failures = 0

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child; the sandbox can be used again and starts another."""
        self._queue.clear()
        if self._child is not None:
            self._child.kill()
            self._child = None

    @property
    def counts(self) -> SandboxCounts:
        return SandboxCounts(self._pages, self._children, self._recycled, self._failures)

    @property
    def child_pid(self) -> int | None:
        """Process id of the child at work, for whoever watches its memory."""
        return self._child.pid if self._child else None

    def map(self, pages: Iterable[RawPage]) -> Iterator[Document | Rejection]:
        """The verdict of each page, in order.

        Pages are read ahead by two batches, at moments that depend on the pages alone and never on timing.
        """
        if not self._mapping.acquire(blocking=False):
            raise ValueError("this sandbox is mapping already; finish that map, or open a sandbox for each thread")
        try:
            yield from self._verdicts(iter(pages))
        finally:
            if self._queue:  # the caller stopped in the middle: nobody wants those answers
                self.close()
            self._mapping.release()

    def _verdicts(self, source: Iterator[RawPage]) -> Iterator[Document | Rejection]:
        sizes: deque[int] = deque()
        while True:
            while len(sizes) < BATCHES_AHEAD and (batch := self._read_batch(source)):
                sizes.append(len(batch))
                self._queue.extend(batch)
                self._send()
            if not sizes:
                return
            for _ in range(sizes.popleft()):
                verdict = self._judge_first()
                self._queue.popleft()
                self._pages += 1
                self._send()
                yield verdict

    def _read_batch(self, source: Iterator[RawPage]) -> list[RawPage]:
        batch: list[RawPage] = []
        n_bytes = 0
        for page in source:
            batch.append(page)
            n_bytes += len(page.body)
            if len(batch) >= self._limits.batch_pages or n_bytes >= self._limits.batch_bytes:
                break
        return batch

    def _send(self) -> None:
        """Hands the child all that is read; a worn-out child first finishes what it has, then another takes over."""
        child = self._child
        if child is not None and self._is_worn_out(child):
            if child.n_unanswered:
                return
            child.kill()
            self._child = None
            self._recycled += 1
        n_sent = self._child.n_unanswered if self._child else 0
        if n_sent < len(self._queue):
            self._start().send(list(islice(self._queue, n_sent, None)))

    def _is_worn_out(self, child: ChildProcess) -> bool:
        return child.n_answered >= self._limits.recycle_pages or child.resident_bytes > self._limits.recycle_bytes

    def _judge_first(self) -> Document | Rejection:
        """The verdict of the first page of the queue, which the child has; after a failure, of a second try alone."""
        page = self._queue[0]
        answer = self._wait(page)
        if isinstance(answer, Failure):
            self._start().send([page])
            answer = self._wait(page)
        if isinstance(answer, Failure):
            return reject(page, "extract", answer.reason, answer.detail)
        if answer.kind == wire.RAISED:
            return self._note_error(page, answer.payload.decode("utf-8", "replace"))
        return read_verdict(page, answer.payload)

    def _note_error(self, page: RawPage, detail: str) -> Rejection:
        """An exception is a fault of our code: it costs the page, and is heard of without reading the rejects."""
        if detail not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(detail)
            logger.warning("extraction_error source=%s offset=%d %s", page.source, page.offset, detail)
        return reject(page, "extract", "extract_error", detail)

    def _wait(self, page: RawPage) -> Answer | Failure:
        """The child's answer; after a failure there is no child."""
        assert self._child is not None
        answer = self._child.next_answer()
        if isinstance(answer, Answer) and answer.kind == wire.NO_MEMORY:
            answer = Failure("extract_memory", f"more than {self._limits.memory_bytes} bytes of memory")
        if isinstance(answer, Failure):
            tail = self._child.kill()
            self._child = None
            self._failures += 1
            logger.info("extraction_failed source=%s offset=%d %s stderr=%r", page.source, page.offset, answer, tail)
        return answer

    def _start(self) -> ChildProcess:
        if self._child is None:
            limits = self._limits
            self._child = ChildProcess(
                self._function,
                self._settings,
                check=self._check,
                memory_bytes=limits.memory_bytes,
                cpu_s=min(limits.cpu_s, limits.timeout_s),
                timeout_s=limits.timeout_s,
                start_s=limits.start_s,
                import_paths=self._import_paths,
            )
            self._children += 1
        return self._child


class _AnswerUnpickler(pickle.Unpickler):
    """Takes Document and Rejection and nothing else: the child has seen hostile pages, so it is not trusted."""

    def find_class(self, module: str, name: str) -> object:
        found = ANSWER_CLASSES.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"a verdict holds a {module}.{name}, and may hold plain fields only")
        return found


def read_verdict(page: RawPage, payload: bytes) -> Document | Rejection:
    """What the child sent for a page; `extract_error` when it is not a verdict."""
    try:
        verdict = _AnswerUnpickler(io.BytesIO(payload)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        return reject(page, "extract", "extract_error", f"unreadable verdict: {error}")
    if isinstance(verdict, (Document, Rejection)):
        return verdict
    return reject(page, "extract", "extract_error", f"a {type(verdict).__name__} instead of a verdict")
