"""Turns one XHTML document of an EPUB into paragraphs: markup in, blocks of text out.

The rule: text that a reader of the book reads as the book stays; furniture that is marked as such goes. Well-formed
XHTML is read as XML, everything else as browsers would (lxml's HTML parser, behind `corpora.html_guards`).

No DTD is ever looked at: the declaration is cut off before parsing, names of HTML's characters (`&nbsp;`) are replaced
by our own table, and any other entity stays as it was typed. So nothing can be fetched, and nothing can multiply.

What goes: navigation, lists of contents, cover, title page, imprint, colophon, copyright page, index, pictures with
their captions, numbers of pages, notes of transcribers, header and footer of Project Gutenberg, and references to
notes. The notes themselves come out as blocks of their own kind. A line break (`<br/>`) stays one, as verse needs.
"""

import re
from contextlib import suppress
from html.entities import html5

from lxml import etree
from lxml import html as lxml_html

from corpora.book_layout import HEADING, NOTE, PARAGRAPH, VERSE, Block
from corpora.html_guards import guard_html

__all__ = ["parse_markup", "parse_xml", "read_document"]

_DECLARATION = re.compile(r"\ufeff?\s*<\?xml\b[^>]{0,500}\?>")
_DOCTYPE = re.compile(r"<!DOCTYPE\b(?:[^\[<>\"']|\"[^\"]*\"|'[^']*')*+(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE)
_DTD = re.compile(r"<!(?:DOCTYPE|ENTITY|ATTLIST|ELEMENT)\b")
_DOCTYPE_CHARS = 100_000  # at the start of a document, in which a declaration is looked for
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31};)")
_XML_ENTITIES = frozenset(["amp;", "lt;", "gt;", "quot;", "apos;"])

_BREAK = "\u2028"
_SPACES = re.compile(r"[ \t\r\n\f\xa0\u2002-\u200a\u202f]+")
# Made for typesetting, and common there. Gone here, most lines are so plain that cleaning need not look closely.
_INVISIBLE = re.compile("[\xad\u200b\u2060\ufeff]")
_TYPE_NAMES = ("{http://www.idpf.org/2007/ops}type", "epub:type")

_SKIPPED_ELEMENTS = frozenset([
    "head", "script", "style", "svg", "math", "nav", "img", "picture", "video", "audio", "object", "iframe",
    "canvas", "form", "button", "input", "select", "textarea", "figure", "figcaption", "caption", "rt", "rp",
    "template", "noscript", "map",
])  # fmt: skip
_SKIPPED_TYPES = frozenset([
    "toc", "landmarks", "page-list", "loi", "lot", "lov", "loa", "cover", "titlepage", "halftitlepage",
    "imprint", "colophon", "copyright-page", "index", "pagebreak", "noteref", "backlink", "doc-toc",
    "doc-pagelist", "doc-cover", "doc-colophon", "doc-index", "doc-pagebreak", "doc-noteref", "doc-backlink",
    "toc-brief", "other-credits", "contributors",
])  # fmt: skip
_SKIPPED_CLASSES = frozenset([
    "pagenum", "pageno", "page-number", "pagenumber", "newpage", "caption", "figcaption", "figcenter",
    "figleft", "figright", "illustration", "transnote", "tnote", "transcriber-note", "transcribers-note", "tn",
    "pg-boilerplate", "pgheader", "pgfooter", "pg-header", "pg-footer", "pg-machine-header", "pg-smallprint",
    "toc",
])  # fmt: skip
_NOTE_TYPES = frozenset([
    "footnote", "footnotes", "endnote", "endnotes", "rearnote", "rearnotes", "note", "doc-footnote",
    "doc-endnote", "doc-endnotes",
])  # fmt: skip
_NOTE_CLASSES = frozenset([
    "footnote", "footnotes", "endnote", "endnotes",
])  # fmt: skip
_BLOCKS = frozenset([
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "div", "section", "article", "main", "body", "html", "header",
    "footer", "aside", "blockquote", "ul", "ol", "li", "dl", "dt", "dd", "table", "tbody", "thead", "tfoot",
    "tr", "pre", "hr", "address", "center", "hgroup", "fieldset", "details", "summary", "level", "level1",
    "level2", "level3", "level4", "bodymatter", "frontmatter", "rearmatter", "lg", "line", "stanza",
])  # fmt: skip
_HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6", "hgroup"])
_CELLS = frozenset(["td", "th"])
_REFERENCE_CHARS = 16
_REFERENCE = re.compile(r"[\[(]?\s*(?:\d{1,4}|[*†‡§‖¶]{1,4}|[a-z])\s*[\])]?")


