"""GLUE's files as they are distributed: each line is an example or is named, and the server gets what it asks for."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from trainer.glue import MAX_SCORE, Example, SentenceTask, read_glue
from trainer.tasks import DataError, Features, Split, find_task

# Records of the real files, counted by `wc -l` less the header.
REAL = {
    "cola": (8551, {"dev": 527 + 516}, {}),
    "sst2": (60_614, {"dev": 6_735}, {"test": 872}),
    "mrpc": (4_076 - 408, {"dev": 408}, {"test": 1_725}),
    "stsb": (5_749, {"dev": 1_500}, {"test": 1_379}),
    "rte": (1_244, {"dev": 139}, {"test": 1_384}),
    "wnli": (565, {"dev": 70}, {"test": 71}),
}


def _write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("task", REAL)
def test_every_line_of_the_real_files_is_an_example(shared_data: Path, task: str) -> None:
    train, dev, test = REAL[task]
    splits = read_glue(task, shared_data / "eval")
    assert len(splits.train.examples) == train
    assert {split.name: len(split.examples) for split in splits.dev} == dev
    assert {split.name: len(split.examples) for split in splits.test} == test
    assert [bad for split in (splits.train, *splits.dev, *splits.test) for bad in split.broken] == []


def test_mrpc_quotes_are_text_and_its_mark_of_byte_order_is_not(shared_data: Path) -> None:
    first = read_glue("mrpc", shared_data / "eval").dev[0].examples[0]
    assert first.label == 1
    assert first.texts[0] == 'Amrozi accused his brother, whom he called "the witness", of deliberately distorting his evidence.'  # fmt: skip  # noqa: E501


def test_qnli_without_training_data_says_which_file_it_looked_for(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"no train split; looked for train\.tsv, plain or \.gz"):
        read_glue("qnli", shared_data / "eval" / "QNLI")


def test_a_short_line_an_unknown_label_and_bad_bytes_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    lines = [b"index\tsentence1\tsentence2\tlabel", b"0\tA.\tB.\tentailment\r", b"1\tshort", b"2\tA\xff\tB\tentailment",
             b"3\tC.\tD.\tmaybe", b"", "4\tx\x85y\u2028z\t\"E.\tnot_entailment".encode()]  # fmt: skip
    (tmp_path / "train.tsv").write_bytes(b"\n".join(lines))
    with gzip.open(tmp_path / "dev.tsv.gz", "wb") as stream:
        stream.write(lines[0] + b"\n" + lines[1] + b"\n")
    train = read_glue("rte", tmp_path).train
    assert [example.texts for example in train.examples] == [("A.", "B."), ("x\x85y\u2028z", '"E.')]
    assert [(bad.line, bad.reason) for bad in train.broken] == [
        (3, "2 columns, 4 were expected"),
        (4, "not UTF-8 at byte 3 of the line"),
        (5, "the label is 'maybe', none of not_entailment, entailment"),
        (6, "1 columns, 4 were expected"),
    ]
    assert len(train.examples) + len(train.broken) == len(lines) - 1


def test_cola_of_glue_has_a_header_in_test_alone(tmp_path: Path) -> None:
    record = "gj04\t1\t\tIt is so.\n"
    _write(tmp_path, {"train.tsv": record * 3, "dev.tsv": record, "test.tsv": "index\tsentence\n7\tIs it so?\n"})
    splits = read_glue("cola", tmp_path)
    assert len(splits.train.examples) == 3
    assert splits.test[0].examples == (Example("7", ("Is it so?",), None),)


def test_mnli_finds_its_columns_by_name_in_files_of_other_widths(tmp_path: Path) -> None:
    train = (
        "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n0\tx\tA\tB\tneutral\tcontradiction\n1\tx\tA\tB\t-\t-\n"
    )
    dev = "index\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n0\tA\tB\tneutral\tneutral\tentailment\n"
    test = "index\tsentence1\tsentence2\n9\tA\tB\n"
    files = {"train.tsv": train, "dev_matched.tsv": dev, "dev_mismatched.tsv": dev, "test_mismatched.tsv": test}
    splits = read_glue("mnli", _write(tmp_path / "MNLI", files).parent)
    assert [example.label for example in splits.train.examples] == [0]
    assert [bad.reason for bad in splits.train.broken] == [
        "the label is '-', none of contradiction, neutral, entailment"
    ]
    assert [split.name for split in splits.dev] == ["dev_matched", "dev_mismatched"]
    assert [split.name for split in splits.test] == ["test_mismatched"]


def test_mrpc_dev_is_what_glue_chose_where_it_says_so(tmp_path: Path) -> None:
    record = "1\t{0}\t{0}9\tA {0}.\tB {0}.\n"
    text = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + "".join(record.format(k) for k in range(20))
    _write(tmp_path, {"msr_paraphrase_train.txt": text})
    splits = read_glue("mrpc", tmp_path)
    assert [example.texts[0] for example in splits.dev[0].examples] == ["A 0.", "A 10."]
    assert "not GLUE's dev" in splits.dev[0].note
    _write(tmp_path, {"dev_ids.tsv": "5\t59\n7\t79\n"})
    splits = read_glue("mrpc", tmp_path)
    assert [example.texts[0] for example in splits.dev[0].examples] == ["A 5.", "A 7."]
    assert len(splits.train.examples) == 18
    assert splits.dev[0].note == ""


def test_a_file_of_another_task_is_told_by_its_columns(tmp_path: Path) -> None:
    _write(tmp_path, {"train.tsv": "a\tb\n1\t2\n", "dev.tsv": "a\tb\n1\t2\n"})
    with pytest.raises(DataError, match=r"no column question1, only 'a', 'b'; is it the task's file"):
        read_glue("qqp", tmp_path)


@pytest.mark.parametrize(
    ("task", "split", "scores", "file", "lines"),
    [
        ("cola", "test", [[0.2, 0.8], [0.9, 0.1]], "CoLA.tsv", ["a\t1", "b\t0"]),
        ("rte", "test", [[0.2, 0.8], [0.9, 0.1]], "RTE.tsv", ["a\tentailment", "b\tnot_entailment"]),
        ("mnli", "test_mismatched", [[0, 1, 0], [0, 0, 1]], "MNLI-mm.tsv", ["a\tneutral", "b\tentailment"]),
        ("stsb", "test", [[5.4], [2.25]], "STS-B.tsv", ["a\t5.000", "b\t2.250"]),
    ],
)
def test_the_server_gets_its_own_names(
    tmp_path: Path, task: str, split: str, scores: list[list[float]], file: str, lines: list[str]
) -> None:
    examples = Split(split, (Example("a", ("x", "y"), None), Example("b", ("x", "y"), None)))
    features: list[Features] = []
    [path] = SentenceTask(task).write_predictions(
        tmp_path, examples, features, [np.array(row, np.float32) for row in scores]
    )
    assert path.name == file
    assert path.read_text().splitlines() == ["index\tprediction", *lines]


def test_metrics_are_those_of_the_benchmark() -> None:
    split = Split("dev", tuple(Example(str(k), ("x",), label) for k, label in enumerate((1, 1, 0, 0))))
    scores = [np.array([1 - p, p], np.float32) for p in (0.9, 0.8, 0.7, 0.1)]
    assert SentenceTask("cola").metrics(split, [], scores) == {"matthews_correlation": pytest.approx(0.5773503)}
    assert SentenceTask("mrpc").metrics(split, [], scores) == {"accuracy": 0.75, "f1": pytest.approx(0.8)}
    graded = Split("dev", tuple(Example(str(k), ("x",), label) for k, label in enumerate((0.0, 1.0, 2.0, MAX_SCORE))))
    values = SentenceTask("stsb").metrics(graded, [], [np.array([v], np.float32) for v in (1, 2, 3, 6)])
    assert values == {name: pytest.approx(1.0) for name in ("pearson", "spearmanr", "combined_score")}


def test_a_task_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="there is no task 'ner'; known: cola"):
        find_task("ner")
