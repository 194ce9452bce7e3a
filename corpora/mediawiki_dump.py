"""Reads MediaWiki dumps (`pages-articles`), plain, gzipped or bzip2: a seekable file in, articles out.

The rule: nothing is lost without a `Rejection`, and damage costs what it is in. Only true input errors (`OSError`) are
raised. Reading a file in ranges gives, together, exactly what reading it whole gives: a page belongs to the range in
which its compressed stream (in a plain file: its `<page>`) starts.

What comes out. A `RawPage` for each page of the main namespace that is no redirect; its body is the `<page>` element as
it stands in the export, which `corpora.page_xml` reads. `fetched_at` is the time of the revision. Every other page is a
rejection (`namespace`, `redirect`), made from the bytes before its text.

Splits. The multistream dump of Wikipedia holds 100 pages a stream and is cut into ranges as any other file is. A dump
that is one bzip2 or gzip stream cannot be: the range that starts at 0 reads all of it, and the others find no stream
start and give nothing. Take the multistream dump.

Offsets. `offset` is where the page's compressed stream starts in the file, or the page itself in a plain file. Pages of
one stream share it, so an id is made of it, the page's place in the inflated stream, and its URL.

Limits of what can be known. A bzip2 block is checked after it was inflated: pages that end in the last 1 MiB before
damage is met are not trusted, and are lost with the rest of the stream, under one rejection. Dumps with all revisions
hold pages of any size; they are not what this reads, though the last revision of a page is found.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from corpora.bz2_streams import BZIP2_MAGIC, Bz2Stream, looks_like_stream, next_stream
from corpora.documents import RawPage, Rejection, make_document_id
from corpora.members import (
    COMPLETE,
    DAMAGED,
    GZIP_MAGIC,
    TRUNCATED,
    Member,
    PlainFeed,
    Window,
    looks_like_member,
    skip_padding,
)
from corpora.page_elements import (
    BAD_PAGE,
    EXPORT_END,
    PAGE_END,
    PAGE_START,
    LostPage,
    PageElement,
    carve_pages,
)
from corpora.page_xml import Site, make_url, read_head, read_site, read_timestamp
from corpora.warc import normalise_date

__all__ = ["WIKITEXT_MIME", "DumpLimits", "read_articles"]

WIKITEXT_MIME = "text/x-wiki"
BROKEN_REASONS = frozenset({"empty_file", "unknown_format", "declares_entities", BAD_PAGE, DAMAGED, TRUNCATED})
_HEAD_BYTES = 1 << 16  # of the export: site and namespaces take about 4 KB
_UNTRUSTED_BYTES = 1 << 20  # more than a block of bzip2 inflates to, runs of one byte aside
_LAST_BYTES = 1 << 12
_PLAUSIBLE_BYTES = 1 << 10  # that something must inflate to, to be taken for a gzip member


@dataclass(frozen=True, kw_only=True, slots=True)
class DumpLimits:
    """How much one page may cost."""

    page_bytes: int = 16 << 20  # as XML; MediaWiki takes 2 MiB of text, of which escaping makes at most six times
    skip_bytes: int = 32 << 20  # inflated in search of the end of a page that is too large

    def __post_init__(self) -> None:
        if self.page_bytes < 1 << 10 or self.skip_bytes < 0:
            raise ValueError(f"page_bytes is {self.page_bytes}, skip_bytes {self.skip_bytes}; they count bytes")


_DEFAULT_LIMITS = DumpLimits()


class _Place(NamedTuple):
    """Where an item stands: its stream in the file, and itself in the inflated stream (0 in a plain file)."""

    source: str
    offset: int
    inner: int


class _Packing(NamedTuple):
    """How a compressed file is made of streams."""

    open: Callable[[Window, int], Bz2Stream | Member]
    looks_right: Callable[[Window, int], bool]
    find_next: Callable[[Window, int, int | None], int | None]
    name: str


def read_articles(
    stream: BinaryIO, *, source: str, start: int = 0, end: int | None = None, limits: DumpLimits = _DEFAULT_LIMITS
) -> Iterator[RawPage | Rejection]:
    """Every page that starts in bytes [start, end) of the file, in the file's order.

    `stream` is the whole file, seekable, not decompressed. `source` names it in what comes out.
    """
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"no byte range: [{start}, {end})")
    window = Window(stream)
    end = window.size if end is None else min(end, window.size)
    packing = _detect_packing(window)
    head = _read_export_head(window, packing)
    refusal = _refuse_file(window, head, packing, source)
    if refusal:
        if start == 0:
            yield refusal
        return
    site = read_site(head)
    items = _carve_plain(window, source, start, end, limits)
    if packing:
        items = _carve_streams(window, packing, source, start, end, limits)
    for place, item in items:
        yield _convert(place, item, site)


def _detect_packing(window: Window) -> _Packing | None:
    head = window.look(0, 16)
    if head.startswith(BZIP2_MAGIC):
        return _BZIP2
    if head.startswith(GZIP_MAGIC):
        return _GZIP
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") or not head:
        return None
    # The first stream is damaged at its start: what stands further on decides.
    return _BZIP2 if next_stream(window, 0, window.size) is not None else None


def _read_export_head(window: Window, packing: _Packing | None) -> bytes:
    """The export's first bytes, up to its first page."""
    head = b""
    feed = packing.open(window, 0) if packing else PlainFeed(window, 0)
    while len(head) < _HEAD_BYTES and PAGE_START not in head and (piece := feed.read()):
        head += piece
    return head[: _HEAD_BYTES + len(PAGE_START)].partition(PAGE_START)[0]


