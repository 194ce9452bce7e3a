"""Books as facts and rules: what was published of BookCorpus, and one book from bytes to a document.

The rule: of the author's words none is lost or changed; what goes is named here and in the modules that do it
(`corpora.gutenberg`, `corpora.book_marks`, `corpora.book_headings`, `corpora.book_layout`, `corpora.epub_text`).

RoBERTa trained on "BookCorpus plus English Wikipedia", 16 GB together, of which BookCorpus (Zhu et al. 2015) is not
distributed any more: 11,038 free novels from one web site, each of more than 20,000 words. This corpus is whatever
books the user has: text files, Project Gutenberg's among them, and EPUB files.
"""

import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from unicodedata import unidata_version

from corpora.book_facts import BookFacts, declared_charset
from corpora.book_files import EPUB, PLAIN_TEXT
from corpora.book_layout import HEADING, NOTE, Block, lay_out
from corpora.cleaning import clean_line
from corpora.decoding import Decoded, decode_page
from corpora.documents import Document, RawPage, Rejection, reject
from corpora.epub import EpubFailure, EpubLimits, read_epub
from corpora.gutenberg import strip_gutenberg
from corpora.language import guess_language, share_of
from corpora.targets import PublishedTargets

__all__ = ["TARGETS", "BookSettings", "book_versions", "process_book"]

# Lines are BookCorpus's sentences. Its mean follows from the other two numbers.
TARGETS = PublishedTargets(
    documents=11_038,
    gib=4.2,
    mean_bytes=4.2 * 2**30 / 11_038,
    source="books: Zhu et al. 2015; 4.2 GiB in 74,004,228 lines: the copy in circulation",
)
PUBLISHED_LINES = 74_004_228

_LIBRARIES = ("lxml", "pycld2", "ftfy", "charset-normalizer", "resiliparse")
_EDITION = "1"  # of the rules of this corpus; raised where they change the text of a book
_LINE_BREAK = re.compile("\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")


@dataclass(frozen=True, kw_only=True, slots=True)
class BookSettings:
    """All that decides what becomes of a book."""

    headings: str = "keep"  # of chapters: "keep" as paragraphs of their own, or "drop"
    notes: str = "drop"  # footnotes and endnotes that are marked as such: "drop", or "keep" where they stand
    languages: tuple[str, ...] = ("en",)  # ISO 639-1; empty keeps all
    min_text_share: int = 50  # percent of the first 200,000 characters in a wanted language
    min_words: int = 200  # BookCorpus: 20,000
    epub: EpubLimits = field(default_factory=EpubLimits)

    def __post_init__(self) -> None:
        for name in ("headings", "notes"):
            if getattr(self, name) not in ("keep", "drop"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it is keep or drop")
        for code in self.languages:
            if not re.fullmatch("[a-z]{2,3}", code):
                raise ValueError(f"language is {code!r}; languages are written as in 'en', 'de'")
        if not 0 <= self.min_text_share <= 100:
            raise ValueError(f"min_text_share is {self.min_text_share}; it is a percentage")
        if self.min_words < 1:
            raise ValueError(f"min_words is {self.min_words}; a book has at least 1")


def book_versions(settings: BookSettings) -> dict[str, str]:
    """The installed versions of what shapes a book's text; ValueError, with a remedy, if one is not installed."""
    versions = {"book rules": _EDITION, "unicode": unidata_version}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError as error:
            raise ValueError(f"{name} is not installed; install shardmill[pipelines]") from error
    return dict(sorted(versions.items()))


def process_book(page: RawPage, settings: BookSettings) -> Document | Rejection:
    """What becomes of a book; never raises."""
    if not page.body or page.body.isspace():
        return reject(page, "decode", "empty_body", "no content")
    if page.mime == EPUB:
        return _process_epub(page, settings)
    if page.mime == PLAIN_TEXT:
        return _process_text(page, settings)
    return reject(page, "decode", "mime", f"type {page.mime[:100]!r}; books are {PLAIN_TEXT} or {EPUB}")


def _process_text(page: RawPage, settings: BookSettings) -> Document | Rejection:
    declared = "" if page.body.isascii() else declared_charset(page.body)
    decoded = decode_page(page.body, http_charset=declared)
    if decoded.decided_by == "http":
        decoded = decoded._replace(decided_by="header")
    book = strip_gutenberg(_LINE_BREAK.split(decoded.text))
    laid_out = lay_out(book.lines, keep_notes=settings.notes == "keep")
    return _finish(page, settings, book.facts, laid_out.blocks, gaps=laid_out.gaps, decoded=decoded, extractor="text")


def _process_epub(page: RawPage, settings: BookSettings) -> Document | Rejection:
    book = read_epub(page.body, limits=settings.epub)
    if isinstance(book, EpubFailure):
        return reject(page, "extract", book.reason, book.detail, broken=book.broken)
    # Project Gutenberg's own EPUB files of some years have its header and footer as plain paragraphs.
    blocks = _without_gutenberg(book.blocks)
    decoded = Decoded("", "", "")  # each chapter is decoded on its own
    return _finish(page, settings, book.facts, blocks, gaps=book.gaps, decoded=decoded, extractor="epub")


def _without_gutenberg(blocks: list[Block]) -> list[Block]:
    if not any("gutenberg" in block.text.lower() for block in blocks):
        return blocks
    lines: list[str] = []
    owners: list[int] = []  # number of the block that each line is of
    for number, block in enumerate(blocks):
        texts = [*block.text.split("\n"), ""]
        lines += texts
        owners += [number] * len(texts)
    stripped = strip_gutenberg(lines)
    kept: dict[int, list[str]] = {}
    for line, place in zip(stripped.lines, stripped.places, strict=True):
        if line:
            kept.setdefault(owners[place], []).append(line)
    return [Block(blocks[number].kind, "\n".join(texts)) for number, texts in kept.items()]


def _finish(
    page: RawPage,
    settings: BookSettings,
    facts: BookFacts,
    blocks: list[Block],
    *,
    gaps: int,
    decoded: Decoded,
    extractor: str,
) -> Document | Rejection:
    text = _join(blocks, settings)
    if not text:
        return reject(page, "clean", "no_text", "nothing but headings, notes and matter of the publisher")
    guess = guess_language(text)
    if settings.languages and not (
        guess.code in settings.languages and share_of(guess, settings.languages) >= settings.min_text_share
    ):
        return reject(page, "language", "language", guess.code or "unknown")
    n_words = len(text.split())
    if n_words < settings.min_words:
        return reject(page, "quality", "too_few_words", f"{n_words} words; a book has {settings.min_words}")
    return Document(
        document_id=page.document_id,
        url=page.url,
        title=_clean(facts.title),
        text=text,
        published=facts.published,
        language=guess.code,
        source=page.source,
        offset=page.offset,
        fetched_at=page.fetched_at,
        authors=tuple(name for author in facts.authors if (name := _clean(author))),
        declared_language=facts.language,
        site="",
        charset=decoded.charset,
        decoded_by=decoded.decided_by,
        extractor=extractor,
        gaps=gaps,
    )


def _join(blocks: list[Block], settings: BookSettings) -> str:
    """A paragraph, a heading or a line of verse is a line of the document; repeated lines stay, as verse has them."""
    dropped = {kind for kind, option in ((HEADING, settings.headings), (NOTE, settings.notes)) if option == "drop"}
    lines = [line for block in blocks if block.kind not in dropped for line in block.text.split("\n")]
    return "\n".join(cleaned for line in lines if (cleaned := clean_line(line)))


def _clean(text: str) -> str:
    return clean_line(" ".join(text.split()))
