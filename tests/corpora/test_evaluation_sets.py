"""Evaluation sets are read as they are published: real files of others, and the oddities that they are known for."""

import gzip
import io
import json
from collections import Counter
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.errors import RecordError
from corpora.evaluation_sets import (
    COMMON_PHRASES,
    TRAINING_SPLIT,
    EvaluationSets,
    EvaluationText,
    classify_file,
    list_files_by_fate,
    read_evaluation_sets,
)


def read(files: dict[str, bytes], folder: str = "sets") -> EvaluationSets:
    return read_evaluation_sets(folder, [(name, partial(files.__getitem__, name)) for name in files])


def read_folder(folder: Path) -> EvaluationSets:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return read_evaluation_sets(str(folder), [(name, (folder / name).read_bytes) for name in names])


def texts_of(sets: EvaluationSets, task: str, split: str = "") -> list[str]:
    return [one.text for one in sets.texts if one.task == task and one.split in (split or one.split)]


@pytest.fixture(scope="module")
def real_sets(shared_data: Path) -> EvaluationSets:
    return read_folder(shared_data / "eval")


def test_every_row_of_the_real_files_is_read(real_sets: EvaluationSets) -> None:
    n_texts = Counter[tuple[str, str]]()
    for file in real_sets.files:
        n_texts[file.task, file.split] += file.n_texts
    assert n_texts["CoLA", "dev"] == 527 + 516
    assert n_texts["MRPC", "test"] == 2 * 1_725
    assert n_texts["MRPC", "dev"] == 2 * 408
    assert n_texts["STS-B", "dev"] == 2 * 1_500
    assert n_texts["STS-B", "test"] == 2 * 1_379
    assert n_texts["QNLI", "dev"] == 2 * 5_463
    assert n_texts["SQuAD", "all"] == 1_190 + 240 + 6 + 2
    assert n_texts["WNLI", "dev"] == 2 * 70
    assert [file.note for file in real_sets.files if file.is_read] == [""] * sum(f.is_read for f in real_sets.files)


def test_training_splits_are_set_aside_unread(real_sets: EvaluationSets, shared_data: Path) -> None:
    aside = {file.name for file in real_sets.files if file.note == TRAINING_SPLIT}
    assert aside == {
        f"{name}.gz" for name in ("CoLA/in_domain_train.tsv", "MRPC/msr_paraphrase_train.txt", "RTE/train.tsv",
                                  "SST-2/train.tsv", "STS-B/train.tsv", "WNLI/train.tsv")
    }  # fmt: skip
    assert "Our friends won't buy this analysis, let alone the next one we propose." not in texts_of(real_sets, "CoLA")
    damaged = read({"RTE/train.tsv.gz": b"never looked at", "RTE/dev.tsv": b"sentence1\tsentence2\na\tb\n"})
    assert [file.n_texts for file in damaged.files] == [2, 0]


def test_what_counts_of_real_races_are_articles_and_questions_without_their_gaps(real_sets: EvaluationSets) -> None:
    texts = texts_of(real_sets, "RACE")
    assert any(text.startswith("To many students, high school is just a basic routine.") for text in texts)
    assert "The students at Royal West Academy may do the following ECAs except" in texts
    assert not any(text == "to attend sports events" for text in texts), "options do not count"
    assert not any("_" in text for text in texts)


def test_real_winograd_schemas_are_whole_in_xml_and_parted_at_the_pronoun_in_text(shared_data: Path) -> None:
    sets = read_folder(shared_data / "commonsense")
    assert {file.task: file.note for file in sets.files} == {"WSC": "", "PDP": ""}
    texts = set(texts_of(sets, "WSC", "all"))
    start = "The city councilmen refused the demonstrators a permit because"
    assert {f"{start} they feared violence.", start, "advocated violence."} <= texts
    assert any(text.startswith("Then Dad figured out how much the man owed") for text in texts_of(sets, "PDP"))


def test_quotes_are_text_and_no_row_is_lost_to_them() -> None:
    rows = b'index\tquestion\tsentence\tlabel\n0\t"Who said so?\t"It is so," he said.\tx\n1\tWho?\tShe "did\ty\n'
    assert texts_of(read({"QNLI/dev.tsv": rows}), "QNLI") == [
        '"It is so," he said.', '"Who said so?', 'She "did', "Who?"
    ]  # fmt: skip


