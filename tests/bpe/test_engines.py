"""The two libraries bring tables of letters and numbers of their own; an update may set them apart."""

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from bpe.engines import PATTERN

# Planes 0 to 3 as far as they are assigned or soon will be, and the tags of plane 14; surrogates are no text.
POINTS = [*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE0200)]
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BYTES = {bytes([byte]): byte for byte in range(256)}


def points_of_tiktoken(pattern):
    """Code points that a pattern of one character matches: the others vanish."""
    encoding = tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks=BYTES, special_tokens={})
    return set(map(ord, bytes(encoding.encode_ordinary("".join(map(chr, POINTS)))).decode()))


def points_of_tokenizers(companion):
    """Code points that ByteLevel leaves in one piece with this character before them."""
    splitter = ByteLevel(add_prefix_space=False, use_regex=True)
    joined = set()
    for start in range(0, len(POINTS), 4_096):
        points = [chr(point) for point in POINTS[start : start + 4_096]]
        text = "\n".join(companion + point for point in points)
        for _, (begin, end) in splitter.pre_tokenize_str(text):
            if end - begin == 2 and begin % 3 == 0:
                joined.add(ord(text[begin + 1]))
    return joined


@pytest.mark.parametrize(("pattern", "companion"), [(r"\p{L}", "a"), (r"\p{N}", "1"), (r"[^\s\p{L}\p{N}]", ".")])
def test_both_libraries_mean_the_same_by_a_class(pattern, companion):
    assert points_of_tiktoken(pattern) == points_of_tokenizers(companion)


@given(st.text(st.sampled_from(" \n\t\u3000a'sl1.é"), max_size=30))
@settings(max_examples=300, deadline=None)
@example("  a \n\n b\n ")
def test_the_pattern_cuts_where_gpt2s_does(text):
    regex = pytest.importorskip("regex")
    assert regex.findall(PATTERN, text) == regex.findall(GPT2_PATTERN, text)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_the_pattern_leaves_nothing_out(text):
    encoding = tiktoken.Encoding("test", pat_str=PATTERN, mergeable_ranks=BYTES, special_tokens={})
    assert bytes(encoding.encode_ordinary(text)).decode() == text
