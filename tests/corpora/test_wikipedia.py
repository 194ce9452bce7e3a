"""Articles to documents: what is refused and why, and the three real dumps, read by an independent and slower eye."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.documents import Document, RawPage, Rejection, make_document_id
from corpora.mediawiki_dump import read_articles
from corpora.page_xml import read_text
from corpora.reasons import REASONS
from corpora.wiki_convert import convert_quantity
from corpora.wikipedia import TARGETS, WikipediaSettings, process_article, wikipedia_versions

DUMPS = (
    "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
    "testdata_en-new.xml.bz2",
    "enwiki-table-markup.xml.bz2",
)
# Markup that must not be in a text; "|" as part of a file's options only.
LEFTOVERS = re.compile(
    r"\[\[|\]\]|\{\{|\}\}|\{\||\|\}|<ref|''|\b(?:File|Image):\w|thumb\||\b\d+px\b|[\x00-\x09\x0b-\x1f]"
)


def make_page(text: str, *, title: str = "Dog", model: str = "wikitext", host: str = "en.wikipedia.org") -> RawPage:
    url = f"https://{host}/wiki/{title.replace(' ', '_')}"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = (
        f"<page><title>{title}</title><ns>0</ns><revision><timestamp>2018-12-01T04:50:23Z</timestamp>"
        f"<model>{model}</model><text>{escaped}</text></revision></page>"
    ).encode("utf-8", "replace")
    return RawPage(
        make_document_id("a", 7, url), url, "2018-12-01T04:50:23Z", 200, "text/x-wiki", "utf-8", body, "a", 7
    )


def process(text: str, **page: str) -> Document | Rejection:
    return process_article(make_page(text, **page), WikipediaSettings())


def test_an_article_becomes_a_document_with_all_that_says_where_it_came_from() -> None:
    page = make_page("A '''dog'''\xa0is {{unknown}}, e\u0301.\n\n== Kinds ==\nA [[terrier]].", title="Dog & cat")
    document = process_article(page, WikipediaSettings())
    assert isinstance(document, Document)
    assert document.text == "A dog is, é.\nA terrier."
    assert (document.title, document.language, document.site) == ("Dog & cat", "en", "en.wikipedia.org")
    assert (document.document_id, document.url, document.offset) == (page.document_id, page.url, 7)
    assert (document.fetched_at, document.gaps) == ("2018-12-01T04:50:23Z", 1)
    assert process_article(page, WikipediaSettings()) == document


@pytest.mark.parametrize(
    ("text", "page", "reason"),
    [
        ("#REDIRECT [[Cat]]", {}, "redirect"),
        (" #redirect: [[Cat]]", {}, "redirect"),
        ("'''Dog''' may refer to:\n* A\n{{disambiguation}}", {}, "disambiguation"),
        ("'''Dog''' may refer to:\n* A\n{{Hndis|Dog}}", {}, "disambiguation"),
        ("'''Dog''' may mean things.", {"title": "Dog (disambiguation)"}, "disambiguation"),
        ("", {}, "no_text"),
        ("* a\n* list\n{{Box}}\n{|\n|}", {}, "no_text"),
        (".dog { color: red }", {"model": "css"}, "content_model"),
        ("Ein Hund.", {"host": "de.wikipedia.org"}, "language"),
    ],
)
def test_what_is_no_article_is_refused_with_its_reason(text: str, page: dict[str, str], reason: str) -> None:
    rejection = process(text, **page)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.broken) == (reason, False)
    assert reason in REASONS


def test_a_text_about_disambiguation_is_an_article() -> None:
    assert isinstance(process("Pages are {{tl|disambig}} or not. {{Disambiguation needed}}"), Document)


def test_a_page_above_the_limit_is_refused_unread() -> None:
    rejection = process_article(make_page("x" * 2_000), WikipediaSettings(max_page_bytes=1_000))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "too_large"


@given(st.binary(max_size=300))
def test_no_body_makes_it_raise(body: bytes) -> None:
    page = make_page("")._replace(body=body)
    assert isinstance(process_article(page, WikipediaSettings()), Document | Rejection)
    page = make_page("")._replace(body=b"<page><revision><text>" + body)
    assert isinstance(process_article(page, WikipediaSettings()), Document | Rejection)


def test_settings_are_checked_and_versions_named() -> None:
    with pytest.raises(ValueError, match="language"):
        WikipediaSettings(language="English")
    with pytest.raises(ValueError, match="max_page_bytes"):
        WikipediaSettings(max_page_bytes=0)
    assert set(wikipedia_versions(WikipediaSettings())) == {"unicode", "wikitext"}
    assert TARGETS.gib == 12.0


class Article:
    """A real article: what it was and what it became."""

    def __init__(self, page: RawPage, document: Document) -> None:
        self.title = document.title
        self.wikitext = read_text(page.body).text
        self.document = document


@pytest.fixture(scope="module")
def articles(shared_data: Path) -> list[Article]:
    return list(_read_all(shared_data))


def _read_all(shared_data: Path) -> Iterator[Article]:
    for name in DUMPS:
        with (shared_data / "wikipedia" / name).open("rb") as stream:
            for page in read_articles(stream, source=name):
                if isinstance(page, RawPage):
                    document = process_article(page, WikipediaSettings())
                    if isinstance(document, Document):
                        yield Article(page, document)


def test_no_markup_is_left_in_real_articles(articles: list[Article]) -> None:
    assert len(articles) == 231
    hurt = {article.title: found[0] for article in articles if (found := LEFTOVERS.search(article.document.text))}
    # "{{4, 5, 6}, {10, 12}" is a set of sets, written in <nowiki>.
    assert hurt.keys() <= {"Axiom of choice"}, hurt


def test_paragraphs_are_lines_without_holes(articles: list[Article]) -> None:
    hurt = []
    for article in articles:
        for line in article.document.text.split("\n"):
            assert line == line.strip() != ""
            assert "  " not in line
            hurt += [article.title for _ in re.finditer(r" [,;](?: |$)|\([;,]|(?<=\w )\(\)", line)]
    # What stands on the keys of a typewriter: `"#$%_&'()`, `,< .>`.
    assert set(hurt) <= {"ASCII"}, hurt


# An independent reading: brackets by repeated substitution from the inside, sections by their headings, and only
# sentences in which nothing is marked up at all.
_INNERMOST = re.compile(r"\{\{[^{}]*\}\}|\{\|(?:(?!\{\||\|\}).)*\|\}", re.DOTALL)
_ELEMENTS = re.compile(
    r"<!--.*?-->|<ref\b[^<>]*/>|<(ref|gallery|pre|source|table|math|code|ul|ol|imagemap|timeline|nowiki)\b.*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_LAST_SECTIONS = re.compile(
    r"\n==[ ']*(?:References|External links|See also|Further reading|Notes|Bibliography|Sources|Footnotes|Citations"
    r"|Gallery|Works cited|Notes and references|Endnotes|Citations and notes|Explanatory notes)\b[^\n]*==.*",
    re.DOTALL,
)


def plain_sentences(wikitext: str) -> list[str]:
    """Sentences of the text's paragraphs that hold no markup."""
    text = _ELEMENTS.sub("§", _LAST_SECTIONS.sub("", wikitext))
    for _ in range(12):
        text = _INNERMOST.sub("§", text)
    sentences = []
    for line in text.split("\n"):
        if line and line[0] not in "*#:;|!{=[ <§}":
            sentences += [part for part in re.split(r"(?<=[.!?])\s+", line) if _is_plain(part)]
    return sentences


