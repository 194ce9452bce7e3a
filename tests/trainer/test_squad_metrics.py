"""SQuAD's measures against worked cases of the official scripts' rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.squad_metrics import (
    AnswerScore,
    find_best_threshold,
    mean_score,
    normalize_answer,
    score_answer,
    score_answer_or_none,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Broncos", "broncos"),
        ("the  a an\tTHE", ""),
        ("theatre, another a-team", "theatre another ateam"),  # punctuation goes before articles are looked for
        ("a.b", "ab"),
        ("$1,234.50", "123450"),
        ("“quoted” – dash", "“quoted” – dash"),  # only ASCII punctuation is taken out
        ("caf\u00e9 A la", "café la"),
        ("6½\u00a0sacks", "6½ sacks"),  # a no-break space is a blank
        ("the_thing", "thething"),
    ],
)
def test_answers_are_normalised_as_the_official_script_does(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("golds", "text", "exact", "f1"),
    [
        (["Denver Broncos"], "the denver broncos!", 1.0, 1.0),
        (["Denver Broncos"], "Broncos", 0.0, 2 / 3),
        (["Denver Broncos", "Broncos", "The Broncos"], "Broncos", 1.0, 1.0),  # the best over the golds
        (["gold gold dome"], "gold dome dome", 0.0, 2 / 3),  # words are counted, not just looked for
        (["308"], "309", 0.0, 0.0),
        (["308"], "", 0.0, 0.0),
        (["x y", "p q r s"], "q", 0.0, 0.4),
    ],
)
def test_both_versions_score_an_answer_by_its_best_gold(golds: list[str], text: str, exact: float, f1: float) -> None:
    for score in (score_answer, score_answer_or_none):
        assert score(golds, text) == pytest.approx((exact, f1))


def test_in_2_0_no_answer_is_right_where_there_is_none_and_wrong_elsewhere() -> None:
    assert score_answer_or_none([], "") == (1.0, 1.0)
    assert score_answer_or_none([], "Bernadette") == (0.0, 0.0)
    assert score_answer_or_none(["Bernadette"], "") == (0.0, 0.0)
    assert score_answer_or_none(["the"], "") == (1.0, 1.0)  # a gold that says nothing is no gold
    assert score_answer_or_none(["the", "x"], "") == (0.0, 0.0)


def test_in_1_1_two_texts_that_say_nothing_are_equal_but_share_no_word() -> None:
    assert score_answer(["The"], "a") == (1.0, 0.0)


def test_means_are_over_questions() -> None:
    assert mean_score([AnswerScore(1.0, 1.0), AnswerScore(0.0, 0.5)]) == (0.5, 0.75)


def test_the_best_threshold_leaves_unanswered_what_is_better_left() -> None:
    scores = np.array([1.0, 0.75, 0.5, 0.0, 0.0])
    has_answer = np.array([True, True, True, False, False])
    best = find_best_threshold(scores, np.array([0.1, 0.3, 0.8, 0.2, 0.9]), has_answer)
    # Answering all but the last question: 1 + 0 + 0.75 + 0.5, and the last is right without.
    assert best == (3.25 / 5, 0.8)
    # Answering the half-right one costs more than it brings once a question without an answer is no surer of it.
    assert find_best_threshold(scores, np.array([0.1, 0.1, 0.8, 0.8, 0.8]), has_answer) == (3.75 / 5, 0.1)
    none = find_best_threshold(np.zeros(2), np.array([0.4, 0.6]), np.array([False, False]))
    assert none.score == 1.0
    assert none.threshold < 0.4


numbers = st.sampled_from([0.1, 0.2, 0.5, 0.9])


@given(
    questions=st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), numbers, st.booleans()), min_size=1, max_size=12)
)
def test_no_threshold_does_better_than_the_best(questions: list[tuple[float, float, bool]]) -> None:
    scores, no_answer, has_answer = (np.array(column) for column in zip(*questions, strict=True))

    def mean_with(threshold: float) -> float:
        return float(np.mean(np.where(no_answer > threshold, ~has_answer, scores)))

    best = find_best_threshold(scores, no_answer, has_answer)
    assert best.score == pytest.approx(mean_with(best.threshold))
    assert best.score == pytest.approx(max(mean_with(threshold) for threshold in (0.0, 0.1, 0.2, 0.5, 0.9)))
