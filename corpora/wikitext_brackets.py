"""Matches the brackets of wikitext: `{{`, `[[` and `{|` with what closes them. Text in, a list of tokens out.

The rule: linear in the text, whatever it holds. An opener that nothing closes is a token without partner, and costs its
own two characters: what follows it is matched as if it were not there.

Differences to MediaWiki, which all serve that rule: a link ends at an empty line at the latest (a file's caption does
not), links and templates end at a heading, and openers nested deeper than MAX_DEPTH count as unclosed.
"""

import re
from typing import NamedTuple

__all__ = ["LINK", "MAX_DEPTH", "TABLE", "TEMPLATE", "Token", "match_brackets"]

MAX_DEPTH = 60  # MediaWiki stops expanding at 40
TEMPLATE, LINK, TABLE = 0, 1, 2
_NO_PARTNER = -1

_TOKENS = re.compile(
    r"\{\{+|\}\}+|\[\[+|\]\]+"
    r"|\n(?:[ \t:*#;]*\{\|(?!\}\})|[ \t]*\|\}(?!\}(?!\}))|(?=[ \t]*\n|==))"
)
_FILE = re.compile(r"\s*:?\s*(?:file|image|datei|fichier|media)\s*:", re.IGNORECASE)


class Token(NamedTuple):
    """A bracket."""

    start: int
    end: int
    kind: int  # TEMPLATE, LINK, TABLE
    partner: int  # index of the bracket that it opens or closes with; -1 where there is none
    opens: bool


class _Matcher:
    """The stack of what is open."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.kinds: list[int] = []
        self.partners: list[int] = []
        self.opens: list[bool] = []
        self.stack: list[int] = []
        self.n_open = [0, 0, 0]

    def add(self, start: int, end: int, kind: int, *, opens: bool) -> int:
        self.starts.append(start)
        self.ends.append(end)
        self.kinds.append(kind)
        self.partners.append(_NO_PARTNER)
        self.opens.append(opens)
        return len(self.starts) - 1

    def open(self, start: int, end: int, kind: int) -> None:
        index = self.add(start, end, kind, opens=True)
        if len(self.stack) < MAX_DEPTH:
            self.stack.append(index)
            self.n_open[kind] += 1

    def close(self, start: int, end: int, kind: int) -> None:
        """Closes the innermost open bracket of this kind; those inside it stay without partner."""
        index = self.add(start, end, kind, opens=False)
        if not self.n_open[kind]:
            return
        while True:
            opener = self.pop()
            if self.kinds[opener] == kind:
                self.partners[opener], self.partners[index] = index, opener
                return

    def pop(self) -> int:
        opener = self.stack.pop()
        self.n_open[self.kinds[opener]] -= 1
        return opener

    def end_paragraph(self, *, at_heading: bool) -> None:
        """Gives up what cannot reach beyond an empty line, or a heading. Tables hold both."""
        while self.stack:
            opener = self.stack[-1]
            kind = self.kinds[opener]
            if kind == TABLE or (not at_heading and (kind == TEMPLATE or _FILE.match(self.text, self.ends[opener]))):
                return
            self.pop()


def match_brackets(text: str) -> list[Token]:
    """All brackets of the text, in order. A run of more than two is split as MediaWiki does: `{{{` is `{` and `{{`."""
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
            else:
                matcher.end_paragraph(at_heading=text.startswith("==", end))
        elif first in "{[":
            kind = TEMPLATE if first == "{" else LINK
            for place in range(start + (end - start) % 2, end, 2):
                matcher.open(place, place + 2, kind)
        else:
            kind = TEMPLATE if first == "}" else LINK
            for place in range(start, end - 1, 2):
                matcher.close(place, place + 2, kind)
    columns = zip(matcher.starts, matcher.ends, matcher.kinds, matcher.partners, matcher.opens, strict=True)
    return [Token(*row) for row in columns]
