"""Cleaning: cases as data, and the laws that every text keeps."""

import json
import unicodedata
from pathlib import Path

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.cleaning import BOILERPLATE_LINES, BOILERPLATE_SENTENCES, clean_text

CASES = json.loads((Path(__file__).parents[1] / "data" / "cleaning.json").read_text(encoding="utf-8"))

mojibake = st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace").decode("cp1252", "replace"))
entities = st.sampled_from(
    ["&", "amp;", "&amp;", "&lt;", "&#38;", "#38;", "lt;", "<", "&nbsp;", "&#x200b;", " ", "\xa0", "\n"]
)
texts = st.text() | st.lists(mojibake | entities | st.sampled_from(["Ã", "â€œ", "\u0301", "a", "\u200b"])).map("".join)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["comment"])
def test_a_text_is_cleaned_as_documented(case: dict[str, str]) -> None:
    assert clean_text(case["original"]) == case["expected"]


@given(texts)
def test_cleaning_is_idempotent(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


@given(texts)
def test_clean_text_is_nfc_lines_without_stray_space(text: str) -> None:
    cleaned = clean_text(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert all(line and line == line.strip() for line in cleaned.split("\n")) or cleaned == ""
    assert not any(space in cleaned for space in ("  ", "\t", "\r", "\xa0", "\u2028", "\0"))


@given(
    st.text(
        alphabet=st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&") | st.sampled_from("‘’“”–—…")
    )
)
def test_lines_that_are_passed_over_are_those_that_ftfy_leaves_alone(line: str) -> None:
    assert ftfy.fix_text(line, ftfy.TextFixerConfig(explain=False, uncurl_quotes=False)) == line


def test_boilerplate_is_written_as_it_is_compared() -> None:
    for phrase in [*BOILERPLATE_LINES, *BOILERPLATE_SENTENCES]:
        assert phrase == phrase.lower().strip()
    assert "share this" in BOILERPLATE_LINES
    assert "read more" in BOILERPLATE_LINES
    assert all(clean_text(phrase) == "" for phrase in BOILERPLATE_LINES)
