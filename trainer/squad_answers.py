"""From the scores of SQuAD's windows to answers, their measures, and the files that the official script reads.

In: questions, their windows, and an array of scores per window: log-probabilities of each token as the answer's first,
then as its last, and for 2.0 the log-odds of there being no answer in the window. Out: a prediction per question. The
rule: an answer is a substring of its passage, blanks at its ends left out.

The best answer is the span with the best sum over all windows of its question, at most 30 tokens long, that begins in
the window which shows most around its beginning. For 2.0 a question has as much of an answer as the window that is
surest of one; where even that gives more than 0.5 to there being none, the answer is "".
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.spans import best_spans
from trainer.squad_files import Question
from trainer.squad_metrics import (
    AnswerScore,
    find_best_threshold,
    mean_score,
    score_answer,
    score_answer_or_none,
)
from trainer.tasks import Features, Scores

MAX_ANSWER_TOKENS = 30  # BERT's
N_BEST = 20
NO_ANSWER_PROBABILITY = 0.5  # above it a question is left unanswered

ANSWER_METRICS = ("exact_match", "f1")
# As the official script of 2.0 names them; the two thresholds are probabilities.
NO_ANSWER_METRICS = (
    *("HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"),
    *("best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"),
)


class Candidate(NamedTuple):
    """A span that may be the answer."""

    score: float  # log-probability of its first and its last token
    start: int  # its first character in the context
    text: str


class Prediction(NamedTuple):
    """What the scores say of a question."""

    candidates: tuple[Candidate, ...]  # at most N_BEST of different texts, best first
    no_answer: float  # probability that there is none; 0 in 1.1


def predict_answers(
    questions: Sequence[Question], features: Sequence[Features], scores: Sequence[Scores]
) -> list[Prediction]:
    """A prediction per question; features are in the order of questions, of which each has one or more."""
    windows = groupby(zip(features, scores, strict=True), key=lambda pair: pair[0].examples[0])
    return [predict_answer(question, list(group)) for question, (_, group) in zip(questions, windows, strict=True)]


def predict_answer(question: Question, windows: Sequence[tuple[Features, Scores]]) -> Prediction:
    """The best spans over a question's windows, and the least probability of no answer among them."""
    candidates = (candidate for window in windows for candidate in _list_candidates(question.context, *window))
    best: dict[str, Candidate] = {}
    for candidate in heapq.nlargest(N_BEST * len(windows), candidates, key=lambda candidate: candidate.score):
        best.setdefault(candidate.text, candidate)
    log_odds = [float(scores[-1]) for feature, scores in windows if scores.size > 2 * feature.rows[0].size]
    no_answer = float(_probability(np.min(log_odds))) if log_odds else 0.0
    return Prediction(tuple(best.values())[:N_BEST], no_answer)


def choose_text(prediction: Prediction) -> str:
    """The answer, "" where there is none."""
    if prediction.no_answer > NO_ANSWER_PROBABILITY:
        return ""
    return best_text(prediction)


def best_text(prediction: Prediction) -> str:
    """The best span's text, whether or not there is an answer."""
    return prediction.candidates[0].text if prediction.candidates else ""


def measure_answers(questions: Sequence[Question], predictions: Sequence[Prediction]) -> dict[str, float]:
    """ANSWER_METRICS as the official script of 1.1 has them, as fractions of 1."""
    pairs = zip(questions, predictions, strict=True)
    mean = mean_score([score_answer(list_golds(question), best_text(prediction)) for question, prediction in pairs])
    return dict(zip(ANSWER_METRICS, mean, strict=True))


def measure_answers_or_none(questions: Sequence[Question], predictions: Sequence[Prediction]) -> dict[str, float]:
    """ANSWER_METRICS and NO_ANSWER_METRICS as the official script of 2.0 has them, without those over no question."""
    pairs = list(zip(questions, predictions, strict=True))
    chosen = [score_answer_or_none(list_golds(question), choose_text(prediction)) for question, prediction in pairs]
    has_answer = np.array([bool(question.answers) for question in questions])
    values = dict(zip(ANSWER_METRICS, mean_score(chosen), strict=True))
    for name, which in (("HasAns", has_answer), ("NoAns", ~has_answer)):
        if which.any():
            part = mean_score([score for score, counts in zip(chosen, which, strict=True) if counts])
            values |= {f"{name}_exact": part.exact, f"{name}_f1": part.f1}
    answered = [score_answer_or_none(list_golds(question), best_text(prediction)) for question, prediction in pairs]
    no_answer = np.array([prediction.no_answer for prediction in predictions])
    for number, name in enumerate(AnswerScore._fields):
        best = find_best_threshold(np.array([score[number] for score in answered]), no_answer, has_answer)
        values |= {f"best_{name}": best.score, f"best_{name}_thresh": best.threshold}
    return values


def list_golds(question: Question) -> list[str]:
    """The texts that are right, wherever they stand."""
    return [answer.text for answer in question.answers]


def write_answers(
    folder: Path, questions: Sequence[Question], predictions: Sequence[Prediction], *, may_lack_answer: bool
) -> list[Path]:
    """Writes predictions.json, nbest_predictions.json, and for 2.0 na_prob.json, each by question id.

    The first and the last are what the official script takes, the last as its --na-prob-file.
    """
    pairs = list(zip([question.id for question in questions], predictions, strict=True))
    contents: dict[str, object] = {
        "predictions.json": {name: choose_text(prediction) for name, prediction in pairs},
        "nbest_predictions.json": {
            name: [candidate._asdict() for candidate in prediction.candidates] for name, prediction in pairs
        },
    }
    if may_lack_answer:
        contents["na_prob.json"] = {name: prediction.no_answer for name, prediction in pairs}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    return [folder / name for name in contents]


def _list_candidates(context: str, feature: Features, scores: Scores) -> Iterator[Candidate]:
    """The best spans of a window that are more than blanks."""
    tokens = feature.aside
    assert tokens is not None
    n_row = feature.rows[0].size
    inside = slice(n_row - 1 - len(tokens), n_row - 1)
    found = best_spans(
        scores[:n_row][inside],
        scores[n_row : 2 * n_row][inside],
        tokens[:, 2].astype(bool),
        max_tokens=MAX_ANSWER_TOKENS,
        n_best=N_BEST,
    )
    for score, span in found:
        covered = context[tokens[span.first, 0] : tokens[span.last, 1]]
        if text := covered.strip():
            yield Candidate(score, int(tokens[span.first, 0]) + len(covered) - len(covered.lstrip()), text)


def _probability(log_odds: float) -> np.float64:
    """The logistic function, which overflows nowhere."""
    probability: np.float64 = np.exp(-np.logaddexp(0.0, -np.float64(log_odds)))
    return probability
