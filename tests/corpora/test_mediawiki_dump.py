"""Dumps of MediaWiki: every layout, whole and in ranges, cut, flipped, hostile; and three real ones."""

import bz2
import gzip
import random
import resource
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.documents import RawPage, Rejection
from corpora.mediawiki_dump import BROKEN_REASONS, DumpLimits, read_articles
from corpora.page_xml import Site, make_url, read_text, unescape
from corpora.reasons import REASONS

N_PAGES = 30
HEAD = b"""<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="en">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <base>https://en.wikipedia.org/wiki/Main_Page</base>
    <namespaces><namespace key="0" /><namespace key="10" case="first-letter">Template</namespace></namespaces>
  </siteinfo>
"""
END = b"</mediawiki>\n"


def make_page(title: str, text: str, *, ns: int | None = 0, redirect: bool = False) -> bytes:
    number = "" if ns is None else f"<ns>{ns}</ns>\n    "
    pointer = '<redirect title="Elsewhere" />\n    ' if redirect else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    {number}<id>1</id>\n    {pointer}<revision>\n"
        "      <id>2</id>\n      <timestamp>2018-12-01T04:50:23Z</timestamp>\n      <model>wikitext</model>\n"
        f'      <text bytes="{len(text)}" xml:space="preserve">{escape(text)}</text>\n    </revision>\n  </page>\n'
    ).encode()


def make_article(number: int) -> bytes:
    words = " ".join(f"w{(number * 7919 + i * 104729) % 99991}" for i in range(300))
    return make_page(f"Article {number}", f"'''Article {number}''' <ref>a</ref> {words}.")


def make_layouts() -> dict[str, bytes]:
    pages = [make_article(number) for number in range(N_PAGES)]
    plain = HEAD + b"".join(pages) + END
    streams = [HEAD, *(b"".join(pages[n : n + 3]) for n in range(0, N_PAGES, 3)), END]
    return {
        "plain": plain,
        "gzip": gzip.compress(plain, mtime=0),
        "bzip2": bz2.compress(plain),
        "multistream": b"".join(bz2.compress(stream) for stream in streams),
        "a stream a page": b"".join(bz2.compress(stream) for stream in (HEAD, *pages, END)),
        "gzip members": b"".join(gzip.compress(stream, mtime=0) for stream in streams),
    }


LAYOUTS = make_layouts()


def read(data: bytes, **options: Any) -> list[RawPage | Rejection]:
    return list(read_articles(BytesIO(data), source="a.xml", **options))


def titles(items: list[RawPage | Rejection]) -> list[str]:
    return [item.url.rpartition("/")[2] for item in items if isinstance(item, RawPage)]


def rejections(items: list[RawPage | Rejection]) -> list[Rejection]:
    return [item for item in items if isinstance(item, Rejection)]


