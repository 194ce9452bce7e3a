"""A follower: looks for new input files, and makes each window of them an atomic addition to a growing corpus.

In: a pipeline's command line and a listing of its input. Out: windows, each an ordinary run made `--against` all the
ones before it, and a generation for each. The rule: all state is in the corpus folder. A window's files are written
down before it is made, its run may be begun again at any moment, and its generation is published last; so a follower
that is killed and started again ends with the bytes that it would have ended with.

    look -> work/window-00000007.tsv -> windows/00000007/ (a child process: `beam run …`) -> generation 7

A window is made in a process of its own, so Beam's memory goes with it, and readers see all of it or nothing.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.growing import FILE_NAME, Growing, Window, window_folder
from bpe.manifest import settings_hash
from corpora.errors import CorpusError
from pipelines.command import print_lines
from pipelines.follow_flags import FollowRules, runner_flags
from pipelines.follow_health import FollowStatus, serve_health
from pipelines.follow_plans import choose_files, files_of_run, forget_plan, is_planned, taken_files, write_plan
from pipelines.follow_processes import Stop, run_child
from pipelines.follow_watch import Sight, Watcher
from pipelines.forget_windows import refresh_corpus
from pipelines.generations import (
    Generation,
    begin_corpus,
    describe_window,
    next_generation,
    publish,
    read_generation,
    read_run,
)
from pipelines.inputs import InputFile
from pipelines.runs import describe_difference, hold_output
from pipelines.settings import Execution
from pipelines.storage import exists, is_url, join, make_folder, sweep_temporaries

_LOCK_S = 10.0  # for the window of a follower that was killed to notice, and end
_BACK_OFF_S = (5.0, 600.0)  # after the first failure, and at most


class FollowedCorpus(NamedTuple):
    """What is followed, and how one of its windows is made."""

    pipeline: str  # as in `beam run PIPELINE`
    argv: Sequence[str]  # its flags, which each window's run is given too
    execution: Execution
    settings: dict[str, object]  # that all windows share: those of a run that is not made against other windows
    list_files: Callable[[], list[InputFile]]

    @property
    def output(self) -> str:
        return self.execution.output


def follow(corpus: FollowedCorpus, rules: FollowRules) -> None:
    """Follows until it is stopped, or until all is taken with `rules.once`.

    Raises ValueError where the folder or the command is wrong, OSError or ShardError after too many failures.
    """
    _check_folder(corpus.output)
    with hold_output(corpus.output, wait_s=_LOCK_S) as locks:
        newest = refresh_corpus(corpus.output) if read_generation(corpus.output) is not None else None
        if newest is not None:
            _check_settings(corpus, newest.growing)
            newest = refresh_corpus(corpus.output)  # documents may have been forgotten since
        for folder in (corpus.output, join(corpus.output, "work"), join(corpus.output, "generations")):
            make_folder(folder)
            sweep_temporaries(folder)
        with Stop() as stop, serve_health(
            status := FollowStatus(every_s=rules.every_s), host=rules.metrics_host, port=rules.metrics_port
        ) as address:  # fmt: skip
            _say(f"following into {corpus.output}" + (f"; {address}/metrics and /healthz" if address else ""))
            _Follower(corpus, rules, status, stop, locks, newest).run()


class _Follower:
    """The loop; one step is a look, and a window if there is something to make one of."""

    def __init__(
        self,
        corpus: FollowedCorpus,
        rules: FollowRules,
        status: FollowStatus,
        stop: Stop,
        locks: tuple[int, ...],
        newest: Generation | None,
    ) -> None:
        self.corpus, self.rules, self.status, self.stop, self.locks = corpus, rules, status, stop, locks
        self.newest = newest
        self.taken = taken_files(corpus.output, newest)
        self.watcher = Watcher(corpus.list_files, settle_s=rules.settle_s)
        self.changed: set[str] = set()
        self.is_idle = self.has_looked = False
        status.growing = newest.growing if newest is not None else None

    def run(self) -> None:
        while not self.stop.is_asked:
            began = time.monotonic()
            try:
                more = self._step()
            except (OSError, ShardError, CorpusError, ValueError) as error:
                self._fail(error)
            else:
                if more == 0.0:
                    continue
                if self.rules.once and more is None:
                    break
                self.stop.wait(self.rules.every_s + began - time.monotonic() if more is None else more)
        _say("stopped; the same command goes on from here" if self.stop.is_asked else "nothing more to take")

    def _step(self) -> float | None:
        """Seconds until the next step: 0 for at once, None for the interval between looks."""
        number = self.newest.growing.windows[-1].last + 1 if self.newest is not None else 1
        if self._merge_is_due():
            self._merge()
            return 0.0
        if exists(join(self.corpus.output, window_folder(number, number), FILE_NAME)):
            self._publish(number, time.monotonic())  # it was finished, and we were killed before we said so
            return 0.0
        if is_planned(self.corpus.output, number):
            self._make(number)  # what a follower before us began; then we look
            return 0.0
        sight = self.watcher.look(self.taken)
        self._note(sight)
        if not sight.pending:
            if sight.unsettled:
                return min(self.rules.settle_s, self.rules.every_s)
            self._rest()
            return None
        if not self._has_room():
            return min(60.0, self.rules.every_s)
        files = choose_files(sight.pending, limit=self.rules.window_files)
        write_plan(self.corpus.output, number, files)
        left = [file for file in sight.pending if file not in files]
        self._make(number, left=left)
        return 0.0 if left or self.rules.once or self._merge_is_due() else None

    def _make(self, number: int, *, left: Sequence[InputFile] = ()) -> None:
        self.is_idle = False
        self.status.window, began = number, time.monotonic()
        command = ["pipelines", "run", self.corpus.pipeline, *self.corpus.argv]
        try:
            done = self._run(f"window {number}", *command, "--window", str(number), "--supervisor", str(os.getpid()))
        finally:
            self.status.window, self.status.looked_at = 0, time.monotonic()
        if done:
            self._publish(number, began)
            self._note_pending(left)

    def _merge_is_due(self) -> bool:
        return 0 < self.rules.compact_every <= len(self._unmerged())

    def _unmerged(self) -> tuple[Window, ...]:
        """The windows that came since the last merge."""
        windows = self.newest.growing.windows if self.newest is not None else ()
        n = next((k for k, one in enumerate(reversed(windows)) if one.first != one.last), len(windows))
        return windows[len(windows) - n :]

    def _merge(self) -> None:
        self.is_idle = False
        due, execution, began = self._unmerged()[: self.rules.compact_every], self.corpus.execution, time.monotonic()
        command = ["pipelines.prep_shards", "compact", self.corpus.output, *runner_flags(execution)]
        own = ["--windows", f"{due[0].first}..{due[-1].last}", "--lock-fd", str(self.locks[0])]
        self.status.compacting = True
        try:
            done = self._run(f"the merge of windows {due[0].first} to {due[-1].last}", *command, *own)
        finally:
            self.status.compacting, self.status.looked_at = False, time.monotonic()
        if done:
            self.newest = refresh_corpus(self.corpus.output)
            self.status.growing = self.newest.growing
            self.status.failures_in_a_row = 0
            _say(
                f"windows {due[0].first} to {due[-1].last} are one run; generation {self.newest.growing.generation}"
                f" ({time.monotonic() - began:.1f} s)"
            )

    def _run(self, what: str, *words: str) -> bool:
        """Runs a module to its end; False where it was stopped, as we are. OSError where it failed."""
        code = run_child(words, stop=self.stop, locks=self.locks, may_end=self.corpus.execution.is_local)
        if self.stop.is_asked and code != 0:
            return False
        if code == 2:
            raise SystemExit(2)  # it has said what is wrong with the command, and that will not get better
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            raise OSError(f"{what} {how}; see above, and the workers.log below {self.corpus.output}/windows")
        return True

    def _publish(self, number: int, began: float) -> None:
        output = self.corpus.output
        window = describe_window(output, number, number)
        if self.newest is None:
            growing = begin_corpus(output, window, settings_hash=settings_hash(self.corpus.settings))
        else:
            growing = next_generation(self.newest, [*self.newest.growing.windows, window])
        self.newest = publish(output, growing)
        self.taken.update(files_of_run(output, window.run))
        forget_plan(output, number)
        status = self.status
        status.growing, status.failures_in_a_row, status.last_failure = growing, 0, ""
        status.window_s, status.last_success = time.monotonic() - began, time.time()
        _say(
            f"window {number}: {window.files} files, {window.read:,} records = {window.kept:,} kept"
            f" + {window.rejected:,} rejected + {window.broken:,} broken, {window.tokens:,} tokens;"
            f" generation {growing.generation} ({status.window_s:.1f} s)"
        )

    def _note(self, sight: Sight) -> None:
        """Takes down what a look has found."""
        self.has_looked, status = True, self.status
        self._note_pending([*sight.pending, *sight.unsettled])
        status.oldest_pending_at, status.changed_files = self.watcher.oldest_pending_at, len(sight.changed)
        status.looked_at = time.monotonic()
        for name in sight.changed:
            if name not in self.changed:
                _say(f"{name} has changed since it was taken, and is not read again: give new content a new name")
        self.changed |= set(sight.changed)

    def _note_pending(self, files: Sequence[InputFile]) -> None:
        self.status.pending_files = len(files)
        self.status.pending_bytes = sum(file.n_bytes or 0 for file in files)

    def _rest(self) -> None:
        self.status.failures_in_a_row = 0
        if not self.is_idle and not self.rules.once:
            _say(f"waiting for new files; looking every {self.rules.every_s:g} s")
        self.is_idle = True

    def _has_room(self) -> bool:
        output, wanted = self.corpus.output, self.rules.min_free_bytes
        free = wanted if is_url(output) else shutil.disk_usage(output).free
        if free < wanted and not self.status.waits_for_room:
            _say(f"waiting for room: {free:,} bytes are free at {output}, --min-free-bytes is {wanted:,}")
        self.status.waits_for_room = free < wanted
        return free >= wanted

    def _fail(self, error: Exception) -> None:
        """Counts a failure and waits; raises it when it is one too many, or the first look of all."""
        status = self.status
        status.failures, status.failures_in_a_row = status.failures + 1, status.failures_in_a_row + 1
        status.last_failure = str(error)
        is_wrong = isinstance(error, ValueError) and not self.has_looked  # the command is, not the moment
        if self.rules.once or is_wrong or status.failures_in_a_row == self.rules.give_up_after:
            raise error
        delay = min(_BACK_OFF_S[0] * 2 ** (status.failures_in_a_row - 1), _BACK_OFF_S[1], self.rules.every_s)
        _say(f"failure {status.failures_in_a_row}: {error}; next try in {delay:g} s")
        self.stop.wait(delay)


def _check_folder(output: str) -> None:
    """ValueError where the folder is somebody else's."""
    if is_url(output) or not Path(output).exists() or exists(join(output, FILE_NAME)):
        return
    if not Path(output).is_dir():
        raise ValueError(f"--output {output} is a file; name a folder")
    if any(Path(output).iterdir()) and not (Path(output) / "work").is_dir():
        raise ValueError(f"{output} is not empty and no corpus of ours; choose an empty folder for --output")


def _check_settings(corpus: FollowedCorpus, growing: Growing) -> None:
    """ValueError unless the windows that are there were made with the same settings."""
    if growing.settings_hash == settings_hash(corpus.settings):
        return
    made = read_run(corpus.output, growing.windows[0].run).manifest  # the first is made against no other window
    difference = describe_difference(made, corpus.settings, ())
    raise ValueError(
        f"{corpus.output} grows with other settings ({difference}); follow with those, or choose another --output"
    )


def _say(text: str) -> None:
    print_lines(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}")
