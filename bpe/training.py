"""Trains a vocabulary: texts in, byte-level BPE merges out, with RoBERTa's special ids around them.

The rule: the same texts and settings give the same vocabulary, in whatever order the texts come and
on however many threads they are counted. All 256 bytes are in it, and it has exactly the size asked
for: where the texts are too small to yield that many merges, filler that stands for nothing follows.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from bpe.engines import replace_surrogates
from bpe.strict_json import parse_json
from bpe.vocabulary import (
    BYTE_LETTERS,
    DEFAULT_SIZE,
    MASK_TOKEN,
    MAX_SIZE,
    SPECIAL_TOKENS,
    Vocabulary,
    add_special_tokens,
    make_vocabulary,
)

MIN_SIZE = len(SPECIAL_TOKENS) + len(BYTE_LETTERS) + len([MASK_TOKEN])
_TEXTS_PER_BATCH = 1_000


class Trained(NamedTuple):
    """A new vocabulary, and how much of it the texts gave."""

    vocabulary: Vocabulary
    n_texts: int
    n_text_bytes: int  # UTF-8
    n_merges: int
    n_filler: int  # ids that stand for nothing because the texts gave no more merges


def train_vocabulary(
    texts: Iterable[str], *, size: int = DEFAULT_SIZE, min_frequency: int = 2, show_progress: bool = False
) -> Trained:
    """Trains on texts, each cut into words on its own: pass stripped sentences, as the encoder sees them.

    `min_frequency` is how often a pair must occur to be merged. Raises ValueError before reading a text
    where the settings are wrong, and after reading them where there is no text at all.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}; a vocabulary has {MIN_SIZE} (bytes and specials) to {MAX_SIZE} (uint16) ids")
    if min_frequency < 1:
        raise ValueError(f"min_frequency is {min_frequency}; it counts occurrences of a pair, at least 1")
    counter = _Counter(texts)
    n_ordinary = size - len(SPECIAL_TOKENS) - 1
    tokens, merges = _train(counter, n_ordinary, min_frequency=min_frequency, show_progress=show_progress)
    if not counter.n_bytes:
        raise ValueError("no text to train on: every document is empty")
    n_filler = n_ordinary - len(tokens)
    vocabulary = make_vocabulary(add_special_tokens(tokens, n_filler=n_filler), merges)
    assert vocabulary.size == size
    return Trained(vocabulary, counter.n_texts, counter.n_bytes, len(merges), n_filler)


class _Counter:
    """Hands texts on in batches, as UTF-8 can hold them, and counts them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.n_texts = self.n_bytes = 0
        self._texts = texts

    def __iter__(self) -> Iterator[list[str]]:
        batch: list[str] = []
        for text in self._texts:
            batch.append(replace_surrogates(text))
            self.n_texts += 1
            self.n_bytes += len(batch[-1].encode())
            if len(batch) == _TEXTS_PER_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def _train(
    batches: Iterable[list[str]], n_tokens: int, *, min_frequency: int, show_progress: bool
) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Tokens by id and merges by rank. Special tokens stay out of it: in a text they are text."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = BpeTrainer(
        vocab_size=n_tokens,
        min_frequency=min_frequency,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=show_progress,
    )
    tokenizer.train_from_iterator(iter(batches), trainer)
    numbers = tokenizer.get_vocab(with_added_tokens=False)
    # Only the file that tokenizers writes tells the merges.
    model = parse_json(tokenizer.to_str().encode(), "tokenizers").value
    assert isinstance(model, dict)
    merges = tuple((left, right) for left, right in model["model"]["merges"])
    return sorted(numbers, key=numbers.__getitem__), merges
