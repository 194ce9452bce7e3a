"""Puts an article into a page as news sites do: article in, HTML out, in one of seven layouts (`sample_layouts`).

What stands around the text is meant to be in the way: navigation, consent banners, advertisements, sharing buttons,
related links, comments, newsletters, inline scripts. The rule: the article's paragraphs stand in the page in order and
unchanged, and nothing here depends on anything but the page it is given.
"""

import functools
import json
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

from sample_articles import PROSE, Article, number, pick

LAYOUTS = Path(__file__).parent / "sample_layouts"
_EACH = re.compile(r"\{\{each (\w+)\}\}(.*?)\{\{end\}\}", re.DOTALL)
_NAME = re.compile(r"\{\{(\w+)\}\}")

Values = dict[str, str]
Lists = dict[str, list[Values]]


class Page(NamedTuple):
    """What a layout needs to know."""

    article: Article
    site: str  # the paper's name
    url: str
    published: str  # "2017-03-08T06:30:00Z"
    related: tuple[tuple[str, str], ...]  # title, URL
    meta_charset: str  # "" for a page that does not say
    layout: str
    declared_language: str  # in the page's `lang`: not always what it is written in


class Chrome(NamedTuple):
    """What a site says around its articles, in one language."""

    said: dict[str, str]
    lists: dict[str, list[str]]


@functools.cache
def load_chrome(language: str) -> Chrome:
    """The words of `sample_prose/chrome.json` in a language."""
    entries = json.loads((PROSE / "chrome.json").read_text(encoding="utf-8"))[language].items()
    return Chrome(
        {key: entry for key, entry in entries if isinstance(entry, str)},
        {key: entry for key, entry in entries if isinstance(entry, list)},
    )


@functools.cache
def load_layout(name: str) -> str:
    """A template: `{{name}}` is a value, `{{each name}}...{{end}}` is repeated for each entry of a list."""
    return (LAYOUTS / f"{name}.html").read_text(encoding="utf-8")


def render(page: Page) -> str:
    """The page's HTML."""
    values, lists = _values(page), _lists(page)
    html = _EACH.sub(lambda loop: _repeat(loop[2], lists[loop[1]], values), load_layout(page.layout))
    return _put(html, values)


def _repeat(template: str, entries: list[Values], values: Values) -> str:
    return "".join(_put(template, values | entry) for entry in entries)


def _put(template: str, values: Values) -> str:
    return _NAME.sub(lambda name: values[name[1]], template)


def _values(page: Page) -> Values:
    article = page.article
    chrome = load_chrome(article.language)
    said = {key: _text(text) for key, text in chrome.said.items()}
    teaser, teaser_link = pick(page.related, page.url, "teaser")
    return said | {
        "title": _text(article.title),
        "byline": _text(article.byline),
        "section": _text(article.section),
        "section_path": f"s{number(article.section) % 100}",
        "description": escape(article.paragraphs[0][:110]),
        "site": _text(page.site),
        "url": escape(page.url),
        "canonical": escape(page.url.replace("//amp.", "//www.")),
        "language": page.declared_language,
        "published_at": page.published,
        "day": page.published[:10],
        "year": page.published[:4],
        "date": _local_date(page),
        "id": str(number(page.url) % 900_000 + 100_000),
        "build": f"{number(page.site) % 0xFFFFF:05x}",
        "n_words": str(sum(len(text.split()) for text in article.paragraphs)),
        "home": _text(chrome.lists["nav"][0]),
        "teaser": _text(teaser),
        "teaser_link": escape(teaser_link),
        "charset_tag": _charset_tag(page),
        "open_graph": _open_graph(page),
        "json_ld": _json_ld(page),
    }


def _lists(page: Page) -> Lists:
    chrome = load_chrome(page.article.language).lists
    paragraphs = [{"text": _text(text)} for text in page.article.paragraphs]
    n_lead = min(2, len(paragraphs) - 1)
    lists: Lists = {"paragraphs": paragraphs, "lead": paragraphs[:n_lead], "rest": paragraphs[n_lead:]}
    for name in ("nav", "footer", "share"):
        lists[name] = [{"text": _text(text), "link": f"/{number(text) % 900 + 100}/"} for text in chrome[name]]
    lists["related_links"] = [{"text": _text(title), "link": escape(link)} for title, link in page.related]
    lists["remarks"] = _remarks(page)
    return lists


def _remarks(page: Page) -> list[Values]:
    chrome = load_chrome(page.article.language).lists
    first = number(page.url, "remark")
    return [
        {
            "place": str(place),
            "name": _text(pick(chrome["commenters"], page.url, "name", place)),
            "text": _text(chrome["remarks"][(first + place) % len(chrome["remarks"])]),
        }
        for place in range(number(page.url, "comments") % 4)
    ]


def _text(text: str) -> str:
    return escape(text, quote=False)


def _local_date(page: Page) -> str:
    year, month, day = page.published[:10].split("-")
    if page.article.language == "ja":
        return f"{year}年{int(month)}月{int(day)}日"
    return (
        f"{day}/{month}/{year}" if page.article.language in ("en", "fr", "es", "it", "pt") else f"{day}.{month}.{year}"
    )


def _charset_tag(page: Page) -> str:
    if not page.meta_charset:
        return ""
    if page.layout in ("table", "div-soup"):
        return f'<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset={page.meta_charset}">'
    return f'<meta charset="{page.meta_charset}">'


def _json_ld(page: Page) -> str:
    facts = {
        "@context": "http://schema.org",
        "@type": "NewsArticle",
        "headline": page.article.title,
        "datePublished": page.published,
        "author": {"@type": "Person", "name": page.article.byline},
        "publisher": {"@type": "Organization", "name": page.site},
        "mainEntityOfPage": page.url,
    }
    return f'<script type="application/ld+json">{json.dumps(facts, ensure_ascii=False)}</script>'


def _open_graph(page: Page) -> str:
    return f"""<meta property="og:type" content="article">
<meta property="og:title" content="{escape(page.article.title)}">
<meta property="og:site_name" content="{escape(page.site)}">
<meta property="og:url" content="{escape(page.url)}">
<meta property="og:description" content="{escape(page.article.paragraphs[0][:120])}">
<meta property="article:published_time" content="{page.published}">
<meta name="twitter:card" content="summary_large_image">"""
