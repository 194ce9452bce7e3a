"""The sandbox against functions that do what extractors have been seen to do: hang, crash, eat memory, print, exit."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from corpora.documents import Document, RawPage, Rejection, make_document_id
from pipelines.sandbox import Sandbox, SandboxError, SandboxLimits, read_verdict

# What a page's body says is what the function does.
FUNCTIONS = """
import ctypes, os, re, socket, subprocess, sys, time
from corpora.documents import Document, reject

CALLS = []

def document(page, text):
    known = (page.document_id, page.url, "", text, "", "en", page.source, page.offset)
    return Document(*known, "", (), "", "", "", "", "x")

def act(page, settings):
    CALLS.append(page.offset)
    order = page.body.split(b" ")[0].decode()
    if order == "keep":
        return document(page, settings)
    if order == "reject":
        return reject(page, "quality", "too_short")
    return globals()[order](page)

def find_library(settings):
    raise ValueError("newspaper is not installed")

def size(page):
    return document(page, str(len(page.body)))

def echo(page):
    return document(page, page.body.decode())

def process_id(page):
    return document(page, str(os.getpid()))

def sleep(page):
    time.sleep(3600)

def redos(page):
    re.match(r"(a+)+$", "a" * 64 + "b")

def spin(page):
    while True:
        pass

def abort(page):
    os.abort()

def segfault(page):
    ctypes.string_at(0)

def end(page):
    os._exit(7)

def eat(page):
    return document(page, str(len(bytearray(10 << 30))))

def eat_slowly(page):
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))

def leave(page):
    sys.exit("enough")

def fail(page):
    raise ValueError(f"no {object()!r} in {__file__}\\nsecond line")

def surrogate(page):
    raise ValueError("\\udce4")

def chatter(page):
    print("to stdout" * 10_000)
    os.write(1, b"to descriptor 1")
    sys.stderr.write("to stderr" * 10_000)
    return document(page, "said")

def close_streams(page):
    sys.stdin.close()
    sys.stdout.close()
    for descriptor in (0, 1):
        try:
            os.close(descriptor)
        except OSError:
            pass
    return document(page, "closed")

def close_all(page):
    os.closerange(0, 64)

def nothing(page):
    return None

def crash_once(page):
    if len(CALLS) > 1:
        os.abort()
    return document(page, "fresh")

def connect(page):
    socket.create_connection(("127.0.0.1", int(page.body.split()[1])))

def leave_a_child(page):
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    open(page.url, "w").write(str(started.pid))
    time.sleep(3600)

def grow(page):
    CALLS.append(bytearray(os.urandom(1) * (40 << 20)))
    return document(page, str(os.getpid()))
