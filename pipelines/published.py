"""What a run's report shows of a corpus besides the run: published figures, and what users of it must know."""

from collections.abc import Mapping

from corpora import books, ccnews, openwebtext, stories, wikipedia
from corpora.targets import PublishedTargets
from pipelines.settings import ANY_KIND

_TARGETS: dict[str, Mapping[str, PublishedTargets]] = {
    "books_wiki": {"books": books.TARGETS, "wikipedia": wikipedia.TARGETS},
    "ccnews": {ANY_KIND: ccnews.TARGETS},
    "openwebtext": {ANY_KIND: openwebtext.TARGETS},
    "stories": {ANY_KIND: stories.TARGETS},
}
_WARNINGS = {"stories": stories.CONTAMINATION_NOTE}


def published_targets(name: str) -> Mapping[str, PublishedTargets]:
    """The targets of a corpus; none for a run of another name.

    >>> published_targets("ccnews")[""].documents, dict(published_targets("text"))
    (63000000, {})
    """
    return _TARGETS.get(name, {})


def warning_of(name: str) -> str:
    """What whoever trains on a corpus must know of its evaluation; "" where there is nothing.

    >>> warning_of("stories").split(".")[0]
    'These documents were selected by their overlap with questions of the Winograd schema challenge (WSC, PDP)'
    """
    return _WARNINGS.get(name, "")
