"""Words and their places are those that the hashes are made of, whatever the text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpora.shingles import hash_words
from corpora.word_places import find_words, list_words

texts = st.text() | st.text(alphabet="aZé\u0301ßİſ½ﬁ—’“_ 9.\u200d\u0345ꭰᏸ中か\u3099�\n", max_size=40)


@given(texts)
@example("e\u0301te\u0301—ﬁn ½ Straße İstanbul ᏸꭰ")
@example("a\u2260b")
def test_words_are_those_that_are_hashed(text: str) -> None:
    words = find_words(text).words
    hashed = hash_words([text, *words])
    assert words == list_words(text)
    assert hashed.of(0).size == len(words)
    # A word alone may be folded once more than it was in its text, so only ASCII ones must come out the same.
    for number, word in enumerate(words):
        if word.isascii():
            assert hashed.of(number + 1).tolist() == [hashed.of(0)[number]]


@given(texts)
def test_places_are_in_order_and_the_words_are_found_there(text: str) -> None:
    words, begins, ends = find_words(text)
    assert len(words) == len(begins) == len(ends)
    assert begins == sorted(begins)
    for word, begin, end in zip(words, begins, ends, strict=True):
        assert 0 <= begin < end <= len(text)
        assert word in list_words(text[begin:end])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("“Don’t—stop!”", ["don", "t", "stop"]),
        ("e\u0301te\u0301 été", ["été", "été"]),
        ("ＡＢＣ ﬁn", ["abc", "fin"]),
        ("3½ km²", ["31", "2", "km2"]),
        ("first\n\nsecond, THIRD", ["first", "second", "third"]),
        ("", []),
        ("… — !", []),
    ],
)
def test_words_are_the_expected_ones(text: str, words: list[str]) -> None:
    assert find_words(text).words == words
