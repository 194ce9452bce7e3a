"""What a page says of itself: a parsed page in, title, authors, date of publication, language and site out.

The rule: nothing is completed or guessed from the day on which it runs; a date that is not stated is "".

Sources in order of trust: JSON-LD of schema.org, Open Graph and other `<meta>`, elements marked up as headline or
time, the URL. Reading them from the tree that the extractor gets anyway costs about a tenth of trafilatura's own
metadata, which looks for much that we do not keep.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from lxml import etree
from lxml.html import HtmlElement, HTMLParser

from corpora.dates import date_in_url, find_date, is_plausible
from corpora.urls import host_of

__all__ = ["PageMetadata", "parse_html", "read_metadata"]

MAX_TITLE_CHARS = 500
MAX_AUTHORS = 20
_MAX_JSON_CHARS = 500_000
_ARTICLE_TYPES = ("article", "posting", "report", "review", "recipe")
_TITLE_KEYS = (
    "og:title",
    "twitter:title",
    "dc.title",
    "dcterms.title",
    "parsely-title",
    "sailthru.title",
    "headline",
    "title",
)
_AUTHOR_KEYS = ("author", "article:author", "parsely-author", "sailthru.author", "dc.creator", "dcterms.creator",
                "citation_author", "byl", "og:article:author", "creator")  # fmt: skip
_DATE_KEYS = (
    "article:published_time", "og:published_time", "datepublished", "og:article:published_time", "article.published",
    "parsely-pub-date", "sailthru.date", "publishdate", "pubdate", "publish-date", "publish_date", "published-date",
    "published_time_telegram", "bt:pubdate", "cxenseparse:recs:publishtime", "date_published", "dc.date.issued",
    "dcterms.issued", "dcterms.created", "dc.date.created", "dc.date", "dcterms.date", "citation_publication_date",
    "citation_date", "article_date_original", "originalpublicationdate", "article.created", "datecreated", "pub_date",
    "rnews:datepublished", "dat", "date",
)  # fmt: skip
_DATE_IN_SCRIPT = re.compile(
    r"[\"'](?:datePublished|publishedDate|publishedAt|published_at|publishDate|publish_date|first_publication_date)\\?[\"']"
    r"\s*:\s*\\?[\"']([^\"'\\]{8,40})"
)
_DATE_CLASSES = (
    "//time[not(@datetime)] | //*[self::span or self::p or self::div or self::abbr or self::li or self::em]"
    "[contains(@class, 'date') or contains(@class, 'Date') or contains(@class, 'publish')"
    " or contains(@class, 'posted')]"
)
_MAX_DATE_ELEMENTS = 10
_MAX_DATE_CHARS = 100
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*/[^<>]*>", re.IGNORECASE)
_SELF_CLOSED = re.compile(r"(<html\b[^<>]*?)\s*/>", re.IGNORECASE)
_HEAD = re.compile(
    r"(?>\s+|<!--.*?-->|<!doctype[^>]*>|</?(?:html|head|meta|link|base)\b[^>]*>"
    r"|<(?P<name>title|script|style|noscript|template)\b.*?</(?P=name)\s*>)*+",
    re.IGNORECASE | re.DOTALL,
)
_SPACE = re.compile(r"\s+")


class PageMetadata(NamedTuple):
    """What a page says of itself, "" where it says nothing."""

    title: str
    authors: tuple[str, ...]
    published: str  # ISO date or date-time
    declared_language: str  # as in "en" or "en-us"
    site: str  # its name, else its host


class _Statements(NamedTuple):
    """What stands in the head of a page."""

    meta: dict[str, list[str]]  # name, property or itemprop in lower case -> contents
    article: dict[str, Any]  # the JSON-LD object of the article, {} without one


def parse_html(html: str) -> HtmlElement | None:
    """The tree of a page; None if there is nothing in it, or if it is nested too deeply for the parser.

    `html` holds no lone surrogates (corpora.html_guards).
    """
    if not html or html.isspace():
        return None
    # libxml2 trips over these two forms: https://bugs.launchpad.net/lxml/+bug/1955915
    head = _SELF_CLOSED.sub(r"\1>", _DOCTYPE.sub("", html[:4_096], count=1), count=1)
    html = head + html[4_096:]
    if "<body" not in html and "<BODY" not in html:
        # HTML 5 lets <body> be left out; libxml2 then takes the article for a part of the head.
        found = _HEAD.match(html)
        end = found.end() if found else 0
        html = f"{html[:end]}<body>{html[end:]}"
    parser = _parser()
    try:
        tree: HtmlElement | None = etree.fromstring(html.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        return None
    trouble = parser.error_log.last_error
    if trouble is not None and trouble.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return None  # it has stopped reading there, and what follows is not in the tree
    return tree


@cache
def _parser() -> HTMLParser:
    parser = HTMLParser(
        collect_ids=False, default_doctype=False, encoding="utf-8", remove_comments=True, remove_pis=True
    )
    # lxml.html looks each element's class up in Python; plain HtmlElements for all make the parse a third faster.
    parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=HtmlElement))
    return parser


def read_metadata(tree: HtmlElement, *, url: str, fetched_at: str = "") -> PageMetadata:
    """What the page says of itself; the tree is not changed."""
    said = _Statements(_read_meta(tree), _find_article(tree))
    site = _first(said.meta, "og:site_name", "application-name")
    return PageMetadata(
        title=_read_title(tree, said, site),
        authors=_read_authors(tree, said),
        published=_read_published(tree, said, url, fetched_at),
        declared_language=_read_language(tree, said),
        site=site or host_of(url),
    )


def _read_meta(tree: HtmlElement) -> dict[str, list[str]]:
    meta: dict[str, list[str]] = {}
    for element in tree.iter("meta"):
        content = element.get("content")
        if not content or content.isspace():
            continue
        for kind in ("property", "name", "itemprop", "http-equiv"):
            if key := element.get(kind):
                meta.setdefault(key.strip().lower(), []).append(_tidy(content))
    return meta


def _tidy(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _first(meta: dict[str, list[str]], *keys: str) -> str:
    return next((meta[key][0] for key in keys if key in meta), "")


def _find_article(tree: HtmlElement) -> dict[str, Any]:
    """The first JSON-LD object whose type is an article's, else the first that says when it was published."""
    dated: dict[str, Any] = {}
    for script in tree.iter("script"):
        if (script.get("type") or "").strip().lower() != "application/ld+json" or not script.text:
            continue
        try:
            objects = list(_objects(json.loads(script.text[:_MAX_JSON_CHARS], strict=False)))
        except (ValueError, RecursionError):
            continue  # JSON-LD by hand is often broken, and can be nested to break us
        for item in objects:
            if _is_article(item):
                return item
            if not dated and isinstance(item.get("datePublished"), str):
                dated = {"datePublished": item["datePublished"]}  # of a WebPage: its other names are not the article's
    return dated


