"""Takes Project Gutenberg's own matter off a book: lines in, the book's lines and the facts of the header out.

The rule: of what the author wrote not a line goes. What goes is recognised by what it says, never by its place alone.

Before the book: everything up to `*** START OF THE PROJECT GUTENBERG EBOOK … ***`, in old files up to
`*END*THE SMALL PRINT!`, then the notices and credits that follow it ("Produced by …", "E-text prepared by …", notes of
the transcriber, and a summary that some transcribers put between two long rules). After the book: everything from
`End of Project Gutenberg's …` or `*** END OF …` on, and the transcriber's notes before it. A file that never names
Project Gutenberg comes back as it was. Title pages, dedications and publishers' advertisements belong to the book.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from corpora.book_facts import NO_FACTS, BookFacts, read_header

__all__ = ["StrippedBook", "strip_gutenberg"]

HEAD_LINES = 200  # after the start, in which credits are looked for
NOTE_LINES = 600  # the same for notes that say that they are the transcriber's, which can follow a long contents
TAIL_LINES = 250  # before the end, in which the transcriber's notes are
_MARKER_LINES = 4  # that a marker with a long title may take
_FOOTER_GAP = 15  # lines between "End of Project Gutenberg's …" and "*** END OF …"
_SMALL_PRINT_GAP = 400  # lines between a start and the end of a small print that still belongs to the header
_SUMMARY_LINES = 80
_BLOCK_CHARS = 5_000  # of a paragraph, that are looked at

_NAME = re.compile(r"project\s+gutenberg|gutenberg[-\s]tm|gutenberg\.(?:org|net)", re.IGNORECASE)
_START = re.compile(r"\W*START\s+OF\s+(?:TH[EIS]{1,2}\s+)?PROJECT\s+GUTENBERG", re.IGNORECASE)
_SMALL_PRINT_END = re.compile(r"\W*END\W{1,3}THE\s+SMALL\s+PRINT", re.IGNORECASE)
# "End of the Project Gutenberg Etext of …", "Ende dieses Projekt Gutenberg Etextes …", "Fin de …"
_END = re.compile(r"\W*(?:END|ENDE|FIN|FINE|EINDE|SLUT|LOPPU)\b[^.]{0,40}?\bPROJE[CK]T\s+GUTENBERG", re.IGNORECASE)
_LICENSE = re.compile(r"\W*(?:START:\s+FULL\s+LICENSE|THE\s+FULL\s+PROJECT\s+GUTENBERG\s+LICENSE)", re.IGNORECASE)
_RULE = re.compile(r"\s*([-_=*+~|#])(?:[-_=*+~|# ]*)$")
_LONG_RULE = re.compile(r"\s*_{40,}\s*$")

_CREDIT = re.compile(
    r"\W*(?:this\s+|the\s+)?(?:project\s+gutenberg\s+)?(?:e-?text|e-?book|file|text|html\s+version)?\s*(?:was\s+)?(?:first\s+)?"
    r"(?:(?:produced|prepared|transcribed|typed|keyed|scanned|digiti[sz]ed|converted|proof-?read|proofed)\b"
    r"(?:[\s,]+(?:and|&|or)?\s*(?:produced|prepared|transcribed|typed|scanned|digiti[sz]ed|proof-?read|proofed|formatted))*"
    r"\s+(?:by|from|for|in)\b"
    r"|updated\s+editions?\s+will|produit\s+par|hergestellt\s+von|prodotto\s+da|producido\s+por|geproduceerd\s+door)",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    r"project\s+gutenberg|gutenberg\.(?:org|net)|pgdp\.net|\bpg\s+online|distributed\s+proofread|@pglaf\.org"
    r"|portions\s+of\s+this\s+header|\A\W*in\s+honou?r\s+of\s+.{3,60}\sbirthday\W*\Z",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"[\W_]*(?:original\s+)?transcrib(?:er|ers|er['’]s|ers['’])[\s_]+(?:end[\s-]?)?notes?\b"
    r"|[\W_]*notes?\s+(?:on|to|about)\s+(?:this|the)\s+(?:e-?text|e-?book|electronic\s+(?:text|edition))",
    re.IGNORECASE,
)
# What a note goes on about, in the paragraphs after its first.
_ABOUT_THE_TEXT = re.compile(
    r"\be-?texts?\b|\be-?books?\b|\bascii\b|\bitalic|underscore|hyphenat|typograph|typesett|\bspelling|\bpunctuation"
    r"|\btranscri|\bproofread|we\s+(?:have\s+)?substituted|\bhtml\b|\butf-?8\b|table\s+of\s+contents\s+(?:was|has\s+been)",
    re.IGNORECASE,
)


class StrippedBook(NamedTuple):
    """A book without the matter of Project Gutenberg."""

    lines: list[str]
    places: list[int]  # of these lines among those given
    facts: BookFacts  # of the header; empty where there was none
    has_header: bool
    has_footer: bool


class _Span(NamedTuple):
    """Lines [start, end)."""

    start: int
    end: int


def strip_gutenberg(lines: list[str]) -> StrippedBook:
    """The lines of the book alone. A file of several books gives the lines of all, and the facts of the first."""
    if not any("utenberg" in line or "UTENBERG" in line for line in lines):
        return StrippedBook(lines, list(range(len(lines))), NO_FACTS, False, False)
    starts = _find_starts(lines)
    has_header = bool(starts)
    if not starts:
        starts = [_Span(0, _end_of_unmarked_header(lines))]
        has_header = starts[0].end > 0
    kept: list[int] = []
    has_footer = False
    for this, following in pairwise([*starts, _Span(len(lines), len(lines))]):
        end = _find_end(lines, this.end, following.start)
        has_footer = has_footer or end < following.start
        body = lines[this.end : end]
        gone = _find_credits(body)
        stop = _start_of_tail_notes(body)
        kept += [this.end + n for n in range(stop) if n not in gone and not _END.match(body[n])]
    facts = read_header(lines[: starts[0].end])
    return StrippedBook([lines[place] for place in kept], kept, facts, has_header, has_footer)


def _find_starts(lines: list[str]) -> list[_Span]:
    """The markers that a book begins after, each with its lines."""
    starts: list[_Span] = []
    for place, line in enumerate(lines):
        if _START.match(line):
            starts.append(_Span(place, _end_of_marker(lines, place)))
        elif _SMALL_PRINT_END.match(line):
            last = starts[-1].end if starts else 0
            if not starts and place < len(lines) // 2 + _MARKER_LINES:
                starts.append(_Span(place, place + 1))
            elif starts and place - last < _SMALL_PRINT_GAP and place < len(lines) // 2:
                starts[-1] = _Span(starts[-1].start, place + 1)
    return starts


def _end_of_marker(lines: list[str], place: int) -> int:
    """A marker with a long title goes on over the next lines, to the stars at its end."""
    for end in range(place, min(place + _MARKER_LINES, len(lines))):
        if not lines[end].strip():
            break
        if lines[end].rstrip().endswith("**"):
            return end + 1
    return place + 1


def _end_of_unmarked_header(lines: list[str]) -> int:
    """Where the paragraphs at the top that speak of Project Gutenberg end, in a file without a marker."""
    end = 0
    for span in _blocks(lines[:HEAD_LINES]):
        if not _NAME.search(" ".join(lines[span.start : span.end])):
            break
        end = span.end
    return end


def _find_end(lines: list[str], start: int, stop: int) -> int:
    """Where the footer of the book in [start, stop) begins; `stop` if it has none."""
    ends = [place for place in range(start, stop) if _END.match(lines[place])]
    starred = [place for place in ends if lines[place].lstrip().startswith("*")]
    if starred:
        last = starred[-1]
        return min([place for place in ends if last - _FOOTER_GAP <= place] or [last])
    if ends:
        return ends[-1]
    return next((place for place in range(start, stop) if _LICENSE.match(lines[place])), stop)


def _blocks(lines: list[str]) -> list[_Span]:
    """Runs of lines that are not blank."""
    spans: list[_Span] = []
    begin = -1
    for place, line in enumerate([*lines, ""]):
        if line.strip():
            begin = place if begin < 0 else begin
        elif begin >= 0:
            spans.append(_Span(begin, place))
            begin = -1
    return spans


def _find_credits(lines: list[str]) -> set[int]:
    """Places of the credits, notices and notes among the first lines of a book."""
    dropped: list[_Span] = []
    follows_note = False
    for span in _blocks(lines[:NOTE_LINES]):
        block = lines[span.start : span.end]
        text = " ".join(" ".join(block)[:_BLOCK_CHARS].split())
        is_credit = span.start < HEAD_LINES and (_CREDIT.match(text) or _NOTICE.search(text))
        goes_on = follows_note and (all(_RULE.match(line) for line in block) or _ABOUT_THE_TEXT.search(text))
        is_note = _NOTE.match(text)
        follows_note = bool(is_note or (follows_note and (is_credit or goes_on)))
        if follows_note or is_credit:
            dropped.append(span)
    summary = _find_summary(lines[:HEAD_LINES])
    if summary and dropped:  # only where a transcriber is credited
        dropped.append(summary)
    return {place for span in dropped for place in range(span.start, span.end)}


def _find_summary(lines: list[str]) -> _Span | None:
    """What stands between the first two long rules, both included."""
    rules = [place for place, line in enumerate(lines) if _LONG_RULE.match(line)]
    if len(rules) < 2 or rules[1] - rules[0] > _SUMMARY_LINES:
        return None
    return _Span(rules[0], rules[1] + 1)


def _start_of_tail_notes(lines: list[str]) -> int:
    """Where the transcriber's notes at the end of a book begin, with the rule or the box that sets them apart."""
    first = max(len(lines) - TAIL_LINES, len(lines) // 2)
    for span in _blocks(lines[first:]):
        if _NOTE.match(" ".join(lines[first + span.start : first + span.end])[:_BLOCK_CHARS]):
            end = first + span.start
            while end and (not lines[end - 1].strip() or _RULE.match(lines[end - 1])):
                end -= 1
            return end
    return len(lines)