def _refuse_file(window: Window, head: bytes, packing: _Packing | None, source: str) -> Rejection | None:
    reason = detail = ""
    if not window.size:
        reason, detail = "empty_file", "the file has no bytes"
    elif b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        reason, detail = "declares_entities", "a document type is declared; MediaWiki's exports declare none"
    elif not packing and b"<mediawiki" not in head and PAGE_START not in window.look(0, _HEAD_BYTES):
        reason, detail = "unknown_format", "neither an export of MediaWiki, nor one compressed with bzip2 or gzip"
    return _reject(_Place(source, 0, 0), "", reason, detail) if reason else None


def _carve_plain(
    window: Window, source: str, start: int, end: int, limits: DumpLimits
) -> Iterator[tuple[_Place, PageElement | LostPage]]:
    feed = PlainFeed(window, start)
    for item in carve_pages(feed, page_bytes=limits.page_bytes, skip_bytes=None, base=start, end=end):
        yield _Place(source, item.position, 0), item
    if end == window.size and start < end and not _is_finished(window, limits):
        yield _Place(source, window.size - 1, 0), LostPage(0, TRUNCATED, _NOT_FINISHED, b"")


_NOT_FINISHED = "the export's end is missing: the file was cut between two pages"


def _is_finished(window: Window, limits: DumpLimits) -> bool:
    """Whether the last mark in a plain file is not the end of a page. A page that was cut speaks for itself."""
    tail = window.look(max(0, window.size - limits.page_bytes), limits.page_bytes)
    last = max(tail.rfind(mark) for mark in (PAGE_START, EXPORT_END))
    return tail.rfind(PAGE_END) <= last or (last < 0 and PAGE_END not in tail)


def _carve_streams(
    window: Window, packing: _Packing, source: str, start: int, end: int, limits: DumpLimits
) -> Iterator[tuple[_Place, PageElement | LostPage]]:
    position: int | None = packing.find_next(window, start, end) if start else 0
    while position is not None and (position := skip_padding(window, position)) < end:
        feed = packing.open(window, position)
        tail = _Tail(feed)
        for item in _hold_back(tail, limits):
            yield _Place(source, position, item.position), item
        if feed.outcome != COMPLETE:
            position = packing.find_next(window, position + 1, None)
            continue
        after = skip_padding(window, feed.position)
        if after >= window.size and tail.ends_after_page:
            yield _Place(source, position, tail.n_bytes), LostPage(0, TRUNCATED, _NOT_FINISHED, b"")
        position = after
        if after < window.size and not packing.looks_right(window, after):
            yield _Place(source, after, 0), LostPage(0, DAMAGED, f"no {packing.name} stream starts here", b"")
            position = packing.find_next(window, after, None)


