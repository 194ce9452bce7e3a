"""Where tokens stand in a text, windows over it, and the best spans."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encoding import Encoder
from bpe.training import train_vocabulary
from bpe.vocabulary import BYTE_LETTERS, add_special_tokens, make_vocabulary
from trainer.spans import best_spans, cut_windows, encode_with_places, find_owners, find_span

# Every byte is a token, so that each character of two bytes or more is split; and one with merges across words.
BYTES_ONLY = Encoder(make_vocabulary(add_special_tokens(list(BYTE_LETTERS), n_filler=0), ()))
TEXTS = ["the house of the rising sun é è", "größe 日本語 日本 \U0001f600 \U0001f601", "they’re theirs  there 1882"] * 3
TRAINED = Encoder(train_vocabulary(TEXTS, size=340).vocabulary)
# Surrogates included: JSON may hold lone ones.
anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@pytest.mark.parametrize("encoder", [BYTES_ONLY, TRAINED], ids=["bytes", "merges"])
@settings(deadline=None, max_examples=200)
@given(data=st.data(), text=st.one_of(anything, st.sampled_from(TEXTS)))
def test_the_tokens_of_any_part_of_any_text_cover_it_and_no_more_than_the_tokens_at_its_ends(
    encoder: Encoder, data: st.DataObject, text: str
) -> None:
    solid = [place for place, character in enumerate(text) if not character.isspace()]
    tokens = encode_with_places(text, encoder)
    if not solid:
        assert tokens.ids.size == len(tokens.places) == 0
        return
    start = data.draw(st.sampled_from(solid))
    end = data.draw(st.sampled_from([place for place in solid if place >= start])) + 1
    span = find_span(tokens.places, start, end)
    assert tokens.places[span.first, 0] <= start < tokens.places[span.first, 1]
    assert tokens.places[span.last, 0] < end <= tokens.places[span.last, 1]
    assert text[start:end] in text[tokens.places[span.first, 0] : tokens.places[span.last, 1]]


@settings(deadline=None, max_examples=100)
@given(text=anything)
def test_places_leave_no_character_out_and_never_go_backwards(text: str) -> None:
    for encoder in (BYTES_ONLY, TRAINED):
        tokens = encode_with_places(text, encoder)
        first, end = tokens.places.T
        assert (first < end).all()
        assert (np.diff(first) >= 0).all()
        assert (np.diff(end) >= 0).all()
        assert (first[1:] <= end[:-1]).all()
        if tokens.ids.size:
            assert text[first[0] : end[-1]] == text.strip()


def test_ids_are_those_of_the_text_as_one_sentence() -> None:
    for text in ["  In 1882,  they’re 日本語 \n", "a\ud800b", "", " \t"]:
        assert encode_with_places(text, TRAINED).ids.tolist() == TRAINED.encode([text]).ids.tolist()


def test_a_character_of_several_tokens_is_covered_by_each() -> None:
    tokens = encode_with_places(" a\U0001f600", BYTES_ONLY)
    assert tokens.places.tolist() == [[1, 2], [2, 3], [2, 3], [2, 3], [2, 3]]
    assert find_span(tokens.places, 2, 3) == (1, 4)


@given(n_tokens=st.integers(1, 600), room=st.integers(1, 300), stride=st.integers(1, 200))
def test_windows_hold_every_token_fit_and_overlap(n_tokens: int, room: int, stride: int) -> None:
    windows = cut_windows(n_tokens, room=room, stride=stride)
    assert windows[0][0] == 0
    assert windows[-1][1] == n_tokens
    assert all(0 < end - first <= room for first, end in windows)
    for (first, end), (next_first, next_end) in pairwise(windows):
        assert first < next_first <= end < next_end
        assert next_first - first <= stride
        assert next_first < end or room == 1
    owners = find_owners(windows, n_tokens)
    for token, owner in enumerate(owners.tolist()):
        assert windows[owner][0] <= token < windows[owner][1]


def test_a_token_belongs_to_the_window_that_shows_most_around_it() -> None:
    # Token 3 has 1 beside it in the first window and none before it in the second; token 5 has 2 on either side there.
    owners = find_owners([(0, 5), (3, 8), (6, 11)], 11)
    assert owners.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


@settings(deadline=None, max_examples=100)
@given(data=st.data(), n_tokens=st.integers(1, 12), max_tokens=st.integers(1, 15), n_best=st.integers(1, 40))
def test_the_best_spans_are_those_of_trying_them_all(
    data: st.DataObject, n_tokens: int, max_tokens: int, n_best: int
) -> None:
    scores = st.lists(st.integers(-9, 0), min_size=n_tokens, max_size=n_tokens)
    starts, ends = (np.array(data.draw(scores), np.float32) for _ in range(2))
    may_start = np.array(data.draw(st.lists(st.booleans(), min_size=n_tokens, max_size=n_tokens)))
    tried = [
        (float(starts[first] + ends[last]), (first, last))
        for first in range(n_tokens)
        for last in range(first, min(n_tokens, first + max_tokens))
        if may_start[first]
    ]
    found = best_spans(starts, ends, may_start, max_tokens=max_tokens, n_best=n_best)
    assert found == sorted(tried, key=lambda pair: -pair[0])[:n_best]
