"""Takes out of a plain-text book what transcribers wrote into it: lines in, lines without their marks out.

The rule: a mark goes, the author's words around it stay; a mark that stood in a sentence for something that plain text
cannot show (a picture, a line of music) is counted as a gap.

Marks are `[Illustration: …]` and its kin, `[Transcriber's note: …]`, numbers of pages (`[Pg 12]`, `{12}`, or lines of
their own that count up), `[Footnote 1: …]` and the references to it, and the signs around words that were in italics
(`_so_`), bold (`=so=`) or tagged (`<i>so</i>`).
"""

import re
from itertools import pairwise
from typing import NamedTuple

__all__ = ["MarkedText", "drop_page_numbers", "take_out_marks", "undo_emphasis"]

_BODY = r"(?:[^\[\]]|\[[^\[\]]{0,200}\]){0,%d}"
_PICTURE = re.compile(
    r"\[\s*(?:Full[- ]page\s+)?(?:Illustration|Illustrated|Picture|Frontispiece|Music|Decoration|Decorative|Map|Plate"
    r"|Portrait|Ornament|Vignette|Tailpiece|Headpiece|Image|Transcriber|Transcriber['’]s|Transcribers['’]?)s?\b(?![-'’])"
    + _BODY % 2_000
    + r"\]",
    re.IGNORECASE,
)
_FOOTNOTE = re.compile(r"\[\s*Footnotes?\s*(?:\d{1,4}|[A-Z*†‡])?\s*[:.]\s*(" + _BODY % 8_000 + r")\]", re.IGNORECASE)
_REFERENCE = re.compile(r"\[(?<=[\w.,;:!?\"'”’)_]\[)(?:\d{1,3}|[A-Z]|[*†‡]+)\]")
_ENDNOTE_REFERENCE = re.compile(r" ?[{\[](?:End|Foot)note \d{1,3}[}\]]", re.IGNORECASE)
_PAGE_MARK = re.compile(r"[\[{(]\s*(?:Pg\.?|Page|p\.)\s*[\divxlcIVXLC]{1,7}\s*[\]})]|\{\d{1,4}\}")
_NUMBER_LINE = re.compile(r"\s*[-–—\[(]?\s*(\d{1,4})\s*[-–—\])]?\s*")
_OPEN_END = re.compile(r"[\w,;—-]\s*$")  # how a line ends whose sentence goes on
_PAGE_LINES = 80  # a page holds fewer lines, a chapter more
_MIN_PAGES = 10

_ITALICS = re.compile(r"_(?=[^\W_]|[^\w\s])([^_]*[^\s_])_")
_LONE_UNDERSCORES = re.compile(r"(?<![^\W_])(?<!_)_(?=[^\W_]|[\"'“‘])|(?<=[^\s_])_(?![\w])")
_BOLD = re.compile(r"(?<![\w=])=(?=[^\s=])([^=\n]*[^\s=])=(?![\w=])")
_TAG = re.compile(r"</?(?:i|b|em|strong|sc|small|u)>", re.IGNORECASE)


class MarkedText(NamedTuple):
    """Lines without marks, and how many of those stood in a sentence."""

    lines: list[str]
    gaps: int


def take_out_marks(lines: list[str], *, keep_notes: bool) -> MarkedText:
    """The lines without marks of pictures, notes and pages; footnotes become paragraphs where they are kept."""
    text = "\n".join(lines)
    gaps = 0

    def without_picture(mark: re.Match[str]) -> str:
        nonlocal gaps
        before = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
        end = text.find("\n", mark.end())
        after = text[mark.end() : len(text) if end < 0 else end]
        if before.strip() and after.strip():
            gaps += 1
        return ""

    if "[" in text:
        text = _PICTURE.sub(without_picture, text)
        has_notes = _FOOTNOTE.search(text)
        text = _FOOTNOTE.sub(r"\n\n\1\n\n" if keep_notes else "", text)
        text = _REFERENCE.sub(_without_reference if not has_notes else "", text)
    if "note " in text:
        text = _ENDNOTE_REFERENCE.sub("", text)
    return MarkedText(drop_page_numbers(text.split("\n")), gaps)


def _without_reference(mark: re.Match[str]) -> str:
    """Where a book shows no footnotes, only numbers are taken for references to them."""
    return "" if mark[0][1].isdigit() else mark[0]


def drop_page_numbers(lines: list[str]) -> list[str]:
    """The lines without numbers of pages; a sentence that one stood in is whole again."""
    numbers = _find_number_lines(lines)
    kept: list[str] = []
    rejoins = False
    for place, line in enumerate(lines):
        is_mark = place in numbers
        if not is_mark and ("[" in line or "{" in line or "(" in line) and _PAGE_MARK.search(line):
            line = _PAGE_MARK.sub("", line)
            is_mark = not line.strip()
        if is_mark:
            rejoins = True
            continue
        if rejoins and line.strip():
            end = len(kept)
            while end and not kept[end - 1].strip():
                end -= 1
            if end and _OPEN_END.search(kept[end - 1]) and line.lstrip()[0].islower():
                del kept[end:]
            rejoins = False
        kept.append(line)
    return kept


def _find_number_lines(lines: list[str]) -> set[int]:
    """Lines that are page numbers: many, counting up, and closer together than chapters are."""
    found = [
        (place, int(number[1]))
        for place, line in enumerate(lines)
        if len(line) < 80 and (number := _NUMBER_LINE.fullmatch(line))
    ]
    if len(found) < _MIN_PAGES or (found[-1][0] - found[0][0]) / len(found) > _PAGE_LINES:
        return set()
    n_rising = sum(1 <= after[1] - before[1] <= 3 for before, after in pairwise(found))
    return {place for place, _ in found} if n_rising >= 0.9 * (len(found) - 1) else set()


def undo_emphasis(text: str) -> str:
    """The text without the signs of italics and bold; blanks to fill in (`Mr. ____`) and snake_case stay.

    >>> undo_emphasis("_I_ have never felt =sleepy= after _eating\\nlettuces_; Mr. ____ has.")
    'I have never felt sleepy after eating\\nlettuces; Mr. ____ has.'
    """
    if "_" in text:
        text = _ITALICS.sub(_without_signs, text)
        text = _LONE_UNDERSCORES.sub("", text)
    if "=" in text:
        text = _BOLD.sub(r"\1", text)
    if "<" in text:
        text = _TAG.sub("", text)
    return text


def _without_signs(mark: re.Match[str]) -> str:
    before, after = mark.string[mark.start() - 1 : mark.start()], mark.string[mark.end() : mark.end() + 1]
    if (before.isalnum() and after.isalnum()) or "_" in (before, after):
        return mark[0]  # part of a name such as a_b_c
    return mark[1]
