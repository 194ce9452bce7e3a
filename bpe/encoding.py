"""Text to ids and back.

In: a document as a list of sentences. Out: its ids, uint16 without any special token, and how many of
them each sentence has. The rule: what a text says is text. `<mask>` or `</s>` in a document is encoded
letter by letter; no special id ever comes out of here.

Two modes. `fairseq`, as the authors did it: every sentence is stripped and encoded on its own, empty
ones are dropped. `lossless`: the sentences are pieces of a text, which is encoded as a whole, so that
decoding gives exactly that text; a token belongs to the sentence that its last byte belongs to.

A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD in both (a high one and a low one in a row
become the character that they stand for).
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.engines import Engine, make_fast_engine, make_reference_engine, replace_surrogates
from bpe.entries import ENCODINGS
from bpe.ranks import find_ambiguity
from bpe.tokenized import MAX_SENTENCE_TOKENS
from bpe.vocabulary import MASK_TOKEN, SPECIAL_TOKENS, Vocabulary, unspell

Ids = npt.NDArray[np.uint16]


class Encoded(NamedTuple):
    """A document's ids, and how many of them each sentence has."""

    ids: Ids  # uint16 [n_tokens]
    sentence_lengths: npt.NDArray[np.uint16]  # [n_sentences], each >= 1; a longer sentence has several entries


class Encoder:
    """Encodes documents with one vocabulary in one mode.

    `slow_because` says why this vocabulary cannot go through tiktoken; "" for nearly all of them.
    """

    def __init__(self, vocabulary: Vocabulary, mode: str = "fairseq") -> None:
        if mode not in ENCODINGS:
            raise ValueError(f"the encoding is {mode!r}; it is one of {', '.join(ENCODINGS)}")
        self.vocabulary = vocabulary
        self.mode = mode
        token = find_ambiguity(vocabulary)
        self.slow_because = f"two pairs of tokens make {token!r}, which tiktoken cannot tell apart" if token else ""
        self._bytes = _list_bytes(vocabulary)
        self._n_bytes = np.array([len(data) for data in self._bytes], np.int64)
        self._engine = self._reference_engine if token else make_fast_engine(vocabulary)

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Ids of a document and the lengths of its sentences."""
        return self._encode(sentences, self._engine)

    def encode_with_tokenizers(self, sentences: Sequence[str]) -> Encoded:
        """The slow twin of `encode`, with the same outcome."""
        return self._encode(sentences, self._reference_engine)

    def decode(self, ids: Iterable[int] | Ids) -> str:
        """The text of ids; special ids as their names, bytes that are not UTF-8 as U+FFFD."""
        numbers = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.vocabulary.size:
            raise ValueError(f"ids from {numbers.min()} to {numbers.max()}, the vocabulary has {self.vocabulary.size}")
        return b"".join([self._bytes[number] for number in numbers.tolist()]).decode("utf-8", "replace")

    @cached_property
    def _reference_engine(self) -> Engine:
        return make_reference_engine(self.vocabulary)

    def _encode(self, sentences: Sequence[str], engine: Engine) -> Encoded:
        sentences = list(map(replace_surrogates, sentences))
        if self.mode == "lossless":
            return self._encode_whole(sentences, engine)
        parts = engine([stripped for stripped in map(str.strip, sentences) if stripped])
        lengths = np.array([len(part) for part in parts], np.int64) // 2
        return Encoded(np.frombuffer(b"".join(parts), np.uint16), _as_uint16(lengths))

    def _encode_whole(self, pieces: list[str], engine: Engine) -> Encoded:
        """A text at once; its ids are given to the pieces by where each ends, in bytes."""
        ids = np.frombuffer(engine(["".join(pieces)])[0], np.uint16)
        ends = np.cumsum([len(piece) if piece.isascii() else len(piece.encode()) for piece in pieces], dtype=np.int64)
        n_before = np.searchsorted(np.cumsum(self._n_bytes[ids]), ends, side="right")
        return Encoded(ids, _as_uint16(np.diff(n_before, prepend=0)))


def _as_uint16(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """Lengths of sentences without the empty ones; one that is too long for uint16 becomes several."""
    lengths = lengths[lengths > 0]
    if lengths.size and lengths.max() > MAX_SENTENCE_TOKENS:
        n_entries = -(-lengths // MAX_SENTENCE_TOKENS)
        entries = np.full(n_entries.sum(), MAX_SENTENCE_TOKENS, np.int64)
        entries[np.cumsum(n_entries) - 1] = lengths - (n_entries - 1) * MAX_SENTENCE_TOKENS
        lengths = entries
    return lengths.astype(np.uint16)


def _list_bytes(vocabulary: Vocabulary) -> list[bytes]:
    """What each id stands for; special tokens for their names."""
    special = {*SPECIAL_TOKENS, MASK_TOKEN}
    return [token.encode() if token in special else unspell(token) for token in vocabulary.tokens]
