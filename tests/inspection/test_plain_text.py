"""Nothing that a page contains may act on a terminal; numbers and tables read well."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from inspection import figures, plain_text, report, report_html
from inspection.plain_text import format_table, one_line, printable, size

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates and controls included


def test_the_examples_in_docstrings_hold():
    for module in (plain_text, figures, report_html, report):
        assert doctest.testmod(module).failed == 0


@given(ANY_TEXT)
def test_printable_text_has_no_control_and_no_direction_mark_left(text):
    shown = printable(text)
    assert all(c.isprintable() or c in "\u200c\u200d" for c in shown)
    shown.encode()


@given(ANY_TEXT)
def test_printable_keeps_what_is_seen(text):
    seen = "".join(c for c in text if c.isprintable())
    assert printable(seen) == seen


@given(ANY_TEXT, st.integers(2, 80))
def test_one_line_is_one_line_and_no_longer_than_asked(text, max_chars):
    line = one_line(text, max_chars=max_chars)
    assert len(line.splitlines()) <= 1
    assert len(line) <= max_chars


def test_newlines_are_kept_only_where_asked():
    assert printable("a\nb\tc\x00", keep_newlines=True) == "a\nb\tc\\x00"
    assert printable("a\nb") == "a\\x0ab"


def test_columns_align_in_terminal_cells_also_with_wide_and_combining_characters():
    lines = format_table([("日本", "1"), ("cafe\u0301", "22"), ("ab", "333")], align="lr")
    assert lines == ["  日本    1", "  cafe\u0301   22", "  ab    333"]


def test_sizes_round_up_into_the_next_unit():
    assert [size(n) for n in (0, 1023, 1024, 2**20 - 1, 2**20, 5 * 2**40)] == [
        "0 B", "1,023 B", "1.00 KiB", "1.00 MiB", "1.00 MiB", "5.00 TiB",
    ]  # fmt: skip
