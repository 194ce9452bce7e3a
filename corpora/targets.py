"""What was published about a corpus, as values that stand beside a run's yields in its report."""

from dataclasses import dataclass

__all__ = ["PublishedTargets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedTargets:
    """What was published about a corpus; None is: not published."""

    documents: int | None
    gib: float | None  # of text as UTF-8
    mean_bytes: float | None  # of a document's text
    source: str
