"""`OUT/fetched`: what a fetch stage leaves, whichever way it went, and what the extract stage reads.

The rule: `fetched.json` is written last and says by what, for which URLs and with which outcomes; a folder without it
is a fetch that has not ended.
"""

import json
from typing import Any, NamedTuple

from corpora.errors import CorpusError
from pipelines.storage import exists, join, list_files, open_read, write_atomically

FETCHED_FOLDER = "fetched"
FETCHED_NAME = "fetched.json"


class FetchedRun(NamedTuple):
    """A fetch stage that has ended."""

    by: str  # "crawl" or "common-crawl"
    mark: str  # of what it was made from
    outcomes: tuple[tuple[str, int], ...]  # (outcome, URLs), sorted
    details: dict[str, Any] = {}  # noqa: RUF012 # never changed

    @property
    def n_urls(self) -> int:
        return sum(n for _, n in self.outcomes)


def write_fetched(output: str, run: FetchedRun) -> str:
    """Commits a fetch stage; the path written."""
    path = join(output, FETCHED_FOLDER, FETCHED_NAME)
    shown = {"by": run.by, "mark": run.mark, "outcomes": dict(run.outcomes), **run.details}
    text = json.dumps(shown, indent=1, sort_keys=True) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode()))
    return path


def read_fetched(output: str) -> FetchedRun | None:
    """The fetch stage that has ended in a run's folder, None where there is none."""
    path = join(output, FETCHED_FOLDER, FETCHED_NAME)
    if not exists(path):
        return None
    with open_read(path) as stream:
        data = stream.read()
    try:
        shown = json.loads(data)
        outcomes = tuple(sorted((str(outcome), int(n)) for outcome, n in shown.pop("outcomes").items()))
        return FetchedRun(shown.pop("by"), shown.pop("mark"), outcomes, shown)
    except (ValueError, KeyError, AttributeError) as error:
        raise CorpusError(f"{path} is damaged ({error}); remove it and run --stage fetch again") from error


def find_fetched(output: str, *, by: str, mark: str) -> FetchedRun | None:
    """The fetch stage where it is this very one; ValueError where the folder holds another."""
    run = read_fetched(output)
    if run is None or (run.by, run.mark) == (by, mark):
        return run
    raise ValueError(
        f"{join(output, FETCHED_FOLDER)} holds the pages of another list of URLs, or pages fetched another way"
        f" ({run.by}); choose another --output, or remove that folder"
    )


def check_way(output: str, *, prefix: str) -> None:
    """ValueError where the folder holds files of a fetch that went the other way: its pages would be read too."""
    names = list_files(join(output, FETCHED_FOLDER))
    others = [name for name in names if not name.startswith((prefix, FETCHED_NAME, "."))]
    if others:
        raise ValueError(
            f"{join(output, FETCHED_FOLDER)} holds files of another fetch ({others[0]}); choose another --output, or"
            " remove that folder"
        )


def describe_fetched(run: FetchedRun, output: str) -> str:
    """What a person wants to know of the stage."""
    shown = ", ".join(f"{outcome} {n:,}" for outcome, n in sorted(run.outcomes, key=lambda pair: (-pair[1], pair[0])))
    lines = [f"URLs: {run.n_urls:,} in {join(output, FETCHED_FOLDER)}", f"  {shown or 'none'}"]
    if "index" in run.details:
        index = run.details["index"]
        lines.append(
            f"  index: {index['lines']:,} lines, {index['good']:,} good captures, {index['wanted']:,} of wanted pages,"
            f" {index['broken']:,} broken"
        )
    return "\n".join(lines)
