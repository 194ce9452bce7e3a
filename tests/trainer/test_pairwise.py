"""QNLI by pairs: a question's sentences are compared, and each example is answered once."""

import math

import numpy as np
import pytest
import torch

from trainer.glue import Example
from trainer.pairwise import PairwiseTask, group_by_question, pairs_of
from trainer.tasks import Batch, Features, Scores, Split

# Question A has an answer and two other sentences, B an answer alone, C a sentence alone.
LABELS = [("A", 0), ("B", 1), ("A", 1), ("C", 0), ("A", 0)]
EXAMPLES = tuple(Example(str(k), (question, f"s{k}"), label) for k, (question, label) in enumerate(LABELS))


def test_training_pairs_an_answer_with_each_other_sentence_of_its_question() -> None:
    groups = group_by_question(EXAMPLES)
    assert groups == [(0, 2, 4), (1,), (3,)]
    assert [pair for group in groups for pair in pairs_of(group, EXAMPLES)] == [(2, 0), (2, 4), (1,), (3,)]


def test_the_best_of_a_question_answers_it_and_a_lone_sentence_is_judged_on_its_own() -> None:
    features = [Features((), np.zeros(2, np.int64), group) for group in group_by_question(EXAMPLES)]
    scores: list[Scores] = [np.array(row, np.float32) for row in ([0.9, 0.95, 0.8], [0.4], [0.2])]
    # A is answered right although all of its scores are high; B is missed.
    assert PairwiseTask().metrics(Split("dev", EXAMPLES), features, scores) == {"accuracy": pytest.approx(0.8)}


def test_the_loss_is_whether_each_row_answers_and_which_of_two_is_ahead() -> None:
    batch = Batch(
        torch.zeros(3, 1, dtype=torch.int64), None, torch.tensor([0, 0, 1]), torch.tensor([[1, 0], [0, -1]]), 2
    )
    loss = PairwiseTask().loss((torch.tensor([[2.0], [0.5], [-1.0]]),), batch)
    softplus = {x: math.log1p(math.exp(x)) for x in (-2.0, 0.5, -1.0, -1.5)}
    expected = (softplus[-2.0] + softplus[0.5]) / 2 + softplus[-1.5] + softplus[-1.0]
    assert loss.item() == pytest.approx(expected)
