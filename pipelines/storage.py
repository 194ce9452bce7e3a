"""Files on local disks, in object stores and, to read, on web servers, behind one small interface.

Paths are strings. A file appears whole or not at all. Locally it is written under a temporary name in its own folder,
synced, and renamed once; in an object store it is PUT once, complete. Whatever fails raises OSError
naming the path, and leaves nothing half-written behind that has a name a reader would trust.
"""

import errno
import functools
import hashlib
import importlib
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from corpora.urls import redact_credentials

T = TypeVar("T")

TEMPORARY_PREFIX = ".tmp-"
_BLOCK_BYTES = 4 << 20  # read ahead in a store; the drivers' own choice, up to 50 MiB, is too much for a look at an end
_EXTRAS = {"s3": "aws", "s3a": "aws", "gs": "gcp", "gcs": "gcp"}


def is_url(path: str) -> bool:
    """Whether a path names something elsewhere; `file://` URLs are local paths in disguise."""
    return "://" in path and not path.startswith("file://")


def is_web(path: str) -> bool:
    """Whether a path is an address on the web, which can only be read."""
    return path.startswith(("http://", "https://"))


def local_path(path: str) -> str:
    """The path of a local file, also when it is given as a `file://` URL.

    >>> local_path("file:///data/a%20b.warc"), local_path("warcs/a.warc")
    ('/data/a b.warc', 'warcs/a.warc')
    """
    return unquote(urlsplit(path).path) if path.startswith("file://") else path


def join(folder: str, *names: str) -> str:
    """A path below a folder.

    >>> join("out/", "shards", "a.tar"), join("s3://bucket/out", "a.tar"), join("/", "a"), join("", "a")
    ('out/shards/a.tar', 's3://bucket/out/a.tar', '/a', 'a')
    """
    if not folder:
        return "/".join(names)
    return "/".join((folder.rstrip("/"), *names))


