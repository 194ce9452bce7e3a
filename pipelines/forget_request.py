"""What is to be forgotten: URLs, domains and document ids, brought to one form and looked for in tables.

In: words from a command line or lines of a list. Out: `Target`s, and for a table's rows whether one of them means it.
The rule: a URL means every record of the page, so it is compared in the canonical form that finds duplicates
(`corpora.urls`), and a domain means all of its subdomains; nothing is matched by a part of a word.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpora.urls import canonical_url, host_of, redact_credentials

KINDS = ("url", "domain", "id")
_ID = re.compile(r"[0-9a-fA-F]{32}")
_HOST = re.compile(r"(?:[\w-]+\.)+[\w-]+\.?")
# URLs whose host can be read off without a look at each: nothing escaped, no user, no letter beyond ASCII.
_PLAIN_URL = r"^https?://(?P<authority>[A-Za-z0-9.:-]+)(?:[/?#]|$)"

Flags = npt.NDArray[np.bool_]


class Target(NamedTuple):
    """One thing to forget."""

    kind: str  # one of KINDS
    value: str  # canonical URL, host or 32 hexadecimal digits
    given: str  # as it was asked for


def parse_target(kind: str, text: str) -> Target:
    """A target of this kind; ValueError where the text is none.

    >>> parse_target("url", "https://www.example.com/a/?utm_source=x").value
    'example.com/a'
    >>> parse_target("domain", "https://News.Example.com/").value
    'news.example.com'
    """
    text = text.strip()
    if kind == "id":
        if not _ID.fullmatch(text):
            raise ValueError(f"{text!r} is no document id: it has 32 hexadecimal digits; see `inspect-shards trace`")
        return Target(kind, text.lower(), text)
    if kind == "url":
        value = canonical_url(text)
        if not value:
            raise ValueError(f"{text!r} is no URL")
        return Target(kind, value, text)
    host = host_of(text if "//" in text else f"//{text}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} is no domain such as example.com; a whole top-level domain is never forgotten")
    return Target(kind, host, text)


def guess_target(line: str) -> Target:
    """A target from a line of a list: `url …`, `domain …` or `id …`, or the bare thing where its form tells.

    >>> [guess_target(line).kind for line in ("id " + 32 * "a", 32 * "A", "example.com", "example.com/a", "domain a.b")]
    ['id', 'id', 'domain', 'url', 'domain']
    """
    kind, _, rest = line.strip().partition(" ")
    if kind in KINDS and rest:
        return parse_target(kind, rest)
    text = line.strip()
    if _ID.fullmatch(text):
        return parse_target("id", text)
    if "/" in text:
        return parse_target("url", text)
    if _HOST.fullmatch(text):
        return parse_target("domain", text)
    raise ValueError(f"{text!r} is no URL, no domain and no document id; put `url`, `domain` or `id` before it")


def read_targets(path: Path) -> list[Target]:
    """The targets of a list, one a line; empty lines and those that begin with # are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--list {path}: not UTF-8 text ({error})") from error
    except OSError as error:
        raise ValueError(f"--list {path}: {error.strerror}") from error
    targets = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                targets.append(guess_target(line))
            except ValueError as error:
                raise ValueError(f"--list {path}, line {number}: {error}") from error
    return targets


def hash_request(targets: Iterable[Target]) -> str:
    """sha256 of a request: of its targets in their one form, each once, sorted, a line each."""
    lines = sorted({f"{target.kind} {target.value}\n" for target in targets})
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def count_kinds(targets: Iterable[Target]) -> dict[str, int]:
    """Different targets of each kind."""
    return dict(Counter(kind for kind, _ in {(target.kind, target.value) for target in targets}))


class Matcher:
    """Finds the rows of tables that targets mean, and remembers which targets meant something.

    Most URLs are told from their host, which is looked at once for each host and not for each row.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self.found: set[tuple[str, str]] = set()  # (kind, value) of targets that meant a row
        self._ids: set[str] = set()
        self._domains: set[str] = set()
        self._urls: dict[str, str] = {}  # canonical URL -> the target's
        self._hosts: set[str] = set()
        for target in targets:
            if target.kind == "id":
                self._ids.add(target.value)
            elif target.kind == "domain":
                self._domains.add(target.value)
            else:
                # A run keeps URLs without their secrets; who asks may have them in.
                self.add_url(target.value, known_as=target.value)
                self.add_url(canonical_url(redact_credentials(target.given)), known_as=target.value)
        self._binary_ids = pa.array(sorted(map(bytes.fromhex, self._ids)), pa.binary(16))

    def add_url(self, canonical: str, *, known_as: str = "") -> None:
        """Looks for one more URL; `known_as` is what it counts for in `found`."""
        self._urls.setdefault(canonical, known_as)
        self._hosts.add(host_of(canonical if "://" in canonical else f"//{canonical}"))

    def match(self, ids: pa.ChunkedArray, urls: pa.ChunkedArray) -> Flags:
        """Which rows are meant: bool [rows], from their document ids and their URLs."""
        flags = np.array(pc.is_in(ids, self._binary_ids), np.bool_)
        self.found.update(("id", ids[row].as_py().hex()) for row in np.flatnonzero(flags).tolist())
        if self._urls or self._domains:
            for row in np.flatnonzero(self._candidates(urls)).tolist():
                flags[row] |= self._means(urls[row].as_py())
        return flags

    def _candidates(self, urls: pa.ChunkedArray) -> Flags:
        """Rows whose host is one that is looked for, or cannot be read off."""
        wanted = [
            authority
            for authority in distinct_authorities(urls)
            if (host := host_of(f"//{authority}")) in self._hosts or self._domains_of(host)
        ]
        authorities = _authorities(urls)
        candidates: Flags = np.array(pc.is_in(authorities, pa.array([*wanted, None], pa.string())), np.bool_)
        return candidates & np.array(pc.not_equal(urls, ""), np.bool_)

    def _means(self, url: str) -> bool:
        domains = self._domains_of(host_of(url))
        self.found.update(("domain", domain) for domain in domains)
        known_as = self._urls.get(canonical_url(url))
        if known_as:
            self.found.add(("url", known_as))
        return bool(domains) or known_as is not None

    def _domains_of(self, host: str) -> list[str]:
        """The targets that this host lies in."""
        labels = host.split(".")
        above = (".".join(labels[k:]) for k in range(len(labels)))
        return [domain for domain in above if domain in self._domains]


def distinct_authorities(urls: pa.ChunkedArray) -> list[str]:
    """Host and port, as written, of the URLs where they can be read off; each once."""
    return [one for one in pc.unique(_authorities(urls)).to_pylist() if one is not None]


def count_hosts(urls: pa.ChunkedArray) -> Counter[str]:
    """How many URLs each host has, as `host_of` names it."""
    authorities = _authorities(urls)
    counts: Counter[str] = Counter()
    for pair in pc.value_counts(authorities.drop_null()).to_pylist():
        counts[host_of(f"//{pair['values']}")] += pair["counts"]
    counts.update(map(host_of, urls.filter(pc.is_null(authorities)).to_pylist()))
    return counts


def _authorities(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """Host and port as written, null where they cannot be read off."""
    return pc.struct_field(pc.extract_regex(urls, _PLAIN_URL), "authority")


def targets_by_key(targets: Iterable[Target]) -> Mapping[tuple[str, str], Target]:
    """Targets by kind and value: the first of those that mean the same."""
    keyed: dict[tuple[str, str], Target] = {}
    for target in targets:
        keyed.setdefault((target.kind, target.value), target)
    return keyed
