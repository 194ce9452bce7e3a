"""CC-NEWS: crawl files of Common Crawl's news crawl to cleaned English documents and shards.

beam run pipelines/ccnews.py --input 'warcs/*.warc.gz' --output corpora-out/ccnews --vocabulary vocab.json
beam run pipelines/ccnews.py --months 2016-09..2016-09 --max-warcs 1 --limit-bytes 33554432 --output try
beam run pipelines/ccnews.py --input warcs --output corpora-out/news --vocabulary vocab.json --follow --every 10m
"""

import argparse
import sys
from functools import partial

from corpora import ccnews
from pipelines import options
from pipelines.command import exit_status
from pipelines.corpus import run_corpus
from pipelines.follow_flags import add_follow_flags, become_window, read_follow_rules
from pipelines.following import FollowedCorpus, follow
from pipelines.inputs import resolve_inputs
from pipelines.selection_flags import add_selection_flags, read_selection
from pipelines.settings import ANY_KIND, InputKind, RunSettings


def run(argv: list[str] | None = None) -> int:
    """Reads, cleans, deduplicates, encodes and shards; exit 0 done, 1 the data is bad, 2 the command is wrong."""
    argv = sys.argv[1:] if argv is None else argv
    flags, beam_options = make_parser().parse_known_args(argv)
    return exit_status(lambda: run_flags(flags, beam_options, argv), name="ccnews", debug=flags.debug)


def run_flags(flags: argparse.Namespace, beam_options: list[str], argv: list[str]) -> None:
    if not flags.input and not flags.months:
        raise ValueError("no input: name WARC files with --input, or months to fetch with --months")
    planned = become_window(flags) if flags.window else []
    execution = options.read_execution(flags, beam_options)
    variant = ccnews.VARIANTS[flags.variant]
    selection, execution = read_selection(flags, execution, prefix_chars=variant.deduplicate_prefix_chars)
    settings = RunSettings(
        corpus="ccnews",
        variant=flags.variant,
        kinds={ANY_KIND: InputKind(settings=variant.processing)},
        limit_bytes=flags.limit_bytes,
        selection=selection,
        shards=options.read_shard_rules(flags),
        vocabulary_fingerprint=options.vocabulary_fingerprint(execution.vocabulary),
    )
    list_files = partial(
        resolve_inputs,
        inputs=flags.input,
        months=flags.months,
        crawl_root=flags.crawl_root,
        max_warcs=flags.max_warcs,
    )
    if flags.follow and not flags.window:
        rules, listing = read_follow_rules(flags), partial(list_files, following=True)
        follow(FollowedCorpus("ccnews", argv, execution, settings.all_settings(), listing), rules)
        return
    run_corpus(settings, execution, planned or list_files())


def make_parser() -> argparse.ArgumentParser:
    parser = options.Parser(prog="beam run pipelines/ccnews.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--input", nargs="+", action="extend", default=[], metavar="PATTERN",
        help="WARC, ARC or WET files: patterns in quotes, URLs, or lists of paths (@list.txt, *.paths.gz)",
    )  # fmt: skip
    group.add_argument("--months", default="", metavar="FROM..TO",
                       help="months of CC-NEWS to fetch, as in 2016-09..2019-02 (the paper's);"
                            " 2026-01.. goes on for ever, with --follow")  # fmt: skip
    group.add_argument("--crawl-root", default="", metavar="ROOT",
                       help="where crawl-data/ and what lists name lie: https, s3 or a local mirror"
                            " (default: https://data.commoncrawl.org; of lists: their own folder)")  # fmt: skip
    options.add_limit_flags(group)
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--variant", default="default", choices=sorted(ccnews.VARIANTS),
        help="default: our choice; paper: news-please as the authors did; realnews: Zellers et al. 2019",
    )  # fmt: skip
    add_selection_flags(parser)
    add_follow_flags(parser)
    options.add_output_flags(parser)
    options.add_execution_flags(parser)
    return parser


if __name__ == "__main__":
    from pipelines import ccnews as importable  # what is defined in __main__ cannot be unpickled on workers

    sys.exit(importable.run())
