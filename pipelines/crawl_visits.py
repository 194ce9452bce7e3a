"""One visit: a URL in, its page or the reason for having none out; every hop asks robots.txt, gate and guard again.

The rule: no request leaves this module without having passed, for its own host, the address guard, the host's gate
and (robots.txt itself apart) the host's robots.txt. That holds for redirects as it does for the first request.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from corpora.urls import redact_credentials
from pipelines.crawl_addresses import Resolver, Target, follow, parse_target, site_of
from pipelines.crawl_http import PAGES, Answer, Limits, ask, make_tls
from pipelines.crawl_outcomes import FETCHED, FetchError, Outcome
from pipelines.crawl_politeness import HostGates
from pipelines.crawl_robots import REDIRECTS, RobotsCache, is_allowed
from pipelines.crawl_settings import FetchSettings

_BUSY = frozenset({429, 503})
_log = logging.getLogger(__name__)


class Visit(NamedTuple):
    """How a visit ended, before anything of it is on disk."""

    outcome: Outcome
    answer: Answer | None  # of a fetched page


class _Budget:
    """The time that all requests for one URL may take together; waiting for a host's turn costs nothing."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds


class Visitor:
    """Visits URLs for as long as a crawl lasts; shared by all of its hosts, within one event loop."""

    def __init__(self, settings: FetchSettings, gates: HostGates, resolver: Resolver) -> None:
        self._settings = settings
        self._gates = gates
        self._resolver = resolver
        self._tls = make_tls(settings)
        self._robots = RobotsCache(self._ask_for_robots, settings)
        self._pages = Limits(settings.body_bytes, settings.header_bytes, settings.media_types)
        self._rules = Limits(settings.robots_bytes, settings.header_bytes)

    async def visit(self, url: str, leave: Callable[[], None] = lambda: None) -> Visit:
        """Fetches a page; calls `leave` once the URL's own host is not needed any more."""
        at: list[Target] = []  # where we are, also after an error
        try:
            answer = await self._follow(url, at, leave)
        except FetchError as error:
            return Visit(_outcome(url, at, error.reason, error.status, detail=error.detail), None)
        except Exception as error:  # noqa: BLE001  # one odd page must not end a crawl of millions; it is counted
            # The message could hold the address with its credentials.
            _log.warning("fetch error=%s host=%s; please report it", type(error).__name__, at[-1].host if at else "")
            return Visit(_outcome(url, at, "fetch_error", detail=type(error).__name__), None)
        detail = f"cut after {len(answer.body)} bytes" if answer.is_truncated else ""
        return Visit(_outcome(url, at, FETCHED, answer.status, len(answer.body), detail), answer)

    async def _follow(self, url: str, at: list[Target], leave: Callable[[], None]) -> Answer:
        at.append(parse_target(url))
        budget = _Budget(self._settings.deadline_s)
        for _ in range(self._settings.max_redirects + 1):
            target = at[-1]
            await self._check_robots(target)
            answer = await self._ask(target, accept=PAGES, limits=self._pages, budget=budget)
            location = answer.header("location")
            if answer.status in REDIRECTS and location:
                at.append(follow(target, location))
                if site_of(at[-1].host) != site_of(at[0].host):
                    leave()
                continue
            if not 200 <= answer.status < 300:
                raise FetchError("http_status", f"the server answers {answer.status}", status=answer.status)
            return answer
        raise FetchError("redirect_limit", f"more than {self._settings.max_redirects} redirects", status=answer.status)

    async def _check_robots(self, target: Target) -> None:
        rules = await self._robots.rules_for(target)
        if not is_allowed(rules, target.url):
            raise FetchError("robots_disallowed", "")
        limit_s = self._settings.max_crawl_delay_s
        if rules.delay_s > max(limit_s, self._settings.delay_s):
            raise FetchError("crawl_delay", f"{rules.delay_s:g} s between pages (limit {limit_s:g})")
        gate = self._gates.gate(site_of(target.host))
        gate.delay_s = max(gate.delay_s, rules.delay_s)

    async def _ask_for_robots(self, target: Target) -> Answer:
        budget = _Budget(self._settings.deadline_s)
        return await self._ask(target, accept="text/plain,*/*;q=0.1", limits=self._rules, budget=budget)

    async def _ask(self, target: Target, *, accept: str, limits: Limits, budget: _Budget) -> Answer:
        """One request, again after what may get better."""
        site = site_of(target.host)
        retries = self._settings.retries
        for attempt in range(retries + 1):
            wait_s = self._settings.backoff_s * 2**attempt
            try:
                answer = await self._ask_once(target, accept, limits, budget)
            except FetchError as error:
                if not error.retry or attempt == retries:
                    raise
                await asyncio.sleep(wait_s)
                continue
            if answer.status not in _BUSY:
                return answer
            asked_s = seconds_to_wait(answer.header("retry-after"))
            self._gates.close_for(site, max(asked_s, wait_s))  # for its other pages, too
            limit_s = self._settings.max_retry_after_s
            if asked_s > limit_s:
                words = f"answers {answer.status} and asks to wait {asked_s:.0f} s (limit {limit_s:g})"
                raise FetchError("retry_after", f"the server {words}", status=answer.status)
        return answer

    async def _ask_once(self, target: Target, accept: str, limits: Limits, budget: _Budget) -> Answer:
        addresses = await self._resolver.addresses(target.host)
        site = site_of(target.host)
        gate = self._gates.gate(site)
        async with self._gates.visit(site):
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(budget.left_s, 0.0)):
                    answer = await ask(
                        target, addresses, accept=accept, limits=limits, settings=self._settings, tls=self._tls
                    )
            except TimeoutError:
                gate.n_failures += 1
                words = f"no whole answer within {self._settings.deadline_s:g} s"
                raise FetchError("timeout", words) from None
            except FetchError as error:
                gate.n_failures = gate.n_failures + 1 if error.silent else 0
                raise
            finally:
                budget.left_s -= time.monotonic() - began
            gate.n_failures = 0
            return answer


def _outcome(url: str, at: list[Target], outcome: str, status: int = 0, n_bytes: int = 0, detail: str = "") -> Outcome:
    final_url = redact_credentials(at[-1].url if at else url)
    fetched_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Outcome(outcome, status, final_url, n_bytes, "", None, None, fetched_at, detail)


def seconds_to_wait(retry_after: str) -> float:
    """Retry-After, in seconds or as a date; 0 where it says nothing that can be read.

    >>> seconds_to_wait("120"), seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT"), seconds_to_wait("soon")
    (120.0, 0.0, 0.0)
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0