def test_published_oddities_are_read() -> None:
    mrpc = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\tOne.\tTwo.\n"
    sets = read(
        {
            "CoLA/dev.tsv": b"gj04\t0\t*\tNo header here.\r\n",
            "CoLA/test.tsv": b"index\tsentence\n0\tA header here.\n",
            "MRPC/msr_paraphrase_test.txt": mrpc.encode(),
            "STS-B/original/sts-dev.tsv": b"main-captions\tMSRvid\t2012test\t0000\t5.000\tA man.\tThe man.\tlicence\n",
            "MNLI/dev_matched.tsv": b"index\tpromptID\tsentence1\tsentence2\n0\t9\tA premise.\tA guess.\n",
            "AX/diagnostic.tsv": b"index\tsentence1\tsentence2\n0\tThe cat sat.\tThe cat did not sit.\n",
            "SST-2/dev.tsv": b"sentence\tlabel\nyou do n't have to know -lrb- much -rrb- , they wo n't \t1\n",
            "QQP/test.tsv": b"id\tquestion1\tquestion2\n0\tHow?\tWhy?\n1\tbroken row\n",
        }
    )
    assert set(sets.texts) == {
        EvaluationText("CoLA", "dev", "No header here."),
        EvaluationText("CoLA", "test", "A header here."),
        EvaluationText("MRPC", "test", "One."),
        EvaluationText("MRPC", "test", "Two."),
        EvaluationText("STS-B", "dev", "A man."),
        EvaluationText("STS-B", "dev", "The man."),
        EvaluationText("MNLI", "dev", "A premise."),
        EvaluationText("MNLI", "dev", "A guess."),
        EvaluationText("AX", "all", "The cat sat."),
        EvaluationText("AX", "all", "The cat did not sit."),
        EvaluationText("SST-2", "dev", "you don't have to know   much   , they won't"),
        EvaluationText("QQP", "test", "How?"),
        EvaluationText("QQP", "test", "Why?"),
    }
    assert [file.note for file in sets.files if file.note] == ["1 row without one of its fields"]


def test_copies_in_rows_are_read_like_the_originals() -> None:
    rows = [{"sentence1": "One.", "sentence2": "Two.", "label": 1, "idx": 0}]
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    lines = "\n".join(map(json.dumps, rows)).encode()
    race = [{"article": "Long ago.", "question": "When _ ?", "options": ["a", "b"], "answer": "A"}]
    assert texts_of(read({"rte/validation-00000-of-00001.parquet": table.getvalue()}), "RTE", "dev") == ["One.", "Two."]
    assert texts_of(read({"copies/rte-test.jsonl.gz": gzip.compress(lines, mtime=0)}), "RTE", "test") == [
        "One.",
        "Two.",
    ]
    assert texts_of(read({"WSC/val.jsonl": b'{"text": "Mark told Pete lies."}'}), "WSC") == ["Mark told Pete lies."]
    assert texts_of(read({"RACE/test.json": json.dumps(race).encode()}), "RACE") == ["?", "Long ago.", "When"]


def test_a_folder_that_is_one_set_is_known_by_its_own_name(shared_data: Path) -> None:
    sets = read_folder(shared_data / "eval" / "RACE")
    assert {(file.task, file.split) for file in sets.files} == {("RACE", "dev")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("glue_data/SST-2/dev.tsv", ("SST-2", "dev")),
        ("glue/mnli_mismatched/test-00000-of-00001.parquet", ("MNLI", "test")),
        ("dev-v1.1.json", ("SQuAD", "dev")),
        ("squad_v2/train-v2.0.json", ("SQuAD", "train")),
        ("RACE/train/high/1.txt", ("RACE", "train")),
        ("RACE/README.txt", ("", "")),
        ("WSCollection.xml", ("WSC", "all")),
        ("PDPChallenge.xml", ("PDP", "all")),
        ("pdp-60.txt", ("PDP", "all")),
        ("traces/embrace/squadron/grte/dev.tsv", ("", "")),
        ("wsc/latest/contest.jsonl", ("WSC", "all")),
    ],
)
def test_task_and_split_come_from_names(path: str, expected: tuple[str, str]) -> None:
    assert classify_file(path) == expected


