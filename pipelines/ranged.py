"""Files on web servers read like local ones: seekable, through HTTP Range requests that resume.

A connection that drops, stalls, trickles or answers 5xx is given up and taken up again at the byte
where it stopped; what comes out is the file as it was at the first request, or OSError. A file that
changes on the server while it is read is never stitched together from two versions.
"""

import io
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import requests

from corpora.urls import redact_credentials
from pipelines.web_requests import CHUNK_BYTES, Body, InterruptionError, Patience, Tries, ask, open_session, refuse

READ_AHEAD_BYTES = 1 << 20
SKIP_BYTES = 1 << 20  # a seek forward by less is read through: cheaper than a new request
SKIP_FROM_START_BYTES = 64 << 20  # how much a server that ignores Range may be made to send in vain
_DOWNLOAD = "download it and give its path"
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Version(NamedTuple):
    """What tells one version of a file on a server from another."""

    size: int
    etag: str  # as sent, "" when the server has none
    last_modified: str  # as sent, "" when the server does not say


class ChangedError(OSError):
    """The file on the server is no longer the one that we began to read."""


class RangeIgnoredError(OSError):
    """The server sends the whole file whatever is asked for, and the byte wanted is too far into it."""


class RangedFile(io.RawIOBase):
    """A seekable, read-only file over http(s). Not safe for two threads at once.

    `version` is what an earlier look at the file found, `size` what a listing said of it: a file on
    the server that is another one raises ChangedError.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int | None = None,
        version: Version | None = None,
        patience: Patience = Patience(),  # noqa: B008 # frozen
        session: requests.Session | None = None,
    ) -> None:
        super().__init__()
        self._url = url
        self._expected_size = version.size if version else size
        self._known = version
        self._seen: Version | None = None  # by this object, in an answer
        self._patience = patience
        self._tries = Tries(redact_credentials(url), patience)
        self._session = session or open_session(timeout_s=patience.timeout_s)
        self._owns_session = session is None
        self._position = 0
        self._body: Body | None = None
        self.n_requests = 0

    @property
    def name(self) -> str:
        """The address, without credentials."""
        return redact_credentials(self._url)

    @property
    def version(self) -> Version:
        """Size and validators of the file; asks the server where it has not been asked yet."""
        while self._seen is None:
            self._attempt(0)
        return self._seen

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.version.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        position = offset + (self.size if base is None else base)
        if position < 0:
            raise OSError(f"{self.name}: cannot seek to byte {position}")
        self._position = position
        return position

    def readinto(self, buffer: Any, /) -> int:
        if self.closed:
            raise ValueError(f"{self.name}: read of a closed file")
        view = memoryview(buffer).cast("B")
        while view.nbytes and not (self._seen and self._position >= self._seen.size):
            data = self._attempt(view.nbytes)
            if data:
                view[: len(data)] = data
                self._position += len(data)
                return len(data)
        return 0

    def close(self) -> None:
        if not self.closed:
            self._drop_body()
            if self._owns_session:
                self._session.close()
        super().close()

    def _attempt(self, n_bytes: int) -> bytes | None:
        """Up to `n_bytes` at the position, or None after a failure that was waited out."""
        return self._tries.attempt(lambda: self._read_some(n_bytes))

    def _read_some(self, n_bytes: int) -> bytes:
        """At least one byte, except at the end of the file or where none is asked for."""
        try:
            body = self._body
            if body is None or not _reaches(body, self._position):
                body = self._open_body()
            if body is None or n_bytes == 0:
                return b""
            while body.position < self._position:
                body.read(min(CHUNK_BYTES, self._position - body.position))
            return body.read(n_bytes)
        except InterruptionError:
            self._drop_body()
            raise

    def _open_body(self) -> Body | None:
        """Asks for the file from the position on and checks that the answer is what was asked for."""
        self._drop_body()
        self.n_requests += 1
        # Offsets are those of the file as it is stored: nothing may be compressed on the way.
        headers = {"Range": f"bytes={self._position}-", "Accept-Encoding": "identity"}
        if self._known and self._known.etag.startswith('"'):
            headers["If-Range"] = self._known.etag
        response = ask(self._session, self._url, headers, timeout_s=self._patience.timeout_s)
        try:
            self._body = self._check_answer(response, self._position)
        finally:
            if self._body is None:
                response.close()
        return self._body

    def _check_answer(self, response: requests.Response, start: int) -> Body | None:
        """The body of a good answer, None where there is nothing at `start`; raises for every other answer."""
        status, headers = response.status_code, response.headers
        if status not in (200, 206, 416):
            refuse(self.name, status)
        first, end, size = self._place(status, headers, start)
        self._check_version(Version(size, headers.get("ETag", ""), headers.get("Last-Modified", "")))
        if start >= size:
            return None
        if status == 206 and not start < end <= size:
            raise OSError(f"{self.name}: got bytes {start} to {end} of {size}, which cannot be; {_DOWNLOAD}")
        if status == 416:
            raise OSError(f"{self.name}: the server refuses to send byte {start} of {size}; {_DOWNLOAD}")
        if start - first > SKIP_FROM_START_BYTES:
            raise RangeIgnoredError(
                f"{self.name}: the server ignores Range, so byte {start} is out of reach; {_DOWNLOAD}"
            )
        return Body(response, first, end, self._patience)

    def _place(self, status: int, headers: Mapping[str, str], start: int) -> tuple[int, int, int]:
        """(first byte of the answer's body, the byte after its last, bytes of the whole file)."""
        text = headers.get("Content-Range", "").strip()
        match = _CONTENT_RANGE.fullmatch(text)
        total = int(match[3]) if match and match[3] != "*" else None
        if status == 206:
            if not text:  # also what a header looks like that was cut off
                raise InterruptionError("the server sends a part and does not say which")
            if not match or match[1] is None or int(match[1]) != start:
                raise OSError(f"{self.name}: asked for bytes from {start}, got {text[:80]!r}; {_DOWNLOAD}")
            first, end, size = start, int(match[2]) + 1, total
        elif status == 200:
            length = headers.get("Content-Length", "")
            first, end, size = 0, None, int(length) if length.isdecimal() else None
        else:  # nothing from byte 0 on: an empty file, whatever else the server leaves unsaid
            first, end, size = start, start, 0 if start == 0 and total is None else total
        size = self._expected_size if size is None else size
        if size is None:
            raise OSError(f"{self.name}: the server does not say how long the file is; {_DOWNLOAD}")
        return first, size if end is None else end, size

    def _check_version(self, seen: Version) -> None:
        known = self._known
        if self._expected_size not in (None, seen.size) or (known is not None and _differs(seen, known)):
            raise ChangedError(
                f"{self.name}: the file changed on the server while it was read"
                f" ({self._expected_size} bytes before, {seen.size} now); run again, or work on a copy"
            )
        self._expected_size = seen.size
        self._seen = seen if self._seen is None else self._seen
        self._known = self._known or seen

    def _drop_body(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def open_ranged(url: str, *, size: int | None = None, patience: Patience = Patience()) -> BinaryIO:  # noqa: B008 # frozen
    """A seekable stream over a file on a web server, with read-ahead; `size` is what a listing said."""
    return io.BufferedReader(RangedFile(url, size=size, patience=patience), READ_AHEAD_BYTES)


def _reaches(body: Body, position: int) -> bool:
    """Whether reading on in a body comes to a position soon."""
    return body.position <= position <= body.position + SKIP_BYTES and position < body.end


def _differs(one: Version, other: Version) -> bool:
    """By ETag where both have one, else by date where both have one; an answer may leave either out."""
    if one.etag and other.etag:
        return one.etag != other.etag
    return bool(one.last_modified and other.last_modified) and one.last_modified != other.last_modified
