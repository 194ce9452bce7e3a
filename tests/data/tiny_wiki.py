"""A small MediaWiki dump for the tiny corpora: articles of the sample and made-up places in, a dump out.

The layout is that of `pages-articles-multistream.xml.bz2`: a bzip2 stream with the site's description, streams of
pages, and one with the closing tag. The places are in `tiny_wikitext`; none of them exists.
"""

import bz2
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from sample_articles import Article, number

SOURCE = Path(__file__).parent / "tiny_wikitext"
_PAGES_PER_STREAM = 8
_HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="en">
  <siteinfo>
    <sitename>Tiny wiki</sitename>
    <dbname>tinywiki</dbname>
    <base>https://en.tinywiki.example/wiki/Main_Page</base>
    <generator>by hand</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="10" case="first-letter">Template</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""
_PAGE = """  <page>
    <title>{title}</title>
    <ns>{namespace}</ns>
    <id>{id}</id>
{redirect}    <revision>
      <id>{revision}</id>
      <timestamp>2018-12-0{day}T{hour:02d}:17:09Z</timestamp>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text xml:space="preserve">{text}</text>
    </revision>
  </page>
"""


class Page(NamedTuple):
    """A page as its editors wrote it."""

    title: str
    text: str
    namespace: int = 0
    redirect: str = ""


def read_places() -> list[Page]:
    """The places that are written by hand, with a page of each kind that is no article among them."""

    def text(name: str) -> str:
        return (SOURCE / f"{name}.wikitext").read_text(encoding="utf-8").rstrip("\n")

    return [
        Page("Skerry Point", text("skerry-point")),
        Page("Talk:Skerry Point", text("talk-skerry-point"), namespace=1),
        Page("River Kelmer", text("river-kelmer")),
        Page("Kelmer River", "#REDIRECT [[River Kelmer]]", redirect="River Kelmer"),
        Page("Kelmer", text("kelmer")),
        Page("Grey Heron", text("grey-heron")),
        Page("Template:Rivers of the Kelmer coast", text("template-rivers"), namespace=10),
        Page("List of rivers of the Kelmer coast", text("list-of-rivers")),
    ]


def make_dump(articles: Sequence[Article]) -> bytes:
    """The dump: the places, and the articles as pages of an encyclopaedia of news would have them."""
    pages = read_places() + [Page(article.title.replace(":", " –"), _as_wikitext(article)) for article in articles]
    streams = [_HEAD]
    for start in range(0, len(pages), _PAGES_PER_STREAM):
        chunk = enumerate(pages[start : start + _PAGES_PER_STREAM], start + 1)
        streams.append("".join(_write_page(page, ordinal) for ordinal, page in chunk))
    streams.append("</mediawiki>\n")
    return b"".join(bz2.compress(stream.encode()) for stream in streams)


def _write_page(page: Page, ordinal: int) -> str:
    return _PAGE.format(
        title=escape(page.title),
        namespace=page.namespace,
        id=ordinal,
        redirect=f'    <redirect title="{escape(page.redirect)}" />\n' if page.redirect else "",
        revision=800_000_000 + number("revision", page.title) % 70_000_000,
        day=1 + ordinal % 9,
        hour=number("hour", page.title) % 24,
        text=escape(page.text),
    )


def _as_wikitext(article: Article) -> str:
    """The article with the marks that editors put: a box, bold, a reference a paragraph, a heading, a category."""
    first, *rest = article.paragraphs
    subject, _, told = first.partition(" ")
    middle = len(rest) // 2
    reference = f"<ref>{{{{cite news|title={article.title}|work=[[Harbour Courier]]|date=2018}}}}</ref>"
    lead = f"{{{{Infobox event | name = {article.title} }}}}\n'''{subject}''' {told}{reference}"
    return (
        "\n\n".join([lead, *rest[:middle], "== Background ==", *rest[middle:]])
        + f"\n\n== References ==\n{{{{reflist}}}}\n\n[[Category:{article.section}]]\n"
    )
