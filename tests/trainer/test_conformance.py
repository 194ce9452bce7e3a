"""No rule of the recipe fails, by default and to the letter; and a rule that is broken is found and told."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpe.gpt2_files import import_gpt2
from bpe.vocabulary import BYTE_LETTERS, Vocabulary, add_special_tokens, dump_vocabulary, make_vocabulary
from trainer.conformance import SUBJECTS, main
from trainer.conformance_facts import Facts, FactsError, read_facts
from trainer.conformance_masking import judge_count, mask_batch
from trainer.conformance_rules import DEVIATION, FAIL, PASS, UNCHECKED, VERDICTS, Inputs, Outcome, Rule, judge_deviation
from trainer.settings import Settings

RULES = {rule.name: rule for rules in SUBJECTS.values() for rule in rules}
BYTES = make_vocabulary(add_special_tokens([*BYTE_LETTERS], n_filler=0), ())
NEED_FACTS = {"texts", "rates", "adam"}
NEED_VOCABULARY = {"golden-ids", "texts", "sentences", "plain-specials"}
# Where our defaults are not fairseq's; the README explains the same ones.
DEVIATIONS = {"long-sentences", "mask-specials", "mask-random-ids", "mask-seeds", "rate-first", "decay"}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def facts(shared_data: Path) -> Facts:
    return read_facts(shared_data / "conformance" / "fairseq.json.gz")


@pytest.fixture(scope="module")
def roberta(shared_data: Path) -> Vocabulary:
    folder = shared_data / "bpe"
    return import_gpt2(folder / "encoder.json", folder / "vocab.bpe", folder / "dict.txt")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command: exit status, what it printed, what it complained of."""

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as exit_:
            code = int(str(exit_.code))
        return code, *capsys.readouterr()

    return call


def test_names_of_rules_are_used_once() -> None:
    assert len(RULES) == sum(map(len, SUBJECTS.values()))


@pytest.mark.parametrize("compat", [False, True], ids=["default", "fairseq-compat"])
@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_no_rule_fails_without_anything_of_others(rule: Rule, compat: bool) -> None:
    outcome = rule.check(Inputs(Facts(), None, compat))
    assert outcome.verdict in VERDICTS
    assert outcome.verdict != FAIL, outcome.detail
    assert outcome.detail
    if not compat:
        assert (outcome.verdict == DEVIATION) == (rule.name in DEVIATIONS)
    elif rule.name in DEVIATIONS - {"mask-seeds"}:
        assert outcome.verdict == PASS
    if rule.name in NEED_FACTS | NEED_VOCABULARY:
        assert outcome.verdict == UNCHECKED
        assert "--" in outcome.detail  # the flag that would help


@pytest.mark.parametrize("compat", [False, True], ids=["default", "fairseq-compat"])
@pytest.mark.parametrize("name", sorted(NEED_FACTS | NEED_VOCABULARY | {"complete", "complete-doc", "vocabulary-size"}))
def test_with_facts_and_vocabulary_all_that_can_be_checked_passes(
    name: str, compat: bool, facts: Facts, roberta: Vocabulary
) -> None:
    outcome = RULES[name].check(Inputs(facts, roberta, compat))
    assert outcome.verdict == PASS, outcome.detail
    counts = {"texts": "1,518 texts", "complete": "201 packings", "complete-doc": "201 packings", "adam": "6 steps"}
    assert counts.get(name, "") in outcome.detail


def test_another_vocabulary_is_checked_for_what_all_have_in_common() -> None:
    outcomes = {rule.name: rule.check(Inputs(Facts(), BYTES, False)) for rule in SUBJECTS["Text to ids"]}
    assert {name: outcome.verdict for name, outcome in outcomes.items()} == {
        "specials": PASS,
        "vocabulary-size": UNCHECKED,
        "golden-ids": UNCHECKED,
        "texts": UNCHECKED,
        "sentences": PASS,
        "plain-specials": PASS,
    }


def _check_altered(name: str, facts: Facts, vocabulary: Vocabulary | None = None) -> Outcome:
    return RULES[name].check(Inputs(facts, vocabulary, True))


