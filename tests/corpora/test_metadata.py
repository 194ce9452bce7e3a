"""What pages say of themselves: where it is looked for, and floors on real pages."""

import gzip
import json
from pathlib import Path

import pytest

from corpora.decoding import decode_page
from corpora.documents import RawPage
from corpora.metadata import PageMetadata, parse_html, read_metadata
from corpora.warc import read_pages

LD_JSON = '<script type="application/ld+json">{}</script>'


def read(html: str, *, url: str = "http://www.example.com/a", fetched_at: str = "") -> PageMetadata:
    tree = parse_html(html)
    assert tree is not None
    return read_metadata(tree, url=url, fetched_at=fetched_at)


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ('<meta property="og:title" content="A long enough headline">', "A long enough headline"),
        ("<title>A long enough headline - Example News</title>", "A long enough headline"),
        ("<title>A long enough headline</title><h1>Example</h1>", "A long enough headline"),
        ("<title>A long enough head...</title><h1>A long enough head...line</h1>", "A long enough head..."),
        ("<h1>Only a heading here</h1>", "Only a heading here"),
        ("<p>nothing</p>", ""),
        (
            '<script type="application/ld+json">{"@type":"NewsArticle","headline":"Stated &amp; sure"}</script>',
            "Stated &amp; sure",
        ),
    ],
)
def test_the_title_is_the_headline_without_the_site(head: str, title: str) -> None:
    assert read(head).title == title


@pytest.mark.parametrize(
    ("head", "url", "published"),
    [
        ('<meta property="article:published_time" content="2016-09-26">', "", "2016-09-26"),
        ('<meta itemprop="datePublished" content="2016-09-26T10:00:00Z">', "", "2016-09-26T10:00:00Z"),
        (LD_JSON.format('[{"@graph":[{"@type":"NewsArticle","datePublished":"2016-09-26"}]}]'), "", "2016-09-26"),
        ('<time datetime="2016-09-26 10:00">yesterday</time>', "", "2016-09-26T10:00:00"),
        ('<span itemprop="datePublished">26 September 2016</span>', "", "2016-09-26"),
        ("", "http://example.com/2016/09/26/title", "2016-09-26"),
        ('<meta name="date" content="2030-01-01">', "http://example.com/2016/09/26/title", "2016-09-26"),
        ('<script>var page = {"publishedDate": "2016-09-26T10:00:00Z"}</script>', "", "2016-09-26T10:00:00Z"),
        ('<div class="post-date">Posted on September 26, 2016</div>', "", "2016-09-26"),
        (LD_JSON.format('{"@type":"WebPage","datePublished":"2016-09-26"}'), "", "2016-09-26"),
        ("<p>in 2016", "", ""),
    ],
)  # fmt: skip
def test_the_date_is_the_one_stated_and_never_after_the_fetch(head: str, url: str, published: str) -> None:
    assert read(head or "<p>", url=url, fetched_at="2018-01-01T00:00:00Z").published == published


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ('<html lang="en_US">', "en-us"),
        ('<html xml:lang="de">', "de"),
        ('<meta http-equiv="Content-Language" content="fr, en">', "fr"),
        ('<meta property="og:locale" content="es_ES">', "es-es"),
        ('<html lang="<?php lang ?>">', ""),
        ("<p>", ""),
    ],
)
def test_the_language_is_the_one_declared(html: str, language: str) -> None:
    assert read(html + "<p>text").declared_language == language


def test_the_site_is_its_name_or_its_host() -> None:
    assert read('<meta property="og:site_name" content=" The  Paper ">').site == "The Paper"
    assert read("<p>text").site == "example.com"


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[" * 50_000,
        '{"@type": 3, "@graph": {"author": [[1]]}}',
        "null",
        '{"@type":"Article","headline":3,"author":[{"name":4},5]}',
    ],
    ids=["cut off", "deep", "odd types", "null", "numbers"],
)
def test_broken_json_ld_is_passed_over(broken: str) -> None:
    assert read(LD_JSON.format(broken) + "<title>A long enough title</title>").title == "A long enough title"


def test_nothing_is_parsed_silently_cut() -> None:
    assert parse_html("<div>" * 300 + "text") is None
    assert parse_html("") is None


def test_metadata_keep_their_floors_on_real_pages(shared_data: Path) -> None:
    """48 fundus pages, in several languages. Measured: title .77 (to the character), date .96."""
    folder = shared_data / "ccnews"
    with gzip.open(folder / "CC-NEWS-STANDIN-dev300.fundus-gold.jsonl.gz", "rt", encoding="utf-8") as lines:
        gold = {truth["url"]: truth for truth in map(json.loads, lines)}
    titles = dates = n = 0
    with (folder / "CC-NEWS-STANDIN-dev300.warc.gz").open("rb") as stream:
        for page in read_pages(stream, source="dev300"):
            if isinstance(page, RawPage) and page.url in gold:
                truth = gold[page.url]
                found = read(decode_page(page.body, http_charset=page.http_charset).text, url=page.url)
                n += 1
                titles += found.title == truth["title"]
                dates += found.published[:10] == str(truth["publishing_date"])[:10]
    assert n >= 45
    assert titles / n >= 0.7
    assert dates / n >= 0.9
