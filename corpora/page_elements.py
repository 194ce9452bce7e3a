"""Carves the `<page>` elements out of a MediaWiki export, without a parser: pieces of bytes in, elements out.

The rule: at most one page and one piece are in memory, and what is carved depends on the bytes from an element's start
on, never on where reading began. That holds because an export escapes every "<" of a page's text, so `<page>` stands
nowhere but where an element starts. Nothing declared in a document type is ever looked at.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from corpora.members import DAMAGED, TRUNCATED

__all__ = ["BAD_PAGE", "TOO_LARGE", "Feed", "LostPage", "PageElement", "carve_pages"]

PAGE_START = b"<page>"
PAGE_END = b"</page>"
EXPORT_END = b"</mediawiki>"
BAD_PAGE = "bad_page"
TOO_LARGE = "too_large"
_HEAD_BYTES = 4_096  # kept of a page that is given up: its title is there
_TAIL_BYTES = 32  # kept between pieces: no mark is longer


class Feed(Protocol):
    """Where the bytes come from: a plain file, or one compressed stream."""

    @property
    def outcome(self) -> str:
        """ "" while there may be more, then how it ended."""
        ...

    @property
    def detail(self) -> str: ...

    def read(self) -> bytes:
        """The next piece; b"" once `outcome` is set."""
        ...


class PageElement(NamedTuple):
    """A page from `<page>` to `</page>`."""

    position: int  # in the feed's bytes
    xml: bytes


class LostPage(NamedTuple):
    """A page that cannot be had, or damage between pages."""

    position: int
    reason: str
    detail: str
    head: bytes  # what there is of the page, at most 4 KiB; b"" where no page was begun


def carve_pages(
    feed: Feed, *, page_bytes: int, skip_bytes: int | None, base: int = 0, end: int | None = None
) -> Iterator[PageElement | LostPage]:
    """The pages that start in `feed` before `end`; both positions count from `base`.

    A page of more than `page_bytes` is passed over, in bounded memory; after `skip_bytes` of it the feed is given up
    (None: never). The last item says what was wrong, if the feed did not end well.
    """
    tape = _Tape(feed, base)
    while tape.seek(PAGE_START, end=end):
        start = tape.base
        length = tape.find_page_end(page_bytes)
        if length is None and tape.size > page_bytes:
            head = tape.take(_HEAD_BYTES)
            complaint = tape.pass_over_page(skip_bytes)
            yield LostPage(start, TOO_LARGE, f"more than {page_bytes} bytes{complaint}", head)
            if complaint:
                return
        elif length is None:
            reason = DAMAGED if feed.outcome == DAMAGED else TRUNCATED
            yield LostPage(start, reason, feed.detail or "the file ends inside a page", tape.take(_HEAD_BYTES))
            return
        elif length < 0:
            head = tape.take(min(-length, _HEAD_BYTES))
            yield LostPage(start, BAD_PAGE, "another page begins before this one ends", head)
            tape.drop(-length - len(head))
        else:
            yield PageElement(start, tape.take(length))
    if end is None and feed.outcome in (DAMAGED, TRUNCATED):
        yield LostPage(tape.base, feed.outcome, feed.detail, b"")


class _Tape:
    """A feed's bytes as a buffer that moves forward."""

    def __init__(self, feed: Feed, base: int) -> None:
        self._feed = feed
        self._buffer = bytearray()
        self.base = base  # position of the buffer's first byte

    @property
    def size(self) -> int:
        return len(self._buffer)

    def take(self, n_bytes: int) -> bytes:
        taken = bytes(self._buffer[:n_bytes])
        self.drop(len(taken))
        return taken

    def drop(self, n_bytes: int) -> None:
        del self._buffer[:n_bytes]
        self.base += n_bytes

    def _grow(self) -> bool:
        piece = self._feed.read()
        self._buffer += piece
        return bool(piece)

    def seek(self, mark: bytes, *, end: int | None) -> bool:
        """Drops all before the next `mark`; False where none starts before `end`."""
        while end is None or self.base < end:
            found = self._buffer.find(mark)
            if found >= 0:
                self.drop(found)
                return end is None or self.base < end
            self.drop(max(0, self.size - _TAIL_BYTES))
            if not self._grow():
                return False
        return False

    def find_page_end(self, page_bytes: int) -> int | None:
        """Length of the page at the buffer's start; negative where another begins first; None where no end is found."""
        seen = len(PAGE_START)
        while True:
            length = self._buffer.find(PAGE_END, seen)
            other = self._buffer.find(PAGE_START, seen, length if length >= 0 else self.size)
            if other >= 0:
                return -other
            if length >= 0:
                length += len(PAGE_END)
                return length if length <= page_bytes else None
            seen = max(seen, self.size - len(PAGE_END))
            if self.size > page_bytes or not self._grow():
                return None

    def pass_over_page(self, skip_bytes: int | None) -> str:
        """Drops all up to the end of the page or the start of another; what is wrong where neither is reached."""
        start = self.base
        while True:
            end, other = self._buffer.find(PAGE_END), self._buffer.find(PAGE_START)
            if end >= 0 and (other < 0 or end < other):
                self.drop(end + len(PAGE_END))
                return ""
            if other >= 0:
                self.drop(other)
                return ""
            self.drop(max(0, self.size - _TAIL_BYTES))
            if skip_bytes is not None and self.base - start > skip_bytes:
                return f", and no end of it in {skip_bytes} more; nothing more is read of what it is compressed in"
            if not self._grow():
                return f"; {self._feed.detail}" if self._feed.detail else "; its end is missing"
