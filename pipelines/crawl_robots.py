"""robots.txt as RFC 9309 has it: what a host lets us fetch, and how slowly.

The rule: where it cannot be told what a host allows, nothing is allowed. 2xx is read, at most 500 KiB of it; 4xx means
that there are no rules, except 429, which says "not now" like 5xx does; 5xx and no answer forbid all. A file is asked
for once per scheme, host and port, and kept for a day.
"""

import asyncio
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from protego import Protego

from corpora.payloads import Unreadable, undo_transfer
from pipelines.crawl_addresses import Target, follow
from pipelines.crawl_http import Answer
from pipelines.crawl_outcomes import FetchError
from pipelines.crawl_settings import PRODUCT, FetchSettings

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5  # RFC 9309 2.3.1.2
_KEEP_FAILED_S = 600.0
_KEEP_CHARS = 8 << 20  # of all files that are kept; parsed, they take ten times the memory
_AGENT_LINE = re.compile(r"\s*user[- ]?agent\s*[:\s]\s*([^#]*)", re.IGNORECASE)
# These keep their own reason: the host was never reached, so its robots.txt is not what is wrong.
_UNREACHED = frozenset({"dns", "refused_address", "tls", "connection", "bad_url", "host_down", "retry_after"})


class Rules(NamedTuple):
    """What a robots.txt says to us."""

    parsed: Protego | None  # None where there are no rules
    delay_s: float  # Crawl-delay; 0 for none
    n_chars: int


_NO_RULES = Rules(None, 0.0, 0)


def parse_rules(body: bytes) -> Rules:
    """The rules for us in a robots.txt; whatever else stands there is passed over.

    >>> is_allowed(parse_rules(b"User-agent: *\\nDisallow: /private"), "http://a.example/private/1")
    False
    """
    # Cut at the limit, a last line may say something else than it was meant to: "Disallow: /" of "Disallow: /tmp".
    text = _keep_our_groups(body.decode("utf-8-sig", "replace"))
    parsed = Protego.parse(text)
    return Rules(parsed, float(parsed.crawl_delay(PRODUCT) or 0.0), len(text))


def is_allowed(rules: Rules, url: str) -> bool:
    return rules.parsed is None or bool(rules.parsed.can_fetch(url, PRODUCT))


def _keep_our_groups(text: str) -> str:
    """Other crawlers' groups are made one: the parser keeps every rule once per agent, 500 KiB could be 10^8 rules."""
    lines = []
    for line in text.splitlines():
        found = _AGENT_LINE.match(line)
        if found:
            name = found[1].strip().lower()
            ours = name == "*" or name.rstrip("*").partition("/")[0].strip() == PRODUCT
            line = f"User-agent: {('*' if name == '*' else PRODUCT) if ours else 'somebody-else'}"
        lines.append(line)
    return "\n".join(lines)


class RobotsCache:
    """Asks for each robots.txt once, however many pages wait for it."""

    def __init__(self, ask: Callable[[Target], Awaitable[Answer]], settings: FetchSettings) -> None:
        self._ask = ask  # polite, with retries; raises FetchError
        self._settings = settings
        self._kept: OrderedDict[str, tuple[float, Rules | FetchError]] = OrderedDict()
        self._n_chars = 0
        self._coming: dict[str, asyncio.Future[None]] = {}

    async def rules_for(self, target: Target) -> Rules:
        """The rules of the target's host; FetchError where nothing may be fetched there."""
        site = f"{target.scheme}://{target.authority}"
        while True:
            kept = self._kept.get(site)
            if kept and kept[0] > time.monotonic():
                self._kept.move_to_end(site)
                if isinstance(kept[1], FetchError):
                    raise FetchError(kept[1].reason, kept[1].detail, status=kept[1].status)
                return kept[1]
            if site in self._coming:
                await asyncio.shield(self._coming[site])
                continue
            await self._load(site, target)

    async def _load(self, site: str, target: Target) -> None:
        done = self._coming[site] = asyncio.get_running_loop().create_future()
        try:
            found = await self._look(target._replace(path="/robots.txt"))
            expiry_s = self._settings.robots_expiry_s
            if isinstance(found, FetchError):
                expiry_s = min(expiry_s, _KEEP_FAILED_S)
            # At least long enough for those who wait for it now.
            self._keep(site, time.monotonic() + max(expiry_s, 1.0), found)
        finally:
            del self._coming[site]
            done.set_result(None)

    def _keep(self, site: str, until: float, found: Rules | FetchError) -> None:
        before = self._kept.pop(site, None)
        self._kept[site] = (until, found)
        self._n_chars += _size(found) - (_size(before[1]) if before else 0)
        while self._n_chars > _KEEP_CHARS and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self._n_chars -= _size(gone)

    async def _look(self, target: Target) -> Rules | FetchError:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._ask(target)
                location = answer.header("location")
                if answer.status in REDIRECTS and location:
                    target = follow(target, location)
                    continue
                return self._read(answer)
        except FetchError as error:
            if error.reason in _UNREACHED:
                return FetchError(error.reason, f"robots.txt: {error.detail}", status=error.status)
            return FetchError("robots_unreachable", f"{error.reason}: {error.detail}", status=error.status)
        return _NO_RULES  # RFC 9309 2.3.1.2: after five redirects there is none

    def _read(self, answer: Answer) -> Rules | FetchError:
        status = answer.status
        if 200 <= status < 300:
            return parse_rules(unpack(answer, self._settings.robots_bytes))
        if status == 429 or not 400 <= status < 500:
            return FetchError("robots_unreachable", f"the server answers {status}", status=status)
        return _NO_RULES


def _size(found: Rules | FetchError) -> int:
    return 1_000 + (found.n_chars if isinstance(found, Rules) else 0)


def unpack(answer: Answer, max_bytes: int) -> bytes:
    """The first `max_bytes` of a body without chunks and gzip; what cannot be unpacked ends there."""
    body = undo_transfer(answer.body, answer.header("transfer-encoding"), len(answer.body) + 1)
    if isinstance(body, Unreadable):
        return b""
    data = bytes(body)
    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, max_bytes)
        except zlib.error:
            return b""
    return _whole_lines(data, max_bytes)


def _whole_lines(data: bytes, max_bytes: int) -> bytes:
    if len(data) < max_bytes:
        return data
    data = data[:max_bytes]
    return data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]
