"""Object stores through fsspec's drivers: sizes, listings and ranged reads that outlast a store's bad moments.

In: addresses, s3://BUCKET/KEY and alike. Out: bytes and numbers, or an OSError of one line that names the address and
says what to do. The rule: what is handed out is what was asked for, byte for byte in number; an answer that is cut,
slow, refused for the moment or of another length is asked for again. What the bytes must be, the manifest knows.

Credentials and endpoints are the drivers' own affair: AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and
~/.aws for s3://, GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth` for gs://. Without any, buckets are read as the
public.
"""

import errno
import functools
import importlib
import io
import logging
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 8 << 20  # of one request; what is asked for again when it fails
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30  # without a byte
_EXTRAS = {"s3": "aws", "s3a": "aws", "gs": "gs", "gcs": "gs"}
_NOT_FOR_THE_STORE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
# Of botocore and google.auth, by name, since neither may be installed.
_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "RefreshError",
    "DefaultCredentialsError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError",
}  # fmt: skip
_DRIVERS = {"botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "requests", "urllib3", "fsspec"}
_NO_BUCKET = re.compile(r"bucket\b.*(does not exist|not found)", re.IGNORECASE)
_log = logging.getLogger(__name__)
_answered: set[str] = set()  # stores with their buckets that have answered this process
_answered_lock = threading.Lock()


class Patience(NamedTuple):
    """How long a failing request is repeated."""

    first_wait_s: float = 0.2  # then twice as long each time, and up to half as much again so that ranks part ways
    longest_wait_s: float = 20.0
    first_tries: int = 4  # of a bucket that has not answered yet: a wrong endpoint is better told soon
    deadline_s: float = 300.0  # of a bucket that has answered before


PATIENCE = Patience()


def connect(address: str, **options: object) -> tuple[Any, str]:
    """(fsspec file system, key) of an address; ValueError saying what to install where its driver is missing."""
    scheme = address.split("://", 1)[0]
    # Runs come and go and other workers write: a listing remembered from before would be a lie.
    options = {"use_listings_cache": False, **options}
    try:
        if scheme in ("s3", "s3a"):
            importlib.import_module("s3fs")
            options["anon"] = not _has_aws_credentials()
        store, key = importlib.import_module("fsspec").core.url_to_fs(address, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'shardmill[{extra}]'" if extra else str(error)
        raise ValueError(f"{scheme}:// needs a driver that is not installed: {remedy}") from error
    return store, str(key)


def size_of(address: str) -> int:
    """Bytes of an object; FileNotFoundError where there is none."""
    store, key = _open(address)

    def ask() -> int:
        found = store.info(key)
        if found["type"] != "file":
            raise FileNotFoundError(f"{address}: no such object, only others below it")
        return int(found["size"])

    return _insist(address, ask)


def has_any_below(address: str) -> bool:
    """Whether an address is a folder: there are keys that it begins."""
    store, key = _open(address)

    def ask() -> bool:
        return bool(store.isdir(key))

    return _insist(address, ask)


def list_sizes(address: str) -> dict[str, int]:
    """Bytes of all objects below an address, by their names relative to it; none where there is no such folder."""
    store, key = _open(address)
    prefix = key.rstrip("/") + "/"

    def ask() -> dict[str, int]:
        found = store.find(prefix, detail=True)
        listed = {str(name): int(one["size"]) for name, one in found.items() if one["type"] == "file"}
        return {
            name.removeprefix(prefix): n for name, n in listed.items() if name.startswith(prefix) and name != prefix
        }

    try:
        return _insist(address, ask)
    except FileNotFoundError:
        return {}


def read_whole(address: str) -> bytes:
    """A small object, in one answer: nobody can have replaced it in between."""
    store, key = _open(address)
    whole = {"max_concurrency": 1} if address.startswith(("s3:", "s3a:")) else {}  # else long ones come in pieces

    def ask() -> bytes:
        return bytes(store.cat_file(key, **whole))

    return _insist(address, ask)


def read_range(address: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of an object, exactly as many."""
    store, key = _open(address)

    def ask() -> bytes:
        data = bytes(store.cat_file(key, start=start, end=end))
        if len(data) != end - start:
            raise TornError(f"bytes {start} to {end} were asked for, and {len(data)} came")
        return data

    return _insist(address, ask) if end > start else b""


class TornError(OSError):
    """An answer of another length than was asked for."""


class StoredFile(io.RawIOBase):
    """An object as a seekable, read-only file; every read is a request, so buffer it."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.name = address
        self.size = size_of(address)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise OSError(f"{self.name}: cannot seek to byte {position}")
        self._position = position
        return position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + min(view.nbytes, CHUNK_BYTES), self.size)
        data = read_range(self.name, self._position, max(end, self._position))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def _open(address: str) -> tuple[Any, str]:
    """The store for reading: its driver tries once and gives up in time, since `_insist` is what tries again."""
    options: dict[str, object] = {}
    is_s3 = address.startswith(("s3:", "s3a:"))
    if is_s3:
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "retries": {"max_attempts": 0},
        }
    try:
        store, key = connect(address, **options)
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from error
    if is_s3:
        store.retries = 1
    return store, key


def _insist(address: str, ask: Callable[[], T], patience: Patience | None = None) -> T:
    """What `ask` returns in the end; OSError of one line, of the same kind where that says more, when it does not."""
    patience = patience or PATIENCE
    bucket = "/".join(address.split("/", 3)[:3])
    until = time.monotonic() + patience.deadline_s
    wait_s, tries = patience.first_wait_s, 0
    while True:
        tries += 1
        try:
            answer = ask()
        except Exception as error:
            final = _refusal(address, error)
            if final is not None:
                raise final from error
            known = bucket in _answered
            last = time.monotonic() + wait_s > until if known else tries >= patience.first_tries
            if last or (_is_past_the_end(error) and tries >= patience.first_tries):
                said = " ".join(str(error).split()) or type(error).__name__
                raise OSError(f"{address}: {tries} tries failed, the last with: {said[:300]}; run again") from error
            if tries == patience.first_tries:
                _log.warning("%s: does not answer as it should (%s); trying on", address, error)
            time.sleep(wait_s * (1 + random.random() / 2))
            wait_s = min(2 * wait_s, patience.longest_wait_s)
        else:
            with _answered_lock:
                _answered.add(bucket)
            return answer


def _refusal(address: str, error: Exception) -> OSError | None:
    """The error to raise where asking again would not help, None where it may."""
    said = " ".join(str(error).split())[:300]
    if isinstance(error, FileNotFoundError):
        if _NO_BUCKET.search(said):
            return OSError(f"{address}: there is no such bucket; check the name, and the endpoint of the store")
        return FileNotFoundError(f"{address}: no such object")
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return PermissionError(
            f"{address}: the store refuses ({said}); give it credentials the way its driver takes them"
            " (AWS_PROFILE or AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS)"
        )
    if isinstance(error, _NOT_FOR_THE_STORE):
        return error
    passing = isinstance(error, (OSError, EOFError)) or type(error).__module__.partition(".")[0] in _DRIVERS
    code = getattr(error, "code", None)  # of Google's driver
    if passing and not (isinstance(code, int) and 400 <= code < 500 and code not in (408, 416, 429)):
        return None
    return OSError(f"{address}: {said or type(error).__name__}")


def _is_past_the_end(error: Exception) -> bool:
    """416: a store that says so again and again has a shorter object than the manifest says."""
    return isinstance(error, OSError) and error.errno == errno.EINVAL


@functools.cache
def _has_aws_credentials() -> bool:
    """Whether this machine has keys for S3; without any, public buckets are read anonymously.

    Asked once: off Amazon's machines the question may take seconds.
    """
    return importlib.import_module("botocore.session").Session().get_credentials() is not None


def describe_length(address: str, expected: int) -> str:
    """What is wrong with the length of an object that a manifest lists; "" where nothing is."""
    try:
        found = size_of(address)
    except FileNotFoundError:
        return "missing, but listed in the manifest; fetch it again, or rebuild the run"
    return "" if found == expected else f"{found} bytes, but the manifest says {expected}; put it there again"
