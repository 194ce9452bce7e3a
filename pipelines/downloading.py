"""Whole files from web servers to local disk, taken up again where an earlier try stopped.

What has come so far lies in `NAME.part`; `NAME.part.json` beside it says of which version of the file,
and how much of it is surely on the disk. The file appears under its name only when it is whole.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pipelines.ranged import ChangedError, RangedFile, RangeIgnoredError, Version
from pipelines.storage import cannot_write, sync_folder, write_atomically
from pipelines.web_requests import CHUNK_BYTES, Patience

MARK_BYTES = 64 << 20  # the disk is brought up to date as often as this
DOWNLOAD_PATIENCE = Patience(deadline_s=7 * 86_400.0)  # a dump of 100 GB takes days on a slow line


class _Mark(NamedTuple):
    """How far a download has come."""

    version: Version
    n_bytes: int  # synced


def download(url: str, path: str | Path, *, patience: Patience = DOWNLOAD_PATIENCE) -> int:
    """Fetches a file, going on from what an earlier try left; its size in bytes.

    Begins anew where the server has another version by now, or cannot say that it is the same one.
    """
    target = Path(path)
    part = target.with_name(f"{target.name}.part")
    with _hold(part) as stream:
        try:
            n_bytes = _fetch(url, stream, part, _read_mark(part), patience)
        except (ChangedError, RangeIgnoredError):
            n_bytes = _fetch(url, stream, part, None, patience)
        part.replace(target)
        _sidecar(part).unlink(missing_ok=True)
        sync_folder(target.parent)
    return n_bytes


def _fetch(url: str, stream: BinaryIO, part: Path, mark: _Mark | None, patience: Patience) -> int:
    have = min(mark.n_bytes, part.stat().st_size) if mark else 0
    stream.truncate(have)
    stream.seek(have)
    with RangedFile(url, version=mark.version if mark else None, patience=patience) as remote:
        remote.seek(have)
        version = remote.version
        try:
            unmarked = 0
            while data := remote.read(CHUNK_BYTES):
                _write(stream, data, part)
                unmarked += len(data)
                if unmarked >= MARK_BYTES:
                    _write_mark(stream, part, version)
                    unmarked = 0
        finally:
            _write_mark(stream, part, version)
        return version.size


def _write(stream: BinaryIO, data: bytes, part: Path) -> None:
    try:
        stream.write(data)
    except OSError as error:
        raise cannot_write(error, part) from error


def _write_mark(stream: BinaryIO, part: Path, version: Version) -> None:
    """Syncs what has come and says so; a file without validators cannot be gone on with, so it gets no mark."""
    try:
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        raise cannot_write(error, part) from error
    if version.etag or version.last_modified:
        text = json.dumps({**version._asdict(), "n_bytes": stream.tell()}, sort_keys=True) + "\n"
        write_atomically(str(_sidecar(part)), lambda sidecar: sidecar.write(text.encode()))


def _read_mark(part: Path) -> _Mark | None:
    """How far an earlier try came, or None where that cannot be told."""
    try:
        fields = json.loads(_sidecar(part).read_bytes())
        version = Version(int(fields["size"]), str(fields["etag"]), str(fields["last_modified"]))
        return _Mark(version, int(fields["n_bytes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sidecar(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


@contextmanager
def _hold(part: Path) -> Iterator[BinaryIO]:
    """The part file, open, and nobody else's while it is."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise cannot_write(error, part) from error
    with os.fdopen(descriptor, "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"{part}: another process is downloading this file; wait for it") from error
        # The other process may have finished, and renamed the file, between our opening and locking it.
        if not _is_at(descriptor, part):
            raise OSError(f"{part}: another process has just downloaded this file; use it")
        try:
            yield stream
        finally:
            if _is_at(descriptor, part) and part.stat().st_size == 0:
                part.unlink()


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