"""
MEMORY = 1 << 30
TIGHT = SandboxLimits(timeout_s=1.0)  # for functions that hang


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the module `fakes`."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "fakes.py").write_text(FUNCTIONS)
    return str(folder)


@pytest.fixture
def sandbox(functions: str) -> Iterator[Sandbox]:
    limits = SandboxLimits(memory_bytes=MEMORY)
    with Sandbox("fakes:act", settings="text", limits=limits, import_paths=[functions]) as opened:
        yield opened


@pytest.fixture
def tight_sandbox(functions: str) -> Iterator[Sandbox]:
    with Sandbox("fakes:act", settings="text", limits=TIGHT, import_paths=[functions]) as opened:
        yield opened


def page(offset: int, body: str | bytes, *, url: str = "http://example.com/") -> RawPage:
    body = body.encode() if isinstance(body, str) else body
    return RawPage(make_document_id("a", offset, url), url, "", 200, "text/html", "", body, "a.warc.gz", offset)


def pages_doing(*orders: str) -> list[RawPage]:
    return [page(number, order) for number, order in enumerate(orders)]


def outcome(verdict: Document | Rejection) -> str:
    return verdict.reason if isinstance(verdict, Rejection) else verdict.text


def test_verdicts_come_in_the_order_of_the_pages_and_carry_settings(sandbox: Sandbox) -> None:
    pages = pages_doing(*["keep", "reject", "size"] * 60)
    verdicts = list(sandbox.map(pages))
    assert [verdict.document_id for verdict in verdicts] == [one.document_id for one in pages]
    assert [outcome(verdict) for verdict in verdicts] == ["text", "too_short", "4"] * 60
    assert sandbox.counts == (180, 1, 0, 0)
    assert list(sandbox.map([])) == []


@pytest.mark.parametrize(
    ("order", "reason", "detail"),
    [
        ("sleep", "extract_timeout", "no answer within 1 s"),
        ("redos", "extract_timeout", "no answer within 1 s"),
        ("abort", "extract_crashed", r"signal SIGABRT at \S+/fakes\.py line \d+"),
        ("segfault", "extract_crashed", r"signal SIGSEGV at ctypes/__init__\.py line \d+"),
        ("end", "extract_crashed", "the extraction process ended with exit code 7"),
        ("eat", "extract_memory", f"more than {MEMORY} bytes of memory"),
        ("eat_slowly", "extract_memory", f"more than {MEMORY} bytes of memory"),
        ("close_all", "extract_crashed", "the extraction process .*"),
    ],
)
def test_a_page_that_kills_the_child_is_rejected_alone(functions: str, order: str, reason: str, detail: str) -> None:
    limits = TIGHT if reason == "extract_timeout" else SandboxLimits(memory_bytes=MEMORY)
    pages = pages_doing(*["keep"] * 7, order, *["keep"] * 60)
    with Sandbox("fakes:act", settings="text", limits=limits, import_paths=[functions]) as sandbox:
        verdicts = list(sandbox.map(pages))
        assert sandbox.counts == (68, 3, 0, 2)  # it failed with its batch, then alone
    assert [verdict.offset for verdict in verdicts] == list(range(68))
    assert Counter(map(outcome, verdicts)) == {"text": 67, reason: 1}
    lost = verdicts[7]
    assert isinstance(lost, Rejection)
    assert (lost.stage, lost.broken) == ("extract", False)
    assert re.fullmatch(detail, lost.detail), lost.detail


@pytest.mark.parametrize(
    ("order", "detail"),
    [
        ("fail", r"ValueError: no <object object at 0x\.\.\.> in \.\.\./fakes\.py \(at fakes line \d+\)"),
        ("leave", r"SystemExit: enough \(at fakes line \d+\)"),
        ("surrogate", r"ValueError: \\udce4 \(at fakes line \d+\)"),
        ("nothing", "returned a NoneType, neither Document nor Rejection"),
        ("unheard_of", r"KeyError: 'unheard_of' \(at fakes line \d+\)"),
    ],
)
def test_an_exception_costs_one_page_and_says_where_it_was_raised(
    sandbox: Sandbox, order: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        first, lost, last = sandbox.map(pages_doing("keep", order, "keep"))
    assert isinstance(lost, Rejection)
    assert (outcome(first), lost.reason, outcome(last)) == ("text", "extract_error", "text")
    assert re.fullmatch(detail, lost.detail), lost.detail
    assert lost.detail in caplog.text
    assert sandbox.counts.children == 1


def test_what_a_function_prints_or_closes_never_reaches_the_answers(sandbox: Sandbox) -> None:
    verdicts = sandbox.map(pages_doing("chatter", "close_streams", "keep", "chatter", "keep"))
    # after close_streams print() itself raises; that is the function's own error
    assert [outcome(verdict) for verdict in verdicts] == ["said", "closed", "text", "extract_error", "text"]
    assert sandbox.counts.failures == 0


def test_processor_time_is_limited_even_while_nobody_waits(functions: str) -> None:
    limits = SandboxLimits(timeout_s=30.0, cpu_s=1.0)
    with Sandbox("fakes:act", settings="text", limits=limits, import_paths=[functions]) as sandbox:
        kept, lost = sandbox.map(pages_doing("keep", "spin"))
    assert isinstance(lost, Rejection)
    assert (outcome(kept), lost.reason, lost.detail) == ("text", "extract_timeout", "more than 1 s of processor time")


def test_time_that_the_caller_takes_is_not_the_pages(tight_sandbox: Sandbox) -> None:
    verdicts = tight_sandbox.map(pages_doing("keep", *["size"] * 70))
    next(verdicts)
    time.sleep(1.5)  # longer than the deadline
    assert Counter(map(outcome, verdicts)) == {"4": 70}
    assert tight_sandbox.counts.failures == 0


def test_a_page_is_judged_by_itself_and_not_by_what_the_child_saw_before(sandbox: Sandbox) -> None:
    # crash_once aborts unless it is the first page of its child
    verdicts = sandbox.map(pages_doing("keep", "crash_once", "keep", "crash_once"))
    assert [outcome(verdict) for verdict in verdicts] == ["text", "fresh", "text", "fresh"]
    assert sandbox.counts == (4, 3, 0, 2)


def test_several_bad_pages_in_a_row_lose_only_themselves(sandbox: Sandbox) -> None:
    verdicts = list(sandbox.map(pages_doing("abort", "abort", "keep", "end", "fail", "abort")))
    crashed, kept, error = "extract_crashed", "text", "extract_error"
    assert [outcome(verdict) for verdict in verdicts] == [crashed, crashed, kept, crashed, error, crashed]
    assert [outcome(verdict) for verdict in sandbox.map(pages_doing("keep"))] == [kept]


def test_children_of_the_function_die_with_it(tight_sandbox: Sandbox, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    (lost,) = tight_sandbox.map([page(0, "leave_a_child", url=str(noted))])
    assert outcome(lost) == "extract_timeout"
    assert is_gone_within(int(noted.read_text()), seconds=2.0)


def test_the_child_opens_no_connection(sandbox: Sandbox) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        (lost,) = sandbox.map(pages_doing(f"connect {server.getsockname()[1]}"))
        with pytest.raises(TimeoutError):
            server.accept()
    assert isinstance(lost, Rejection)
    assert lost.detail.startswith("ForbiddenError: socket.")


def test_three_thousand_pages_with_big_bodies_do_not_deadlock(functions: str) -> None:
    # Requests and answers of 100 KB to 3 MB both overfill every pipe.
    def generate() -> Iterator[RawPage]:
        for number in range(3000):
            big = 3_000_000 if number % 300 == 0 else 20_000
            yield page(number, b"echo " + b"x" * big)

    limits = SandboxLimits()
    n_ahead = n_read = 0
    with Sandbox("fakes:act", settings="", limits=limits, import_paths=[functions]) as sandbox:

        def count() -> Iterator[RawPage]:
            nonlocal n_read
            for one in generate():
                n_read += 1
                yield one

        for number, verdict in enumerate(sandbox.map(count())):
            assert verdict.offset == number
            assert isinstance(verdict, Document)
            assert len(verdict.text) > 20_000
            n_ahead = max(n_ahead, n_read - number)
        assert sandbox.counts == (3000, 1, 0, 0)
    assert n_ahead <= 2 * limits.batch_pages


def test_reading_ahead_depends_on_the_pages_and_not_on_timing(functions: str) -> None:
    def trace(orders: list[str]) -> list[str]:
        events: list[str] = []

        def generate() -> Iterator[RawPage]:
            for one in pages_doing(*orders):
                events.append(f"read {one.offset}")
                yield one

        limits = SandboxLimits(batch_pages=4, recycle_pages=5)
        with Sandbox("fakes:act", settings="", limits=limits, import_paths=[functions]) as sandbox:
            for verdict in sandbox.map(generate()):
                events.append(f"done {verdict.offset}")
        return events

    assert trace(["keep"] * 19) == trace(["keep", "abort", *["keep"] * 15, "abort", "keep"])


def test_a_child_is_replaced_after_so_many_pages_and_nothing_is_lost(functions: str) -> None:
    limits = SandboxLimits(batch_pages=10, recycle_pages=25)
    with Sandbox("fakes:act", settings="", limits=limits, import_paths=[functions]) as sandbox:
        verdicts = list(sandbox.map(pages_doing(*["process_id"] * 100)))
        assert [verdict.offset for verdict in verdicts] == list(range(100))
        children = Counter(map(outcome, verdicts))
        assert sandbox.counts.recycled == len(children) - 1 >= 2
        assert all(count >= 25 for count in list(children.values())[:-1])
        assert all(is_gone_within(int(pid), seconds=1.0) for pid in children if int(pid) != sandbox.child_pid)


def test_a_child_that_grows_is_replaced(functions: str) -> None:
    limits = SandboxLimits(batch_pages=2, recycle_bytes=256 << 20)
    with Sandbox("fakes:act", settings="", limits=limits, import_paths=[functions]) as sandbox:
        verdicts = list(sandbox.map(pages_doing(*["grow"] * 20)))
        assert len({outcome(verdict) for verdict in verdicts}) >= 3
        assert sandbox.counts.failures == 0


def test_a_killed_parent_leaves_no_child_even_one_inside_a_c_call(functions: str, tmp_path: Path) -> None:
    for from_thread in (False, True):
        script = f"""
            import sys, threading
            from corpora.documents import RawPage
            from pipelines.sandbox import Sandbox
            def work():
                sandbox = Sandbox("fakes:act", settings="", import_paths=[{functions!r}]).__enter__()
                print(sandbox.child_pid, flush=True)
                list(sandbox.map([RawPage(b"", "", "", 200, "", "", b"redos", "", 0)]))
            if {from_thread}:
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
            else:
                work()
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            time.sleep(0.3)
            assert psutil.pid_exists(child)
            os.kill(parent.pid, signal.SIGKILL)
        assert is_gone_within(child, seconds=2.0)


