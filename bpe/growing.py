"""manifest.json of a growing corpus, format 1: the windows that it is made of so far; each generation adds to the last.

In: the file. Out: a `Growing`. The rule: a window is a finished run in a folder of its own and is never written again,
so a generation is no more than a list of manifests by their sha256. A new one is published by replacing
`manifest.json`, after its copy in `generations/`: a reader sees all of a window or nothing of it, and may go back.

    OUT/manifest.json                  the newest generation
    OUT/generations/00000007.json      each generation, the same bytes that manifest.json had
    OUT/windows/00000007/              a run: documents, rejected, shards, state, report, manifest

    {"format": "shardmill-growing-1", "generation": 7, "name": "ccnews", "previous": "…", "settings_hash": "…",
     "vocabulary": {"encoding": "fairseq", "fingerprint": "…", "size": 50265},
     "windows": [{"first": 1, "last": 1, "run": "windows/00000001", "manifest_sha256": "…", "files": 3, "read": 900,
                  "kept": 450, "rejected": 440, "broken": 10, "tokens": 301276}, …]}

`first` and `last` number the windows as they were made; a run that several were merged into stands for all of them.
Readers take such a corpus as the mixture of its windows, each once.
"""

import hashlib
import json
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.places import Place
from bpe.shared_vocabulary import SharedVocabulary, read_shared_vocabulary
from bpe.strict_json import (
    Node,
    parse_json,
    read_choice,
    read_count,
    read_items,
    read_object,
    read_relative_name,
    read_sha256,
    read_text,
)

FORMAT = "shardmill-growing-1"
FILE_NAME = "manifest.json"
_AGAIN = "restore it from the newest file in generations/"


class Window(NamedTuple):
    """A finished run that is a part of a growing corpus."""

    first: int  # number of the first window that it stands for, from 1
    last: int  # and of the last one
    run: str  # its folder, relative to the corpus, with slashes
    manifest_sha256: str
    files: int  # of input
    read: int  # records; read = kept + rejected + broken
    kept: int
    rejected: int
    broken: int
    tokens: int  # 0 without a vocabulary


class Growing(NamedTuple):
    """One generation of a growing corpus."""

    name: str  # of the corpus
    generation: int  # from 1
    previous: str  # sha256 of the generation before it, "" for the first
    settings_hash: str  # of the settings that all windows share
    vocabulary: SharedVocabulary | None
    windows: tuple[Window, ...]


def generation_name(generation: int) -> str:
    """Where a generation is kept.

    >>> generation_name(7)
    'generations/00000007.json'
    """
    return f"generations/{generation:08d}.json"


def window_folder(first: int, last: int) -> str:
    """Where the run of a window is, or the one that stands for several.

    >>> window_folder(7, 7), window_folder(1, 7)
    ('windows/00000007', 'windows/00000001-00000007')
    """
    return f"windows/{first:08d}" + (f"-{last:08d}" if last != first else "")


def is_growing(folder: Place) -> bool:
    """Whether the manifest in this folder is that of a growing corpus; looks at its beginning only."""
    try:
        with (folder / FILE_NAME).open("rb") as stream:
            return is_growing_manifest(stream.read(64))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_growing_manifest(data: bytes) -> bool:
    """Whether a manifest that begins with these bytes, 64 or more, is that of a growing corpus."""
    return b"".join(data[:64].split()).startswith(b'{"format":"shardmill-growing-')


def load_growing(folder: Place, *, generation: int | None = None) -> Growing:
    """The newest generation, or the one asked for; ShardError where it cannot be trusted. Windows are not opened."""
    return load_generation(folder, generation)[0]


def load_generation(folder: Place, generation: int | None = None) -> tuple[Growing, str]:
    """`load_growing` and the sha256 of its file."""
    path = folder / (FILE_NAME if generation is None else generation_name(generation))
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        found = (
            "no growing corpus here; `beam run … --follow` makes one" if generation is None else "no such generation"
        )
        raise ShardError(path, "", found) from error
    found_one = parse_growing(data, path=str(path))
    if generation not in (None, found_one.generation):
        raise ShardError(path, "generation", f"{found_one.generation}, but the file is named {generation}; {_AGAIN}")
    return found_one, hashlib.sha256(data).hexdigest()


def parse_growing(data: bytes, *, path: str = FILE_NAME) -> Growing:
    """The generation in these bytes; `path` is what errors call them."""
    root = parse_json(data, path)
    node = read_object(root, ("format", *Growing._fields))
    read_choice(node["format"], (FORMAT,))
    growing = Growing(
        name=read_text(node["name"]),
        generation=read_count(node["generation"]),
        previous=read_text(node["previous"], empty=True) and read_sha256(node["previous"]),
        settings_hash=read_sha256(node["settings_hash"]),
        vocabulary=None if node["vocabulary"].value is None else read_shared_vocabulary(node["vocabulary"]),
        windows=tuple(_read_window(item) for item in read_items(node["windows"])),
    )
    if not growing.windows:
        node["windows"].fail(f"a corpus of no windows; {_AGAIN}")
    expected = 1
    for number, window in enumerate(growing.windows):
        if window.first != expected or window.last < window.first:
            node["windows"].fail(f"[{number}] is of windows {window.first} to {window.last}, not from {expected} on")
        expected = window.last + 1
    if not growing.generation:
        node["generation"].fail(f"generations are counted from 1; {_AGAIN}")
    if (growing.generation == 1) != (growing.previous == ""):
        node["previous"].fail(f"generation {growing.generation} of {growing.previous!r}; {_AGAIN}")
    return growing


def dump_growing(growing: Growing) -> bytes:
    """The one form of a generation; what is returned can be parsed."""
    plain = {
        "format": FORMAT,
        **growing._asdict(),
        "vocabulary": growing.vocabulary and growing.vocabulary._asdict(),
        "windows": [window._asdict() for window in growing.windows],
    }
    data = (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode("ascii")
    assert parse_growing(data) == growing
    assert is_growing_manifest(data)
    return data


def _read_window(node: Node) -> Window:
    fields = read_object(node, Window._fields)
    counts = {name: read_count(fields[name]) for name in Window._fields if name not in ("run", "manifest_sha256")}
    window = Window(
        run=read_relative_name(fields["run"]), manifest_sha256=read_sha256(fields["manifest_sha256"]), **counts
    )
    if window.read != window.kept + window.rejected + window.broken:
        node.fail(f"{window.read} read is not {window.kept} kept, {window.rejected} rejected, {window.broken} broken")
    return window
