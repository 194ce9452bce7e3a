"""Finds headings of chapters and lists of contents in plain-text books: blocks in, what they are out.

The rule: what may be a sentence is none of them. A line that is taken for a heading says that it is one ("CHAPTER I",
"Preface", "XII"), or is in capitals and set apart by two blank lines, or follows such a heading in capitals or in title
case. A list of contents starts with a line that says so, and holds entries only: numbered, ending in the number of a
page, or coming back later as a line of their own.
"""

import re
from typing import NamedTuple

__all__ = ["RawBlock", "find_contents", "is_heading", "is_subheading", "split_blocks"]

_MAX_HEADING_CHARS = 200
_MAX_HEADING_LINES = 4
_MAX_CONTENTS_BLOCKS = 400
_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen"
    "|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|first|second|third|fourth|fifth|sixth|seventh"
    "|eighth|ninth|tenth|eleventh|twelfth|last|the"
)
_NUMERAL = rf"(?:\d{{1,3}}(?:st|nd|rd|th)?|[IVXLC]{{1,9}}|[ivxlc]{{1,9}}|(?:{_NUMBER_WORDS})(?:[\s-]+(?:{_NUMBER_WORDS}))*)"
_DIVISION = (
    r"(?:chapter|chap\.?|part|book|volume|vol\.?|letter|act|scene|canto|stave|section|epoch|episode|adventure|story|tale)"
)
_NUMBERED = re.compile(
    rf"(?:the\s+)?(?:{_DIVISION}\s+(?:the\s+)?{_NUMERAL}|{_NUMERAL}\s+{_DIVISION})(?=$|[\s.,:;—–-])", re.IGNORECASE
)
_BARE_NUMBERED = re.compile(
    rf"(?:the\s+)?(?:{_DIVISION}\s+(?:the\s+)?{_NUMERAL}[\s.:,;—–-]*)+$", re.IGNORECASE
)  # "VOLUME ONE, CHAPTER ONE."
_NAMED = re.compile(
    r"(?:(?:author['’]s\s+|the\s+|a\s+)?(?:preface|introduction|introductory(?:\s+note)?|foreword|prologue|epilogue|conclusion"
    r"|afterword|postscript|appendix|dedication|interlude|notes?|endnotes|footnotes|advertisement|finis|the\s+end)"
    r"(?:\s+to\s+the\s+[\w\s-]{3,30}edition)?)[\s.:]*$",
    re.IGNORECASE,
)
_BARE_NUMERAL = re.compile(r"(?:[IVXLC]{1,9}|\d{1,3})[.:]?$")
_QUOTES = "\"'“”‘’«»"
_SENTENCE_END = re.compile(r"[.!?,;:…—-][\"'”’)\]]*$")
_SMALL_WORDS = frozenset(
    "a an and as at but by for from in into nor of on or over the to up with within without de la le".split()
)

_CONTENTS = re.compile(
    r"(?:table\s+of\s+)?contents(?:\s+of\s+(?:vol|part|the)[\w\s.]{0,30})?[\s.:]*$"
    r"|(?:a\s+)?list\s+of\s+(?:the\s+)?(?:illustrations|plates|maps|figures|engravings|pictures|chapters|tales|stories)[\s.:]*$"
    r"|(?:full[- ]page\s+)?illustrations[\s.:]*$",
    re.IGNORECASE,
)
_ENDS_IN_PAGE = re.compile(r"(?:\s{2,}|[.\s·…_-]{3,}|\bpage\s+|\t)(?:[\divxlc]{1,6}|frontispiece|page)[\s.]*$", re.IGNORECASE)
_STARTS_NUMBERED = re.compile(
    rf"\W{{0,3}}(?:{_DIVISION}\s+)?(?:[IVXLC]{{1,9}}|\d{{1,3}})(?:[.):]|\s{{1,}}|[—-])\s*\S|{_DIVISION}\s+{_NUMERAL}\b"
    r"|chapters?\b.{0,60}\bpage\b|chap\.|page\W*$",
    re.IGNORECASE,
)


class RawBlock(NamedTuple):
    """Lines between blank lines."""

    lines: list[str]  # right-stripped, with their indentation
    gap: int  # blank lines before it; many before the first


def split_blocks(lines: list[str]) -> list[RawBlock]:
    """The blocks of a text."""
    blocks: list[RawBlock] = []
    block: list[str] = []
    gap = 9
    for line in lines:
        if line and not line.isspace():
            block.append(line.rstrip())
            continue
        if block:
            blocks.append(RawBlock(block, gap))
            block, gap = [], 0
        gap += 1
    if block:
        blocks.append(RawBlock(block, gap))
    return blocks


