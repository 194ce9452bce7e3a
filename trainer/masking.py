"""Masking (sections 2.1 and 4.1): which tokens of a block are to be predicted, and what stands there.

In: packed blocks and the random words of their samples. Out: a `MaskedBlocks`. The rule: a pattern is a function of
(seed, epoch, sample) and of nothing else, so it is the same on every rank, in every micro-batch, after every resume.
With static masks the epoch counts modulo the number of patterns (the paper's 10).

The count is exact, floor(0.15 n + u) of a block's n tokens with u uniform in [0, 1); the tokens are chosen
without replacement: each position gets a random key, and the smallest keys win. A sample has one word for u and one
for each of its tokens, whose upper half is the key and whose lower half decides what stands there.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.packing import N_SPECIAL, Blocks, Ids, Indices, Pairs
from trainer.randomness import WORDS_PER_COUNT, Purpose, Words, draw_words

IGNORE = 65_535  # label of a token that is not predicted; no vocabulary is that large
_UNIT = 2.0**-53
_HALF = 2.0**32
_NEVER = np.uint32(0xFFFF_FFFF)  # key of a position that may not be chosen


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskingRules:
    """How to mask; the defaults are the paper's."""

    vocabulary_size: int  # <mask> is its last id
    seed: int = 0
    fraction: float = 0.15  # of a block's tokens, `<s>` and `</s>` counted
    kept: float = 0.1  # of the chosen: stay as they are
    randomised: float = 0.1  # of the chosen: become a random id; the rest becomes <mask>
    patterns: int = 0  # fixed masks of a sequence, in turn by epoch (static); 0 draws anew each epoch (dynamic)
    fairseq_compat: bool = False  # fairseq may choose <s> and </s>, and draws random ids from 4..<mask>
    # bool [vocabulary], whether an id begins a word: whole words are chosen, floor(0.15 w + u) of a block's w words
    word_starts: npt.NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ValueError(f"mask_fraction is {self.fraction}; it is a share of the tokens, between 0 and 1")
        if min(self.kept, self.randomised) < 0 or self.kept + self.randomised > 1:
            raise ValueError(f"mask_kept {self.kept} and mask_randomised {self.randomised} are shares of one whole")
        if not N_SPECIAL + 2 <= self.vocabulary_size <= IGNORE:
            raise ValueError(f"a vocabulary of {self.vocabulary_size} ids; {N_SPECIAL + 2} to {IGNORE} can be masked")

    @property
    def mask_id(self) -> int:
        return self.vocabulary_size - 1

    @property
    def n_random_ids(self) -> int:
        """Random ids are 4, 5, ...: ordinary ones, or in fairseq everything after the special ones."""
        return self.vocabulary_size - N_SPECIAL - (0 if self.fairseq_compat else 1)


class MaskedBlocks(NamedTuple):
    """One input of the model, B blocks of T tokens; N tokens of them are to be predicted."""

    input_ids: Ids  # [B, T], after masking
    labels: Ids  # [B, T], IGNORE where the token is not predicted
    chosen: Indices  # [N], places of the tokens to predict in the flattened block, row by row
    n_tokens: Indices  # [B], the rest of a row is padding
    pairs: Pairs | None = None  # of pair formats
    documents: Ids | None = None  # [B, T], ordinal of the token's document in its block; for document attention


def draw_mask_words(
    start: Indices, n_tokens: Indices, *, epoch: int, window: int, rules: MaskingRules
) -> tuple[Words, Indices]:
    """The words of some samples of a window, and where among them each sample's begin.

    `start` is where a sample's words begin in the window's endless stream. Samples that follow each other there, as
    they do unless masks are static, are drawn at once.
    """
    epoch = epoch % rules.patterns if rules.patterns else epoch
    ends = start + n_tokens + 1
    if np.array_equal(start[1:], ends[:-1]):
        words = _draw(int(start[0]), int(ends[-1]), epoch=epoch, window=window, seed=rules.seed)
        return words, start - start[0]
    drawn = [
        _draw(low, high, epoch=epoch, window=window, seed=rules.seed)
        for low, high in zip(start.tolist(), ends.tolist(), strict=True)
    ]
    return np.concatenate(drawn), np.cumsum(n_tokens + 1) - (n_tokens + 1)


def _draw(low: int, high: int, *, epoch: int, window: int, seed: int) -> Words:
    """Words [low, high) of a window's stream."""
    start = low - low % WORDS_PER_COUNT
    words = draw_words(high - start, seed=seed, purpose=Purpose.MASKS, epoch=epoch, window=window, start=start)
    return words[low - start :]