def _objects(parsed: Any) -> Iterator[dict[str, Any]]:
    waiting = [parsed]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, list):
            waiting = value[:200] + waiting
        elif isinstance(value, dict):
            yield value
            waiting = [value.get(key) for key in ("@graph", "mainEntity", "mainEntityOfPage")] + waiting


def _is_article(item: dict[str, Any]) -> bool:
    kinds = item.get("@type")
    names = [kind.lower() for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    return any(name.endswith(_ARTICLE_TYPES) for name in names) and ("headline" in item or "datePublished" in item)


def _read_title(tree: HtmlElement, said: _Statements, site: str) -> str:
    headline = said.article.get("headline")
    candidates = [_text_of(element) for element in tree.iter("h1")][:20]
    title = tree.find(".//title")
    whole = _tidy(title.text_content()) if title is not None else ""
    stated = _tidy(headline) if isinstance(headline, str) else ""
    stated = stated or _first(said.meta, *_TITLE_KEYS)
    # The headline on the page is the title as written; what the head says is often shortened or carries the site.
    for heading in candidates:
        if len(heading) >= 10 and (heading in stated or heading in whole or (stated and stated in heading)):
            return heading[:MAX_TITLE_CHARS]
    found = stated or whole or next((heading for heading in candidates if heading), "")
    return _without_site(found, site)[:MAX_TITLE_CHARS]


def _without_site(title: str, site: str) -> str:
    front, separator, back = title.rpartition(" - ") if " - " in title else title.rpartition(" | ")
    if separator and len(front) >= 10 and (not site or _same(back, site) or len(back) < 15):
        return front.strip()
    return title


def _same(one: str, other: str) -> bool:
    return re.sub(r"\W", "", one).lower() == re.sub(r"\W", "", other).lower()


def _text_of(element: HtmlElement) -> str:
    return _tidy(" ".join(element.itertext()))


def _read_authors(tree: HtmlElement, said: _Statements) -> tuple[str, ...]:
    names = _names_in(said.article.get("author"))
    if not names:
        names = [name for key in _AUTHOR_KEYS if key in said.meta for name in said.meta[key]]
    if not names:
        marked = tree.xpath('//*[@itemprop="author" or @rel="author"][not(self::meta)]')
        names = [_text_of(element) for element in marked[:MAX_AUTHORS]]
    tidy = (re.sub(r"^(?:by|von|par|por)\s+", "", _tidy(name), flags=re.IGNORECASE) for name in names)
    people = (person for name in tidy for person in re.split(r"\s*(?:,|;|\band\b|&)\s*", name))
    kept = (person for person in people if 2 < len(person) < 80 and "://" not in person and "@" not in person[:1])
    return tuple(dict.fromkeys(kept))[:MAX_AUTHORS]


def _names_in(author: Any) -> list[str]:
    people = author if isinstance(author, list) else [author]
    named = (person.get("name") if isinstance(person, dict) else person for person in people[:MAX_AUTHORS])
    return [name for name in named if isinstance(name, str)]


def _read_published(tree: HtmlElement, said: _Statements, url: str, fetched_at: str) -> str:
    for written in _dates_stated(tree, said):
        found = find_date(written)
        if found and is_plausible(found, fetched_at=fetched_at):
            return found
    found = date_in_url(url)
    return found if found and is_plausible(found, fetched_at=fetched_at) else ""


def _dates_stated(tree: HtmlElement, said: _Statements) -> Iterator[str]:
    for key in ("datePublished", "dateCreated"):
        if isinstance(value := said.article.get(key), str):
            yield value
    for key in _DATE_KEYS:
        yield from said.meta.get(key, ())
    for element in tree.xpath('//*[@itemprop="datePublished" or @pubdate][not(self::meta)]')[:5]:
        yield element.get("datetime") or element.get("content") or _text_of(element)
    for element in tree.xpath("//time[@datetime]")[:1]:
        yield element.get("datetime")
    # What follows is looked at on the tenth of pages that say it nowhere else.
    for script in tree.iter("script"):
        if found := _DATE_IN_SCRIPT.search(script.text or ""):
            yield found[1]
    for element in tree.xpath(_DATE_CLASSES)[:_MAX_DATE_ELEMENTS]:
        if len(text := _text_of(element)) <= _MAX_DATE_CHARS:
            yield text


def _read_language(tree: HtmlElement, said: _Statements) -> str:
    declared = tree.get("lang") or tree.get("xml:lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or ""
    declared = declared.strip() or _first(said.meta, "content-language", "og:locale", "language", "dc.language")
    code = declared.split(",")[0].strip().replace("_", "-").lower()
    return code if re.fullmatch(r"[a-z]{2,3}(?:-[a-z0-9]{1,8})*", code) else ""
