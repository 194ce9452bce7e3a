"""Wikitext to passages: links, notes, tags, tables, lists; what is unbalanced; what is hostile; generated nestings."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.wikitext import Rendered, render_wikitext

MARKUP = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{\||\|\}|<ref|</ref|''|[\x00-\x08\x0b-\x1f]")


def text_of(wikitext: str, *, title: str = "") -> str:
    return "\n".join(render_wikitext(wikitext, title=title).paragraphs)


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("[[Dog]]s and [[Canis lupus|wolves]] bark.", "Dogs and wolves bark."),
        ("[[bus]]<nowiki />es", "buses"),
        ("A [[Pipe (computing)|]] and a [[Help:Style|]].", "A Pipe and a Style."),
        ("See [[:Category:Dogs]] and [[wikt:dog|the word]].", "See Category:Dogs and the word."),
        ("A dog.[[File:Dog.jpg|thumb|A [[dog]] of [[Kent|the county]] [http://a.b c]]] It barks.", "A dog. It barks."),
        ("Dogs.[[Category:Dogs]]\n[[fr:Chien]]", "Dogs."),
        ("The [http://example.com/a?b=c official site] says [http://example.com] so.", "The official site says so."),
        ("[[A|''a'' b]], [[B#C|c]] and [[D\n|d]].", "a b, c and d."),
        ("[[A|[b]]] and [[[C]]].", "[b] and [C]."),
    ],
)
def test_links_show_their_label(wikitext: str, expected: str) -> None:
    assert text_of(wikitext) == expected


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("One.<ref>Note {{cite web|url=http://a}}</ref> Two.", "One. Two."),
        ('One.<ref name="a" /> Two.<ref name=b>x</ref><ref name=c/> Three.', "One. Two. Three."),
        ("One <ref>a</ref>, two.", "One, two."),
        ("One.<ref>{{cite web|url=http://a}} Two.", "One. Two."),
        ("One.<ref name=x>{{cite book|title=y}} Two.<ref>z</ref> Three.", "One. Two. Three."),
        ("One.</ref> Two.", "One. Two."),
        ("One.<REF>Note</Ref> Two.", "One. Two."),
        ("One.<!-- a\n\nb --> Two.", "One. Two."),
        ("One\n<!-- a line -->\ntwo.", "One two."),
        ("One. <!-- never closed", "One."),
        ("One <ref", "One"),
    ],
)
def test_notes_and_comments_go_and_the_sentence_stays(wikitext: str, expected: str) -> None:
    assert text_of(wikitext) == expected


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("'''Bold''', ''italic'', '''''both''''' and the dogs' ''bark''.", "Bold, italic, both and the dogs' bark."),
        ("''''Tis'''", "'Tis"),
        ("10<sup>6</sup> m<sup>2</sup>, 1<sup>st</sup>, H<sub>2</sub>O", "10⁶ m², 1st, H2O"),
        ("a<br />b <small>c</small> <span style='x'>d</span> <u>e</u>", "a b c d e"),
        ("if a < b and c > d, <unknown> stays", "if a < b and c > d, <unknown> stays"),
        ("3&nbsp;km &amp; 5&thinsp;&minus;&#50; &lt;b&gt;", "3 km & 5 −2 <b>"),
        ("Write <nowiki>''[[x]]''</nowiki>!", "Write ''[[x]]''!"),
        ("__NOTOC__A dog.__TOC__", "A dog."),
        ("The word {{lang|ja|犬}} <ruby>a<rp>(</rp><rt>b</rt><rp>)</rp></ruby>", "The word 犬 a"),
    ],
)
def test_tags_quotes_and_entities(wikitext: str, expected: str) -> None:
    assert re.sub(r"\s", " ", text_of(wikitext)) == expected


def test_only_passages_are_kept() -> None:
    wikitext = """{{Infobox dog
| name = Dog
| image = [[File:Dog.jpg|100px]]
}}
{{Short description|An animal}}
[[File:Dog.jpg|thumb|A dog]]
'''Dogs''' bark.
They also
sleep.

== Kinds ==
* [[Terrier]]
# One
; Term : meaning
: indented
{| class="wikitable"
|-
! Breed !! Weight
|-
| Terrier || {{convert|5|kg}}
|
{| nested
| x
|}
|}
After the table.
----
<gallery>
File:A.jpg|Caption
</gallery>
<blockquote>A quotation.</blockquote>
 code is typed like this

