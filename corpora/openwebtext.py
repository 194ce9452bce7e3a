"""OpenWebText as facts and rules: which links of Reddit become its URLs, and how their pages are judged.

In goes a submission, out comes a `Link` worth fetching or a `Refusal` with its reason. The rule: a variant is settings
and nothing else, and no credential of a URL is ever kept.

The sources. WebText (Radford et al. 2019, 2.1): outbound links of Reddit with at least 3 karma, none after December
2017, Wikipedia left out; 8 million documents, 40 GB. OpenWebText (Gokaslan and Cohen 2019) rebuilt it with public code;
RoBERTa used that copy (Liu et al. 2019, 3.2: 38 GB). In that code submissions marked over_18 are left out, as are
hosts and file endings on a list; ours are in `corpora.link_lists`.

What a link is lost for, in this order, the first that holds: no_link, self_post, no_score, low_score, adults_only,
removed_post, too_new, bad_url, secret_url, wikipedia, excluded_host, excluded_ending, url_too_long.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from corpora import ccnews
from corpora.link_lists import ADULT, APPS_AND_FILES, ENDINGS, FORUMS, MEDIA, SHOPS_AND_TOOLS, WIKIPEDIA
from corpora.processing import ProcessingSettings
from corpora.submissions import Submission
from corpora.targets import PublishedTargets
from corpora.urls import REDACTED, canonical_url, redact_credentials

__all__ = [
    "SHOWN_REASONS",
    "TARGETS",
    "VARIANTS",
    "Link",
    "Refusal",
    "UrlRules",
    "Variant",
    "bounded",
    "make_judge",
    "page_key",
]

TARGETS = PublishedTargets(
    documents=8_013_769, gib=38.0, mean_bytes=5_100.0, source="Gokaslan and Cohen 2019; Liu et al. 2019, section 3.2"
)
END_OF_2017 = 1_514_764_800  # 2018-01-01T00:00:00Z in seconds since 1970

# A link that was good enough by its submission and refused for itself: these have a row each among the rejects.
SHOWN_REASONS = frozenset(
    {"url_too_long", "bad_url", "secret_url", "wikipedia", "excluded_host", "excluded_ending", "duplicate_url"}
)

_GONE = frozenset({"", "[deleted]", "[removed]", "deleted", "default", "self"})
_SHOWN_CHARS = 4_096
_LARGEST = 1 << 53
_IGNORED = re.compile(r"[\x00-\x1f\x7f]")  # browsers leave them out, wherever they stand
# What a public web page's address looks like: a name with a dot in it and a top domain that is no number.
_ADDRESS = re.compile(
    r"https?:/{2}(?P<host>(?:[^\s/?#:@\\\[\]%.]{1,63}+\.){1,20}(?:[a-z]{2,24}|xn--[a-z0-9-]{1,59}|[^\x00-\x7f]{1,24}))"
    r"\.?(?::\d{0,5})?(?P<path>[/?#].*)?",
    re.IGNORECASE,
)
_PRIVATE = (".local", ".localhost", ".internal", ".lan", ".home", ".onion", ".i2p")
# Most URLs are this plain: only in the query can a credential be, and nothing is escaped.
_PLAIN = re.compile(
    r"https?://([a-z0-9.-]++)(/[A-Za-z0-9._~,:+!$*'/-]*+)?+(?:\?([A-Za-z0-9._~,:+!$*'/=&-]*+))?+",
)
_PLAIN_HOST = re.compile(r"(?:www\.)?((?!www\.)(?:[a-z0-9-]{1,63}+\.){1,20}+[a-z]{2,24}+)")
_INDEX_PAGE = re.compile(  # at the end of a path, and nowhere before
    r"((?:/(?!(?:index|default)\.)[^/]+)*+)/(?:index|default)\.(?:html?|shtml|php|aspx?|jsp)/?", re.IGNORECASE
)
_ENDING = re.compile(r"\.[a-z0-9]{1,8}")
_SESSION = re.compile(r";jsessionid=[^;/?#]*", re.IGNORECASE)  # of a visit, not of a page: servers do without it


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlRules:
    """All that decides which links are taken; 0 turns a limit off."""

    min_score: int = 3  # karma of a link: "at least 3" (Radford et al. 2019)
    sum_scores: bool = False  # a URL's score is the sum over all of its submissions, else that of the best one
    drop_over_18: bool = True
    drop_removed: bool = True  # taken away by a moderator, by Reddit or by the author, where the form says so
    created_before: int = 0  # seconds since 1970; the submission must say that it is older
    hosts: frozenset[str] = MEDIA | FORUMS | ADULT | APPS_AND_FILES
    endings: frozenset[str] = ENDINGS
    drop_wikipedia: bool = True
    max_url_chars: int = 2_000

    def __post_init__(self) -> None:
        if self.created_before < 0 or self.max_url_chars < 0:
            raise ValueError("created_before and max_url_chars cannot be negative; 0 is off")
        for host in self.hosts:
            if host != host.lower() or host.startswith(("www.", ".")) or "/" in host:
                raise ValueError(f"host {host!r}: hosts are written as in 'imgur.com', which covers all below it")
        for ending in self.endings:
            if not _ENDING.fullmatch(ending):
                raise ValueError(f"ending {ending!r}: endings are written as in '.jpg'")


class Link(NamedTuple):
    """A link that is taken, and the submission that it is from."""

    key: str  # canonical form: equal for URLs of one page
    url: str  # to fetch
    score: int
    created_utc: int  # seconds since 1970; 0 where the submission does not say
    subreddit: str
    id: str  # of the submission, as Reddit has it


class Refusal(NamedTuple):
    """Why a submission gives no link."""

    reason: str
    url: str  # "" unless the reason is one of SHOWN_REASONS
    detail: str = ""


_UNSHOWN = {
    reason: Refusal(reason, "")
    for reason in ("no_link", "self_post", "no_score", "low_score", "adults_only", "removed_post", "too_new")
}
Judge = Callable[[Submission], Link | Refusal]


def make_judge(rules: UrlRules) -> Judge:
    """The function that judges submissions by these rules; it never raises."""
    check_submission, check_place = _submission_check(rules), _place_check(rules)
    max_chars = rules.max_url_chars or sys.maxsize

    def judge(submission: Submission) -> Link | Refusal:
        written = submission.url
        if not isinstance(written, str) or written in _GONE:
            return _UNSHOWN["self_post" if submission.is_self else "no_link"]
        reason = check_submission(submission)
        if reason:
            return _UNSHOWN[reason]
        place = _plain_place(written)  # such a one need not be cleaned
        if place is None:
            written = clean_link(written)
            found = _plain_place(written) or _odd_place(written)
            if isinstance(found, Refusal):
                return found
            place = found
        url, host, path, key = place
        reason, detail = check_place(host, path)
        if not reason and len(written) > max_chars:
            reason, detail = "url_too_long", f"{len(written)} characters"
        if reason:
            return Refusal(reason, url[:_SHOWN_CHARS], detail)
        return Link(
            key or canonical_url(url),
            url,
            bounded(submission.score),
            bounded(submission.created_utc),
            submission.subreddit or "",
            submission.id or "",
        )

    return judge


def bounded(number: int | None) -> int:
    """A number that a column of int64 can hold."""
    if number is None:
        return 0
    return number if -_LARGEST < number < _LARGEST else max(-_LARGEST, min(number, _LARGEST))


def clean_link(url: str) -> str:
    """A link as it was meant: Reddit's interface escapes `&`, `<` and `>` for HTML, and pushshift often kept that.

    >>> clean_link("http://example.com/a?b=1&amp;c=two words")
    'http://example.com/a?b=1&c=two%20words'
    """
    if "&" in url:
        url = url.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    if not url.isprintable() or " " in url:
        url = _IGNORED.sub("", url).strip().replace(" ", "%20")
    return url


def _submission_check(rules: UrlRules) -> Callable[[Submission], str]:
    min_score = None if rules.sum_scores else rules.min_score

    def check(submission: Submission) -> str:
        """Why a submission is not wanted whatever its link is, "" if it is."""
        if submission.is_self or (submission.is_self is None and (submission.domain or "").startswith("self.")):
            return "self_post"
        if submission.score is None:
            return "no_score"
        if min_score is not None and submission.score < min_score:
            return "low_score"
        if rules.drop_over_18 and submission.over_18:
            return "adults_only"
        if rules.drop_removed and submission.removed_by_category:
            return "removed_post"
        if rules.created_before and not 0 < (submission.created_utc or 0) < rules.created_before:
            return "too_new"
        return ""

    return check


def page_key(url: str) -> str:
    """`canonical_url` of a URL without credentials, much faster for plain ones."""
    place = _plain_place(url)
    return place[3] if place else canonical_url(url)


# A public address without credentials: the URL, the host in lower case, the path, and the canonical form ("" where
# nobody has made it yet). A bare tuple, as there are a hundred million of them.
_Place = tuple[str, str, str, str]


def _plain_place(url: str) -> _Place | None:
    """The place of a plain URL, None for any other; gives just what `_odd_place` would, in a fifth of the time."""
    plain = _PLAIN.fullmatch(url)
    if not plain:
        return None
    written_host, written_path, query = plain.groups("")
    host, path = _plain_host(written_host), written_path.removesuffix("/")
    if not host or "//" in written_path or "/." in written_path:
        return None
    key = host + path
    if "." in path:
        lower = path.lower()
        if "/index." in lower or "/default." in lower:
            page = _INDEX_PAGE.fullmatch(path)
            if not page:
                return None
            key = host + page[1]
    if query:
        parameters = _plain_parameters(query)
        if parameters is None:
            return None
        key = f"{key}?{parameters}" if parameters else key
    return url, host, path, key


@lru_cache(maxsize=1 << 16)
def _plain_host(written: str) -> str:
    """A host without `www.`, "" where it is not plain."""
    plain = _PLAIN_HOST.fullmatch(written)
    return "" if not plain or plain[1].endswith(_PRIVATE) else plain[1]


def _plain_parameters(query: str) -> str | None:
    """The canonical form of a plain query, None where a parameter is a secret or is forgotten."""
    parameters = query.split("&")
    for parameter in parameters:
        if parameter and not _is_plain_name(parameter.partition("=")[0]):
            return None
    return query if len(parameters) == 1 else "&".join(sorted(filter(None, parameters)))


@lru_cache(maxsize=1 << 14)
def _is_plain_name(name: str) -> bool:
    """Whether a parameter of this name neither carries a secret nor is forgotten by the canonical form."""
    query = f"?{name}=x1"  # no number: names that are secrets only then are not plain
    return redact_credentials(query) == query and canonical_url(query) == query


def _odd_place(url: str) -> _Place | Refusal:
    url = redact_credentials(_SESSION.sub("", url))
    shown = url[:_SHOWN_CHARS]
    if url.startswith("/r/"):
        return Refusal("excluded_host", shown, "reddit.com")  # how newer forms write links within Reddit
    address = _ADDRESS.fullmatch(url)
    host = address["host"].lower() if address else ""
    if not address or host.endswith(_PRIVATE):
        return Refusal("bad_url", shown, "not the address of a public web page")
    if REDACTED in url:
        return Refusal("secret_url", shown, "a parameter carries a secret, without which the page cannot be had")
    return url, host, (address["path"] or "").partition("#")[0].partition("?")[0], ""


def _place_check(rules: UrlRules) -> Callable[[str, str], tuple[str, str]]:
    listed = rules.hosts | WIKIPEDIA if rules.drop_wikipedia else rules.hosts

    @lru_cache(maxsize=1 << 16)
    def covering(host: str) -> str:
        """The name on a list that covers a host, "" for none."""
        labels = host.split(".")
        names = (".".join(labels[start:]) for start in range(len(labels) - 1))
        return next((name for name in names if name in listed), "")

    def check(host: str, path: str) -> tuple[str, str]:
        """(reason, detail) for which a place is not wanted, two empty strings if it is."""
        name = covering(host)
        if name:
            return ("wikipedia" if name in WIKIPEDIA else "excluded_host"), name
        ending = path[path.rfind(".") :].lower() if "." in path else ""
        return ("excluded_ending", ending) if ending in rules.endings else ("", "")

    return check


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to build the corpus."""

    description: str  # for people, with what is not known about it
    urls: UrlRules = field(default_factory=UrlRules)
    pages: ProcessingSettings = field(default_factory=ProcessingSettings)


