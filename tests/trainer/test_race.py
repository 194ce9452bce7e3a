"""RACE as a task: its files, its rows, its measures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bpe.encoding import Encoder
from bpe.training import train_vocabulary
from trainer.inputs import collate
from trainer.model import Shape, init_weights
from trainer.race import Choice, fill_question, join_option, read_split
from trainer.tasks import DataError, Split, find_task

TASK = find_task("race")
ARTICLE = "Ann has a dog.\nBen has a cat. Both walk in the park on Sundays."
TEXTS = [ARTICLE, "Who has a cat?", "Ann has a  _  .", "Ben", "dog", "cat", "park", "Sunday"]
ENCODER = Encoder(train_vocabulary(TEXTS * 2, size=320).vocabulary)
RECORD = {
    "id": "high1.txt",
    "article": ARTICLE,
    "questions": ["Ann has a  _  .", "Who has a cat?"],
    "options": [["dog", "cat", "park", "Sunday"], ["Ann", "Ben", "Both", "Nobody"]],
    "answers": ["A", "B"],
}


def write(folder: Path, split: str, level: str, record: object, *, name: str = "1.txt") -> Path:
    path = folder / split / level / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def make_choice(level: str, right: int = 0) -> Choice:
    return Choice(f"{level}/1.txt:1", level, "Passage.", ("a", "b", "c", "d"), right)


def test_every_question_of_the_real_files_is_read(shared_data: Path) -> None:
    splits = TASK.read(shared_data / "eval" / "RACE")
    [dev] = splits.dev
    assert len(splits.train.examples) == len(dev.examples) == 109
    assert dev.broken == ()
    assert {choice.level for choice in dev.examples} == {"middle", "high"}
    assert "is train AND dev" in splits.train.note
    assert "is train AND dev" in dev.note


def test_the_real_files_with_faults_are_read_up_to_the_faults(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "eval" / "RACE" / "dev", tmp_path / "dev")
    cut, other = tmp_path / "dev" / "high" / "10024.txt", tmp_path / "dev" / "middle" / "1011.txt"
    for path in (cut, other):
        path.chmod(0o644)
    content = json.loads(other.read_text())
    content["answers"][1] = "E"
    other.write_text(json.dumps(content))
    cut.write_bytes(cut.read_bytes()[:-9])
    split = read_split(tmp_path, "dev")
    # The three questions of the file that was cut off are one record now.
    assert len(split.examples) + len(split.broken) == 109 - 3 + 1
    assert [(Path(bad.path).name, bad.line) for bad in split.broken] == [("1011.txt", 2), ("10024.txt", 1)]


def test_train_and_dev_are_read_and_test_is_measured_beside_dev(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        for level in ("middle", "high"):
            write(tmp_path, split, level, RECORD)
    splits = TASK.read(tmp_path)
    assert [(split.name, len(split.examples), split.note) for split in (splits.train, *splits.dev)] == [
        ("train", 4, ""),
        ("dev", 4, ""),
        ("test", 4, ""),
    ]


def test_a_level_that_is_not_there_is_said(tmp_path: Path) -> None:
    write(tmp_path, "train", "high", RECORD)
    write(tmp_path, "dev", "high", RECORD)
    assert TASK.read(tmp_path).train.note.endswith("no questions of level middle")


@pytest.mark.parametrize("there", [(), ("dev", "test")], ids=["nothing", "no train"])
def test_a_folder_without_the_splits_is_told_what_was_looked_for(tmp_path: Path, there: tuple[str, ...]) -> None:
    for split in there:
        write(tmp_path, split, "high", RECORD)
    with pytest.raises(
        DataError, match=r"looked for \{train,dev\}/\{middle,high\}/\*\.txt.*found " + (", ".join(there) or "no")
    ):
        TASK.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        ({"article": " "}, 1, "no text under `article`"),
        ({"answers": ["A"]}, 1, "not lists of one length"),
        ({"options": None}, 1, "not lists of one length"),
        ({"questions": ["", "Who has a cat?"]}, 1, "the question is no text"),
        ({"options": [RECORD["options"][0], ["a", "b", "c"]]}, 2, "not 4 texts"),
        ({"options": [RECORD["options"][0], ["a", "b", "c", 4]]}, 2, "not 4 texts"),
        ({"answers": ["A", "AB"]}, 2, "'AB', none of A, B, C, D"),
        ({"answers": ["A", ""]}, 2, "'', none of"),
    ],
)
def test_what_is_no_question_is_named(tmp_path: Path, change: dict[str, object], line: int, reason: str) -> None:
    write(tmp_path, "dev", "high", {**RECORD, **change}, name="2.txt")
    write(tmp_path, "dev", "high", RECORD)
    split = read_split(tmp_path, "dev")
    assert [(Path(bad.path).name, bad.line, reason in bad.reason) for bad in split.broken] == [("2.txt", line, True)]
    assert len(split.examples) == (2 if "lists" in reason or "article" in reason else 3)


@pytest.mark.parametrize("content", ["", "[1]", '{"article": "x"}', "\ud800"], ids=["empty", "list", "half", "bytes"])
def test_a_file_that_is_not_of_the_form_is_one_broken_record(tmp_path: Path, content: str) -> None:
    write(tmp_path, "dev", "high", RECORD)
    (tmp_path / "dev" / "high" / "0.txt").write_bytes(content.encode("utf-8", "surrogatepass"))
    split = read_split(tmp_path, "dev")
    assert (len(split.examples), len(split.broken), split.broken[0].line) == (2, 1, 1)


def test_an_option_fills_every_blank_or_follows_the_question() -> None:
    assert fill_question("_ and _ are here.", "Ann") == "Ann and Ann are here."
    assert fill_question("Who is here?", "Ann") == "Who is here? Ann"


def test_a_question_is_four_rows_of_passage_and_option(tmp_path: Path) -> None:
    write(tmp_path, "dev", "high", RECORD)
    split = read_split(tmp_path, "dev")
    features = TASK.encode(split, ENCODER, max_tokens=512, training=True)
    passage = ARTICLE.replace("\n", " ")
    assert [ENCODER.decode(row) for row in features[0].rows] == [
        f"<s>{passage}</s></s>Ann has a  {option}  .</s>" for option in RECORD["options"][0]
    ]
    assert ENCODER.decode(features[1].rows[3]) == f"<s>{passage}</s></s>Who has a cat? Nobody</s>"
    assert [feature.targets.tolist() for feature in features] == [[0], [1]]


def test_rows_are_cut_where_the_paper_cuts_them_and_what_is_lost_is_counted() -> None:
    passage, option = np.arange(4, 904).astype(np.uint16), np.arange(1000, 1200).astype(np.uint16)
    for max_tokens, kept_option in ((512, 128), (1024, 128), (64, 30)):
        row, n_cut = join_option(passage, option, max_tokens=max_tokens)
        length = min(512, max_tokens)
        kept_passage = length - 4 - kept_option
        assert row.tolist() == [0, *passage[:kept_passage], 2, 2, *option[:kept_option], 2]
        assert n_cut == 900 + 200 - kept_passage - kept_option
    row, n_cut = join_option(passage[:5], option[:3], max_tokens=512)
    assert (row.size, n_cut) == (12, 0)


def test_a_model_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="takes 12 tokens"):
        TASK.encode(Split("dev", (make_choice("high"),)), ENCODER, max_tokens=12, training=False)


def test_accuracy_is_over_all_and_by_level() -> None:
    choices = (make_choice("high", 1), make_choice("high", 2), make_choice("high", 3), make_choice("middle", 1))
    scores = [np.eye(4, dtype=np.float32)[1]] * 4
    assert TASK.metrics(Split("dev", choices), [], scores) == {
        "accuracy": 0.5,
        "accuracy_middle": 1.0,
        "accuracy_high": pytest.approx(1 / 3),
    }
    assert "accuracy_middle" not in TASK.metrics(Split("dev", choices[:3]), [], scores[:3])


def test_predictions_are_letters_by_file_and_question(tmp_path: Path) -> None:
    split = Split("dev", (make_choice("high"), make_choice("middle")))
    [path] = TASK.write_predictions(tmp_path / "new", split, [], list(np.eye(4, dtype=np.float32)[[3, 1]]))
    assert json.loads(path.read_bytes()) == {"high/1.txt:1": "D", "middle/1.txt:1": "B"}


def test_the_loss_is_over_each_questions_own_options() -> None:
    shape = Shape(320, hidden=16, heads=2, dropout=0.0)
    head = TASK.make_head(shape)
    init_weights(head, torch.Generator().manual_seed(1))
    split = Split("dev", (make_choice("high", 2), make_choice("middle", 0)))
    batch = collate(TASK.encode(split, ENCODER, max_tokens=64, training=True), torch.device("cpu"))
    hidden = torch.randn(8, batch.input_ids.shape[1], 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        outputs = head(hidden, None)
        probabilities = TASK.scores(outputs, batch)
        loss = TASK.loss(outputs, batch).item()
    assert loss == pytest.approx(-np.log(probabilities[0][2]) - np.log(probabilities[1][0]), rel=1e-5)
    assert all(values.sum() == pytest.approx(1.0) for values in probabilities)