class _Tail:
    """A stream that remembers how much it gave, and the last of it."""

    def __init__(self, feed: Bz2Stream | Member) -> None:
        self._feed = feed
        self.n_bytes = 0
        self._last = b""

    @property
    def outcome(self) -> str:
        return self._feed.outcome

    @property
    def detail(self) -> str:
        return self._feed.detail

    @property
    def ends_after_page(self) -> bool:
        """Whether the last mark is the end of a page, not of the export."""
        return self._last.rfind(PAGE_END) > self._last.rfind(EXPORT_END)

    def read(self) -> bytes:
        piece = self._feed.read()
        self.n_bytes += len(piece)
        self._last = (self._last + piece)[-_LAST_BYTES:]
        return piece


def _hold_back(feed: _Tail, limits: DumpLimits) -> Iterator[PageElement | LostPage]:
    """The pages of a stream, each once what it stands in was checked; see the module's limits."""
    held: deque[PageElement | LostPage] = deque()
    for item in carve_pages(feed, page_bytes=limits.page_bytes, skip_bytes=limits.skip_bytes):
        if isinstance(item, LostPage) and item.reason == DAMAGED:
            yield _sum_up(held, item)
            return
        held.append(item)
        while held and _end_of(held[0]) + _UNTRUSTED_BYTES <= feed.n_bytes:
            yield held.popleft()
    yield from held


def _sum_up(untrusted: deque[PageElement | LostPage], damage: LostPage) -> LostPage:
    """One item for the damage and for the pages that it may have spoilt."""
    if not untrusted:
        return damage
    first = untrusted[0]
    head = first.xml[:_LAST_BYTES] if isinstance(first, PageElement) else first.head
    detail = f"{damage.detail}; {len(untrusted)} pages that end shortly before are not trusted"
    return LostPage(first.position, DAMAGED, detail, head)


def _end_of(item: PageElement | LostPage) -> int:
    return item.position + (len(item.xml) if isinstance(item, PageElement) else 0)


def _next_gzip_member(window: Window, position: int, end: int | None) -> int | None:
    """As `next_stream`; the magic number is short, so what follows it must inflate to something."""
    stop = window.size if end is None else end
    while 0 <= (position := window.find(GZIP_MAGIC, position)) < stop:
        if looks_like_member(window, position):
            first = Member(window, position).read(max_fed_bytes=_HEAD_BYTES)
            if len(first) >= _PLAUSIBLE_BYTES or first.startswith((b"<", b" ", b"\n")):
                return position
        position += 1
    return None


_BZIP2 = _Packing(Bz2Stream, looks_like_stream, next_stream, "bzip2")
_GZIP = _Packing(Member, looks_like_member, _next_gzip_member, "gzip")


def _convert(place: _Place, item: PageElement | LostPage, site: Site) -> RawPage | Rejection:
    head = read_head(item.xml if isinstance(item, PageElement) else item.head, site)
    url = make_url(site, head.title) if head.title else ""
    if isinstance(item, LostPage):
        return _reject(place, url, item.reason, item.detail)
    if not head.title:
        return _reject(place, url, BAD_PAGE, "the page has no title")
    if head.namespace != 0:
        return _reject(place, url, "namespace", f"namespace {head.namespace}")
    if head.is_redirect:
        return _reject(place, url, "redirect", "")
    if b"<!" in item.xml:
        return _reject(place, url, BAD_PAGE, "the page holds a declaration or CDATA, which no export has")
    fetched_at = normalise_date(read_timestamp(item.xml))
    identity = _identify(place, url)
    return RawPage(identity, url, fetched_at, 200, WIKITEXT_MIME, "utf-8", item.xml, place.source, place.offset)


def _reject(place: _Place, url: str, reason: str, detail: str) -> Rejection:
    broken = reason in BROKEN_REASONS
    return Rejection(_identify(place, url), url, "read", reason, detail, place.source, place.offset, broken)


def _identify(place: _Place, url: str) -> bytes:
    # URLs hold no NUL: the ids of pages that share an offset never meet those of others.
    return make_document_id(place.source, place.offset, f"{place.inner}\0{url}" if place.inner else url)
