"""What the report shows of a run's text: counted part by part, added up at the commit.

In: the tables of a part. Out: `Statistics`, sorted pairs, so that equal statistics are equal bytes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from corpora.urls import host_of


class Statistics(NamedTuple):
    """Counts of one part or of many."""

    languages: tuple[tuple[str, int], ...] = ()  # of kept documents, and of those rejected for theirs
    domains: tuple[tuple[str, int], ...] = ()  # of kept documents
    characters: tuple[tuple[int, int], ...] = ()  # documents by length, bucket = power of two below it
    duplicates: tuple[tuple[str, int], ...] = ()
    kinds: tuple[tuple[str, int], ...] = ()  # documents and text_bytes of each kind of input, as in "books documents"
    gaps: tuple[tuple[str, int], ...] = ()  # places where part of a sentence is missing, and documents that have some


def part_statistics(
    kept: pa.Table, rejected: pa.Table, reasons: Mapping[str, int], *, kinds: Collection[str] = ()
) -> Statistics:
    """Counts for the report, from one part.

    `reasons` are those for which selection rejected documents, `kinds` the folders of the input's names that are
    counted apart.
    """
    duplicates = {reason: n for reason, n in reasons.items() if "duplicate" in reason}
    languages = Counter(kept["language"].to_pylist())
    for reason, detail in zip(rejected["reason"].to_pylist(), rejected["detail"].to_pylist(), strict=True):
        if reason == "language":
            languages[detail.split(" ")[0]] += 1
    lengths = pc.utf8_length(kept["text"]).to_pylist()
    return Statistics(
        tuple(sorted(languages.items())),
        tuple(sorted(Counter(map(host_of, kept["url"].to_pylist())).items())),
        tuple(sorted(Counter(1 << max(n.bit_length() - 1, 0) for n in lengths).items())),
        tuple(sorted((name_duplicate(reason), n) for reason, n in duplicates.items())),
        _count_kinds(kept, kinds) if kinds else (),
        _count_gaps(kept),
    )


def add_statistics(many: Iterable[Statistics]) -> Statistics:
    """The sum of statistics."""
    totals: tuple[Counter[Any], ...] = tuple(Counter() for _ in Statistics._fields)
    for statistics in many:
        for total, pairs in zip(totals, statistics, strict=True):
            total.update(dict(pairs))
    return Statistics(*(tuple(sorted(total.items())) for total in totals))


def name_duplicate(reason: str) -> str:
    """What duplicates have in common, from the reason for which they are rejected.

    >>> name_duplicate("duplicate_url"), name_duplicate("near_duplicate")
    ('url', 'near')
    """
    return reason.removeprefix("duplicate_").removesuffix("_duplicate")


def _count_kinds(kept: pa.Table, kinds: Collection[str]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for source, n in zip(kept["source"].to_pylist(), pc.binary_length(kept["text"]).to_pylist(), strict=True):
        folder = source.partition("/")[0]
        if folder in kinds:
            counts.update({f"{folder} documents": 1, f"{folder} text_bytes": n})
    return tuple(sorted(counts.items()))


def _count_gaps(kept: pa.Table) -> tuple[tuple[str, int], ...]:
    if "gaps" not in kept.column_names:
        return ()
    places = pc.sum(kept["gaps"]).as_py() or 0
    return (("documents", pc.sum(pc.greater(kept["gaps"], 0)).as_py()), ("places", places)) if places else ()
