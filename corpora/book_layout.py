"""Turns the lines of a plain-text book into paragraphs: lines in, blocks of text out.

The rule: a line break stays unless the width of the page made it. In wrapped prose each break was forced (the next word
would not have fitted in); in verse, title pages, addresses and lists it was chosen. So a block between blank lines is
prose where most of its breaks were forced, by the book's width or, where it is set narrower and its lines do not begin
with capitals as verse does, by its own. A book whose lines are longer than any page's has a paragraph on each line.

Words that were parted at the end of a line are joined: without the hyphen where the book writes them so elsewhere, with
it where the book writes it, or where both parts are words of the book. Lines of stars, dashes and the like go.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from corpora.book_headings import RawBlock, find_contents, is_heading, is_subheading, split_blocks
from corpora.book_marks import take_out_marks, undo_emphasis

__all__ = ["HEADING", "NOTE", "PARAGRAPH", "VERSE", "Block", "BookText", "lay_out"]

PARAGRAPH, VERSE, HEADING, NOTE = "paragraph", "verse", "heading", "note"

_MAX_WIDTH = 110  # of a page of plain text; longer lines are whole paragraphs
_SLACK = 8  # columns that a line may be short of the width and count as full
_FULL = 0.6  # share of breaks that are forced in prose
_CAPITALS = 0.6  # share of lines that begin with one, from which a narrow block is taken for verse

_ORNAMENT = re.compile(r"[\s*\-_=~#.•·+|<>—–]*")
_FIRST_WORD = re.compile(r"\s*(\S+)")
_ENDS_SENTENCE = re.compile(r"[.!?:…—][\"'”’»)\]_]*$|--[\"'”’]?$")
_CAPITAL = re.compile(r"[\W_]*[A-ZÀ-ÖØ-Þ]")
_SPACED = re.compile(r"\S\s{3,}\S")
_WORD_CHARS = 40
_PARTED = re.compile(r"([^\W\d_]+)-$")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


class Block(NamedTuple):
    """A piece of a book."""

    kind: str  # PARAGRAPH, VERSE, HEADING or NOTE
    text: str  # one line; of verse one line or several


class BookText(NamedTuple):
    """All pieces of a book in order."""

    blocks: list[Block]
    gaps: int  # marks that stood in a sentence for what plain text cannot show


def lay_out(lines: list[str], *, keep_notes: bool) -> BookText:
    """The paragraphs, lines of verse and headings of a plain-text book; lists of contents are left out."""
    marked = take_out_marks([line.expandtabs(4) for line in lines], keep_notes=keep_notes)
    width = page_width(marked.lines)
    raw = split_blocks(marked.lines) if width <= _MAX_WIDTH else _split_lines(marked.lines)
    raw = [block for block in map(_without_ornaments, raw) if block.lines]
    contents = find_contents(raw)
    joiner = _Joiner(raw)
    blocks: list[Block] = []
    after_heading = False
    for index, block in enumerate(raw):
        if index in contents:
            after_heading = False
            continue
        if is_heading(block) or (after_heading and is_subheading(block)):
            text = undo_emphasis(" ".join(" ".join(block.lines).split()))
            blocks.append(Block(HEADING, text))
            after_heading = True
            continue
        after_heading = False
        blocks += _read_block(block, width, joiner)
    return BookText(blocks, marked.gaps)


def page_width(lines: list[str]) -> int:
    """The width that the book was wrapped to: hardly any line is longer, a few that were not wrapped aside."""
    lengths = sorted(len(line.rstrip()) for line in lines if line.strip())
    wrapped = [length for length in lengths if length <= _MAX_WIDTH]
    if 2 * sum(wrapped) >= sum(lengths):
        lengths = wrapped
    return lengths[int(len(lengths) * 0.98)] if lengths else 0


def _split_lines(lines: list[str]) -> list[RawBlock]:
    """Each line as a block, in a book without wrapped lines."""
    blocks: list[RawBlock] = []
    for block in split_blocks(lines):
        blocks += [RawBlock([line], 0 if number else block.gap) for number, line in enumerate(block.lines)]
    return blocks


def _without_ornaments(block: RawBlock) -> RawBlock:
    """The block without lines of stars and dashes, and without the bars of a frame around it."""
    if all(line.strip()[0] in "|+" and line[-1] in "|+" for line in block.lines):
        block = RawBlock([line.strip()[1:-1].rstrip() for line in block.lines], block.gap)
    if all(_ORNAMENT.fullmatch(line) is None for line in block.lines):
        return block
    return RawBlock([line for line in block.lines if not _ORNAMENT.fullmatch(line)], block.gap)


def _read_block(block: RawBlock, width: int, joiner: "_Joiner") -> list[Block]:
    """A block as paragraphs or as verse."""
    lines = undo_emphasis("\n".join(block.lines)).split("\n")
    if len(lines) == 1:
        return [Block(PARAGRAPH, lines[0].strip())]
    edge = _prose_edge(lines, width)
    if edge is None:
        return [Block(VERSE, "\n".join(line.strip() for line in lines if line.strip()))]
    return [Block(PARAGRAPH, joiner.join(piece)) for piece in _split_paragraphs(lines, edge)]


def _prose_edge(lines: list[str], width: int) -> int | None:
    """The column that the block was wrapped at; None where its line breaks were chosen."""
    n_breaks = len(lines) - 1
    capitals = sum(bool(_CAPITAL.match(line)) for line in lines[1:]) / n_breaks
    is_apart = capitals == 1 and all(line[0] == " " for line in lines)
    if is_apart and (n_breaks >= 3 or _count_forced(lines, width + _SLACK) < n_breaks):
        return None  # a capital on each of four lines, or on fewer after which a next word would have fitted
    if _count_forced(lines, width) >= _FULL * n_breaks:
        return width
    if sum(bool(_SPACED.search(line.strip())) for line in lines if "   " in line) * 2 > len(lines):
        return None  # a table
    if capitals >= _CAPITALS:
        return None
    if n_breaks <= 2:
        is_flowing = all(line.lstrip()[:1].islower() for line in lines[1:])
        return width if is_flowing and max(map(len, lines)) >= width // 2 else None
    edge = max(map(len, lines))
    if _count_forced(lines, edge) >= _FULL * n_breaks:
        return edge
    # Prose that was wrapped by hand: ragged, but not indented and not as short as verse.
    is_ragged = not lines[1][:1].isspace() and sum(map(len, lines[:-1])) >= 0.6 * width * n_breaks
    return edge if is_ragged and capitals < _CAPITALS - 0.1 else None


def _count_forced(lines: list[str], width: int) -> int:
    return sum(_is_forced(line, after, width) for line, after in pairwise(lines))


def _is_forced(line: str, after: str, width: int) -> bool:
    """Whether the first word of the next line would not have fitted on this one."""
    word = _FIRST_WORD.match(after)
    return len(line) + 1 + len(word[1] if word else "") > width - _SLACK


def _split_paragraphs(lines: list[str], edge: int) -> list[list[str]]:
    """Paragraphs without a blank line between: one begins indented, or after a sentence that ends far from the edge."""
    indents = [len(line) - len(line.lstrip()) for line in lines]
    base = min(indents)
    n_indented = sum(indent > base for indent in indents)
    marks_paragraphs = 0 < n_indented <= len(lines) // 2
    pieces: list[list[str]] = [[lines[0]]]
    for place in range(1, len(lines)):
        before, line = lines[place - 1], lines[place]
        ended = bool(_ENDS_SENTENCE.search(before[-6:]))
        begins = marks_paragraphs and indents[place] > base and ended
        begins = begins or (
            ended and len(before) < 0.7 * edge and bool(_CAPITAL.match(line)) and not _is_forced(before, line, edge)
        )
        if begins:
            pieces.append([])
        pieces[-1].append(line)
    return pieces


class _Joiner:
    """Joins the lines of a paragraph; knows the words of the book, for those that were parted."""

    def __init__(self, blocks: list[RawBlock]) -> None:
        self._blocks = blocks
        self._words: frozenset[str] | None = None

    def join(self, lines: list[str]) -> str:
        pieces = [" ".join(lines[0].split())]
        for line in lines[1:]:
            before, piece = pieces[-1], " ".join(line.split())
            parted = _PARTED.search(before[-_WORD_CHARS:]) if before.endswith("-") else None
            if parted and piece[:1].isalpha():
                if not self._keeps_hyphen(parted[1], piece):
                    pieces[-1] = before[:-1]
            elif not (before.endswith(("--", "—")) and not before.endswith((" --", " —"))):
                pieces.append(" ")
            pieces.append(piece)
        return "".join(pieces)

    def _keeps_hyphen(self, first: str, piece: str) -> bool:
        found = _WORD.match(piece)
        second = found[0] if found else ""
        if second[:1].isupper():
            return True
        words = self._words_of_book()
        first, second = first.lower(), second.lower()
        if f"{first}-{second}" in words:
            return True
        return f"{first}{second}" not in words and first in words and second in words

    def _words_of_book(self) -> frozenset[str]:
        if self._words is None:
            text = "\n".join(line for block in self._blocks for line in block.lines)
            self._words = frozenset(_WORD.findall(text.lower()))
        return self._words
