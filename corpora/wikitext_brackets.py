"""Matches the brackets of wikitext: `{{`, `[[` and `{|` with what closes them. Text in, their places out.

The rule: linear in the text, whatever it holds. An opener that nothing closes is a bracket without partner, and costs
its own two characters: what follows it is matched as if it were not there.

Differences to MediaWiki, which all serve that rule: a link ends at an empty line at the latest (a file's caption does
not), links and templates end at a heading, and openers nested deeper than MAX_DEPTH count as unclosed.
"""

import re
from typing import NamedTuple

__all__ = ["LINK", "MAX_DEPTH", "TABLE", "TEMPLATE", "Brackets", "match_brackets"]

MAX_DEPTH = 60  # MediaWiki stops expanding at 40
TEMPLATE, LINK, TABLE = 0, 1, 2
_NO_PARTNER = -1

_TOKENS = re.compile(
    r"\{\{+|\}\}+|\[\[+|\]\]+"
    r"|\n(?:[ \t:*#;]*\{\|(?!\}\})|[ \t]*\|\}(?!\}(?!\}))|(?=[ \t]*\n|==))"
)
_FILE = re.compile(r"\s*:?\s*(?:file|image|datei|fichier|media)\s*:", re.IGNORECASE)


class Brackets(NamedTuple):
    """All brackets of a text, in order, as columns: one list is much cheaper than a value for each bracket."""

    starts: list[int]
    ends: list[int]
    kinds: list[int]  # TEMPLATE, LINK, TABLE
    partners: list[int]  # index of the bracket that it opens or closes with; -1 where there is none
    opens: list[bool]


class _Matcher:
    """The stack of what is open."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = Brackets([], [], [], [], [])
        self.stack: list[int] = []
        self.n_open = [0, 0, 0]

    def add(self, start: int, end: int, kind: int, *, opens: bool) -> int:
        starts, ends, kinds, partners, opening = self.found
        starts.append(start)
        ends.append(end)
        kinds.append(kind)
        partners.append(_NO_PARTNER)
        opening.append(opens)
        return len(starts) - 1

    def open(self, start: int, end: int, kind: int) -> None:
        index = self.add(start, end, kind, opens=True)
        if len(self.stack) < MAX_DEPTH:
            self.stack.append(index)
            self.n_open[kind] += 1

    def close(self, start: int, end: int, kind: int) -> None:
        """Closes the innermost open bracket of this kind; those inside it stay without partner."""
        index = self.add(start, end, kind, opens=False)
        kinds, partners = self.found.kinds, self.found.partners
        while self.n_open[kind]:
            opener = self.pop()
            if kinds[opener] == kind:
                partners[opener], partners[index] = index, opener
                return

    def pop(self) -> int:
        opener = self.stack.pop()
        self.n_open[self.found.kinds[opener]] -= 1
        return opener

    def open_run(self, start: int, end: int, kind: int) -> None:
        """`{{{` is `{` and `{{`. Of a run deeper than can be matched, the first part is one bracket."""
        start += (end - start) % 2
        first = max(start, end - 2 * MAX_DEPTH)
        if start < first:
            self.add(start, first, kind, opens=True)
        for place in range(first, end, 2):
            self.open(place, place + 2, kind)

    def close_run(self, start: int, end: int, kind: int) -> None:
        if end - start == 3 and self._holds_open_brace(start, kind):
            start += 1  # "{{chem2|H_{2}}}": the first one closes "{"
        end -= (end - start) % 2
        last = min(end, start + 2 * max(1, len(self.stack)))
        for place in range(start, last, 2):
            self.close(place, place + 2, kind)
        if last < end:
            self.add(last, end, kind, opens=False)

    def _holds_open_brace(self, position: int, kind: int) -> bool:
        if kind != TEMPLATE or not self.stack or self.found.kinds[self.stack[-1]] != TEMPLATE:
            return False
        content = self.text[self.found.ends[self.stack[-1]] : position]
        return content.count("{") > content.count("}")

    def end_paragraph(self, *, at_heading: bool) -> None:
        """Gives up what cannot reach beyond an empty line, or a heading. Tables hold both."""
        kinds = self.found.kinds
        while self.stack:
            opener = self.stack[-1]
            kind = kinds[opener]
            if kind == TABLE or (
                not at_heading and (kind == TEMPLATE or _FILE.match(self.text, self.found.ends[opener]))
            ):
                return
            self.pop()


def match_brackets(text: str) -> Brackets:
    """All brackets of the text."""
    matcher = _Matcher(text)
    for found in _TOKENS.finditer(text):
        start, end = found.span()
        first = text[start]
        if first == "\n":
            last = text[end - 1]
            if last == "|":
                matcher.open(start, end, TABLE)
            elif last == "}":
                matcher.close(start, end, TABLE)
            elif matcher.stack:
                matcher.end_paragraph(at_heading=text.startswith("==", end))
        elif first in "{[":
            (matcher.open if end - start == 2 else matcher.open_run)(start, end, TEMPLATE if first == "{" else LINK)
        else:
            (matcher.close if end - start == 2 else matcher.close_run)(start, end, TEMPLATE if first == "}" else LINK)
    return matcher.found
