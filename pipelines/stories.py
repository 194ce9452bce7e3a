"""Stories: pages of Common Crawl that are most like questions of commonsense reasoning (Trinh & Le 2018).

beam run pipelines/stories.py --input 'wets/*.wet.gz' --questions wsc273.txt PDP.txt --output corpora-out/stories
beam run pipelines/stories.py --input @paths.txt --questions WSCollection.xml --keep 0.01 --output try

Documents that share passages with WSC, and so with WNLI of GLUE, are what is selected here: see the report.
"""

import argparse
import sys
from collections.abc import Sequence

from corpora.commonsense import Question, parse_questions
from corpora.processing import ProcessingSettings
from corpora.stories import DEFAULT_KEEP, StoriesSettings
from pipelines import options
from pipelines.command import exit_status
from pipelines.corpus import run_corpus
from pipelines.inputs import resolve_inputs
from pipelines.selection_flags import add_selection_flags, read_selection
from pipelines.settings import ANY_KIND, InputKind, RunSettings
from pipelines.storage import exists, open_read


def run(argv: list[str] | None = None) -> int:
    """Scores, cuts, deduplicates, encodes and shards; exit 0 done, 1 the data is bad, 2 the command is wrong."""
    flags, beam_options = make_parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: run_flags(flags, beam_options), name="stories", debug=flags.debug)


def run_flags(flags: argparse.Namespace, beam_options: list[str]) -> None:
    execution = options.read_execution(flags, beam_options)
    processing = ProcessingSettings(extractor=flags.extractor)
    selection, execution = read_selection(flags, execution, keep=flags.keep)
    settings = RunSettings(
        corpus="stories",
        kinds={
            ANY_KIND: InputKind(
                settings=StoriesSettings.of(read_questions(flags.questions), processing=processing),
                process="corpora.stories:process_story",
                versions="corpora.stories:story_versions",
            )
        },
        limit_bytes=flags.limit_bytes,
        selection=selection,
        shards=options.read_shard_rules(flags),
        vocabulary_fingerprint=options.vocabulary_fingerprint(execution.vocabulary),
    )
    inputs = resolve_inputs(inputs=flags.input, crawl_root=flags.crawl_root, max_warcs=flags.max_warcs)
    run_corpus(settings, execution, inputs)


def read_questions(paths: Sequence[str]) -> list[Question]:
    """The questions of all files; ValueError for a file that is not there, QuestionFileError for one without any."""
    questions: list[Question] = []
    for path in paths:
        if not exists(path):
            raise ValueError(f"--questions {path}: no such file; name files of WSC or PDP, or one question a line")
        with open_read(path) as stream:
            questions += parse_questions(stream.read(), path=path)
    return questions


def make_parser() -> argparse.ArgumentParser:
    parser = options.Parser(prog="beam run pipelines/stories.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--input", nargs="+", action="extend", required=True, metavar="PATTERN",
        help="WET, WARC or ARC files: patterns in quotes, folders, URLs, or lists of paths (@list.txt, *.paths.gz)",
    )  # fmt: skip
    group.add_argument(
        "--questions", nargs="+", action="extend", required=True, metavar="FILE",
        help="questions to rank by: WSC or PDP as XML, as blocks of four lines, or a question a line; answers in them"
             " are left out",
    )  # fmt: skip
    group.add_argument("--crawl-root", default="", metavar="ROOT",
                       help="where the files that lists name lie: https, s3 or a local mirror"
                            " (default: the list's own folder)")  # fmt: skip
    options.add_limit_flags(group)
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--keep", type=float, default=DEFAULT_KEEP, metavar="FRACTION",
        help="share of the documents to keep, those of the highest score, above 0 and at most 1; all that score as the"
             " last one are kept, none that shares no word with the questions",
    )  # fmt: skip
    rules.add_argument("--extractor", default="trafilatura", choices=("trafilatura", "resiliparse", "news-please"),
                       help="how text is taken from HTML; texts of WET files are taken as they are")  # fmt: skip
    add_selection_flags(parser)
    options.add_output_flags(parser)
    options.add_execution_flags(parser)
    return parser


if __name__ == "__main__":
    from pipelines import stories as importable  # what is defined in __main__ cannot be unpickled on workers

    sys.exit(importable.run())
