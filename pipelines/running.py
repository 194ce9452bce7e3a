"""Carries a Beam pipeline out: the runner's options, clean stops, and failures as one line.

The local runner is FnApiRunner, said explicitly: Beam's own default downloads a binary and changes
runner by itself. Any runner's class name works, and options we do not know are passed on to Beam.
"""

import argparse
import contextlib
import difflib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.dataflow import RUNNER as DATAFLOW
from pipelines.dataflow import dataflow_arguments, writes_template
from pipelines.flink import RUNNER as FLINK
from pipelines.flink import flink_arguments
from pipelines.settings import Execution
from pipelines.staging import staged_code

RUNNERS = {
    "local": "FnApiRunner",
    "flink": FLINK,
    "dataflow": DATAFLOW,
    "FnApiRunner": "FnApiRunner",
    "BundleBasedDirectRunner": "BundleBasedDirectRunner",
}


class PipelineFailedError(Exception):
    """A pipeline that stopped: carries the innermost cause, in one line."""


class TemplateWrittenError(SystemExit):
    """A job that was only written down (--template_location): there is no result to wait for."""


def run_pipeline(build: Callable[[Any], None], execution: Execution, *, name: str = "") -> None:
    """Builds and runs to the end; raises PipelineFailedError with the cause that the data or the machine gave.

    `name` (corpus or stage, and a hash of the settings) is the job's, where a runner names jobs. Raises
    TemplateWrittenError, a SystemExit of status 0, where Dataflow's template was asked for and not a run.
    """
    with staged_code(execution) as staging:
        _run(build, execution, PipelineOptions([*beam_arguments(execution, name), *staging]))


def _run(build: Callable[[Any], None], execution: Execution, options: PipelineOptions) -> None:
    runner = FnApiRunner() if execution.is_local else execution.runner
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)
    try:
        with stopping_cleanly() if execution.is_local else contextlib.nullcontext():
            result = pipeline.run()
            if writes_template(execution):
                raise TemplateWrittenError(0)
            with cancelling(result) if execution.runner == FLINK else contextlib.nullcontext():
                state = result.wait_until_finish()
    except Exception as error:
        if execution.debug:
            raise
        # Runners wrap what a worker raised in text of their own: the last line that names an error is the cause.
        raise PipelineFailedError(innermost_message(error)) from error
    if str(state) not in ("DONE", "UPDATED", "RUNNING"):
        raise PipelineFailedError(f"the job ended in state {state}; its runner's log says why")


def check_beam_options(execution: Execution, *, known: Sequence[str]) -> None:
    """Raises ValueError for an option that neither we nor Beam know, which Beam itself would drop in silence."""
    parser: Any = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        with contextlib.suppress(argparse.ArgumentError):  # two classes share an option
            options._add_argparse_args(parser)
    of_beam = [word for action in parser._actions for word in action.option_strings]
    unknown = parser.parse_known_args(list(execution.beam_options))[1]
    if unknown and execution.runner in ("FnApiRunner", "BundleBasedDirectRunner"):
        word = unknown[0].split("=")[0]
        near = difflib.get_close_matches(word, [*known, *of_beam], n=1)
        hint = f"; did you mean {near[0]}?" if near else "; patterns that the shell must not expand go in quotes"
        raise ValueError(f"unknown argument {word}{hint}")


def beam_arguments(execution: Execution, name: str = "") -> Iterator[str]:
    """Options for Beam; what the user passed comes last and wins."""
    yield "--no_save_main_session"  # nothing of ours lives in __main__, and pickling it breaks on workers
    if execution.is_local:
        yield f"--direct_num_workers={execution.workers}"
        yield f"--direct_running_mode={'multi_processing' if execution.workers > 1 else 'in_memory'}"
    elif execution.runner == FLINK:
        yield from flink_arguments(execution)
    elif execution.runner == DATAFLOW:
        yield from dataflow_arguments(execution, name)
    yield from execution.beam_options


@contextlib.contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run at once; every file there is is whole, so the next run goes on from here."""

    def stop(number: int, _: FrameType | None) -> None:
        name = "interrupted" if number == signal.SIGINT else "stopped"
        sys.stderr.write(f"\n{name}: finished splits are kept; the same command goes on from here\n")
        sys.stderr.flush()
        # Workers watch for their driver and end with it, so leaving is all there is to do. Unwinding
        # through the runner instead would wait for threads that wait for workers.
        os._exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def cancelling(result: Any) -> Iterator[None]:
    """Ctrl-C and SIGTERM cancel the job: a cluster would go on with it, and write beside the next run."""

    def cancel(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(Exception):  # a job server that is gone has no job
            result.cancel()
        sys.stderr.write("\ncancelled: finished splits are kept; the same command goes on from here\n")
        sys.stderr.flush()
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def log_to(path: str, *, debug: bool) -> Iterator[None]:
    """Sends what Beam, its workers and C libraries say on stderr to a file; our own lines still reach the terminal.

    Workers inherit file descriptor 2, so it is the descriptor that is turned, and `sys.stderr` that is turned back.
    """
    if debug or "://" in path:
        yield
        return
    sys.stderr.flush()
    before = sys.stderr
    with open(path, "ab") as log, os.fdopen(os.dup(2), "w", buffering=1) as terminal:
        os.dup2(log.fileno(), 2)
        sys.stderr = terminal
        try:
            yield
        finally:
            os.dup2(terminal.fileno(), 2)
            sys.stderr = before


def innermost_message(error: BaseException) -> str:
    """The cause of a failed pipeline in one line.

    >>> innermost_message(RuntimeError("Traceback ...\\nOSError: disk full: /out [while running 'Write']\\n"))
    "OSError: disk full: /out [while running 'Write']"
    """
    lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines() if line.strip()]
    named = [line for line in lines if ": " in line and line.split(": ")[0].replace(".", "").isidentifier()]
    return (named or lines or [type(error).__name__])[-1]
