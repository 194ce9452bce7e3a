"""A file is taken when it is complete, once, and never again when it changes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipelines.follow_plans import choose_files
from pipelines.follow_watch import Watcher
from pipelines.inputs import InputFile

AN_HOUR_AGO = time.time() - 3_600


def listing(folder: Path) -> Callable[[], list[InputFile]]:
    return lambda: [InputFile(path.name, str(path), None) for path in sorted(folder.iterdir())]


def write(path: Path, data: bytes, *, modified: float = AN_HOUR_AGO) -> None:
    path.write_bytes(data)
    os.utime(path, (modified, modified))


def test_a_file_that_was_left_alone_is_pending_at_once(tmp_path: Path):
    write(tmp_path / "a.warc", b"1234")
    sight = Watcher(listing(tmp_path), settle_s=60).look({})
    assert sight.pending == (InputFile("a.warc", str(tmp_path / "a.warc"), 4),)
    assert not sight.unsettled


def test_a_file_that_is_being_written_waits_until_nobody_writes(tmp_path: Path):
    watcher = Watcher(listing(tmp_path), settle_s=60)
    write(tmp_path / "a.warc", b"12", modified=time.time())
    assert [file.n_bytes for file in watcher.look({}).unsettled] == [2]
    write(tmp_path / "a.warc", b"1234", modified=time.time())
    sight = watcher.look({})
    assert (sight.pending, [file.n_bytes for file in sight.unsettled]) == ((), [4])
    write(tmp_path / "a.warc", b"1234")
    assert [file.n_bytes for file in watcher.look({}).pending] == [4]


def test_a_clock_that_is_ahead_delays_a_file_but_does_not_hide_it(tmp_path: Path):
    watcher = Watcher(listing(tmp_path), settle_s=0.05)
    write(tmp_path / "a.warc", b"12", modified=time.time() + 3_600)
    assert watcher.look({}).unsettled
    time.sleep(0.1)
    assert [file.name for file in watcher.look({}).pending] == ["a.warc"]


def test_what_is_in_a_store_or_on_the_web_is_complete_when_it_is_listed():
    files = [InputFile("b", "https://host/b", None), InputFile("a", "s3://bucket/a", 7)]
    assert Watcher(lambda: files, settle_s=60).look({}).pending == tuple(sorted(files))


def test_a_file_that_is_taken_is_not_pending_and_may_go(tmp_path: Path):
    gone = InputFile("gone.warc", str(tmp_path / "gone.warc"), None)
    write(tmp_path / "a.warc", b"1234")
    sight = Watcher(lambda: [gone, *listing(tmp_path)()], settle_s=60).look({"a.warc": 4, "gone.warc": 9})
    assert sight == ((), (), ())


def test_a_file_that_changed_after_it_was_taken_is_named(tmp_path: Path):
    write(tmp_path / "a.warc", b"12345", modified=time.time())
    stored = InputFile("b", "s3://bucket/b", 8)
    sight = Watcher(lambda: [*listing(tmp_path)(), stored], settle_s=60).look({"a.warc": 4, "b": 7})
    assert sight == ((), (), ("a.warc", "b"))


def test_the_oldest_file_says_how_long_files_wait(tmp_path: Path):
    watcher = Watcher(listing(tmp_path), settle_s=60)
    watcher.look({})
    assert watcher.oldest_pending_at is None
    write(tmp_path / "a.warc", b"1")
    watcher.look({})
    since = watcher.oldest_pending_at
    write(tmp_path / "b.warc", b"1")
    watcher.look({})
    assert watcher.oldest_pending_at == since
    watcher.look({"a.warc": 1})
    assert watcher.oldest_pending_at is not None
    assert since is not None
    assert watcher.oldest_pending_at > since
    watcher.look({"a.warc": 1, "b.warc": 1})
    assert watcher.oldest_pending_at is None


@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 5))
def test_windows_of_a_backlog_take_every_file_once_and_in_order(names: list[str], limit: int):
    pending, order = {InputFile(name, name, 1) for name in names}, []
    while pending:
        chosen = choose_files(pending, limit=limit)
        assert 1 <= len(chosen) <= limit
        order += chosen
        pending -= set(chosen)
    assert order == sorted(InputFile(name, name, 1) for name in names)
