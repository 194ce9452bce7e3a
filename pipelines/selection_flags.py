"""The flags that say which of the documents fit to keep are kept, and what they mean."""

import argparse
from dataclasses import replace

from corpora.near_duplicates import parse_rules
from pipelines.decontaminate_stage import plan_decontamination
from pipelines.near_state import fingerprints
from pipelines.options import absolute
from pipelines.settings import DeduplicationRules, Execution, SelectionRules

OFF = "off"


def add_selection_flags(parser: argparse.ArgumentParser, *, near_duplicates: str = OFF) -> None:
    """--near-duplicates, --against, --decontaminate and what belongs to them."""
    group = parser.add_argument_group("selection")
    group.add_argument("--no-deduplicate", action="store_true", help="keep exact duplicates, and near ones")
    group.add_argument(
        "--near-duplicates", default=near_duplicates, metavar="THRESHOLD:RECALL",
        help="drop documents whose Jaccard similarity on word 5-grams to a kept one is above THRESHOLD, finding at"
             " least the share RECALL of the pairs that are just above it; each pair is verified. off: keep them",
    )  # fmt: skip
    group.add_argument(
        "--expected-documents", type=int, default=10**8, metavar="N",
        help="documents that this corpus will ever hold, earlier and later runs included: decides how near-duplicates"
             " are looked for, so runs that are deduplicated against each other must agree on it",
    )  # fmt: skip
    group.add_argument("--against", nargs="+", action="extend", default=[], metavar="RUN",
                       help="folders of earlier runs: their documents are not taken again; oldest first")  # fmt: skip
    group.add_argument(
        "--decontaminate", default="", metavar="DIR:MODE",
        help="look for passages of the evaluation sets in DIR (GLUE, SQuAD, RACE, WSC as published) and mark the"
             " documents, cut the passages, or drop the documents",
    )  # fmt: skip


def read_selection(
    flags: argparse.Namespace, execution: Execution, *, keep: float | None = None, prefix_chars: int = 0
) -> tuple[SelectionRules, Execution]:
    """Rules from the flags, and the execution with what they need; `keep` and `prefix_chars` are the corpus's own."""
    deduplication = DeduplicationRules(by_prefix_chars=prefix_chars)
    if flags.no_deduplicate:
        deduplication = DeduplicationRules(by_url=False, by_text=False)
    plan = plan_decontamination(flags.decontaminate)
    near = OFF if flags.no_deduplicate else flags.near_duplicates
    rules = SelectionRules(
        keep=keep,
        deduplication=deduplication,
        near_duplicates=None if near == OFF else parse_rules(near, expected_documents=flags.expected_documents),
        decontamination=plan.settings() if plan is not None else None,
    )
    earlier = [absolute(folder) for folder in flags.against]
    rules = replace(rules, against=fingerprints(earlier, rules))
    return rules, replace(execution, decontamination=plan, against=tuple(earlier))
