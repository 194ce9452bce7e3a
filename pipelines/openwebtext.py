"""OpenWebText: submissions of Reddit to the pages they link to, and to cleaned English documents and shards.

beam run pipelines/openwebtext.py --submissions 'pushshift/RS_*.zst' --fetch-contact you@example.org --output OUT
beam run pipelines/openwebtext.py --stage urls --submissions 'pushshift/RS_*.zst' --output OUT
beam run pipelines/openwebtext.py --stage fetch --from-common-crawl @cc-index.paths.gz --output OUT
beam run pipelines/openwebtext.py --stage extract --vocabulary vocab.json --output OUT

Three stages, each of which goes on where it was stopped and is not done twice: `urls` chooses the links
(OUT/urls), `fetch` gets their pages from their hosts or out of Common Crawl (OUT/fetched, WARC), `extract` makes
documents and shards of them, as for every corpus.
"""

import argparse
import sys

from corpora import openwebtext
from corpora.submissions import SUBMISSION_ENDINGS
from pipelines import options
from pipelines.capture_stage import run_common_crawl
from pipelines.command import exit_status, print_lines
from pipelines.corpus import run_corpus
from pipelines.crawl_stage import run_crawl
from pipelines.fetched_files import FETCHED_FOLDER, read_fetched
from pipelines.fetching import add_fetch_flags, read_fetch_settings
from pipelines.inputs import InputFile, resolve_inputs
from pipelines.listing import DEFAULT_CRAWL_ROOT
from pipelines.selection_flags import add_selection_flags, read_selection
from pipelines.settings import ANY_KIND, Execution, InputKind, RunSettings
from pipelines.storage import join, list_files
from pipelines.url_stage import plan_url_stage, run_url_stage

STAGES = ("urls", "fetch", "extract")
MIN_TOKENS = 128  # documents of fewer were dropped (Gokaslan and Cohen 2019)
INDEX_ENDINGS = (".cdxj", ".cdxj.gz", ".cdx", ".gz", ".json", ".jsonl")
_NO_INDEX = ("cluster.idx", "metadata.yaml")  # what lists of Common Crawl's index files name besides


def run(argv: list[str] | None = None) -> int:
    """Runs the stages asked for; exit 0 done, 1 the data is bad, 2 the command is wrong."""
    flags, beam_options = make_parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: run_flags(flags, beam_options), name="openwebtext", debug=flags.debug)


def run_flags(flags: argparse.Namespace, beam_options: list[str]) -> None:
    stages = STAGES if flags.stage == "all" else (flags.stage,)
    execution = options.read_execution(flags, beam_options)
    check_flags(flags, stages)
    variant = openwebtext.VARIANTS[flags.variant]
    if "extract" in stages:  # before any work: what is wrong with it should not show after a week of fetching
        settings, extract_execution = read_run(flags, execution, variant)
    if execution.dry_run:
        show_stages(flags, stages, execution, variant)
        return
    if "urls" in stages:
        run_url_stage(variant.urls, execution, find_submissions(flags.submissions))
    if "fetch" in stages:
        fetch(flags, execution)
    if "extract" in stages:
        run_corpus(settings, extract_execution, find_fetched_files(flags.fetched, execution.output))


def show_stages(
    flags: argparse.Namespace, stages: tuple[str, ...], execution: Execution, variant: openwebtext.Variant
) -> None:
    """--dry-run. What is fetched depends on the list of URLs, so that stage has a job only when it is run."""
    if "urls" in stages:
        plan_url_stage(variant.urls, execution, find_submissions(flags.submissions))
    if "fetch" in stages and execution.dry_run == "text":
        print_lines("fetch: no job to show before the list of URLs is made")
    if "extract" in stages:
        settings, execution = read_run(flags, execution, variant)
        run_corpus(settings, execution, resolve_inputs(inputs=flags.fetched) if flags.fetched else [])


def check_flags(flags: argparse.Namespace, stages: tuple[str, ...]) -> None:
    """ValueError where a stage lacks what it needs from the command, or is told what it has no use for."""
    if "urls" in stages and not flags.submissions:
        raise ValueError("no submissions: name pushshift's files with --submissions 'RS_*.zst'")
    if "fetch" in stages and not flags.from_common_crawl:
        read_fetch_settings(flags)
    if flags.fetched and flags.stage != "extract":
        raise ValueError("--fetched is what --stage extract reads; leave it out, or say --stage extract")