def test_a_fact_that_is_not_ours_is_a_failure_with_its_place(facts: Facts, roberta: Vocabulary) -> None:
    assert facts.packing
    assert facts.encoding
    assert facts.rates
    assert facts.adam
    packing = [facts.packing[0]._replace(complete=[[0, 1]]), *facts.packing[1:]]
    text = facts.encoding[700]
    encoding = [*facts.encoding[:700], text._replace(ids=[*text.ids, 7]), *facts.encoding[701:]]
    altered = facts._replace(
        packing=packing,
        encoding=encoding,
        rates=facts.rates._replace(peak=2 * facts.rates.peak),
        adam=facts.adam._replace(weight_decay=0.02),
    )
    assert _check_altered("complete", altered) == Outcome(FAIL, "1 of 201 packings differ")
    assert _check_altered("complete-doc", altered).verdict == PASS
    assert _check_altered("texts", altered, roberta) == Outcome(FAIL, f"1 of 1,518 differ, first {text.text!r}")
    assert _check_altered("rates", altered).verdict == FAIL
    assert _check_altered("adam", altered).verdict == FAIL


def test_a_default_that_does_not_deviate_as_it_is_meant_to_is_a_failure() -> None:
    arguments: dict[str, Any] = {"reason": "it is meant", "detail": "0 of 3"}
    default, letter = (Inputs(Facts(), None, compat) for compat in (False, True))
    assert judge_deviation(default, holds=True, deviates=False, **arguments) == Outcome(
        FAIL, "0 of 3; meant is: it is meant"
    )
    assert judge_deviation(default, holds=False, deviates=True, **arguments) == Outcome(DEVIATION, "it is meant")
    assert judge_deviation(letter, holds=False, deviates=True, **arguments) == Outcome(FAIL, "0 of 3")


def test_the_command_prints_a_line_for_each_rule_and_the_sum(tmp_path: Path, run: Run) -> None:
    vocabulary = tmp_path / "vocab.json"
    vocabulary.write_bytes(dump_vocabulary(BYTES))
    code, out, err = run("--vocabulary", vocabulary)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == len(RULES) + len(SUBJECTS) + 1
    assert lines[-1].startswith(f"{len(RULES)} rules by default: ")
    assert lines[-1].endswith(f"{len(DEVIATIONS)} deviation, {out.count('  not checked ')} not checked, 0 FAIL")
    assert "  pass        124,696,665 parameters of BASE" in out


def test_a_failing_rule_makes_the_exit_status_1(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"lr": {"warmup": 10, "peak": 1.0, "total": 100, "values": [[1, 0.0], [2, 0.5]]}}))
    code, out, _ = run("--facts", path, "--fairseq-compat")
    assert code == 1
    assert "  FAIL        rates are fairseq's [fairseq]: wrong at [2]" in out
    assert out.splitlines()[-1].startswith(f"{len(RULES)} rules to the letter: ")
    assert out.splitlines()[-1].endswith("1 FAIL")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "an object was expected"),
        (b'{"packing": [{"sizes": [1]}]}', "packing is not as it should be"),
        (b'{"lr": 3}', "lr is not as it should be"),
        (gzip.compress(b"{}"), "not JSON"),
    ],
    ids=["cut", "list", "packing", "number", "gzip"],
)
def test_facts_that_are_none_are_refused_in_one_line(tmp_path: Path, run: Run, body: bytes, message: str) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(body)
    code, out, err = run("--facts", path)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"facts.json: {message}" in err
    with pytest.raises(FactsError):
        read_facts(path)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--facts", "nowhere.json"], 2, "no facts at nowhere.json"),
        (["--vocabulary", "nowhere.json"], 1, "no such vocabulary"),
        (["--gpt2", "nowhere"], 1, "encoder.json"),
        (["--gpt2", "here", "--vocabulary", "there"], 2, "not allowed with"),
        (["--fact", "x"], 2, "did you mean '--facts'?"),
    ],
)
def test_wrong_commands_are_one_line(run: Run, arguments: list[str], code: int, message: str) -> None:
    found = run(*arguments)
    assert (found[0], found[2].count("\n")) == (code, 1)
    assert message in found[2]


def test_facts_may_be_zipped_and_partial(tmp_path: Path) -> None:
    path = tmp_path / "facts.json.gz"
    fact: dict[str, Any] = {"text": "a", "ids": [102]}
    path.write_bytes(gzip.compress(json.dumps({"encoding": [fact], "origin": "by hand"}).encode()))
    found = read_facts(path)
    assert found.encoding is not None
    assert found.encoding[0].ids == [102]
    assert found.packing is None


def test_masks_of_another_share_would_be_seen() -> None:
    assert judge_count(mask_batch(Settings(mask_fraction=0.15))).verdict == PASS
    assert judge_count(mask_batch(Settings(mask_fraction=0.152))).verdict == FAIL
