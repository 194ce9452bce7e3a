"""Planted passages are found and near misses are not; what is cut leaves nothing of the index behind."""

import gzip
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpora.contamination_counts import ALL_TASKS, add_counts, count_cleaned, describe_counts, measure_tasks
from corpora.contamination_index import ContaminationIndex, build_index, find_hits, load_index
from corpora.decontamination import Cleaned, DecontaminationRules, clean_texts, cut_passages, find_passages
from corpora.evaluation_sets import EvaluationText

SENTENCE = "Although the weights made the long rope stretch over the old pulley, the sailors rode on."  # 16 words
SHORT = "The mechanical doll slowly wriggled itself loose again today."  # 9 words
FILLER = "Nothing of this paragraph was ever part of a test, and it says so at some length to fill its place. "
MARK, CUT, DROP = (DecontaminationRules(mode=mode) for mode in ("mark", "cut", "drop"))


def make_index(*texts: str, task: str = "CoLA", phrases: tuple[str, ...] = ()) -> ContaminationIndex:
    return build_index([EvaluationText(task, "dev", text) for text in texts], common_phrases=phrases)


def clean(text: str, index: ContaminationIndex, rules: DecontaminationRules = MARK) -> Cleaned:
    (cleaned,) = clean_texts([text], ["en"], index, rules)
    return cleaned


INDEX = make_index(SENTENCE, SHORT)


@pytest.mark.parametrize(
    "leak",
    [
        SENTENCE,
        SENTENCE.upper(),
        SENTENCE.replace(" ", "\n\n", 3),
        "“" + re.sub(r"\W+", " — ", SENTENCE) + "”",
        " ".join(SENTENCE.split()[:13]),
        " ".join(SENTENCE.split()[3:]),
        SENTENCE.replace("weights", "ｗｅｉｇｈｔｓ"),
        SHORT,
        SHORT.lower().rstrip("."),
    ],
    ids=["as it is", "case", "across paragraphs", "punctuation", "first 13", "last 13", "wide letters", "short",
         "short, bare"],
)  # fmt: skip
def test_a_planted_passage_is_found(leak: str) -> None:
    text = FILLER + leak + " " + FILLER
    cleaned = clean(text, INDEX)
    assert cleaned.text == text
    assert len(cleaned.texts) == 1
    assert cleaned.detail.startswith("CoLA dev: “")


@pytest.mark.parametrize(
    "miss",
    [
        " ".join(SENTENCE.split()[:12]),
        " ".join(SENTENCE.split()[4:]),
        SENTENCE.replace("rope", "cord"),
        SENTENCE.replace("the old", "old the"),
        SENTENCE.replace("pulley", "pul ley"),
        " ".join(SHORT.split()[:8]),
        SHORT.replace("slowly ", ""),
        "",
    ],
    ids=[
        "first 12",
        "last 12",
        "one word changed",
        "two words swapped",
        "a word in two",
        "8 of 9",
        "one left out",
        "no text",
    ],
)
def test_a_near_miss_is_not_found(miss: str) -> None:
    text = FILLER + miss + " and " + FILLER
    assert clean(text, INDEX, DROP) == Cleaned(text)


def test_texts_of_fewer_than_eight_words_are_not_looked_for() -> None:
    index = make_index("One two three four five six seven.")
    assert clean("One two three four five six seven.", index) == Cleaned("One two three four five six seven.")
    assert measure_tasks(index)[1][:4] == ("CoLA", 1, 1, 0)


def test_a_passage_split_over_two_documents_is_in_neither() -> None:
    words = SENTENCE.split()
    halves = [" ".join(words[:8]), " ".join(words[8:])]
    assert list(clean_texts(halves, ["en", "en"], INDEX, DROP)) == [Cleaned(half) for half in halves]


def test_books_and_pages_side_by_side_are_each_judged_alone() -> None:
    book = FILLER * 5_000
    texts = [SENTENCE, book, FILLER, book + SHORT, "", book, SENTENCE + book, *[FILLER, SHORT] * 300]
    together = list(clean_texts(texts, ["en"] * len(texts), INDEX, MARK))
    assert together == [clean(text, INDEX) for text in texts]
    assert [number for number, one in enumerate(together[:7]) if one.texts] == [0, 3, 6]
    assert sum(bool(one.texts) for one in together[7:]) == 300


def test_a_hash_that_points_at_other_words_decides_nothing() -> None:
    """An index whose hashes are those of harmless words, and whose texts are others, stands for a collision."""
    other = make_index("these are thirteen words that no evaluation text has ever had in it")
    assert other.whole.hashes.size == 1
    hostile = other._replace(letters=INDEX.letters, borders=INDEX.borders, labels=INDEX.labels)
    text = "But these are thirteen words that no evaluation text has ever had in it, are they?"
    assert find_hits(hostile, [text])[0].whole.size == 1
    assert clean(text, hostile, DROP) == Cleaned(text)


