"""The parent's handle on one child of the sandbox: starts it, feeds it, reads its answers, kills it.

Requests go in and answers come out through non-blocking pipes served by one selector, so that neither side can wait
for the other with both pipes full. The one rule: `next_answer` always comes back, with an answer or with the
reason why there is none, at most a deadline after the child last moved.
Details of failures hold nothing of this machine or moment: they go into the rejects, which must be reproducible.
"""

import contextlib
import fcntl
import os
import pickle
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

from corpora.documents import RawPage
from corpora.errors import CorpusError
from pipelines import sandbox_child as wire

PIPE_BYTES = 1 << 20  # the most that Linux gives without privilege: a batch of answers fits while nobody reads
READ_BYTES = 1 << 18
STDERR_TAIL_BYTES = 8 << 10
MAX_ANSWER_BYTES = 1 << 28
EXIT_S = 1.0  # between a child closing its pipe and its end
ROOT = Path(__file__).resolve().parents[1]
FATAL_PLACE = re.compile(r'most recent call first\):\n  File "([^"\n]+)", line (\d+)')  # written by faulthandler
ALLOCATION_FAILED = (b"std::bad_alloc", b"memory allocation of", b"Out of memory")  # C++, Rust, and C libraries
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class SandboxError(CorpusError):
    """The child cannot start, so no page could be extracted: the environment is wrong, not the input."""


class Failure(NamedTuple):
    """A child that was lost with the page under work."""

    reason: str  # a key of the books
    detail: str


class Answer(NamedTuple):
    """What the child said of one page."""

    kind: bytes  # VERDICT, RAISED or NO_MEMORY of sandbox_child
    payload: bytes


