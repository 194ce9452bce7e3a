"""What a crawl holds besides articles: planned pages in, captures of everything else out.

Duplicates by address and by text, edited copies of a wire story, redirects, error pages, files that are not HTML, pages
without a text, damaged records. The rule: each capture names its kind, and a copy is fetched later than its original.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sample_archive import Capture
from sample_articles import PROSE, Article, number
from sample_chrome import load_chrome
from sample_papers import BEGIN, END, PAPERS, Planned, capture_page, make_url, stamp


class Refetch(NamedTuple):
    """A page of a paper asked for once more, its address written in another way."""

    host: str
    ordinal: int  # among the paper's pages
    old: str
    new: str
    suffix: str


REFETCHES = (
    Refetch("www.harbour-courier.example", 0, "", "", "?utm_source=twitter&utm_medium=social"),
    Refetch("www.harbour-courier.example", 2, "https://", "http://", ""),
    Refetch("www.fenwick-gazette.example", 0, "", "", "?utm_campaign=morning-briefing"),
    Refetch("news.northbay-herald.example", 1, ".example/", ".example:443/", ""),
    Refetch("www.dailybeacon.example", 1, "://www.", "://", ""),
    Refetch("www.valleypost.test", 0, "", "", "&utm_source=feed&utm_medium=rss"),
    Refetch("www.eastern-wire.example", 1, "", "", ""),
    Refetch("www.elbufer-zeitung.example", 0, "https://", "http://", "?utm_source=newsletter"),
)

# The same text under another address: a print edition, an archive, a sister paper. (host, ordinal, host of the copy)
REPRINTS = (
    ("www.harbour-courier.example", 3, "www.eastern-wire.example"),
    ("www.eastern-wire.example", 3, "www.harbour-courier.example"),
    ("www.capital-ledger.test", 1, "news.northbay-herald.example"),
    ("www.fenwick-gazette.example", 3, "www.fenwick-gazette.example"),
    ("www.dailybeacon.example", 3, "www.dailybeacon.example"),
)

# (host of the page that moved, ordinal, status, text of the redirect's own little page)
REDIRECTS = (
    ("www.harbour-courier.example", 1, "301 Moved Permanently"),
    ("www.fenwick-gazette.example", 1, "302 Found"),
    ("www.ridgeway-echo.test", 1, "301 Moved Permanently"),
    ("www.diario-del-puerto.example", 0, "302 Found"),
    ("www.capital-ledger.test", 0, "307 Temporary Redirect"),
    ("www.polderbode.example", 1, "303 See Other"),
)

THIN = (
    ("www.harbour-courier.example", "Watch: seals on the slipway", ("Video: our reader Tom filmed this on Sunday.",)),
    ("www.fenwick-gazette.example", "In pictures: the flower show", ("Picture 1 of 24.",)),
    (
        "www.capital-ledger.test",
        "Live: budget day as it happened",
        ("This live blog has ended.", "Thanks for reading."),
    ),
    ("www.ridgeway-echo.test", "Crossword 4,117", ("Today's solution will appear tomorrow.",)),
)


# Records that something happened to after they were written: (host, ordinal) of the page, and what.
DAMAGED = {
    ("www.capital-ledger.test", 3): "flipped",
    ("www.eastern-wire.example", 4): "content_length",
    ("www.saltmarsh-observer.example", 4): "truncated",
}


def capture_pages(pages: Sequence[Planned]) -> list[Capture]:
    """Each planned page fetched once; what becomes of it is told by its kind."""
    damaged = {_find(pages, host, ordinal).page.url: damage for (host, ordinal), damage in DAMAGED.items()}
    captures = []
    for planned in pages:
        damage = damaged.get(planned.page.url, "")
        kind = "damaged" if damage else "article" if planned.page.article.language == "en" else "foreign"
        captures.append(capture_page(planned, kind=kind, damage=damage))
    return captures


def list_oddities(pages: Sequence[Planned]) -> list[Capture]:
    """All of them, in no particular order."""
    return [
        *_fetch_again(pages),
        *_reprint(pages),
        *_edit_wire_stories(pages),
        *_redirect(pages),
        *_fail(),
        *_send_files(),
        *_send_thin_pages(pages),
    ]


def _find(pages: Sequence[Planned], host: str, ordinal: int) -> Planned:
    return [planned for planned in pages if planned.paper.host == host][ordinal]


def _fetch_again(pages: Sequence[Planned]) -> list[Capture]:
    captures = []
    for hours, (host, ordinal, old, new, suffix) in enumerate(REFETCHES, start=30):
        planned = _find(pages, host, ordinal)
        assert old in planned.page.url
        url = planned.page.url.replace(old, new, 1) + suffix
        later = planned._replace(page=planned.page._replace(url=url), moment=planned.moment + timedelta(hours=hours))
        captures.append(capture_page(later, kind="duplicate_url"))
    return captures


def _reprint(pages: Sequence[Planned]) -> list[Capture]:
    captures = []
    for ordinal, (host, place, other_host) in enumerate(REPRINTS):
        planned = _find(pages, host, place)
        paper = next(paper for paper in PAPERS if paper.host == other_host)
        address = f"{paper.scheme}://{paper.host}/archive/{number(planned.page.url) % 90_000 + 10_000}"
        page = planned.page._replace(url=address, site=paper.name, layout=paper.layout, meta_charset=paper.meta)
        moment = planned.moment + timedelta(days=3, hours=ordinal)
        captures.append(capture_page(Planned(paper, page, moment), kind="duplicate_text"))
    return captures


def _edit_wire_stories(pages: Sequence[Planned]) -> list[Capture]:
    captures = []
    for ordinal, edit in enumerate(json.loads((PROSE / "wire-edits.json").read_text(encoding="utf-8"))):
        original = next(planned for planned in pages if planned.page.article.key == edit["article"])
        paper = next(paper for paper in PAPERS if paper.host == edit["host"])
        article = _edit(original.page.article, edit["title"], edit["replace"], edit["drop"], edit["append"])
        page = original.page._replace(
            article=article,
            site=paper.name,
            url=make_url(paper, article),
            layout=paper.layout,
            meta_charset=paper.meta,
        )
        moment = original.moment + timedelta(hours=7 + ordinal)
        captures.append(capture_page(Planned(paper, page, moment), kind="near_duplicate"))
    return captures


def _edit(article: Article, title: str, replace: dict[str, str], drop: int, append: str) -> Article:
    paragraphs = [text for place, text in enumerate(article.paragraphs) if place != drop]
    for old, new in replace.items():
        assert any(old in text for text in paragraphs), f"{article.key} does not say {old!r}"
        paragraphs = [text.replace(old, new) for text in paragraphs]
    return article._replace(title=title, paragraphs=(*paragraphs, *([append] if append else [])))


def _plain_capture(url: str, moment: datetime, mime: str, payload: bytes, *, kind: str) -> Capture:
    headers = (("Server", "nginx"), ("Content-Type", mime), ("Content-Length", str(len(payload))))
    return Capture(url, stamp(moment), "200 OK", headers, payload, kind, "", "")


def _redirect(pages: Sequence[Planned]) -> list[Capture]:
    captures = []
    for host, ordinal, status in REDIRECTS:
        planned = _find(pages, host, ordinal)
        target = planned.page.url
        url = f"{planned.paper.scheme}://{host}/short/{number(target) % 9000 + 1000}"
        link = f'<p>The document has moved <a href="{target}">here</a>.</p>'
        body = f"<html><head><title>{status}</title></head><body><h1>{status[4:]}</h1>{link}</body></html>"
        moment = planned.moment - timedelta(seconds=2)
        plain = _plain_capture(url, moment, "text/html", body.encode(), kind="redirect")
        captures.append(plain._replace(status=status, headers=(*plain.headers, ("Location", target))))
    return captures


def _spread(count: int, ordinal: int, name: str) -> datetime:
    """A moment in the `ordinal`-th of `count` equal parts of the sample's time."""
    part = (END - BEGIN) / count
    return BEGIN + part * ordinal + timedelta(seconds=number(name) % int(part.total_seconds()))


