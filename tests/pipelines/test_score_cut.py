"""The cut is the exact quantile of a sorted list, however the scores come in; and work files are read for it."""

import math
import random
from fractions import Fraction

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import example, given
from hypothesis import strategies as st

from corpora.documents import Document, Rejection
from pipelines.score_cut import (
    ROUNDS,
    SMALLEST,
    AddTallies,
    Cut,
    FindCut,
    ReadScores,
    Search,
    make_cut,
    narrow,
    number_to_keep,
    tally_scores,
)
from pipelines.work_files import write_work_file


def cut_by_sorting(scores: list[float], keep: float) -> Cut:
    """The same, of all scores at once."""
    if not scores:
        return Cut(0.0, 0, 0, 0.0)
    ranked = sorted(scores, reverse=True)
    n = math.ceil(Fraction(repr(keep)) * len(ranked))
    score = ranked[n - 1]
    if score == 0.0 and keep < 1:
        score = SMALLEST
    return Cut(score, len(ranked), sum(one >= score for one in ranked), ranked[0])


def cut_without_beam(chunks: list[list[float]], keep: float) -> Cut:
    """The rounds as FindCut strings them together, over some chunks."""
    combine, search = AddTallies(), tuple(Search())
    for n_bits in ROUNDS:
        accumulators = []
        for chunk in chunks:
            tally = tally_scores(pack(chunk), Search(*search), n_bits=n_bits)
            accumulators.append(combine.add_input(combine.create_accumulator(), tuple(tally)))
        merged = combine.extract_output(combine.merge_accumulators(accumulators))
        search = narrow(tuple(merged), search, n_bits=n_bits, keep=keep)
    return make_cut(search, keep=keep)


def pack(scores: list[float]) -> bytes:
    return np.array(scores, "<f8").tobytes()


