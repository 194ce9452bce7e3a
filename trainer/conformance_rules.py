"""What a rule of the recipe is, and how it comes out.

In: a claim of the paper or of fairseq, and a check that runs our code. Out: an `Outcome`. The rule: a check measures
what training uses, never a copy of it; what cannot be measured here says why and where it is.
"""

from collections.abc import Callable
from typing import NamedTuple

from bpe.vocabulary import Vocabulary
from trainer.conformance_facts import Facts

PASS, DEVIATION, UNCHECKED, FAIL = "pass", "deviation", "not checked", "FAIL"
VERDICTS = (PASS, DEVIATION, UNCHECKED, FAIL)


class Outcome(NamedTuple):
    """How a rule comes out."""

    verdict: str  # one of VERDICTS
    detail: str  # what was measured; for a deviation its reason, for what is not checked why


class Inputs(NamedTuple):
    """What checks are made with."""

    facts: Facts  # outputs of fairseq's own code, where there are some
    vocabulary: Vocabulary | None
    fairseq_compat: bool  # whether to the letter, or as our defaults are


class Rule(NamedTuple):
    """One line of the report."""

    name: str  # short, and never used twice
    claim: str
    source: str  # section or table of the paper, or fairseq
    check: Callable[[Inputs], Outcome]


def judge(holds: bool, detail: str) -> Outcome:
    """Pass or fail."""
    return Outcome(PASS if holds else FAIL, detail)


def unchecked(reason: str) -> Outcome:
    """For what cannot be measured here."""
    return Outcome(UNCHECKED, reason)


def judge_deviation(inputs: Inputs, *, holds: bool, deviates: bool, reason: str, detail: str) -> Outcome:
    """For a rule that our defaults break on purpose: to the letter it must hold, else it must deviate as said."""
    if inputs.fairseq_compat:
        return judge(holds, detail)
    return Outcome(DEVIATION, reason) if deviates else Outcome(FAIL, f"{detail}; meant is: {reason}")


NO_FACTS = "give --facts PATH, outputs of fairseq's own code"
NO_VOCABULARY = "give --gpt2 FOLDER, or --vocabulary FILE"
