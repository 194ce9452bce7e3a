"""The child side of the sandbox: reads batches of pages, answers one message per page.

In: on descriptor 0, a `Task`, then batches (lists of `RawPage`), each as a length and a pickle.
Out: on descriptor 1, one frame for being ready (or unable to start), then one frame per page as soon as
it is done, in order: that is how the parent knows which page was under work when this process died.
The one rule: nothing but frames ever reaches the parent's pipe, whatever an extractor prints or closes,
and nothing here imports Beam: this process must stay small, since it is thrown away often.
"""

import contextlib
import ctypes
import faulthandler
import fcntl
import importlib
import os
import pickle
import re
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, NoReturn

from corpora.documents import Document, RawPage, Rejection

REQUEST = struct.Struct("<Q")  # bytes of the pickle that follows
ANSWER = struct.Struct("<cIQ")  # kind, bytes of the payload that follows, resident bytes of this process (0: unknown)

READY = b"R"  # no payload
UNABLE = b"U"  # UTF-8: why the function cannot be used
VERDICT = b"V"  # pickled Document or Rejection
RAISED = b"E"  # UTF-8: what the function raised, and where
NO_MEMORY = b"M"  # no payload: the function raised MemoryError

MAX_DETAIL_CHARS = 500
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
PR_SET_PDEATHSIG = 1  # linux/prctl.h
# An extractor has no business outside its page. OSError, because that is what libraries expect of a dead network.
FORBIDDEN_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})


class Task(NamedTuple):
    """What the child is started for."""

    function: str  # "module:name"; called as name(page, settings)
    check: (
        str  # "module:name", called once as name(settings) and expected to raise where a library is missing; "" is none
    )
    settings: bytes  # pickled, so that a class that cannot be imported is reported and not a crash
    memory_bytes: int  # of address space
    cpu_s: int  # processor time of one page
    lifeline: int  # descriptor of a pipe whose other end only the parent holds
    parent: int  # its process id when its main thread started us, else 0


class ForbiddenError(PermissionError):
    """The function tried to open a connection."""


def main() -> None:
    """Serves until the parent closes the pipe."""
    requests, answers = _take_pipes()
    faulthandler.enable(all_threads=False)  # says on stderr where a segmentation fault happened
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    task = pickle.loads(_read_message(requests))
    assert isinstance(task, Task)
    die_with_parent(task.lifeline, task.parent)
    _limit_process(task.memory_bytes)
    try:
        function, settings = load_function(task.function), pickle.loads(task.settings)
        if task.check:
            load_function(task.check)(settings)
    except Exception as error:  # noqa: BLE001 - importing anybody's module may raise anything, and all of it goes to the parent
        _write_all(answers, _frame(UNABLE, describe(error).encode()))
        return
    sys.addaudithook(_forbid_connections)
    _write_all(answers, _frame(READY))
    serve(requests, answers, function, settings, cpu_s=task.cpu_s)


def serve(
    requests: int, answers: int, function: Callable[[RawPage, object], object], settings: object, *, cpu_s: int
) -> None:
    """One answer per page, in order, until the requests end."""
    meter = open_memory_meter()
    cpu_limit = 0
    while message := _read_message(requests):
        for page in pickle.loads(message):
            due = int(time.process_time()) + cpu_s + 1
            if due != cpu_limit:
                resource.setrlimit(resource.RLIMIT_CPU, (due, resource.RLIM_INFINITY))
                cpu_limit = due
            kind, payload = run_one(function, page, settings)
            _write_all(answers, _frame(kind, payload, meter()))


def run_one(function: Callable[[RawPage, object], object], page: RawPage, settings: object) -> tuple[bytes, bytes]:
    """Kind and payload of the answer for one page."""
    try:
        verdict = function(page, settings)
        if not isinstance(verdict, (Document, Rejection)):
            return RAISED, f"returned a {type(verdict).__name__}, neither Document nor Rejection".encode()
        return VERDICT, pickle.dumps(verdict, protocol=5)
    except MemoryError:
        return NO_MEMORY, b""
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an unforeseen error costs one page, and the parent reports it
        return RAISED, describe(error).encode()


