"""manifest.json, format 1: what a run wrote, and the only thing that readers trust.

In: the file. Out: a `Manifest` whose parts agree with each other. The rule: what does not agree is
never repaired or skipped, it is a `ShardError` that names the file and the key. The file is written
last, and holds nothing that depends on clock, host, absolute path, runner or number of workers.
"""

import gc
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bpe.entries import (
    Books,
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    Removal,
    ShardEntry,
    VocabularyEntry,
)
from bpe.errors import ShardError
from bpe.layout import BlockTable
from bpe.manifest_parsing import FORMAT, OPTIONAL_KEYS, REMOVAL_FORMAT, list_files, read_manifest
from bpe.places import Place, parse_place, size_of, sizes_below
from bpe.strict_json import parse_json

__all__ = [
    "FILE_NAME",
    "FORMAT",
    "REMOVAL_FORMAT",
    "BlockTable",
    "Books",
    "Counts",
    "FileEntry",
    "InputEntry",
    "Manifest",
    "Removal",
    "ShardEntry",
    "VocabularyEntry",
    "dump_manifest",
    "list_files",
    "load_manifest",
    "parse_manifest",
    "settings_hash",
    "verify_files",
]

FILE_NAME = "manifest.json"
_FOLDERS = ("documents", "rejected", "shards", "state")  # where everything is listed; `work` is nobody's business


def load_manifest(path: str | Place) -> Manifest:
    """The manifest in a run's folder, or in this very file; ShardError where it cannot be trusted."""
    file = parse_place(path)
    if file.is_dir():
        file = file / FILE_NAME
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise ShardError(file, "", "no manifest, so there is no finished run here; finish the run first") from error
    return parse_manifest(data, path=str(file))


def parse_manifest(data: bytes, *, path: str = FILE_NAME) -> Manifest:
    """The manifest in these bytes; `path` is what errors call them."""
    with _no_garbage_collection():
        manifest = read_manifest(parse_json(data, path))
    if manifest.settings_hash != settings_hash(manifest.settings):
        raise ShardError(path, "settings_hash", "not the hash of the settings; the file was edited: rebuild the run")
    return manifest


def dump_manifest(manifest: Manifest) -> bytes:
    """The one form of a manifest: JSON with sorted keys, a line per key and per listed file, ASCII only.

    What is returned can be loaded: a manifest that contradicts itself raises ShardError here, before
    anything is published.
    """
    plain = {"format": FORMAT} | _plain_manifest(manifest)
    lines = ",\n".join(f"{json.dumps(key)}: {_dump_value(plain[key])}" for key in sorted(plain))
    data = f"{{\n{lines}\n}}\n".encode("ascii")
    parse_manifest(data)
    return data


def settings_hash(settings: Mapping[str, object]) -> str:
    """sha256 in hex of settings in their one form; ValueError for what JSON cannot hold.

    >>> settings_hash({"b": 1, "a": (2,)}) == settings_hash({"a": [2], "b": 1})
    True
    """
    return hashlib.sha256(_compact(settings).encode("ascii")).hexdigest()


def verify_files(manifest: Manifest, root: str | Place, *, full: bool) -> list[ShardError]:
    """What differs between a manifest and the files in its folder, in the order of names.

    Missing files and wrong sizes always, wrong content (sha256, which reads every byte) when `full`,
    and files in the run's folders that are not listed.
    """
    folder = parse_place(root)
    entries = {entry.name: entry for entry in list_files(manifest)}
    found = sizes_below(folder, _FOLDERS)
    faults = []
    for name in sorted(entries.keys() | found.keys()):
        if name in entries:
            fault = _find_fault(entries[name], folder / name, found.get(name), full=full)
        else:
            fault = "not listed in the manifest; remove it, or rebuild the run with --overwrite"
        if fault:
            faults.append(ShardError(folder / name, "", fault))
    return faults


def _find_fault(entry: FileEntry, path: Place, known: int | None, *, full: bool) -> str | None:
    n_bytes = size_of(path) if known is None else known
    if n_bytes is None:
        return "missing, but listed in the manifest; fetch it again, or rebuild the run with --overwrite"
    if n_bytes != entry.bytes:
        return f"{n_bytes} bytes, but the manifest says {entry.bytes}; fetch it again, or rebuild the run"
    if full:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != entry.sha256:
            return f"sha256 {digest}, but the manifest says {entry.sha256}; fetch it again, or rebuild the run"
    return None


def _plain_manifest(manifest: Manifest) -> dict[str, object]:
    plain: dict[str, object] = manifest._asdict()
    for key in ("books", "counts", "vocabulary", "report"):
        value = getattr(manifest, key)
        plain[key] = None if value is None else value._asdict()
    if manifest.report is not None:
        plain["report"] = _plain_file(manifest.report)
    plain["inputs"] = [entry._asdict() for entry in manifest.inputs]
    plain["documents"] = [_plain_file(entry) for entry in manifest.documents]
    plain["rejected"] = [_plain_file(entry) for entry in manifest.rejected]
    plain["state"] = [_plain_file(entry) for entry in manifest.state]
    plain["removals"] = [removal._asdict() for removal in manifest.removals]
    plain["shards"] = [
        shard._asdict()
        | {"lineage": _plain_file(shard.lineage)}
        | {"blocks": {key: column.tolist() for key, column in shard.blocks._asdict().items()}}
        for shard in manifest.shards
    ]
    return {key: value for key, value in plain.items() if value or key not in OPTIONAL_KEYS}


def _plain_file(entry: FileEntry) -> dict[str, object]:
    return {key: value for key, value in entry._asdict().items() if value is not None}


def _dump_value(value: object) -> str:
    """A list of objects has a line for each; names that are not UTF-8 survive as escapes."""
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(_compact, value)) + "\n]"
    return _compact(value)


def _compact(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"settings and manifests hold what JSON can hold: {error}") from error


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A manifest is millions of numbers and no cycle: collecting while it is read only takes time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