def write_atomically(path: str, write: Callable[[BinaryIO], T], *, mode: int = 0o666) -> T:
    """Calls `write` with a stream and publishes what it wrote as `path`; returns what `write` returned.

    Where `write` or the publishing raises, `path` is as it was before and nothing temporary is left.
    `mode` is the new file's, less the umask; object stores have none.
    """
    if is_url(path):
        return _put(path, write)
    target = Path(local_path(path))
    temporary = target.parent / f"{TEMPORARY_PREFIX}{target.name[:100]}-{uuid.uuid4().hex}"
    try:
        with _create(temporary, target, mode) as stream:
            result = write(stream)
        _rename(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return result


class HashingWriter(io.BufferedIOBase):
    """Passes bytes on to a stream and knows their number and SHA-256; closing it leaves the stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.n_bytes = 0

    @property
    def sha256(self) -> str:
        """Hex digest of all bytes written so far."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        self._stream.write(view)
        self._hash.update(view)
        self.n_bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.n_bytes

    def flush(self) -> None:
        if not self.closed and not self._stream.closed:
            self._stream.flush()


def exists(path: str) -> bool:
    """Whether there is a file or a folder of this name."""
    if is_web(path):
        try:
            return size_of(path) >= 0
        except (FileNotFoundError, PermissionError):  # what is not there is often said to be forbidden
            return False
    if is_url(path):
        store, key = open_store(path)
        return bool(store.exists(key))
    return Path(local_path(path)).exists()


def size_of(path: str) -> int:
    """Bytes of a file; FileNotFoundError where there is none."""
    if is_web(path):
        with _open_web(path) as stream:
            return stream.seek(0, os.SEEK_END)
    if is_url(path):
        store, key = open_store(path)
        return int(store.info(key)["size"])
    return Path(local_path(path)).stat().st_size


def list_files(folder: str, pattern: str = "*") -> list[str]:
    """Names of the files of a folder that match, sorted, subfolders left out; none where there is no folder."""
    return [name for name, _ in list_sizes(folder, pattern)]


def list_sizes(folder: str, pattern: str = "*") -> list[tuple[str, int]]:
    """`list_files` with the bytes of each file, at the cost of one listing."""
    return sorted((name, n_bytes) for name, n_bytes in _all_files(folder) if fnmatchcase(name, pattern))


def open_read(path: str) -> BinaryIO:
    """A seekable stream over a file, on a web server too."""
    if is_web(path):
        return _open_web(path)
    if is_url(path):
        store, key = open_store(path)
        stream: BinaryIO = store.open(key, "rb", block_size=_BLOCK_BYTES)
        return stream
    return Path(local_path(path)).open("rb")


def remove(path: str) -> None:
    """Removes a file; that it is gone already is no error, since a retry may have done it."""
    if is_url(path):
        store, key = open_store(path)
        with suppress(FileNotFoundError):
            store.rm_file(key)
        return
    Path(local_path(path)).unlink(missing_ok=True)


def remove_tree(path: str, *, root: str) -> None:
    """Removes a folder and all below it; ValueError unless it lies below `root`."""
    if is_url(path):
        _check_below(path, root, path, root)
        store, key = open_store(path)
        if store.exists(key):
            store.rm(key, recursive=True)
        return
    path, root = local_path(path), local_path(root)
    _check_below(path, root, os.path.realpath(path), os.path.realpath(root))
    if os.path.lexists(path):
        shutil.rmtree(path)


def make_folder(path: str) -> None:
    """Makes a folder and those above it; object stores have no folders, so there is nothing to do there."""
    if not is_url(path):
        Path(local_path(path)).mkdir(parents=True, exist_ok=True)


def sweep_temporaries(folder: str) -> int:
    """Removes what killed runs left half-written in a folder, and says how many files that was.

    Only the run that holds the folder may call it. A writer whose file is swept away fails at its
    rename and is retried by its runner.
    """
    if is_url(folder):
        return 0
    names = list_files(folder, TEMPORARY_PREFIX + "*")
    for name in names:
        remove(join(folder, name))
    return len(names)


def _open_web(url: str) -> BinaryIO:
    from pipelines.ranged import open_ranged

    return open_ranged(url)


def open_store(url: str) -> tuple[Any, str]:
    """(fsspec file system, key) of a URL; ValueError saying what to install where its driver is missing."""
    import fsspec

    scheme = url.split("://", 1)[0]
    if is_web(url):
        raise ValueError(f"{redact_credentials(url)}: a web address can only be read; name a folder")
    # Runs come and go and other workers write: a listing remembered from before would be a lie.
    options: dict[str, object] = {"use_listings_cache": False}
    try:
        if scheme in ("s3", "s3a"):
            importlib.import_module("s3fs")
            options["anon"] = not _has_aws_credentials()
        store, key = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'shardmill[{extra}]'" if extra else str(error)
        raise ValueError(f"{scheme}:// needs a driver that is not installed: {remedy}") from error
    except ValueError as error:
        raise ValueError(f"{redact_credentials(url)}: {error}; use a path, https://, s3:// or gs://") from error
    return store, str(key)


@functools.cache
def _has_aws_credentials() -> bool:
    """Whether this machine has keys for S3; without any, public buckets are read anonymously.

    Asked once: off Amazon's machines the question may take seconds.
    """
    return importlib.import_module("botocore.session").Session().get_credentials() is not None


class _SyncedFile(io.FileIO):
    """A file that is on the disk when it is closed, and whose errors name the path that it will have."""

    def __init__(self, descriptor: int, final_path: Path) -> None:
        super().__init__(descriptor, "wb")
        self._final_path = final_path

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise cannot_write(error, self._final_path) from error

    def close(self) -> None:
        try:
            if not self.closed:
                os.fsync(self.fileno())
        except OSError as error:
            raise cannot_write(error, self._final_path) from error
        finally:
            super().close()


def _create(temporary: Path, path: Path, mode: int) -> BinaryIO:
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise cannot_write(error, path) from error
    return io.BufferedWriter(_SyncedFile(descriptor, path), buffer_size=1 << 20)


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(error, path) from error


def sync_folder(folder: Path) -> None:
    """Makes a rename last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network and FUSE file systems that cannot
            raise cannot_write(error, folder) from error
    finally:
        os.close(descriptor)


def cannot_write(error: OSError, path: Path) -> OSError:
    """The same kind of error, naming the file that was to be written and not the temporary one."""
    remedies = {
        errno.ENOSPC: "free some space and run again",
        errno.EDQUOT: "free some space and run again",
        errno.ENOENT: "no such folder here; on a cluster every worker must see it",
    }
    remedy = remedies.get(error.errno or 0, "")
    text = f"cannot write: {error.strerror or error}" + (f" ({remedy})" if remedy else "")
    return OSError(error.errno or errno.EIO, text, str(path))


def _put(url: str, write: Callable[[BinaryIO], T]) -> T:
    """One complete PUT. Streaming into the store instead would publish what a failing `write` had written."""
    store, key = open_store(url)
    with tempfile.TemporaryDirectory(prefix="shardmill-") as folder:
        spooled = Path(folder) / "object"
        with spooled.open("w+b", buffering=1 << 20) as stream:
            result = write(stream)
        n_bytes = spooled.stat().st_size
        store.put_file(str(spooled), key)
    stored = int(store.info(key)["size"])
    if stored != n_bytes:
        raise OSError(errno.EIO, f"{n_bytes} bytes were sent and {stored} are stored; run again", url)
    return result


def _all_files(folder: str) -> list[tuple[str, int]]:
    if is_url(folder):
        store, key = open_store(folder)
        try:
            entries = [entry for entry in store.ls(key, detail=True) if entry["type"] == "file"]
        except FileNotFoundError:
            return []
        return [(str(entry["name"]).rsplit("/", 1)[-1], int(entry["size"])) for entry in entries]
    try:
        with os.scandir(local_path(folder) or ".") as found:
            return [(entry.name, entry.stat().st_size) for entry in found if entry.is_file()]
    except FileNotFoundError:
        return []


def _check_below(path: str, root: str, real_path: str, real_root: str) -> None:
    inside = real_path.startswith(real_root.rstrip("/") + "/") and ".." not in real_path.split("/")
    if not inside or real_path.rstrip("/") == real_root.rstrip("/"):
        raise ValueError(f"refusing to remove {path}: it is not below {root}")
