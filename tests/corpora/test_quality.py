"""Quality rules: each one fires for its own reason, and each can be turned off."""

import pytest

from corpora.quality import Complaint, QualityRules, find_complaint

LINES = [
    f"The council met for the {n}th time in the old town hall on Monday evening, its mayor said." for n in range(12)
]
GOOD = "\n".join(LINES)


def reason(text: str, rules: QualityRules | None = None, **said: str) -> str:
    complaint = find_complaint(text, rules or QualityRules(), **said)
    return complaint.reason if complaint else ""


def test_prose_is_kept() -> None:
    assert find_complaint(GOOD, QualityRules()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The end.", "too_short"),
        ("A sentence that is one. " * 50_000, "too_long"),
        (" ".join(LINES).replace(".", ","), "too_few_sentences"),
        ("Extraordinarily internationalised institutionalisation. " * 6, "too_few_words"),
        ("a b. " * 200, "word_length"),
        ("Pneumonoultramicroscopicsilicovolcanoconiosis. " * 60, "word_length"),
        (GOOD.replace(" the ", " # "), "symbols"),
        (GOOD + " 12:30 45.6" * 60, "not_prose"),
        ("\n".join(LINES[:3] * 5), "repeated_lines"),
        (GOOD.replace("said.", "said so. And then..."), "ellipsis_lines"),
        ("\n".join("- " + line for line in LINES), "bullet_lines"),
        (GOOD + "\nLorem ipsum dolor sit amet.", "placeholder"),
    ],
)
def test_a_text_that_is_no_prose_is_refused_for_its_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (QualityRules(max_url_chars=10), "url_too_long"),
        (QualityRules(min_title_chars=30), "title_too_short"),
        (QualityRules(require_published=True), "no_date"),
        (QualityRules(min_chars=5_000), "too_short"),
    ],
)
def test_rules_that_are_off_by_default_can_be_asked_for(rules: QualityRules, expected: str) -> None:
    assert reason(GOOD, rules, url="http://example.com/a", title="Council", published="") == expected


def test_words_are_not_counted_where_no_spaces_part_them() -> None:
    story = "市議会は木曜日に再び会合を開き、予算について話し合う予定だと市長は述べた。" * 10
    assert reason(story, language="ja") == ""
    assert reason(story, language="en") == "too_few_words"


def test_a_complaint_says_the_number() -> None:
    assert find_complaint("The end.", QualityRules()) == Complaint("too_short", "8 characters")


@pytest.mark.parametrize("wrong", [{"max_repeated_lines": 1.5}, {"min_chars": 10, "max_chars": 5}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).removeprefix("min_chars") or "min_chars"):
        QualityRules(**wrong)  # type: ignore[arg-type]  # the point
