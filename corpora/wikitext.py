"""Renders wikitext as the passages of text that a reader sees: wikitext in, paragraphs and a count of gaps out.

The rule: it never raises, takes time that is linear in the text, and no markup comes out, however unbalanced what comes
in is. Nothing of a sentence is lost without being counted.

What is kept: paragraphs, and the quotations that stand as blocks of their own. What is left out: headings, lists and
indented lines, tables, notes and references, galleries, files with their captions, boxes, categories, and the sections
that hold nothing but references to elsewhere. What cannot be rendered inside a sentence (templates that are not known,
formulas) is a gap: it is dropped and counted. Pronunciations and marks of editors are dropped without a count.

The steps: `wikitext_opaque` takes out comments and what is no wikitext, `wikitext_rendering` renders brackets, and this
module renders tags, chooses lines, joins them to paragraphs and tidies the places where something was dropped.
"""

import html
import re
from typing import NamedTuple

from corpora.wiki_numbers import to_superscript
from corpora.wikitext_marks import CONTROLS, FORMULA, GAP, NOTHING
from corpora.wikitext_opaque import remove_opaque
from corpora.wikitext_rendering import render_brackets

__all__ = ["OMITTED_SECTIONS", "Rendered", "render_wikitext"]

# Sections, with those under them, that hold references to elsewhere and no passages.
OMITTED_SECTIONS = frozenset(
    (
        *("references", "external links", "see also", "further reading", "notes", "footnotes", "citations", "sources"),
        *("bibliography", "notes and references", "references and notes", "works cited", "external link", "reference"),
        *("notes and citations", "citations and notes", "general references", "general sources", "cited sources"),
        *("explanatory notes", "footnotes and references", "references and further reading", "literature cited"),
        *("primary sources", "secondary sources", "gallery", "image gallery", "cited works"),
        *("further reading and external links", "references and external links", "notes and sources", "endnotes"),
    )
)  # fmt: skip


class Rendered(NamedTuple):
    """The passages of an article."""

    paragraphs: tuple[str, ...]  # without line breaks
    gaps: int  # places in them where something was dropped that belonged to a sentence


_RAISED = re.compile(r"<(su[pb])(?:\s[^<>]*)?>([^<>\n]{0,80})</\1\s*>", re.IGNORECASE)
_RUBY = re.compile(r"<(r[tp])(?:\s[^<>]*)?>[^<>\n]{0,80}</\1\s*>", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})(?:[\s/][^<>]*)?>")
_BLOCK_TAGS = frozenset(
    ("p", "div", "blockquote", "center", "hr", "poem", "section", "caption", "noinclude", "onlyinclude")
)
_LIST_TAGS = frozenset(
    ("li", "dd", "dt", "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table")
)
_INLINE_TAGS = frozenset(
    (
        *("b", "i", "u", "s", "em", "strong", "small", "big", "sup", "sub", "span", "font", "tt", "code", "kbd", "var"),
        *("samp", "abbr", "cite", "q", "del", "ins", "strike", "bdi", "bdo", "mark", "nowiki", "references", "wbr"),
        *("ref", "onlyinclude"),
        *("ruby", "rb", "rt", "rp", "rtc", "time", "data", "dfn", "a", "math", "gallery", "pre", "source", "timeline"),
        *("syntaxhighlight", "chem", "ce", "score", "includeonly", "hiero", "tbody", "thead", "graph", "img"),
    )
)  # fmt: skip
_STRAY_NOTE = re.compile(r"</?ref\b[^<>\n]{0,200}>?", re.IGNORECASE)
_MAGIC_WORD = re.compile(r"__[A-Z]{2,30}__")
_EXTERNAL = re.compile(
    r"\[(?:(?:https?|ftp|sftp|irc|news|gopher):)?(?://|mailto:)[^\s\[\]]*[ \t]*([^\[\]|\n]*)\]", re.IGNORECASE
)
_EXTERNAL_OPENING = re.compile(r"\[(?:(?:https?|ftp|sftp|irc|news|gopher):)?//[^\s\[\]]*[ \t]?", re.IGNORECASE)
# What may be left of markup that was never closed; a space, so that nothing new meets.
_LEFTOVERS = re.compile(r"\[\[+|\]\]+|\{\{+|\}\}+|\{\|+|\|+\}|''+")
_MAY_BE_LEFT = re.compile(r"[\[\]{}']{2}|[{|}]")
_HEADING = re.compile(r"(={1,6})(.*?)\1[\s\x01-\x03]*$")
_PARAMETER_LINE = re.compile(r"[|]|!(?:!|\s*(?:scope|style|colspan|rowspan|align|width)\s*=|\s)")
_PIECE_OF_FILE = re.compile(r"(?:File|Image):[^|]*\.\w{3,4}\s*\||(?:thumb|thumbnail|frame)\s*\|", re.IGNORECASE)
_NOT_SHOWN = NOTHING + GAP + FORMULA


def render_wikitext(wikitext: str, *, title: str = "") -> Rendered:
    """The article's passages; `title` is what the page calls itself.

    >>> render_wikitext("A '''dog''' is {{convert|10|kg|lb}}, or {{unknown|x}}.<ref>[[Cat]]</ref>\\n* [[Wolf|wolves]]")
    Rendered(paragraphs=('A dog is 10 kilograms (22 lb), or.',), gaps=1)
    """
    text = remove_opaque("\n" + CONTROLS.sub("", wikitext))
    # Four apostrophes are one and bold, six the same with bold italics.
    text = text.replace("'''''", "").replace("'''", "").replace("''", "")
    if "//" in text:
        text = _EXTERNAL.sub(r"\1", text)
    text = render_brackets(text, title=title)
    if "<" in text:
        text = _render_tags(text)
    return _choose_lines(text)


