"""One page from bytes to a cleaned document: `RawPage` in, exactly one `Document` or `Rejection` out.

The rule: nothing here raises on any page, and the same page and settings give the same answer on any machine and day.

The steps, cheapest first, so that a page that is not wanted costs little (most pages of CC-NEWS are not English, and
must not cost an extraction): status, type, size, decoding, a quick look at the language of the visible text,
extraction, cleaning, language of the text, quality, and, if asked for, personal data.
"""

import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from unicodedata import unidata_version

from corpora.cleaning import clean_text
from corpora.decoding import Decoded, decode_page
from corpora.documents import Document, RawPage, Rejection, reject
from corpora.extraction import EXTRACTORS, Extracted, ExtractionFailure, extract, visible_text
from corpora.html_guards import HtmlLimits
from corpora.language import guess_language, guess_language_of_html, share_of
from corpora.personal_data import redact_personal_data
from corpora.quality import QualityRules, find_complaint
from corpora.reasons import REASONS

__all__ = ["REASONS", "ProcessingSettings", "library_versions", "process_page"]

HTML_TYPES = ("text/html", "application/xhtml+xml")
PLAIN_TEXT = "text/plain"
_LOOKS_LIKE_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|div|p|article)[\s>]", re.IGNORECASE)
_SNIFFED_BYTES = 2_048

