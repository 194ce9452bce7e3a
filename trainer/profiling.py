"""Where the time of an update goes: torch's profiler over a few updates, then the run goes on.

In: updates as they are done. Out: RUN/profile/trace.json.gz, which chrome://tracing and ui.perfetto.dev open, and
RUN/profile/operations.txt, a table of what took longest. The rule: profiling changes nothing but speed; the first
updates are left out, since they allocate memory and compile.

A micro-batch of 12 layers is some ten thousand events: large batches in many micro-batches make large traces.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule

FOLDER, TRACE, TABLE = "profile", "trace.json.gz", "operations.txt"
WARM_UP = 3  # updates before those that are profiled, the last of them with the profiler warming up itself
_ROWS = 40


class UpdateProfile:
    """Profiles `updates` updates after the first few of this command; 0 is none."""

    def __init__(self, folder: Path, *, updates: int, device: torch.device, say: Callable[[str], None]) -> None:
        """Nothing is written before `updates` are done."""
        self._folder = folder / FOLDER
        self._say = say
        self._on_gpu = device.type == "cuda"
        self._left = WARM_UP + updates
        self._profile = self._make(updates) if updates else None

    def __enter__(self) -> Self:
        if self._profile is not None:
            self._profile.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._profile is not None:
            self._say(f"the run ended {self._left} updates before what --profile asked for; there is no profile")
            self._profile.on_trace_ready = None
            self._stop()

    def step(self) -> None:
        """After each update."""
        if self._profile is None:
            return
        self._left -= 1
        self._profile.step()
        if not self._left:
            self._stop()

    def _stop(self) -> None:
        assert self._profile is not None
        self._profile.stop()
        self._profile = None

    def _make(self, updates: int) -> profile:
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self._on_gpu else [])
        return profile(
            activities=activities,
            schedule=schedule(wait=WARM_UP - 1, warmup=1, active=updates, repeat=1),
            on_trace_ready=self._write,
        )

    def _write(self, done: profile) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        done.export_chrome_trace(str(self._folder / TRACE))
        by = "self_cuda_time_total" if self._on_gpu else "self_cpu_time_total"
        table = done.key_averages().table(sort_by=by, row_limit=_ROWS, max_name_column_width=60)
        (self._folder / TABLE).write_text(table)
        self._say(f"profile: {self._folder / TABLE}, and {self._folder / TRACE} for ui.perfetto.dev")
