"""Both paths give fairseq's ids, on every kind of text, and lossless text comes back to the letter."""

import gzip
import json
import time
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpe.encoding import Encoder
from bpe.engines import LONG_RUN, cut_long_runs
from bpe.training import train_vocabulary
from bpe.vocabulary import BYTE_LETTERS, Vocabulary, add_special_tokens, make_vocabulary

PROSE = (
    "The miller's daughter hadn't seen the river so high in 40 years, and she said so. "
    "“We'll go up,” he answered – “or they'll find us by Tuesday.”  Nobody laughed.\n"
    "Die Mühle stand am Fluß; 水車は回り続けた。 Она молчала… 1,234.50 €\n\n\tprint('hello')  # ok\n"
)
BLANKS = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u3000"
ODD = [
    "</s>", "<mask>", "<|endoftext|>", "<s>", "madeupword0000", "'s", "'LL", "é", "e\u0301", "👩‍👩‍👧",
    "\u200b", "\ufeff", "\x00", "\ufffd", "\U0010ffff", "ﷺ", "١٢", "Ⅷ", "\u0345", "ǅ", "𝟘", "अ", "กา",
    "한", "\u202e", "--", "…", "ab", "The",
]  # fmt: skip

characters = st.one_of(
    st.sampled_from(BLANKS), st.sampled_from("ab's.<>/12"), st.characters(exclude_categories=())
)  # surrogates too
words = st.one_of(st.sampled_from(ODD), st.sampled_from(PROSE.split()), st.sampled_from(BLANKS), characters)
texts = st.lists(words, max_size=20).map("".join) | st.lists(words, max_size=20).map(" ".join)
documents = st.lists(texts, max_size=8)


class Encoders(NamedTuple):
    fairseq: Encoder
    lossless: Encoder


@pytest.fixture(scope="module", params=["roberta", "trained"])
def encoders(request) -> Encoders:
    """With RoBERTa's vocabulary, and with one trained here."""
    if request.param == "roberta":
        vocabulary = request.getfixturevalue("roberta")
    else:
        vocabulary = train_vocabulary(PROSE.split("\n") * 3, size=700).vocabulary
    return Encoders(Encoder(vocabulary), Encoder(vocabulary, mode="lossless"))


def assert_same(one, other):
    assert one.ids.tolist() == other.ids.tolist()
    assert one.sentence_lengths.tolist() == other.sentence_lengths.tolist()


def repaired(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def assert_well_formed(encoded, vocabulary):
    assert encoded.ids.dtype == encoded.sentence_lengths.dtype == np.uint16
    assert encoded.sentence_lengths.sum(dtype=np.int64) == encoded.ids.size
    assert encoded.sentence_lengths.all()
    assert not np.isin(encoded.ids, [0, 1, 2, 3, vocabulary.size - 1]).any()


@given(sentences=documents)
@settings(max_examples=250, deadline=None)
@example(sentences=["a\nb", "\n", "c", "  ", "d  e", "f\t g", "h\n\n\ni", "j\n\nk\n\n", " l", "m \n n"])
@example(sentences=["\ud83d", "\ude00 \ud83d\ude00", "a\udcffb"])
@example(sentences=["</s>", "<mask> <|endoftext|>", "it's 'LL"])
def test_both_paths_give_the_same_ids(encoders, sentences):
    for encoder in encoders:
        encoded = encoder.encode(sentences)
        assert_same(encoded, encoder.encode_with_tokenizers(sentences))
        assert_well_formed(encoded, encoder.vocabulary)


@given(sentences=documents)
@settings(max_examples=150, deadline=None)
def test_lossless_text_comes_back_to_the_letter(encoders, sentences):
    encoder = encoders.lossless
    assert encoder.decode(encoder.encode(sentences).ids) == "".join(map(repaired, sentences))


@given(sentences=documents)
@settings(max_examples=100, deadline=None)
def test_each_sentence_is_stripped_and_encoded_on_its_own(encoders, sentences):
    encoder = encoders.fairseq
    encoded = encoder.encode(sentences)
    alone = [encoder.encode([sentence]).ids.tolist() for sentence in sentences]
    assert encoded.ids.tolist() == [number for ids in alone for number in ids]
    assert encoded.sentence_lengths.tolist() == [len(ids) for ids in alone if ids]
    texts = [encoder.decode(ids) for ids in alone]
    assert texts == [repaired(sentence).strip() for sentence in sentences]


def test_fairseqs_own_ids_come_out_of_both_paths(roberta, shared_data):
    with gzip.open(shared_data / "conformance" / "fairseq.json.gz") as stream:
        cases = json.load(stream)["encoding"]
    assert len(cases) == 1_518
    encoder = Encoder(roberta, mode="lossless")
    for case in cases:
        assert encoder.encode([case["text"]]).ids.tolist() == case["ids"]
        assert encoder.encode_with_tokenizers([case["text"]]).ids.tolist() == case["ids"]


def test_golden_ids(roberta):
    encoder = Encoder(roberta)
    assert encoder.encode(["Hello world!", "Jack and jill"]).ids.tolist() == [31414, 232, 328, 20907, 8, 1236, 1873]
    assert encoder.encode(["Hello world!", " ", "", "Jack and jill\n"]).sentence_lengths.tolist() == [3, 4]
    assert encoder.decode([0, 31414, 232, 328, 2, 50_264, 50_260]) == "<s>Hello world!</s><mask><|endoftext|>"


def test_special_tokens_in_a_text_are_text(encoders):
    for encoder in encoders:
        for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "madeupword0000"):
            ids = encoder.encode([token]).ids
            assert ids.size > 1
            assert encoder.decode(ids) == token


