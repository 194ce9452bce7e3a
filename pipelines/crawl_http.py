"""One HTTP/1.1 request to one checked address: a target in, the answer's very bytes out, within bounds.

The rule: no server decides how long we wait or how much we hold. Headers and body are capped, interim answers are
counted with the headers, and the caller's deadline covers everything from connecting to the last byte. The socket is
opened to an address, never to a name; TLS is checked against the name. No proxy, no cookie, no credential.
"""

import asyncio
import ipaddress
import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple

import h11

from pipelines.crawl_addresses import Target
from pipelines.crawl_outcomes import FetchError
from pipelines.crawl_settings import FetchSettings, user_agent

PAGES = "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1"
_READ_BYTES = 1 << 16
_MAX_PIECES = 20_000  # of a body; parsing millions of one-byte chunks would hold up every other host
_NOT_OF_TYPES = re.compile(r"[^a-z0-9/+.-]")


class Answer(NamedTuple):
    """A final response as it came over the wire; interim ones (100, 103) are left out."""

    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case
    raw: bytes  # status line, headers, body; chunks and content encoding as sent
    head_bytes: int  # of `raw` that are status line and headers
    is_truncated: bool  # whether the body was cut at the limit
    address: str  # that answered

    @property
    def body(self) -> memoryview:
        return memoryview(self.raw)[self.head_bytes :]

    def header(self, name: str) -> str:
        """Value of the first header of that name, "" for none."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer may take."""

    body_bytes: int
    header_bytes: int
    media_types: tuple[str, ...] = ()  # of a successful answer, its beginning; () takes all


def make_tls(settings: FetchSettings) -> ssl.SSLContext:
    """Verifies certificate and name; trusts the system's authorities, or those of `ca_file`."""
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def ask(
    target: Target, addresses: list[str], *, accept: str, limits: Limits, settings: FetchSettings, tls: ssl.SSLContext
) -> Answer:
    """The answer to one GET; FetchError where there is none. The caller sets the deadline."""
    reader, writer, address = await _connect(target, addresses, settings.connect_timeout_s, tls)
    try:
        connection = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=limits.header_bytes)
        headers = [
            ("Host", target.authority),
            ("User-Agent", user_agent(settings)),
            ("Accept", accept),
            ("Accept-Encoding", "gzip"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=target.path, headers=headers)
        writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
        return await _Receiver(connection, reader, limits, address).receive()
    except ssl.SSLError as error:
        raise FetchError("tls", f"the secure connection broke: {error.reason}", retry=True) from None
    except (ConnectionError, asyncio.IncompleteReadError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise FetchError("connection", "the connection broke off", retry=True, silent=True) from None
    finally:
        writer.transport.abort()


async def _connect(
    target: Target, addresses: list[str], timeout_s: float, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    secure = target.scheme == "https"
    trouble: FetchError | None = None
    for address in addresses:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    address,
                    target.port,
                    limit=_READ_BYTES,
                    ssl=tls if secure else None,
                    server_hostname=target.host if secure else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise FetchError("tls", f"the certificate does not hold: {error.verify_message}", silent=True) from None
        except ssl.SSLError as error:
            raise FetchError("tls", f"no secure connection: {error.reason}", silent=True) from None
        except TimeoutError:
            trouble = FetchError("timeout", f"no connection within {timeout_s:g} s", retry=True, silent=True)
        except OSError as error:
            words = "is refused" if isinstance(error, ConnectionRefusedError) else "cannot be made"
            trouble = FetchError("connection", f"the connection {words}", retry=True, silent=True)
        else:
            # What was checked is what we talk to; anything else would be a bug here or a proxy in between.
            peer = writer.get_extra_info("peername")
            if not peer or ipaddress.ip_address(peer[0]) != ipaddress.ip_address(address):
                writer.transport.abort()
                raise FetchError("refused_address", "connected to another address than the one checked")
            return reader, writer, address
    assert trouble is not None
    raise trouble


class _Receiver:
    """Feeds the socket to h11 and keeps the bytes as they came."""

    def __init__(self, connection: h11.Connection, reader: asyncio.StreamReader, limits: Limits, address: str) -> None:
        self._connection = connection
        self._reader = reader
        self._limits = limits
        self._address = address
        self._raw = bytearray()
        self._first = 0  # where the final response starts
        self._head_end = 0  # 0 until it is there
        self._n_pieces = 0
        self._ended = False
        self._head: h11.Response | None = None

    async def receive(self) -> Answer:
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                if self._ended:
                    raise FetchError("connection", "the answer broke off", retry=True, silent=not self._head) from None
                # What follows the colon is the server's own words.
                words = str(error).partition(":")[0][:100]
                raise FetchError("bad_response", f"no valid HTTP: {words}", status=self._status) from None
            if event is h11.NEED_DATA:
                if self._head and len(self._raw) - self._head_end > self._limits.body_bytes:
                    return self._finish(self._head_end + self._limits.body_bytes, is_truncated=True)
                await self._read()
            elif isinstance(event, h11.InformationalResponse):
                self._first = self._place()
                # Otherwise a server could send interim answers for ever.
                if self._first > self._limits.header_bytes:
                    raise FetchError("bad_response", "too many interim answers")
            elif isinstance(event, h11.Response):
                self._head, self._head_end = event, self._place()
                self._check_media_type()
            elif isinstance(event, h11.EndOfMessage):
                return self._finish(self._place(), is_truncated=False)
            elif isinstance(event, h11.Data):
                self._n_pieces += 1
                if self._n_pieces > _MAX_PIECES:
                    raise FetchError("bad_response", f"a body of more than {_MAX_PIECES:,} chunks", status=self._status)
            else:  # closed before it began, or switched to another protocol
                raise FetchError("connection", "closed without an answer", retry=True, silent=True)

    @property
    def _status(self) -> int:
        return self._head.status_code if self._head else 0

    def _place(self) -> int:
        """Where in the bytes received h11 stands."""
        return len(self._raw) - len(self._connection.trailing_data[0])

    async def _read(self) -> None:
        data = await self._reader.read(_READ_BYTES)
        self._ended = not data
        self._raw += data
        self._connection.receive_data(data)

    def _check_media_type(self) -> None:
        """Stops before the body of an image or a film is sent; what does not say its type is taken."""
        assert self._head is not None
        declared = dict(_plain(self._head)).get("content-type", "").lower().strip()
        wanted = self._limits.media_types
        if wanted and declared and 200 <= self._status < 300 and not declared.startswith(wanted):
            media_type = _NOT_OF_TYPES.sub("", declared.partition(";")[0])[:100]
            raise FetchError("media_type", media_type, status=self._status)

    def _finish(self, end: int, *, is_truncated: bool) -> Answer:
        assert self._head is not None
        end = min(end, self._head_end + self._limits.body_bytes)
        is_truncated = is_truncated or end < self._place()
        raw = bytes(memoryview(self._raw)[self._first : end])
        return Answer(
            self._status, _plain(self._head), raw, self._head_end - self._first, is_truncated, self._address
        )  # fmt: skip


def _plain(head: h11.Response) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
