"""A finished run on disk: its folder, its manifest, and nothing that the manifest does not name.

Everything that looks at a run starts here, so that an unfinished folder, a wrong path and a damaged
manifest are told apart once, in one line each.
"""

from pathlib import PurePosixPath
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.manifest import Manifest, ShardEntry, load_manifest
from bpe.places import Place, StorePath, parse_place
from inspection.errors import NotFoundError

MANIFEST = "manifest.json"


class RunFolder(NamedTuple):
    """Where a run lies, and what it says of itself."""

    path: Place
    manifest: Manifest


def open_run(place: str) -> RunFolder:
    """The run in a folder (or beside this manifest.json); raises ShardError where there is none or it is damaged."""
    path = parse_place(place)
    folder = path.parent if path.name == MANIFEST else path
    if not folder.is_dir():
        where = "nothing below this address" if isinstance(folder, StorePath) else "no such folder"
        raise ShardError(folder, "", f"{where}; name the --output of a run")
    if not (folder / MANIFEST).is_file():
        raise ShardError(folder, "", _why_no_manifest(folder))
    return RunFolder(folder, load_manifest(folder))


def find_shard(run: RunFolder, name: str) -> ShardEntry:
    """The shard of that name; folder and ending may be left out, as in `ccnews-00000-of-00004`."""
    wanted = PurePosixPath(name).name.removesuffix(".tar")
    for shard in run.manifest.shards:
        if PurePosixPath(shard.name).name.removesuffix(".tar") == wanted:
            return shard
    n = len(run.manifest.shards)
    known = f"the first of its {n} is {run.manifest.shards[0].name}" if n else "the run has no shards"
    raise NotFoundError(f"{run.path}: no shard {name!r}; {known}")


def _why_no_manifest(folder: Place) -> str:
    if (folder / "work").is_dir() or (folder / "documents").is_dir() or (folder / "shards").is_dir():
        return f"no {MANIFEST}: the run is not finished; start it again with the same command and it goes on"
    return f"no {MANIFEST}: not the folder of a run, or one that has not been started"