def is_heading(block: RawBlock) -> bool:
    """Whether a block says of itself that it is a heading."""
    text = _as_one_line(block)
    if text is None:
        return False
    if _BARE_NUMBERED.match(text) or _NAMED.match(text):
        return True
    if block.gap < 2 or text[0] in _QUOTES:
        return False
    if _NUMBERED.match(text):
        return True
    return bool(_BARE_NUMERAL.match(text)) or (_is_upper(text) and len(text) > 1)


def is_subheading(block: RawBlock) -> bool:
    """Whether the block that follows a heading goes on with it: capitals, or a short title in title case."""
    text = _as_one_line(block)
    if text is None or text[0] in _QUOTES:
        return False
    if _is_upper(text):
        return True
    words = [word for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text) if word.lower() not in _SMALL_WORDS]
    return (
        len(block.lines) == 1
        and len(text) <= 60
        and 1 <= len(words)
        and all(word[0].isupper() for word in words)
        and not re.search(r"[!?,;:…—-][\"'”’)\]]*$", text)
    )


def _as_one_line(block: RawBlock) -> str | None:
    """The text of a block that is small enough for a heading and holds a letter or digit."""
    if len(block.lines) > _MAX_HEADING_LINES:
        return None
    text = " ".join(" ".join(block.lines).split()).strip("_=*~ ")
    if not text or len(text) > _MAX_HEADING_CHARS or not any(char.isalnum() for char in text):
        return None
    return text


def _is_upper(text: str) -> bool:
    return text.isupper() and sum(char.isalpha() for char in text) > 1


def find_contents(blocks: list[RawBlock]) -> set[int]:
    """Indices of the blocks that are lists of contents or of illustrations, their headings included."""
    found: set[int] = set()
    places: dict[str, list[int]] | None = None
    for index, block in enumerate(blocks):
        if index in found or not _CONTENTS.match(block.lines[0].strip("_=*~ ")):
            continue
        if places is None:
            places = _places_of_lines(blocks)
        end = _end_of_contents(blocks, index, places)
        found.update(range(index, end))
    return found


def _end_of_contents(blocks: list[RawBlock], index: int, places: dict[str, list[int]]) -> int:
    """The block after the last entry; the block itself if it has no entry, and is a heading of something else."""
    seen: set[str] = set()
    first = blocks[index].lines[1:]
    if first and not _is_list(first, index, places):
        return index
    seen.update(map(_bare, first))
    end = index + 1
    for place in range(index + 1, min(index + _MAX_CONTENTS_BLOCKS, len(blocks))):
        block = blocks[place]
        if seen and any(_bare(line) in seen or _bare_title(line) in seen for line in block.lines if _bare(line)):
            break  # the first chapter begins
        with_pages = sum(bool(_ENDS_IN_PAGE.search(line)) for line in block.lines)
        if seen and block.gap >= 2 and not with_pages and not _comes_back(block.lines, place, places):
            break
        if _CONTENTS.match(block.lines[0].strip("_=*~ ")) and len(block.lines) == 1:
            break  # the next list
        if not _is_list(block.lines, place, places):
            break
        seen.update(filter(None, map(_bare, block.lines)))
        seen.update(filter(None, map(_bare_title, block.lines)))
        end = place + 1
    return end if end > index + 1 or first else index


def _is_list(lines: list[str], index: int, places: dict[str, list[int]]) -> bool:
    """Whether most lines are entries and none is the line of a paragraph."""
    n_entries = sum(
        bool(_ENDS_IN_PAGE.search(line) or _STARTS_NUMBERED.match(line.strip()) or _comes_back([line], index, places))
        for line in lines
    )
    return 2 * n_entries >= len(lines)


def _comes_back(lines: list[str], index: int, places: dict[str, list[int]]) -> bool:
    """Whether all lines stand in a later block as lines of their own."""
    return all(any(place > index for place in places.get(_bare_title(line), ())) for line in lines)


def _places_of_lines(blocks: list[RawBlock]) -> dict[str, list[int]]:
    """In which small blocks each line, and each small block as a whole, stands."""
    places: dict[str, list[int]] = {}
    for index, block in enumerate(blocks):
        if len(block.lines) > _MAX_HEADING_LINES:
            continue
        for text in {*block.lines, " ".join(block.lines)}:
            for bare in {_bare(text), _bare_title(text)}:
                if bare:
                    places.setdefault(bare, []).append(index)
    return places


def _bare(line: str) -> str:
    """Letters and digits of a line, lower case, without the number of a page at its end."""
    return re.sub(r"[\W_]+", " ", _ENDS_IN_PAGE.sub("", line)).strip().lower()


_LEADING_NUMBER = re.compile(rf"(?:(?:{_DIVISION})\s+)?{_NUMERAL}\s+(?=\S)", re.IGNORECASE)


def _bare_title(line: str) -> str:
    """The same without the number of a chapter before it."""
    bare = _bare(line)
    return _LEADING_NUMBER.sub("", bare, count=1) or bare
