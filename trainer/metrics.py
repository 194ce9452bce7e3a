"""The metrics that the benchmarks are scored by, in numpy.

In: what was predicted and what is right, as arrays of equal length. Out: one number. The rule: values are those of the
benchmarks' own scripts (scikit-learn's and scipy's definitions), except that a correlation with a constant side,
which is undefined, is 0 here: such a model has learned nothing, and is not to be kept.
"""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]


def accuracy(predicted: Classes, right: Classes) -> float:
    """The share of predictions that are right; 0 where there are none."""
    return float(np.mean(predicted == right)) if right.size else 0.0


def f1(predicted: Classes, right: Classes) -> float:
    """Harmonic mean of precision and recall for class 1; 0 where neither predicts nor holds it."""
    both = int(np.sum((predicted == 1) & (right == 1)))
    either = int(np.sum(predicted == 1) + np.sum(right == 1))
    return 2 * both / either if either else 0.0


def matthews_correlation(predicted: Classes, right: Classes) -> float:
    """Matthews' correlation of two classes, 0 and 1; 0 where one side holds one class only.

    >>> round(matthews_correlation(np.array([1, 1, 0, 0]), np.array([1, 1, 1, 0])), 6)
    0.57735
    """
    return pearson(predicted.astype(np.float64), right.astype(np.float64))  # for two classes it is the same number


def pearson(first: Numbers, second: Numbers) -> float:
    """Pearson's correlation; 0 where a side is constant.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])), 6)
    0.981981
    """
    if first.size < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    x = first.astype(np.float64) - np.mean(first, dtype=np.float64)
    y = second.astype(np.float64) - np.mean(second, dtype=np.float64)
    # Each side is scaled on its own, so that tiny or huge numbers neither vanish nor overflow when multiplied.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    value = float(x @ y) / (float(np.sqrt(x @ x)) * float(np.sqrt(y @ y)))
    return min(1.0, max(-1.0, value))


def spearman(first: Numbers, second: Numbers) -> float:
    """Pearson's correlation of the ranks, equal numbers sharing the mean of theirs; 0 where a side is constant."""
    return pearson(average_ranks(first), average_ranks(second))


def average_ranks(numbers: Numbers) -> Numbers:
    """Ranks from 1 on, equal numbers sharing the mean of theirs.

    >>> average_ranks(np.array([10.0, 20.0, 10.0, 30.0])).tolist()
    [1.5, 3.0, 1.5, 4.0]
    """
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Numbers = (last - (counts - 1) / 2)[which]
    return ranks