def test_a_token_belongs_to_the_sentence_of_its_last_byte(roberta):
    encoder = Encoder(roberta, mode="lossless")
    encoded = encoder.encode(["Hello world. ", "Jack and jill.\n", "\n", "", "Hello"])
    pieces = np.split(encoded.ids, np.cumsum(encoded.sentence_lengths[:-1], dtype=np.int64))
    assert [encoder.decode(ids) for ids in pieces] == ["Hello world.", " Jack and jill.\n", "\n", "Hello"]


def test_a_sentence_too_long_for_uint16_has_several_entries(encoders):
    sentence = "xq " * 50_000
    for encoder in encoders:
        encoded = encoder.encode(["short", sentence, "short"])
        assert_well_formed(encoded, encoder.vocabulary)
        assert encoded.sentence_lengths.tolist().count(65_535) == (encoded.ids.size - 4) // 65_535
        assert encoded.sentence_lengths.size > 3


def test_nothing_gives_nothing(encoders):
    for encoder in encoders:
        for sentences in ([], [""], ["", ""]):
            encoded = encoder.encode(sentences)
            assert_well_formed(encoded, encoder.vocabulary)
            assert encoded.ids.size == encoded.sentence_lengths.size == 0
        assert encoder.decode([]) == ""


@pytest.mark.parametrize("unit", ["a", " ", "\n", "\u3000", "é", "1", "-", "ab", "a\n", " a", "👩‍👩‍👧", "\t a"])
def test_long_runs_are_encoded_in_time_and_alike(roberta, unit):
    """Runs without a border were quadratic in earlier versions of tiktoken."""
    encoder = Encoder(roberta)
    text = unit * (120_000 // len(unit)) + "b"
    started = time.process_time()
    encoded = encoder.encode([text])
    assert time.process_time() - started < 1
    assert encoder.decode(encoded.ids) == text.strip()
    assert_same(encoded, encoder.encode_with_tokenizers([text]))


@pytest.mark.parametrize("mode", ["fairseq", "lossless"])
def test_a_million_blanks_before_a_word_are_only_text(roberta, mode):
    """They overflow the stack of tiktoken's pattern matcher."""
    encoder = Encoder(roberta, mode=mode)
    for blank in (" ", "\n", "\u2028"):
        text = "a" + blank * 1_000_000 + "b"
        assert encoder.decode(encoder.encode([text]).ids) == text


@given(st.lists(st.sampled_from(["a", " ", " " * LONG_RUN, "\n" * LONG_RUN, "b c"]), max_size=4).map("".join))
@settings(max_examples=6, deadline=None)
def test_texts_are_cut_around_long_runs_without_changing_an_id(roberta, text):
    assert "".join(cut_long_runs(text)) == text
    encoder = Encoder(roberta, mode="lossless")
    assert_same(encoder.encode([text]), encoder.encode_with_tokenizers([text]))


def test_a_vocabulary_that_tiktoken_cannot_stand_for_is_encoded_by_tokenizers():
    merges = (("b", "c"), ("a", "b"), ("ab", "c"))
    vocabulary = make_vocabulary(add_special_tokens([*BYTE_LETTERS, "bc", "ab", "abc"], n_filler=0), merges)
    encoder = Encoder(vocabulary)
    assert "'abc'" in encoder.slow_because
    tokens = [vocabulary.tokens[number] for number in encoder.encode(["abc ab"]).ids]
    assert tokens == ["a", "bc", "Ġ", "ab"]
    assert Encoder(train_vocabulary(["abc"], size=300).vocabulary).slow_because == ""


def test_a_wrong_mode_or_id_is_the_callers_fault(roberta: Vocabulary):
    with pytest.raises(ValueError, match="fairseq, lossless"):
        Encoder(roberta, mode="other")
    for ids in ([50_265], [-1]):
        with pytest.raises(ValueError, match="50265"):
            Encoder(roberta).decode(ids)
