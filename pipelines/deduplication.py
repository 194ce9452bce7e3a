"""Exact deduplication: of the documents that share a key, one is kept, and always the same one.

In go candidates (a few keys and numbers a document, never its text), out come the losers with the id
that each lost to. Keys are tried one after the other, so a document lost by URL cannot win by text.
The keeper is the earliest fetched, then the longest, then the smallest id: nothing of it depends on
the order in which a runner delivers.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from corpora.urls import canonical_url
from pipelines.settings import DeduplicationRules

LOSERS = "losers"
_WHITE = re.compile(r"\s+")


class Candidate(NamedTuple):
    """A document as deduplication sees it. Keys are bytes16, or b"" where the document has none."""

    part_name: str
    document_id: bytes
    fetched_at: str
    n_chars: int
    text_bytes: int
    url_key: bytes
    text_key: bytes
    prefix_key: bytes


class Loser(NamedTuple):
    """A document that is not kept, and the one that stands for it."""

    document_id: bytes
    reason: str
    kept_id: bytes
    similarity: float | None = None  # Jaccard, of a near-duplicate to the one that stands for it
    detail: str = ""


def make_candidate(
    part_name: str, document_id: bytes, url: str, text: str, fetched_at: str, rules: DeduplicationRules
) -> Candidate:
    """Keys by the rules; a rule that is off gives no key."""
    collapsed = _WHITE.sub(" ", text).strip()
    return Candidate(
        part_name,
        document_id,
        fetched_at,
        len(text),
        len(text.encode()),
        _key(canonical_url(url)) if rules.by_url else b"",
        _key(collapsed) if rules.by_text else b"",
        _key(collapsed[: rules.by_prefix_chars]) if rules.by_prefix_chars else b"",
    )


def keeper_order(candidate: Candidate) -> tuple[bool, str, int, bytes]:
    """Smallest is kept: earliest fetched (unknown last), then longest, then smallest id."""
    return (not candidate.fetched_at, candidate.fetched_at, -candidate.n_chars, candidate.document_id)


def choose_keeper(candidates: Iterable[Candidate], reason: str) -> tuple[Candidate, list[Loser]]:
    """The one to keep of a group, and the others with their parts' names left to the caller."""
    keeper, *others = sorted(candidates, key=keeper_order)
    return keeper, [Loser(other.document_id, reason, keeper.document_id) for other in others]


class Deduplicate(beam.PTransform):
    """Candidates -> kept candidates, and on LOSERS (part name, loser)."""

    def __init__(self, rules: DeduplicationRules) -> None:
        super().__init__()
        self.rules = rules

    def expand(self, candidates: Any) -> Any:
        steps = (
            ("URL", self.rules.by_url, _url_key, "duplicate_url"),
            ("text", self.rules.by_text, _text_key, "duplicate_text"),
            ("beginning", self.rules.by_prefix_chars > 0, _prefix_key, "duplicate_prefix"),
        )
        losers = []
        for name, enabled, key, reason in steps:
            if not enabled:
                continue
            outcome = (
                candidates
                | f"Key by {name}" >> beam.ParDo(_KeyBy(key))
                | f"Group by {name}" >> beam.GroupByKey()
                | f"Keep one of each {name}" >> beam.ParDo(_KeepOne(reason)).with_outputs(LOSERS, main="kept")
            )
            candidates = outcome.kept
            losers.append(outcome[LOSERS])
        return candidates, losers


def _url_key(candidate: Candidate) -> bytes:
    return candidate.url_key


def _text_key(candidate: Candidate) -> bytes:
    return candidate.text_key


def _prefix_key(candidate: Candidate) -> bytes:
    return candidate.prefix_key


class _KeyBy(beam.DoFn):
    """Candidate -> (key, plain tuple); a document without this key stands alone under its own id."""

    def __init__(self, key: Callable[[Candidate], bytes]) -> None:
        self.key = key

    def process(self, element: Any) -> Iterator[Any]:
        candidate = Candidate(*element)
        key = self.key(candidate)
        # A key is 16 bytes and a lone document's 17, so the two can never meet.
        yield (key or b"\0" + candidate.document_id), tuple(candidate)


class _KeepOne(beam.DoFn):
    def __init__(self, reason: str) -> None:
        self.reason = reason

    def process(self, group: Any) -> Iterator[Any]:
        candidates = [Candidate(*element) for element in group[1]]
        parts = {candidate.document_id: candidate.part_name for candidate in candidates}
        keeper, losers = choose_keeper(candidates, self.reason)
        yield tuple(keeper)
        for loser in losers:
            yield beam.pvalue.TaggedOutput(LOSERS, (parts[loser.document_id], tuple(loser)))


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() if text else b""
