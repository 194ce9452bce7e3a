"""Requests to web servers that fail, stall, trickle and come back: what is asked, and how often again.

What may get better is tried again, later each time; what cannot is OSError at once. No message holds
an address with its credentials, nor is chained to one that does.
"""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from corpora.urls import redact_credentials

MAX_REDIRECTS = 5
UNKNOWN_END = 1 << 62
CHUNK_BYTES = 1 << 18
PROGRESS_BYTES = 1 << 20  # after so many bytes earlier failures are forgiven
UNREACHED_RETRIES = 3  # where a host cannot be connected to at all and never could
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_REMEDIES = {
    401: (PermissionError, "it needs a login; check the address and its credentials"),
    403: (PermissionError, "access is denied (some stores say so of files that are not there); check the address"),
    404: (FileNotFoundError, "there is no such file; check the address"),
    410: (FileNotFoundError, "the file has been withdrawn; leave it out"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a server may keep us waiting before a read fails."""

    timeout_s: float = 30.0  # to connect, for the header as a whole, and between two pieces of the body
    min_bytes_per_s: int = 1_024  # a body slower than this over `timeout_s` is given up, and tried again
    retries: int = 8  # failures in a row, without PROGRESS_BYTES between them
    backoff_s: float = 0.5  # wait before the second try; doubles with each failure
    max_wait_s: float = 60.0  # of any one wait, a server's Retry-After included
    deadline_s: float = 6 * 3600.0  # all time spent on one file, our own thinking not counted

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.deadline_s <= 0 or self.max_wait_s < 0 or self.backoff_s < 0:
            raise ValueError("times to wait are in seconds and above 0")
        if self.retries < 0 or self.min_bytes_per_s < 0:
            raise ValueError("retries and bytes per second cannot be negative")


class InterruptionError(Exception):
    """A request or a body that failed in a way that may get better; never leaves this package's readers."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, unreached: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s  # what the server asks for
        self.unreached = unreached  # no connection at all: often a wrong address


class Tries:
    """Counts the failures of one file and waits between them; raises OSError when patience ends."""

    def __init__(self, name: str, patience: Patience) -> None:
        self._name = name
        self._patience = patience
        self._failures = 0
        self._gained = 0
        self._spent_s = 0.0
        self._reached = False

    def attempt(self, step: Callable[[], bytes | None]) -> bytes | None:
        """What `step` returns; None after a failure that may get better, once the time to wait is over."""
        began = time.monotonic()
        data: bytes | None = None
        try:
            data = step()
            self._reached = True
        except InterruptionError as trouble:
            self._wait_after(trouble)
        self._spent_s += time.monotonic() - began
        if self._spent_s >= self._patience.deadline_s:
            self._give_up(f"{self._spent_s:.0f} s", "the server is too slow")
        self._gained += len(data or b"")
        if self._gained >= PROGRESS_BYTES:
            self._failures = self._gained = 0
        return data

    def _wait_after(self, trouble: InterruptionError) -> None:
        self._failures += 1
        self._gained = 0
        patience = self._patience
        retries = patience.retries
        if trouble.unreached and not self._reached:
            retries = min(retries, UNREACHED_RETRIES)
        if self._failures > retries:
            self._give_up(f"{self._failures} tries", str(trouble))
        # Workers that one outage has stopped must not all come back at the same moment.
        wait_s = patience.backoff_s * 2 ** (self._failures - 1) * (0.5 + random.random())
        time.sleep(min(max(wait_s, trouble.wait_s), patience.max_wait_s))

    def _give_up(self, limit: str, reason: str) -> NoReturn:
        # Not chained: messages of the layers below show the address with its credentials.
        raise OSError(
            f"{self._name}: gave up after {limit}: {reason}; the network or the server fails, run again later"
        ) from None


class Body:
    """An answer's body from `position` on; raises InterruptionError where it stops short, stalls or trickles."""

    def __init__(self, response: requests.Response, position: int, end: int, patience: Patience) -> None:
        self._response = response
        self._patience = patience
        self.position = position
        self.end = end  # UNKNOWN_END where the server does not say
        self._window_s = 0.0  # time spent in reads since the rate was last looked at
        self._window_bytes = 0

    def read(self, n_bytes: int) -> bytes:
        """At least one byte, as soon as there is one; b"" at the end."""
        if self.position == self.end:
            return b""
        began = time.monotonic()
        try:
            data: bytes = self._response.raw.read1(min(n_bytes, CHUNK_BYTES), decode_content=False) or b""
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise InterruptionError(_describe(error, self._patience.timeout_s)) from None
        self.position += len(data)
        if self.end != UNKNOWN_END and (not data or self.position > self.end):
            raise InterruptionError(f"the body ended at byte {self.position} of {self.end}")
        self._check_rate(len(data), time.monotonic() - began)
        return data

    def close(self) -> None:
        self._response.close()

    def _check_rate(self, n_bytes: int, took_s: float) -> None:
        """Counts only time spent waiting here: how long a reader thinks between two reads is its own affair."""
        self._window_s += took_s
        self._window_bytes += n_bytes
        if self._window_s < self._patience.timeout_s:
            return
        if self._window_bytes < self._patience.min_bytes_per_s * self._window_s and self.position != self.end:
            raise InterruptionError(f"only {self._window_bytes} bytes came in {self._window_s:.0f} s")
        self._window_s, self._window_bytes = 0.0, 0


def ask(session: requests.Session, url: str, headers: Mapping[str, str], *, timeout_s: float) -> requests.Response:
    """The answer to a GET, its body unread: any status but those that are worth another try."""
    name = redact_credentials(url)
    try:
        response = session.get(url, headers=dict(headers), stream=True, timeout=timeout_s)
    except requests.exceptions.SSLError:
        raise OSError(f"{name}: no secure connection; check the host's name and certificate") from None
    except requests.TooManyRedirects:
        raise OSError(f"{name}: redirected more than {MAX_REDIRECTS} times; check the address") from None
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        unreached = any(isinstance(one, urllib3.exceptions.NewConnectionError) for one in _causes(error))
        raise InterruptionError(_describe(error, timeout_s), unreached=unreached) from None
    except (requests.RequestException, ValueError):
        raise OSError(f"{name}: not an address that can be asked for; check it") from None
    if response.status_code in _RETRIED:
        response.close()
        raise InterruptionError(f"the server answers {response.status_code}", wait_s=_seconds_to_wait(response.headers))
    return response


def refuse(name: str, status: int) -> NoReturn:
    """Raises what a status that will not get better means."""
    kind, remedy = _REMEDIES.get(status, (OSError, "check the address"))
    raise kind(f"{name}: the server answers {status}: {remedy}")


def read_whole(url: str, *, max_bytes: int, patience: Patience) -> bytes:
    """All of a small answer, at most `max_bytes`; for what cannot be asked for in ranges, such as listings."""
    name = redact_credentials(url)
    tries = Tries(name, patience)

    def step() -> bytes:
        response = ask(session, url, {"Accept-Encoding": "identity"}, timeout_s=patience.timeout_s)
        with response:
            if response.status_code != 200:
                refuse(name, response.status_code)
            length = response.headers.get("Content-Length", "")
            body = Body(response, 0, int(length) if length.isdecimal() else UNKNOWN_END, patience)
            pieces = b"".join(iter(lambda: body.read(CHUNK_BYTES) if body.position <= max_bytes else b"", b""))
        if len(pieces) > max_bytes:
            raise OSError(f"{name}: more than {max_bytes} bytes; check the address")
        return pieces

    with open_session(timeout_s=patience.timeout_s) as session:
        while True:
            data = tries.attempt(step)
            if data is not None:
                return data


def open_session(*, timeout_s: float) -> requests.Session:
    """A session with a deadline for headers, at most MAX_REDIRECTS, and no retries of its own."""
    # urllib3 logs addresses as they are, with the passwords and tokens in them.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    session = requests.Session()
    session.max_redirects = MAX_REDIRECTS
    session.headers["User-Agent"] = f"shardmill/{_own_version()}"
    adapter = _DeadlineAdapter(timeout_s)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _HeaderDeadline:
    """Mixed into a connection: shuts its socket down where a header is not complete in time.

    A socket's timeout starts anew with every byte, so a header that trickles would hold us for hours.
    """

    header_deadline_s: float
    sock: Any

    def getresponse(self) -> Any:
        late = threading.Event()

        def give_up(sock: socket.socket) -> None:
            late.set()
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.header_deadline_s, give_up, (self.sock,))
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]  # of the connection this is mixed into
        finally:
            timer.cancel()
            if late.is_set():  # whatever came: http.client takes a header that breaks off for a complete one
                raise TimeoutError(f"no complete header within {self.header_deadline_s:g} s")


