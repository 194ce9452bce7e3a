"""RACE: which of four options answers a question about a passage (sections 3 and 5.3 of the paper).

    DIR/{train,dev,test}/{middle,high}/*.txt        a JSON object each: article, questions, options, answers

In: the published folder. Out: accuracy, over all questions and by level. The rule: every question is an example or is
named as broken; a file that cannot be read is one broken record. Where there is one split only, it is train and dev
both, and this is said: enough to try things, worthless as a measurement. A test split is measured beside dev.

    <s> passage </s></s> question option </s>       four rows, one per option, each of which gets one number

A question with blanks (`_`) has the option in each of them; another has it at its end. So do fairseq's scripts, which
also put spaces for the article's line ends, but show the question first. Question and option are at most 128 tokens,
the passage is cut at its end so that a row is at most 512, or what the model takes. The number is a linear layer on the
last state of `<s>`, after dropout; the loss is the cross-entropy over a question's four numbers.

Axes: R rows, T tokens, D hidden, B features, 4 options each.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from bpe.encoding import Encoder
from trainer.heads import classification_loss
from trainer.inputs import join_ids
from trainer.metrics import accuracy
from trainer.model import Shape
from trainer.tasks import Batch, Broken, DataError, Defaults, Features, Ids, Outputs, Scores, Split, Splits

LEVELS = ("middle", "high")
SPLITS = ("train", "dev", "test")
LETTERS = "ABCD"
MAX_OPTION_TOKENS = 128  # question and option
MAX_ROW_TOKENS = 512
N_SPECIAL = 4
MIN_TOKENS = 16  # a passage of 6 tokens beside a question of 6


class Choice(NamedTuple):
    """A question with its options."""

    id: str  # file and number, as high/10024.txt:1
    level: str  # of LEVELS
    passage: str
    options: tuple[str, ...]  # question and option as one text; 4
    right: int  # number of the right option, from 0


class OptionHead(nn.Module):
    """One number per row, by its `<s>`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dropout = nn.Dropout(shape.dropout)
        self.projection = nn.Linear(shape.hidden, 1)

    def forward(self, hidden_RTD: Tensor, _attention_RT: Tensor | None) -> Outputs:
        """One tensor, [R, 1]."""
        return (self.projection(self.dropout(hidden_RTD[:, 0])),)


