"""Dates as pages write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.dates import date_in_url, find_date, is_plausible


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2016-09-26", "2016-09-26"),
        ("2016-09-26T21:18:09Z", "2016-09-26T21:18:09Z"),
        ("2016-09-26T21:18:09.123+0200", "2016-09-26T21:18:09+02:00"),
        ("2016-09-26 21:18", "2016-09-26T21:18:00"),
        ("2016/9/6", "2016-09-06"),
        ("20160926", "2016-09-26"),
        ("Mon, 26 Sep 2016 21:18:09 GMT", "2016-09-26T21:18:09Z"),
        ("September 26th, 2016", "2016-09-26"),
        ("Updated Sept. 6, 2016 at noon", "2016-09-06"),
        ("26. März 2016", "2016-03-26"),
        ("le 26 août 2016", "2016-08-26"),
        ("26 de septiembre de 2016", "2016-09-26"),
        ("26.09.2016", "2016-09-26"),
        ("09/26/2016", "2016-09-26"),
        ("26/09/2016", "2016-09-26"),
        ("06/06/2016", "2016-06-06"),
        ("03/04/2016", ""),
        ("2016-02-31", ""),
        ("March 5", ""),
        ("2016", ""),
        ("call 1-800-2016-09", ""),
        ("marching 5, 2016", ""),
        ("", ""),
    ],
)
def test_a_date_is_read_as_written_or_not_at_all(written: str, expected: str) -> None:
    assert find_date(written) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/2016/09/26/title", "2016-09-26"),
        ("http://example.com/news/2016-9-6-title", "2016-09-06"),
        ("http://example.com/2016/sep/26/title", "2016-09-26"),
        ("http://example.com/20160926-title", "2016-09-26"),
        ("http://example.com/story-20169926", ""),
        ("http://example.com/2016/09/", ""),
        ("http://example.com/2016/xyz/12/", ""),
    ],
)
def test_a_date_in_a_url_is_a_whole_day(url: str, expected: str) -> None:
    assert date_in_url(url) == expected


@given(st.text() | st.text(alphabet="0123456789-/. TZ:+janfebmrpocd,", max_size=40))
def test_no_text_raises(text: str) -> None:
    found = find_date(text)
    assert found == "" or is_plausible(found, fetched_at="") or found < "1990"
    date_in_url(text)


def test_a_page_is_not_published_after_it_was_fetched() -> None:
    assert is_plausible("2018-01-02", fetched_at="2018-01-01T23:00:00Z")
    assert not is_plausible("2018-01-03", fetched_at="2018-01-01T23:00:00Z")
    assert not is_plausible("1970-01-01", fetched_at="")
