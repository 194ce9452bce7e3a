"""Rules of masking: how many tokens, which, and what stands in their place (sections 2.1 and 4.1, Table 1)."""

import dataclasses
from functools import cache
from typing import NamedTuple

import numpy as np

from trainer.conformance_batches import VOCABULARY_SIZE, Read, draw_documents, read_batches, unmask
from trainer.conformance_rules import Inputs, Outcome, Rule, judge, judge_deviation, unchecked
from trainer.masking import IGNORE
from trainer.packing import N_SPECIAL, PAD, Ids, Indices
from trainer.settings import Settings, make_settings

_SIGMAS = 5.0  # a check of chance fails once in two million times, and always or never for the same code
_SEQUENCES = 512
_FEW = {"block_tokens": 64, "batch_sequences": 8, "updates": 10, "warmup_updates": 1}


class Masked(NamedTuple):
    """A batch, before and after."""

    before: Ids  # [B, T]
    after: Ids  # [B, T]
    chosen: Ids  # bool [B, T]
    n_tokens: Indices  # [B]


@cache
def _mask_many(fairseq_compat: bool) -> Masked:
    return mask_batch(Settings(fairseq_compat=fairseq_compat))


def mask_batch(settings: Settings) -> Masked:
    """A batch of 512 sequences of up to 512 tokens, a quarter of a million tokens in all, masked as settings say."""
    settings = dataclasses.replace(settings, batch_sequences=_SEQUENCES, micro_batch=_SEQUENCES)
    return _stack(read_batches(draw_documents(400, sentences=40, tokens=17), settings))


def _stack(read: Read) -> Masked:
    parts = [masked for batch in read.batches for masked in batch.micro_batches]
    return Masked(
        np.concatenate([unmask(part) for part in parts]),
        np.concatenate([part.input_ids for part in parts]),
        np.concatenate([part.labels != IGNORE for part in parts]),
        np.concatenate([part.n_tokens for part in parts]),
    )


def _check_count(inputs: Inputs) -> Outcome:
    return judge_count(_mask_many(inputs.fairseq_compat))


def judge_count(masked: Masked) -> Outcome:
    """Whether 15 % of each sequence are chosen, rounded up or down, and 15 % of all."""
    counts, exact = masked.chosen.sum(axis=1), 0.15 * masked.n_tokens
    rounded = (counts == np.floor(exact)) | (counts == np.ceil(exact))
    luck = exact - np.floor(exact)
    error = (counts - exact).sum() / np.sqrt((luck * (1 - luck)).sum())
    detail = f"{counts.min()} to {counts.max()} of {np.median(masked.n_tokens):.0f}, {counts.sum() / exact.sum():.4f}"
    return judge(bool(rounded.all()) and abs(error) < _SIGMAS, f"{detail} of 15 %")


def _check_shares(inputs: Inputs) -> Outcome:
    masked = _mask_many(inputs.fairseq_compat)
    before, after = masked.before[masked.chosen], masked.after[masked.chosen]
    is_mask, is_same = (after == VOCABULARY_SIZE - 1) & (before != after), before == after
    shares = np.array([is_mask.mean(), is_same.mean(), (~is_mask & ~is_same).mean()])
    expected = np.array([0.8, 0.1, 0.1])
    limits = _SIGMAS * np.sqrt(expected * (1 - expected) / before.size)
    detail = f"{', '.join(f'{share:.2%}' for share in shares)} of {before.size:,}"
    return judge(bool((abs(shares - expected) < limits).all()), detail)


def _check_untouched(inputs: Inputs) -> Outcome:
    masked = _mask_many(inputs.fairseq_compat)
    changed = (masked.before != masked.after) & ~masked.chosen
    padding = (masked.before == PAD) & masked.chosen
    return judge(not changed.any() and not padding.any(), f"{changed.sum()} changed, {padding.sum()} padding chosen")


def _check_specials(inputs: Inputs) -> Outcome:
    masked = _mask_many(inputs.fairseq_compat)
    special = (masked.before < N_SPECIAL) & (masked.before != PAD)
    rate = masked.chosen[special].mean()
    return judge_deviation(
        inputs,
        holds=abs(rate - 0.15) < _SIGMAS * np.sqrt(0.15 * 0.85 / special.sum()),
        deviates=rate == 0,
        reason="specials are never chosen: predicting them teaches no words, and <s> is what finetuning reads",
        detail=f"{rate:.2%} of {special.sum():,} specials are chosen",
    )


