"""Scores of Stories: worked by hand, equal bit for bit to a twin that can be read, and on real pages and texts."""

import gzip
import importlib.util
import pickle
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpora.commonsense import Question, parse_questions
from corpora.documents import Document, RawPage, Rejection, make_document_id
from corpora.processing import ProcessingSettings, process_page
from corpora.stories import (
    TARGETS,
    StoriesSettings,
    make_pool,
    process_story,
    score,
    split_words,
    story_versions,
)
from corpora.warc import Administrative, read_pages

_TWIN = Path(__file__).resolve().parents[1] / "benchmarks" / "stories_twin.py"
_spec = importlib.util.spec_from_file_location("stories_twin", _TWIN)
assert _spec is not None
assert _spec.loader is not None
twin = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(twin)
slow_score, slow_words = twin.slow_score, twin.slow_words


def ask(*texts: str) -> list[Question]:
    return [Question((text,)) for text in texts]


@pytest.fixture(scope="module")
def questions(shared_data: Path) -> list[Question]:
    folder = shared_data / "commonsense"
    return [
        question
        for name in ("wsc273.txt", "PDP.txt")
        for question in parse_questions((folder / name).read_bytes(), path=name)
    ]


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        # Of 4 words each, 2 are shared: F1(1) = 2*2/8; one bigram of 3: F1(2) = 2*1/6; nothing longer.
        ("the cat ran away", ["the cat sat down"], Fraction(1 * Fraction(4, 8) + 2 * Fraction(2, 6), 10)),
        # Clipped by the question: `the` occurs 3 times here, once there.
        ("the the the", ["the end"], Fraction(Fraction(2 * 1, 3 + 2), 10)),
        # Clipped by the document: the pool has `the` twice.
        ("the", ["the end", "the start"], Fraction(Fraction(2 * 1, 1 + 4), 10)),
        # The very question.
        ("She is too large!", ["she is too large"], Fraction(1)),
        # No n-gram reaches from one question to the next: of 4 words in two pieces there are 2 bigrams.
        ("a b c d", ["a b", "c d"], Fraction(1 * 1 + 2 * Fraction(2 * 2, 3 + 2), 10)),
        ("", ["a b c d e"], Fraction(0)),
    ],
)
def test_scores_worked_by_hand(text: str, asked: list[str], expected: Fraction) -> None:
    assert score(text, make_pool(ask(*asked))) == float(expected)
    assert slow_score(text, ask(*asked)) == float(expected)


def test_no_n_gram_reaches_across_the_gap_of_a_question() -> None:
    gapped, whole = [Question(("a b", "c d"))], [Question(("a b c d",))]
    assert score("b c", make_pool(gapped)) == slow_score("b c", gapped) < score("b c", make_pool(whole))


words = st.sampled_from(["a", "b", "c", "the", "don't", "x1", "Ä"])
texts = st.lists(st.one_of(words, st.sampled_from([".", "\n", "'", "_"])), max_size=40).map(" ".join)
asked_texts = st.lists(st.lists(texts, max_size=3).map(lambda pieces: Question(tuple(pieces))), max_size=4)


@given(texts, asked_texts)
@example("", [])
def test_a_score_is_the_twins_bit_for_bit(text: str, asked: list[Question]) -> None:
    found = score(text, make_pool(asked))
    assert found.hex() == slow_score(text, asked).hex()
    assert 0.0 <= found <= 1.0


@given(st.text())
def test_words_are_the_twins(text: str) -> None:
    # Python's \w is isalnum and the underscore.
    assert split_words(text) == slow_words(text)


@given(asked_texts, st.randoms(use_true_random=False))
def test_the_order_of_questions_does_not_count(asked: list[Question], random: object) -> None:
    shuffled = list(asked)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert score("a b the don't a b", make_pool(shuffled)) == score("a b the don't a b", make_pool(asked))


# --- settings ---


def test_settings_travel_with_their_questions_and_are_described_by_fingerprint() -> None:
    settings = StoriesSettings.of(ask("Ann asked Mary.", "Did she?"))
    other = StoriesSettings.of(ask("Did she?", "Ann asked Mary.", "Ann asked Mary."))
    travelled = pickle.loads(pickle.dumps(settings))
    assert travelled == settings == other
    assert travelled.asked == settings.asked == other.asked
    described = asdict(settings)
    assert "Mary" not in str(described)
    assert (described["n_questions"], len(described["questions"])) == (2, 64)
    assert StoriesSettings.of(ask("Did he?")) != settings


