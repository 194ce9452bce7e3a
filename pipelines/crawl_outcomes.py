"""How the visit to a URL can end: exactly one outcome a task, each with a sentence for people.

`fetched` says that a record lies in a WARC file; every other outcome is the reason why none does.
"""

from typing import NamedTuple

import pyarrow as pa

FETCHED = "fetched"
OUTCOMES: dict[str, str] = {
    FETCHED: "The page was fetched and lies in a WARC file.",
    "bad_url": "The address, or one it leads to, cannot be asked for over HTTP.",
    "robots_disallowed": "The host's robots.txt forbids the page.",
    "robots_unreachable": "The host's robots.txt could not be had, which forbids all of its pages (RFC 9309).",
    "crawl_delay": "The host's robots.txt asks for a longer delay than the limit.",
    "retry_after": "The host asked to come back later than the limit.",
    "dns": "The host's name has no address.",
    "refused_address": "The host's address is not on the public Internet.",
    "connection": "The connection was refused or broke off.",
    "tls": "No secure connection: the certificate or the handshake is wrong.",
    "timeout": "The answer took longer than the deadline.",
    "bad_response": "The answer is not HTTP, or its headers are larger than the limit.",
    "http_status": "The server answered with something other than success.",
    "redirect_limit": "The page redirects more often than the limit.",
    "media_type": "The page is of a kind that was not asked for, such as an image.",
    "host_down": "The host gave no answer so often that it was given up.",
    "fetch_error": "Fetching the page ended in an error of ours.",
}

OUTCOME_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),  # credentials removed
        pa.field("key", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),  # one of OUTCOMES
        pa.field("status", pa.int16(), nullable=False),  # of the last answer; 0 for none
        pa.field("final_url", pa.string(), nullable=False),  # that was asked for last, credentials removed
        pa.field("n_bytes", pa.int64(), nullable=False),  # of the body, as sent
        pa.field("warc", pa.string(), nullable=False),  # name of the file beside this one; "" for none
        pa.field("offset", pa.int64()),  # of the record in it
        pa.field("length", pa.int64()),  # of the record, compressed
        pa.field("fetched_at", pa.string(), nullable=False),  # "2026-11-25T17:06:02Z"
        pa.field("detail", pa.string(), nullable=False),
    ]
)


class Outcome(NamedTuple):
    """How one visit ended; the fields that a journal keeps, in its order."""

    outcome: str
    status: int
    final_url: str  # credentials removed
    n_bytes: int
    warc: str
    offset: int | None
    length: int | None
    fetched_at: str
    detail: str


class FetchError(Exception):
    """A visit that ends without a page; never leaves the crawler's modules."""

    def __init__(self, reason: str, detail: str, *, status: int = 0, retry: bool = False, silent: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        assert reason in OUTCOMES
        self.reason = reason
        self.detail = detail
        self.status = status
        self.retry = retry  # whether it may get better by itself
        self.silent = silent  # whether the host gave no answer at all