def _fail() -> list[Capture]:
    errors = json.loads((PROSE / "errors.json").read_text(encoding="utf-8"))
    captures = []
    for ordinal, error in enumerate(errors):
        url, status, said = error["url"], error["status"], load_chrome(error["language"]).said
        body = f"""<!DOCTYPE html><html lang="{error["language"]}"><head><title>{status[4:]}</title></head><body>
<h1>{status}</h1><p>{error["message"]}</p><p>{said["cookie"]}</p><p>{said["rights"]}</p></body></html>"""
        moment = _spread(len(errors), ordinal, url)
        plain = _plain_capture(url, moment, "text/html; charset=utf-8", body.encode(), kind="error")
        captures.append(plain._replace(status=status, language=error["language"]))
    return captures


def _send_files() -> list[Capture]:
    items = "<item><title>Harbour wall repairs to last until spring</title></item>"
    feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>The Daily Beacon</title>{items}</channel></rss>'
    report = json.dumps({"stations": [{"name": "Skerry Point", "wind": 7}], "warnings": []})
    budget = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    files = (
        ("https://www.harbour-courier.example/img/wall.png", "image/png", make_png()),
        ("http://www.valleypost.test/docs/budget.pdf", "application/pdf", budget),
        ("https://www.dailybeacon.example/api/weather", "application/json", report.encode()),
        ("https://www.dailybeacon.example/feed", "application/rss+xml", feed.encode()),
        ("https://www.capital-ledger.test/robots.txt", "text/plain", b"User-agent: *\nDisallow: /admin/\n"),
    )
    return [
        _plain_capture(url, _spread(len(files), ordinal, url), mime, content, kind="not_html")
        for ordinal, (url, mime, content) in enumerate(files)
    ]


def make_png() -> bytes:
    """A grey square, 16 by 16."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * 16) * 16))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def _send_thin_pages(pages: Sequence[Planned]) -> list[Capture]:
    captures = []
    for ordinal, (host, title, paragraphs) in enumerate(THIN):
        planned = _find(pages, host, 2)
        article = Article(f"thin/{ordinal}", "en", title, "Staff", "Media", paragraphs)
        url = f"{planned.paper.scheme}://{host}/media/{number(title) % 9000 + 1000}"
        page = planned.page._replace(article=article, url=url)
        captures.append(capture_page(Planned(planned.paper, page, _spread(len(THIN), ordinal, title)), kind="thin"))
    empty = "https://www.saltmarsh-observer.example/?p=1"
    captures.append(_plain_capture(empty, _spread(3, 1, empty), "text/html", b"", kind="thin"))
    return captures