def mask_blocks(blocks: Blocks, words: Words, start: Indices, *, rules: MaskingRules) -> MaskedBlocks:
    """Mask B blocks, the words of each beginning at `start` [B]."""
    width = blocks.ids.shape[1]
    column = np.arange(width)
    places = np.minimum(start[:, None] + 1 + column, words.size - 1)
    of_token = words[places]
    may_choose = column < blocks.n_tokens[:, None] if rules.fairseq_compat else blocks.ids >= N_SPECIAL
    luck: npt.NDArray[np.float64] = (words[start] >> np.uint64(11)).astype(np.float64) * _UNIT
    if rules.word_starts is not None:
        chosen, deciding = _choose_words(blocks, of_token, may_choose, luck, rules)
    else:
        wanted = np.floor(rules.fraction * blocks.n_tokens + luck).astype(np.int64)
        chosen = deciding = _choose(of_token, may_choose, wanted, most=int(rules.fraction * width) + 1)
    return _replace(blocks, chosen, of_token.reshape(-1)[deciding], rules)


def _choose(of_token: Words, may_choose: npt.NDArray[np.bool_], wanted: Indices, *, most: int) -> Indices:
    """Flat places of the `wanted` [B] smallest keys of each row, or of all where fewer may be chosen."""
    n_rows, width = of_token.shape
    column = np.arange(width, dtype=np.uint32)
    bits = (1 << (width - 1).bit_length()) - 1
    # Keys hold their column in the low bits: sorting numbers is ten times faster than argsort.
    keys = (of_token >> np.uint64(32)).astype(np.uint32)
    keys &= np.uint32(0x7FFF_FFFF & ~bits)  # below _NEVER
    keys |= column
    keys[~may_choose] = _NEVER
    keys.sort(axis=1)
    keys = keys[:, :most]
    counts = np.minimum(wanted, np.count_nonzero(keys != _NEVER, axis=1))
    winners = np.arange(keys.shape[1]) < counts[:, None]
    chosen: Indices = np.repeat(np.arange(n_rows) * width, counts) + (keys & np.uint32(bits))[winners]
    return chosen


def _choose_words(
    blocks: Blocks,
    of_token: Words,
    may_choose: npt.NDArray[np.bool_],
    luck: npt.NDArray[np.float64],
    rules: MaskingRules,
) -> tuple[Indices, Indices]:
    """Flat places of the tokens of whole words, and for each the place of the word's first token, which decides."""
    assert rules.word_starts is not None
    ids = blocks.ids
    ordinary = ids >= N_SPECIAL
    first = rules.word_starts[ids] & ordinary
    first[:, 1:] |= ordinary[:, 1:] & ~ordinary[:, :-1]  # the first word of a sentence has no leading space
    first &= may_choose
    wanted = np.floor(rules.fraction * np.count_nonzero(first, axis=1) + luck).astype(np.int64)
    n_rows, width = ids.shape
    flags = np.zeros(n_rows * width, dtype=np.bool_)
    flags[_choose(of_token, first, wanted, most=width)] = True
    places = np.arange(n_rows * width).reshape(n_rows, width)
    word = np.maximum.accumulate(np.where(first, places, 0), axis=1)
    taken = flags[word] & ordinary
    return np.flatnonzero(taken), word[taken]


def _replace(blocks: Blocks, chosen: Indices, words: Words, rules: MaskingRules) -> MaskedBlocks:
    """Put <mask>, the token itself or a random id at the chosen places."""
    targets = blocks.ids.reshape(-1)[chosen]
    labels = np.full(blocks.ids.shape, IGNORE, dtype=np.uint16)
    labels.reshape(-1)[chosen] = targets
    # One draw compared twice keeps 80/10/10 exact; where it asks for a random id, how far it is picks the id.
    draw = (words & np.uint64(0xFFFF_FFFF)).astype(np.float64)
    until_random = rules.randomised * _HALF
    is_random = draw < until_random
    replacement = np.full(chosen.size, rules.mask_id, dtype=np.uint16)
    if until_random:
        number = np.floor(draw[is_random] * (rules.n_random_ids / until_random)).astype(np.uint16)
        replacement[is_random] = N_SPECIAL + np.minimum(number, rules.n_random_ids - 1)
    is_kept = ~is_random & (draw < (rules.randomised + rules.kept) * _HALF)
    replacement[is_kept] = targets[is_kept]
    input_ids = blocks.ids.copy()
    input_ids.reshape(-1)[chosen] = replacement
    return MaskedBlocks(input_ids, labels, chosen, blocks.n_tokens, blocks.pairs, blocks.documents)
