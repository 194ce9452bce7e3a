"""Wikipedia as facts and rules: what BERT's paper says of it, and what becomes of an article of a dump.

The rule: nothing here raises on any page, and the same page and settings give the same answer on any machine and day.

The paper (Devlin et al. 2019, 3.1): "we use the BooksCorpus (800M words) (Zhu et al., 2015) and English Wikipedia
(2,500M words). For Wikipedia we extract only the text passages and ignore lists, tables, and headers." How long a
passage must be was not published, and no rule for it is made up here: an article is kept if it has a passage.
"""

import re
from dataclasses import dataclass
from unicodedata import unidata_version
from urllib.parse import urlsplit

from corpora.cleaning import normalise_text
from corpora.documents import Document, RawPage, Rejection, reject
from corpora.page_xml import PageText, read_text
from corpora.targets import PublishedTargets
from corpora.wikitext import render_wikitext

__all__ = ["RENDERER", "TARGETS", "WikipediaSettings", "process_article", "wikipedia_versions"]

# The dump of RoBERTa's time was never named. 2,500 million words make about 12 GiB with their spaces.
TARGETS = PublishedTargets(
    documents=None, gib=12.0, mean_bytes=None, source="Devlin et al. 2019, section 3.1: 2,500M words of text passages"
)
RENDERER = "shardmill-wikitext 1"  # raised whenever a change of the renderer changes documents
_WIKITEXT_MODELS = ("", "wikitext")
_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)
# The templates that mark a disambiguation page. Lists of ships, mountains and surnames are none; they have no passages.
_DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:disambig(?:uation)?|disambiguation cleanup|dab|disamb|hndis|hndisambig|human name disambiguation|geodis"
    r"|geodisambig|place name disambiguation|numberdis|mathdab|roaddis|callsigndis|schooldis|hospitaldis"
    r"|airport disambig|(?:genus|species|letter|letter[- ]number combination) disambig(?:uation)?)\s*[|}]",
    re.IGNORECASE,
)
_DISAMBIGUATION_TITLE = "(disambiguation)"


@dataclass(frozen=True, kw_only=True, slots=True)
class WikipediaSettings:
    """All that decides what becomes of an article."""

    language: str = "en"  # of the wiki, as its host says: its templates are those of English Wikipedia
    max_page_bytes: int = 16 << 20  # of the page as XML

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z]{2,3}|simple", self.language):
            raise ValueError(f"language is {self.language!r}; it is the first part of a Wikipedia's host, as in 'en'")
        if self.max_page_bytes < 1:
            raise ValueError(f"max_page_bytes is {self.max_page_bytes}; it counts bytes, at least 1")


def wikipedia_versions(settings: WikipediaSettings) -> dict[str, str]:
    """What shapes a document under these settings: this renderer, and the Unicode of this Python. No library does."""
    return {"unicode": unidata_version, "wikitext": RENDERER}


def process_article(page: RawPage, settings: WikipediaSettings) -> Document | Rejection:
    """What becomes of a page of a dump, as `corpora.mediawiki_dump` reads it."""
    host = urlsplit(page.url).hostname or ""
    language = host.partition(".")[0]
    if language != settings.language:
        return reject(page, "language", "language", f"a page of {host}")
    if len(page.body) > settings.max_page_bytes:
        return reject(page, "extract", "too_large", f"{len(page.body)} bytes; the limit is {settings.max_page_bytes}")
    article = read_text(page.body)
    refused = _refuse_unread(page, article)
    if refused:
        return refused
    rendered = render_wikitext(article.text, title=article.title)
    # Wikipedia is UTF-8, and shows mojibake where it writes of it: nothing is to be repaired.
    text = normalise_text("\n".join(rendered.paragraphs))
    if not text:
        return reject(page, "extract", "no_text", "no passage of text: lists, tables or boxes only")
    return Document(
        document_id=page.document_id,
        url=page.url,
        title=normalise_text(article.title).replace("\n", " "),
        text=text,
        published="",
        language=language,
        source=page.source,
        offset=page.offset,
        fetched_at=page.fetched_at,
        authors=(),
        declared_language=language,
        site=host,
        charset="utf-8",
        decoded_by="xml",
        extractor=RENDERER,
        gaps=rendered.gaps,
    )


def _refuse_unread(page: RawPage, article: PageText) -> Rejection | None:
    """The rejection of a page that need not be rendered."""
    if article.model not in _WIKITEXT_MODELS:
        return reject(page, "extract", "content_model", f"model {article.model[:100]!r}")
    if not article.text or article.text.isspace():
        return reject(page, "extract", "no_text", "the revision has no text")
    if _REDIRECT.match(article.text):
        return reject(page, "extract", "redirect", "by its text")
    if article.title.endswith(_DISAMBIGUATION_TITLE) or _DISAMBIGUATION.search(article.text):
        return reject(page, "extract", "disambiguation", "")
    return None