def test_settings_without_a_question_are_refused() -> None:
    with pytest.raises(ValueError, match="--questions"):
        StoriesSettings.of([Question(("?",))])


def test_versions_name_what_words_depend_on() -> None:
    assert "unicode" in story_versions(StoriesSettings.of(ask("Did he?")))


# --- pages ---


def make_page(body: str, mime: str) -> RawPage:
    name = make_document_id("a.warc.gz", 7, "http://example.com/a")
    return RawPage(name, "http://example.com/a", "", 200, mime, "utf-8", body.encode(), "a.warc.gz", 7)


STORY = "\n".join(
    f"The trophy would not fit into the brown suitcase number {n}, because it was far too large." for n in range(9)
)


@pytest.mark.parametrize(
    ("mime", "body"),
    [
        ("text/plain", STORY),
        ("text/html", f"<html><body><article><p>{STORY.replace(chr(10), '</p><p>')}</p></article></body></html>"),
    ],
)
def test_a_page_is_cleaned_as_any_other_and_scored_by_its_text(mime: str, body: str) -> None:
    asked = ask("The trophy doesn't fit into the brown suitcase because it is too large.")
    document = process_story(make_page(body, mime), StoriesSettings.of(asked))
    assert isinstance(document, Document)
    assert document.score == slow_score(document.text, asked) > 0
    plain = process_page(make_page(body, mime), ProcessingSettings())
    assert document == plain._replace(score=document.score)  # type: ignore[call-arg]  # it is a Document too


def test_a_page_that_is_not_wanted_is_rejected_before_it_is_scored() -> None:
    settings = StoriesSettings.of(ask("Did he?"))
    verdicts = [
        process_story(make_page("Der Ausschuss trifft sich am Donnerstag wieder. " * 9, "text/plain"), settings),
        process_story(make_page("Too short.", "text/plain"), settings),
        process_story(make_page("%PDF", "application/pdf"), settings),
    ]
    assert [verdict.reason for verdict in verdicts if isinstance(verdict, Rejection)] == [
        "language",
        "too_short",
        "mime",
    ]


def test_the_targets_are_the_published_ones() -> None:
    assert (TARGETS.documents, TARGETS.gib, TARGETS.mean_bytes) == (947_247, 31.8, 36_000.0)


# --- real data ---


def read_books(folder: Path, n: int) -> list[str]:
    return [gzip.decompress(path.read_bytes()).decode("utf-8", "replace") for path in sorted(folder.glob("*.gz"))[:n]]


def test_scores_of_real_stories_are_the_twins_and_of_the_size_the_paper_reports(
    shared_data: Path, questions: list[Question]
) -> None:
    pool = make_pool(questions)
    text = "".join(read_books(shared_data / "books" / "gutenberg", 2))
    pieces = [text[start : start + 36_000] for start in range(0, len(text), 36_000)]  # the mean of the published corpus
    scores = [score(piece, pool) for piece in pieces]
    assert scores[:4] == [slow_score(piece, questions) for piece in pieces[:4]]
    # The paper's best document scores 0.083: children's novels are near, and nothing is far above.
    assert 0.04 < max(scores) < 0.1


def read_wet(path: Path) -> list[RawPage | Rejection | Administrative]:
    with path.open("rb") as stream:
        return list(read_pages(stream, source=path.name))


@pytest.mark.parametrize("name", ["whirlwind.warc.wet", "whirlwind.warc.wet.gz"])
def test_wet_records_are_pages_of_plain_text(shared_data: Path, name: str, questions: list[Question]) -> None:
    info, page = read_wet(shared_data / "warc" / "commoncrawl-whirlwind" / name)
    assert info == Administrative("warcinfo", 0)
    assert isinstance(page, RawPage)
    assert (page.mime, page.status, page.url) == ("text/plain", 200, "https://an.wikipedia.org/wiki/Escopete")
    verdict = process_story(page, StoriesSettings.of(questions))
    assert isinstance(verdict, Rejection)
    assert verdict.reason == "language"  # Aragonese
    kept = process_story(page, StoriesSettings.of(questions, processing=ProcessingSettings(languages=())))
    assert isinstance(kept, Document)
    assert kept.extractor == ""
    assert "Escopete" in kept.text
