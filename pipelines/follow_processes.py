"""The processes of a follower: those that it starts, and how it is asked to end itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType


class Stop:
    """SIGTERM and SIGINT ask for an end; a second one is not waited for."""

    def __init__(self) -> None:
        self.is_asked = False

    def __enter__(self) -> "Stop":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> None:
        """Returns after so many seconds, or soon after an end is asked for."""
        until = time.monotonic() + seconds
        while not self.is_asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.is_asked:
            os._exit(128 + number)
        self.is_asked = True


def run_child(words: Sequence[str], *, stop: Stop, locks: tuple[int, ...], may_end: bool) -> int:
    """Runs `python -m WORDS` to its end, with the corpus's lock in its hands too; its exit status.

    When an end is asked for, the child is ended where it `may_end`: what it has finished stays. A job on a cluster
    would go on without it, so that one is waited for.
    """
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL, pass_fds=locks)
    asked = False
    while True:
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if stop.is_asked and may_end and not asked:
                process.terminate()
                asked = True
