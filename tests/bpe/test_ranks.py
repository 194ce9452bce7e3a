"""tiktoken is used exactly where it agrees with the merges on every text."""

from itertools import pairwise, product

import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.ranks import find_ambiguity, rank_tokens
from bpe.vocabulary import BYTE_LETTERS, Vocabulary, unspell

LETTERS = "abc"


@st.composite
def vocabularies(draw):
    """Merges over three letters, each of two tokens that are there already."""
    tokens, merges = list(LETTERS), []
    for _ in range(draw(st.integers(1, 9))):
        pair = (draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens)))
        if pair not in merges and len("".join(pair)) <= 8:
            merges.append(pair)
            tokens.append("".join(pair))
    return Vocabulary((), tuple(merges), 0, "")


def merge_pairs(text, merges):
    """BPE as it is defined: the earliest merge that applies, everywhere, until none does."""
    parts = list(text)
    while True:
        ranked = [merges.index(pair) for pair in pairwise(parts) if pair in merges]
        if not ranked:
            return parts
        pair, joined, k = merges[min(ranked)], [], 0
        while k < len(parts):
            if tuple(parts[k : k + 2]) == pair:
                joined.append("".join(pair))
                k += 2
            else:
                joined.append(parts[k])
                k += 1
        parts = joined


def merge_ranks(vocabulary):
    tokens = rank_tokens(vocabulary)
    ranks = {unspell(token): rank for rank, token in enumerate(tokens)}
    encoding = tiktoken.Encoding("test", pat_str=r"\w+", mergeable_ranks=ranks, special_tokens={})
    return lambda text: [tokens[rank] for rank in encoding.encode_ordinary(text)]


@given(vocabularies())
@settings(max_examples=150, deadline=None)
def test_without_ambiguity_tiktoken_does_what_the_merges_say(vocabulary):
    token = find_ambiguity(vocabulary)
    if token is not None and len(set(rank_tokens(vocabulary))) < len(rank_tokens(vocabulary)):
        return  # a token with two ranks cannot even be given to tiktoken
    encode = merge_ranks(vocabulary)
    if token is None:
        for n in range(1, 7):
            for letters in product(LETTERS, repeat=n):
                text = "".join(letters)
                assert encode(text) == merge_pairs(text, vocabulary.merges)
    else:
        assert merge_pairs(token, vocabulary.merges) != [token]  # tiktoken takes it whole


def test_two_pairs_of_one_token_are_an_ambiguity():
    merges = (("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"))
    assert find_ambiguity(Vocabulary((), merges, 0, "")) == "abc"


def test_a_merge_that_an_earlier_one_prevents_is_an_ambiguity():
    merges = (("b", "c"), ("a", "b"), ("ab", "c"))
    assert find_ambiguity(Vocabulary((), merges, 0, "")) == "abc"


def test_gpt2s_merges_have_no_ambiguity(roberta):
    assert find_ambiguity(roberta) is None
    assert len(rank_tokens(roberta)) == len(BYTE_LETTERS) + 50_000