def load_function(name: str) -> Callable[..., object]:
    """The function called "module:name"."""
    module, _, attribute = name.partition(":")
    function: Any = getattr(importlib.import_module(module), attribute)
    if not callable(function):
        raise TypeError(f"{name} is not a function")
    return function  # type: ignore[no-any-return]  # the parent's caller chose it; what it returns is checked per page


def describe(error: BaseException) -> str:
    """Type, first line of the message, and the innermost place.

    It ends in the books, which are the same bytes on every machine: so no address and no path of this one,
    and nothing that UTF-8 cannot hold.
    """
    lines = str(error).splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    text = ADDRESS.sub("0x...", text[:MAX_DETAIL_CHARS])
    for folder in sorted({sys.prefix, str(Path.cwd()), *sys.path} - {"", "/"}, key=len, reverse=True):
        text = text.replace(folder, "...")
    place = _innermost(error.__traceback__)
    return (f"{text} (at {place})" if place else text).encode("utf-8", "backslashreplace").decode()


def die_with_parent(lifeline: int, parent: int) -> None:
    """The kernel kills this process when the parent is gone, even inside a C call that never returns.

    PR_SET_PDEATHSIG alone would not do: it fires when the parent's *thread* ends, and Beam starts us from threads
    that come and go. So the kernel watches a pipe that closes with the parent, and prctl is used only where
    the main thread started us. Elsewhere than on Linux the end of the requests has to do.
    """
    if not sys.platform.startswith("linux"):
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if parent:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if _hung_up(lifeline) or (parent and os.getppid() != parent):  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def open_memory_meter() -> Callable[[], int]:
    """A function that says how many bytes of this process are resident (2 us a call), 0 where there is no /proc."""
    try:
        statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return lambda: 0
    page_bytes = resource.getpagesize()

    def resident_bytes() -> int:
        try:
            return int(os.pread(statm, 128, 0).split()[1]) * page_bytes
        except OSError:  # the function closed descriptors that are not its own
            return 0

    return resident_bytes


def _take_pipes() -> tuple[int, int]:
    """Moves the parent's pipes out of the way of whatever reads stdin, prints, or closes either."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, answers


def _limit_process(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses limits of address space
        resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    with contextlib.suppress(OSError):  # where memory is short, this process goes before the worker that started it
        Path("/proc/self/oom_score_adj").write_text("500")


def _forbid_connections(event: str, _arguments: tuple[object, ...]) -> None:
    if event in FORBIDDEN_EVENTS:
        raise ForbiddenError(f"{event} is forbidden to extractors")


def _hung_up(pipe: int) -> bool:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


def _innermost(trace: TracebackType | None) -> str:
    """Module and line where an error was born, this module left out."""
    place = ""
    for frame, line in traceback.walk_tb(trace):
        place = _place(frame, line)
    return "" if place.startswith((f"{__name__} ", "pipelines.sandbox_child ")) else place


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_globals.get('__name__', '?')} line {line}"


def _frame(kind: bytes, payload: bytes = b"", resident_bytes: int = 0) -> bytes:
    return ANSWER.pack(kind, len(payload), resident_bytes) + payload


def _write_all(pipe: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(pipe, rest) :]
        except BrokenPipeError:
            _leave()


def _read_message(pipe: int) -> bytearray:
    """The next message, empty at the end of the requests."""
    header = _read_exactly(pipe, REQUEST.size)
    return _read_exactly(pipe, REQUEST.unpack(header)[0]) if header else header


def _read_exactly(pipe: int, n_bytes: int) -> bytearray:
    buffer = bytearray(n_bytes)
    rest = memoryview(buffer)
    while rest:
        n_read = os.readv(pipe, [rest])
        if not n_read:
            return bytearray()  # the parent went away in mid-message: the same as no message
        rest = rest[n_read:]
    return buffer


def _leave() -> NoReturn:
    """Ends at once: what libraries want to do at exit is of no use to anybody."""
    os._exit(0)


if __name__ == "__main__":
    from pipelines import sandbox_child  # so that pickles name this module, not __main__

    sandbox_child.main()
    sandbox_child._leave()
