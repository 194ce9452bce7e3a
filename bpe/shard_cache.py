"""Shards of object stores on the local disk: fetched once, whole, and shared by all that reads them on this machine.

In: the place of a shard and its entry in the manifest. Out: an open file with the bytes that the manifest vouches for.
The rule: a file has its name only when size and sha256 were right, and the name is the sha256, so equal shards of
different runs are one file. What is on its way lies in `NAME.part`; whoever comes next goes on where it stopped, also
after a kill. A file that is open is held by a shared lock, and what makes room takes the files that nobody holds, those
that were opened longest ago first. How much that is, bpe.cache_settings says.
"""

import errno
import fcntl
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bpe.cache_settings import Cache, find_cache
from bpe.entries import ShardEntry
from bpe.errors import ShardError
from bpe.places import StorePath
from bpe.stores import CHUNK_BYTES, describe_length, read_range

_WHOLE, _PART = ".tar", ".part"
_LOOK_S = 0.05  # between two looks at what another process fetches
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # some network file systems
_log = logging.getLogger(__name__)


class _Kept(NamedTuple):
    """A file of the cache."""

    opened: float  # when it was opened last, in seconds
    path: Path
    n_bytes: int


def open_cached(place: StorePath, entry: ShardEntry) -> BinaryIO:
    """The shard's file, open and held for as long as the file or a map of it is; fetches it where it is not there.

    Raises ShardError where the store has another shard than the manifest lists, OSError where store or disk fail.
    """
    cache, path = find_cache(), cached_path(entry)
    while True:
        stream = _open_held(path)
        if stream is not None and os.fstat(stream.fileno()).st_size != entry.bytes:
            forget_cached(path, os.fstat(stream.fileno()))
            stream.close()
            stream = None
        stream = stream or _fill(cache, path, place, entry)
        if stream is not None:
            return stream


def cached_path(entry: ShardEntry) -> Path:
    """Where a shard is, once it was fetched."""
    return find_cache().folder / f"{entry.sha256}{_WHOLE}"


def is_cached(entry: ShardEntry) -> bool:
    """Whether a shard was fetched already."""
    return cached_path(entry).is_file()


def forget_cached(path: Path, status: os.stat_result) -> None:
    """Takes a damaged file out of the cache; not another one that has taken its place already."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), status):
            path.unlink()


@contextmanager
def fresh_copy(place: StorePath, entry: ShardEntry) -> Iterator[Path]:
    """A file with the bytes that the store has now, whatever they are, for as long as it is looked at."""
    cache = find_cache()
    fault = describe_length(str(place), entry.bytes)
    if fault:
        raise ShardError(place, "", fault)
    path = cache.folder / f"{uuid.uuid4().hex}{_PART}"
    _make_folder(cache)
    with path.open("w+b") as stream:
        try:
            _lock(stream, fcntl.LOCK_EX)
            _make_room(cache, entry.bytes)
            _fetch(place, entry, stream)
            yield path
        finally:
            path.unlink(missing_ok=True)


def _make_folder(cache: Cache) -> None:
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{cache.folder}: cannot be the cache ({error.strerror}); name another with --cache") from error


def _open_held(path: Path) -> BinaryIO | None:
    """A file of the cache, held by a shared lock that its maps keep; None where it is not there."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return None
    _lock(stream, fcntl.LOCK_SH)
    with suppress(OSError):  # of another user perhaps
        os.utime(stream.fileno())
    return stream


def _fill(cache: Cache, path: Path, place: StorePath, entry: ShardEntry) -> BinaryIO | None:
    """Fetches a shard: its file, open and held. None where another process was quicker."""
    _make_folder(cache)
    part = path.with_suffix(_PART)
    stream = part.open("a+b")
    try:
        # Who has it fetches into it, gives it the shard's name and keeps it open: its lock may stay for hours.
        while not _try_lock(stream, fcntl.LOCK_EX) and _is_at(stream, part):
            time.sleep(_LOOK_S)
        if path.exists() or not _is_at(stream, part):
            if _is_at(stream, part):
                part.unlink()
            stream.close()
            return None
        _fetch_right(cache, place, entry, stream, part)
        part.replace(path)
        _lock(stream, fcntl.LOCK_SH)
    except BaseException:
        stream.close()
        raise
    _make_room(cache, 0)  # others may have added theirs in the meantime
    return stream


def _fetch_right(cache: Cache, place: StorePath, entry: ShardEntry, stream: BinaryIO, part: Path) -> None:
    """Brings a part to the shard that the manifest lists; ShardError where the store has another."""
    fault = describe_length(str(place), entry.bytes)
    if fault:
        raise ShardError(place, "", fault)
    have = stream.seek(0, os.SEEK_END)
    _make_room(cache, entry.bytes - have)
    found = _fetch(place, entry, stream)
    if found != entry.sha256 and have:
        stream.truncate(0)  # what had come before may be what is wrong
        found = _fetch(place, entry, stream)
    if found != entry.sha256:
        part.unlink()
        what = f"sha256 {found}, but the manifest says {entry.sha256}"
        raise ShardError(place, "", f"{what}: it changed in the store; put the shard there again, or rebuild the run")
    _log.info("fetched shard=%s bytes=%d", place, entry.bytes)


def _fetch(place: StorePath, entry: ShardEntry, stream: BinaryIO) -> str:
    """Brings a file to the length of the shard, going on from what it holds; the sha256 of all of it."""
    digest, have = hashlib.sha256(), 0
    stream.seek(0)
    while chunk := stream.read(min(CHUNK_BYTES, entry.bytes - have)):
        digest.update(chunk)
        have += len(chunk)
    try:
        stream.truncate(have)
        stream.seek(have)
        while have < entry.bytes:
            data = read_range(str(place), have, min(have + CHUNK_BYTES, entry.bytes))
            stream.write(data)
            stream.flush()
            digest.update(data)
            have += len(data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno, "no room for a shard; free some space, or name another --cache or fewer --cache-bytes",
            str(stream.name),
        ) from error  # fmt: skip
    return digest.hexdigest()


def _make_room(cache: Cache, n_bytes: int) -> None:
    """Removes files that nobody holds, those that were opened longest ago first, until so many more bytes fit."""
    kept = sorted(_list_kept(cache.folder))
    excess = sum(one.n_bytes for one in kept) + n_bytes - cache.max_bytes
    for one in kept:
        if excess <= 0:
            return
        if _remove_unheld(one.path):
            excess -= one.n_bytes
    if excess > 0:
        _log.info("cache=%s over by %d bytes: all that it holds is in use", cache.folder, excess)


def _remove_unheld(path: Path) -> bool:
    try:
        with path.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(stream, path):
                path.unlink()
    except FileNotFoundError:
        return True
    except OSError:  # held, or on a disk that has no locks
        return False
    return True


def _list_kept(folder: Path) -> list[_Kept]:
    """What the cache holds, half-fetched shards too."""
    kept = []
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for one in found:
            if one.name.endswith((_WHOLE, _PART)):
                with suppress(FileNotFoundError):
                    status = one.stat()
                    kept.append(_Kept(status.st_mtime, Path(one.path), status.st_size))
    return kept


def _lock(stream: BinaryIO, kind: int) -> None:
    """Waits for a lock; where the disk has none, files are shared without."""
    try:
        fcntl.flock(stream, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _try_lock(stream: BinaryIO, kind: int) -> bool:
    """Takes a lock unless another has it; where the disk has none, files are shared without."""
    try:
        _lock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
