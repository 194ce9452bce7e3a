"""`prep-shards compact`: merges the windows of a growing corpus into one run, and publishes a generation that lists it.

prep-shards compact OUT                       # all windows become one
prep-shards compact OUT --windows 1..30       # these do
prep-shards compact OUT --dry-run             # what would be merged, and the job; nothing is changed
prep-shards compact OUT --prune               # then, once nobody reads older generations: their folders go

Nothing is read, judged or encoded again: what the windows kept and dropped stays so, and the shards are those that one
run over all of their input writes. The folders of the merged windows stay until --prune removes them; what they share
with the new run takes no space twice. A corpus that is being followed is locked: stop that, or let it compact itself.
"""

import argparse
import json
import os
import re
from typing import Any

from pipelines import options
from pipelines.command import print_lines
from pipelines.compacting import (
    Compaction,
    compact_windows,
    count_freed,
    describe_merge,
    find_leftovers,
    plan_compaction,
    prune_windows,
)
from pipelines.dry_run import show_plan
from pipelines.extract_stage import exit_with_driver
from pipelines.generations import read_generation
from pipelines.merging import build_merge
from pipelines.settings import Execution
from pipelines.storage import join

_RANGE = re.compile(r"(\d{1,8})\.\.(\d{1,8})", re.ASCII)


def add_compact_parser(commands: Any) -> None:
    """Mounts `compact` on the parser of prep-shards."""
    parser = commands.add_parser(
        "compact", help="merge the windows of a growing corpus into one run", description=__doc__,
        formatter_class=options.HelpFormatter,
    )  # fmt: skip
    parser.add_argument("output", metavar="OUT", help="folder of a growing corpus, on a local disk")
    what = parser.add_argument_group("what to merge")
    what.add_argument("--windows", default="", metavar="FIRST..LAST",
                      help="windows by their numbers, both included; default: all")  # fmt: skip
    what.add_argument("--min-windows", type=int, default=2, metavar="N", help="do nothing where there are fewer")
    what.add_argument("--prune", action="store_true",
                      help="merge nothing; remove the folders that the newest generation does not list. Older"
                           " generations cannot be opened any more")  # fmt: skip
    what.add_argument("--lock-fd", type=int, default=None, metavar="N",
                      help="descriptor of OUT/work/lock, held and passed on by who starts this command")  # fmt: skip
    options.add_execution_flags(parser)
    parser.set_defaults(handler=compact, vocabulary="", overwrite=False)


def compact(flags: argparse.Namespace) -> None:
    """Runs the command; raises ValueError, ShardError, BooksError, PipelineFailedError or OSError."""
    if flags.lock_fd is not None:
        exit_with_driver(os.getppid())  # which holds the lock, and goes on from here when it is started again
    execution = options.read_execution(flags, flags.beam_options)
    first, last = read_range(flags.windows)
    if flags.min_windows < 1:
        raise ValueError(f"--min-windows is {flags.min_windows}; it counts windows, at least 1")
    if flags.prune and (flags.windows or flags.min_windows != 2):
        raise ValueError("--prune merges nothing, so it goes without --windows and --min-windows; compact first")
    output = execution.output
    if flags.prune:
        _prune(output, execution, flags.lock_fd)
    elif execution.dry_run:
        _show(execution, first, last)
    else:
        done = compact_windows(
            output, execution, first=first, last=last, min_windows=flags.min_windows, lock=flags.lock_fd
        )
        print_lines(*compaction_lines(output, done, asked=flags.windows))


def read_range(text: str) -> tuple[int | None, int | None]:
    """FIRST and LAST, none where nothing was asked for; ValueError where it is no range.

    >>> read_range("3..17"), read_range("")
    ((3, 17), (None, None))
    """
    if not text:
        return None, None
    found = _RANGE.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--windows {text!r}: it names the first and the last, counted from 1, as in 1..30")
    return int(found[1]), int(found[2])


def compaction_lines(output: str, done: Compaction, *, asked: str) -> list[str]:
    """What was done, for people."""
    growing = done.generation.growing
    if done.window is None:
        n = len(growing.windows)
        runs = "one run" if n == 1 else f"{n:,} runs, too few of them to merge" if not asked else "what was asked for"
        lines = [f"nothing to do: {output} is {runs}, of windows 1 to {growing.windows[-1].last:,}"]
    else:
        one = done.window
        lines = [
            f"merged windows {one.first:,} to {one.last:,} out of {len(done.merged):,} runs: {one.files:,} input files,"
            f" {one.kept:,} documents, {one.tokens:,} tokens",
            f"generation {growing.generation:,} lists {join(output, one.run)}",
        ]
    return lines + leftover_lines(output)


def leftover_lines(output: str) -> list[str]:
    """What --prune would remove, for people; nothing where there is nothing."""
    newest = read_generation(output)
    runs = [leftover.run for leftover in find_leftovers(output, newest.growing)] if newest else []
    if not runs:
        return []
    freed = count_freed(output, runs)
    return [
        f"kept for readers of older generations: {len(runs):,} folders, of which {freed:,} bytes are"
        f" theirs alone; `prep-shards compact {output} --prune` removes them"
    ]


def _show(execution: Execution, first: int | None, last: int | None) -> None:
    windows, plan = plan_compaction(execution.output, first, last)
    if plan is None:
        one = {"windows": [window.run for window in windows]}
        print_lines(json.dumps(one) if execution.dry_run == "json" else f"nothing to do: {windows[0].run} is one run")
        return
    if execution.dry_run != "json":
        print_lines(*describe_merge(plan))
    target = join(execution.output, f"windows/{windows[0].first:08d}-{windows[-1].last:08d}")
    show_plan(
        lambda pipeline: build_merge(pipeline, plan, output=target), execution, name=f"compact-{plan.identity.name}"
    )


def _prune(output: str, execution: Execution, lock: int | None) -> None:
    if execution.dry_run:
        print_lines(*(leftover_lines(output) or ["nothing to do"]), "nothing was changed (--dry-run)")
        return
    newest = read_generation(output)
    runs = [leftover.run for leftover in find_leftovers(output, newest.growing)] if newest else []
    n_bytes = count_freed(output, runs)
    removed = prune_windows(output, lock=lock)
    print_lines(
        *(f"removed {join(output, run)}" for run in removed),
        f"{len(removed):,} folders, {n_bytes:,} bytes freed" if removed else f"nothing to do: {output}",
    )
