"""`verify`: whether the files of a run are what its manifest says, and agree with each other.

In: a run. Out: its faults, each with file and place; none means that every byte is vouched for. Files
are only ever read as bytes, tar headers and Parquet columns: nothing in them is decoded by name,
unpickled, fetched or executed, and a name that leaves the folder is refused by the manifest's reader.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.manifest import ShardEntry, list_files, verify_files
from bpe.places import Place, StorePath
from bpe.shard_cache import fresh_copy
from bpe.shards import Shard, check_shard, open_shard
from bpe.vocabulary import load_vocabulary
from inspection.run_folder import RunFolder
from inspection.verify_rows import Places, check_ids, check_places, check_tables, check_tokens, read_places

CHUNK_BYTES = 1 << 22
MAX_BLOCK_FAULTS = 20  # of one shard; the rest is a number

Advance = Callable[[int], object]  # takes the bytes that have just been verified


class Fault(NamedTuple):
    """One thing that is not as the manifest says."""

    file: str  # relative to the run's folder
    place: str  # as in "block 3" or "row 17"; "" for the whole file
    found: str


def count_bytes(run: RunFolder) -> int:
    """Bytes that a full verification reads; `advance` is told of as many."""
    return sum(entry.bytes for entry in list_files(run.manifest))


def count_files(run: RunFolder) -> int:
    """Files that the manifest lists."""
    return sum(1 for _ in list_files(run.manifest))


def verify_run(run: RunFolder, *, quick: bool, advance: Advance = lambda _: None) -> Iterator[Fault]:
    """All faults of a run. `quick` reads no contents: presence, sizes, ends of tars, rows of tables, extra files."""
    broken = set()
    for error in verify_files(run.manifest, run.path, full=False):
        fault = _as_fault(run, error)
        broken.add(fault.file)
        yield fault
    if not quick:
        for fault in _check_contents(run, broken, advance):
            broken.add(fault.file)
            yield fault
    for error in check_tables(run, broken, full=not quick):
        fault = _as_fault(run, error)
        broken.add(fault.file)
        yield fault
    for shard in run.manifest.shards:
        if shard.name not in broken:
            yield from (_as_fault(run, error) for error in _check_shard(run, shard, broken, quick=quick))
        advance(0 if quick else shard.bytes)
    if not quick:
        yield from (_as_fault(run, error) for error in chain(_check_vocabulary(run, broken), check_ids(run, broken)))


def fault_line(fault: Fault) -> str:
    """One fault on one line."""
    return f"{fault.file}{f' at {fault.place}' if fault.place else ''}: {fault.found}"


def _check_contents(run: RunFolder, broken: set[str], advance: Advance) -> Iterator[Fault]:
    """sha256 of every file but the shards, which are read once, with all else that is to be known of them."""
    shards = {shard.name for shard in run.manifest.shards}
    for entry in list_files(run.manifest):
        if entry.name in shards:
            continue
        if entry.name in broken:
            advance(entry.bytes)
            continue
        found = _sha256(run.path / entry.name, advance)
        if found != entry.sha256:
            yield Fault(entry.name, "", f"sha256 {found}, but the manifest says {entry.sha256}; fetch it again")


def _check_shard(run: RunFolder, shard: ShardEntry, broken: set[str], *, quick: bool) -> Iterator[ShardError]:
    """What is wrong with a shard and between it and its lineage."""
    path = run.path / shard.name
    if quick and isinstance(path, StorePath):
        return  # the end of a tar is not worth fetching it
    try:
        with _local_copy(path, shard) as local:
            for error in _check_file(run, shard, broken, local, quick=quick):
                yield ShardError(path, error.place, error.found) if error.path == str(local) else error
    except ShardError as error:
        yield error


def _local_copy(path: Place, shard: ShardEntry) -> AbstractContextManager[Path]:
    """The shard as it is now: what a cache holds of it says nothing about the store."""
    return nullcontext(path) if isinstance(path, Path) else fresh_copy(path, shard)


def _check_file(
    run: RunFolder, shard: ShardEntry, broken: set[str], path: Path, *, quick: bool
) -> Iterator[ShardError]:
    try:
        with open_shard(path, shard) as opened:
            if quick:
                return
            places = None if shard.lineage.name in broken else read_places(run, shard)
            faults = list(_check_blocks(run, opened, places))
    except ShardError as error:
        yield error
        return
    yield from faults[:MAX_BLOCK_FAULTS]
    if len(faults) > MAX_BLOCK_FAULTS:
        yield ShardError(path, "", f"{len(faults) - MAX_BLOCK_FAULTS} more blocks have faults")
    if not faults:
        try:
            check_shard(path, shard)
        except ShardError as error:
            yield error
    if places is not None:
        yield from check_places(run, shard, places)


def _check_blocks(run: RunFolder, opened: Shard, places: Places | None) -> Iterator[ShardError]:
    """Every block whose headers, checksum, ids or documents are wrong."""
    vocabulary = run.manifest.vocabulary
    for k in range(len(opened)):
        try:
            block = opened.block(k)
        except ShardError as error:
            yield error
            continue
        if vocabulary is not None and block.tokens.size and int(block.tokens.max()) >= vocabulary.size:
            found = f"token {int(block.tokens.max())}, but the vocabulary has {vocabulary.size} ids; rebuild the run"
            yield ShardError(opened.path, f"block {k}", found)
        elif places is not None:
            yield from check_tokens(opened.path, k, block, places)


def _check_vocabulary(run: RunFolder, broken: set[str]) -> Iterator[ShardError]:
    entry = run.manifest.vocabulary
    if entry is None or entry.name in broken:
        return
    path = run.path / entry.name
    try:
        vocabulary = load_vocabulary(path)
    except ShardError as error:
        yield error
        return
    for what, found, said in (
        ("fingerprint", vocabulary.fingerprint, entry.fingerprint),
        ("size", vocabulary.size, entry.size),
    ):
        if found != said:
            yield ShardError(path, "", f"{what} {found}, but the manifest says {said}; rebuild the run")


def _sha256(path: Place, advance: Advance) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _as_fault(run: RunFolder, error: ShardError) -> Fault:
    folder = f"{run.path}/"
    name = error.path.removeprefix(folder) if error.path.startswith(folder) else error.path
    return Fault(name, error.place, error.found)
