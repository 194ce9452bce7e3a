"""Which published figures a run's report shows beside its yields: by the run's name, and there by kind of input."""

from collections.abc import Mapping

from corpora import ccnews
from corpora.targets import PublishedTargets
from pipelines.settings import ANY_KIND

_TARGETS: dict[str, Mapping[str, PublishedTargets]] = {
    "ccnews": {ANY_KIND: ccnews.TARGETS},
}


def published_targets(name: str) -> Mapping[str, PublishedTargets]:
    """The targets of a corpus; none for a run of another name.

    >>> published_targets("ccnews")[""].documents, dict(published_targets("text"))
    (63000000, {})
    """
    return _TARGETS.get(name, {})