def read_run(
    flags: argparse.Namespace, execution: Execution, variant: openwebtext.Variant
) -> tuple[RunSettings, Execution]:
    """What the extract stage is asked to do."""
    selection, execution = read_selection(flags, execution)
    settings = RunSettings(
        corpus="openwebtext",
        variant=flags.variant,
        kinds={ANY_KIND: InputKind(settings=variant.pages)},
        selection=selection,
        shards=options.read_shard_rules(flags),
        vocabulary_fingerprint=options.vocabulary_fingerprint(execution.vocabulary),
    )
    return settings, execution


def find_submissions(patterns: list[str]) -> list[InputFile]:
    """Files of submissions; lists of them are named with @."""
    return resolve_inputs(inputs=patterns, folder_endings=SUBMISSION_ENDINGS, list_endings=())


def fetch(flags: argparse.Namespace, execution: Execution) -> None:
    """The pages of the list of URLs, from their hosts or out of Common Crawl."""
    if not flags.from_common_crawl:
        run_crawl(execution, read_fetch_settings(flags))
        return
    files = resolve_inputs(
        inputs=flags.from_common_crawl, crawl_root=flags.crawl_root or None, folder_endings=INDEX_ENDINGS
    )
    index = [file for file in files if not file.name.endswith(_NO_INDEX)]
    crawl_root = options.absolute(flags.crawl_root) if flags.crawl_root else DEFAULT_CRAWL_ROOT
    run_common_crawl(execution, index, crawl_root=crawl_root)


def find_fetched_files(patterns: list[str], output: str) -> list[InputFile]:
    """WARC files to extract: those named, else those of this run's own fetch stage; ValueError where there are none."""
    if patterns:
        return resolve_inputs(inputs=patterns)
    folder = join(output, FETCHED_FOLDER)
    if read_fetched(output) is None:
        raise ValueError(
            f"{folder} holds no finished fetch: run --stage fetch with the same --output first, or name the WARC files"
            " of another with --fetched"
        )
    names = list_files(folder, "*.warc.gz")
    if not names:
        raise ValueError(f"{folder} holds no page: none of the URLs could be fetched; see its *.outcomes.parquet")
    return resolve_inputs(inputs=[join(folder, "*.warc.gz")])


def make_parser() -> argparse.ArgumentParser:
    parser = options.Parser(prog="beam run pipelines/openwebtext.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument("--stage", default="all", choices=("all", *STAGES), help="which stages to run")
    group.add_argument(
        "--submissions", nargs="+", action="extend", default=[], metavar="PATTERN",
        help="pushshift's files of submissions (.zst, .xz, .bz2, .gz or plain lines of JSON): patterns in quotes,"
             " folders, URLs, or lists (@list.txt)",
    )  # fmt: skip
    group.add_argument(
        "--from-common-crawl", nargs="+", action="extend", default=[], metavar="INDEX",
        help="do not crawl, but take pages out of Common Crawl by these files of its index (CDXJ, or answers of its"
             " index server): patterns, folders, URLs, or lists (@list.txt, cc-index.paths.gz)",
    )  # fmt: skip
    group.add_argument("--crawl-root", default="", metavar="ROOT",
                       help="where the archives and lists of Common Crawl lie: https, s3 or a local mirror"
                            f" (default: {DEFAULT_CRAWL_ROOT}; of lists: their own folder)")  # fmt: skip
    group.add_argument("--fetched", nargs="+", action="extend", default=[], metavar="PATTERN",
                       help="with --stage extract: WARC files of an earlier fetch (default: OUT/fetched)")  # fmt: skip
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--variant", default="default", choices=sorted(openwebtext.VARIANTS),
        help="; ".join(f"{name}: {one.description}" for name, one in openwebtext.VARIANTS.items()),
    )  # fmt: skip
    add_fetch_flags(parser)
    add_selection_flags(parser, near_duplicates="0.5:0.99")
    options.add_output_flags(parser, min_tokens=MIN_TOKENS)
    options.add_execution_flags(parser)
    return parser


if __name__ == "__main__":
    from pipelines import openwebtext as importable  # what is defined in __main__ cannot be unpickled on workers

    sys.exit(importable.run())
