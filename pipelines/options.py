"""The flags that every corpus pipeline shares; each maps to one field of a settings object.

Flags we do not know are left for Beam, so that any option of any runner passes through.
"""

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn

from bpe.vocabulary import load_vocabulary
from pipelines.dataflow import check_dataflow
from pipelines.flink import check_flink
from pipelines.running import RUNNERS, check_beam_options
from pipelines.settings import DEFAULT_BLOCK_TOKENS, DEFAULT_SHARD_BYTES, Execution, ShardRules


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and leaves the description's lines as they are; says nothing of a default of None."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, "", ()):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, and which takes no flag by its beginning."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, "allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def add_limit_flags(group: Any) -> None:
    """--max-warcs and --limit-bytes, for trying a pipeline of crawl files on a part of them."""
    group.add_argument("--max-warcs", type=int, default=None, metavar="N", help="take only the first N files")
    group.add_argument("--limit-bytes", type=int, default=None, metavar="BYTES",
                       help="take only the records that start in the first BYTES of each file")  # fmt: skip


def add_output_flags(parser: argparse.ArgumentParser, *, min_tokens: int = 0) -> None:
    """--output, --vocabulary and how shards are made."""
    group = parser.add_argument_group("output")
    group.add_argument("--output", required=True, metavar="OUT", help="folder of the run; made if it is not there")
    group.add_argument(
        "--vocabulary", default="", metavar="VOCAB.json",
        help="vocabulary to encode with; without one the run ends with documents (see prep-shards)",
    )  # fmt: skip
    group.add_argument(
        "--encoding", default="fairseq", choices=("fairseq", "lossless"),
        help="fairseq: each sentence on its own, as the authors did; lossless: decodes to the very text",
    )  # fmt: skip
    group.add_argument("--held-out", type=float, default=0.005, metavar="SHARE",
                       help="share of documents kept apart to measure perplexity on")  # fmt: skip
    group.add_argument("--shard-bytes", type=int, default=DEFAULT_SHARD_BYTES, metavar="BYTES",
                       help="size of a shard aimed at, in bytes")  # fmt: skip
    group.add_argument("--shards", type=int, default=0, metavar="N",
                       help="number of training shards; 0 is as many as --shard-bytes asks for")  # fmt: skip
    group.add_argument("--block-tokens", type=int, default=DEFAULT_BLOCK_TOKENS, metavar="TOKENS",
                       help="tokens at which a block of a shard is closed")  # fmt: skip
    group.add_argument("--min-tokens", type=int, default=min_tokens, metavar="TOKENS",
                       help="drop documents of fewer tokens, in a run with a vocabulary; 0 keeps all")  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="replace a finished run of other settings in OUT")


def add_execution_flags(parser: argparse.ArgumentParser) -> None:
    """--runner, --workers and what else changes no byte of the output."""
    group = parser.add_argument_group("execution (changes no byte of the output)")
    group.add_argument(
        "--runner", default="local", metavar="RUNNER",
        help="local, flink, dataflow, or the name of a Beam runner; further Beam options are passed on",
    )  # fmt: skip
    group.add_argument("--flink-master", default="", metavar="HOST:PORT",
                       help="Flink cluster for --runner flink, started by deploy/flink/local-cluster or another way;"
                            " without it Flink runs inside the job server, for this job alone")  # fmt: skip
    group.add_argument("--worker-pool", default="", metavar="HOST:PORT",
                       help="Beam worker pool that each TaskManager starts its workers from")  # fmt: skip
    group.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N",
                       help="worker processes; default: as many as there are cores")  # fmt: skip
    group.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS",
                       help="time that one page may take in the extractor, in seconds")  # fmt: skip
    group.add_argument("--keep-work", action="store_true",
                       help="keep the extract stage's files after the run, for the next one to reuse")  # fmt: skip
    group.add_argument("--strict", action="store_true", help="fail on damaged input instead of counting it")
    group.add_argument("--no-progress", action="store_true", help="no live progress")
    group.add_argument(
        "--dry-run", nargs="?", const="text", default="", choices=("text", "json"),
        help="show the job's graph, its size and the files it would stage, as text or JSON; run and write nothing",
    )  # fmt: skip
    group.add_argument("--debug", action="store_true", help="show tracebacks and Beam's own log")


def read_shard_rules(flags: argparse.Namespace) -> ShardRules:
    return ShardRules(
        encoding=flags.encoding,
        held_out=flags.held_out,
        shard_bytes=flags.shard_bytes,
        n_shards=flags.shards,
        block_tokens=flags.block_tokens,
        min_tokens=flags.min_tokens,
    )


def read_execution(flags: argparse.Namespace, beam_options: list[str]) -> Execution:
    """Execution from the flags; local paths become absolute, since workers may run elsewhere."""
    if flags.workers < 1:
        raise ValueError(f"--workers is {flags.workers}; it counts processes, at least 1")
    if flags.timeout <= 0:
        raise ValueError(f"--timeout is {flags.timeout}; it is a time in seconds, above 0")
    execution = Execution(
        output=absolute(flags.output),
        vocabulary=absolute(flags.vocabulary) if flags.vocabulary else "",
        runner=RUNNERS.get(flags.runner, flags.runner),
        workers=flags.workers,
        strict=flags.strict,
        overwrite=flags.overwrite,
        keep_work=flags.keep_work,
        timeout_s=flags.timeout,
        progress=not flags.no_progress,
        debug=flags.debug,
        dry_run=flags.dry_run,
        flink_master=flags.flink_master,
        worker_pool=flags.worker_pool,
        beam_options=tuple(beam_options),
    )
    check_beam_options(execution, known=[f"--{name.replace('_', '-')}" for name in vars(flags)])
    check_dataflow(execution)
    check_flink(execution)
    return execution


def absolute(path: str) -> str:
    """A local path made absolute; a URL as it is."""
    return path if "://" in path else str(Path(path).resolve())


def vocabulary_fingerprint(path: str) -> str:
    """Fingerprint of a vocabulary, "" for none; ValueError where the file is not there."""
    if not path:
        return ""
    if "://" not in path and not Path(path).is_file():
        raise ValueError(f"--vocabulary {path}: no such file; make one with prep-shards vocabulary")
    return load_vocabulary(path).fingerprint
