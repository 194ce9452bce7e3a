"""Hostile HTML: no shape of page stops an extractor, costs it seconds, or makes it lose the text silently."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.extraction import Extracted, extract, visible_text
from corpora.html_guards import HtmlLimits, flatten, guard_html, replace_unreadable

MAX_SECONDS = 5.0
SENTENCE = "The committee will meet again on Thursday to discuss the budget of the town, its mayor said."
OPEN = (
    f"<html><head><title>Title</title></head><body><article><p>FIRST {SENTENCE}</p><p>Nobody knew who would attend.</p>"
)
LAST = f"<p>LAST {SENTENCE}</p>"


def nest(n: int) -> str:
    return OPEN + "<div>" * n + LAST + "</div>" * n


SHAPES: dict[str, Callable[[], str]] = {
    "nesting of 260": lambda: nest(260),
    "nesting of 3,000": lambda: nest(3_000),
    "nesting of 200,000": lambda: nest(200_000),
    "nesting hidden by strange end tags": lambda: OPEN + "<div></x>" * 50_000 + LAST,
    "100,000 unclosed div": lambda: OPEN + "<div>words here " * 100_000 + LAST,
    "100,000 unclosed b": lambda: OPEN + "<b>words here " * 100_000 + LAST,
    "100,000 unclosed p": lambda: OPEN + "<p>words here " * 100_000 + LAST,
    "100,000 unclosed span": lambda: OPEN + "<span>words here " * 100_000 + LAST,
    "100,000 unclosed font": lambda: OPEN + "".join(f"<font color={i}><p>words " for i in range(100_000)) + LAST,
    "100,000 unclosed a": lambda: OPEN + "".join(f"<a href={i}><p>words " for i in range(100_000)) + LAST,
    "30,000 unclosed tables": lambda: OPEN + "<table><tr><td>words " * 30_000 + LAST,
    "30,000 unclosed lists": lambda: OPEN + "<ul><li>words " * 30_000 + LAST,
    "50,000 unclosed svg": lambda: OPEN + "<svg><g>" * 50_000 + LAST,
    "100,000 forms": lambda: OPEN + "<form><input>" * 100_000 + LAST,
    "200,000 stray end tags": lambda: OPEN + "</div></x>" * 100_000 + LAST,
    "5 MB of attributes": lambda: OPEN + "<div " + " ".join(f'a{i}="x"' for i in range(450_000)) + ">" + LAST,
    "5 MB of one attribute": lambda: OPEN + "<div " + "a=1 " * 1_300_000 + ">" + LAST,
    "attributes behind a quoted >": lambda: (
        OPEN + '<i z=">" ' + " ".join(f"a{i}=x" for i in range(400_000)) + ">" + LAST
    ),
    "quotes that do not close": lambda: OPEN + LAST + "<a b='x\" " * 200_000,
    "comments that do not close": lambda: OPEN + LAST + "<!-- x " * 300_000,
    "scripts that do not close": lambda: OPEN + LAST + "<script>" * 300_000,
    "2,000,000 <": lambda: OPEN + "<" * 2_000_000 + LAST,
    "2,000,000 <a": lambda: OPEN + LAST + "<a" * 2_000_000,
    "6 MB of paragraphs": lambda: OPEN + LAST * 55_000,
    "1,000,000 NUL": lambda: OPEN + "\0" * 1_000_000 + LAST,
    "lone surrogates": lambda: OPEN + "\ud800 \udfff" + LAST,
    "JSON-LD nested 100,000 deep": lambda: (
        OPEN + "<script type='application/ld+json'>" + "[" * 100_000 + "</script>" + LAST
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_no_shape_of_page_costs_seconds_or_loses_the_text(name: str) -> None:
    page = SHAPES[name]()
    start = time.process_time()
    visible = visible_text(page)
    found = extract(page, url="http://example.com/")
    assert time.process_time() - start < MAX_SECONDS
    assert "FIRST" in visible
    assert "LAST" in visible
    assert isinstance(found, Extracted)
    assert "FIRST" in found.text


@pytest.mark.parametrize("n", [100, 250, 260, 1_000, 3_000, 20_000])
def test_text_below_any_nesting_is_extracted(n: int) -> None:
    found = extract(nest(n) + "<p>After it all, everyone went home.</p>", url="http://example.com/")
    assert isinstance(found, Extracted)
    assert "FIRST" in found.text
    assert "LAST" in found.text
    assert "After it all" in found.text


def test_an_ordinary_page_is_handed_on_as_it_is() -> None:
    page = OPEN + LAST + "</article></body></html>"
    assert guard_html(page) is page


def test_text_between_tags_that_are_taken_away_stays_apart() -> None:
    flat = flatten("<div>" * 300 + "one<div>two<b>bold</b></div>three", HtmlLimits(max_depth=10, kept_depth=10))
    assert visible_text(flat).split() == ["one", "twobold", "three"]


def test_a_long_tag_keeps_its_class_and_id() -> None:
    tag = "<div id=main class='story body' " + "x=1 " * 10_000 + ">text</div>"
    assert flatten(tag) == "<div id=main class='story body'>text</div>"


def test_scripts_and_comments_are_no_markup() -> None:
    page = "<script>if (a<b) document.write('<div><div>')</script><!-- <div> --><p>text</p>"
    assert flatten(page) == "<script>if (a<b) document.write('<div><div>')</script><p>text</p>"


@given(st.text(alphabet="<>/=\"' abdipv!-scrt", max_size=60) | st.text())
def test_flattening_never_raises_and_keeps_what_is_no_markup(text: str) -> None:
    flat = flatten(text, HtmlLimits(max_depth=10, kept_depth=10))
    if "<" not in text:
        assert flat == text
    extract(text, url="")


@given(st.text(alphabet=st.characters(codec=None) | st.sampled_from("\ud800\udc00\0\uffff")))
def test_unreadable_characters_are_replaced_and_nothing_else(text: str) -> None:
    readable = replace_unreadable(text)
    readable.encode("utf-8")
    assert "\0" not in readable
    assert replace_unreadable(readable) == readable


def test_limits_that_a_parser_cannot_keep_are_refused() -> None:
    with pytest.raises(ValueError, match="max_depth"):
        HtmlLimits(max_depth=300)
    with pytest.raises(ValueError, match="kept_depth"):
        HtmlLimits(kept_depth=201)