def test_a_child_outlives_the_thread_that_started_it(functions: str) -> None:
    import threading

    sandbox = Sandbox("fakes:act", settings="text", import_paths=[functions])
    starter = threading.Thread(target=sandbox.__enter__)
    starter.start()
    starter.join()
    time.sleep(0.2)
    with sandbox:
        assert [outcome(verdict) for verdict in sandbox.map(pages_doing("keep"))] == ["text"]
        assert sandbox.counts.children == 1


def test_a_function_that_cannot_be_used_is_one_clear_error_at_the_start(functions: str) -> None:
    for name, message in {
        "no_such_module:act": "No module named 'no_such_module'.*install the extra",
        "fakes:no_such_function": "has no attribute 'no_such_function'",
        "fakes:CALLS": "fakes:CALLS is not a function",
    }.items():
        sandbox = Sandbox(name, settings="", import_paths=[functions])
        with pytest.raises(SandboxError, match=message):
            sandbox.__enter__()
    missing = Sandbox("fakes:act", settings="", check="fakes:find_library", import_paths=[functions])
    with pytest.raises(SandboxError, match=r"newspaper is not installed.*install the extra"):
        missing.__enter__()
    limits = SandboxLimits(memory_bytes=64 << 20)
    with (
        pytest.raises(SandboxError, match="raise its memory limit"),
        Sandbox("fakes:act", settings="", limits=limits, import_paths=[functions]),
    ):
        pass


