"""The one line that says how far a run is: rewritten in place on a terminal, printed now and then elsewhere."""

import sys
import time
from typing import TextIO


class ProgressLine:
    """Shows the latest of many lines; silent where this rank does not speak."""

    def __init__(self, *, speaks: bool, every_s: float, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._speaks = speaks
        self._live = speaks and self._stream.isatty()
        self._every_s = every_s
        self._shown_at = float("-inf")
        self._width = 0  # of the live line

    def show(self, line: str, *, always: bool = False) -> None:
        """Replaces the line on a terminal; elsewhere prints it when the last one is long enough ago, or `always`."""
        if not self._speaks:
            return
        now = time.monotonic()
        if self._live:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        elif always or now - self._shown_at >= self._every_s:
            self._stream.write(line + "\n")
            self._shown_at = now
        self._stream.flush()

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._speaks:
            self._stream.write(("\n" if self._width else "") + line + "\n")
            self._stream.flush()
            self._width = 0
