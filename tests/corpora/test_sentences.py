"""Sentence borders: the laws that encoding relies on, and a floor on gold borders."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.sentences import split_sentences

texts = st.text() | st.text(alphabet="Aab.!?。 \n\t\r\xa0\u2028\ud800\"'é", max_size=80)


@given(texts, st.integers(min_value=1, max_value=30), st.sampled_from(["en", "de", "ja", "xx"]))
def test_pieces_concatenate_to_the_text_and_keep_the_limit(text: str, max_chars: int, language: str) -> None:
    pieces = split_sentences(text, language=language, max_chars=max_chars)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= max_chars for piece in pieces)


@given(texts)
def test_pieces_end_in_text_and_a_newline_begins_a_piece(text: str) -> None:
    pieces = split_sentences(text)
    for piece in pieces[:-1]:
        assert not piece[-1].isspace()
    for piece in pieces:
        assert "\n" not in piece.strip()


@given(st.text(alphabet="Aab.!? \n\"'é", max_size=80))
def test_every_border_of_spaced_text_is_before_a_space(text: str) -> None:
    assert all(piece[0].isspace() for piece in split_sentences(text)[1:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("J\u2028.", ["J\u2028."]),
        (" \n ", [" \n "]),
        ("One. Two.", ["One.", " Two."]),
        ("Mr. Smith paid $3.5 million. He left.", ["Mr. Smith paid $3.5 million.", " He left."]),
        ("A headline\nThe text. ", ["A headline", "\nThe text. "]),
        ("東京です。大阪です。", ["東京です。", "大阪です。"]),
    ],
)
def test_sentences_are_the_expected_ones(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_a_long_sentence_is_cut_at_white_space_or_else_hard() -> None:
    assert split_sentences("aaaa bbbb  cccc", max_chars=10) == ["aaaa bbbb", "  cccc"]
    assert split_sentences("a" * 25, max_chars=10) == ["a" * 10, "a" * 10, "a" * 5]


def test_a_piece_cannot_be_empty() -> None:
    with pytest.raises(ValueError, match="max_chars"):
        split_sentences("a", max_chars=0)


def test_borders_agree_with_gold_ones(shared_data: Path) -> None:
    """UD English-EWT dev: reviews, mails and forum posts, harder than news. Measured: .922."""
    paragraphs: list[list[str]] = []
    with gzip.open(shared_data / "sentences" / "en_ewt-ud-dev.conllu.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(("# newpar", "# newdoc")):
                paragraphs.append([])
            elif line.startswith("# text = "):
                paragraphs[-1].append(line.removeprefix("# text = ").rstrip("\n"))
    paragraphs = [paragraph for paragraph in paragraphs if paragraph]
    gold = _ends([("\n" if index == 0 else " ") + one for part in paragraphs for index, one in enumerate(part)])
    found = _ends(split_sentences("".join("\n" + " ".join(part) for part in paragraphs)))
    assert 2 * len(gold & found) / (len(gold) + len(found)) >= 0.92


def _ends(pieces: list[str]) -> set[int]:
    ends, position = set(), 0
    for piece in pieces:
        position += len(piece)
        ends.add(position)
    return ends