# English, non-empty text; texts of fewer than 128 tokens are dropped by the run, which knows what a token is.
_ENGLISH = ProcessingSettings(quality=ccnews.VARIANTS["paper"].processing.quality)

VARIANTS: dict[str, Variant] = {
    "default": Variant(
        description="Our choice: links of a score of at least 3, none that are for adults or were removed, no media, "
        "forums, files or Wikipedia; pages in English by moderate rules of quality.",
    ),
    "summed": Variant(
        description="As default, but a URL's score is the sum over all of its submissions.",
        urls=UrlRules(sum_scores=True),
    ),
    "code": Variant(
        description="As the released OpenWebText code: besides media, forums and files also some large shops and "
        "tools; over_18 left out; pages in English without rules of quality. Its lists of hosts and endings are "
        "followed by kind, not name by name, and its extractor is not used.",
        urls=UrlRules(drop_removed=False, hosts=MEDIA | FORUMS | ADULT | APPS_AND_FILES | SHOPS_AND_TOOLS),
        pages=_ENGLISH,
    ),
    "paper": Variant(
        description="As far as it is known, WebText: links out of Reddit of a score of at least 3, up to December "
        "2017, no Wikipedia. No list of hosts was published; files that are no pages give no text and are left out.",
        urls=UrlRules(
            drop_over_18=False,
            drop_removed=False,
            created_before=END_OF_2017,
            hosts=frozenset({"reddit.com", "redd.it", "redditmedia.com", "reddituploads.com"}),
        ),
        pages=replace(_ENGLISH),
    ),
}
