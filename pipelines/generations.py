"""Generations of a growing corpus, as those who write it see them: what is there, and how the next one is published.

In: finished runs below `OUT/windows`. Out: `OUT/generations/NNNNNNNN.json` and then the same bytes as
`OUT/manifest.json`, each atomically. The rule: what a generation says is a pure function of the runs that it lists and
of the generation before it, so a writer that was killed between the two files writes the same bytes again.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.growing import (
    FILE_NAME,
    Growing,
    Window,
    dump_growing,
    generation_name,
    is_growing_manifest,
    parse_growing,
    window_folder,
)
from bpe.manifest import Manifest, parse_manifest
from bpe.shared_vocabulary import SharedVocabulary
from pipelines.storage import exists, join, make_folder, open_read, sweep_temporaries, write_atomically

_GENERATIONS, _WINDOWS = "generations", "windows"
_FOLDER = re.compile(r"(\d{8})(?:-(\d{8}))?", re.ASCII)


class Generation(NamedTuple):
    """A generation that was published."""

    growing: Growing
    sha256: str  # of its file


class WindowFolder(NamedTuple):
    """A folder below windows/, whether or not a generation lists it."""

    run: str  # relative to the corpus
    first: int
    last: int


class FinishedRun(NamedTuple):
    """A run below a growing corpus."""

    manifest: Manifest
    sha256: str  # of its manifest's file


def read_generation(output: str) -> Generation | None:
    """The newest generation in a folder, None where there is none; ShardError where something else is there."""
    path = join(output, FILE_NAME)
    if not exists(path):
        return None
    data = _read(path)
    if not is_growing_manifest(data):
        raise ShardError(
            path, "", "a finished run that does not grow; choose another --output, and name this one with --against"
        )
    return Generation(parse_growing(data, path=path), hashlib.sha256(data).hexdigest())


def find_folders(output: str) -> list[WindowFolder]:
    """The folders of windows, by their names, in a corpus on a local disk: finished or not, listed or not."""
    found = []
    for path in sorted(Path(output, _WINDOWS).glob("*")):
        named = _FOLDER.fullmatch(path.name)
        if named and path.is_dir():
            found.append(WindowFolder(f"{_WINDOWS}/{path.name}", int(named[1]), int(named[2] or named[1])))
    return found


def read_run(output: str, name: str) -> FinishedRun:
    """The finished run in a folder of the corpus; ShardError where there is none."""
    path = join(output, name, FILE_NAME)
    if not exists(path):
        raise ShardError(path, "", f"no finished run here, but {join(output, FILE_NAME)} needs one; bring it back")
    data = _read(path)
    return FinishedRun(parse_manifest(data, path=path), hashlib.sha256(data).hexdigest())


def describe_window(output: str, first: int, last: int) -> Window:
    """What a generation says of the run that stands for some windows."""
    run = window_folder(first, last)
    return _describe_run(run, first, last, read_run(output, run))


def _describe_run(run: str, first: int, last: int, finished: FinishedRun) -> Window:
    manifest, digest = finished
    books = manifest.books
    return Window(
        first=first,
        last=last,
        run=run,
        manifest_sha256=digest,
        files=len(manifest.inputs),
        read=books.read,
        kept=books.kept,
        rejected=sum(books.rejected.values()),
        broken=sum(books.broken.values()),
        tokens=manifest.counts.tokens,
    )


def begin_corpus(output: str, window: Window, *, settings_hash: str) -> Growing:
    """The first generation, of one window; not published yet."""
    manifest = read_run(output, window.run).manifest
    vocabulary = manifest.vocabulary
    shared = SharedVocabulary(vocabulary.fingerprint, vocabulary.encoding, vocabulary.size) if vocabulary else None
    return Growing(manifest.name, 1, "", settings_hash, shared, (window,))


def next_generation(before: Generation, windows: Sequence[Window]) -> Growing:
    """The generation of these windows that follows another; not published yet."""
    growing, digest = before
    return growing._replace(generation=growing.generation + 1, previous=digest, windows=tuple(windows))


def refresh(output: str) -> Generation:
    """The newest generation; before that, publishes one that takes up what was forgotten in its windows since.

    Whoever writes to a corpus calls it first, and holds the corpus's lock. ShardError where there is no corpus, where
    a removal was interrupted, or where a window is another run than the one that was listed less what was forgotten.
    """
    newest = read_generation(output)
    if newest is None:
        raise ShardError(join(output, FILE_NAME), "", "no growing corpus here; `beam run … --follow` makes one")
    for folder in (output, join(output, _GENERATIONS)):
        sweep_temporaries(folder)
    windows = tuple(_refresh_window(output, window) for window in newest.growing.windows)
    if windows == newest.growing.windows:
        return newest
    return publish(output, next_generation(newest, windows))


def _refresh_window(output: str, window: Window) -> Window:
    """The window as its run is now. Each removal names the manifest before it, so a chain of them leads to ours."""
    run = read_run(output, window.run)
    if run.sha256 == window.manifest_sha256:
        return window
    if window.manifest_sha256 not in {removal.previous_manifest for removal in run.manifest.removals}:
        found = (
            f"sha256 {run.sha256[:16]}, but {join(output, FILE_NAME)} lists {window.manifest_sha256[:16]}, and this is"
            " not that run less what was forgotten; bring that one back"
        )
        raise ShardError(join(output, window.run, FILE_NAME), "", found)
    return _describe_run(window.run, window.first, window.last, run)


def publish(output: str, growing: Growing) -> Generation:
    """Makes a generation the newest; ShardError where the newest is not the one that it follows."""
    newest = read_generation(output)
    data = dump_growing(growing)
    digest = hashlib.sha256(data).hexdigest()
    if newest is not None and newest.sha256 == digest:
        return newest
    if (newest.sha256 if newest else "") != growing.previous:
        found = f"is not what generation {growing.generation} follows; another process writes to it: stop that one"
        raise ShardError(join(output, FILE_NAME), "", found)
    make_folder(join(output, _GENERATIONS))
    for name in (generation_name(growing.generation), FILE_NAME):
        write_atomically(join(output, name), lambda stream: stream.write(data))
    return Generation(growing, digest)


def _read(path: str) -> bytes:
    with open_read(path) as stream:
        return stream.read()
