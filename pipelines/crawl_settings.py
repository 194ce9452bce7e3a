"""What a crawl is told: who asks, how politely, how much at most. One frozen value, checked once.

Nothing here has a default that is impolite: the contact has none at all, and who wants to go faster than one request
a second and host has to say so.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

PRODUCT = "shardmill"  # the name that robots.txt files know us by
MIB = 1 << 20

_CONTACT = re.compile(r"(?:https?://[^\s()<>\"@]+\.[^\s()<>\"@]+|[^\s()<>\"@/:]+@[^\s()<>\"@/:]+\.[^\s()<>\"@/:]+)")
_HOST_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
NO_CONTACT = (
    "a crawl needs a contact that the owners of the visited sites can write to: say --fetch-contact with an e-mail"
    " address or the URL of a page about your crawl"
)


class FetchTask(NamedTuple):
    """One URL to fetch, and what its outcome is found again by."""

    url: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchSettings:
    """How a crawl behaves; times in seconds, sizes in bytes."""

    contact: str  # an e-mail address or a URL; sent with every request
    delay_s: float = 1.0  # from the end of a host's last answer to the next request
    n_connections: int = 128  # at the same time, of one worker process
    deadline_s: float = 30.0  # of all requests for one URL together, waiting for a host's turn not counted
    connect_timeout_s: float = 10.0
    body_bytes: int = 8 * MIB  # as sent; what is longer is cut there and marked
    header_bytes: int = 64 << 10
    max_redirects: int = 5
    robots_bytes: int = 500 << 10  # RFC 9309 2.5 asks for at least so many
    robots_expiry_s: float = 86_400.0  # RFC 9309 2.4: no longer than a day
    max_crawl_delay_s: float = 60.0  # a host whose robots.txt asks for more is left alone
    max_retry_after_s: float = 300.0  # a host that asks for more is left alone
    retries: int = 2  # of one request, after a broken connection, 429 or 503
    backoff_s: float = 1.0  # before the first of them; doubles
    max_host_failures: int = 10  # in a row without an answer; then the host's other URLs are not asked for
    media_types: tuple[str, ...] = ("text/html", "text/plain", "application/xhtml+xml")  # beginnings; () takes all
    warc_bytes: int = 1 << 30  # at which the next file is begun
    n_partitions: int = 0  # 0: one for every 20,000 URLs, at most 256
    hosts: tuple[tuple[str, str], ...] = ()  # (name, address): resolved so, not by DNS
    allow_addresses: tuple[str, ...] = ()  # networks that are not public but may be visited
    ca_file: str = ""  # certificates to trust instead of the system's

    def __post_init__(self) -> None:
        if not _CONTACT.fullmatch(self.contact):
            raise ValueError(NO_CONTACT if not self.contact else f"contact {self.contact!r}: {NO_CONTACT}")
        for name in ("deadline_s", "connect_timeout_s", "body_bytes", "header_bytes", "robots_bytes", "n_connections",
                     "warc_bytes", "max_host_failures"):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("delay_s", "max_redirects", "max_crawl_delay_s", "max_retry_after_s", "retries", "backoff_s",
                     "robots_expiry_s", "n_partitions"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be negative")
        for network in self.allow_addresses:
            ipaddress.ip_network(network)  # ValueError names what is wrong with it
        for name, address in self.hosts:
            ipaddress.ip_address(address)
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no host name in ASCII and lower case")


def user_agent(settings: FetchSettings) -> str:
    """How we introduce ourselves: "shardmill/0.1.0 (+ops@example.org)"."""
    return f"{PRODUCT}/{own_version()} (+{settings.contact})"


@cache
def own_version() -> str:
    """Version of the installed distribution; "0" in a checkout that is not installed."""
    try:
        return version("shardmill")
    except PackageNotFoundError:
        return "0"


def read_hosts_file(path: str) -> tuple[tuple[str, str], ...]:
    """(name, address) pairs of a file in the form of /etc/hosts; ValueError names the line that is wrong."""
    pairs = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--fetch-hosts-file {path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].lower().split()
        if not words:
            continue
        try:
            ipaddress.ip_address(words[0])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; lines read ADDRESS NAME [NAME ...]") from error
        if len(words) == 1 or not all(_HOST_NAME.fullmatch(name) for name in words[1:]):
            raise ValueError(f"{path}, line {number}: no host name after the address; lines read ADDRESS NAME ...")
        pairs += [(name, words[0]) for name in words[1:]]
    return tuple(pairs)
