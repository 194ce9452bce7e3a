"""Which files belong to which window: written down before the window is made, so that a restart makes the same one.

In: input files. Out: `OUT/work/window-NNNNNNNN.tsv`, an input list, until the window's generation is published.
The rule: a file belongs to one window, under its name. Which ones are taken is read from the manifests of the windows,
never from a memory of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from pipelines.generations import Generation, read_run
from pipelines.inputs import InputFile, write_input_list
from pipelines.storage import exists, join, remove


def plan_path(output: str, number: int) -> str:
    """Where the files of a window are listed.

    >>> plan_path("out", 7)
    'out/work/window-00000007.tsv'
    """
    return join(output, "work", f"window-{number:08d}.tsv")


def write_plan(output: str, number: int, files: Sequence[InputFile]) -> None:
    write_input_list(files, plan_path(output, number))


def is_planned(output: str, number: int) -> bool:
    return exists(plan_path(output, number))


def forget_plan(output: str, number: int) -> None:
    """Removes the list of a window that is published."""
    if is_planned(output, number):
        remove(plan_path(output, number))


def taken_files(output: str, generation: Generation | None) -> dict[str, int]:
    """Bytes of every file that some window is made of, by name."""
    taken: dict[str, int] = {}
    for window in generation.growing.windows if generation is not None else ():
        taken.update(files_of_run(output, window.run))
    return taken


def files_of_run(output: str, run: str) -> Mapping[str, int]:
    """Bytes of every file that a run below the corpus is made of, by name."""
    return {entry.name: entry.bytes for entry in read_run(output, run).manifest.inputs}


def choose_files(pending: Iterable[InputFile], *, limit: int) -> list[InputFile]:
    """The files of the next window: the first by name, which for a crawl are the earliest."""
    return sorted(pending)[:limit]