class _DeadlineAdapter(HTTPAdapter):
    """Gives every pool of a session connections with a header deadline."""

    def __init__(self, timeout_s: float) -> None:
        self._pools = _pools_with_deadline(timeout_s)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # those need connections of their own kind
            manager.pool_classes_by_scheme = self._pools
        return manager


def _pools_with_deadline(timeout_s: float) -> dict[str, type[HTTPConnectionPool]]:
    class PlainConnection(_HeaderDeadline, HTTPConnection):
        header_deadline_s = timeout_s

    class SecureConnection(_HeaderDeadline, HTTPSConnection):
        header_deadline_s = timeout_s

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": PlainPool, "https": SecurePool}


def _own_version() -> str:
    try:
        return version("shardmill")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"


def _seconds_to_wait(headers: Mapping[str, str]) -> float:
    """Retry-After in seconds; 0 where the server says nothing that can be read."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those it was made from; the libraries keep them as arguments."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None)):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _describe(error: BaseException, timeout_s: float) -> str:
    """What went wrong, in words of our own: the libraries' messages repeat the address."""
    causes = list(_causes(error))
    if any(isinstance(one, urllib3.exceptions.NameResolutionError) for one in causes):
        return "the host's name cannot be resolved"
    if any(isinstance(one, urllib3.exceptions.NewConnectionError) for one in causes):
        return "the host refuses the connection"
    if any(isinstance(one, (TimeoutError, urllib3.exceptions.TimeoutError)) for one in causes):
        return f"no answer within {timeout_s:g} s"
    return "the connection broke off"
