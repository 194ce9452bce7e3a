"""Reports, rule by rule, how this trainer follows the published recipe.

    python -m trainer.conformance --facts fairseq.json.gz --gpt2 gpt2-files
    python -m trainer.conformance --fairseq-compat

In: our code and, where they are at hand, outputs of fairseq's (trainer.conformance_facts) and a vocabulary. Out: a line
per rule: pass; deviation, with its reason; not checked, with how to; or FAIL. The rule: a deviation that is not meant,
or not as it is meant, is a failure.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.gpt2_files import import_gpt2
from bpe.vocabulary import Vocabulary, load_vocabulary
from trainer import (
    conformance_data,
    conformance_masking,
    conformance_model,
    conformance_recipes,
    conformance_text,
    conformance_updates,
)
from trainer.command_line import OneLineParser, parse_flags
from trainer.conformance_facts import Facts, FactsError, read_facts
from trainer.conformance_rules import FAIL, VERDICTS, Inputs, Outcome, Rule

SUBJECTS: dict[str, tuple[Rule, ...]] = {
    "Text to ids": conformance_text.RULES,
    "Input formats": conformance_data.RULES,
    "Masking": conformance_masking.RULES,
    "Model": conformance_model.RULES,
    "Loss and optimisation": conformance_updates.RULES,
    "Recipes": conformance_recipes.PRETRAINING,
    "Finetuning": conformance_recipes.FINETUNING,
}


class Line(NamedTuple):
    """A rule, and how it came out."""

    subject: str
    rule: Rule
    outcome: Outcome


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 no rule fails, 1 some rule does or a file is bad, 2 the command is wrong."""
    flags = parse_flags(make_parser(), argv)
    try:
        facts = read_facts(Path(flags.facts)) if flags.facts else Facts()
        inputs = Inputs(facts, find_vocabulary(flags), flags.fairseq_compat)
    except (ValueError, FactsError, ShardError, OSError) as error:
        if flags.debug:
            raise
        print(f"conformance: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    verdicts: Counter[str] = Counter()
    subject = ""
    for line in check_all(inputs):
        if line.subject != subject:
            subject = line.subject
            print(f"{subject}")
        print(show(line), flush=True)
        verdicts[line.outcome.verdict] += 1
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS)
    print(f"{verdicts.total()} rules {'to the letter' if inputs.fairseq_compat else 'by default'}: {counts}")
    return 1 if verdicts[FAIL] else 0


def make_parser() -> OneLineParser:
    """The flags."""
    assert __doc__ is not None
    parser = OneLineParser("conformance", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--facts", metavar="PATH", help="outputs of fairseq's own code, .json or .json.gz (default: none)"
    )
    vocabulary = parser.add_mutually_exclusive_group()
    vocabulary.add_argument("--vocabulary", metavar="FILE", help="vocab.json to check (default: none)")
    vocabulary.add_argument(
        "--gpt2", metavar="FOLDER", help="folder of GPT-2's encoder.json and vocab.bpe, and fairseq's dict.txt"
    )
    parser.add_argument(
        "--fairseq-compat",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="check that mode, in which nothing may deviate but the seeds of masks (default: check the defaults)",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def find_vocabulary(flags: argparse.Namespace) -> Vocabulary | None:
    """The vocabulary that flags name, if they do; ShardError where it is none."""
    if flags.gpt2:
        folder = Path(flags.gpt2)
        return import_gpt2(folder / "encoder.json", folder / "vocab.bpe", folder / "dict.txt")
    return load_vocabulary(flags.vocabulary) if flags.vocabulary else None


def check_all(inputs: Inputs) -> Iterator[Line]:
    """All lines, each as soon as it is measured."""
    for subject, rules in SUBJECTS.items():
        for rule in rules:
            yield Line(subject, rule, rule.check(inputs))


def show(line: Line) -> str:
    """A line of the report."""
    rule, outcome = line.rule, line.outcome
    return f"  {outcome.verdict:<12}{rule.claim} [{rule.source}]: {outcome.detail}"


if __name__ == "__main__":
    sys.exit(main())
