"""The books of a run: read = kept + rejected + broken, per split, per part and for the whole.

They are computed from the data that is written, never from runner metrics, which differ from runner
to runner and count replays.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from corpora.documents import Rejection


class Books(NamedTuple):
    """Counts of records; `rejected` and `broken` are sorted pairs (reason, n) so that equal books are equal bytes."""

    read: int = 0
    kept: int = 0
    rejected: tuple[tuple[str, int], ...] = ()
    broken: tuple[tuple[str, int], ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {"read": self.read, "kept": self.kept, "rejected": dict(self.rejected), "broken": dict(self.broken)}


class BooksError(Exception):
    """The books do not balance: a record was lost or doubled, so nothing may be published."""


def open_books(*, read: int, kept: int, rejections: Iterable[Rejection]) -> Books:
    """Books over a list of rejections; raises BooksError when a record is missing or doubled."""
    rejected: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for rejection in rejections:
        (broken if rejection.broken else rejected)[rejection.reason] += 1
    books = Books(read, kept, tuple(sorted(rejected.items())), tuple(sorted(broken.items())))
    check_balance(books, "these records")
    return books


def add_books(many: Iterable[Books]) -> Books:
    """The sum of books."""
    read = kept = 0
    rejected: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for books in many:
        read += books.read
        kept += books.kept
        rejected.update(dict(books.rejected))
        broken.update(dict(books.broken))
    return Books(read, kept, tuple(sorted(rejected.items())), tuple(sorted(broken.items())))


def move_to_rejected(books: Books, reasons: Counter[str]) -> Books:
    """Books after documents that were kept so far have been dropped for the reasons given."""
    rejected = Counter(dict(books.rejected))
    rejected.update(reasons)
    return books._replace(kept=books.kept - reasons.total(), rejected=tuple(sorted(rejected.items())))


def check_balance(books: Books, what: str) -> None:
    """Raises BooksError unless read = kept + rejected + broken."""
    rejected, broken = sum(n for _, n in books.rejected), sum(n for _, n in books.broken)
    if books.read != books.kept + rejected + broken:
        raise BooksError(
            f"the books of {what} do not balance: {books.read} read, but {books.kept} kept + {rejected} rejected"
            f" + {broken} broken = {books.kept + rejected + broken}; nothing was published, please report this"
        )
