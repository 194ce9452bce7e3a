"""One connection and one delay per host, whoever asks: pages, robots.txt, redirects from elsewhere, other processes.

The rule: between the end of a host's answer and our next request to it lies at least its delay, and two requests to it
never overlap. Within a process a gate per host sees to it; between processes that share the folder, a lock on the
host's eight bytes of a file, in which also lies when its last answer ended, so that a restart is polite too.
"""

import asyncio
import fcntl
import os
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path

from pipelines.crawl_outcomes import FetchError
from pipelines.crawl_settings import FetchSettings
from pipelines.storage import cannot_write

SLOTS = 1 << 20  # hosts that fall into one slot wait for each other, which is harmless and rare
_TIME = struct.Struct("<d")
_POLL_S = 0.02
_MAX_GATES = 50_000


class SharedClock:
    """When each host's last answer ended, and who is asking it now, for all processes that crawl into one folder."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if os.fstat(self._file).st_size < SLOTS * _TIME.size:
                os.ftruncate(self._file, SLOTS * _TIME.size)  # a hole: no space is taken
        except OSError as error:
            raise cannot_write(error, path) from error

    def close(self) -> None:
        os.close(self._file)

    def last_end(self, site: str) -> float:
        """Seconds since 1970; 0.0 for never."""
        found: float = _TIME.unpack(os.pread(self._file, _TIME.size, _place(site)))[0]
        return found

    def write_end(self, site: str) -> None:
        os.pwrite(self._file, _TIME.pack(time.time()), _place(site))

    def try_lock(self, site: str) -> bool:
        try:
            self._lock(site, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows both
            return False
        return True

    def unlock(self, site: str) -> None:
        self._lock(site, fcntl.LOCK_UN)

    def _lock(self, site: str, kind: int) -> None:
        # The lock goes when its holder dies. Linux has locks of the open file, by which threads of one process keep
        # each other out as well; elsewhere they are the process's.
        if sys.platform != "linux":
            fcntl.lockf(self._file, kind, _TIME.size, _place(site))
            return
        wanted = fcntl.F_UNLCK if kind == fcntl.LOCK_UN else fcntl.F_WRLCK
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", wanted, 0, _place(site), _TIME.size, 0))


def _place(site: str) -> int:
    digest = blake2b(site.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % SLOTS * _TIME.size


class Gate:
    """What is known of one host while it is visited."""

    __slots__ = ("closed_until", "delay_s", "lock", "n_failures", "users")

    def __init__(self, delay_s: float) -> None:
        self.lock = asyncio.Lock()
        self.delay_s = delay_s
        self.n_failures = 0  # in a row without an answer
        self.closed_until = 0.0  # monotonic
        self.users = 0


class HostGates:
    """Lets one request per host through at a time, no sooner than its delay allows, and so many in all."""

    def __init__(self, settings: FetchSettings, clock: SharedClock) -> None:
        self._settings = settings
        self._clock = clock
        self._gates: dict[str, Gate] = {}
        self._connections = asyncio.Semaphore(settings.n_connections)
        self.n_open = 0  # requests under way

    def gate(self, site: str) -> Gate:
        gate = self._gates.get(site)
        if gate is None:
            if len(self._gates) >= _MAX_GATES:
                self._forget_idle()
            gate = self._gates[site] = Gate(self._settings.delay_s)
        return gate

    @asynccontextmanager
    async def visit(self, site: str) -> AsyncIterator[None]:
        """Holds the host for one request; FetchError `retry_after` or `host_down` where it is to be left alone."""
        gate = self.gate(site)
        gate.users += 1
        try:
            async with gate.lock:
                await self._wait_until_open(gate)
                await self._lock_between_processes(site)
                try:
                    await self._wait_for_delay(site, gate)
                    async with self._connections:
                        self.n_open += 1
                        try:
                            yield
                        finally:
                            self.n_open -= 1
                            self._clock.write_end(site)
                finally:
                    self._clock.unlock(site)
        finally:
            gate.users -= 1

    def close_for(self, site: str, seconds: float) -> None:
        """The host asked to be left alone for so long."""
        gate = self.gate(site)
        gate.closed_until = max(gate.closed_until, time.monotonic() + seconds)

    async def _wait_until_open(self, gate: Gate) -> None:
        if gate.n_failures >= self._settings.max_host_failures:
            raise FetchError("host_down", f"no answer {gate.n_failures} times in a row")
        while (wait_s := gate.closed_until - time.monotonic()) > 0:
            if wait_s > self._settings.max_retry_after_s:
                limit_s = self._settings.max_retry_after_s
                raise FetchError("retry_after", f"the host is to be left alone for {wait_s:.0f} s (limit {limit_s:g})")
            await asyncio.sleep(wait_s)

    async def _lock_between_processes(self, site: str) -> None:
        while not self._clock.try_lock(site):
            await asyncio.sleep(_POLL_S)

    async def _wait_for_delay(self, site: str, gate: Gate) -> None:
        # Clocks of two machines may differ: no wait is longer than the delay itself.
        wait_s = min(self._clock.last_end(site) + gate.delay_s - time.time(), gate.delay_s)
        until = time.monotonic() + wait_s
        while (wait_s := until - time.monotonic()) > 0:  # a sleep may end a little early
            await asyncio.sleep(wait_s)

    def _forget_idle(self) -> None:
        now = time.monotonic()
        for site in [site for site, gate in self._gates.items() if not gate.users and gate.closed_until < now]:
            del self._gates[site]
