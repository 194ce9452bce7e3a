"""Memory that runs short is told in time, of a machine and of a container alike."""

import time
from pathlib import Path

import psutil
import pytest

from pipelines import memory_watch
from pipelines.memory_watch import Memory, MemoryWatch, complain, read_memory

GIB = 1 << 30


def lay_out(root: Path, *, total: int, left: int, ours: int, limit: str = "max", usage: int = 0) -> Path:
    """The files that Linux shows, with these figures."""
    for name, text in (
        ("proc/meminfo", f"MemTotal:  {total >> 10} kB\nMemAvailable:  {left >> 10} kB\nHugePages_Total:  0\n"),
        ("proc/self/status", f"Name:\tpython\nVmRSS:\t  {ours >> 10} kB\nThreads:\t4\n"),
        ("sys/fs/cgroup/memory.max", f"{limit}\n"),
        ("sys/fs/cgroup/memory.current", f"{usage}\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_what_is_read_is_what_this_machine_has():
    memory = read_memory()
    assert memory is not None
    assert memory.total <= psutil.virtual_memory().total
    assert 0 < memory.ours < memory.total
    assert memory.ours == pytest.approx(psutil.Process().memory_info().rss, rel=0.3)


def test_a_container_that_is_smaller_than_its_machine_counts(tmp_path: Path):
    lay_out(tmp_path, total=64 * GIB, left=50 * GIB, ours=3 * GIB, limit=str(4 * GIB), usage=4 * GIB - 1024)
    assert read_memory(tmp_path) == Memory(4 * GIB, 1024, 3 * GIB)
    lay_out(tmp_path, total=64 * GIB, left=50 * GIB, ours=3 * GIB)
    assert read_memory(tmp_path) == Memory(64 * GIB, 50 * GIB, 3 * GIB)
    assert read_memory(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("left", "ours", "short"), [(1, 60, True), (1, 5, False), (50, 45, False)], ids=["ours", "others", "roomy"]
)
def test_it_is_short_when_little_is_left_and_much_is_ours(left: int, ours: int, short: bool):
    assert Memory(100, left, ours).is_short == short


def test_a_run_says_so_once_and_names_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory_watch, "LOOK_S", 0.01)
    lay_out(tmp_path, total=8 * GIB, left=GIB >> 2, ours=6 * GIB)
    said = ""
    with MemoryWatch(root=tmp_path):
        end = time.monotonic() + 30
        while not said and time.monotonic() < end:
            time.sleep(0.01)
            said += capsys.readouterr().err
        time.sleep(0.05)
    said += capsys.readouterr().err
    assert said == complain(Memory(8 * GIB, GIB >> 2, 6 * GIB)) + "\n"
    assert "--runner flink" in said
