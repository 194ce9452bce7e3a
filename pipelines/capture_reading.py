"""Pieces of large files, wherever they are: a place, an offset and a length in, the bytes out.

The rule: exactly the bytes asked for are asked of a server, and fewer come back only where the file ends. What may get
better is tried again; what cannot is OSError (FileNotFoundError, PermissionError), as `pipelines.web_requests` has it.
"""

import re
import threading

import requests

from corpora.urls import redact_credentials
from pipelines.storage import is_url, is_web, local_path, open_store
from pipelines.web_requests import CHUNK_BYTES, Body, InterruptionError, Patience, Tries, ask, open_session, refuse

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")
_IGNORED_RANGE_BYTES = 64 << 20  # how much a server that ignores Range may be made to send in vain
_DEFAULT_PATIENCE = Patience()


class PieceReader:
    """Reads pieces; safe for several threads, each of which keeps a connection of its own."""

    def __init__(self, patience: Patience = _DEFAULT_PATIENCE) -> None:
        self._patience = patience
        self._local = threading.local()

    def read(self, location: str, offset: int, n_bytes: int) -> bytes:
        """Up to `n_bytes` of the file from `offset` on."""
        if is_web(location):
            return self._read_web(location, offset, n_bytes)
        if is_url(location):
            store, key = open_store(location)
            data: bytes = store.cat_file(key, start=offset, end=offset + n_bytes)
            return data
        with open(local_path(location), "rb") as stream:
            stream.seek(offset)
            return stream.read(n_bytes)

    def _read_web(self, url: str, offset: int, n_bytes: int) -> bytes:
        tries = Tries(redact_credentials(url), self._patience)
        while True:
            data = tries.attempt(lambda: self._ask(url, offset, n_bytes))
            if data is not None:
                return data

    def _ask(self, url: str, offset: int, n_bytes: int) -> bytes:
        # Offsets are those of the file as it is stored: nothing may be compressed on the way.
        headers = {"Range": f"bytes={offset}-{offset + n_bytes - 1}", "Accept-Encoding": "identity"}
        with ask(self._session(), url, headers, timeout_s=self._patience.timeout_s) as response:
            start, end = self._place(url, response, offset, n_bytes)
            if end <= offset:
                return b""
            body = Body(response, start, end, self._patience)
            pieces = []
            while body.position < end:
                at = body.position
                piece = body.read(min(CHUNK_BYTES, end - at))
                pieces.append(piece[max(0, offset - at) :])
            return b"".join(pieces)

    def _place(self, url: str, response: requests.Response, offset: int, n_bytes: int) -> tuple[int, int]:
        """Where the answer's body begins in the file, and where what is wanted of it ends."""
        name, status, wanted_end = redact_credentials(url), response.status_code, offset + n_bytes
        if status == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if not found:
                raise InterruptionError("the server sends a part and does not say which")
            if int(found[1]) != offset:
                raise OSError(f"{name}: asked for bytes from {offset}, got {found[0]}; use another mirror")
            return offset, min(int(found[2]) + 1, wanted_end)  # some send more than they are asked for
        if status == 416:
            return 0, 0
        if status != 200:
            refuse(name, status)
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal() or wanted_end > _IGNORED_RANGE_BYTES:
            raise OSError(f"{name}: the server ignores Range; use another mirror, or download it")
        return 0, min(wanted_end, int(length))

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = open_session(timeout_s=self._patience.timeout_s)
        return session
