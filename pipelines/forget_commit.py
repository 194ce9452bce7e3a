"""Replaces files of a finished run so that a crash leaves the old run, the new run, or a note of what is left to do.

In: new files, complete and synced, in the folder `work/forget` of the run, the new manifest among them. Out: the run
they make. The rule: one rename decides. It puts a journal in the manifest's place: before it nothing of the run has
changed, after it the journal says all that is left to do, and every reader refuses the folder with a sentence that
names the remedy, since what it would take for the manifest is none. The new manifest goes in last.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.manifest import FILE_NAME, REMOVAL_FORMAT, FileEntry
from bpe.strict_json import Node, parse_json, read_count, read_items, read_object, read_relative_name, read_sha256
from pipelines.storage import remove_tree, sync_folder, write_atomically

STAGING = "work/forget"
_JOURNAL = "journal.json"
_OTHERS_MAY_STAY = {"lock"}  # in work/, besides what we staged


class Journal(NamedTuple):
    """What is to be done, in this order: files renamed in, files removed, the manifest renamed in."""

    replace: tuple[FileEntry, ...]  # new content, staged under the same name
    remove: tuple[str, ...]
    manifest: FileEntry


def staging_folder(folder: Path) -> Path:
    """Where a run's new files are made; beside the run, so that renaming them is one step."""
    return folder / STAGING


def start_staging(folder: Path, subfolders: Iterable[str]) -> Path:
    """An empty staging folder with these folders in it; what a killed command left there is thrown away."""
    remove_tree(str(staging_folder(folder)), root=str(folder))
    for name in subfolders:
        (staging_folder(folder) / name).mkdir(parents=True, exist_ok=True)
    return staging_folder(folder)


def commit_changes(folder: Path, *, replace: Iterable[FileEntry], remove: Iterable[str], manifest: bytes) -> None:
    """Makes the staged files and this manifest the run's; what is removed or replaced must be the run's own file."""
    staging = staging_folder(folder)
    write_atomically(str(staging / FILE_NAME), lambda stream: stream.write(manifest))
    for place in (staging, staging.parent, folder):  # the new folders must outlast a power failure, too
        sync_folder(place)
    entry = FileEntry(FILE_NAME, len(manifest), hashlib.sha256(manifest).hexdigest())
    journal = Journal(tuple(replace), tuple(remove), entry)
    write_atomically(str(staging / _JOURNAL), lambda stream: stream.write(_dump(journal)))
    (staging / _JOURNAL).replace(folder / FILE_NAME)
    sync_folder(folder)
    _carry_out(folder, journal)


def complete_interrupted(folder: Path) -> bool:
    """Finishes what a killed command had decided to do; whether there was anything. ShardError where it cannot."""
    journal = _read_journal(folder)
    if journal is None:
        return False
    for entry in (*journal.replace, journal.manifest):
        _check_staged(folder, entry)
    _carry_out(folder, journal)
    return True


def is_interrupted(folder: Path) -> bool:
    """Whether the folder holds a run some of whose files are new and some old."""
    return _read_journal(folder) is not None


def clear_staging(folder: Path) -> None:
    """Removes what was staged, and the work folder with it where nothing of an earlier run is in it."""
    remove_tree(str(staging_folder(folder)), root=str(folder))
    work = staging_folder(folder).parent
    if work.is_dir() and {path.name for path in work.iterdir()} <= _OTHERS_MAY_STAY:
        remove_tree(str(work), root=str(folder))


def _carry_out(folder: Path, journal: Journal) -> None:
    """Every step may have been done already by a command that was killed."""
    staging = staging_folder(folder)
    touched = {folder}
    for entry in journal.replace:
        touched.add(_rename_in(staging / entry.name, folder / entry.name))
    for name in journal.remove:
        (folder / name).unlink(missing_ok=True)
        touched.add((folder / name).parent)
    for place in sorted(touched):
        if place.is_dir():
            sync_folder(place)
    _rename_in(staging / FILE_NAME, folder / FILE_NAME)
    sync_folder(folder)


def _check_staged(folder: Path, entry: FileEntry) -> None:
    """ShardError unless the new file is staged or in its place already."""
    for path in (staging_folder(folder) / entry.name, folder / entry.name):
        if path.is_file() and path.stat().st_size == entry.bytes and _sha256(path) == entry.sha256:
            return
    found = f"what was to replace it is neither here nor in {STAGING}; restore the folder, or remove it and run again"
    raise ShardError(folder / entry.name, "", found)


def _rename_in(new: Path, target: Path) -> Path:
    if new.exists():
        target.parent.mkdir(exist_ok=True)
        new.replace(target)
    return target.parent


def _read_journal(folder: Path) -> Journal | None:
    """The journal in the manifest's place, None where there is a manifest or nothing."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    data = path.read_bytes()
    if REMOVAL_FORMAT.encode() not in data[:200]:  # manifests are large: theirs says something else there
        return None
    root = parse_json(data, str(path))
    fields = read_object(root, ("format", "manifest", "remove", "replace"))
    if fields["format"].value != REMOVAL_FORMAT:
        return None
    return Journal(
        tuple(_read_entry(item) for item in read_items(fields["replace"])),
        tuple(read_relative_name(item) for item in read_items(fields["remove"])),
        _read_entry(fields["manifest"]),
    )


def _read_entry(node: Node) -> FileEntry:
    fields = read_object(node, ("name", "bytes", "sha256"))
    return FileEntry(read_relative_name(fields["name"]), read_count(fields["bytes"]), read_sha256(fields["sha256"]))


def _dump(journal: Journal) -> bytes:
    plain = {
        "format": REMOVAL_FORMAT,
        "manifest": _plain(journal.manifest),
        "remove": list(journal.remove),
        "replace": [_plain(entry) for entry in journal.replace],
    }
    return (json.dumps(plain, indent=0) + "\n").encode("ascii")


def _plain(entry: FileEntry) -> dict[str, object]:
    return {"name": entry.name, "bytes": entry.bytes, "sha256": entry.sha256}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
