"""What a manifest says of a run, as figures: the one source of numbers for `summary` and the report.

In: a manifest. Out: plain values in a fixed order. Nothing else is opened, so the figures of a run are
there even where its files are not.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from bpe.manifest import Manifest


class Targets(Protocol):
    """What was published about a corpus; any object with these fields will do. None is: not published."""

    @property
    def documents(self) -> int | None: ...
    @property
    def gib(self) -> float | None:
        """UTF-8 text in GiB."""

    @property
    def mean_bytes(self) -> float | None:
        """Of a document's text."""

    @property
    def source(self) -> str:
        """Who published it, and for what."""


class Outcome(NamedTuple):
    """How many records met one end."""

    kind: str  # kept, rejected or broken
    reason: str  # key of the books; "" for kept
    records: int
    share: float  # of the records read, 0 where none was


class Yield(NamedTuple):
    """One quantity of the run beside its published value."""

    kind: str  # of input, "" for the whole run
    quantity: str
    unit: str
    here: float
    published: float | None


class Statistics(NamedTuple):
    """The manifest's statistics, each list with its largest first (lengths by length)."""

    languages: list[tuple[str, int]]
    distinct_domains: int
    domains: list[tuple[str, int]]
    lengths: list[tuple[int, int]]  # (power of two at which the bucket starts, documents); in characters
    duplicates: list[tuple[str, int]]


class SplitCounts(NamedTuple):
    """The shards of one split, train or held-out, added up."""

    split: str
    shards: int
    blocks: int
    documents: int
    sentences: int
    tokens: int
    file_bytes: int


def list_outcomes(manifest: Manifest) -> list[Outcome]:
    """Kept first, then the reasons for rejecting and then those for damage, the most frequent first."""
    books = manifest.books
    outcomes = [Outcome("kept", "", books.kept, _share(books.kept, books.read))]
    for kind, reasons in (("rejected", books.rejected), ("broken", books.broken)):
        outcomes += [Outcome(kind, reason, n, _share(n, books.read)) for reason, n in by_size(reasons)]
    return outcomes


def read_statistics(manifest: Manifest) -> Statistics:
    """The statistics with their types; what is missing is empty."""
    statistics = manifest.statistics
    domains = _mapping(statistics.get("domains"))
    lengths = _counts(statistics.get("characters"))
    return Statistics(
        languages=by_size(_counts(statistics.get("languages"))),
        distinct_domains=_number(domains.get("distinct")),
        domains=[(str(pair[0]), _number(pair[1])) for pair in _pairs(domains.get("top"))],
        lengths=sorted((int(bucket), n) for bucket, n in lengths.items() if bucket.isascii() and bucket.isdecimal()),
        duplicates=by_size(_counts(statistics.get("duplicates"))),
    )


def count_splits(manifest: Manifest) -> list[SplitCounts]:
    """Train first, then held-out, then any other; a split without shards has no line."""
    names = sorted({shard.split for shard in manifest.shards}, key=lambda name: (name != "train", name))
    return [_count_split(manifest, name) for name in names]


def compare_yields(manifest: Manifest, targets: Mapping[str, Targets]) -> list[Yield]:
    """Documents, text and mean length of the run, and of each kind of input, beside what was published of it."""
    counts = {"": (manifest.counts.documents, manifest.counts.text_bytes)}
    kinds = _counts(read_details(manifest).get("kinds"))
    counts |= {
        kind: (kinds.get(f"{kind} documents", 0), kinds.get(f"{kind} text_bytes", 0)) for kind in targets if kind
    }
    yields = []
    for kind, (documents, text_bytes) in counts.items():
        published = targets.get(kind)
        mean = text_bytes / documents if documents else 0.0
        yields += [
            Yield(kind, "documents", "", documents, published.documents if published else None),
            Yield(kind, "text", "GiB", text_bytes / 2**30, published.gib if published else None),
            Yield(kind, "mean document", "bytes", mean, published.mean_bytes if published else None),
        ]
    return yields


def read_details(manifest: Manifest) -> Mapping[str, object]:
    """What single steps of a run say of themselves, by name; empty where there was none."""
    return _mapping(manifest.statistics.get("details"))


def mean_bytes(manifest: Manifest) -> float:
    """UTF-8 bytes of text per document, 0 where there is no document."""
    return manifest.counts.text_bytes / manifest.counts.documents if manifest.counts.documents else 0.0


def bytes_per_token(manifest: Manifest) -> float | None:
    """UTF-8 bytes of text per token; None where nothing was encoded."""
    return manifest.counts.text_bytes / manifest.counts.tokens if manifest.counts.tokens else None


def flatten_settings(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Settings as (dotted name, value) in the order of their names.

    >>> flatten_settings({"b": {"y": [1, 2], "x": None}, "a": True})
    [('a', 'yes'), ('b.x', '–'), ('b.y', '1, 2')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in sorted(settings.items()):
        if isinstance(value, Mapping) and value:
            rows += flatten_settings(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _plain(value)))
    return rows


def by_size(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Largest first; equals by name."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _count_split(manifest: Manifest, name: str) -> SplitCounts:
    shards = [shard for shard in manifest.shards if shard.split == name]
    return SplitCounts(
        split=name,
        shards=len(shards),
        blocks=sum(len(shard.blocks.offset) for shard in shards),
        documents=sum(shard.n_documents for shard in shards),
        sentences=sum(shard.n_sentences for shard in shards),
        tokens=sum(shard.n_tokens for shard in shards),
        file_bytes=sum(shard.bytes for shard in shards),
    )


def _plain(value: object) -> str:
    if value is None or value == "" or value == {} or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return str(value)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _counts(value: object) -> dict[str, int]:
    return {str(key): _number(n) for key, n in _mapping(value).items()}


def _pairs(value: object) -> list[Sequence[object]]:
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    return [pair for pair in listed if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2]


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
