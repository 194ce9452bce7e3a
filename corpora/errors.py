"""The two kinds of trouble that corpora raises: broken input, named by file and place.

Input that is merely not wanted is never an exception: it is a `Rejection` (corpora.documents).
"""


class CorpusError(Exception):
    """Base of what corpora raises about data; command lines turn it into one line and exit 1."""


class RecordError(CorpusError):
    """A record or file that cannot be read: says which, where, what was found and what to do."""

    def __init__(self, source: str, offset: int, found: str, *, remedy: str = "") -> None:
        self.source = source
        self.offset = offset
        self.found = found
        self.remedy = remedy
        super().__init__(f"{source} at byte {offset}: {found}" + (f"; {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.source, self.offset, self.found, self.remedy)


def _rebuild(source: str, offset: int, found: str, remedy: str) -> RecordError:
    return RecordError(source, offset, found, remedy=remedy)
