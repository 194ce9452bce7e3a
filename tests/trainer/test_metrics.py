"""Metrics against cases worked by hand, and laws that hold for any predictions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import metrics

CLASSES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30)
NUMBERS = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=20)


def _ints(*values: int) -> metrics.Classes:
    return np.array(values, np.int64)


def _floats(*values: float) -> metrics.Numbers:
    return np.array(values, np.float64)


def test_accuracy_is_the_share_that_is_right() -> None:
    assert metrics.accuracy(_ints(0, 1, 2, 1), _ints(0, 1, 1, 1)) == 0.75


def test_f1_counts_class_1_alone() -> None:
    # 2 true positives, 1 false positive, 1 false negative: precision 2/3, recall 2/3.
    assert metrics.f1(_ints(1, 1, 1, 0, 0), _ints(1, 1, 0, 1, 0)) == pytest.approx(2 / 3)
    assert metrics.f1(_ints(0, 0), _ints(0, 0)) == 0.0


def test_matthews_correlation_of_a_worked_table() -> None:
    # tp 6, tn 3, fp 1, fn 2: (6*3 - 1*2) / sqrt(7 * 8 * 4 * 5).
    predicted = _ints(*[1] * 6, *[0] * 3, 1, 0, 0)
    right = _ints(*[1] * 6, *[0] * 3, 0, 1, 1)
    assert metrics.matthews_correlation(predicted, right) == pytest.approx(16 / math.sqrt(1120))
    assert metrics.matthews_correlation(_ints(1, 1), _ints(1, 0)) == 0.0


def test_pearson_and_spearman_of_worked_lists() -> None:
    # Deviations (-1.5, -0.5, 0.5, 1.5) and (-1.5, -0.5, 1.5, 0.5): 4 / 5.
    assert metrics.pearson(_floats(1, 2, 3, 4), _floats(1, 2, 4, 3)) == pytest.approx(0.8)
    assert metrics.spearman(_floats(1, 2, 3, 400), _floats(1, 2, 4, 3)) == pytest.approx(0.8)
    # Ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4): 4.5 / sqrt(4.5 * 5).
    assert metrics.spearman(_floats(1, 2, 2, 9), _floats(1, 2, 3, 4)) == pytest.approx(4.5 / math.sqrt(22.5))
    assert metrics.pearson(_floats(2, 2, 2), _floats(1, 2, 3)) == 0.0


@settings(deadline=None)
@given(CLASSES)
def test_matthews_correlation_is_its_formula(pairs: list[tuple[int, int]]) -> None:
    predicted, right = (_ints(*column) for column in zip(*pairs, strict=True))
    tp, tn = int(np.sum(predicted & right)), int(np.sum((1 - predicted) & (1 - right)))
    fp, fn = int(np.sum(predicted & (1 - right))), int(np.sum((1 - predicted) & right))
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    expected = (tp * tn - fp * fn) / below if below else 0.0
    assert metrics.matthews_correlation(predicted, right) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(NUMBERS)
def test_spearman_does_not_change_with_what_keeps_the_order(pairs: list[tuple[int, int]]) -> None:
    first, second = (_floats(*column) for column in zip(*pairs, strict=True))
    value = metrics.spearman(first, second)
    assert -1 <= value <= 1
    assert metrics.spearman(first**3 + 5, second) == pytest.approx(value)
    assert metrics.spearman(-first, second) == pytest.approx(-value)
    assert metrics.average_ranks(first).sum() == pytest.approx(len(pairs) * (len(pairs) + 1) / 2)
