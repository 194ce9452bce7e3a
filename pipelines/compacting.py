"""Compaction of a growing corpus: windows that follow each other become one run, and a generation that lists it.

In: a corpus in a folder of a local disk. Out: a run `windows/FIRST-LAST`, and a generation that lists it in the place
of the windows that it was merged out of. The rule: the run is whole before it is listed, and nothing that a generation
lists is changed, so a kill at any moment leaves the corpus as it was or as it will be, and the same command goes on.

The folders of the merged windows stay, for those who read older generations, until `prune_windows` takes them away.

A supervisor that holds the corpus calls `compact_windows(..., lock=descriptor)` itself, or runs the command as a child
that inherits the descriptor (`--lock-fd`).
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bpe.entries import Counts, Manifest
from bpe.errors import ShardError
from bpe.growing import FILE_NAME, Growing, Window, window_folder
from pipelines.forget_windows import refresh_corpus
from pipelines.generations import Generation, describe_window, find_folders, next_generation, publish, read_generation
from pipelines.ledger import BooksError
from pipelines.merge_plan import MergePlan, plan_merge
from pipelines.merging import build_merge
from pipelines.near_state import read_description
from pipelines.running import log_to, run_pipeline
from pipelines.runs import clear_leftovers, find_finished_run, hold_output, prepare_output, read_committed
from pipelines.settings import Execution
from pipelines.storage import join, remove, remove_tree


class Compaction(NamedTuple):
    """What a compaction did."""

    merged: tuple[Window, ...]  # what the corpus listed before; none where there was nothing to merge
    window: Window | None  # what it lists instead
    generation: Generation  # the newest one, afterwards


class Leftover(NamedTuple):
    """A folder below windows/ that the newest generation does not list, though it holds windows that it has."""

    run: str  # relative to the corpus
    finished: bool  # has a manifest, so older generations may list it; a merge that was interrupted has none


def compact_windows(
    output: str,
    execution: Execution,
    *,
    first: int | None = None,
    last: int | None = None,
    min_windows: int = 2,
    lock: int | None = None,
) -> Compaction:
    """Merges the windows `first` to `last` (default: all) into one run and publishes the generation that lists it.

    Does nothing where there are fewer than `min_windows`, or less than 2. `lock` is the descriptor of the corpus's
    lock where the caller holds it. Raises ValueError for windows that are not there, or a corpus that another process
    writes to, ShardError for one that cannot be trusted, and PipelineFailedError.
    """
    check_place(output)
    with hold_corpus(output, lock):
        before = refresh_corpus(output)
        merged = choose_windows(before.growing, first, last)
        if len(merged) < max(min_windows, 2):
            return Compaction((), None, before)
        plan = plan_merge(output, [window.run for window in merged])
        run = window_folder(merged[0].first, merged[-1].last)
        manifest = _find_merged(join(output, run), plan) or _merge(join(output, run), plan, execution)
        clear_leftovers(join(output, run), manifest, keep_work=False)
        window = describe_window(output, merged[0].first, merged[-1].last)
        windows = [window if one == merged[0] else one for one in before.growing.windows if one not in merged[1:]]
        return Compaction(merged, window, publish(output, next_generation(before, windows)))


def plan_compaction(output: str, first: int | None, last: int | None) -> tuple[tuple[Window, ...], MergePlan | None]:
    """What would be merged, from the corpus as it is; nothing is changed. No plan where it is one window."""
    check_place(output)
    generation = read_generation(output)
    if generation is None:
        raise ShardError(join(output, FILE_NAME), "", "no growing corpus here; `beam run … --follow` makes one")
    windows = choose_windows(generation.growing, first, last)
    return windows, plan_merge(output, [window.run for window in windows]) if len(windows) > 1 else None


def choose_windows(growing: Growing, first: int | None, last: int | None) -> tuple[Window, ...]:
    """The listed windows from `first` to `last`; ValueError where one of these lies within a merged one."""
    newest = growing.windows[-1].last
    first, last = first or 1, last or newest
    if not 1 <= first <= last <= newest:
        raise ValueError(f"--windows {first}..{last}: the corpus has windows 1 to {newest}, name them in that order")
    for number, borders in (
        (first, {window.first for window in growing.windows}),
        (last, {window.last for window in growing.windows}),
    ):
        if number not in borders:
            [inside] = [window for window in growing.windows if window.first <= number <= window.last]
            said = f"window {number} is a part of {inside.run} already; name {inside.first}..{inside.last} as a whole"
            raise ValueError(f"--windows {first}..{last}: {said}")
    return tuple(window for window in growing.windows if first <= window.first and window.last <= last)


def find_leftovers(output: str, growing: Growing) -> list[Leftover]:
    """Folders of windows that the generation has in another form; what comes after its last window is not ours."""
    listed = {window.run for window in growing.windows}
    return [
        Leftover(folder.run, Path(output, folder.run, FILE_NAME).is_file())
        for folder in find_folders(output)
        if folder.run not in listed and folder.last <= growing.windows[-1].last
    ]


def prune_windows(output: str, *, lock: int | None = None) -> list[str]:
    """Removes the folders that only older generations list, which cannot be opened any more; says which they were."""
    check_place(output)
    with hold_corpus(output, lock):
        leftovers = find_leftovers(output, refresh_corpus(output).growing)
        for leftover in leftovers:
            # Without its manifest first, so that what is half removed is never taken for a run.
            remove(join(output, leftover.run, FILE_NAME))
            remove_tree(join(output, leftover.run), root=output)
        return [leftover.run for leftover in leftovers]


def count_freed(output: str, runs: Sequence[str]) -> int:
    """Bytes that removing these folders frees: what a run that stays has too, by a link, stays."""
    seen: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], tuple[int, int]] = {}  # bytes, and names that the file has anywhere
    for run in runs:
        for path in Path(output, run).rglob("*"):
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                key = (status.st_dev, status.st_ino)
                seen[key] = seen.get(key, 0) + 1
                sizes[key] = (status.st_size, status.st_nlink)
    return sum(n_bytes for key, (n_bytes, n_names) in sizes.items() if n_names == seen[key])


@contextmanager
def hold_corpus(output: str, lock: int | None) -> Iterator[None]:
    """Keeps others from writing to the corpus; with `lock`, sees that the caller's descriptor does."""
    if lock is None:
        with hold_output(output):
            yield
        return
    path = Path(output) / "work" / "lock"
    try:
        if not os.path.samestat(os.fstat(lock), path.stat()):
            raise ValueError(f"--lock-fd {lock} is not {path}; pass on the descriptor of the corpus's lock")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever holds it by this descriptor gets it again
    except BlockingIOError as error:
        raise ValueError(f"another run is writing to {output}; --lock-fd {lock} does not hold its lock") from error
    except OSError as error:
        raise ValueError(f"--lock-fd {lock}: {error.strerror}; pass on the descriptor of the corpus's lock") from error
    yield


