"""The cut of a ranked corpus: the score that the best share of all documents reaches, found without sorting them.

In: the scores of all documents, in arrays of any size and order. Out: one `Cut`. The rule: the cut is the exact
quantile, the same for any number of workers and bundles, and no worker ever holds more than counts.

A float from 0 up is ordered as its 64 bits are, read as a whole number. So the k-th best score is found digit by digit:
count how many scores begin with which bits, choose the beginning in which the k-th lies, and count on among those that
begin so. Three rounds over the scores, each of counts that add up in any order: 24 bits (sign, exponent, 12 of the
mantissa), then twice 20. Counts are of distinct beginnings, so no round sends more than 2^20 of them (the first a few
ten thousand: real scores lie within a few powers of two).

Ties: documents that score just as the k-th are all kept, so a few more than asked for can be. A score of 0, no word
shared with the questions, never is, however few documents score more; unless all documents are asked for.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipelines.work_files import read_groups

ROUNDS = (24, 20, 20)  # bits decided in each
SMALLEST = float(np.nextafter(0.0, 1.0))
_BITS = 64


class Cut(NamedTuple):
    """Which documents are kept: those of at least this score."""

    score: float  # SMALLEST where fewer documents than asked for score above 0
    n_scored: int
    n_kept: int  # before deduplication
    best: float  # the highest score; 0.0 where there is no document


class Tally(NamedTuple):
    """Scores counted by how they begin; both arrays as bytes, since they travel."""

    beginnings: bytes  # uint64 [m], ascending and distinct: the leading bits of a score
    counts: bytes  # int64 [m]
    best: float  # of the scores that were counted


class Search(NamedTuple):
    """What is known of the cut after some rounds."""

    n_bits: int = 0  # decided so far
    beginning: int = 0  # of the cut: so many bits
    n_wanted: int = 0  # documents still to be found among those whose score begins so
    n_alike: int = 0  # documents whose score begins so
    n_above: int = 0  # documents whose score begins higher: they are kept
    n_scored: int = 0
    best: float = 0.0


def check_keep(keep: float) -> None:
    """ValueError unless it is a share of the documents that can be kept."""
    if not 0 < keep <= 1:
        raise ValueError(f"--keep is {keep}; it is a share of the documents, above 0 and at most 1 (all)")


def number_to_keep(keep: float, n_scored: int) -> int:
    """The share of the documents as a number, rounded up: at least one of any.

    >>> number_to_keep(0.07, 100), number_to_keep(0.001, 1001), number_to_keep(0.001, 0)
    (7, 2, 0)
    """
    return ceil(Fraction(repr(keep)) * n_scored)  # as it is written: 0.07 * 100 is a little above 7 in floats


class ReadScores(beam.DoFn):
    """(part name, work file) -> the scores of its documents, float64 as bytes."""

    def process(self, element: Any) -> Iterator[bytes]:
        _, (_, path, _) = element
        for table in read_groups(path, ["reason", "score"]):
            scores = table.filter(pc.equal(table["reason"], ""))["score"]
            if scores.null_count:
                raise ValueError(f"{path}: {scores.null_count} documents without a score; this corpus does not rank")
            if len(scores):
                yield scores.to_numpy().astype("<f8").tobytes()


class FindCut(beam.PTransform):
    """Scores (float64 as bytes, any number an element) -> one `Cut`, to be a singleton side input.

    Scores are numbers from 0 up; ValueError for any other.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        check_keep(keep)
        self.keep = keep

    def expand(self, scores: Any) -> Any:
        search = scores.pipeline | "Begin the search" >> beam.Create([tuple(Search())])
        for number, n_bits in enumerate(ROUNDS, 1):
            so_far = beam.pvalue.AsSingleton(search)
            search = (
                scores
                | f"Count beginnings, round {number}" >> beam.ParDo(TallyScores(n_bits), search=so_far)
                | f"Add up round {number}" >> beam.CombineGlobally(AddTallies())
                | f"Narrow, round {number}" >> beam.Map(narrow, search=so_far, n_bits=n_bits, keep=self.keep)
            )
        return search | "Make the cut" >> beam.Map(make_cut, keep=self.keep)


class TallyScores(beam.DoFn):
    """Scores -> a tally of the next bits of those that begin as the cut does."""

    def __init__(self, n_bits: int) -> None:
        self.n_bits = n_bits

    def process(self, scores: bytes, search: Any) -> Iterator[Any]:
        yield tuple(tally_scores(scores, Search(*search), n_bits=self.n_bits))


