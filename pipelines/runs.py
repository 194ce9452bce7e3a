"""A run's folder from the outside: may it be written, is it finished already, what is left to clear away.

The manifest is the commit point. A folder without one is an unfinished run that may be continued; with
one it is finished, and is only written over when asked to.
"""

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bpe.errors import ShardError
from bpe.growing import is_growing_manifest
from bpe.manifest import FILE_NAME, Manifest, parse_manifest, settings_hash
from pipelines.inputs import InputFile
from pipelines.settings import Execution, RunSettings
from pipelines.storage import exists, join, list_files, make_folder, open_read, remove, remove_tree, sweep_temporaries

_OURS = {
    "documents": ("part-*.parquet",),
    "rejected": ("part-*.parquet",),
    "shards": ("*.tar", "*.parquet"),
    "state": ("*.parquet", "*.json"),
}


def find_finished_run(output: str) -> Manifest | None:
    """The manifest of a finished run, or None where the folder holds none."""
    path = join(output, FILE_NAME)
    if not exists(path):
        return None
    with open_read(path) as stream:
        return parse_manifest(stream.read(), path=path)


def is_growing_corpus(output: str) -> bool:
    """Whether the folder holds windows rather than a run of its own."""
    path = join(output, FILE_NAME)
    if not exists(path):
        return False
    with open_read(path) as stream:
        return is_growing_manifest(stream.read(64))


def is_same_run(manifest: Manifest, settings: dict[str, object], inputs: Sequence[InputFile]) -> bool:
    """Whether a finished run was made from these settings and this input (names, and sizes where known)."""
    if manifest.settings_hash != settings_hash(settings):
        return False
    made_from = {entry.name: entry.bytes for entry in manifest.inputs}
    return made_from.keys() == {file.name for file in inputs} and all(
        file.n_bytes is None or file.n_bytes == made_from[file.name] for file in inputs
    )


def check_output(
    output: str, settings: dict[str, object], inputs: Sequence[InputFile], *, overwrite: bool
) -> Manifest | None:
    """The manifest where this very run is finished, else None; ValueError where the folder is somebody else's."""
    if is_growing_corpus(output):
        raise ValueError(f"{output} is a growing corpus; add to it with --follow, or choose another --output")
    manifest = find_finished_run(output)
    if manifest is not None:
        if overwrite and manifest.removals:
            n = sum(removal.documents for removal in manifest.removals)
            raise ValueError(
                f"{output} holds a run from which {n} documents were forgotten, and --overwrite would bring them back;"
                " choose another --output and forget them there, too, or remove this folder yourself"
            )
        if is_same_run(manifest, settings, inputs):
            return None if overwrite else manifest
        if not overwrite:
            difference = describe_difference(manifest, settings, inputs)
            raise ValueError(
                f"{output} holds a finished run of other settings or other input ({difference});"
                " choose another --output, or replace it with --overwrite"
            )
    elif "://" not in output and Path(output).exists():
        if not Path(output).is_dir():
            raise ValueError(f"--output {output} is a file; name a folder")
        if any(Path(output).iterdir()) and not (Path(output) / "work").is_dir():
            raise ValueError(f"{output} is not empty and no run of ours; choose an empty folder for --output")
    return None


def read_committed(output: str) -> Manifest:
    """The manifest that a run has just written."""
    manifest = find_finished_run(output)
    if manifest is None:
        raise ShardError(output, FILE_NAME, "the job ended without writing it; its runner's log says why")
    return manifest


@contextmanager
def hold_output(output: str, *, wait_s: float = 0.0) -> Iterator[tuple[int, ...]]:
    """Keeps a second local run out of the folder for as long as this one writes; a dead run holds nothing.

    Gives the descriptor of the lock, none in an object store: a process that inherits it holds the lock, too.
    ValueError where another run holds it for `wait_s` seconds.
    """
    if "://" in output:
        yield ()
        return
    folder = Path(output) / "work"
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait_s
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise ValueError(
                        f"another run is writing to {output}; wait for it or choose another --output"
                    ) from error
                time.sleep(0.1)
        yield (lock.fileno(),)


def prepare_output(output: str, work_folder: str) -> None:
    """Makes the folders, takes back an old commit, and clears what a killed run left half-written."""
    if exists(join(output, FILE_NAME)):
        remove(join(output, FILE_NAME))
    for folder in (output, work_folder, *(join(output, name) for name in _OURS)):
        make_folder(folder)
        sweep_temporaries(folder)


def clear_leftovers(output: str, manifest: Manifest, *, keep_work: bool) -> None:
    """After the commit: removes files of ours that the manifest does not list, and the work files unless kept."""
    listed = {entry.name for entry in (*manifest.documents, *manifest.rejected)}
    listed |= {entry.name for entry in manifest.state}
    listed |= {name for shard in manifest.shards for name in (shard.name, shard.lineage.name)}
    for folder, patterns in _OURS.items():
        for pattern in patterns:
            for name in list_files(join(output, folder), pattern):
                if f"{folder}/{name}" not in listed:
                    remove(join(output, folder, name))
    if not keep_work:
        remove_tree(join(output, "work"), root=output)


def execution_summary(manifest: Manifest, output: str) -> str:
    """What a person wants to know when a run is over."""
    books, counts = manifest.books, manifest.counts
    lost = sorted({**books.rejected, **books.broken}.items(), key=lambda pair: (-pair[1], pair[0]))
    lines = [
        f"read {books.read:,} records: kept {books.kept:,},"
        f" rejected {sum(books.rejected.values()):,}, broken {sum(books.broken.values()):,}",
        "  not kept: " + (", ".join(f"{reason} {n:,}" for reason, n in lost) or "none"),
        f"documents: {counts.documents:,} ({counts.text_bytes / 1e6:.1f} MB of text)"
        + (f" in {output}/documents" if manifest.documents else ""),
    ]
    if manifest.removals:
        n = sum(removal.documents for removal in manifest.removals)
        lines.append(f"forgotten since: {n:,} documents, which stay so: nothing is read again")
    if manifest.vocabulary is not None:
        lines.append(f"tokens: {counts.tokens:,} in {len(manifest.shards)} shards in {output}/shards")
    lines.append(f"report: {output}/report.html")
    return "\n".join(lines)


def describe_difference(manifest: Manifest, asked: dict[str, object], inputs: Sequence[InputFile]) -> str:
    """The first thing in which a finished run differs from what is asked for now."""
    made = manifest.settings
    for key in sorted(asked.keys() | made.keys()):
        if asked.get(key) != made.get(key):
            return f"{key} is {_short(made.get(key))} there, {_short(asked.get(key))} here"
    there, here = {entry.name for entry in manifest.inputs}, {file.name for file in inputs}
    if there != here:
        return f"{len(there - here)} input files only there, {len(here - there)} only here"
    return "an input file has another size"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def work_folder_of(execution: Execution, settings: RunSettings) -> str:
    """Where the extract stage keeps its files: one folder for each of its settings."""
    return join(execution.output, "work", settings.extract_hash()[:16])
