"""SQuAD as a task: its files, its windows, what is learned of them, and the answers that come out."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encoding import Encoder
from bpe.gpt2_files import import_gpt2
from bpe.training import train_vocabulary
from trainer.finetune_report import count_unused
from trainer.inputs import collate
from trainer.model import Encoder as Model
from trainer.model import Shape, init_weights
from trainer.spans import encode_with_places
from trainer.squad_answers import choose_text, predict_answers
from trainer.squad_files import NOWHERE, Answer, Question, find_squad_files, read_squad_file
from trainer.squad_windows import encode_questions, find_answer, make_windows
from trainer.tasks import DataError, Features, Scores, Split, find_task

CONTEXT = "In 1882, Albert Zahm built an early wind tunnel. Größe: 日本語. In 1899 came the first wireless message."
TEXTS = [CONTEXT, "When was the wind tunnel built?", "Who built the tunnel?", "When did the message come?"]
ENCODER = Encoder(train_vocabulary(TEXTS * 2, size=400).vocabulary)


def make_question(name: str, text: str, answer: str | None, *, context: str = CONTEXT) -> Question:
    found = () if answer is None else (Answer(answer, context.index(answer)),)
    return Question(name, text, context, found)


QUESTIONS = (
    make_question("a", "When was the wind tunnel built?", "1882"),
    make_question("b", "Who built the tunnel?", "Albert Zahm"),
    make_question("c", "When did the message come?", "1899"),
    make_question("d", "Größe?", "日本語"),
    make_question("e", "Who sent the message?", None),
    make_question("f", "Why was it built?", None),
)


def make_file(path: Path, qas: list[Any], *, context: object = CONTEXT) -> Path:
    content = {"version": "x", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]}
    data = json.dumps(content).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def make_record(name: str, answer: str = "1882", start: int = 3, **more: object) -> dict[str, object]:
    return {"id": name, "question": "When?", "answers": [{"text": answer, "answer_start": start}], **more}


def score_perfectly(features: list[Features], *, none: bool) -> list[Scores]:
    """What a model would give that is always right."""
    scores = []
    for feature in features:
        n_tokens, (first, last) = feature.rows[0].size, feature.targets.tolist()
        rows = np.full(2 * n_tokens, -20.0, np.float32)
        rows[[int(first), n_tokens + int(last)]] = -0.1
        scores.append(np.append(rows, np.float32(-9 if first else 9)) if none else rows)
    return scores


def begins_where_it_shows_most(feature: Features) -> bool:
    """Whether a window holds the answer, and none shows more around the answer's first token."""
    assert feature.aside is not None
    before = feature.rows[0].size - 1 - len(feature.aside)
    return bool(feature.targets.any() and feature.aside[int(feature.targets[0]) - before, 2])


# Files


def test_every_record_of_the_real_files_is_a_question_or_named(shared_data: Path) -> None:
    folder = shared_data / "eval" / "SQuAD"
    first, second = (find_task(name).read(folder) for name in ("squad1", "squad2"))
    assert (len(first.train.examples), len(first.dev[0].examples)) == (1190, 1190)
    assert first.train.broken == first.dev[0].broken == ()
    # The six questions of 2.0 are five: two have one id.
    assert (len(second.dev[0].examples), len(second.dev[0].broken)) == (5, 1)
    assert "an earlier one has this id" in second.dev[0].broken[0].reason
    assert [bool(question.answers) for question in second.dev[0].examples].count(False) == 1


def test_a_folder_with_one_file_in_the_form_of_the_task_has_it_as_train_and_dev_and_says_so(shared_data: Path) -> None:
    folder = shared_data / "eval" / "SQuAD"
    for task, name in (("squad1", "xquad.en.json.gz"), ("squad2", "squad2-fixture.json")):
        splits = find_task(task).read(folder)
        for split in (splits.train, *splits.dev):
            assert f"{name} is train AND dev" in split.note


def test_files_under_their_published_names_are_train_and_dev(tmp_path: Path) -> None:
    make_file(tmp_path / "train-v1.1.json", [make_record("a"), make_record("b")])
    make_file(tmp_path / "dev-v1.1.json.gz", [make_record("c")])
    make_file(tmp_path / "dev-v2.0.json", [make_record("d", is_impossible=False)])
    splits = find_task("squad1").read(tmp_path)
    assert [question.id for question in splits.train.examples] == ["a", "b"]
    assert [question.id for question in splits.dev[0].examples] == ["c"]
    assert splits.train.note == splits.dev[0].note == ""
    assert find_squad_files(tmp_path, "squad2").notice