def test_wrong_limits_and_names_are_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="timeout_s is 0"):
        SandboxLimits(timeout_s=0)
    with pytest.raises(ValueError, match="module:name"):
        Sandbox("corpora.processing", settings=None)


def test_a_map_that_is_given_up_leaves_the_sandbox_usable(sandbox: Sandbox) -> None:
    abandoned = sandbox.map(pages_doing(*["size"] * 200))
    next(abandoned)
    with pytest.raises(ValueError, match="mapping already"):
        next(sandbox.map(pages_doing("keep")))
    abandoned.close()  # type: ignore[attr-defined]  # an iterator that is a generator
    assert [outcome(verdict) for verdict in sandbox.map(pages_doing("keep", "reject"))] == ["text", "too_short"]


def test_an_error_of_the_pages_source_passes_through(sandbox: Sandbox) -> None:
    def generate() -> Iterator[RawPage]:
        yield from pages_doing("keep", "keep")
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(sandbox.map(generate()))
    assert [outcome(verdict) for verdict in sandbox.map(pages_doing("keep"))] == ["text"]


def test_closing_twice_is_closing_once_and_leaves_no_process(sandbox: Sandbox) -> None:
    pid = sandbox.child_pid
    assert pid is not None
    sandbox.close()
    sandbox.close()
    assert not psutil.pid_exists(pid)


def test_a_verdict_may_hold_nothing_but_plain_fields(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "marker",))

    for payload in (pickle.dumps(Trap()), pickle.dumps(("a", 1)), b"", b"garbage"):
        verdict = read_verdict(page(0, ""), payload)
        assert outcome(verdict) == "extract_error"
    assert not (tmp_path / "marker").exists()


def test_the_child_is_small_and_knows_no_beam() -> None:
    script = "import sys, pipelines.sandbox_child; print('apache_beam' in sys.modules, 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["False", "False"]


def is_gone_within(pid: int, *, seconds: float) -> bool:
    """Whether a process ends (a zombie has) in time."""
    due = time.monotonic() + seconds
    while time.monotonic() < due:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False
