"""Books balance or nothing is published."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.documents import Rejection
from pipelines.ledger import Books, BooksError, add_books, check_balance, move_to_rejected, open_books

reasons = st.lists(st.tuples(st.sampled_from(["language", "too_short", "truncated"]), st.booleans()))


def rejections(pairs: list[tuple[str, bool]]) -> list[Rejection]:
    return [Rejection(b"\0" * 16, "", "read", reason, "", "a.warc.gz", 0, broken) for reason, broken in pairs]


@given(st.integers(0, 5), reasons)
def test_every_record_is_on_one_page_of_the_books(kept, pairs):
    books = open_books(read=kept + len(pairs), kept=kept, rejections=rejections(pairs))
    assert books.read == books.kept + sum(dict(books.rejected).values()) + sum(dict(books.broken).values())


@given(st.integers(0, 5), reasons, st.integers(-3, 3).filter(bool))
def test_a_record_lost_or_doubled_is_an_error(kept, pairs, off_by):
    with pytest.raises(BooksError, match="do not balance"):
        open_books(read=kept + len(pairs) + off_by, kept=kept, rejections=rejections(pairs))


@given(st.lists(st.tuples(st.integers(0, 5), reasons)), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_order(parts, random):
    books = [open_books(read=kept + len(pairs), kept=kept, rejections=rejections(pairs)) for kept, pairs in parts]
    shuffled = list(books)
    random.shuffle(shuffled)
    assert add_books(books) == add_books(shuffled)
    check_balance(add_books(books), "the sum")


def test_duplicates_move_from_kept_to_rejected():
    books = move_to_rejected(Books(5, 4, (("language", 1),)), Counter({"duplicate_url": 2}))
    assert books == Books(5, 2, (("duplicate_url", 2), ("language", 1)))
