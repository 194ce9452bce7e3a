"""Says where the local runner's memory bites, before the kernel ends it without a word.

The local runner keeps the groups of selection (keys, decisions, encoded tokens) in the driver's memory. In: what the
machine, or the container, has left. Out: one line on stderr, once, when that is little and much of it is ours.
"""

import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

LOW_SHARE = 0.1  # of all memory, that is left
LARGE_SHARE = 0.3  # of all memory, that this process has
LOOK_S = 2.0
_CGROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


class Memory(NamedTuple):
    """Bytes of memory."""

    total: int
    left: int
    ours: int  # resident, of this process

    @property
    def is_short(self) -> bool:
        return self.left < LOW_SHARE * self.total and self.ours > LARGE_SHARE * self.total


class MemoryWatch:
    """Looks every two seconds while the context is open."""

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            memory = read_memory(self._root)
            if memory is None:
                return  # not a Linux: there is nothing to look at
            if memory.is_short:
                sys.stderr.write(complain(memory) + "\n")
                return


def complain(memory: Memory) -> str:
    return (
        f"memory is short: {memory.left / 1e9:.1f} of {memory.total / 1e9:.1f} GB are left, and this run has"
        f" {memory.ours / 1e9:.1f}. The local runner keeps all groups in memory; if it is ended, the same command with"
        " --runner flink goes on from the finished splits, and keeps groups on disk (see the README)"
    )


def read_memory(root: Path = Path("/")) -> Memory | None:
    """What Linux says of this machine, or of the container that limits it further; None where it says nothing."""
    try:
        machine = _read_fields(root / "proc/meminfo")
        ours = _read_fields(root / "proc/self/status")["VmRSS"]
        total, left = machine["MemTotal"], machine["MemAvailable"]
    except (OSError, KeyError, ValueError):
        return None
    for limit_name, usage_name in _CGROUPS:
        try:
            limit, usage = (int((root / "sys/fs/cgroup" / name).read_text()) for name in (limit_name, usage_name))
        except (OSError, ValueError):  # ValueError: "max", no limit
            continue
        if limit < total:
            total, left = limit, min(left, limit - usage)
    return Memory(total, left, ours)


def _read_fields(path: Path) -> dict[str, int]:
    """Bytes of the lines `Name:  123 kB`."""
    lines = (line.split() for line in path.read_text().splitlines() if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