=== References ===
<references />
A text among references.
==== Deeper ====
Another.
== Legacy ==
The end.
[[Category:Dogs]]
"""
    assert render_wikitext(wikitext) == Rendered(
        ("Dogs bark. They also sleep.", "After the table.", "A quotation.", "The end."), 0
    )


def test_a_template_that_is_not_known_is_counted_where_it_stood_in_a_sentence() -> None:
    assert render_wikitext("It has {{unknown|5}} legs, and {{other}}.") == Rendered(("It has legs, and.",), 2)
    assert render_wikitext("{{Navbox dogs}}\nIt barks.\n{{Stub}}") == Rendered(("It barks.",), 0)
    assert render_wikitext("{{unknown\n| a = b\n}}It barks.") == Rendered(("It barks.",), 0)


def test_formulas_are_counted_and_those_that_are_only_letters_are_shown() -> None:
    assert render_wikitext(r"If <math>x^2</math> is <math>n + 1</math>:") == Rendered(("If is n + 1:",), 1)
    assert render_wikitext("We have\n:<math>E = mc^2</math>\nwhere m is mass.") == Rendered(
        ("We have", "where m is mass."), 1
    )


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("'''Foo''' ({{IPA|/fu/}}; born 1950) is", "Foo (born 1950) is"),
        ("'''Foo''' ({{lang-fr|foo|links=no}}, {{IPA-fr|fu|lang}}) is", "Foo (French: foo) is"),
        ("'''Foo''' ({{IPAc-en|f|u:}}, {{respell|FOO}}) is", "Foo is"),
        ("'''Foo''' (pronounced {{IPA|/fu/}} or {{IPA|/fo/}}) is", "Foo is"),
        ("'''Foo''', {{IPA|/fu/}}, is", "Foo, is"),
        ("Foo<ref>a</ref> ( {{unknown}} ) is", "Foo is"),
        ("a function main() { }", "a function main() { }"),
    ],
)
def test_what_is_dropped_leaves_no_separators_behind(wikitext: str, expected: str) -> None:
    assert text_of(wikitext) == expected


@pytest.mark.parametrize(
    "wikitext",
    [
        "Before [[unclosed link.\n\nAfter it.",
        "Before {{unclosed template|x=1.\n\n== Next ==\nAfter it.",
        "{{Infobox\n| a = b\n| c = [[d]]\n\nBefore. \n\n== Next ==\nAfter it.",
        "Before.\n{| class=x\n| cell\n|-\n! head\n\n== Next ==\nAfter it.",
        "Before.\n|}\n}} ]]\n\nAfter it.",
        "Before {{convert|5|km [[File:x.jpg|thumb|y]]\n\n\nAfter it.",
        "Before.\n[[File:x.jpg|thumb|caption without end\n\n== Next ==\nAfter it.",
        "Before {{a|[[b}} c]]\n\nAfter it.",
        "Before.<ref>unclosed\n\nAfter it.",
        "Before.<gallery>\n\nAfter it.",
    ],
)
def test_what_is_never_closed_neither_shows_nor_swallows_the_article(wikitext: str) -> None:
    text = text_of(wikitext)
    assert "Before" in text
    assert "After it." in text.splitlines()[-1]
    assert not MARKUP.search(text)
    assert "thumb" not in text
    assert "class=x" not in text


@pytest.mark.parametrize(
    "unit",
    [
        *("{{", "[[", "}}", "]]", "\n{|", "{{a|", "[[a|", "[[File:a|", "<ref>", "<ref", "<nowiki>", "<!--", "''"),
        *("{{{", "{{lang|fr|", "<sup>", "&amp;", "\n==a==", "( ", "__A", "{{ipa|x}} , ", "{{ipa|x}}or ", "\n "),
        *("[[a (b", "[http://x ", "=\n="),
    ],
)  # fmt: skip
def test_eighty_thousand_of_anything_takes_linear_time(unit: str) -> None:
    def measure(n_times: int) -> float:
        started = time.process_time()
        render_wikitext(unit * n_times)
        return time.process_time() - started

    small = max(measure(8_000), 0.02)
    assert measure(80_000) < 40 * small  # ten times the text; a quadratic step would take a hundred


@pytest.mark.parametrize("unit", ["{{", "[["])
def test_a_million_openers_take_under_two_seconds(unit: str) -> None:
    started = time.process_time()
    assert render_wikitext(unit * 1_000_000) == Rendered((), 0)
    assert time.process_time() - started < 2


PIECES = st.sampled_from(
    [
        *("{{", "}}", "[[", "]]", "|", "\n", "{|", "|}", "\n{|", "\n|}", "\n|-", "'''", "''", "<ref>", "</ref>"),
        *("<ref/>", "<ref name=a>", "File:a.jpg", "Category:x", "convert", "|5|km", "lang", "|fr|", "a", " b. "),
        *("==", "\n== H ==\n", "<br>", "<math>", "</math>", "<gallery>", "</gallery>", "[http://a.b ", "]", "{", "}"),
        *("[", "=", "1", "<!--", "-->", "!", "{{!}}", "{{=}}", "{{'}}", "*", ":", " ", "&nbsp;", "__TOC__"),
        *("{{unknown|", "{{nowrap|", "thumb|", "<div>"),
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join))
def test_no_markup_comes_out_of_any_nesting(wikitext: str) -> None:
    rendered = render_wikitext(wikitext, title="T")
    assert rendered.gaps >= 0
    for paragraph in rendered.paragraphs:
        assert not MARKUP.search(paragraph), (wikitext, paragraph)
        assert "\n" not in paragraph
        assert paragraph == paragraph.strip()
        assert paragraph


@given(st.text(max_size=300))
def test_no_text_makes_it_raise(text: str) -> None:
    render_wikitext(text)
    render_wikitext("{{convert|" + text + "}}{{" + text + "}} [[" + text + "]]")


WORDS = st.lists(st.sampled_from(["dog", "cats", "Bird", "fish7", "naïve", "犬"]), min_size=1, max_size=6).map(" ".join)
WRAPPERS = st.sampled_from(
    ["{}", "'''{}'''", "''{}''", "[[{}]]", "[[Target|{}]]", "{{{{nowrap|{}}}}}", "<small>{}</small>", "[http://a.b {}]"]
)


@given(st.lists(st.tuples(WORDS, WRAPPERS, WRAPPERS), min_size=1, max_size=8))
def test_the_words_of_a_sentence_come_out_whatever_they_are_wrapped_in(parts: list[tuple[str, str, str]]) -> None:
    wrapped = " ".join(
        outer.format(words if outer[0] in "['" else inner.format(words)) for words, inner, outer in parts
    )
    assert text_of(f"{wrapped}.<ref>{wrapped}</ref>") == " ".join(words for words, _, _ in parts) + "."
