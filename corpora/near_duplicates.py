"""What near-duplicate means: two documents whose sets of word 5-grams have a Jaccard similarity above a threshold.

`NearDuplicateRules` hold the threshold as an exact fraction and the recall asked for, and derive from them how pairs
are looked for: `bands` keys of `rows` sketch values each. Two documents of similarity J agree in a value with
probability J, so they share a key, and are compared, with probability 1 - (1 - J^rows)^bands; what is compared is then
verified exactly. The usual choices of others (14x8, 20x13) compare a few percent of the pairs at J = .5.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SHINGLE_WORDS",
    "NearDuplicateRules",
    "chance_of_comparison",
    "count_common",
    "is_similar",
    "parse_rules",
    "slow_similarity",
]

SHINGLE_WORDS = 5  # Liu et al. 2019 compare 5-grams in OpenWebText; shorter runs agree by accident, in boilerplate
DEFAULT_RECALL = "0.99"
MAX_BANDS = 600  # keys a document; a threshold that needs more costs more than it finds
_MUCH_LARGER = 32  # times: a set in which each value of the other is looked up sooner than the two are merged
_FOUR_ROWS_ABOVE = 10**8  # documents; from there on accidental agreements of three values outnumber real pairs
_PARTITIONS = ((10**7, 256), (10**8, 1_024), (10**9, 8_192))


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicateRules:
    """Threshold, recall and all that follows from them.

    Runs that are deduplicated against each other must agree on every field.
    """

    threshold: str = "0.5"  # similarity that a pair must exceed: an exact decimal or fraction, above 0 and below 1
    recall: str = DEFAULT_RECALL  # share of the pairs just above the threshold that is to be found, at least
    expected_documents: int = 10**8  # that the corpus will ever hold
    shingle_words: int = SHINGLE_WORDS
    rows: int = field(init=False)  # sketch values of a key
    bands: int = field(init=False)  # keys of a document

    def __post_init__(self) -> None:
        threshold, recall = _share(self.threshold, "threshold"), _share(self.recall, "recall")
        if self.expected_documents < 1:
            raise ValueError(
                f"--expected-documents is {self.expected_documents}; it is a number of documents, 1 or more"
            )
        rows = 3 if self.expected_documents <= _FOUR_ROWS_ABOVE else 4
        bands = math.ceil(math.log1p(-float(recall)) / math.log1p(-(float(threshold) ** rows)))
        if bands > MAX_BANDS:
            raise ValueError(
                f"a threshold of {self.threshold} with a recall of {self.recall} needs {bands:,} keys a document, and"
                f" {MAX_BANDS} is the limit; ask for a higher threshold or a lower recall"
            )
        for name, value in (
            ("threshold", _canonical(threshold)),  # so that 0.5, .50 and 1/2 are the same settings
            ("recall", _canonical(recall)),
            ("rows", rows),
            ("bands", bands),
        ):
            object.__setattr__(self, name, value)

    @property
    def exact_threshold(self) -> Fraction:
        return Fraction(self.threshold)

    @property
    def partitions(self) -> int:
        """Groups, a power of two, that keys are dealt out to: such that one group fits into a worker's memory."""
        return next((n for limit, n in _PARTITIONS if self.expected_documents <= limit), 65_536)


def parse_rules(text: str, *, expected_documents: int) -> NearDuplicateRules:
    """Rules from "THRESHOLD:RECALL" or "THRESHOLD"; ValueError saying what is wrong with any other text.

    >>> rules = parse_rules("0.5:0.99", expected_documents=10**6)
    >>> rules.bands, rules.rows
    (35, 3)
    """
    threshold, separator, recall = text.partition(":")
    return NearDuplicateRules(
        threshold=threshold.strip(),
        recall=recall.strip() if separator else DEFAULT_RECALL,
        expected_documents=expected_documents,
    )


def is_similar(common: NDArray[np.int64], sizes: NDArray[np.int64], threshold: Fraction) -> NDArray[np.bool_]:
    """Whether J > threshold, exactly, given |A and B| and |A| + |B| of many pairs.

    J = common / (sizes - common) > p/q is common * (q + p) > p * sizes in whole numbers.

    >>> is_similar(np.array([2, 3]), np.array([6, 6]), Fraction(1, 2)).tolist()
    [False, True]
    """
    p, q = threshold.numerator, threshold.denominator
    if (p + q) * int(sizes.max(initial=0)) < 1 << 62:
        return np.asarray(common.astype(np.int64) * (p + q) > sizes.astype(np.int64) * p)
    pairs = zip(common.tolist(), sizes.tolist(), strict=True)
    return np.fromiter((c * (p + q) > p * s for c, s in pairs), np.bool_, common.size)


def count_common(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> int:
    """How many values two sorted arrays of distinct values share."""
    if one.size > other.size:
        one, other = other, one
    if one.size * _MUCH_LARGER < other.size:
        places = other.searchsorted(one)
        return int(np.count_nonzero(other.take(places, mode="clip") == one))
    together = np.concatenate((one, other))
    together.sort(kind="stable")  # merges the two, which are sorted, in one pass
    return int(np.count_nonzero(together[1:] == together[:-1]))


def chance_of_comparison(similarity: NDArray[np.float64], rules: NearDuplicateRules) -> NDArray[np.float64]:
    """The probability that two documents of a similarity share a key."""
    return 1.0 - (1.0 - similarity**rules.rows) ** rules.bands


def slow_similarity(one: str, other: str, *, n: int = SHINGLE_WORDS) -> Fraction:
    """Jaccard similarity of two texts by plain strings, sharing no code with the fast way: it checks samples of it.

    >>> slow_similarity("a b c d e f", "A b, c d e g")
    Fraction(1, 3)
    """
    first, second = set(_slow_shingles(one, n)), set(_slow_shingles(other, n))
    return Fraction(len(first & second), max(len(first | second), 1))


def _slow_shingles(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
    if 0 < len(words) < n:
        yield (*words, str(len(words)), "short")
    for start in range(len(words) - n + 1):
        yield tuple(words[start : start + n])


def _share(text: str, name: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"--near-duplicates: {text!r} is no {name}; write THRESHOLD:RECALL, as in 0.5:0.99, or off"
        ) from error
    if not 0 < value < 1:
        raise ValueError(f"--near-duplicates: the {name} is {text}; it is a share above 0 and below 1, as in 0.5:0.99")
    return value


def _canonical(value: Fraction) -> str:
    """A decimal where there is a short one, else the fraction.

    >>> _canonical(Fraction("0.50")), _canonical(Fraction("1/3"))
    ('0.5', '1/3')
    """
    for digits in range(1, 13):
        if (value * 10**digits).denominator == 1:
            return f"0.{int(value * 10**digits):0{digits}d}"
    return str(value)