@pytest.mark.parametrize("names", [[], ["a.json", "b.json"]], ids=["none", "two"])
def test_a_folder_without_the_files_is_told_what_was_looked_for(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        make_file(tmp_path / name, [make_record("a")])
    make_file(tmp_path / "other.json", [make_record("a", is_impossible=False)])
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(
        DataError, match=r"no train-v1\.1\.json and no dev-v1\.1\.json.* found " + (", ".join(names) or "none")
    ):
        find_task("squad1").read(tmp_path)


BROKEN = {
    "not an object": (3, "not an object"),
    "no id": ({"question": "When?", "answers": []}, "no text under `id`"),
    "no question": (make_record("x") | {"question": "  "}, "no text under `question`"),
    "no answers": ({"id": "x", "question": "When?"}, "no list under `answers`"),
    "an answer without a place": (
        {"id": "x", "question": "When?", "answers": [{"text": "1882", "answer_start": "3"}]},
        "no whole number",
    ),
    "an id twice": (make_record("good"), "an earlier one has this id"),
    "an impossible one with answers": (make_record("x", is_impossible=True), "1 answers, and is_impossible True"),
    "a possible one without": (make_record("x", is_impossible=False) | {"answers": []}, "0 answers, and"),
    "its answer elsewhere": (make_record("x", start=4), "is not where answer_start says"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_is_no_question_is_named_and_the_others_are_read(tmp_path: Path, case: str) -> None:
    record, reason = BROKEN[case]
    path = make_file(tmp_path / "a.json", [make_record("good"), record, make_record("last")])
    read = read_squad_file(path, "squad2", training=True)
    assert [question.id for question in read.questions] == ["good", "last"]
    assert [(bad.line, reason in bad.reason) for bad in read.broken] == [(2, True)]


def test_a_question_of_1_1_has_an_answer(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.json", [make_record("a"), make_record("b") | {"answers": []}])
    assert "no answers, which only squad2 has" in read_squad_file(path, "squad1", training=False).broken[0].reason


@pytest.mark.parametrize("context", [None, " ", 5], ids=["missing", "blank", "a number"])
def test_questions_without_a_passage_are_each_named(tmp_path: Path, context: object) -> None:
    path = make_file(tmp_path / "a.json", [make_record("a"), make_record("b")], context=context)
    with pytest.raises(DataError, match=r"none of its 2 records .* no text under `context`"):
        read_squad_file(path, "squad1", training=True)


def test_an_answer_that_is_elsewhere_is_right_on_dev_but_not_trained_on(tmp_path: Path) -> None:
    wrong = make_record("x", "Zahm", 4)
    make_file(tmp_path / "a.json", [make_record("a"), wrong])
    splits = find_task("squad1").read(tmp_path)
    assert [question.id for question in splits.train.examples] == ["a"]
    assert splits.dev[0].examples[1].answers == (Answer("Zahm", NOWHERE),)
    assert "1 answers are not trained on" in splits.dev[0].note
    assert "question x: answer 'Zahm'" in splits.dev[0].note


# Windows


def test_a_window_is_question_and_passage_with_separators_and_the_answer_at_its_place() -> None:
    [feature] = make_windows(
        QUESTIONS[3], 7, encode_with_places(CONTEXT, ENCODER), ENCODER, max_tokens=512, training=False
    )
    row = feature.rows[0]
    assert ENCODER.decode(row) == f"<s>Größe?</s></s>{CONTEXT}</s>"
    first, last = feature.targets.tolist()
    assert ENCODER.decode(row[int(first) : int(last) + 1]).strip(" .") == "日本語"
    assert feature.examples == (7,)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), context=st.text(min_size=1, max_size=60), max_tokens=st.integers(16, 40))
def test_windows_are_short_enough_and_where_one_holds_the_answer_its_text_comes_back(
    data: st.DataObject, context: str, max_tokens: int
) -> None:
    solid = [place for place, character in enumerate(context) if not character.isspace()]
    if not solid:
        return
    start = data.draw(st.sampled_from(solid))
    end = data.draw(st.sampled_from([place for place in solid if place >= start])) + 1
    question = Question("q", data.draw(st.text(max_size=40)), context, (Answer(context[start:end], start),))
    features = list(encode_questions((question,), ENCODER, max_tokens=max_tokens, training=False))
    assert all(feature.rows[0].size <= max_tokens for feature in features)
    passage = encode_with_places(context, ENCODER)
    span = find_answer(question, passage)
    assert span is not None
    [prediction] = predict_answers([question], features, score_perfectly(features, none=False))
    assert all(context.startswith(candidate.text, candidate.start) for candidate in prediction.candidates)
    first, last = passage.places[span[0], 0], passage.places[span[1], 1]
    in_owner = any(begins_where_it_shows_most(feature) for feature in features)
    if in_owner and span[1] - span[0] < 30:
        assert context[start:end] in prediction.candidates[0].text
        assert prediction.candidates[0].text == context[first:last].strip()


def test_questions_whose_answer_fits_into_no_window_are_not_trained_on() -> None:
    long = make_question("l", "What?", CONTEXT)
    assert list(encode_questions((long,), ENCODER, max_tokens=24, training=True)) == []
    assert count_unused(Split("train", (long,)), []) == 1
    kept = list(encode_questions((long,), ENCODER, max_tokens=24, training=False))
    assert len(kept) > 1
    assert not any(feature.targets.any() for feature in kept)


def test_a_model_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="takes 12 tokens"):
        list(encode_questions(QUESTIONS, ENCODER, max_tokens=12, training=True))


# Answers


@pytest.mark.parametrize("max_tokens", [512, 32])
def test_what_is_scored_perfectly_is_measured_as_right(max_tokens: int) -> None:
    for name, questions in (("squad1", QUESTIONS[:4]), ("squad2", QUESTIONS)):
        task, split = find_task(name), Split("dev", questions)
        features = task.encode(split, ENCODER, max_tokens=max_tokens, training=False)
        values = task.metrics(split, features, score_perfectly(features, none=name == "squad2"))
        assert tuple(values) == task.metric_names
        assert all(value == 1.0 for metric, value in values.items() if not metric.endswith("thresh"))


def test_real_answers_come_back_as_the_texts_that_they_are(shared_data: Path) -> None:
    files = (shared_data / "bpe" / name for name in ("encoder.json", "vocab.bpe", "dict.txt"))
    encoder, task = Encoder(import_gpt2(*files)), find_task("squad1")
    split = task.read(shared_data / "eval" / "SQuAD").dev[0]
    split = split._replace(examples=split.examples[:300])
    features = task.encode(split, encoder, max_tokens=384, training=False)
    values = task.metrics(split, features, score_perfectly(features, none=False))
    # What is missing is longer than 30 tokens, or begins or ends inside a token.
    assert values["exact_match"] > 0.99


def test_a_window_that_is_sure_of_an_answer_outweighs_those_that_have_none() -> None:
    task, split = find_task("squad2"), Split("dev", QUESTIONS)
    features = task.encode(split, ENCODER, max_tokens=32, training=False)
    scores = score_perfectly(features, none=True)
    assert len(features) > len(QUESTIONS)
    told = predict_answers(split.examples, features, scores)
    assert [choose_text(each) for each in told] == ["1882", "Albert Zahm", "1899", "日本語", "", ""]
    assert [round(each.no_answer) for each in told] == [0, 0, 0, 0, 1, 1]


def test_predictions_are_files_of_texts_by_id_as_the_official_script_reads_them(tmp_path: Path) -> None:
    task, split = find_task("squad2"), Split("dev", QUESTIONS)
    features = task.encode(split, ENCODER, max_tokens=64, training=False)
    written = task.write_predictions(tmp_path / "new", split, features, score_perfectly(features, none=True))
    read = {path.name: json.loads(path.read_bytes()) for path in written}
    assert read["predictions.json"] == {"a": "1882", "b": "Albert Zahm", "c": "1899", "d": "日本語", "e": "", "f": ""}
    assert read["na_prob.json"].keys() == read["predictions.json"].keys()
    assert read["nbest_predictions.json"]["b"][0]["start"] == CONTEXT.index("Albert Zahm")


# Scores and loss


@pytest.mark.parametrize("name", ["squad1", "squad2"])
def test_padding_beside_a_window_changes_neither_its_loss_nor_its_scores(name: str) -> None:
    task, run = find_task(name), _Run(name)
    split = Split("train", (*QUESTIONS, make_question("s", "Who?", "Zahm", context="Zahm came.")))
    features = task.encode(split, ENCODER, max_tokens=64, training=False)
    together = collate(features, torch.device("cpu"))
    outputs = run(together)
    alone = [collate([feature], torch.device("cpu")) for feature in features]
    losses = [task.loss(run(batch), batch) for batch in alone]
    assert torch.stack(losses).sum().item() == pytest.approx(task.loss(outputs, together).item(), rel=1e-4)
    for feature, batch, scores in zip(features, alone, task.scores(outputs, together), strict=True):
        assert scores.shape == (2 * feature.rows[0].size + (name == "squad2"),)
        np.testing.assert_allclose(task.scores(run(batch), batch)[0], scores, atol=1e-4)


class _Run:
    """A tiny model of random weights and the task's head."""

    def __init__(self, name: str) -> None:
        shape = Shape(400, 64, layers=1, hidden=32, heads=2, feed_forward=64, dropout=0.0, attention_dropout=0.0)
        self.encoder, self.head = Model(shape), find_task(name).make_head(shape)
        for part in (self.encoder, self.head):
            init_weights(part, torch.Generator().manual_seed(1))

    @torch.no_grad()
    def __call__(self, batch: Any) -> tuple[torch.Tensor, ...]:
        outputs: tuple[torch.Tensor, ...] = self.head(self.encoder(batch.input_ids, batch.attention), batch.attention)
        return outputs
