"""Questions of commonsense reasoning (WSC273, PDP-60) from the files that people hand around: bytes in, questions out.

The rule: the question and nothing else. Candidates, correct answers, the excerpts that repeat the pronoun's place, and
sources never get in: what is selected by overlap with the questions must not be selected by their answers. What is
taken of each form, which is told by content:

* *XML* of Davis et al. (`<collection>` of `<schema>`): `<txt1>`, `<pron>` and `<txt2>` of `<text>`, joined; so the
  pronoun is part of the question, as it is of the sentence that people read. `<quote>`, `<answers>`, `<correctAnswer>`,
  `<humanSubjects>` and `<source>` are left out.
* *Blocks* of four lines with a blank line between them (question; what stands for the pronoun, often `[MASK]`;
  candidates with commas; the correct one): the first line.
* *Lines*: every line that is not blank is a question.

A mark for the pronoun (`[MASK]`, `<mask>`, `_` on its own) is a gap: what stands before it and what stands after it are
two pieces, and no n-gram reaches across. So the same questions give other n-grams as blocks than as XML, where the
pronoun is there. Questions that are the same word for word, as in PDP where one passage is asked about several
pronouns, are one question.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lxml import etree

from corpora.errors import CorpusError

__all__ = ["Question", "QuestionFileError", "fingerprint_questions", "merge_questions", "parse_questions"]

_GAP = re.compile(r"\[mask\]|<mask>|(?<!\w)_+(?!\w)", re.IGNORECASE)
_LOOKS_LIKE_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[?!a-zA-Z]")
_REMEDY = (
    "give WSC or PDP as XML, in blocks of four lines (question, pronoun, candidates, answer), or a question a line"
)


class Question(NamedTuple):
    """One question as its pieces between gaps, white space collapsed; most have one piece, or two."""

    pieces: tuple[str, ...]


class QuestionFileError(CorpusError):
    """A file of questions that cannot be read: which, where, what was found, what to do."""

    def __init__(self, path: str, place: str, found: str, *, remedy: str = _REMEDY) -> None:
        self.path, self.place, self.found, self.remedy = path, place, found, remedy
        super().__init__(f"{path}{f' at {place}' if place else ''}: {found}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.path, self.place, self.found, self.remedy)


def parse_questions(data: bytes, *, path: str) -> tuple[Question, ...]:
    """The distinct questions of a file, in its order; `path` is what errors call it.

    >>> parse_questions(b"Ann asked Mary what time _ left.", path="questions.txt")
    (Question(pieces=('Ann asked Mary what time', 'left.')),)
    """
    if _LOOKS_LIKE_XML.match(data):
        texts = _read_xml(data, path)
    else:
        texts = _read_text(data, path)
    questions = merge_questions([_cut_at_gaps(text) for text in texts])
    if not questions:
        raise QuestionFileError(path, "", "no question in it")
    return questions


def merge_questions(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Each question once, where it comes first; those without a word are none."""
    return tuple(dict.fromkeys(question for question in questions if any(map(_has_word, question.pieces))))


def fingerprint_questions(questions: Iterable[Question]) -> str:
    """sha256 in hex of a set of questions; neither their order nor the file they came in counts."""
    rows = sorted({question.pieces for question in questions})
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def _cut_at_gaps(text: str) -> Question:
    pieces = (" ".join(piece.split()) for piece in _GAP.split(text))
    return Question(tuple(piece for piece in pieces if _has_word(piece)))


def _has_word(piece: str) -> bool:
    return any(char.isalnum() for char in piece)


def _read_xml(data: bytes, path: str) -> Iterator[str]:
    # Entities are not resolved and nothing is fetched: a file of questions is somebody else's file.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 0
        raise QuestionFileError(path, f"line {line}", f"not the XML it begins as ({error.msg})") from error
    schemas = list(root.iter("schema"))
    if not schemas:
        raise QuestionFileError(path, "", f"XML of <{etree.QName(root).localname}> without a single <schema>")
    for schema in schemas:
        text = schema.find("text")
        parts = () if text is None else (text.find(name) for name in ("txt1", "pron", "txt2"))
        question = " ".join("".join(part.itertext()) for part in parts if part is not None)
        if not _has_word(question):
            raise QuestionFileError(path, f"line {schema.sourceline}", "a <schema> without the words of a <text>")
        yield question


def _read_text(data: bytes, path: str) -> Iterator[str]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise QuestionFileError(path, f"line {line}", "not UTF-8", remedy="convert it to UTF-8") from error
    if "\0" in (found := "\n".join(lines)):
        line = found.count("\n", 0, found.index("\0")) + 1
        raise QuestionFileError(path, f"line {line}", "a NUL byte, so this is not text")
    blocks = list(_split_blocks(lines))
    if not any(map(_is_block, blocks)):
        return iter([line for _, block in blocks for line in block])
    for first, block in blocks:
        if not _is_block((first, block)):
            # A guess could take an answer for a question.
            found = f"{len(block)} lines that are no block of question, pronoun, candidates and answer, as others are"
            raise QuestionFileError(path, f"line {first}", found)
    return iter([block[0] for _, block in blocks])


def _split_blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The number of its first line, from 1, and the lines of each run of lines that are not blank."""
    block: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            block.append(line.strip())
        elif block:
            yield number - len(block), block
            block = []


def _is_block(numbered: tuple[int, list[str]]) -> bool:
    """Whether four lines are a question, its pronoun, its candidates and one of them."""
    _, block = numbered
    if len(block) != 4:
        return False
    question, pronoun, candidates, answer = (" ".join(line.casefold().split()) for line in block)
    # A candidate may itself hold a comma, so the answer is looked for among runs of parts.
    return _separate(answer) in _separate(candidates) and pronoun in question


def _separate(names: str) -> str:
    return ",".join(["", *(name.strip() for name in names.split(",")), ""])


def _rebuild(path: str, place: str, found: str, remedy: str) -> QuestionFileError:
    return QuestionFileError(path, place, found, remedy=remedy)