def find_cut(chunks: list[list[float]], keep: float, *, expected: Cut) -> None:
    """FindCut on a real runner."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--direct_num_workers=1"])) as pipeline:
        cut = pipeline | beam.Create([pack(chunk) for chunk in chunks]) | beam.Reshuffle() | FindCut(keep)
        assert_that(cut, equal_to([expected]))
        # As ReadCandidates reads it: by name, as a side input.
        named = pipeline | "Once" >> beam.Create([0]) | beam.Map(read_score, cut=beam.pvalue.AsSingleton(cut))
        assert_that(named, equal_to([expected.score]), label="by name")


def read_score(_: int, cut: Cut) -> float:
    return cut.score


# Close neighbours, ties, zeros, and anything else that a score may be.
near = st.integers(0, 40).map(lambda k: 0.0123 + k * 2.0**-58)
scores_or_ties = st.one_of(
    st.floats(0.0, 1.0), near, st.sampled_from([0.0, -0.0, SMALLEST, 0.5, 1.0]), st.floats(0.0, 1e-300)
)
chunks_of_scores = st.lists(st.lists(scores_or_ties, max_size=30), max_size=8)
shares = st.one_of(st.floats(0.0001, 1.0), st.sampled_from([0.001, 0.07, 0.1, 0.5, 1.0]))


@given(chunks_of_scores, shares)
@example([], 0.5)
@example([[0.0, 0.0], [0.0]], 0.5)
@example([[0.0, 0.0], [0.0]], 1.0)
def test_the_cut_is_that_of_the_sorted_list(chunks: list[list[float]], keep: float) -> None:
    assert cut_without_beam(chunks, keep) == cut_by_sorting([one for chunk in chunks for one in chunk], keep)


@given(chunks_of_scores, shares, st.randoms(use_true_random=False))
def test_the_cut_does_not_depend_on_how_scores_are_divided(
    chunks: list[list[float]], keep: float, shuffler: random.Random
) -> None:
    scores = [one for chunk in chunks for one in chunk]
    shuffler.shuffle(scores)
    size = shuffler.randint(1, 7)
    divided = [scores[start : start + size] for start in range(0, len(scores), size)]
    assert cut_without_beam(divided, keep) == cut_without_beam(chunks, keep)


def test_ties_at_the_cut_are_all_kept_and_zeros_never_by_a_tie() -> None:
    assert cut_without_beam([[0.5, 0.25, 0.25, 0.25, 0.1]], 0.4) == Cut(0.25, 5, 4, 0.5)
    assert cut_without_beam([[0.5, 0.25] + [0.0] * 98], 0.1) == Cut(SMALLEST, 100, 2, 0.5)
    assert cut_without_beam([[0.0] * 50], 0.1) == Cut(SMALLEST, 50, 0, 0.0)
    assert cut_without_beam([[0.5, 0.0]], 1.0) == Cut(0.0, 2, 2, 0.5)


def test_a_share_is_taken_as_it_is_written() -> None:
    assert 0.07 * 100 > 7
    assert number_to_keep(0.07, 100) == 7
    assert number_to_keep(0.001, 947_247_000) == 947_247
    assert number_to_keep(1.0, 3) == 3
    assert number_to_keep(1e-9, 3) == 1


def test_counts_stay_small_however_many_scores_there_are() -> None:
    scores = np.random.default_rng(1).lognormal(-5, 1, 200_000).clip(0, 1)
    search, n_scored = Search(), scores.size
    for n_bits in ROUNDS:
        tally = tally_scores(scores.tobytes(), search, n_bits=n_bits)
        assert len(tally.beginnings) // 8 < 60_000
        search = Search(*narrow(tuple(tally), tuple(search), n_bits=n_bits, keep=0.001))
    assert make_cut(tuple(search), keep=0.001) == cut_by_sorting(scores.tolist(), 0.001)
    assert search.n_scored == n_scored


@pytest.mark.parametrize("score", [-0.1, math.nan, math.inf])
def test_what_is_no_score_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="scores from 0 up"):
        tally_scores(pack([0.5, score]), Search(), n_bits=24)


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.01, math.nan])
def test_a_share_that_cannot_be_kept_is_refused(keep: float) -> None:
    with pytest.raises(ValueError, match="--keep"):
        FindCut(keep)


# --- on a runner ---


def test_the_cut_on_a_runner_is_that_of_the_sorted_list() -> None:
    rng = np.random.default_rng(7)
    scores = np.concatenate([rng.lognormal(-5, 1, 5_000).clip(0, 1), np.zeros(500), np.full(50, 0.03)])
    rng.shuffle(scores)
    expected = cut_by_sorting(scores.tolist(), 0.01)
    for n_chunks in (1, 17):
        find_cut([chunk.tolist() for chunk in np.array_split(scores, n_chunks)], 0.01, expected=expected)


def test_the_cut_of_no_documents_keeps_none() -> None:
    find_cut([], 0.5, expected=Cut(0.0, 0, 0, 0.0))


def make_document(number: int, score: float | None) -> Document:
    return Document(
        *(number.to_bytes(16, "big"), f"http://example.com/{number}", "", "a text", "", "en", "a.warc", number),
        *("", (), "", "", "utf-8", "", ""),
        score=score,
    )


def test_scores_are_read_from_work_files_and_rejects_have_none(tmp_path) -> None:
    path = str(tmp_path / "a.parquet")
    rejection = Rejection(b"r" * 16, "", "read", "truncated", "", "a.warc", 9, True)
    documents = [make_document(number, score) for number, score in enumerate([0.5, 0.0, 0.25])]
    summary = write_work_file(path, [*documents, rejection], n_read=4, administrative=0)
    element = ("part", (0, path, summary))
    assert list(ReadScores().process(element)) == [pack([0.5, 0.0, 0.25])]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        cut = pipeline | beam.Create([element]) | beam.ParDo(ReadScores()) | FindCut(0.5)
        assert_that(cut, equal_to([Cut(0.25, 3, 2, 0.5)]))


def test_a_document_without_a_score_is_no_part_of_a_ranked_corpus(tmp_path) -> None:
    path = str(tmp_path / "a.parquet")
    summary = write_work_file(path, [make_document(0, None)], n_read=1, administrative=0)
    with pytest.raises(ValueError, match="without a score"):
        list(ReadScores().process(("part", (0, path, summary))))