def _render_tags(text: str) -> str:
    text = _RUBY.sub("", text) if "<r" in text else text
    text = _RAISED.sub(lambda found: to_superscript(found[2]) if found[1].lower() == "sup" else found[2], text)
    return _STRAY_NOTE.sub("", _TAG.sub(_render_tag, text))


def _render_tag(found: re.Match[str]) -> str:
    name = found[2].lower()
    if name == "br":
        return " "
    if name in _INLINE_TAGS:
        return ""
    if name in _BLOCK_TAGS:
        return "\n\n"
    if name in _LIST_TAGS:
        return "\n" if found[1] else "\n*"  # its content is left out as a line of a list is
    return found[0]  # no tag: MediaWiki shows it


class _Chooser:
    """Paragraphs so far, and the one that is being read."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self.lines: list[str] = []
        self.gaps = 0
        self.omitted_level = 0  # of the heading whose section is left out; 0: none is

    def read(self, line: str) -> None:
        bare = line.strip(_NOT_SHOWN + " \t")
        if not bare:
            self.end_paragraph()
            self._count_formulas(line)
        elif bare[0] == "=" and (heading := _HEADING.match(bare)):
            self.end_paragraph()
            self._begin_section(len(heading[1]), heading[2])
        elif self.omitted_level:
            pass
        elif bare[0] in "*#:;|!-{" and self._is_no_text(bare):
            self.end_paragraph()
            self._count_formulas(line)
        elif line[0] in " \t" and not self.lines and _is_preformatted(line):
            self.end_paragraph()
        else:
            self.lines.append(line)

    def end_paragraph(self) -> None:
        if not self.lines:
            return
        text, gaps = _finish_paragraph(" ".join(self.lines))
        self.lines.clear()
        if text:
            self.paragraphs.append(text)
            self.gaps += gaps

    def _count_formulas(self, line: str) -> None:
        """A formula that is displayed in a line of its own stands in a sentence all the same."""
        if not self.omitted_level:
            self.gaps += line.count(FORMULA)

    def _begin_section(self, level: int, name: str) -> None:
        if self.omitted_level and level > self.omitted_level:
            return
        name = _tidy(name).strip(" \t:").lower()
        self.omitted_level = level if name in OMITTED_SECTIONS else 0

    @staticmethod
    def _is_no_text(bare: str) -> bool:
        first = bare[0]
        if first in "*#:;":
            return True
        if first == "-":
            return bare.startswith("----")
        return bool(_PARAMETER_LINE.match(bare)) or bare.startswith("{|")


def _is_preformatted(line: str) -> bool:
    """A line that begins with a space is shown as it is typed: code, verse, a drawing. A long one was a slip."""
    return len(line) < 200


def _choose_lines(text: str) -> Rendered:
    chooser = _Chooser()
    for line in text.split("\n"):
        chooser.read(line)
    chooser.end_paragraph()
    return Rendered(tuple(chooser.paragraphs), chooser.gaps)


# What is dropped leaves its separators: "( ; born" and "is , a". `before` and `after` are what stands on both sides.
_DROPPED = re.compile(
    r"(?:\b(?:pronounced|pronunciation)(?: as)?:?)?[ ,;:]*[\x01-\x03](?:[ ,;:\x01-\x03]|(?:or|and) (?=[\x01-\x03]))*"
)
_EMPTY_BRACKETS = re.compile(r" (?:\([ ,;:/–-]*\)|\[[ ,;:]*\])")  # after a space: "main()" is a name
_SPACES = re.compile(r"[ \t\u2009\u202f]{2,}")
_OPEN_SPACE = re.compile(r" [,;.)]|[(\[](?:[ )\]]|[,;:/–-]+[)\]])")
_SPACE_BEFORE = re.compile(r" +(?=[,;.)][,;.)]?(?:\s|$))|(?<=\() +")


def _finish_paragraph(text: str) -> tuple[str, int]:
    """The paragraph as it is read, and its gaps; "" if it says nothing."""
    gaps = text.count(GAP) + text.count(FORMULA)
    text = _MAGIC_WORD.sub("", text) if "__" in text else text
    if "[" in text:
        text = _EXTERNAL_OPENING.sub("", _EXTERNAL.sub(r"\1", text))
    if _MAY_BE_LEFT.search(text):
        text = _LEFTOVERS.sub(" ", text)
    if _PIECE_OF_FILE.match(text.lstrip(_NOT_SHOWN + " ")):
        return "", 0
    text = _tidy(text)
    if "&" in text:
        text = CONTROLS.sub("", html.unescape(text)).replace("\n", " ")
    text = _SPACES.sub(" ", text.replace("\xa0", " ")).strip()
    if _OPEN_SPACE.search(text):
        text = _SPACE_BEFORE.sub("", _EMPTY_BRACKETS.sub("", text))
    return (text, gaps) if any(char.isalnum() for char in text) else ("", 0)


def _tidy(text: str) -> str:
    """The text without marks, and without the separators that what was dropped leaves behind."""
    if not any(mark in text for mark in _NOT_SHOWN):
        return text
    return _DROPPED.sub(_close_gap, text)


def _close_gap(found: re.Match[str]) -> str:
    text, (start, end) = found.string, found.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    separators = found[0]
    if before in ("", "(", "[") or after in (")", "]"):
        return ""
    for separator in ";,:":
        if separator in separators:
            return f"{separator} " if after and after not in ".,;:" else ("" if after else separator)
    return " " if " " in separators and after not in ",.;:" else ""
