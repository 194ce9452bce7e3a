"""SQuAD and RACE through the command: a tiny random model learns a handful of questions by heart."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bpe.training import train_vocabulary
from bpe.vocabulary import Vocabulary
from trainer.finetune import main
from trainer.finetuned_folder import Output, SeedResult, claim_output, seed_folder, write_model, write_result
from trainer.model import Encoder as Model
from trainer.model import Shape, init_weights

# Passage, question, answer; what a model of this size can tell apart in a few seconds, being words of their own.
ASKED = [
    ("In 1882 a tunnel was built.", "When was it built?", "1882"),
    ("It was Albert Zahm who built it.", "Who built it?", "Albert Zahm"),
    ("The message came over a great distance in May.", "When did it come?", "May"),
    ("Everything was sent by Green.", "Who sent it?", "Green"),
]
UNANSWERED = [("Nobody knows how long.", "How long was it?"), ("It said no more.", "What did it say?")]
WRONG = ["the first", "wireless", "wind"]
SHAPE = Shape(400, 64, layers=1, hidden=32, heads=2, feed_forward=64, dropout=0.0, attention_dropout=0.0)
FAST = ["--learning-rate", 5e-3, "--batch", 6, "--epochs", 80, "--evaluate-every", 80, "--seeds", 1, "--device", "cpu"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return train_vocabulary(
        [text for texts in ASKED + UNANSWERED for text in texts], size=400, min_frequency=1
    ).vocabulary


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    """A finetuned output whose encoder is random: weights with their vocabulary, made without training."""
    folder = tmp_path_factory.mktemp("start")
    encoder = Model(SHAPE)
    init_weights(encoder, torch.Generator().manual_seed(1))
    claim_output(folder, Output("none", {}, "", "", vocabulary.fingerprint, SHAPE), vocabulary, writes=True)
    place = seed_folder(folder, 1)
    place.mkdir()
    write_model(place, {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()})
    write_result(place, SeedResult(1, 0, 0, 0, {}, 0.0))
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def make_squad(folder: Path, *, unanswered: list[tuple[str, str]]) -> None:
    paragraphs: list[dict[str, object]] = []
    for context, question, answer in ASKED:
        record = {"id": question, "question": question}
        record["answers"] = [{"text": answer, "answer_start": context.index(answer)}]
        paragraphs.append({"context": context, "qas": [record | ({"is_impossible": False} if unanswered else {})]})
    for context, question in unanswered:
        record = {"id": question, "question": question, "answers": [], "is_impossible": True}
        paragraphs.append({"context": context, "qas": [record]})
    (folder / "own.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))


def make_race(folder: Path) -> None:
    (folder / "dev" / "middle").mkdir(parents=True)
    for place, (passage, question, answer) in enumerate(ASKED):
        options = [*WRONG[:place], answer, *WRONG[place:]]
        record = {"article": passage, "questions": [question], "options": [options], "answers": ["ABCD"[place]]}
        (folder / "dev" / "middle" / f"{place}.txt").write_text(json.dumps(record))


MAKERS: dict[str, Callable[[Path], None]] = {
    "squad1": lambda folder: make_squad(folder, unanswered=[]),
    "squad2": lambda folder: make_squad(folder, unanswered=UNANSWERED),
    "race": make_race,
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("task", MAKERS)
def test_the_loss_falls_and_what_was_learned_is_reported_and_written(
    task: str, start: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    MAKERS[task](data)
    given = ["--task", task, "--data", data, "--start-from", start, "--output", output, *FAST]
    assert main(list(map(str, given))) == 0
    shown = "".join(capfd.readouterr())
    assert "is train AND dev" in shown
    log = [json.loads(line) for line in (output / "seed-1" / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.2 * losses[0]
    report = json.loads((output / "report.json").read_text())
    chosen = report["chosen_metric"]
    assert report["median"]["dev"][chosen] > 0.9
    assert f"{chosen} {report['median']['dev'][chosen]:.4f}" in shown
    [read] = [
        path for path in (output / "seed-1" / "predictions").iterdir() if path.stem in ("predictions", "race-dev")
    ]
    told = json.loads(read.read_text())
    if task == "race":
        assert list(told.values()) == ["A", "B", "C", "D"]
    else:
        answers = {question: answer for _, question, answer in ASKED}
        assert told == answers | ({question: "" for _, question in UNANSWERED} if task == "squad2" else {})
