"""Exact deduplication: of the documents that share a key, one is kept, and always the same one.

In go candidates (a few keys and numbers a document, never its text), out come the losers with the id
that each lost to. Keys are tried one after the other, so a document lost by URL cannot win by text.
The keeper is the earliest fetched, then the longest, then the smallest id: nothing of it depends on
the order in which a runner delivers. Where an earlier run has a key, its document is the keeper.
"""

import hashlib
import marshal
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from corpora.urls import canonical_url
from pipelines.flattening import FlattenAll
from pipelines.packed import PackedRows, top_bits, windowed
from pipelines.settings import DeduplicationRules

LOSERS = "losers"
KEYS = "keys"  # side output: (partition, packed EXACT_ROW) of the keys that this run is the first to have
EXACT_PARTITIONS = 16
EXACT_ROW = np.dtype([("step", "u1"), ("key", "V16"), ("kept", "V16")])
_KEY_BYTES = 16  # of a key that another document may have too
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


def pack_candidates(candidates: Iterable[Any]) -> bytes:
    """Candidates of one part as one element."""
    return marshal.dumps([tuple(candidate) for candidate in candidates])


def unpack_candidates(blobs: Iterable[bytes]) -> Iterator[Any]:
    """The candidates of some such elements, as plain tuples."""
    for blob in blobs:
        yield from marshal.loads(blob)


def keeper_order(candidate: Candidate) -> tuple[bool, str, int, bytes]:
    """Smallest is kept: earliest fetched (unknown last), then longest, then smallest id."""
    return (not candidate.fetched_at, candidate.fetched_at, -candidate.n_chars, candidate.document_id)


def choose_keeper(candidates: Iterable[Candidate], reason: str) -> tuple[Candidate, list[Loser]]:
    """The one to keep of a group, and the others with their parts' names left to the caller."""
    keeper, *others = sorted(candidates, key=keeper_order)
    return keeper, [Loser(other.document_id, reason, keeper.document_id) for other in others]


class Step(NamedTuple):
    """One of the keys that documents are compared by."""

    number: int  # part of the state that runs leave behind
    name: str
    reason: str
    key: Callable[[Candidate], bytes]


class ExactDuplicates(NamedTuple):
    """Collections of what exact deduplication found."""

    kept: Any  # candidates
    losers: tuple[Any, ...]  # of each step, in order: (part name, loser)
    keys: tuple[Any, ...]  # of each step: (partition, packed EXACT_ROW), for later runs


def exact_steps(rules: DeduplicationRules) -> list[Step]:
    """The keys that the rules ask for, in order."""
    steps = [
        (rules.by_url, Step(0, "URL", "duplicate_url", _url_key)),
        (rules.by_text, Step(1, "text", "duplicate_text", _text_key)),
        (rules.by_prefix_chars > 0, Step(2, "beginning", "duplicate_prefix", _prefix_key)),
    ]
    return [step for enabled, step in steps if enabled]


class RemoveExactDuplicates(beam.PTransform):
    """Candidates -> ExactDuplicates.

    `earlier` is a collection of (step number, key, epoch, id) of earlier runs: who shares such a key loses to that id.
    """

    def __init__(self, rules: DeduplicationRules, *, earlier: Any = None) -> None:
        super().__init__()
        self.rules, self.earlier = rules, earlier

    def expand(self, candidates: Any) -> Any:
        losers, keys = [], []
        for step in exact_steps(self.rules):
            keyed = candidates | f"Key by {step.name}" >> beam.ParDo(_KeyBy(step.key))
            if self.earlier is not None:
                known = self.earlier | f"Known by {step.name}" >> beam.ParDo(_KnownBy(step.number))
                keyed = (keyed, known) | f"New and known by {step.name}" >> FlattenAll()
            outcome = (
                keyed
                | f"Group by {step.name}" >> beam.GroupByKey()
                | f"Keep one of each {step.name}"
                >> beam.ParDo(_KeepOne(step.number, step.reason)).with_outputs(LOSERS, KEYS, main="kept")
            )
            candidates = outcome.kept
            losers.append(outcome[LOSERS])
            keys.append(outcome[KEYS])
        return ExactDuplicates(candidates, tuple(losers), tuple(keys))


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


class _KnownBy(beam.DoFn):
    """(step number, key, epoch, id) -> (key, (epoch, id)) of the rows of one step."""

    def __init__(self, number: int) -> None:
        self.number = number

    def process(self, element: Any) -> Iterator[Any]:
        number, key, epoch, known_id = element
        if number == self.number:
            yield key, (epoch, known_id)


class _KeepOne(beam.DoFn):
    """(key, candidates and known ids) -> the one to keep, unless the key is known; on LOSERS the others."""

    def __init__(self, number: int, reason: str) -> None:
        self.number, self.reason = number, reason

    def start_bundle(self) -> None:
        self.rows = bytearray()

    def process(self, group: Any) -> Iterator[Any]:
        key, elements = group[0], list(group[1])
        known = [element for element in elements if len(element) == 2]
        candidates = [Candidate(*element) for element in elements if len(element) > 2]
        if known:
            keeper_id = min(known)[1]
            for candidate in candidates:
                loser = Loser(candidate.document_id, self.reason, keeper_id)
                yield beam.pvalue.TaggedOutput(LOSERS, (candidate.part_name, tuple(loser)))
            return
        parts = {candidate.document_id: candidate.part_name for candidate in candidates}
        keeper, losers = choose_keeper(candidates, self.reason)
        yield tuple(keeper)
        if len(key) == _KEY_BYTES:
            self.rows += bytes([self.number]) + key + keeper.document_id
        for loser in losers:
            yield beam.pvalue.TaggedOutput(LOSERS, (parts[loser.document_id], tuple(loser)))

    def finish_bundle(self) -> Iterator[Any]:
        rows = np.frombuffer(bytes(self.rows), EXACT_ROW)
        packed = PackedRows(EXACT_ROW, EXACT_PARTITIONS)
        high = np.frombuffer(rows["key"].tobytes(), ">u8")[::2].astype(np.uint64)
        packed.add(top_bits(high, EXACT_PARTITIONS), rows)
        yield from (windowed(beam.pvalue.TaggedOutput(KEYS, element)) for element in packed.take())


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() if text else b""