class ChildProcess:
    """A running child that said it is ready."""

    def __init__(
        self,
        function: str,
        settings: bytes,
        *,
        check: str,
        memory_bytes: int,
        cpu_s: float,
        timeout_s: float,
        start_s: float,
        import_paths: Sequence[str],
    ) -> None:
        self.n_unanswered = 0
        self.n_answered = 0
        self.resident_bytes = 0
        self._cpu_s = max(1, ceil(cpu_s))
        self._timeout_s = timeout_s
        self._outbox: deque[memoryview] = deque()  # never joined: a batch is megabytes
        self._inbox = bytearray()
        self._stderr = bytearray()
        self._ended = False
        self._stopped = False
        self._moved_at = 0.0
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = _launch(lifeline, import_paths)
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self._open_pipes()
        on_main_thread = threading.current_thread() is threading.main_thread()
        parent = os.getpid() if on_main_thread else 0
        task = wire.Task(function, check, settings, memory_bytes, self._cpu_s, lifeline, parent)
        self._post(task)
        self._await_ready(function, start_s)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, pages: list[RawPage]) -> None:
        """Queues a batch; the bytes leave as the child takes them."""
        self._post(pages)
        self.n_unanswered += len(pages)
        self._pump(0.0)

    def next_answer(self) -> Answer | Failure:
        """The answer for the first page without one. After a Failure, `kill` is all that is left to do."""
        assert self.n_unanswered
        answer = self._next_frame(self._timeout_s)
        if isinstance(answer, Answer):
            self.n_unanswered -= 1
            self.n_answered += 1
        return answer

    def kill(self) -> str:
        """Ends the child and all that it started, at once; returns the end of what it wrote to stderr."""
        if self._stopped:
            return ""
        self._stopped = True
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already; macOS says EPERM of a zombie
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        os.close(self._lifeline)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        return self._stderr.decode("utf-8", "replace")

    def __del__(self) -> None:
        if hasattr(self, "_selector"):  # launched
            self.kill()

    def _open_pipes(self) -> None:
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._requests, self._answers, self._errors = (pipe.fileno() for pipe in pipes if pipe is not None)
        for descriptor in (self._requests, self._answers, self._errors):
            os.set_blocking(descriptor, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            for pipe in (self._requests, self._answers):
                with contextlib.suppress(OSError):  # the user's share of pipe memory is used up: slower, not wrong
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._selector.register(self._errors, selectors.EVENT_READ)

    def _await_ready(self, function: str, start_s: float) -> None:
        answer = self._next_frame(start_s)
        if isinstance(answer, Answer) and answer.kind == wire.READY:
            return
        tail = self.kill().strip().rpartition("\n")[2]
        if isinstance(answer, Answer):
            found = answer.payload.decode("utf-8", "replace")
            raise SandboxError(f"the extraction process cannot use {function}: {found}; {_remedy(found)}")
        said = f" ({tail})" if tail else ""
        raise SandboxError(
            f"the extraction process did not start: {answer.detail}{said};"
            f" raise its memory limit, or see whether `python -m pipelines.sandbox_child` starts"
        )

    def _post(self, message: object) -> None:
        payload = pickle.dumps(message, protocol=5)
        if not self._outbox:
            self._selector.register(self._requests, selectors.EVENT_WRITE)
        self._outbox += (memoryview(wire.REQUEST.pack(len(payload))), memoryview(payload))

    def _next_frame(self, timeout_s: float) -> Answer | Failure:
        self._moved_at = time.monotonic()  # only time spent waiting here counts: the caller may be slow
        while True:
            frame = self._take_frame()
            if frame is not None:
                return frame
            if self._ended:
                return self._explain_death()
            remaining = self._moved_at + timeout_s - time.monotonic()
            if not self._pump(max(0.0, remaining)) and remaining <= 0:
                return Failure("extract_timeout", f"no answer within {timeout_s:g} s")

    def _take_frame(self) -> Answer | Failure | None:
        header_bytes = wire.ANSWER.size
        if len(self._inbox) < header_bytes:
            return None
        kind, n_bytes, resident_bytes = wire.ANSWER.unpack_from(self._inbox)
        if n_bytes > MAX_ANSWER_BYTES:
            return Failure("extract_crashed", f"an answer of {n_bytes} bytes; the most is {MAX_ANSWER_BYTES}")
        if len(self._inbox) < header_bytes + n_bytes:
            return None
        payload = bytes(self._inbox[header_bytes : header_bytes + n_bytes])
        del self._inbox[: header_bytes + n_bytes]
        self.resident_bytes = resident_bytes or self.resident_bytes
        return Answer(kind, payload)

    def _pump(self, wait_s: float) -> bool:
        """Moves what can be moved; true when the child took or gave something."""
        moved = False
        for key, _events in self._selector.select(wait_s):
            if key.fd == self._requests:
                moved = self._write_requests() or moved
            elif key.fd == self._answers:
                moved = self._read_answers() or moved
            else:
                self._read_errors()
        if moved:
            self._moved_at = time.monotonic()
        return moved

    def _write_requests(self) -> bool:
        try:
            n_bytes = os.write(self._requests, self._outbox[0])
            self._outbox[0] = self._outbox[0][n_bytes:]
            if not self._outbox[0]:
                self._outbox.popleft()
        except BlockingIOError:
            return False
        except BrokenPipeError:  # it died: its last answers are still to be read
            self._outbox.clear()
        if not self._outbox:
            self._selector.unregister(self._requests)
        return True

    def _read_answers(self) -> bool:
        try:
            data = os.read(self._answers, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._inbox += data
        else:
            self._ended = True
        return True

    def _read_errors(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._errors, READ_BYTES)
            self._stderr += data
            del self._stderr[:-STDERR_TAIL_BYTES]
            if not data:
                self._selector.unregister(self._errors)

    def _explain_death(self) -> Failure:
        try:
            code = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return Failure("extract_crashed", "the extraction process closed its pipes")
        with contextlib.suppress(BlockingIOError):
            self._stderr += os.read(self._errors, READ_BYTES)
        if code == -signal.SIGXCPU:
            return Failure("extract_timeout", f"more than {self._cpu_s} s of processor time")
        if any(words in self._stderr for words in ALLOCATION_FAILED):
            return Failure("extract_memory", f"an allocation failed; {_name_exit(code)}")
        if code == -signal.SIGKILL:
            return Failure("extract_memory", "killed from outside, as systems do when memory is short")
        place = FATAL_PLACE.search(self._stderr.decode("utf-8", "replace"))
        where = f" at {'/'.join(Path(place[1]).parts[-2:])} line {place[2]}" if place else ""
        return Failure("extract_crashed", _name_exit(code) + where)


def _launch(lifeline: int, import_paths: Sequence[str]) -> subprocess.Popen[bytes]:
    """A child in a process group of its own (Ctrl-C passes it by, and its own children die with it)."""
    paths = [*import_paths, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = dict.fromkeys(ONE_THREAD, "1")
    return subprocess.Popen(
        # -P: the folder where the command was typed holds data, not modules
        [sys.executable, "-P", "-m", "pipelines.sandbox_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=(lifeline,),
        process_group=0,
        env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"},
    )


def _name_exit(code: int) -> str:
    if code >= 0:
        return f"the extraction process ended with exit code {code}"
    return f"signal {signal.Signals(-code).name}"


def _remedy(found: str) -> str:
    if any(words in found for words in ("MemoryError", "failed to map", "allocate memory")):
        return "raise its memory limit"
    if "not installed" in found or found.startswith(("ModuleNotFoundError", "ImportError")):
        return "install the extra that has it (`pip install '.[pipelines]'`, and '.[paper]' for news-please)"
    return "it is named module:function, and its settings must be picklable"
