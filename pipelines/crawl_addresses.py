"""Where a request may go: a URL in, a host and the public addresses it stands for out.

The rule: a request goes to an address that was checked here, and to no name. Whatever a host is called, and whatever
its DNS says a moment later, nothing but public unicast addresses is ever connected to, at any hop, unless the caller
allowed a network by name. URLs are taken apart once, here, so that no two parsers can disagree about the host.
"""

import asyncio
import ipaddress
import queue
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import idna

from pipelines.crawl_outcomes import FetchError

MAX_URL_CHARS = 8_192
_PORTS = {"http": 80, "https": 443}
_DROPPED = re.compile("[\t\r\n]")  # WHATWG: left out wherever they stand
_PATH_SAFE = "!#$%&'()*+,/:;=?@[]~-._"  # stays as written; all else is percent-encoded as UTF-8
_LABELS = re.compile(
    r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")

_RESOLVE_TIMEOUT_S = 15.0
_RESOLVE_AGAIN_S = 1.0
_RESOLVERS = 64  # threads; most of the time they wait
_KEEP_S, _KEEP_FAILED_S, _KEEP_HOSTS = 300.0, 60.0, 50_000
_MAX_ADDRESSES = 3  # of one host are tried

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out for unicast
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Not public whatever the library's tables say: older ones miss some of these.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4",
        "168.63.129.16/32",  # a cloud's metadata service on an address that looks public
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip


class Target(NamedTuple):
    """A URL that can be asked for, in the pieces that a request is made of."""

    scheme: str  # http or https
    host: str  # ASCII, lower case; an IPv6 address without brackets
    port: int
    path: str  # with the query; ASCII, begins with a slash

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port, as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_target(url: str) -> Target:
    """The URL's target, without fragment, user and password; FetchError `bad_url` where it cannot be asked for.

    >>> parse_target("HTTP://joe:pw@Bücher.example:80/a b?q=ü#top").url
    'http://xn--bcher-kva.example/a%20b?q=%C3%BC'
    """
    url = _DROPPED.sub("", url).strip("".join(map(chr, range(33)))).partition("#")[0]
    if len(url) > MAX_URL_CHARS:
        raise FetchError("bad_url", f"an address of more than {MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise FetchError("bad_url", "an address that cannot be taken apart") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise FetchError("bad_url", "only http and https are asked for")
    # Browsers take \ for /, some parsers take it for part of a name: nobody means it.
    if "\\" in parts.netloc or "%" in parts.netloc.rpartition("@")[2]:
        raise FetchError("bad_url", "a host name with characters that no name has")
    host = _read_host(parts.hostname or "")
    port = _PORTS[scheme] if port is None else port
    if port == 0 or (port < 1024 and port not in _PORTS.values()):
        raise FetchError("bad_url", f"port {port} belongs to something other than web servers")
    path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_PATH_SAFE, errors="replace")
    return Target(scheme, host, port, path if path.startswith("/") else f"/{path}")


def follow(target: Target, location: str) -> Target:
    """Where a redirect leads; FetchError `bad_url` where that cannot be asked for."""
    with suppress(UnicodeError):  # headers are bytes; the ones beyond ASCII are nearly always UTF-8
        location = location.encode("latin-1").decode("utf-8")
    try:
        joined = urljoin(target.url, _DROPPED.sub("", location).strip())
    except ValueError:
        raise FetchError("bad_url", "redirected to an address that cannot be taken apart") from None
    try:
        return parse_target(joined)
    except FetchError as error:
        raise FetchError("bad_url", f"redirected: {error.detail}") from None


def site_of(host: str) -> str:
    """What shares one delay and one partition: the host name, with or without `www.`."""
    return host.removeprefix("www.") if host.count(".") > 1 else host


def _read_host(host: str) -> str:
    """The host in the one form that it is resolved, checked and named in."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise FetchError("bad_url", "the host is no IPv6 address") from None
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise FetchError("bad_url", "the host is no name that DNS can hold") from None
    host = host.lower().rstrip(".")
    if not _LABELS.fullmatch(host):
        raise FetchError("bad_url", "the host is no name that DNS can hold" if host else "there is no host")
    if _NUMERIC.fullmatch(host.rpartition(".")[2]):
        # 127.1, 0x7f000001, 2130706433, 0177.0.0.1: one parser, the strictest reading of what C libraries accept.
        try:
            return str(ipaddress.IPv4Address(socket.inet_aton(host)))
        except OSError:
            raise FetchError("bad_url", "the host is a number but no address") from None
    return host


def why_refused(address: Address) -> str:
    """Why an address may not be visited; "" where it may.

    >>> why_refused(ipaddress.ip_address("::ffff:10.0.0.1")), why_refused(ipaddress.ip_address("8.8.8.8"))
    ('not a public address', '')
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return why_refused(address.ipv4_mapped)
        if address in _NAT64:  # a gateway that turns it into the IPv4 address in its last four bytes
            return why_refused(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_IPV6 or address.scope_id:
            return "not a public address"
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return "not a public address"
    if any(address in network for network in _REFUSED if network.version == address.version):
        return "not a public address"
    return ""


def _settle(answer: "asyncio.Future[list[str]]", result: list[str] | Exception) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


class Resolver:
    """Names to addresses that may be visited; remembers for a while, so that a host is not looked up for every page."""

    def __init__(self, *, hosts: Iterable[tuple[str, str]] = (), allow_addresses: Iterable[str] = ()) -> None:
        self._hosts: dict[str, list[str]] = {}
        for name, address in hosts:
            self._hosts.setdefault(name, []).append(address)
        self._allowed = tuple(ipaddress.ip_network(network) for network in allow_addresses)
        self._queue: queue.SimpleQueue[tuple[str, asyncio.Future[list[str]]] | None] = queue.SimpleQueue()
        self._n_threads = 0
        self._known: OrderedDict[str, tuple[float, list[str] | FetchError]] = OrderedDict()

    def close(self) -> None:
        for _ in range(self._n_threads):
            self._queue.put(None)

    async def addresses(self, host: str) -> list[str]:
        """Addresses to connect to, as text; FetchError `dns` or `refused_address`."""
        known = self._known.get(host)
        if known is None or known[0] < time.monotonic():
            try:
                found: list[str] | FetchError = self._check(await self._look_up(host))
            except FetchError as error:
                found = error
            keep_s = _KEEP_FAILED_S if isinstance(found, FetchError) else _KEEP_S
            # Failures as well: a host of many pages whose name server is silent would hold us up for each.
            known = self._known[host] = (time.monotonic() + keep_s, found)
            if len(self._known) > _KEEP_HOSTS:
                self._known.popitem(last=False)
        kept = known[1]
        if isinstance(kept, FetchError):
            raise FetchError(kept.reason, kept.detail)  # a fresh one: each remembers where it was raised
        return kept

    async def _look_up(self, host: str) -> list[str]:
        if host in self._hosts:
            return self._hosts[host]
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        if self._n_threads < _RESOLVERS:
            self._n_threads += 1
            # Daemons: the system's resolver cannot be interrupted, and a crawl that is stopped does not wait for it.
            threading.Thread(target=self._serve, name="resolve", daemon=True).start()
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._queue.put((host, answer))
        try:
            async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
                rows = await answer
        except TimeoutError:
            raise FetchError("dns", f"no answer from the name server within {_RESOLVE_TIMEOUT_S:g} s") from None
        except (OSError, UnicodeError):
            raise FetchError("dns", "the name cannot be resolved") from None
        return list(dict.fromkeys(rows))

    def _serve(self) -> None:
        while (question := self._queue.get()) is not None:
            host, answer = question
            if answer.cancelled():  # nobody waits for it any more
                continue
            try:
                result: list[str] | Exception = self.ask_system(host)
            except (OSError, UnicodeError) as error:
                result = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                answer.get_loop().call_soon_threadsafe(_settle, answer, result)

    @staticmethod
    def ask_system(host: str) -> list[str]:
        """Addresses by the system's resolver, asked again where it had no answer; OSError where there are none."""
        try:
            rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno != socket.EAI_AGAIN:
                raise
            time.sleep(_RESOLVE_AGAIN_S)
            rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [str(row[4][0]) for row in rows]

    def _check(self, found: list[str]) -> list[str]:
        good: list[str] = []
        why = "the name has no address"
        for text in found:
            address = ipaddress.ip_address(text)
            allowed = any(address in network for network in self._allowed if network.version == address.version)
            refused = "" if allowed else why_refused(address)
            if not refused:
                good.append(text)
            else:
                why = f"{text} is {refused}"
        if found and not good:
            raise FetchError("refused_address", why)
        if not good:
            raise FetchError("dns", why)
        return good[:_MAX_ADDRESSES]