def tally_scores(scores: bytes, search: Search, *, n_bits: int) -> Tally:
    """How often which `n_bits` follow the beginning that is searched."""
    bits = ordered_bits(scores)
    if search.n_bits:
        bits = bits[bits >> np.uint64(_BITS - search.n_bits) == np.uint64(search.beginning)]
    beginnings, counts = np.unique(bits >> np.uint64(_BITS - search.n_bits - n_bits), return_counts=True)
    best = float(bits.max().view("<f8")) if bits.size else 0.0
    return Tally(beginnings.astype("<u8").tobytes(), counts.astype("<i8").tobytes(), best)


def ordered_bits(scores: bytes) -> npt.NDArray[np.uint64]:
    """Scores as whole numbers in the same order, uint64 [n]."""
    values = np.frombuffer(scores, "<f8")
    if values.size and not (values.min() >= 0 and values.max() < np.inf):  # NaN is neither
        raise ValueError("a score is negative or no number; the cut is of scores from 0 up")
    return (values + 0.0).view("<u8")  # -0.0 becomes 0.0


class AddTallies(beam.CombineFn):
    """Tallies -> their sum; arrays are kept aside and added up many at a time."""

    def create_accumulator(self) -> list[Tally]:
        return []

    def add_input(self, accumulator: list[Tally], element: Any) -> list[Tally]:
        accumulator.append(Tally(*element))
        return self.compact(accumulator) if len(accumulator) >= 64 else accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Tally]]) -> list[Tally]:
        merged: list[Tally] = []
        for accumulator in accumulators:
            merged = self.compact([*merged, *accumulator])
        return merged

    def compact(self, accumulator: list[Tally]) -> list[Tally]:
        return [add_tallies(accumulator)]

    def extract_output(self, accumulator: list[Tally]) -> Tally:
        return add_tallies(accumulator)


def add_tallies(tallies: Sequence[Tally]) -> Tally:
    """The counts of all of them."""
    if not tallies:
        return Tally(b"", b"", 0.0)
    beginnings = np.concatenate([np.frombuffer(tally.beginnings, "<u8") for tally in tallies])
    counts = np.concatenate([np.frombuffer(tally.counts, "<i8") for tally in tallies])
    distinct, place = np.unique(beginnings, return_inverse=True)
    total = np.zeros(distinct.size, "<i8")
    np.add.at(total, place, counts)  # whole numbers: the same in any order
    return Tally(distinct.astype("<u8").tobytes(), total.tobytes(), max(tally.best for tally in tallies))


def narrow(tally: Any, search: Any, *, n_bits: int, keep: float) -> tuple[Any, ...]:
    """The search after one more round: the beginning in which the last document to keep lies."""
    found, so_far = Tally(*tally), Search(*search)
    beginnings, counts = np.frombuffer(found.beginnings, "<u8"), np.frombuffer(found.counts, "<i8")
    if not so_far.n_bits:  # the first round counts all documents
        n_scored = int(counts.sum())
        so_far = so_far._replace(n_scored=n_scored, n_wanted=number_to_keep(keep, n_scored), best=found.best)
    so_far = so_far._replace(n_bits=so_far.n_bits + n_bits)
    if not so_far.n_scored:
        return tuple(so_far)
    from_above = np.cumsum(counts[::-1])  # documents whose score begins so, or higher
    at = int(np.searchsorted(from_above, so_far.n_wanted))
    n_higher = int(from_above[at - 1]) if at else 0
    narrowed = so_far._replace(
        beginning=int(beginnings[-1 - at]),
        n_wanted=so_far.n_wanted - n_higher,
        n_alike=int(counts[-1 - at]),
        n_above=so_far.n_above + n_higher,
    )
    return tuple(narrowed)


def make_cut(search: Any, *, keep: float) -> Any:
    """The `Cut` when every bit of it is known."""
    found = Search(*search)
    assert found.n_bits == _BITS
    score = float(np.uint64(found.beginning).view("<f8"))
    if score == 0.0 and found.n_scored and keep < 1:
        return Cut(SMALLEST, found.n_scored, found.n_above, found.best)
    return Cut(score, found.n_scored, found.n_above + found.n_alike, found.best)


def describe_cut(made: Any) -> tuple[str, dict[str, object]]:
    """Name and plain values for the report."""
    cut = Cut(*made)
    return "cut", {
        "documents_scored": cut.n_scored,
        "documents_at_or_above_the_cut": cut.n_kept,  # duplicates are dropped afterwards
        "lowest_score_kept": cut.score,
        "highest_score": cut.best,
    }
