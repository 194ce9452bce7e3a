"""The slow twin of `corpora.stories.score`: the formula as it is written, in fractions, to be read, not fast."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from corpora.commonsense import Question


def slow_words(text: str) -> list[str]:
    """Letter by letter."""
    text = text.lower().replace("’", "'")
    words, word = [], ""
    for k, char in enumerate(text + " "):
        inner = char == "'" and word and text[k + 1 : k + 2].isalnum()
        if char.isalnum() or inner:
            word += char
        elif word:
            words.append(word)
            word = ""
    return words


def slow_score(text: str, questions: Sequence[Question]) -> float:
    """(1 F1(1) + 2 F1(2) + 3 F1(3) + 4 F1(4)) / 10, F1 from precision and recall."""
    total = Fraction(0)
    words = slow_words(text)
    pieces = [slow_words(piece) for question in questions for piece in question.pieces]
    for n in (1, 2, 3, 4):
        ours = Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
        pooled = Counter(tuple(piece[k : k + n]) for piece in pieces for k in range(len(piece) - n + 1))
        shared = (ours & pooled).total()
        if shared:
            precision, recall = Fraction(shared, ours.total()), Fraction(shared, pooled.total())
            total += n * 2 * precision * recall / (precision + recall)
    return float(total / 10)
