"""Dynamic masking (sections 2.1 and 4.1): which tokens of a block are to be predicted, and what stands there.

In: packed blocks and the names of their samples. Out: a `MaskedBlocks`. The rule: a pattern is a function of
(seed, epoch, sample) and of nothing else, so it is the same on every rank, in every micro-batch, after every resume.

The count is exact, floor(0.15 n + u) of a block's n tokens with u uniform in [0, 1); the tokens are chosen
without replacement: each position gets a random key, and the smallest keys win.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.packing import N_SPECIAL, Blocks, Ids, Indices, Pairs
from trainer.randomness import WORDS_PER_COUNT, Purpose, Words, draw_words

IGNORE = 65_535  # label of a token that is not predicted; no vocabulary is that large
_UNIT = 2.0**-53


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskingRules:
    """How to mask; the defaults are the paper's."""

    vocabulary_size: int  # <mask> is its last id
    seed: int = 0
    fraction: float = 0.15  # of a block's tokens, `<s>` and `</s>` counted
    kept: float = 0.1  # of the chosen: stay as they are
    randomised: float = 0.1  # of the chosen: become a random id; the rest becomes <mask>
    fairseq_compat: bool = False  # fairseq may choose <s> and </s>, and draws random ids from 4..<mask>

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


def mask_blocks(blocks: Blocks, *, epoch: int, window: int, first_sample: int, rules: MaskingRules) -> MaskedBlocks:
    """Mask the consecutive samples `first_sample`, `first_sample` + 1, ... of a window."""
    n_blocks, width = blocks.ids.shape
    words = _draw(n_blocks, width, epoch=epoch, window=window, first_sample=first_sample, rules=rules)
    keys, luck, decisions = np.split(words, [_n_keys(width), _n_keys(width) + 1], axis=1)
    order = _order_positions(keys, blocks, fairseq_compat=rules.fairseq_compat)
    order = order[:, : _most_chosen(width, rules.fraction)]
    eligible = np.count_nonzero(order != _NEVER, axis=1)
    wanted = np.floor(rules.fraction * blocks.n_tokens + (luck[:, 0] >> np.uint64(11)) * _UNIT).astype(np.int64)
    counts = np.minimum(wanted, eligible)
    winners = np.arange(order.shape[1]) < counts[:, None]
    column = (order & np.uint32(_column_mask(width)))[winners]
    chosen = np.repeat(np.arange(n_blocks) * width, counts) + column
    return _replace(blocks, chosen, decisions[:, : order.shape[1]][winners], rules)


_NEVER = np.uint32(0xFFFF_FFFF)  # key of a position that may not be chosen


def _draw(n_blocks: int, width: int, *, epoch: int, window: int, first_sample: int, rules: MaskingRules) -> Words:
    """The words of consecutive samples, one row each: keys of the positions, one for the count, one per choice."""
    n_words = _n_keys(width) + 1 + _most_chosen(width, rules.fraction)
    n_words += -n_words % WORDS_PER_COUNT
    words = draw_words(
        n_blocks * n_words,
        seed=rules.seed,
        purpose=Purpose.MASKS,
        epoch=epoch,
        window=window,
        start=first_sample * n_words,
    )
    return words.reshape(n_blocks, n_words)


def _n_keys(width: int) -> int:
    """Words that hold a key of 32 bits for each position."""
    return -(-width // 2)


def _most_chosen(width: int, fraction: float) -> int:
    return int(fraction * width) + 1


def _column_mask(width: int) -> int:
    """Bits that hold a position: the low ones of its key."""
    return (1 << (width - 1).bit_length()) - 1


def _order_positions(keys: Words, blocks: Blocks, *, fairseq_compat: bool) -> npt.NDArray[np.uint32]:
    """Keys in ascending order, the position in their low bits: sorting numbers is ten times faster than argsort."""
    width = blocks.ids.shape[1]
    column = np.arange(width, dtype=np.uint32)
    # Little-endian halves of the words, so that a big-endian machine draws the same keys.
    halves = keys.astype("<u8", copy=False).view("<u4")[:, :width]
    numbers = halves & np.uint32(0x7FFF_FFFF & ~_column_mask(width))  # below _NEVER
    numbers |= column
    if fairseq_compat:
        numbers[column >= blocks.n_tokens[:, None]] = _NEVER
    else:
        numbers[blocks.ids < N_SPECIAL] = _NEVER
    numbers.sort(axis=1)
    return numbers


def _replace(blocks: Blocks, chosen: Indices, decisions: Words, rules: MaskingRules) -> MaskedBlocks:
    """Put <mask>, the token itself or a random id at the chosen places."""
    targets = blocks.ids.reshape(-1)[chosen]
    labels = np.full(blocks.ids.shape, IGNORE, dtype=np.uint16)
    labels.reshape(-1)[chosen] = targets
    # One draw compared twice keeps 80/10/10 exact; its other half picks the random id.
    draw = (decisions >> np.uint64(32)).astype(np.float64) * 2.0**-32
    random_ids = N_SPECIAL + (((decisions & np.uint64(0xFFFF_FFFF)) * np.uint64(rules.n_random_ids)) >> np.uint64(32))
    replacement = np.full(chosen.size, rules.mask_id, dtype=np.uint16)
    is_random = draw < rules.randomised
    replacement[is_random] = random_ids[is_random]
    is_kept = ~is_random & (draw < rules.randomised + rules.kept)
    replacement[is_kept] = targets[is_kept]
    input_ids = blocks.ids.copy()
    input_ids.reshape(-1)[chosen] = replacement
    return MaskedBlocks(input_ids, labels, chosen, blocks.n_tokens)
