"""The main text and the metadata of a page: decoded HTML in, `Extracted` out, or an `ExtractionFailure` that says why.

The rule: no extractor's trouble becomes ours. Whatever one of them raises on a page, the fallback is asked next, and
what neither can read is a failure with a reason, never an exception and never an empty text.

Extractors, by shingle F1 on the 181 pages of scrapinghub's article-extraction-benchmark and cost of a page:

    trafilatura   .962   9 ms      fast=True; the default
    resiliparse   .934   1.1 ms    the fallback, and the quick look at a page's visible text
    news-please   .937   123 ms    what the authors of RoBERTa used; its own extra, `shardmill[paper]`

Adding one is adding a function to `_EXTRACTORS`. Page metadata is read by `corpora.metadata` from the tree that
trafilatura gets, for all of them alike: trafilatura's own costs more than its text, and news-please's completes dates
from the day on which it runs.
"""

import logging
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from lxml import etree

from corpora.fast_pruning import speed_up_trafilatura
from corpora.html_guards import HtmlLimits, flatten, guard_html, has_many_elements
from corpora.metadata import PageMetadata, parse_html, read_metadata

__all__ = [
    "EXTRACTORS",
    "Extracted",
    "ExtractionFailure",
    "describe_extractor",
    "extract",
    "load_extractor",
    "visible_text",
]


class Extracted(NamedTuple):
    """What a page says, and what it says of itself; "" where it says nothing."""

    text: str  # paragraphs in lines
    title: str
    authors: tuple[str, ...]
    published: str  # ISO date or date-time
    declared_language: str
    site: str
    extractor: str  # name and version of the one that found the text


class ExtractionFailure(NamedTuple):
    """Why there is no text: `extract_failed` if every extractor broke, `no_text` if they ran and found none."""

    reason: str
    detail: str


class _Page(NamedTuple):
    """A page on its way to an extractor: harmless HTML, parsed once."""

    html: str
    tree: Any  # lxml.html.HtmlElement; an extractor may change it
    url: str


class _Article(NamedTuple):
    text: str
    title: str = ""
    authors: tuple[str, ...] = ()


_DEFAULT_LIMITS = HtmlLimits()
_ONLY_PROSE = {"alt_texts": False, "links": False, "form_fields": False, "noscript": False, "list_bullets": False}


def extract(
    html: str,
    *,
    url: str,
    extractor: str = "trafilatura",
    fallback: str = "resiliparse",
    fetched_at: str = "",
    limits: HtmlLimits = _DEFAULT_LIMITS,
) -> Extracted | ExtractionFailure:
    """The main text by `extractor`, or by `fallback` ("" is none) where that breaks or finds nothing.

    `fetched_at` keeps dates that lie after it out of `published`.
    """
    html = guard_html(html, limits)
    tree = parse_html(html)
    if tree is None:
        html = flatten(html, limits)
        tree = parse_html(html)
    if tree is None:
        return ExtractionFailure("no_text", "nothing in it can be parsed as HTML")
    metadata = read_metadata(tree, url=url, fetched_at=fetched_at)
    names = [name for name in dict.fromkeys((extractor, fallback)) if name]
    if has_many_elements(html, limits):
        names = ["resiliparse"]
    troubles = []
    for name in names:
        found = _run(name, _Page(html, tree, url))
        if isinstance(found, _Article):
            return _join(found, metadata, name)
        troubles.append(found)
    reason = "extract_failed" if all(trouble.reason == "extract_failed" for trouble in troubles) else "no_text"
    return ExtractionFailure(reason, "; ".join(trouble.detail for trouble in troubles))


def _run(name: str, page: _Page) -> _Article | ExtractionFailure:
    function = load_extractor(name)
    try:
        found = function(page)
    except MemoryError:
        raise  # of the process, not of the page: whoever watches over the process decides
    except Exception as error:  # noqa: BLE001  extractors raise whatever their many parsers raise; the fallback is next
        return ExtractionFailure("extract_failed", f"{name}: {type(error).__name__}: {str(error)[:200]}")
    if not found.text.strip():
        return ExtractionFailure("no_text", f"{name}: no main text")
    return found


