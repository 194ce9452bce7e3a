"""`inspect-shards`: looks at what a run has written, and changes nothing.

inspect-shards summary OUT                        what is in it
inspect-shards show OUT --document 5f3a           a document, its sentences, its tokens
inspect-shards verify OUT                         whether every byte is what the manifest says
inspect-shards trace OUT --update 50 --run RUN    from training samples back to the crawl

OUT is a folder, or s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.
"""

import argparse
import io
import os
import sys

from bpe.cache_settings import add_cache_flags, use_cache_flags
from bpe.errors import ShardError
from corpora.errors import CorpusError
from inspection.errors import NotFoundError

_EXITS = "exit status: 0 done, 1 the data is bad or what was asked for is not there, 2 the command is wrong"


def main(argv: list[str] | None = None) -> int:
    """Exit 0 done, 1 the data is bad or what was asked for is not there, 2 the command is wrong."""
    parser = make_parser()
    flags = parser.parse_args(sys.argv[1:] if argv is None else argv)
    complaint = check_flags(flags)
    if complaint:
        parser.error(complaint)
    try:
        use_cache_flags(flags)
        return _run(flags)
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, CorpusError, ShardError, NotFoundError, OSError) as error:
        if flags.debug:
            raise
        print(f"inspect-shards: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _run(flags: argparse.Namespace) -> int:
    from inspection.commands import COMMANDS  # numpy and pyarrow: only now, so that help and wrong commands are instant

    answer = COMMANDS[flags.command](flags)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what others wrote, on a terminal that is not UTF-8
    print("\n".join(answer.lines))
    sys.stdout.flush()
    return answer.status


def make_parser() -> argparse.ArgumentParser:
    """The command line; every flag with its unit and default."""
    parser = argparse.ArgumentParser(
        prog="inspect-shards", description=__doc__, epilog=_EXITS, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    summary = _add(commands, "summary", "what is in a run: books, counts, shards, vocabulary, languages, domains")
    summary.add_argument(
        "out",
        nargs="+",
        metavar="OUT",
        help="folder of a finished run, of a mixture or of a growing corpus; several are shown in turn",
    )
    _add_show(_add(commands, "show", "documents, their sentences and tokens, and rejects"))
    verify = _add(commands, "verify", "whether every file is what the manifest says; names each fault, exit 1 if any")
    verify.add_argument(
        "out", metavar="OUT", help="folder of a finished run, or of a mixture or growing corpus: all of its runs"
    )
    verify.add_argument(
        "--quick", action="store_true",
        help="only presence, sizes, ends of tars, rows of tables and files too many; by default every byte is read",
    )  # fmt: skip
    _add_trace(_add(commands, "trace", "from a document or a training sample back to its byte in the crawl"))
    return parser


def check_flags(flags: argparse.Namespace) -> str:
    """What is wrong with flags that contradict each other or lack a partner; "" when nothing is."""
    if flags.command not in ("show", "trace"):
        return ""
    if flags.limit < 1:
        return f"--limit is {flags.limit}; it counts, at least 1"
    place = (flags.shard, flags.block, flags.position)
    if any(part is not None for part in place) and not all(part is not None for part in place):
        return "--shard, --block and --position name a place together"
    return _check_show(flags) if flags.command == "show" else _check_trace(flags)


def _check_show(flags: argparse.Namespace) -> str:
    if sum((flags.document is not None, flags.shard is not None, flags.rejected)) > 1:
        return "--document, --shard and --rejected exclude each other"
    if flags.reason is not None and not flags.rejected:
        return "--reason goes with --rejected"
    if flags.chars < 0:
        return f"--chars is {flags.chars}; it counts characters, 0 is all"
    return ""


def _check_trace(flags: argparse.Namespace) -> str:
    ways = (flags.document, flags.url, flags.shard, flags.sample, flags.update)
    if sum(way is not None for way in ways) != 1:
        return "trace one of --document, --url, --shard with --block and --position, --sample, --update"
    by_sample = flags.sample is not None or flags.update is not None
    if by_sample != (flags.run is not None):
        return "--sample and --update go with --run, the folder of the training run"
    if flags.row is not None and flags.update is None:
        return "--row goes with --update"
    if flags.update is not None and (flags.update < 1 or (flags.row or 0) < 0):
        return "updates are counted from 1, the rows of their batch from 0"
    return ""


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    said = f"{text[0].upper()}{text[1:]}."
    parser = commands.add_parser(name, help=text, description=said, epilog=_EXITS, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_cache_flags(parser)
    return parser


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out", metavar="OUT", help="folder of a finished run, or of a growing corpus: all of its windows"
    )
    _add_record_flags(parser)
    parser.add_argument("--rejected", action="store_true", help="show what was not kept, and why")
    parser.add_argument("--reason", metavar="REASON", help="only rejects of this reason, as summary names it")
    parser.add_argument("--ids", action="store_true", help="show the token ids below each sentence")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="documents or rejects to list (default: 10)")
    parser.add_argument("--chars", type=int, default=3_000, metavar="N",
                        help="characters of a document's text to show; 0 is all (default: 3000)")  # fmt: skip


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out", metavar="OUT",
        help="folder of a finished run, or of a growing corpus: all of its windows; with --run of a mixture, too",
    )  # fmt: skip
    _add_record_flags(parser)
    parser.add_argument("--url", metavar="URL", help="every record of exactly this URL")
    parser.add_argument("--sample", metavar="EPOCH/WINDOW/INDEX", help="a training sample by its name, counted from 0")
    parser.add_argument("--update", type=int, metavar="N", help="the samples of an update's global batch, from 1")
    parser.add_argument("--row", type=int, metavar="R", help="only this sample of the update, counted from 0")
    parser.add_argument("--run", metavar="RUN", help="folder of the training run that --sample or --update is of")
    parser.add_argument("--warc-root", metavar="DIR", help="folder of the input files: reads the record there again")
    parser.add_argument("--limit", type=int, default=10, metavar="N",
                        help="records of a URL or samples of an update to trace (default: 10)")  # fmt: skip


def _add_record_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--document", metavar="HEX", help="id of a document, kept or not; its first digits will do")
    parser.add_argument("--shard", metavar="NAME", help="a shard, as in ccnews-00000-of-00004")
    parser.add_argument("--block", type=int, metavar="K", help="a block of the shard, counted from 0")
    parser.add_argument("--position", type=int, metavar="P", help="a document of the block, counted from 0")


if __name__ == "__main__":
    sys.exit(main())
