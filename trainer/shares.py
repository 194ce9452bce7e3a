"""A rank's share of a global batch made into masked blocks, any rows of it at a time.

In: the order, and runs of consecutive samples. Out: `MaskedBlocks` of the rows asked for, and their digest. The rule:
a row's tokens and mask do not depend on the rows beside it, and neither does what it adds to the digest.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from trainer.dealing import round_widths
from trainer.masking import MaskedBlocks, MaskingRules, draw_mask_words, mask_blocks
from trainer.packing import Indices, Pairs
from trainer.plan import Order, SampleRun
from trainer.randomness import Purpose, Words, draw_words

DIGEST_BITS = 48  # so that the digests of 2^15 ranks add up in an int64
DIGEST_MASK = (1 << DIGEST_BITS) - 1


class _DrawnRun(NamedTuple):
    """Consecutive samples of a window with the words of their masks."""

    run: SampleRun
    first: int  # row of the share where they begin
    words: Words
    start: Indices  # where each sample's words begin


class Share:
    """Consecutive samples of a batch."""

    def __init__(self, order: Order, runs: list[SampleRun], masking: MaskingRules) -> None:
        self._order = order
        self._masking = masking
        self._runs: list[_DrawnRun] = []
        lengths, by_corpus, first = [], [], 0
        self.n_documents = 0  # pieces of documents in all rows
        for run in runs:
            window = order.window(run.epoch, run.window)
            chosen = slice(run.first, run.first + run.n_samples)
            # Fixed samples keep their masks wherever an epoch puts their window.
            window_number = order.composed(run.epoch, run.window)[1] if masking.patterns else run.window
            words, start = draw_mask_words(
                window.mask_start[chosen],
                window.n_tokens[chosen],
                epoch=run.epoch,
                window=window_number,
                rules=masking,
            )
            self._runs.append(_DrawnRun(run, first, words, start))
            lengths.append(window.n_tokens[chosen])
            by_corpus.append(window.tokens_by_corpus[chosen].sum(axis=0))
            self.n_documents += int(window.n_documents[chosen].sum())
            first += run.n_samples
        self.lengths: Indices = np.concatenate(lengths)  # tokens of each row
        self.tokens_by_corpus: Indices = np.sum(by_corpus, axis=0)  # [corpora]

    def micro_batch(self, rows: Indices) -> tuple[MaskedBlocks, int]:
        """Some rows, masked, no wider than the longest needs, and what they add to the digest of the batch."""
        width = int(round_widths(self.lengths[rows], self._order.rules.block_tokens).max())
        parts, digest = [], 0
        for drawn in self._runs:
            here = rows[(rows >= drawn.first) & (rows < drawn.first + drawn.run.n_samples)] - drawn.first
            if not here.size:
                continue
            blocks = self._order.gather_rows(drawn.run, here, width=width)
            masked = mask_blocks(blocks, drawn.words, drawn.start[here], rules=self._masking)
            digest += digest_blocks(masked, drawn.run, here)
            parts.append(masked)
        return join_blocks(parts), digest & DIGEST_MASK


def mask_run(order: Order, run: SampleRun, masking: MaskingRules) -> MaskedBlocks:
    """Consecutive samples, gathered and masked."""
    return Share(order, [run], masking).micro_batch(np.arange(run.n_samples))[0]


def join_blocks(parts: list[MaskedBlocks]) -> MaskedBlocks:
    """Several of them as one: where a micro-batch runs across the border of a window."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0] + [part.input_ids.size for part in parts])
    pairs = [part.pairs for part in parts if part.pairs is not None]
    documents = [part.documents for part in parts if part.documents is not None]
    return MaskedBlocks(
        np.concatenate([part.input_ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.chosen + start for part, start in zip(parts, starts[:-1], strict=True)]),
        np.concatenate([part.n_tokens for part in parts]),
        Pairs(np.concatenate([p.second for p in pairs]), np.concatenate([p.follows for p in pairs])) if pairs else None,
        np.concatenate(documents) if documents else None,
    )


def digest_blocks(masked: MaskedBlocks, run: SampleRun, rows: Indices) -> int:
    """The sum of a hash of each sample's name, input and labels: the same however a batch is divided.

    The hash is linear in the tokens, with a random weight for each place, and mixed after it: made for telling batches
    apart, not against an adversary.
    """
    width = masked.input_ids.shape[1]
    weights = _weights(width)
    values = masked.input_ids.astype(np.uint64) | (masked.labels.astype(np.uint64) << np.uint64(16))
    values *= np.arange(width) < masked.n_tokens[:, None]
    hashed = (values * weights[4:]).sum(axis=1, dtype=np.uint64)
    names = [np.uint64(run.epoch), np.uint64(run.window), (run.first + rows).astype(np.uint64)]
    if masked.pairs is not None:
        names.append((masked.pairs.second * 2 + masked.pairs.follows).astype(np.uint64))
    with np.errstate(over="ignore"):  # sums are modulo 2^64
        for value, weight in zip(names, weights, strict=False):
            hashed = hashed + value * weight
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of SplitMix64
            hashed = (hashed ^ (hashed >> np.uint64(shift))) * np.uint64(factor)
    hashed ^= hashed >> np.uint64(31)
    return int((hashed & np.uint64(DIGEST_MASK)).sum(dtype=np.uint64)) & DIGEST_MASK


@lru_cache(maxsize=64)
def _weights(width: int) -> Words:
    """Four odd weights for a sample's name, and one for each place."""
    return draw_words(4 + width, seed=0, purpose=Purpose.DIGEST) | np.uint64(1)