def _check_random_ids(inputs: Inputs) -> Outcome:
    masked = _mask_many(inputs.fairseq_compat)
    settings = dataclasses.replace(Settings(), fairseq_compat=inputs.fairseq_compat)
    last = VOCABULARY_SIZE - (1 if settings.fairseq_compat else 2)
    replaced = masked.after[masked.chosen & (masked.before != masked.after)]
    drawn = replaced[replaced != VOCABULARY_SIZE - 1].astype(np.float64)
    middle, spread = (N_SPECIAL + last) / 2, (last - N_SPECIAL) / np.sqrt(12 * drawn.size)
    uniform = drawn.min() >= N_SPECIAL and abs(drawn.mean() - middle) < _SIGMAS * spread
    return judge_deviation(
        inputs,
        holds=bool(uniform),
        deviates=bool(uniform),
        reason="drawn from ordinary ids 4..50263: a random <mask> is no random word",
        detail=f"{drawn.size:,} ids from {drawn.min():.0f} to {drawn.max():.0f}, mean {drawn.mean():.0f}",
    )


def _check_dynamic(inputs: Inputs) -> Outcome:
    settings = make_settings(
        {**_FEW, "micro_batch": 8, "fairseq_compat": inputs.fairseq_compat}, where="dynamic masking"
    )
    shared = [_overlap(patterns) for patterns in _patterns_by_text(settings, n_batches=8).values() if len(patterns) > 1]
    # Two draws of 15 % have 15 % of the chosen in common.
    mean = float(np.mean(shared)) if shared else 1.0
    return judge(bool(shared) and mean < 0.5, f"two patterns of a sequence share {mean:.0%} of their tokens")


def _check_static(inputs: Inputs) -> Outcome:
    if "mask_patterns" not in {field.name for field in dataclasses.fields(Settings)}:
        return unchecked("this version has no static masks")
    settings = make_settings(
        {**_FEW, "micro_batch": 8, "mask_patterns": 10, "fairseq_compat": inputs.fairseq_compat}, where="static masks"
    )
    patterns = _patterns_by_text(settings, n_batches=60)
    most = max(len(set(each)) for each in patterns.values())
    fewest = min(len(each) for each in patterns.values())
    return judge(fewest > 10 and most == 10, f"{most} patterns of a sequence that was read at least {fewest} times")


def _check_independence(inputs: Inputs) -> Outcome:
    documents = draw_documents(20, sentences=10, tokens=13)
    plain: dict[str, object] = {**_FEW, "fairseq_compat": inputs.fairseq_compat}
    whole = read_batches(documents, make_settings({**plain, "micro_batch": 8}, where="one rank"))
    quarters = make_settings({**plain, "micro_batch": 2}, where="two ranks")
    halves = [read_batches(documents, quarters, rank=rank, n_ranks=2) for rank in (0, 1)]
    expected, found = _rows_after(whole), [row for half in halves for row in _rows_after(half)]
    return judge(sorted(expected) == sorted(found), "one rank and two, micro-batches of 8 and of 2: the same sequences")


def _check_seeds(_: Inputs) -> Outcome:
    return Outcome(
        "deviation",
        "keyed by (seed, epoch, sample) in Philox: fairseq's seed goes through a float modulo that leaves about 58,000 "
        "seeds for 3 million samples; with --fairseq-compat too",
    )


def _patterns_by_text(settings: Settings, *, n_batches: int) -> dict[bytes, list[bytes]]:
    """The masks of each sequence, in the order in which it was read: one document, so that epochs repeat sequences."""
    masked = _stack(read_batches(draw_documents(1, sentences=24, tokens=20), settings, n_batches=n_batches))
    found: dict[bytes, list[bytes]] = {}
    for text, chosen in zip(masked.before, masked.chosen, strict=True):
        found.setdefault(text.tobytes(), []).append(chosen.tobytes())
    return found


def _overlap(patterns: list[bytes]) -> float:
    """The share of the first pattern's tokens that the second one has too."""
    first, second = (np.frombuffer(pattern, dtype=np.bool_) for pattern in patterns[:2])
    return float((first & second).sum() / first.sum())


def _rows_after(read: Read) -> list[bytes]:
    masked = _stack(read)
    return [row.tobytes() + chosen.tobytes() for row, chosen in zip(masked.after, masked.chosen, strict=True)]


RULES = (
    Rule(
        "mask-count", "floor(0.15 n + u) of a sequence's n tokens are predicted", "section 2.1, fairseq", _check_count
    ),
    Rule(
        "mask-shares", "of these 80 % become <mask>, 10 % stay, 10 % become a random id", "section 2.1", _check_shares
    ),
    Rule("mask-rest", "all other tokens stay, and padding is never chosen", "section 2.1", _check_untouched),
    Rule("mask-specials", "<s> and </s> may be chosen", "fairseq", _check_specials),
    Rule(
        "mask-random-ids",
        "random ids are uniform over 4..50264, <mask> and fillers included",
        "fairseq",
        _check_random_ids,
    ),
    Rule("mask-dynamic", "a sequence is masked anew each time it is seen", "section 4.1", _check_dynamic),
    Rule("mask-static", "static masks: ten patterns of a sequence, in turn", "section 4.1, Table 1", _check_static),
    Rule("mask-independence", "masks do not depend on ranks or micro-batches", "section 4.1", _check_independence),
    Rule("mask-seeds", "masks are drawn from the seed that fairseq derives", "fairseq", _check_seeds),
)
