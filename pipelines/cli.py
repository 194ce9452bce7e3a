"""`beam run pipelines/ccnews.py …`: finds the pipeline and runs it; `python -m pipelines run …` is the same.

The path is mapped to a module and imported, never run as a script: what a script defines in __main__
cannot be unpickled on workers.
"""

import importlib
import logging
import sys
from pathlib import Path

PIPELINES = {
    "books_wiki": "books and Wikipedia, from folders of books and dumps of MediaWiki",
    "ccnews": "English news from CC-NEWS WARC files",
    "openwebtext": "pages that submissions of Reddit link to",
    "stories": "pages of Common Crawl that are most like questions of commonsense reasoning",
}
_PACKAGES = ("pipelines", "corpora", "bpe", "inspection")

USAGE = """usage: beam run PIPELINE [flags of the pipeline] [options of Beam]

PIPELINE is one of
{pipelines}
by path or by name. `beam run pipelines/ccnews.py --help` lists its flags.
"""


def main(argv: list[str] | None = None) -> int:
    """Exit 0 done, 1 the data is bad, 2 the command is wrong."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if argv else 2
    if argv[0] != "run" or len(argv) < 2:
        return _wrong(f"unknown command {argv[0]!r}; say `beam run PIPELINE …`" if argv[0] != "run" else usage())
    if argv[1] in ("-h", "--help"):
        print(usage(), end="")
        return 0
    name = Path(argv[1]).stem
    if name not in PIPELINES:
        return _wrong(f"no pipeline {argv[1]!r}; there are {', '.join(f'pipelines/{one}.py' for one in PIPELINES)}")
    logging.getLogger().setLevel(logging.ERROR)  # importing Beam warns of clients that are not needed
    complaint = foreign_packages()
    if complaint:
        return _wrong(complaint)
    try:
        status: int = importlib.import_module(f"pipelines.{name}").run(argv[2:])
    except KeyboardInterrupt:  # before the job began; from then on running.stopping_cleanly is in charge
        return 130
    return status


def usage() -> str:
    rows = (f"  {f'pipelines/{name}.py':28} {text}" for name, text in PIPELINES.items())
    return USAGE.format(pipelines="\n".join(rows))


def foreign_packages() -> str:
    """Says so where another distribution's package has taken one of our names; "" when all is well."""
    home = Path(__file__).resolve().parents[1]
    for package in _PACKAGES:
        file = importlib.import_module(package).__file__
        found = Path(file).resolve().parents[1] if file else None
        if found != home:
            return (
                f"package {package!r} is imported from {found}, not from {home}: another distribution has this name;"
                " install shardmill in an environment of its own"
            )
    return ""


def _wrong(message: str) -> int:
    print(message if "\n" in message else f"beam: {message}", file=sys.stderr)
    return 2