def _is_plain(sentence: str) -> bool:
    return (
        len(sentence) > 30 and sentence[0].isupper() and not re.search(r"[\[\]{}<>|=&§_]|''|//| [,;.)]|\( ", sentence)
    )


def test_every_plain_sentence_of_real_articles_is_in_their_text(articles: list[Article]) -> None:
    n_sentences, missing = 0, []
    for article in articles:
        text = re.sub(r"\s+", " ", article.document.text)
        for sentence in plain_sentences(article.wikitext):
            n_sentences += 1
            if re.sub(r"[\s\u200e\xad]+", " ", sentence).strip() not in text.replace("\u200e", ""):
                missing.append((article.title, sentence))
    assert n_sentences > 8_000
    assert len(missing) <= n_sentences * 0.001, missing[:20]


def test_nearly_every_convert_of_real_articles_is_rendered(articles: list[Article]) -> None:
    calls = [
        (found[1].lower(), found[2].split("|"))
        for article in articles
        for found in re.finditer(r"\{\{\s*(convert|cvt)\s*\|([^{}]*)\}\}", article.wikitext, re.IGNORECASE)
    ]
    n_rendered = 0
    for name, parameters in calls:
        named = {key.strip(): value for key, _, value in (p.partition("=") for p in parameters if "=" in p)}
        if named.get("disp") == "table":
            n_rendered += 1  # cells, which no sentence holds
            continue
        positional = [parameter for parameter in parameters if "=" not in parameter]
        n_rendered += convert_quantity(positional, named, abbreviate=name == "cvt") is not None
    assert len(calls) > 1_000
    assert n_rendered >= 0.995 * len(calls)


def test_gaps_of_real_articles_stay_few(articles: list[Article]) -> None:
    gaps = sorted(article.document.gaps for article in articles)
    assert gaps[len(gaps) // 2] == 0
    assert sum(gaps) / len(gaps) < 2
    assert sum(n == 0 for n in gaps) / len(gaps) > 0.75
