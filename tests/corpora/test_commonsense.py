"""Questions come out of every form that WSC and PDP are handed around in, and nothing but questions."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.commonsense import (
    Question,
    QuestionFileError,
    fingerprint_questions,
    merge_questions,
    parse_questions,
)

BLOCKS = b"""The trophy doesn't fit into the brown suitcase because  [MASK]  is too large.
[MASK]
 the trophy , the suitcase
 the trophy

Fred watched TV while George bought groceries, and when  [MASK]  got up, an hour later, Dr. Who, jr. was there.
[MASK]
 Fred , George , Dr. Who, jr.
 Dr. Who, jr.
"""
XML = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
<collection><schema>
<text><txt1> The caf\xe9 owner
asked Ann because </txt1> <pron> she </pron> <txt2> knew. </txt2></text>
<quote><quote1>QUOTED</quote1></quote>
<answers><answer> ANSWER </answer></answers><correctAnswer> A </correctAnswer><source> SOURCE </source>
</schema></collection>
"""


def read(path: Path) -> tuple[Question, ...]:
    return parse_questions(path.read_bytes(), path=path.name)


def test_a_block_gives_its_first_line_cut_at_the_pronoun() -> None:
    first, second = parse_questions(BLOCKS, path="wsc.txt")
    assert first.pieces == ("The trophy doesn't fit into the brown suitcase because", "is too large.")
    assert second.pieces[1] == "got up, an hour later, Dr. Who, jr. was there."


def test_blocks_may_have_the_pronoun_itself_in_their_second_line() -> None:
    data = b"Ann asked Mary what time the library closes, because she had forgotten.\nshe\nAnn,Mary\nAnn\n"
    assert parse_questions(data, path="wsc.txt") == (
        Question(("Ann asked Mary what time the library closes, because she had forgotten.",)),
    )


def test_xml_gives_its_sentence_with_the_pronoun_and_leaves_out_quote_answers_and_source() -> None:
    assert parse_questions(XML, path="wsc.xml") == (Question(("The café owner asked Ann because she knew.",)),)


def test_lines_are_a_question_each_and_marks_of_a_pronoun_are_gaps() -> None:
    data = "\ufeffOne _ two.\r\n\r\nsnake_case stays <mask>!\r\n___\r\nOne _ two.\r\n".encode()
    assert parse_questions(data, path="own.txt") == (Question(("One", "two.")), Question(("snake_case stays",)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "q.txt: no question in it; give WSC or PDP"),
        (b"\n \n...\n", "q.txt: no question in it"),
        (b"fine\nbr\xffken\n", "q.txt at line 2: not UTF-8; convert"),
        (b"fine\n\nnot\0text\n", "q.txt at line 3: a NUL byte"),
        (b"<html><body>no</body></html>", "q.txt: XML of <html> without a single <schema>"),
        (b"<collection>\n<schema>\n", "q.txt at line 3: not the XML it begins as"),
        (b"<collection>\n<schema><text><txt1> </txt1></text></schema></collection>", "q.txt at line 2: a <schema>"),
        (b"<collection>\n<schema><quote>words</quote></schema></collection>", "q.txt at line 2: a <schema>"),
        (BLOCKS + b"\nA question\nits answer\n", "q.txt at line 11: 2 lines that are no block"),
        (BLOCKS.replace(b"\n the trophy\n", b"\n the bowl\n"), "q.txt at line 1: 4 lines that are no block"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_place_and_remedy(data: bytes, says: str) -> None:
    with pytest.raises(QuestionFileError) as caught:
        parse_questions(data, path="q.txt")
    assert says in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_entities_of_xml_fetch_and_expand_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    data = (
        f'<!DOCTYPE c [<!ENTITY e SYSTEM "{secret.as_uri()}">]><c><schema><text><txt1>so &e;</txt1></text></schema></c>'
    )
    assert "SECRET" not in str(parse_questions(data.encode(), path="q.xml"))


@given(st.lists(st.lists(st.text(alphabet="ab_ .", max_size=6), max_size=3), max_size=6), st.randoms())
def test_the_fingerprint_is_of_the_set_of_questions(texts: list[list[str]], random: object) -> None:
    questions = [Question(tuple(pieces)) for pieces in texts]
    shuffled = [*questions, *questions[:2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert fingerprint_questions(shuffled) == fingerprint_questions(questions)
    assert fingerprint_questions([*questions, Question(("a new one",))]) != fingerprint_questions(questions)


def test_questions_without_a_word_are_none_and_the_same_one_counts_once() -> None:
    asked = [Question(("a b", "c")), Question(("?!",)), Question(()), Question(("a b", "c")), Question(("a b c",))]
    assert merge_questions(asked) == (Question(("a b", "c")), Question(("a b c",)))


# --- the real files ---


def test_the_real_files_hold_as_many_questions_as_the_sets_are_named_after(shared_data: Path) -> None:
    folder = shared_data / "commonsense"
    assert len(read(folder / "wsc273.txt")) == 273
    assert len(read(folder / "PDP.txt")) == 60
    # PDP asks 60 times about 47 passages; the collection of WSC has 285 schemas, some of which are the same sentence.
    assert len(read(folder / "PDPChallenge.xml")) == 47
    assert len(read(folder / "WSCollection.xml")) == 281


def test_no_answer_of_the_real_files_gets_in(shared_data: Path) -> None:
    folder = shared_data / "commonsense"
    for name in ("wsc273.txt", "PDP.txt"):
        lines = [line.strip() for line in (folder / name).read_text().splitlines()]
        taken = {"[MASK]".join(question.pieces).replace(" ", "") for question in read(folder / name)}
        asked = {
            line.replace(" ", "").removesuffix("[MASK].") for line in lines if "[MASK]" in line and line != "[MASK]"
        }
        assert taken == asked
    text = str(read(folder / "WSCollection.xml")) + str(read(folder / "PDPChallenge.xml"))
    for hidden in ("Levesque", "Winograd 1972", "19 out of 19", "Laura Ingalls Wilder", "[MASK]"):
        assert hidden not in text
