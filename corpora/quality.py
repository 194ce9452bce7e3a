"""Whether a text is worth training on: rules with reasons, each threshold in one frozen object.

A text in, None or `Complaint(reason, detail)` out. The rule: thresholds live in `QualityRules` and nowhere else, so
that the settings in a manifest say all there is to say.

Sources. RoBERTa's own filters for CC-NEWS were never published. Word length, symbols, alphabetic words, repeated lines,
ellipses and bullets are the rules of Gopher (Rae et al. 2021, A1.1), moderated: news has short items, scores and
tables. Sentences and placeholder text are C4's (Raffel et al. 2020, 2.2). The requirements on URL, title, length and
date are those of RealNews (Zellers et al. 2019) and off by default.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Complaint", "QualityRules", "find_complaint"]

UNSPACED_LANGUAGES = frozenset(["zh", "ja", "th", "lo", "km", "my", "bo", "dz"])  # their words cannot be counted so

_SENTENCE_END = re.compile(r"[.!?…؟।][\"'”’»)\]]*(?:\s|$)|[。！？]")
_SYMBOLS = re.compile(r"#|\.{3}|…")
_LETTER = re.compile(r"[^\W\d_]")
_BULLETS = ("•", "●", "○", "■", "□", "▪", "►", "▶", "-", "*", "–", "·", "‣")
_PLACEHOLDER = "lorem ipsum"


class Complaint(NamedTuple):
    """A rule that a text breaks, with the number that broke it."""

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityRules:
    """Every threshold. 0 turns a rule for a minimum or a size off; 1.0 one for a share."""

    min_chars: int = 200
    max_chars: int = 1_000_000
    min_words: int = 40  # Gopher: 50
    min_sentences: int = 2  # C4: 5
    min_mean_word_chars: float = 2.5  # Gopher: 3
    max_mean_word_chars: float = 12.0  # Gopher: 10
    max_symbols_per_word: float = 0.1  # hashes and ellipses, as Gopher
    min_alphabetic_words: float = 0.7  # share of words with a letter; Gopher: 0.8
    max_repeated_lines: float = 0.3  # share of lines that stood before, as Gopher
    max_repeated_line_chars: float = 0.25  # share of characters in them; Gopher: 0.2
    max_ellipsis_lines: float = 0.3  # share of lines that end in one, as Gopher
    max_bullet_lines: float = 0.9  # share of lines that begin with one, as Gopher
    drop_placeholder: bool = True  # "lorem ipsum", as C4
    max_url_chars: int = 0  # Zellers et al.: 200
    min_title_chars: int = 0  # Zellers et al.: 30
    require_published: bool = False  # Zellers et al.: required

    def __post_init__(self) -> None:
        for name in ("max_repeated_lines", "max_repeated_line_chars", "max_ellipsis_lines", "max_bullet_lines",
                     "min_alphabetic_words"):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a share, from 0 to 1")
        if self.max_chars and self.max_chars < self.min_chars:
            raise ValueError(f"max_chars {self.max_chars} is below min_chars {self.min_chars}")


def find_complaint(
    text: str, rules: QualityRules, *, language: str = "en", url: str = "", title: str = "", published: str = ""
) -> Complaint | None:
    """The first rule that a document breaks, None if it keeps them all."""
    return (
        _judge_metadata(rules, url=url, title=title, published=published)
        or _judge_size(text, rules)
        or (None if language in UNSPACED_LANGUAGES else _judge_words(text, rules))
        or _judge_lines(text, rules)
    )


def _judge_metadata(rules: QualityRules, *, url: str, title: str, published: str) -> Complaint | None:
    if rules.max_url_chars and len(url) > rules.max_url_chars:
        return Complaint("url_too_long", f"{len(url)} characters")
    if len(title) < rules.min_title_chars:
        return Complaint("title_too_short", f"{len(title)} characters")
    if rules.require_published and not published:
        return Complaint("no_date", "no date of publication")
    return None


def _judge_size(text: str, rules: QualityRules) -> Complaint | None:
    if len(text) < rules.min_chars:
        return Complaint("too_short", f"{len(text)} characters")
    if rules.max_chars and len(text) > rules.max_chars:
        return Complaint("too_long", f"{len(text)} characters")
    if rules.min_sentences:
        n_sentences = sum(1 for _ in _SENTENCE_END.finditer(text))
        if n_sentences < rules.min_sentences:
            return Complaint("too_few_sentences", f"{n_sentences} sentences")
    if rules.drop_placeholder and _PLACEHOLDER in text.lower():
        return Complaint("placeholder", "it holds the placeholder text lorem ipsum")
    return None


def _judge_words(text: str, rules: QualityRules) -> Complaint | None:
    words = text.split()
    n_words = len(words)
    if n_words < max(rules.min_words, 1):
        return Complaint("too_few_words", f"{n_words} words") if rules.min_words else None
    mean = sum(map(len, words)) / n_words
    if mean < rules.min_mean_word_chars or (rules.max_mean_word_chars and mean > rules.max_mean_word_chars):
        return Complaint("word_length", f"{mean:.1f} characters a word")
    symbols = sum(1 for _ in _SYMBOLS.finditer(text)) / n_words
    if symbols > rules.max_symbols_per_word:
        return Complaint("symbols", f"{symbols:.2f} hashes and ellipses a word")
    alphabetic = sum(1 for word in words if word.isalpha() or _LETTER.search(word)) / n_words
    if alphabetic < rules.min_alphabetic_words:
        return Complaint("not_prose", f"{alphabetic:.2f} of the words have a letter")
    return None


def _judge_lines(text: str, rules: QualityRules) -> Complaint | None:
    lines = text.split("\n")
    n_lines = len(lines)
    distinct = set(lines)
    repeated = 1 - len(distinct) / n_lines
    repeated_chars = 1 - sum(map(len, distinct)) / max(sum(map(len, lines)), 1)
    if repeated > rules.max_repeated_lines or repeated_chars > rules.max_repeated_line_chars:
        return Complaint("repeated_lines", f"{repeated:.2f} of the lines, {repeated_chars:.2f} of the characters")
    cut = sum(1 for line in lines if line.endswith(("...", "…"))) / n_lines
    if cut > rules.max_ellipsis_lines:
        return Complaint("ellipsis_lines", f"{cut:.2f} of the lines end in an ellipsis")
    bulleted = sum(1 for line in lines if line.startswith(_BULLETS)) / n_lines
    if bulleted > rules.max_bullet_lines:
        return Complaint("bullet_lines", f"{bulleted:.2f} of the lines begin with a bullet")
    return None
