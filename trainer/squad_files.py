"""SQuAD's files: JSON of articles, paragraphs, questions and answers, as they are published.

    DIR/train-v1.1.json  dev-v1.1.json      squad1        each also with .gz after it
    DIR/train-v2.0.json  dev-v2.0.json      squad2

In: a folder. Out: questions with their passages, and what was no question. The rule: nothing is put right in silence.
A record that is no question is counted and named. An answer that is not where its offset says is not trained on, and
is named; on dev it still counts as a right text, because the official script compares texts alone.

Where one of the two files is not there, but the folder has exactly one file in the task's form, under whatever name,
that file is train and dev both, with a notice: enough to try things, worthless as a measurement. A file is in the form
of 2.0 where a question says `is_impossible`, else in that of 1.1.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer.tables import read_bytes
from trainer.tasks import Broken, DataError, find_file

NOWHERE = -1


class Answer(NamedTuple):
    """A gold answer."""

    text: str
    start: int  # its first character in the context; NOWHERE where the context does not have it there


class Question(NamedTuple):
    """A question about a passage."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]  # none where the context does not answer it


class Form(NamedTuple):
    """What the two versions of SQuAD differ in."""

    train: str
    dev: str
    impossible: bool  # whether there are questions that the passage does not answer


FORMS = {
    "squad1": Form("train-v1.1.json", "dev-v1.1.json", impossible=False),
    "squad2": Form("train-v2.0.json", "dev-v2.0.json", impossible=True),
}


class Found(NamedTuple):
    """The files of a task."""

    train: Path
    dev: Path
    notice: str  # what somebody who reads the results must know; "" for nothing


class ReadFile(NamedTuple):
    """A file's records: `len(questions) + len(broken)` of them."""

    questions: tuple[Question, ...]
    broken: tuple[Broken, ...]
    misplaced: tuple[str, ...]  # one line for each answer that is not where its offset says


def find_squad_files(folder: Path, task: str) -> Found:
    """The task's two files, or one for both; DataError with what was looked for where there is neither."""
    form = FORMS[task]
    train, dev = (find_file(folder, [name]) for name in (form.train, form.dev))
    if train and dev:
        return Found(train, dev, "")
    missing = " and no ".join(name for name, path in ((form.train, train), (form.dev, dev)) if path is None)
    candidates = [path for path in list_json_files(folder) if has_form(path, form)]
    if len(candidates) != 1:
        others = ", ".join(path.name for path in candidates) or "none"
        raise DataError(
            f"{folder}: there is no {missing}, nor with .gz after it; one file in the form of {task} would do for "
            f"both, found {others}"
        )
    only = candidates[0]
    notice = f"{only} is train AND dev, because there is no {missing}: the metrics are not a measurement"
    return Found(only, only, notice)


def list_json_files(folder: Path) -> list[Path]:
    """Files of a folder that may be SQuAD's, in the order of their names."""
    return sorted(path for pattern in ("*.json", "*.json.gz") for path in folder.glob(pattern) if path.is_file())


def has_form(path: Path, form: Form) -> bool:
    """Whether a file is SQuAD's in this version; anything else, JSON or not, is none."""
    try:
        articles = load_articles(path)
    except DataError:
        return False
    questions = [qa for _, qas in _list_paragraphs(articles) for qa in qas if isinstance(qa, dict) and "question" in qa]
    return bool(questions) and form.impossible == any("is_impossible" in qa for qa in questions)


def read_squad_file(path: Path, task: str, *, training: bool) -> ReadFile:
    """A file's questions; for training those alone that have an answer at its place, or none as 2.0 allows."""
    questions: list[Question] = []
    broken: list[Broken] = []
    misplaced: list[str] = []
    seen: set[str] = set()
    number = 0
    for context, qas in _list_paragraphs(load_articles(path)):
        for qa in qas:
            number += 1
            try:
                question = _read_question(qa, context, FORMS[task])
                _check_new(question, seen)
                if training and question.answers and all(answer.start == NOWHERE for answer in question.answers):
                    raise _BrokenRecordError(f"question {question.id}: {describe_misplaced(question)[0]}")
            except _BrokenRecordError as error:
                broken.append(Broken(str(path), number, str(error)))
                continue
            questions.append(question)
            misplaced += [f"{path}: question {question.id}: {line}" for line in describe_misplaced(question)]
    if not questions:
        raise DataError(f"{path}: none of its {number} records is a question of {task}; {_first(broken)}")
    return ReadFile(tuple(questions), tuple(broken), tuple(misplaced))


def load_articles(path: Path) -> list[object]:
    """What stands under `data`; DataError where the file is not JSON of that form."""
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not the JSON that it should be ({error}); get the file again") from error
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        raise DataError(f"{path}: no list under `data`, so not a file of SQuAD")
    return articles


def describe_misplaced(question: Question) -> list[str]:
    """A line for each answer that its passage does not have at its offset."""
    return [
        f"answer {answer.text!r} is not where answer_start says"
        for answer in question.answers
        if answer.start == NOWHERE
    ]


class _BrokenRecordError(Exception):
    """A record that is no question."""


def _list_paragraphs(articles: list[object]) -> Iterator[tuple[object, list[object]]]:
    """Contexts, each with its records of questions; what is no paragraph comes as one without text, with one record."""
    for article in articles:
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        for paragraph in paragraphs if isinstance(paragraphs, list) else [None]:
            fields = paragraph if isinstance(paragraph, dict) else {}
            qas = fields.get("qas")
            yield fields.get("context"), qas if isinstance(qas, list) else [None]


def _read_question(qa: object, context: object, form: Form) -> Question:
    if not isinstance(context, str) or not context.strip():
        raise _BrokenRecordError("its paragraph has no text under `context`")
    if not isinstance(qa, dict):
        raise _BrokenRecordError("not an object, or its paragraph has no list under `qas`")
    identifier, text = qa.get("id"), qa.get("question")
    if not isinstance(identifier, str) or not identifier:
        raise _BrokenRecordError("no text under `id`")
    if not isinstance(text, str) or not text.strip():
        raise _BrokenRecordError(f"question {identifier}: no text under `question`")
    listed = qa.get("answers")
    if not isinstance(listed, list):
        raise _BrokenRecordError(f"question {identifier}: no list under `answers`")
    answers = tuple(_read_answer(answer, identifier, context) for answer in listed)
    if not form.impossible and not answers:
        raise _BrokenRecordError(f"question {identifier}: no answers, which only squad2 has")
    impossible = qa.get("is_impossible", not answers)
    if form.impossible and impossible is not (not answers):
        raise _BrokenRecordError(f"question {identifier}: {len(answers)} answers, and is_impossible {impossible!r}")
    return Question(identifier, text, context, answers)


def _read_answer(answer: object, identifier: str, context: str) -> Answer:
    text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
    if not isinstance(text, str) or type(start) is not int:
        raise _BrokenRecordError(f"question {identifier}: an answer has no text, or no whole number as answer_start")
    there = start >= 0 and bool(text.strip()) and context.startswith(text, start)
    return Answer(text, start if there else NOWHERE)


def _check_new(question: Question, seen: set[str]) -> None:
    """Predictions are written by id, so a second question with one could never be scored on its own."""
    if question.id in seen:
        raise _BrokenRecordError(f"question {question.id}: an earlier one has this id")
    seen.add(question.id)


def _first(broken: list[Broken]) -> str:
    return f"the first: {broken[0].reason}" if broken else "it has none"