def parse_markup(text: str) -> etree._Element | None:
    """The document as a tree, None where nothing can be made of it."""
    text = _without_dtd(text)
    if not _DTD.search(text):
        with suppress(etree.XMLSyntaxError):  # not well-formed, as many books are
            return _parse(text, recover=False)
    try:
        parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
        return etree.fromstring(guard_html(text).encode("utf-8"), parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return None


def parse_xml(text: str) -> etree._Element | None:
    """An XML file of the package, as far as it can be read; None where a DTD is left in it."""
    text = _without_dtd(text)
    if _DTD.search(text):
        return None
    try:
        return _parse(text, recover=True)
    except etree.XMLSyntaxError:
        return None


def _parse(text: str, *, recover: bool) -> etree._Element | None:
    parser = etree.XMLParser(
        encoding="utf-8",
        recover=recover,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    return etree.fromstring(text.encode("utf-8", "replace"), parser)


def _without_dtd(text: str) -> str:
    declared = _DECLARATION.match(text)
    if declared:
        text = text[declared.end() :]
    head = text[:_DOCTYPE_CHARS]
    if "<!doctype" in head[:_DOCTYPE_CHARS].lower():
        text = _DOCTYPE.sub("", head, count=1) + text[_DOCTYPE_CHARS:]
    return _ENTITY.sub(_replace_entity, text)


def _replace_entity(entity: re.Match[str]) -> str:
    if entity[1] in _XML_ENTITIES:
        return entity[0]
    character = html5.get(entity[1])
    if character is None:
        return entity[0]
    return f"&#{ord(character)};" if character in ("&", "<", ">") else character


def read_document(root: etree._Element) -> list[Block]:
    """The blocks of a document in order."""
    return _Reader().read(root)


class _Reader:
    """Follows the elements of a document and gathers the text between the borders of blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.pieces: list[str] = []
        self.n_headings = 0  # open elements of the kind
        self.n_notes = 0
        self.n_preformatted = 0

    def read(self, root: etree._Element) -> list[Block]:
        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            if not isinstance(element.tag, str):
                continue
            name = _local_name(element)
            is_skipped = _is_skipped(element, name)
            if event == "start":
                if is_skipped:
                    walker.skip_subtree()
                else:
                    self._begin(element, name)
            else:
                if not is_skipped:
                    self._end(element, name)
                if element.tail and element is not root:
                    self._add(element.tail)
        self._flush()
        return self.blocks

    def _begin(self, element: etree._Element, name: str) -> None:
        if name in _BLOCKS:
            self._flush()
        self.n_headings += name in _HEADINGS
        self.n_notes += _is_note(element)
        self.n_preformatted += name == "pre"
        if element.text:
            self._add(element.text)

    def _end(self, element: etree._Element, name: str) -> None:
        if name in _BLOCKS:
            self._flush()
        elif name == "br":
            self.pieces.append(_BREAK)
        elif name in _CELLS:
            self.pieces.append(" ")
        self.n_headings -= name in _HEADINGS
        self.n_notes -= _is_note(element)
        self.n_preformatted -= name == "pre"

    def _add(self, text: str) -> None:
        self.pieces.append(text.replace("\n", _BREAK) if self.n_preformatted else text)

    def _flush(self) -> None:
        text = _SPACES.sub(" ", _INVISIBLE.sub("", "".join(self.pieces)))
        self.pieces.clear()
        lines = [line.strip(" ") for line in text.split(_BREAK)]
        lines = [line for line in lines if any(map(str.isalnum, line))]
        if not lines:
            return  # nothing, or an ornament
        if self.n_notes:
            self.blocks.append(Block(NOTE, "\n".join(lines)))
        elif self.n_headings:
            self.blocks.append(Block(HEADING, " ".join(lines)))
        else:
            self.blocks.append(Block(PARAGRAPH if len(lines) == 1 else VERSE, "\n".join(lines)))


def _local_name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _types_of(element: etree._Element) -> set[str]:
    types = element.get(_TYPE_NAMES[0]) or element.get(_TYPE_NAMES[1]) or ""
    return {*types.split(), *(element.get("role") or "").split()}


def _is_skipped(element: etree._Element, name: str) -> bool:
    if name in _SKIPPED_ELEMENTS:
        return True
    attributes = element.attrib
    if not attributes:
        return False
    if name == "a" and _is_reference(element):
        return True
    if "hidden" in attributes or "display:none" in (element.get("style") or "").replace(" ", ""):
        return True
    classes = element.get("class")
    if classes and not _SKIPPED_CLASSES.isdisjoint(classes.lower().split()) and name not in ("body", "html"):
        return True
    if (element.get("id") or "").lower() in ("pg-header", "pg-footer", "pg-machine-header"):
        return True
    return not _SKIPPED_TYPES.isdisjoint(_types_of(element))


def _is_note(element: etree._Element) -> bool:
    if not element.attrib:
        return False
    classes = (element.get("class") or "").lower().split()
    return not (_NOTE_TYPES.isdisjoint(_types_of(element)) and _NOTE_CLASSES.isdisjoint(classes))


def _is_reference(element: etree._Element) -> bool:
    """Whether a link is the number or star that refers to a note, or back from it: raised or in brackets."""
    if "#" not in (element.get("href") or ""):
        return False
    text = ""
    for piece in element.itertext():
        text += piece
        if len(text) > _REFERENCE_CHARS:
            return False
    text = text.strip()
    if text in ("↩", "↩︎", "↑", "^", "⏎", "[Back]"):
        return True
    if not _REFERENCE.fullmatch(text):
        return False
    parent = element.getparent()
    is_raised = any(_local_name(child) == "sup" for child in element) or (
        parent is not None and isinstance(parent.tag, str) and _local_name(parent) == "sup"
    )
    return is_raised or text[0] in "[(*†‡§‖¶" or "noteref" in (element.get("class") or "").lower()
