"""The two libraries that turn texts into ids: tiktoken, which is fast, and tokenizers, which is the reference.

In: texts. Out: the ids of each, as the bytes of a uint16 array. The rule: both give the same ids for
every text, which tests prove on odd Unicode, on every code point and on fairseq's own output. Neither
knows a special token.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import tiktoken
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from bpe.ranks import rank_tokens
from bpe.vocabulary import Vocabulary, unspell

Engine = Callable[[Sequence[str]], list[bytes]]

# GPT-2's pattern as tiktoken writes it: the same pieces, but possessive where backtracking cannot help.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# A run of about 500,000 blanks before a word overflows the stack of tiktoken's pattern matcher, which panics.
LONG_RUN = 100_000
_BLANKS = re.compile(f"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]{{{LONG_RUN},}}")

_MAX_WORDS = 1 << 17  # kept for each place in a sentence; some 25 MB
_MAX_WORD_CHARS = 32


def make_fast_engine(vocabulary: Vocabulary) -> Engine:
    """Encodes with tiktoken and remembers words; only right for a vocabulary without ambiguity (bpe.ranks).

    A text is cut at blanks and newlines, but only where GPT-2's pattern cuts it too, whatever stands
    around: it looks back nowhere, and ahead only from a run of blanks. So the parts have the ids of the
    whole if each begins with a blank that follows no blank, or lies between newlines, and a run of
    blanks at the end is a part. A line, or text, that has other blanks goes to tiktoken as it is.
    """
    encode = make_plain_tiktoken(vocabulary)
    first, later = (_Words(before, encode).__getitem__ for before in ("", " "))
    newline = encode("\n")

    def encode_line(line: str) -> bytes:
        """A line that neither begins nor ends with a blank."""
        if not line:
            return b""
        if line[0].isspace() or line[-1].isspace():
            raise _BlankAtCutError
        if "  " in line:
            return encode(line)
        head, *words = line.split(" ")
        try:
            return first(head) + b"".join(map(later, words))
        except _BlankAtCutError:
            return encode(line)

    def encode_one(text: str) -> bytes:
        body = text.rstrip(" \n")
        if "\n\n\n" in body:  # the first two are one piece
            return encode(text)
        try:
            ids = newline.join(map(encode_line, body.split("\n")))
        except _BlankAtCutError:
            return encode(text)
        return ids if len(body) == len(text) else ids + encode(text[len(body) :])

    return lambda texts: list(map(encode_one, texts))


def make_reference_engine(vocabulary: Vocabulary) -> Engine:
    """Encodes with tokenizers, from the same merges; right for every vocabulary."""
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(BPE(vocab=numbers, merges=list(vocabulary.merges)))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    return lambda texts: [np.array(tokenizer.encode(text).ids, np.uint16).tobytes() for text in texts]


class _BlankAtCutError(Exception):
    """A blank stands where a text must not be cut."""


class _Words(dict[str, bytes]):
    """Ids of words, each with what stands before it: the blank that it was cut at, or nothing in the first of a line.

    On English prose this is 1.4 times as fast as tiktoken once most words are known, and 0.9 times before.
    """

    def __init__(self, before: str, encode: Callable[[str], bytes]) -> None:
        super().__init__()
        self._before = before
        self._encode = encode

    def __missing__(self, word: str) -> bytes:
        if not word or word[-1].isspace():
            raise _BlankAtCutError
        ids = self._encode(self._before + word)
        if len(word) <= _MAX_WORD_CHARS:
            if len(self) >= _MAX_WORDS:
                self.clear()
            self[word] = ids
        return ids


def make_plain_tiktoken(vocabulary: Vocabulary) -> Callable[[str], bytes]:
    """Encodes a text with tiktoken, as it is and remembering nothing."""
    tokens = rank_tokens(vocabulary)
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    bytes_of_rank = [np.uint16(numbers[token]).tobytes() for token in tokens]
    ranks = {unspell(token): rank for rank, token in enumerate(tokens)}
    encoding = tiktoken.Encoding("shardmill", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    encode_ordinary, lookup = encoding.encode_ordinary, bytes_of_rank.__getitem__

    def encode(text: str) -> bytes:
        if len(text) < LONG_RUN:
            return b"".join(map(lookup, encode_ordinary(text)))
        return b"".join(lookup(rank) for part in cut_long_runs(text) for rank in encode_ordinary(part))

    return encode


def replace_surrogates(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates become U+FFFD, pairs of them the character they stand for.

    >>> replace_surrogates("a\\ud800b") == "a\\ufffdb"
    True
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut_long_runs(text: str) -> list[str]:
    """The text in parts that have the ids of the whole, with very long runs of blanks in parts of their own.

    GPT-2's pattern takes a run as one piece, but leaves its last blank to the word that follows.
    """
    parts, start = [], 0
    for run in _BLANKS.finditer(text):
        end = run.end() if run.end() == len(text) else run.end() - 1
        parts += [text[start : run.start()], text[run.start() : end]]
        start = end
    return [*parts, text[start:]]