def test_common_phrases_are_no_contamination() -> None:
    index = make_index(SENTENCE, SHORT, phrases=(f"So, {SENTENCE}", SHORT))
    assert clean(SENTENCE + SHORT, index, DROP) == Cleaned(SENTENCE + SHORT)
    assert clean("Now they say: " + SENTENCE, make_index("Now they say: " + SENTENCE, phrases=(SENTENCE,))).texts == (
        0,
    )


WORDS = st.sampled_from(["a", "b", "C", "don't", "é"])
BETWEEN = st.sampled_from([" ", ", ", "\n", " — "])


@st.composite
def sets_and_documents(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Evaluation texts, and documents that are put together from parts of them, some with a word changed."""
    sets = draw(st.lists(st.lists(WORDS, min_size=6, max_size=30), min_size=1, max_size=4))
    documents = []
    for _ in range(draw(st.integers(1, 4))):
        document = draw(st.lists(WORDS, max_size=3))
        for _ in range(draw(st.integers(0, 3))):
            words = draw(st.sampled_from(sets))
            first = draw(st.integers(0, max(len(words) - 8, 0)))
            part = words[first : draw(st.integers(first + 6, len(words) + 6))]
            if draw(st.booleans()):
                part[draw(st.integers(0, len(part) - 1))] = "other"
            document += part
        documents.append(document)
    return [draw(BETWEEN).join(words) for words in sets], [draw(BETWEEN).join(words) for words in documents]


def list_plainly(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def runs_of(text: str) -> set[tuple[str, ...]]:
    """The slow twin: what an evaluation text is found by, as tuples of words."""
    found = list_plainly(text)
    if 8 <= len(found) < 13:
        return {tuple(found)}
    return {tuple(found[place : place + 13]) for place in range(len(found) - 12)}


def has_run(text: str, runs: set[tuple[str, ...]]) -> bool:
    found = list_plainly(text)
    return any(tuple(found[place : place + len(run)]) == run for run in runs for place in range(len(found)))


@settings(deadline=None, max_examples=150)
@given(sets_and_documents())
def test_the_index_agrees_with_sets_of_tuples(case: tuple[list[str], list[str]]) -> None:
    evaluation, documents = case
    index = make_index(*evaluation)
    cleaned = list(clean_texts(documents, ["en"] * len(documents), index, MARK))
    for document, one in zip(documents, cleaned, strict=True):
        expected = {tuple(list_plainly(text)) for text in evaluation if has_run(document, runs_of(text))}
        assert {index.text(number).words for number in one.texts} == expected


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(0, 14), st.sampled_from(["\n", " ", "\n\n"]))
@example(1, 14, " ")
def test_a_cut_leaves_no_passage_short_piece_or_half_word(seed: int, n_leaks: int, between: str) -> None:
    chosen = random.Random(seed)
    made_up = ["".join(chosen.choices("abcdéfgh'", k=chosen.randint(1, 9))) for _ in range(40)]
    sentences = [" ".join(chosen.choices(made_up, k=chosen.randint(1, 30))) + "." for _ in range(n_leaks * 10 + 5)]
    for _ in range(n_leaks):
        sentences.insert(chosen.randrange(len(sentences)), chosen.choice([SENTENCE, SHORT]))
    text = between.join(sentences)
    cleaned = clean(text, INDEX, CUT)
    assert bool(cleaned.texts) == bool(cleaned.cuts) == bool(n_leaks)
    assert cleaned.text is not None or len(cleaned.cuts) > 10 or cleaned.detail.startswith("nothing left")
    if cleaned.text is None:
        return
    assert len(cleaned.cuts) <= 10
    assert not has_run(cleaned.text, runs_of(SENTENCE) | runs_of(SHORT))
    if n_leaks:
        for piece in split_like(cleaned.text, text):
            assert len(piece) >= 200
            place = text.find(piece)
            around = text[max(place - 1, 0) : place] + text[place + len(piece) : place + len(piece) + 1]
            assert not around.strip(), "a piece begins and ends at white space here, where words have no dashes"


def split_like(cut: str, text: str) -> list[str]:
    """The pieces of a cut text: the longest beginnings of it that the whole text has, one after the other."""
    pieces = []
    while cut:
        end = max(end for end in [*(m.start() for m in re.finditer("\n", cut)), len(cut)] if cut[:end] in text)
        pieces.append(cut[:end])
        cut = cut[end + 1 :]
    return pieces


def test_a_cut_takes_the_sentences_and_200_characters_on_either_side() -> None:
    before, after = "Before it stood this. " * 40, " Behind it stood that." * 40
    cleaned = clean(before + SENTENCE + after, INDEX, CUT)
    assert cleaned.text is not None
    first, second = cleaned.text.split("\n")
    assert before.startswith(first)
    assert after.endswith(second)
    taken = len(before) - len(first)
    assert 200 <= taken <= 200 + len("Before it stood this. ")
    assert 200 <= len(after) - len(second) <= 200 + len(" Behind it stood that.")
    assert cleaned.cuts == (cleaned.texts,)


def test_eleven_cuts_drop_the_document_and_ten_do_not() -> None:
    room = FILLER * 8
    ten, eleven = (room + (SENTENCE + " " + room) * n for n in (10, 11))
    assert len(clean(ten, INDEX, CUT).cuts) == 10
    assert clean(ten, INDEX, CUT).text
    assert clean(eleven, INDEX, CUT).text is None
    assert clean(eleven, INDEX, CUT).detail.startswith("11 cuts; CoLA dev: “")


def test_pieces_that_make_a_passage_where_they_meet_are_cut_again() -> None:
    head, tail = " ".join(SENTENCE.split()[:8]), " ".join(SENTENCE.split()[8:])
    rules = DecontaminationRules(mode="cut", window_chars=0)
    text = f"{FILLER * 4}{head}\n{SHORT}\n{tail} {FILLER * 4}"
    once, _ = cut_passages(text, find_passages(text, INDEX, find_hits(INDEX, [text])[0]), rules)
    assert has_run(once, runs_of(SENTENCE))
    cleaned = clean(text, INDEX, rules)
    assert cleaned.text is not None
    assert not has_run(cleaned.text, runs_of(SENTENCE))
    assert len(cleaned.cuts) == 2


def test_a_text_that_is_all_passage_is_dropped_and_says_so() -> None:
    assert clean(SENTENCE, INDEX, CUT).text is None
    assert clean(SENTENCE, INDEX, CUT).detail.startswith("nothing left after the cut; CoLA dev: “Although the weights")
    assert clean(SENTENCE, INDEX, DROP).detail.endswith("the sailors rode on”")


def test_words_are_cut_at_their_ends_in_scripts_without_spaces_too() -> None:
    text = "東京は日本の首都であり人口が多い。" * 60 + "\n" + SENTENCE + "\n" + "नमस्ते दुनिया यह एक परीक्षण है। " * 40
    cleaned = clean(text, INDEX, CUT)
    assert cleaned.text is not None
    for piece in cleaned.text.split("\n"):
        assert piece in text
        assert len(piece) >= 200


@pytest.mark.parametrize("wrong", [{"mode": "delete"}, {"window_chars": -1}, {"min_piece_chars": 0}, {"max_cuts": -1}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"mode|negative"):
        DecontaminationRules(**wrong)  # type: ignore[arg-type]


def test_counts_add_up_to_the_same_over_any_parts() -> None:
    index = build_index([EvaluationText("CoLA", "dev", SENTENCE), EvaluationText("RTE", "test", f"{SENTENCE} {SHORT}")])
    texts = [FILLER, SENTENCE, FILLER * 8 + SENTENCE + SHORT + FILLER * 8, SHORT, FILLER * 30]
    cleaned = list(clean_texts(texts, ["en"] * len(texts), index, CUT))
    sizes = measure_tasks(index)
    whole = count_cleaned(cleaned, index, sizes)
    parts = [count_cleaned(cleaned[first:last], index, sizes) for first, last in ((3, 5), (0, 1), (1, 3))]
    assert set(add_counts(parts)) == set(add_counts([whole])) == set(whole)
    by_task = {one.task: one for one in whole}
    assert [by_task[task].n_documents for task in (ALL_TASKS, "CoLA", "RTE")] == [2, 2, 2]
    assert [by_task[task].n_dropped for task in (ALL_TASKS, "CoLA", "RTE")] == [1, 1, 1]
    assert by_task[ALL_TASKS].n_cuts == 2
    assert by_task["RTE"].n_ngrams == 13
    assert by_task["CoLA"].found == ((0, 2),)
    shown = describe_counts(whole, index)
    assert [row["task"] for row in shown["tasks"]] == [ALL_TASKS, "CoLA", "RTE"]  # type: ignore[attr-defined]
    assert any("WNLI is made from WSC" in note for note in shown["notes"])  # type: ignore[attr-defined]
    other = make_index(SENTENCE)
    with pytest.raises(ValueError, match="two indexes"):
        add_counts([whole, measure_tasks(other)])


@pytest.mark.parametrize("data", [b"", b"not a zip", gzip.compress(b"x", mtime=0), b"PK\x03\x04"])
def test_a_file_that_is_no_index_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"index\.npz: not an index"):
        load_index(data, name="index.npz")
