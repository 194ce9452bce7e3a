"""Hashes equal those of a slow twin written with regular expressions and whole numbers, and never change."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.shingles import describe_hashing, hash_ngrams, hash_words, shingle_sets

MASK = (1 << 64) - 1
# Letters of several scripts, what folds into two letters, accents on their own, lone surrogates, and what ends words.
ODD = st.text(
    st.sampled_from("abZ9_ \n.-'<=")
    | st.sampled_from("é’“…—éÉßİﬁΣς̸́̈ⅷ①ＡＢ日本語ก็ำㅎ가ⓐ™½\u2028\xa0\x00\ud800😀")
    | st.characters(),
    max_size=40,
)
TEXTS = st.lists(ODD | st.text(max_size=20), max_size=8)


def splitmix(seed: int, n: int) -> list[int]:
    """Steele, Lea and Flood's generator, as its authors print it."""
    state, out = seed, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        out.append(mix(state))
    return out


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


BASE, FOLD, SHORT = splitmix(0, 3)
VALUES = [value | 1 for value in splitmix(1, 256)]


def slow_words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))


def slow_word_hash(word: str) -> int:
    return mix(sum(VALUES[byte] * pow(BASE | 1, i, 1 << 64) for i, byte in enumerate(word.encode())) & MASK)


def slow_ngrams(text: str, n: int, *, short_texts: bool) -> list[int]:
    hashes = [slow_word_hash(word) for word in slow_words(text)]
    if 0 < len(hashes) < n:
        return [mix((fold(hashes) * (SHORT | 1) + len(hashes)) & MASK)] if short_texts else []
    return [mix(fold(hashes[i : i + n])) for i in range(len(hashes) - n + 1)]


def fold(hashes: list[int]) -> int:
    value = 0
    for one in hashes:
        value = (value * (FOLD | 1) + one) & MASK
    return value


@settings(deadline=None)
@given(TEXTS)
def test_words_are_those_of_a_regular_expression_over_folded_text(texts):
    words = hash_words(texts)
    assert [words.of(i).tolist() for i in range(len(texts))] == [
        [slow_word_hash(word) for word in slow_words(text)] for text in texts
    ]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 8), st.booleans())
def test_ngrams_are_those_of_each_text_on_its_own(texts, n, short_texts):
    grams = hash_ngrams(hash_words(texts), n, short_texts=short_texts)
    assert grams.hashes.dtype == np.uint64
    assert [grams.of(i).tolist() for i in range(len(texts))] == [
        slow_ngrams(text, n, short_texts=short_texts) for text in texts
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don’t stop", "don't STOP"),
        ("cafe\u0301 noir", "café noir"),
        ("E\u0301COLE", "école"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("straße", "STRASSE"),
        ("a\u00a0b", "a b"),
        ("naïve—art", "naïve art"),
        ("lone \ud800 half", "lone half"),
        ("x\x00y", "x y"),
    ],
)
def test_texts_that_read_the_same_have_the_same_words(one, other):
    assert hash_words([one]).hashes.tolist() == hash_words([other]).hashes.tolist()


@settings(deadline=None)
@given(st.lists(st.text("aB9_ .é’İ日", max_size=40), max_size=5))
def test_a_text_may_come_in_utf_8(texts):
    words, same = hash_words(texts), hash_words([text.encode() for text in texts])
    assert words.starts.tolist() == same.starts.tolist()
    assert words.hashes.tolist() == same.hashes.tolist()


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=9), st.integers(0, 3))
def test_the_place_of_a_word_does_not_change_its_hash(words, n_spaces):
    moved = hash_words([" " * n_spaces + "  ".join(words)]).hashes.tolist()
    assert moved == [hash_words([word]).hashes[0] for word in words]


def test_a_word_longer_than_a_chunk_is_hashed_as_one():
    text = "a " + "xyé" * 60_000 + " b"
    assert hash_words([text]).hashes.tolist() == [slow_hash_by_horner(word) for word in slow_words(text)]


def slow_hash_by_horner(word: str) -> int:
    value = 0
    for byte in reversed(word.encode()):
        value = (value * (BASE | 1) + VALUES[byte]) & MASK
    return mix(value)


def test_a_long_text_is_hashed_across_chunks():
    text = " ".join(f"word{i}" for i in range(30_000))  # 290 kB
    words = hash_words(["before", text, "after"])
    assert words.starts.tolist() == [0, 1, 30_001, 30_002]
    for i in (0, 7_000, 15_000, 29_999):
        assert int(words.of(1)[i]) == slow_word_hash(f"word{i}")


def test_nothing_gives_nothing():
    assert hash_words([]).starts.tolist() == [0]
    empty = hash_words(["", " .,;\n"])
    assert empty.hashes.size == 0
    assert hash_ngrams(empty, 5, short_texts=True).starts.tolist() == [0, 0, 0]


def test_short_texts_of_different_length_differ():
    grams = hash_ngrams(hash_words(["a b", "a b c", "a b"]), 5, short_texts=True)
    assert grams.starts.tolist() == [0, 1, 2, 3]
    assert grams.hashes[0] == grams.hashes[2] != grams.hashes[1]


def test_an_ngram_has_at_least_one_word():
    with pytest.raises(ValueError, match="at least one word"):
        hash_ngrams(hash_words(["a b"]), 0)


@settings(deadline=None)
@given(st.lists(st.text("ab ", max_size=60), max_size=5))
def test_shingle_sets_are_sorted_and_distinct(texts):
    grams = hash_ngrams(hash_words(texts), 5, short_texts=True)
    for i, one in enumerate(shingle_sets(grams)):
        assert one.dtype == np.uint32
        assert one.tolist() == sorted({value >> 32 for value in grams.of(i).tolist()})


def test_hashes_are_those_that_earlier_runs_wrote_down():
    """State on disk is compared with these: a change needs a new SHINGLE_VERSION, and all runs to be made again."""
    words = hash_words(["The quick brown fox", "Übung macht den Meister"])
    assert [f"{value:016x}" for value in words.hashes.tolist()] == PINNED_WORDS
    grams = hash_ngrams(words, 3)
    assert [f"{value:016x}" for value in grams.hashes.tolist()] == PINNED_TRIGRAMS
    assert describe_hashing() == {"shingle_version": 1, "unicode": unicodedata.unidata_version}


PINNED_WORDS = [
    "9b87318f6dcbedcb",
    "be01af8c4f4fd246",
    "6774d556900c1ddd",
    "3bb73e9e46a9ffba",
    "86c132e3710a94fa",
    "c10b378e9e52eb7f",
    "0a59be39fd877508",
    "54c5b35e7c0abbbd",
]
PINNED_TRIGRAMS = ["d24415af24434579", "09bff9b75877f358", "76d95b6b4fd5818f", "d96049c566dc53f7"]
