"""Exact deduplication keeps one of each, always the same one, whatever the order of delivery."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from pipelines.deduplication import Candidate, RemoveExactDuplicates, choose_keeper, keeper_order, make_candidate
from pipelines.settings import DeduplicationRules

RULES = DeduplicationRules()


def candidate(number: int, *, url: str, text: str = "", fetched_at: str = "2017-01-01T00:00:00Z") -> Candidate:
    return make_candidate("part", bytes([number]) * 16, url, text or f"text {number}", fetched_at, RULES)


candidates = st.lists(
    st.builds(
        Candidate,
        st.just("part"),
        st.binary(min_size=16, max_size=16),
        st.sampled_from(["", "2016-09-01T00:00:00Z", "2017-01-01T00:00:00Z"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.just(b"u" * 16),
        st.just(b"t" * 16),
        st.just(b""),
    ),
    min_size=1,
    unique_by=lambda one: one.document_id,
)


@given(candidates, st.randoms(use_true_random=False))
def test_the_keeper_does_not_depend_on_the_order_of_delivery(group, random):
    shuffled = list(group)
    random.shuffle(shuffled)
    assert choose_keeper(shuffled, "duplicate_url")[0] == choose_keeper(group, "duplicate_url")[0]


@given(candidates)
def test_one_is_kept_and_all_others_lose_to_it(group):
    keeper, losers = choose_keeper(group, "duplicate_url")
    assert {loser.document_id for loser in losers} | {keeper.document_id} == {one.document_id for one in group}
    assert len(losers) == len(group) - 1
    assert {loser.kept_id for loser in losers} <= {keeper.document_id}


def test_the_earliest_wins_then_the_longest_then_the_smallest_id():
    early = candidate(9, url="http://a.example/", fetched_at="2016-09-01T00:00:00Z")
    long = candidate(8, url="http://a.example/", text="x" * 100)
    small, large = candidate(1, url="http://a.example/"), candidate(2, url="http://a.example/")
    unknown = candidate(0, url="http://a.example/", fetched_at="")
    assert sorted([unknown, large, small, long, early], key=keeper_order) == [early, long, small, large, unknown]


def test_a_document_lost_by_url_cannot_win_by_text():
    first = candidate(1, url="http://a.example/1", text="same", fetched_at="2016-01-01T00:00:00Z")
    second = candidate(2, url="https://www.a.example/1?utm_source=x", text="other", fetched_at="2016-01-02T00:00:00Z")
    third = candidate(3, url="http://a.example/3", text="same", fetched_at="2016-01-03T00:00:00Z")
    fourth = candidate(4, url="http://a.example/4", text="other", fetched_at="2016-01-04T00:00:00Z")
    with beam.Pipeline(FnApiRunner(), options=PipelineOptions(["--no_save_main_session"])) as pipeline:
        rows = pipeline | beam.Create([tuple(one) for one in (fourth, third, second, first)])
        kept, losers, _ = rows | RemoveExactDuplicates(RULES)
        # `other` of the second document is gone with its URL, so the fourth is the first of its text.
        assert_that(kept | beam.Map(lambda one: one[1]), equal_to([first.document_id, fourth.document_id]), "kept")
        lost = losers | beam.Flatten() | beam.Map(lambda pair: (pair[0], *pair[1]))
        expected = [
            ("part", second.document_id, "duplicate_url", first.document_id, None, ""),
            ("part", third.document_id, "duplicate_text", first.document_id, None, ""),
        ]
        assert_that(lost, equal_to(expected), "lost")


def test_documents_without_a_url_are_no_duplicates_of_each_other():
    with beam.Pipeline(FnApiRunner(), options=PipelineOptions(["--no_save_main_session"])) as pipeline:
        rows = pipeline | beam.Create([tuple(candidate(n, url="")) for n in range(3)])
        kept, *_ = rows | RemoveExactDuplicates(RULES)
        assert_that(kept | beam.combiners.Count.Globally(), equal_to([3]))