def test_each_file_is_reported_and_why_it_is_not_recognised() -> None:
    good = b"sentence1\tsentence2\na\tb\n"
    sets = read(
        {
            "RTE/dev.tsv": good,
            ".DS_Store": b"",
            "MRPC/dev_ids.tsv": b"1\t2\n",
            "RTE/notes.md": b"# notes",
            "WSC/readme.txt": b"words",
            "RTE/test.tsv": b"sentence1\tsentence2\n",
            **{f"RACE/train/high/{n}.txt": b"" for n in range(3)},
        }
    )
    assert list_files_by_fate(sets.files) == [
        "RTE dev: 2 texts of 1 file",
        ".DS_Store: not recognised: neither its name nor its folder's names a set",
        "MRPC/dev_ids.tsv: not recognised as MRPC: its first line does not name the columns sentence1 and sentence2"
        " or #1 string and #2 string",
        "RACE/train/high/0.txt and 2 more there: training split",
        "RTE/notes.md: not recognised as RTE: no evaluation set is published as .md",
        "RTE/test.tsv: not recognised as RTE: it holds no text",
        "WSC/readme.txt: not recognised as WSC: no line of it is [MASK] alone, as below each sentence of WSC and PDP",
    ]


@pytest.mark.parametrize("files", [{}, {"a.bin": b"x"}, {"RTE/train.tsv": b"x"}, {COMMON_PHRASES: b"one\n"}])
def test_a_folder_without_sets_is_one_clear_error(files: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"^sets: none of its \d files? is the dev or test split.*as in RTE/dev\.tsv"):
        read(files)


@pytest.mark.parametrize(
    ("name", "data", "offset"),
    [
        ("RTE/dev.tsv", b"sentence1\tsentence2\n\xff\tb", 20),
        ("RTE/dev.tsv.gz", gzip.compress(b"sentence1\tsentence2\n", mtime=0)[:-9], 0),
        ("SQuAD/dev-v1.1.json", b'{"data": [', 10),
        ("olmo/rte-test.jsonl", b'{"sentence1": "a", "sentence2": "b"}\n{"sent', 37),
        ("RTE/test.parquet", b"PAR1", 0),
        ("wsc273.xml", b"<collection>", 0),
        ("RACE/test/high/1.txt", b"{", 1),
    ],
)
def test_a_damaged_file_is_named_with_the_place_and_what_to_do(name: str, data: bytes, offset: int) -> None:
    with pytest.raises(RecordError, match=f"^{name} at byte {offset}: .*; .*fetch") as raised:
        read({name: data})
    assert raised.value.offset == offset


def test_odd_trees_are_counted_and_not_crashed_on() -> None:
    odd = [{}, 5, {"paragraphs": [{"context": "A context.", "qas": [{"question": "Who?"}, {"id": 3}]}, "x"]}]
    sets = read({"dev-v2.0.json": json.dumps({"version": "v2.0", "data": odd}).encode()})
    assert texts_of(sets, "SQuAD", "dev") == ["A context.", "Who?"]
    assert sets.files[0].note.endswith("rows without one of its fields")


def test_xml_of_others_cannot_read_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    doctype = f'<!DOCTYPE c [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
    schema = "<c><schema><text><txt1>Before &e; all</txt1><pron>it</pron><txt2>was.</txt2></text></schema></c>"
    assert "secret" not in str(read({"wsc.xml": (doctype + schema).encode()}).texts)


def test_the_fingerprint_is_of_the_texts_and_of_nothing_else() -> None:
    rows = b"sentence1\tsentence2\na\tb\n"
    one = read({"RTE/dev.tsv": rows, "RTE/README": b"x"})
    same = read(
        {"elsewhere/rte/dev.tsv.gz": gzip.compress(rows, mtime=0), "elsewhere/rte-dev.tsv": rows}, folder="other"
    )
    assert one.fingerprint == same.fingerprint
    others = [
        read({"RTE/test.tsv": rows}),
        read({"WNLI/dev.tsv": rows}),
        read({"RTE/dev.tsv": b"sentence1\tsentence2\nab\t\n"}),
        read({"RTE/dev.tsv": rows, COMMON_PHRASES: b"a phrase\n"}),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5
