"""Finds headings of chapters and lists of contents in plain-text books: blocks in, what they are out.

The rule: what may be a sentence is none of them. A line that is taken for a heading says that it is one ("CHAPTER I",
"Preface", "XII"), or is in capitals and set apart by two blank lines, or follows such a heading in capitals or in title
case. A list of contents starts with a line that says so, and holds entries only: numbered, ending in the number of a
page, or coming back later as a line of their own.
"""

import re
from itertools import islice
from typing import NamedTuple

__all__ = ["RawBlock", "find_contents", "is_heading", "is_subheading", "split_blocks"]

_MAX_HEADING_CHARS = 200
_MAX_HEADING_LINES = 4
_MAX_CONTENTS_BLOCKS = 400
_MAX_ENTRY_LINES = 6
_MAX_PICTURES = 100  # blocks of a list of illustrations
_LONG_LINE = 66
_MIN_UNNAMED = 6  # lines of a list of contents without a heading
_UNNAMED_BLOCKS = 80  # at the start of a book, in which it is looked for
_TAIL_CHARS = 40  # of a line, in which the number of a page is looked for
_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen"
    "|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|first|second|third|fourth|fifth|sixth|seventh"
    "|eighth|ninth|tenth|eleventh|twelfth|last|the"
)
_WORDED = rf"(?:{_NUMBER_WORDS})(?:[\s-]+(?:{_NUMBER_WORDS})){{0,4}}"
_NUMERAL = rf"(?:\d{{1,3}}(?:st|nd|rd|th)?|[IVXLC]{{1,9}}|[ivxlc]{{1,9}}|{_WORDED})"
_DIVISION = (
    r"(?:chapter|chap\.?|part|book|volume|vol\.?|letter|act|scene|canto|stave|section|epoch|episode|adventure"
    r"|story|tale)"
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
_SMALL_WORDS = frozenset([
    "a", "an", "and", "as", "at", "but", "by", "for", "from", "in", "into", "nor", "of", "on", "or", "over",
    "the", "to", "up", "with", "within", "without", "de", "la", "le",
])  # fmt: skip

_PICTURES = re.compile(
    r"(?:a\s+)?list\s+of\s+(?:the\s+)?(?:full[- ]page\s+)?"
    r"(?:illustrations|plates|maps|figures|engravings|pictures)[\s.:]*$"
    r"|(?:full[- ]page\s+)?illustrations[\s.:]*$",
    re.IGNORECASE,
)
_CONTENTS = re.compile(
    r"(?:table\s+of\s+)?contents(?:\s+of\s+(?:vol|part|the)[\w\s.]{0,30})?[\s.:]*$"
    r"|(?:a\s+)?list\s+of\s+(?:the\s+)?(?:chapters|tales|stories)[\s.:]*$|" + _PICTURES.pattern,
    re.IGNORECASE,
)
_ENDS_IN_PAGE = re.compile(
    r"(?:\s{2,}|[.\s·…_-]{3,}|\bpage\s+|\t)(?:[\divxlc]{1,6}|frontispiece|page)[\s._]*$", re.IGNORECASE
)
_STARTS_NUMBERED = re.compile(
    rf"\W{{0,3}}(?:{_DIVISION}\s+)?(?:[IVXLC]{{1,9}}|\d{{1,3}})(?:[.):]|\s{{1,}}|[—-])\s*\S|{_DIVISION}\s+{_NUMERAL}\b"
    r"|chapters?\b.{0,60}\b(?:page|title)\b|chapters?\W*$|chap\.|page\W*$",
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
    words = [word for word in re.findall(r"[^\W\d_][^\s]*", text) if word.lower() not in _SMALL_WORDS]
    return (
        len(block.lines) == 1
        and len(text) <= 60
        and bool(words)
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
    named = [index for index, block in enumerate(blocks) if _CONTENTS.match(_bare_of_signs(block.lines[0]))]
    unnamed = [
        index
        for index, block in enumerate(blocks[:_UNNAMED_BLOCKS])
        if len(block.lines) >= _MIN_UNNAMED and not _is_long(block)
    ]
    places = _last_places(blocks) if named or unnamed else {}
    for index in named:
        if index not in found:
            found.update(range(index, _end_of_contents(blocks, index, places)))
    found.update(index for index in unnamed if _is_unnamed(blocks[index], index, places))
    return found


def _is_unnamed(block: RawBlock, index: int, places: dict[str, int]) -> bool:
    """Whether nearly all lines of a block without a heading come back as headings: a list that does not say so."""
    n_back = sum(_comes_back([line], index, places) for line in block.lines)
    return n_back >= 0.8 * len(block.lines)


def _end_of_contents(blocks: list[RawBlock], index: int, places: dict[str, int]) -> int:
    """The block after the last entry; the block itself if it has no entry, and is a heading of something else."""
    seen: dict[str, None] = {}  # lines, as `_bare` gives them, in their order
    first = blocks[index].lines[1:]
    if _PICTURES.match(_bare_of_signs(blocks[index].lines[0])):
        return _end_of_pictures(blocks, index)
    if first and not _is_list(first, index, places):
        return index
    seen |= dict.fromkeys(filter(None, map(_bare, first)))
    end = index + 1
    for place in range(index + 1, min(index + _MAX_CONTENTS_BLOCKS, len(blocks))):
        block = blocks[place]
        if seen and (_begins_again(block, seen) or _leaves_list(block, place, places)):
            break
        if _CONTENTS.match(_bare_of_signs(block.lines[0])) and len(block.lines) == 1:
            break  # the next list
        if not _is_list(block.lines, place, places):
            break
        seen |= dict.fromkeys(filter(None, map(_bare, block.lines)))
        end = place + 1
    return end if end > index + 1 or first else index


def _end_of_pictures(blocks: list[RawBlock], index: int) -> int:
    """The block after a list of illustrations. Its entries are captions, even sentences; it ends with the page."""
    end = index + 1
    while end < min(index + _MAX_PICTURES, len(blocks)):
        block = blocks[end]
        is_first = end == index + 1
        if (block.gap >= 3 and not is_first) or _CONTENTS.match(_bare_of_signs(block.lines[0])) or _is_long(block):
            break
        if is_heading(block) and not any(_ENDS_IN_PAGE.search(line[-_TAIL_CHARS:]) for line in block.lines):
            break
        end += 1
    return end if end > index + 1 or blocks[index].lines[1:] else index


def _is_long(block: RawBlock) -> bool:
    """Whether the block has the lines of a paragraph."""
    return len(block.lines) >= 3 and 2 * sum(len(line) > _LONG_LINE for line in block.lines) > len(block.lines)


def _begins_again(block: RawBlock, seen: dict[str, None]) -> bool:
    """Whether an entry comes again, or the title of one of the first: there the first chapter begins."""
    first_titles = {_bare_title(line) for line in islice(seen, 3)}
    return any(bare in seen or _bare_title(line) in first_titles for line in block.lines if (bare := _bare(line)))


def _leaves_list(block: RawBlock, index: int, places: dict[str, int]) -> bool:
    """Whether the block is set apart, names no page and does not come back."""
    return (
        block.gap >= 2
        and not any(_ENDS_IN_PAGE.search(line[-_TAIL_CHARS:]) for line in block.lines)
        and not _comes_back(block.lines, index, places)
    )


def _is_list(lines: list[str], index: int, places: dict[str, int]) -> bool:
    """Whether the lines are one entry that ends in the number of a page, or most of them are entries."""
    if len(lines) <= _MAX_ENTRY_LINES and _ENDS_IN_PAGE.search(lines[-1][-_TAIL_CHARS:]):
        return True
    n_entries = sum(
        bool(
            _ENDS_IN_PAGE.search(line[-_TAIL_CHARS:])
            or _STARTS_NUMBERED.match(line.strip())
            or _comes_back([line], index, places)
        )
        for line in lines
    )
    return 2 * n_entries >= len(lines)


def _comes_back(lines: list[str], index: int, places: dict[str, int]) -> bool:
    """Whether all lines stand in a later block, set apart, as lines of their own."""
    return all(places.get(_bare_title(_bare(line)), -1) > index for line in lines)


def _last_places(blocks: list[RawBlock]) -> dict[str, int]:
    """The last of the small blocks that could be headings in which each line stands, or that it is as a whole."""
    places: dict[str, int] = {}
    was_apart = False
    for index, block in enumerate(blocks):
        is_apart = block.gap >= 2
        if len(block.lines) <= _MAX_HEADING_LINES and (is_apart or was_apart):
            for text in {*block.lines, " ".join(block.lines)}:
                if bare := _bare(text):
                    for form in {bare, _bare_title(bare)}:
                        places[form] = index
        was_apart = is_apart
    return places


def _bare_of_signs(line: str) -> str:
    return line.strip("_=*~ ")


def _bare(line: str) -> str:
    """Letters and digits of a line, lower case, without the number of a page at its end."""
    line = line[:-_TAIL_CHARS] + _ENDS_IN_PAGE.sub("", line[-_TAIL_CHARS:])
    return _NO_WORD.sub(" ", line).strip().lower()


def _bare_title(bare: str) -> str:
    """The same without the number of a chapter before it."""
    return _LEADING_NUMBER.sub("", bare, count=1) or bare


_NO_WORD = re.compile(r"[\W_]+")
_LEADING_NUMBER = re.compile(rf"(?:(?:{_DIVISION})\s+)?{_NUMERAL}\s+(?=\S)", re.IGNORECASE)
