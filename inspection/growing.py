"""A growing corpus, as `inspect-shards` sees it: its newest generation, and the runs of its windows.

In: a folder whose manifest.json lists windows. Out: those runs, each checked to be the very one that is listed, and
what the corpus is as a whole. The rule: a corpus holds no documents of its own, so whatever is asked for is looked for
in all of its windows, in their order.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from bpe.growing import FILE_NAME, Growing, generation_name, is_growing, load_generation
from bpe.mixture import MixtureSource, open_source
from corpora.documents import Rejection
from inspection import lookup, show
from inspection.errors import NotFoundError
from inspection.lookup import Record
from inspection.plain_text import format_table, heading, one_line, percent
from inspection.rows import IdPrefix
from inspection.run_folder import RunFolder

T = TypeVar("T")


class GrowingFolder(NamedTuple):
    """Where a growing corpus lies, and what is in it."""

    path: Path
    growing: Growing
    sha256: str  # of its manifest.json
    runs: tuple[RunFolder, ...]  # of its windows, in their order


def names_growing(place: str) -> bool:
    """Whether this is the folder of a growing corpus, or its manifest.json."""
    return is_growing(_folder_of(place))


def open_growing(place: str) -> GrowingFolder:
    """The newest generation of a corpus; ShardError where one of its runs is missing or is another one by now."""
    folder = _folder_of(place)
    growing, digest = load_generation(folder)
    runs = [
        RunFolder(folder / window.run, open_source(folder, MixtureSource(window.run, window.manifest_sha256, "1")))
        for window in growing.windows
    ]
    return GrowingFolder(folder, growing, digest, tuple(runs))


def growing_lines(found: GrowingFolder) -> list[str]:
    """The summary of a corpus as lines of plain text."""
    growing, windows = found.growing, found.growing.windows
    title = one_line(f"{growing.name}, growing: {found.path}", max_chars=200)
    read, kept = sum(window.read for window in windows), sum(window.kept for window in windows)
    facts = [
        ("generation", f"{growing.generation:,}, of windows 1 to {windows[-1].last:,} in {len(windows):,} runs"),
        ("input", f"{sum(window.files for window in windows):,} files, {read:,} records"),
        ("documents", f"{kept:,} kept, {percent(kept, read)}"),
        ("tokens", f"{sum(window.tokens for window in windows):,}"),
    ]
    n_forgotten = sum(removal.documents for run in found.runs for removal in run.manifest.removals)
    if n_forgotten:
        facts.append(("forgotten", f"{n_forgotten:,} documents"))
    if growing.vocabulary is not None:
        vocabulary = growing.vocabulary
        facts.append(("vocabulary", f"{vocabulary.size:,} ids, {vocabulary.encoding} encoding"))
        facts.append(("  fingerprint", vocabulary.fingerprint))
    else:
        facts.append(("vocabulary", "none: documents only"))
    facts.append(("settings", growing.settings_hash))
    head = ("run", "windows", "files", "read", "kept", "rejected", "broken", "tokens")
    rows: list[tuple[str, ...]] = [head]
    for one in windows:
        numbers = f"{one.first:,}" if one.first == one.last else f"{one.first:,} to {one.last:,}"
        counts = (one.files, one.read, one.kept, one.rejected, one.broken, one.tokens)
        rows.append((one_line(one.run, max_chars=120), numbers, *(f"{n:,}" for n in counts)))
    return [*heading(title)[1:], *format_table(facts, align="ll"), "", *format_table(rows, align="llrrrrrr")]


def growing_values(found: GrowingFolder) -> dict[str, object]:
    """The summary of a corpus as plain values."""
    growing = found.growing
    return {
        "path": str(found.path),
        **growing._asdict(),
        "manifest_sha256": found.sha256,
        "vocabulary": growing.vocabulary and growing.vocabulary._asdict(),
        "windows": [window._asdict() for window in growing.windows],
        "forgotten": sum(removal.documents for run in found.runs for removal in run.manifest.removals),
    }


def generation_faults(found: GrowingFolder) -> Iterator[str]:
    """What is wrong with the files that say what the corpus is made of; its windows are verified as runs."""
    name = generation_name(found.growing.generation)
    try:
        digest = hashlib.sha256((found.path / name).read_bytes()).hexdigest()
    except FileNotFoundError:
        yield f"{name}: missing; copy {FILE_NAME} there, so that this generation can be gone back to"
        return
    if digest != found.sha256:
        yield f"{name}: not what {FILE_NAME} holds; restore that from it, or the other way round"


def find_record_in(runs: Sequence[RunFolder], wanted: IdPrefix) -> tuple[RunFolder, Record]:
    """The record whose id begins so, and the run that has it; NotFoundError where there is none, or more than one."""
    if len(runs) == 1:
        return runs[0], lookup.find_record(runs[0], wanted)
    found = [(run, record) for run in runs for record in lookup.find_records(run, wanted)]
    if not found:
        raise NotFoundError(f"no record of the {len(runs)} windows has an id that begins with {wanted.digits}")
    if len(found) > 1:
        named = ", ".join(f"{record.document_id.hex()} in {run.path.name}" for run, record in found[:5])
        raise NotFoundError(f"{len(found)} ids begin with {wanted.digits} ({named}); give more digits")
    return found[0]


def find_records_of_url_in(runs: Sequence[RunFolder], url: str) -> list[Record]:
    """Every record of exactly this URL, kept ones first; NotFoundError where there is none."""
    many = _gather(runs, lambda run: lookup.find_records_of_url(run, url))
    return sorted(many, key=lambda record: record.rejection is not None)


def find_shard_run(runs: Sequence[RunFolder], name: str) -> RunFolder:
    """The run that has a shard, named with its folder (`windows/00000002/…`) where several have one of that name."""
    parts = Path(name).parts
    named = [run for run in runs if run.path.name in parts[:-1]] or list(runs)
    stem = Path(name).name.removesuffix(".tar")
    having = [
        run for run in named if any(Path(shard.name).name == f"{stem}.tar" for shard in run.manifest.shards)
    ] or named[:1]
    if len(having) > 1:
        one = f"{having[0].path.parent.name}/{having[0].path.name}/{stem}"
        raise NotFoundError(f"{len(having)} windows have a shard {stem}; name one with its folder, as in {one}")
    return having[0]


def list_documents_in(runs: Sequence[RunFolder], *, limit: int) -> list[show.Listed]:
    """The first documents of all runs."""
    found: list[show.Listed] = []
    for run in runs:
        found += show.list_documents(run, limit=limit - len(found)) if len(found) < limit else []
    return found


def list_rejections_in(runs: Sequence[RunFolder], *, reason: str | None, limit: int) -> list[Rejection]:
    """The first rejects of all runs; NotFoundError for a reason that no run's books have."""
    return _gather(runs, lambda run: show.list_rejections(run, reason=reason, limit=limit))[:limit]


def _gather(runs: Sequence[RunFolder], find: Callable[[RunFolder], list[T]]) -> list[T]:
    """What is found in all runs; the complaint of the last one where no run has any."""
    found: list[T] = []
    missing: list[NotFoundError] = []
    for run in runs:
        try:
            found += find(run)
        except NotFoundError as error:
            missing.append(error)
    if len(missing) == len(runs):
        raise missing[-1]
    return found


def _folder_of(place: str) -> Path:
    path = Path(place)
    return path.parent if path.name == FILE_NAME else path
