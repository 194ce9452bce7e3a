"""The words of one text and where each stands: the slow, readable twin of `corpora.shingles.hash_words`.

Hashes find the few texts that share a passage with something; this module says which words those are, and between
which characters. The rule: its words are those that `hash_words` hashes, one for one, whatever the text; where Unicode
makes several words of one character, or one of several, they share a place.
"""

import re
import string
import unicodedata
from typing import NamedTuple

__all__ = ["PlacedWords", "find_words", "list_words"]

# What may touch within a word: ASCII letters, digits, underscores, and everything beyond ASCII until it is looked at.
_RUN = re.compile(r"(?:[0-9A-Za-z_]|[^\x00-\x7f])+")
_NON_ASCII = re.compile(r"[0-9A-Za-z_]?[^\x00-\x7f]+")
_WORD = re.compile(r"[0-9A-Za-z_\x80-\U0010ffff]+")
_NON_WORD = re.compile(r"\W")
# str.lower would undo what case folding does to Cherokee.
_ASCII_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}


class PlacedWords(NamedTuple):
    """Normalised words in reading order, each with the characters of the text that it was made of."""

    words: list[str]
    begins: list[int]  # code points
    ends: list[int]  # code points, exclusive


def find_words(text: str) -> PlacedWords:
    """The words of a text: NFKC, case folded, without punctuation.

    >>> find_words("“Don't,” he said—twice.")
    PlacedWords(words=['don', 't', 'he', 'said', 'twice'], begins=[1, 5, 9, 12, 17], ends=[4, 6, 11, 16, 22])
    """
    placed = PlacedWords([], [], [])
    for match in _RUN.finditer(text):
        run, begin = match.group(), match.start()
        if run.isascii():
            _add(placed, [run.lower()], begin, match.end())
            continue
        whole = list_words(run)
        pieces = _split_at_separators(run)
        if [word for first, last in pieces for word in list_words(run[first:last])] != whole:
            pieces = [(0, len(run))]  # something composed across a separator: the run is one place
        for first, last in pieces:
            _add(placed, list_words(run[first:last]), begin + first, begin + last)
    return placed


def list_words(text: str) -> list[str]:
    """The words alone, without their places."""
    if not text.isascii():
        text = _NON_ASCII.sub(lambda match: _fold(match.group()), text)
    return _WORD.findall(text.translate(_ASCII_LOWER))


def _add(placed: PlacedWords, words: list[str], begin: int, end: int) -> None:
    placed.words.extend(words)
    placed.begins.extend([begin] * len(words))
    placed.ends.extend([end] * len(words))


def _fold(stretch: str) -> str:
    """Letters before an accent belong to it, so a stretch beyond ASCII is folded with the character before it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", stretch).casefold())
    return _NON_WORD.sub(" ", folded)


def _split_at_separators(run: str) -> list[tuple[int, int]]:
    """Stretches between characters that are no part of a word, such as dashes and curly quotes."""
    pieces, first = [], 0
    for place, char in enumerate(run):
        if not char.isalnum() and char != "_" and unicodedata.category(char)[0] != "M" and not _fold(char).strip():
            if first < place:
                pieces.append((first, place))
            first = place + 1
    return [*pieces, (first, len(run))] if first < len(run) else pieces