# What shapes a document's bytes. A change of any of these is a change of the settings.
_LIBRARIES = ("lxml", "resiliparse", "pycld2", "ftfy", "charset-normalizer")
_LIBRARIES_OF = {
    "trafilatura": ("trafilatura", "htmldate", "jusText", "courlan"),
    "news-please": ("news-please", "newspaper4k", "readability-lxml", "beautifulsoup4"),
    "resiliparse": ("resiliparse",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessingSettings:
    """All that decides what becomes of a page."""

    extractor: str = "trafilatura"
    fallback: str = "resiliparse"  # asked where the extractor breaks or finds nothing; "" is none
    languages: tuple[str, ...] = ("en",)  # ISO 639-1; empty keeps all
    mimes: tuple[str, ...] = (*HTML_TYPES, PLAIN_TEXT)  # plain text (WET files hold it) is not extracted from
    max_page_bytes: int = 6 << 20  # the crawler of CC-NEWS cuts at 5 MiB
    html: HtmlLimits = field(default_factory=HtmlLimits)
    min_visible_share: int = 25  # percent of the visible text in a wanted language, for a page to be extracted from
    min_text_share: int = 50  # percent of the extracted text
    quality: QualityRules = field(default_factory=QualityRules)
    redact_personal_data: bool = False  # e-mail addresses and public IP addresses

    def __post_init__(self) -> None:
        for name in (self.extractor, self.fallback):
            if name not in EXTRACTORS and (name or name is self.extractor):
                raise ValueError(f"extractor is {name!r}; there are {', '.join(EXTRACTORS)}")
        for code in self.languages:
            if not re.fullmatch("[a-z]{2,3}", code):
                raise ValueError(f"language is {code!r}; languages are written as in 'en', 'de'")
        if unknown := set(self.mimes) - {*HTML_TYPES, PLAIN_TEXT}:
            raise ValueError(f"no reader for pages of type {', '.join(sorted(unknown))}")
        for share in (self.min_visible_share, self.min_text_share):
            if not 0 <= share <= 100:
                raise ValueError(f"share of a language is {share}; it is a percentage")


def library_versions(settings: ProcessingSettings) -> dict[str, str]:
    """The installed versions of what shapes a document under these settings.

    Raises ValueError, with a remedy, if one of them is not installed.
    """
    names = {*_LIBRARIES, *_LIBRARIES_OF[settings.extractor], *_LIBRARIES_OF.get(settings.fallback, ())}
    versions = {"unicode": unidata_version}
    for name in sorted(names):
        try:
            versions[name] = version(name)
        except PackageNotFoundError as error:
            extra = "paper" if name in _LIBRARIES_OF["news-please"] else "pipelines"
            raise ValueError(f"{name} is not installed; install shardmill[{extra}]") from error
    return dict(sorted(versions.items()))


def process_page(page: RawPage, settings: ProcessingSettings) -> Document | Rejection:
    """What becomes of a page."""
    mime = page.mime or _sniff_mime(page.body)
    refused = _refuse_unread(page, mime, settings)
    if refused:
        return refused
    decoded = decode_page(page.body, http_charset=page.http_charset)
    is_html = mime != PLAIN_TEXT
    refused = _refuse_language(page, decoded.text, settings, is_html=is_html)
    if refused:
        return refused
    if is_html:
        found = extract(
            decoded.text,
            url=page.url,
            extractor=settings.extractor,
            fallback=settings.fallback,
            fetched_at=page.fetched_at,
            limits=settings.html,
        )
        if isinstance(found, ExtractionFailure):
            return reject(page, "extract", found.reason, found.detail)
    else:
        found = Extracted(decoded.text, "", (), "", "", "", "")
    return _finish(page, decoded, found, settings)


def _sniff_mime(body: bytes) -> str:
    """What a page without a declared type is: HTML if it looks like it."""
    return HTML_TYPES[0] if _LOOKS_LIKE_HTML.search(body[:_SNIFFED_BYTES]) else ""


def _refuse_unread(page: RawPage, mime: str, settings: ProcessingSettings) -> Rejection | None:
    """The rejection of a page that need not be read."""
    if page.status != 200:
        return reject(page, "decode", "http_status", f"status {page.status}")
    if not page.body or page.body.isspace():
        return reject(page, "decode", "empty_body", "no content")
    if mime not in settings.mimes:
        return reject(page, "decode", "mime", f"type {page.mime[:100]!r}" if page.mime else "no type, and not HTML")
    if len(page.body) > settings.max_page_bytes:
        return reject(page, "decode", "too_large", f"{len(page.body)} bytes; the limit is {settings.max_page_bytes}")
    return None


def _refuse_language(page: RawPage, text: str, settings: ProcessingSettings, *, is_html: bool) -> Rejection | None:
    """The quick look: a page is refused if hardly any of what a reader sees is in a wanted language.

    It is lenient, since navigation can be in another language than the article, and so can a quotation.
    """
    if not settings.languages:
        return None
    guess = guess_language_of_html(text) if is_html else guess_language(text)
    if guess is None or not guess.code:
        guess = guess_language(visible_text(text, limits=settings.html) if is_html else text)
    if not guess.code or share_of(guess, settings.languages) >= settings.min_visible_share:
        return None
    return reject(page, "language", "language", guess.code)


def _finish(page: RawPage, decoded: Decoded, found: Extracted, settings: ProcessingSettings) -> Document | Rejection:
    text = clean_text(found.text)
    if not text:
        return reject(page, "clean", "no_text", f"{found.extractor}: nothing but boilerplate")
    guess = guess_language(text)
    if settings.languages and not (
        guess.code in settings.languages and share_of(guess, settings.languages) >= settings.min_text_share
    ):
        return reject(page, "language", "language", guess.code or "unknown")
    title = clean_text(found.title).replace("\n", " ")
    complaint = find_complaint(
        text, settings.quality, language=guess.code, url=page.url, title=title, published=found.published
    )
    if complaint:
        return reject(page, "quality", complaint.reason, complaint.detail)
    if settings.redact_personal_data:
        text = redact_personal_data(text).text
    return Document(
        document_id=page.document_id,
        url=page.url,
        title=title,
        text=text,
        published=found.published,
        language=guess.code,
        source=page.source,
        offset=page.offset,
        fetched_at=page.fetched_at,
        authors=tuple(name for author in found.authors if (name := clean_text(author).replace("\n", " "))),
        declared_language=found.declared_language,
        site=clean_text(found.site).replace("\n", " "),
        charset=decoded.charset,
        decoded_by=decoded.decided_by,
        extractor=found.extractor,
    )