@dataclass(frozen=True)
class ChoiceTask:
    """RACE, both levels together."""

    name: str

    @property
    def metric_names(self) -> tuple[str, ...]:
        return ("accuracy", *(f"accuracy_{level}" for level in LEVELS))

    @property
    def chosen_metric(self) -> str:
        return "accuracy"

    @property
    def defaults(self) -> Defaults:
        """Table 10's; four epochs are too few to end early in."""
        return Defaults(learning_rate=1e-5, batch=16, epochs=4, weight_decay=0.1, patience=0)

    def read(self, folder: Path) -> Splits[Choice]:
        """The splits that are there; DataError, with what was looked for, where none is."""
        found = [name for name in SPLITS if list_files(folder / name)]
        if {"train", "dev"} <= set(found):
            train, *measured = (read_split(folder, name) for name in found)
            return Splits(train, tuple(measured))
        if len(found) != 1:
            raise DataError(
                f"{folder}: looked for {{train,dev}}/{{middle,high}}/*.txt, or one of the splits alone, which would be "
                f"both; found {', '.join(found) or 'no split'}"
            )
        only = read_split(folder, found[0])
        note = f"{folder / found[0]} is train AND dev, being all there is: the metrics are not a measurement"
        note = ". ".join(filter(None, [note, only.note]))
        return Splits(only._replace(name="train", note=note), (only._replace(name="dev", note=note),))

    def encode(self, split: Split[Choice], encoder: Encoder, *, max_tokens: int, training: bool) -> list[Features]:
        """A feature of four rows per question."""
        if max_tokens < MIN_TOKENS:
            raise DataError(f"the model takes {max_tokens} tokens; a passage and a question need {MIN_TOKENS} or more")
        features: list[Features] = []
        text, passage = "", encoder.encode([]).ids
        for number, choice in enumerate(split.examples):
            if choice.passage != text:  # its questions follow each other
                text, passage = choice.passage, encoder.encode([choice.passage]).ids
            options = [encoder.encode([option]).ids for option in choice.options]
            rows, cut = zip(*(join_option(passage, option, max_tokens=max_tokens) for option in options), strict=True)
            features.append(Features(rows, np.array([choice.right], np.int64), (number,), sum(cut)))
        return features

    def make_head(self, shape: Shape) -> nn.Module:
        return OptionHead(shape)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Cross-entropy over each question's options, in nats, summed over questions."""
        return classification_loss(outputs[0].view(batch.n_features, len(LETTERS)), batch.targets[:, 0])

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """Probabilities of the options: [4]."""
        numbers = outputs[0].view(batch.n_features, len(LETTERS))
        return list(numbers.softmax(dim=1).cpu().numpy())

    def metrics(self, split: Split[Choice], features: Sequence[Features], scores: Sequence[Scores]) -> dict[str, float]:
        """Shares of right choices, without that of a level that has no question."""
        chosen = np.stack(list(scores)).argmax(axis=1)
        right = np.array([choice.right for choice in split.examples])
        values = {"accuracy": accuracy(chosen, right)}
        for level in LEVELS:
            there = np.array([choice.level == level for choice in split.examples])
            if there.any():
                values[f"accuracy_{level}"] = accuracy(chosen[there], right[there])
        return values

    def write_predictions(
        self, folder: Path, split: Split[Choice], features: Sequence[Features], scores: Sequence[Scores]
    ) -> list[Path]:
        """A letter for each question, by file and number; RACE has no script that would want another form."""
        letters = {
            choice.id: LETTERS[int(values.argmax())] for choice, values in zip(split.examples, scores, strict=True)
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"race-{split.name}.json"
        path.write_text(json.dumps(letters, indent=1) + "\n", encoding="ascii")
        return [path]


def make_task(name: str) -> ChoiceTask:
    """The task of this name."""
    return ChoiceTask(name)


def join_option(passage: Ids, option: Ids, *, max_tokens: int) -> tuple[Ids, int]:
    """The row of an option, and how many tokens it lost; at most half of a short row is question and option."""
    room = min(MAX_ROW_TOKENS, max_tokens) - N_SPECIAL
    kept = option[: min(MAX_OPTION_TOKENS, room // 2)]
    shown = passage[: room - kept.size]
    row = join_ids([shown, kept], max_tokens=room + N_SPECIAL)
    return row.ids, option.size - kept.size + passage.size - shown.size


def fill_question(question: str, option: str) -> str:
    """Question and option as one text.

    >>> fill_question("He was  _ .", "late"), fill_question("Why?", "He was late.")
    ('He was  late .', 'Why? He was late.')
    """
    return question.replace("_", option) if "_" in question else f"{question} {option}"


def list_files(folder: Path) -> list[tuple[str, Path]]:
    """A split's files, each with its level, in the order of their names."""
    return [(level, path) for level in LEVELS for path in sorted((folder / level).glob("*.txt")) if path.is_file()]


def read_split(folder: Path, name: str) -> Split[Choice]:
    """All questions of a split; DataError where it has none."""
    files = list_files(folder / name)
    records = [record for level, path in files for record in read_file(path, level)]
    examples = [record for record in records if isinstance(record, Choice)]
    broken = [record for record in records if isinstance(record, Broken)]
    if not examples:
        fault = f"{broken[0].path}: {broken[0].reason}" if broken else "they hold none"
        raise DataError(f"{folder / name}: no question in {len(files)} files; {fault}")
    absent = [level for level in LEVELS if level not in {level for level, _ in files}]
    note = f"{folder / name} has no questions of level {absent[0]}" if absent else ""
    return Split(name, tuple(examples), tuple(broken), note)


def read_file(path: Path, level: str) -> list[Choice | Broken]:
    """A file's questions; one broken record where it is not of RACE's form."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return [Broken(str(path), 1, f"not the JSON that it should be: {error}")]
    fields = content if isinstance(content, dict) else {}
    passage, *columns = (fields.get(key) for key in ("article", "questions", "options", "answers"))
    if not isinstance(passage, str) or not passage.strip():
        return [Broken(str(path), 1, "no text under `article`")]
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) < len(columns) or len({len(column) for column in lists}) != 1:
        return [Broken(str(path), 1, "`questions`, `options` and `answers` are not lists of one length")]
    return [
        _read_question(path, number, level, passage, *record)
        for number, record in enumerate(zip(*lists, strict=True), 1)
    ]


def _read_question(
    path: Path, number: int, level: str, passage: str, question: object, options: object, answer: object
) -> Choice | Broken:
    if not isinstance(question, str) or not question.strip():
        return Broken(str(path), number, "the question is no text")
    texts = [option for option in options if isinstance(option, str)] if isinstance(options, list) else []
    if not isinstance(options, list) or len(texts) != len(LETTERS) or len(options) != len(LETTERS):
        return Broken(str(path), number, f"its options are not {len(LETTERS)} texts")
    if not isinstance(answer, str) or len(answer) != 1 or answer not in LETTERS:
        return Broken(str(path), number, f"the answer is {answer!r}, none of {', '.join(LETTERS)}")
    filled = tuple(fill_question(question, option) for option in texts)
    return Choice(f"{level}/{path.name}:{number}", level, passage.replace("\n", " "), filled, LETTERS.index(answer))
