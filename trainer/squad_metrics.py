"""SQuAD's exact match and F1, as the official evaluation scripts of 1.1 and 2.0 define them.

In: gold answers and predicted texts. Out: a pair of scores per question, from 0 to 1, and their means. The rule: the
numbers are those of the scripts, so texts are compared in lower case, without ASCII punctuation, English articles and
extra blanks, and a question has the best score over its gold answers.

Two places where 1.1 and 2.0 differ: in 2.0 an empty text (after normalisation) has an F1 of 1 with another, in 1.1 of
0; and in 2.0 a question without answers is right with "" alone.

One place where we differ: the script tries thresholds question by question, so of questions with the same probability
it may part some from others, which no threshold can. Here they stay together.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


class AnswerScore(NamedTuple):
    """How right one text is, from 0 to 1; or the means of many."""

    exact: float
    f1: float


class BestThreshold(NamedTuple):
    """The threshold that would have been best, known only afterwards."""

    score: float  # the mean over all questions with it
    threshold: float  # a question is left unanswered where its number is above


def normalize_answer(text: str) -> str:
    """What is left to compare.

    >>> normalize_answer("The  U.S.A.'s an-them")
    'usas anthem'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def score_answer(golds: Sequence[str], text: str) -> AnswerScore:
    """A text's score by SQuAD 1.1, over one gold answer or more."""
    normal = normalize_answer(text)
    pairs = [(normalize_answer(gold), normal) for gold in golds]
    return AnswerScore(max(float(gold == told) for gold, told in pairs), max(_overlap(*pair) for pair in pairs))


def score_answer_or_none(golds: Sequence[str], text: str) -> AnswerScore:
    """A text's score by SQuAD 2.0; "" is no answer, and gold answers that say nothing do not count."""
    told = normalize_answer(text)
    normal = [gold for gold in map(normalize_answer, golds) if gold] or [""]
    return AnswerScore(
        max(float(gold == told) for gold in normal),
        max(_overlap(gold, told) if gold and told else float(gold == told) for gold in normal),
    )


def mean_score(scores: Sequence[AnswerScore]) -> AnswerScore:
    """The means over one question or more."""
    exact, f1 = np.array(scores, np.float64).mean(axis=0).tolist()
    return AnswerScore(exact, f1)


def find_best_threshold(
    scores: npt.NDArray[np.float64], no_answer: npt.NDArray[np.float64], has_answer: npt.NDArray[np.bool_]
) -> BestThreshold:
    """The threshold on `no_answer` with the best mean score; the lowest of equals.

    `scores` are those of the answers, before any is taken back; a question without an answer scores 1 where it is
    left unanswered. All three are [n_questions], and there is at least one.
    """
    order = np.argsort(no_answer, kind="stable")
    numbers = no_answer[order]
    # Answering one more question gains its score, and loses what leaving it unanswered would have had.
    gains = np.where(has_answer, scores, scores - 1.0)[order]
    totals = np.concatenate([[0.0], np.cumsum(gains)]) + np.count_nonzero(~has_answer)
    possible = np.concatenate([[True], numbers[1:] != numbers[:-1], [True]])
    best = int(np.argmax(np.where(possible, totals, -np.inf)))
    threshold = numbers[best - 1] if best else np.nextafter(numbers[0], -np.inf)
    return BestThreshold(float(totals[best]) / len(scores), float(threshold))


def _overlap(gold: str, text: str) -> float:
    """F1 of two bags of words."""
    golds, words = gold.split(), text.split()
    n_same = sum((Counter(golds) & Counter(words)).values())
    if not n_same:
        return 0.0
    precision, recall = n_same / len(words), n_same / len(golds)
    return 2 * precision * recall / (precision + recall)