def _join(found: _Article, metadata: PageMetadata, name: str) -> Extracted:
    return Extracted(
        text=found.text,
        title=found.title or metadata.title,
        authors=found.authors or metadata.authors,
        published=metadata.published,
        declared_language=metadata.declared_language,
        site=metadata.site,
        extractor=describe_extractor(name),
    )


def visible_text(html: str, *, limits: HtmlLimits = _DEFAULT_LIMITS) -> str:
    """All text of a page that a reader could see, navigation included, in 1.3 ms."""
    page = guard_html(html, limits)
    text: str = _resiliparse()(page, main_content=False, **_ONLY_PROSE)
    return text


@cache
def describe_extractor(name: str) -> str:
    """Name and version, as documents carry it."""
    return f"{name} {version(name)}"


@cache
def load_extractor(name: str) -> Callable[[_Page], _Article]:
    """The function behind a name, its library imported.

    Raises ValueError for an unknown name and ImportError, with a remedy, for one that is not installed.
    """
    if name not in _EXTRACTORS:
        raise ValueError(f"extractor is {name!r}; there are {', '.join(sorted(_EXTRACTORS))}")
    try:
        return _EXTRACTORS[name]()
    except ImportError as error:
        extra = "paper" if name == "news-please" else "pipelines"
        raise ImportError(f"{name} cannot be imported ({error}); install shardmill[{extra}]") from error


def _load_trafilatura() -> Callable[[_Page], _Article]:
    from trafilatura import bare_extraction
    from trafilatura.settings import Document, Extractor

    speed_up_trafilatura()
    for name in ("trafilatura", "htmldate", "courlan"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it warns of every page without text; we count those
    options = Extractor(output_format="python", fast=True, comments=False, tables=True, with_metadata=False)

    def run(page: _Page) -> _Article:
        _lighten(page.tree)
        found = bare_extraction(page.tree, options=options)
        return _Article(found.text or "" if isinstance(found, Document) else "")

    return run


def _lighten(tree: Any) -> None:
    """Removes what holds no text of an article: trafilatura would too, after copying and searching it often.

    Not quite for nothing: its fallbacks look at navigation too, and give other text on 2 of 161 English pages.
    """
    for script in list(tree.iter("script")):
        if script.get("type") != "application/ld+json":
            script.tag = "style"
        elif next(script.iterancestors("aside", "footer", "nav"), None) is not None:
            script.tail = None
            tree.append(script)  # the article's own description, which trafilatura may fall back on
    etree.strip_elements(tree, "style", "svg", "link", "template", "aside", "footer", "nav", with_tail=False)


def _load_resiliparse() -> Callable[[_Page], _Article]:
    convert = _resiliparse()
    # Its defaults score .898; without what is not prose .934.
    options = _ONLY_PROSE | {"main_content": True, "comments": False}

    def run(page: _Page) -> _Article:
        return _Article(convert(page.html, **options))

    return run


@cache
def _resiliparse() -> Any:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text


_NO_HOST = re.compile(r"https?://(?:[/?#:]|$)", re.IGNORECASE)


def _load_news_please() -> Callable[[_Page], _Article]:
    from langdetect import DetectorFactory  # type: ignore[import-untyped]  # comes with news-please, without types
    from newsplease import NewsPlease

    DetectorFactory.seed = 0  # langdetect draws lots; it decides nothing here, but a run must repeat itself
    for name in ("newsplease", "newspaper", "readability", "tldextract", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def run(page: _Page) -> _Article:
        # It raises on URLs without a host; and it would fetch the page's images if it were let.
        url = "" if _NO_HOST.match(page.url) or "://" not in page.url else page.url
        found = NewsPlease.from_html(page.html, url=url or None, fetch_images=False)
        authors = tuple(author for author in found.authors or () if isinstance(author, str) and author.strip())
        return _Article(found.maintext or "", found.title or "", authors)

    return run


_EXTRACTORS: dict[str, Callable[[], Callable[[_Page], _Article]]] = {
    "trafilatura": _load_trafilatura,
    "resiliparse": _load_resiliparse,
    "news-please": _load_news_please,
}
EXTRACTORS = tuple(sorted(_EXTRACTORS))
