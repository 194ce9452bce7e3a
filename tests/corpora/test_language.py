"""Language: the guess is right on documents and steady on anything."""

import gzip
from collections import defaultdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from corpora.language import UNKNOWN, guess_language, share_of

ENGLISH = "The committee will meet again on Thursday to discuss the budget of the town. "
GERMAN = "Der Ausschuss trifft sich am Donnerstag wieder, um über den Haushalt der Stadt zu sprechen. "


def test_a_text_in_two_languages_is_shared_out() -> None:
    guess = guess_language(ENGLISH * 3 + GERMAN * 3)
    assert {code for code, _ in guess.shares[:2]} == {"en", "de"}
    assert 30 <= share_of(guess, ("en",)) <= 70
    assert share_of(guess, ("en", "de")) >= 95


def test_nothing_has_no_language() -> None:
    assert guess_language("") == guess_language(" \n\0") == UNKNOWN


def test_control_characters_and_surrogates_do_not_hide_the_language() -> None:
    assert guess_language("\0\x1b\x9f" + ENGLISH + "\ud800\ufffe" + ENGLISH).code == "en"


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_a_guess_is_steady_and_never_raises(text: str) -> None:
    guess = guess_language(text)
    assert guess == guess_language(text)
    assert share_of(guess, (guess.code,)) <= 100


def test_documents_of_tatoeba_sentences_are_told_apart(shared_data: Path) -> None:
    """Ten sentences each. English recall and the share of others called English, both perfect when measured."""
    sentences: dict[str, list[str]] = defaultdict(list)
    with gzip.open(shared_data / "langid" / "tatoeba.tsv.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            language, _, sentence = line.rstrip("\n").partition("\t")
            sentences[language].append(sentence)
    documents = [
        (language, " ".join(group[at : at + 10]))
        for language, group in sentences.items()
        for at in range(0, min(len(group), 200) - 9, 10)
    ]
    english = [guess_language(text).code == "en" for language, text in documents if language in ("en", "eng")]
    others = [guess_language(text).code == "en" for language, text in documents if language not in ("en", "eng")]
    assert english
    assert sum(english) / len(english) >= 0.99
    assert sum(others) / len(others) <= 0.01
