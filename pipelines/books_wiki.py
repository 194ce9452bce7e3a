"""Books and Wikipedia, BERT's corpora: dumps of MediaWiki and folders of books to cleaned documents and shards.

beam run pipelines/books_wiki.py --wikipedia 'dumps/*.xml.bz2' --books library --output corpora-out/books_wiki
"""

import argparse
import sys
from collections.abc import Sequence

from corpora.book_files import BookLimits
from corpora.books import BookSettings
from corpora.mediawiki_dump import DumpLimits
from corpora.wikipedia import WikipediaSettings
from pipelines import options
from pipelines.command import exit_status
from pipelines.corpus import run_corpus
from pipelines.inputs import InputFile, resolve_inputs
from pipelines.selection_flags import add_selection_flags, read_selection
from pipelines.settings import InputKind, RunSettings

BOOK_ENDINGS = (".txt", ".txt.gz", ".epub")
DUMP_ENDINGS = (".xml", ".xml.gz", ".bz2")  # parts of dumps end in .xml-p1p41242.bz2
NO_DUMP = "-multistream-index"  # lies beside the dump and lists its streams


def run(argv: list[str] | None = None) -> int:
    """Reads, cleans, deduplicates, encodes and shards; exit 0 done, 1 the data is bad, 2 the command is wrong."""
    flags, beam_options = make_parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: run_flags(flags, beam_options), name="books_wiki", debug=flags.debug)


def run_flags(flags: argparse.Namespace, beam_options: list[str]) -> None:
    inputs = find_inputs(flags.wikipedia, flags.books)
    execution = options.read_execution(flags, beam_options)
    kinds = {
        "books": InputKind(
            settings=BookSettings(headings=flags.headings, notes=flags.notes),
            read="corpora.book_files:read_books",
            process="corpora.books:process_book",
            versions="corpora.books:book_versions",
            limits=BookLimits(),
            whole_files=True,
        ),
        "wikipedia": InputKind(
            settings=WikipediaSettings(),
            read="corpora.mediawiki_dump:read_articles",
            process="corpora.wikipedia:process_article",
            versions="corpora.wikipedia:wikipedia_versions",
            limits=DumpLimits(),
        ),
    }
    selection, execution = read_selection(flags, execution)
    settings = RunSettings(
        corpus="books_wiki",
        kinds={kind: kinds[kind] for kind in sorted({file.name.partition("/")[0] for file in inputs})},
        limit_bytes=flags.limit_bytes,
        selection=selection,
        shards=options.read_shard_rules(flags),
        vocabulary_fingerprint=options.vocabulary_fingerprint(execution.vocabulary),
    )
    run_corpus(settings, execution, inputs)


def find_inputs(dumps: Sequence[str], books: Sequence[str]) -> list[InputFile]:
    """Files under the names `wikipedia/…` and `books/…`, so that one tells how to read them."""
    if not dumps and not books:
        raise ValueError("no input: name dumps with --wikipedia, folders of books with --books, or both")
    found = []
    for kind, named, endings in (("books", books, BOOK_ENDINGS), ("wikipedia", dumps, DUMP_ENDINGS)):
        files = resolve_inputs(inputs=named, folder_endings=endings, list_endings=()) if named else []
        found += [file._replace(name=f"{kind}/{file.name}") for file in files if NO_DUMP not in file.name]
    return found


def make_parser() -> argparse.ArgumentParser:
    parser = options.Parser(prog="beam run pipelines/books_wiki.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--wikipedia", nargs="+", action="extend", default=[], metavar="PATTERN",
        help="dumps of articles as MediaWiki exports them (.xml, .xml.bz2, multistream or not, .xml.gz): patterns in"
             " quotes, folders, URLs, or lists (@list.txt)",
    )  # fmt: skip
    group.add_argument("--books", nargs="+", action="extend", default=[], metavar="DIR",
                       help="folders, patterns or lists of books: .txt, .txt.gz (matter of Project Gutenberg is taken"
                            " off), .epub")  # fmt: skip
    group.add_argument("--limit-bytes", type=int, default=None, metavar="BYTES",
                       help="take only the articles that start in the first BYTES of each dump")  # fmt: skip
    rules = parser.add_argument_group("rules")
    rules.add_argument("--headings", default="keep", choices=("keep", "drop"),
                       help="headings of chapters: keep as paragraphs of their own, or drop")  # fmt: skip
    rules.add_argument("--notes", default="drop", choices=("drop", "keep"),
                       help="footnotes and endnotes of books that are marked as such: drop, or keep where they"
                            " stand")  # fmt: skip
    add_selection_flags(parser, near_duplicates="0.5:0.99")
    options.add_output_flags(parser)
    options.add_execution_flags(parser)
    return parser


if __name__ == "__main__":
    from pipelines import books_wiki as importable  # what is defined in __main__ cannot be unpickled on workers

    sys.exit(importable.run())