ALL_TITLES = [f"Article_{number}" for number in range(N_PAGES)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_every_article_once_with_an_id_of_its_own(layout: str) -> None:
    items = read(LAYOUTS[layout])
    assert titles(items) == ALL_TITLES
    assert not rejections(items)
    assert len({item.document_id for item in items}) == N_PAGES
    page = items[0]
    assert isinstance(page, RawPage)
    assert page.url == "https://en.wikipedia.org/wiki/Article_0"
    assert (page.fetched_at, page.mime, page.status) == ("2018-12-01T04:50:23Z", "text/x-wiki", 200)
    assert read_text(page.body).text.startswith("'''Article 0''' <ref>a</ref> w0")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ranges_together_give_what_the_whole_file_gives(layout: str) -> None:
    data = LAYOUTS[layout]
    whole = read(data)
    dice = random.Random(layout)
    for _ in range(12):
        borders = sorted({0, len(data), *(dice.randrange(len(data)) for _ in range(dice.randrange(1, 8)))})
        parts = [read(data, start=a, end=b) for a, b in pairwise(borders)]
        assert [item for part in parts for item in part] == whole
        for part, first, last in zip(parts, borders, borders[1:], strict=False):
            assert all(first <= item.offset < last for item in part)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dump_cut_anywhere_keeps_the_articles_before_the_cut_and_says_that_it_was_cut(layout: str) -> None:
    data = LAYOUTS[layout]
    for step in range(1, 64):
        cut = len(data) * step // 64
        items = read(data[:cut])
        found = titles(items)
        assert found == ALL_TITLES[: len(found)], step
        broken = rejections(items)
        assert [item.reason for item in broken] == ["truncated"], step
        assert all(item.broken for item in broken)
        if layout == "plain":
            assert len(found) == data[:cut].count(b"</page>"), step
        if layout == "a stream a page":
            assert len(found) >= N_PAGES * (step - 2) // 64, step
        if layout == "gzip":
            assert len(found) >= N_PAGES * (step - 6) // 64, step


def test_a_cut_in_ranges_is_counted_once() -> None:
    for layout in ("plain", "multistream"):
        data = LAYOUTS[layout][: len(LAYOUTS[layout]) * 2 // 3]
        for border in range(1, len(data), len(data) // 9):
            assert read(data, end=border) + read(data, start=border) == read(data)


@pytest.mark.parametrize("layout", ["multistream", "a stream a page", "gzip members"])
def test_a_flipped_byte_costs_one_stream(layout: str) -> None:
    data = LAYOUTS[layout]
    whole = {item.url: item for item in read(data)}
    per_stream = 1 if layout == "a stream a page" else 3
    dice = random.Random(layout)
    for number in range(100):
        place, flip = dice.randrange(len(data)), dice.randrange(1, 256)
        hurt = bytearray(data)
        hurt[place] ^= flip
        items = read(bytes(hurt))
        found = [item for item in items if isinstance(item, RawPage)]
        assert all(whole[item.url].body == item.body for item in found), (place, flip)
        assert len(found) >= N_PAGES - per_stream, (place, flip)
        assert len(rejections(items)) <= 2, (place, flip)
        if len(found) < N_PAGES:
            assert {item.reason for item in rejections(items)} <= {"damaged_member", "truncated"}
            assert rejections(items)
        if number % 4 == 0:
            border = dice.choice((place, place + 1, len(data) // 2))
            parts = read(bytes(hurt), end=border) + read(bytes(hurt), start=border)
            assert set(items) == set(parts), (place, flip, border)


def test_damage_in_one_big_stream_is_noticed_and_lets_no_spoilt_article_through() -> None:
    data = LAYOUTS["bzip2"]
    whole = {item.url: item for item in read(data)}
    dice = random.Random(3)
    for _ in range(60):
        hurt = bytearray(data)
        hurt[dice.randrange(4, len(data))] ^= dice.randrange(1, 256)
        items = read(bytes(hurt))
        assert rejections(items)
        assert all(whole[item.url] == item for item in items if isinstance(item, RawPage))


def test_pages_that_are_no_articles_are_rejected_before_their_text_is_read() -> None:
    pages = [
        make_page("Template:Convert", "{{{1}}}", ns=10),
        make_page("Template:Old", "an export without numbers of namespaces", ns=None),
        make_page("Dogs", "#REDIRECT [[Dog]]", redirect=True),
        make_page("Dog", "A '''dog'''."),
        make_page("Alien: Resurrection", "A film.", ns=None),
    ]
    items = read(HEAD + b"".join(pages) + END)
    assert titles(items) == ["Dog", "Alien:_Resurrection"]
    assert [(item.reason, item.stage, item.broken) for item in rejections(items)] == [
        ("namespace", "read", False),
        ("namespace", "read", False),
        ("redirect", "read", False),
    ]
    assert rejections(items)[0].url == "https://en.wikipedia.org/wiki/Template:Convert"


def test_the_host_of_a_page_is_that_of_the_dump() -> None:
    head = HEAD.replace(
        b"https://en.wikipedia.org/wiki/Main_Page", b"http://de.wikipedia.org/wiki/Wikipedia:Hauptseite"
    )
    (item,) = read(head + make_page("Straße & Co.", "x") + END)
    assert item.url == "https://de.wikipedia.org/wiki/Stra%C3%9Fe_%26_Co."
    (item,) = read(make_page("No head", "x") + END)
    assert item.url == "https://en.wikipedia.org/wiki/No_head"


@pytest.mark.parametrize(
    ("title", "path"),
    [("AC/DC", "AC/DC"), ("C++", "C%2B%2B"), ("50% (song)?", "50%25_(song)%3F"), ("Ça va: 1!", "%C3%87a_va:_1!")],
)
def test_titles_are_escaped_as_mediawiki_does(title: str, path: str) -> None:
    assert make_url(Site("en.wikipedia.org", "/wiki/", frozenset()), title) == f"https://en.wikipedia.org/wiki/{path}"


def test_a_page_that_another_one_interrupts_is_broken_and_the_other_is_kept() -> None:
    hurt = make_article(1).replace(b"</page>", b"")
    items = read(HEAD + make_article(0) + hurt + make_article(2) + END)
    assert titles(items) == ["Article_0", "Article_2"]
    assert [(item.reason, item.url.rpartition("/")[2]) for item in rejections(items)] == [("bad_page", "Article_1")]


@pytest.mark.parametrize("packed", [bytes, bz2.compress, gzip.compress])
def test_a_page_above_the_limit_costs_itself_alone(packed: Any) -> None:
    limits = DumpLimits(page_bytes=1 << 16)
    big = make_page("Big", "x" * (1 << 18))
    data = packed(HEAD + make_article(0) + big + make_article(1) + END)
    items = read(data, limits=limits)
    assert titles(items) == ["Article_0", "Article_1"]
    assert [(item.reason, item.broken) for item in rejections(items)] == [("too_large", False)]
    assert rejections(items)[0].url.endswith("/Big")


class GiantPage:
    """A file of one page of `n_bytes`, made as it is read."""

    def __init__(self, n_bytes: int) -> None:
        self.head = HEAD + b"  <page>\n<title>Giant</title><ns>0</ns><revision><text>"
        self.size, self.position = len(self.head) + n_bytes, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (self.size if whence == 2 else self.position if whence == 1 else 0)
        return self.position

    def read(self, n_bytes: int) -> bytes:
        n_bytes = min(n_bytes, self.size - self.position)
        piece = self.head[self.position : self.position + n_bytes]
        self.position += n_bytes
        return piece + b"x" * (n_bytes - len(piece))


def test_a_page_of_a_gigabyte_is_refused_in_bounded_memory_and_time() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    (item,) = read_articles(GiantPage(1 << 30), source="a.xml")  # type: ignore[arg-type]
    assert isinstance(item, Rejection)
    assert (item.reason, item.url) == ("too_large", "https://en.wikipedia.org/wiki/Giant")
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB


def test_a_bomb_is_given_up_and_reading_goes_on_in_the_next_stream() -> None:
    bomb = bz2.compress(b"  <page><title>Bomb</title>" + bytes(100 << 20))
    data = bz2.compress(HEAD + make_article(0)) + bomb + bz2.compress(make_article(1) + END)
    assert len(bomb) < 1 << 12
    started = time.process_time()
    items = read(data, limits=DumpLimits(page_bytes=1 << 20, skip_bytes=16 << 20))
    assert time.process_time() - started < 10
    assert titles(items) == ["Article_0", "Article_1"]
    assert [item.reason for item in rejections(items)] == ["too_large"]


LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;"><!ENTITY lol3 "&lol2;&lol2;&lol2;">]>
"""


@pytest.mark.parametrize("packed", [bytes, bz2.compress, gzip.compress])
def test_a_dump_that_declares_entities_is_refused_at_once_and_nothing_is_opened(packed: Any, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    outside = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{canary}">]>\n'.encode()
    for declaration in (LAUGHS, outside):
        data = packed(declaration + HEAD + make_article(0).replace(b"w0", b"&x;&lol3;") + END)
        started = time.process_time()
        items = read(data, end=len(data) // 2) + read(data, start=len(data) // 2)
        assert time.process_time() - started < 1
        assert [(item.reason, item.broken) for item in rejections(items)] == [("declares_entities", True)]
        assert not titles(items)


def test_an_entity_that_only_a_document_type_could_define_stays_as_it_is_written() -> None:
    (item,) = read(HEAD + make_page("A", "B").replace(b">B<", b">&lol9; &amp;nbsp;<") + END)
    assert isinstance(item, RawPage)
    assert read_text(item.body).text == "&lol9; &nbsp;"


def test_a_declaration_or_cdata_inside_a_page_is_refused() -> None:
    for inside in (b"<!DOCTYPE a>", b"<![CDATA[</text>]]>", b"<!-- -->"):
        (item,) = read(HEAD + make_page("A", "B").replace(b">B<", b">" + inside + b"B<") + END)
        assert isinstance(item, Rejection)
        assert item.reason == "bad_page"


@pytest.mark.parametrize("data", [b"", b"WARC/1.0\r\n", b"<html><body>", b"\x00" * 5_000, b"PK\x03\x04" * 99])
def test_what_is_no_dump_is_refused(data: bytes) -> None:
    (item,) = read(data)
    assert isinstance(item, Rejection)
    assert (item.reason, item.broken) == ("unknown_format" if data else "empty_file", True)


def test_characters_that_xml_does_not_allow_do_no_harm() -> None:
    raw = b"a&#0;b&#xD800;c&#13;d\x00e\xff&#x110000;&#1114112;f&#xFFFFFFFF;"
    assert unescape(raw) == "ab\ufffdc\nde\ufffd\ufffd\ufffdf\ufffd"
    (item,) = read(HEAD + make_page("A", "B").replace(b">B<", b">" + raw + b"<") + END)
    assert isinstance(item, RawPage)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_raise(noise: bytes) -> None:
    for data in (
        noise,
        HEAD + noise,
        HEAD + b"<page>" + noise + b"</page>",
        bz2.compress(HEAD + noise),
        b"BZh9" + noise,
    ):
        for item in read(data):
            assert isinstance(item, RawPage) or item.reason in REASONS


@given(st.text(max_size=200))
def test_text_comes_back_as_it_was_written(text: str) -> None:
    text = "".join(char for char in text if char in "\t\n" or (" " <= char < "\ud800" and char != "\x7f"))
    (item,) = read(HEAD + make_page("A", text) + END)
    assert isinstance(item, RawPage)
    assert read_text(item.body).text == text


def test_every_reason_of_damage_has_its_sentence() -> None:
    assert set(REASONS) >= BROKEN_REASONS


@pytest.mark.parametrize(
    ("name", "n_articles", "n_redirects", "ending"),
    [
        ("enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2", 106, 99, []),
        ("testdata_en-new.xml.bz2", 139, 111, ["truncated"]),
        ("enwiki-table-markup.xml.bz2", 5, 0, []),
    ],
)
def test_real_dumps_give_all_their_articles(
    shared_data: Path, name: str, n_articles: int, n_redirects: int, ending: list[str]
) -> None:
    with (shared_data / "wikipedia" / name).open("rb") as stream:
        items = list(read_articles(stream, source=name))
    reasons = [item.reason for item in rejections(items)]
    assert len(titles(items)) == n_articles
    assert reasons.count("redirect") == n_redirects
    assert [reason for reason in reasons if reason not in ("redirect", "namespace")] == ending
