"""The flags of a follower, which makes a growing corpus out of files as they appear, and what they mean."""

import argparse
import re
from dataclasses import dataclass

from bpe.growing import window_folder
from pipelines.extract_stage import exit_with_driver
from pipelines.follow_plans import plan_path
from pipelines.generations import read_generation
from pipelines.inputs import InputFile, read_input_list
from pipelines.options import absolute
from pipelines.settings import Execution
from pipelines.storage import is_url, join

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowRules:
    """How a follower goes about it; nothing here changes which documents of some windows are kept."""

    every_s: float = 600.0  # between two looks for new files
    once: bool = False  # end when there are no more
    settle_s: float = 10.0  # that a local file must have been left alone
    window_files: int = 64  # of one window, at most
    min_free_bytes: int = 2 << 30  # below which no window is begun
    give_up_after: int = 5  # failures in a row
    compact_every: int = 0  # windows that are then merged into one; 0 never merges
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"


def add_follow_flags(parser: argparse.ArgumentParser) -> None:
    """--follow, --every and what belongs to them."""
    defaults = FollowRules()
    group = parser.add_argument_group("following (OUT becomes a growing corpus of windows, each a finished run)")
    group.add_argument("--follow", action="store_true",
                       help="go on looking for new input files, and add them to OUT window by window")  # fmt: skip
    group.add_argument("--every", type=parse_duration, default="10m", metavar="DURATION",
                       help="time between two looks, as in 30s, 10m, 1h, 1d")  # fmt: skip
    group.add_argument("--once", action="store_true", help="end when all files that are there are taken")
    group.add_argument("--settle", type=parse_duration, default="10s", metavar="DURATION",
                       help="take a local file only when nobody has written to it for so long")  # fmt: skip
    group.add_argument("--window-files", type=int, default=defaults.window_files, metavar="N",
                       help="files of a window at most; the next one, of the others, follows at once")  # fmt: skip
    group.add_argument("--min-free-bytes", type=int, default=defaults.min_free_bytes, metavar="BYTES",
                       help="begin no window while OUT's disk has less room than this")  # fmt: skip
    group.add_argument("--compact-every", type=int, default=defaults.compact_every, metavar="N",
                       help="merge windows whenever N have come since the last merge, as prep-shards compact does;"
                            " 0 leaves that to you")  # fmt: skip
    group.add_argument("--give-up-after", type=int, default=defaults.give_up_after, metavar="N",
                       help="end with status 1 after so many failures in a row; 0 tries for ever")  # fmt: skip
    group.add_argument("--metrics-port", type=int, default=None, metavar="PORT",
                       help="serve /metrics (Prometheus) and /healthz there; 0 chooses a free port")  # fmt: skip
    group.add_argument("--metrics-host", default=defaults.metrics_host, metavar="HOST",
                       help="address to serve them on; 0.0.0.0 is all of this machine's")  # fmt: skip
    group.add_argument("--window", type=int, default=0, help=argparse.SUPPRESS)  # this process is to make that window
    group.add_argument("--supervisor", type=int, default=0, help=argparse.SUPPRESS)  # and ends with that process


def read_follow_rules(flags: argparse.Namespace) -> FollowRules:
    """The rules from the flags; ValueError where flags do not go together."""
    for name in ("overwrite", "max_warcs", "dry_run"):
        if getattr(flags, name):
            raise ValueError(f"--{name.replace('_', '-')} and --follow do not go together")
    if flags.window_files < 1:
        raise ValueError(f"--window-files is {flags.window_files}; it counts files, at least 1")
    if flags.min_free_bytes < 0 or flags.give_up_after < 0:
        raise ValueError("--min-free-bytes and --give-up-after count things: they cannot be negative")
    if flags.compact_every < 0 or flags.compact_every == 1:
        raise ValueError(f"--compact-every is {flags.compact_every}; it counts windows, at least 2, or 0 for never")
    if flags.compact_every and is_url(flags.output):
        raise ValueError("--compact-every: a corpus is compacted on a local disk only")
    if flags.metrics_port is not None and not 0 <= flags.metrics_port < 1 << 16:
        raise ValueError(f"--metrics-port is {flags.metrics_port}; a port is from 0 to 65535")
    return FollowRules(
        every_s=flags.every,
        once=flags.once,
        settle_s=flags.settle,
        window_files=flags.window_files,
        min_free_bytes=flags.min_free_bytes,
        give_up_after=flags.give_up_after,
        compact_every=flags.compact_every,
        metrics_port=flags.metrics_port,
        metrics_host=flags.metrics_host,
    )


def become_window(flags: argparse.Namespace) -> list[InputFile]:
    """Turns the flags of a follower into those of the run of one window, and gives that window's input files."""
    exit_with_driver(flags.supervisor)
    corpus, number = absolute(flags.output), flags.window
    newest = read_generation(corpus)
    windows = newest.growing.windows if newest is not None else ()
    flags.against = [*flags.against, *(join(corpus, window.run) for window in windows)]
    flags.output = join(corpus, window_folder(number, number))
    return list(read_input_list(plan_path(corpus, number)))


def runner_flags(execution: Execution) -> list[str]:
    """The flags by which another command runs where this one does."""
    flags = ["--runner", execution.runner, "--workers", str(execution.workers)]
    for name, value in (("--flink-master", execution.flink_master), ("--worker-pool", execution.worker_pool)):
        flags += [name, value] if value else []
    return [*flags, *execution.beam_options]


def parse_duration(text: str) -> float:
    """Seconds.

    >>> parse_duration("30s"), parse_duration("1.5h"), parse_duration("10m")
    (30.0, 5400.0, 600.0)
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= 366 * _SECONDS["d"]:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 30s, 10m, 1h or 1d")
    return seconds