def check_place(output: str) -> None:
    """ValueError unless the corpus is on a local disk, where files are linked and replaced safely."""
    if "://" in output:
        raise ValueError(f"{output}: a corpus is compacted on a local disk only; copy it to one, or mount it")


def describe_merge(plan: MergePlan) -> Iterator[str]:
    """What a merge would do, for people."""
    totals = _totals(plan.manifests)
    yield f"{len(plan.members)} windows become one run of {totals.documents:,} documents, {totals.tokens:,} tokens:"
    for folder, manifest in zip(plan.members, plan.manifests, strict=True):
        yield f"  {folder}: {manifest.counts.documents:,} documents in {len(manifest.shards):,} shards"


def _merge(output: str, plan: MergePlan, execution: Execution) -> Manifest:
    work = join(output, "work")
    prepare_output(output, work)
    execution = replace(execution, output=output)
    name = f"compact-{plan.identity.name}-{Path(output).name}"
    with log_to(join(work, "workers.log"), debug=execution.debug):
        run_pipeline(lambda pipeline: build_merge(pipeline, plan, output=output), execution, name=name)
    manifest = read_committed(output)
    _check_totals(manifest, plan)
    return manifest


def _check_totals(manifest: Manifest, plan: MergePlan) -> None:
    """Raises BooksError unless the merged run holds what its members hold, before anybody reads it."""
    wanted = _totals(plan.manifests)
    if manifest.counts != wanted:
        raise BooksError(
            f"the merged run has {manifest.counts}, its windows {wanted}; nothing was published, please report this"
        )


def _find_merged(output: str, plan: MergePlan) -> Manifest | None:
    """This very run, where it is finished: killed before it was published, and nothing was forgotten since."""
    manifest = find_finished_run(output)
    is_it = manifest is not None and (
        dict(manifest.settings) == plan.identity.settings
        and manifest.removals == plan.identity.removals
        and manifest.counts == _totals(plan.manifests)
        and set(manifest.inputs) == {entry for one in plan.manifests for entry in one.inputs}
        and read_description(output) == plan.description
    )
    return manifest if is_it else None


def _totals(manifests: Sequence[Manifest]) -> Counts:
    return Counts(*map(sum, zip(*(manifest.counts for manifest in manifests), strict=True)))
