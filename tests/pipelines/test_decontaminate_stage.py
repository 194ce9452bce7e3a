"""Decontamination as a run uses it: the flag, the index file, and parts whose rows are all accounted for."""

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from corpora.contamination_counts import ALL_TASKS
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA, make_document_id
from pipelines.decontaminate_stage import (
    CleanedPart,
    DecontaminationPlan,
    Decontaminator,
    describe_contamination,
    list_tree,
    plan_decontamination,
    read_flag,
)

LEAK = "Although the weights made the long rope stretch over the old pulley, the sailors rode on."
FILLER = "Nothing of this paragraph was ever part of a test, and it says so at some length to fill its place. "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluation sets below a folder with a colon in its name."""
    folder = tmp_path_factory.mktemp("data") / "sets: small"
    (folder / "RTE").mkdir(parents=True)
    (folder / "RTE" / "dev.tsv").write_text(f"index\tsentence1\tsentence2\n0\t{LEAK}\tToo short.\n")
    (folder / "CoLA").mkdir()
    (folder / "CoLA" / "in_domain_dev.tsv").write_text(f"gj04\t1\t\t{LEAK} At last they slept.\n")
    (folder / "README").write_text("ours")
    return folder


def plan_for(folder: Path, mode: str) -> DecontaminationPlan:
    plan = plan_decontamination(f"{folder}:{mode}")
    assert plan is not None
    return plan


def make_documents(*texts: str) -> pa.Table:
    rows = []
    for number, text in enumerate(texts):
        place = {"source": "a.warc.gz", "offset": number * 1_000, "url": f"http://a.example/{number}"}
        named = {field.name: "" for field in DOCUMENT_SCHEMA if field.type in (pa.string(), pa.large_string())}
        lists = {"authors": [], "score": None, "gaps": 0, "contamination": []}
        document_id = make_document_id("a.warc.gz", number * 1_000, "")
        rows.append({**named, **lists, **place, "document_id": document_id, "text": text, "language": "en"})
    return pa.Table.from_pylist(rows, DOCUMENT_SCHEMA)


TEXTS = (FILLER * 4, FILLER * 8 + LEAK + " " + FILLER * 8, LEAK, FILLER + LEAK.upper(), "")


@pytest.fixture(scope="module")
def parts(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CleanedPart]:
    """The same documents in each mode."""
    cleaned = {}
    for mode in ("mark", "cut", "drop"):
        path = str(tmp_path_factory.mktemp("index") / "evaluation.npz")
        plan_for(folder, mode).write_index(path)
        cleaned[mode] = Decontaminator(path).clean(make_documents(*TEXTS))
    return cleaned


def test_mark_changes_nothing_but_the_mark(parts: dict[str, CleanedPart]) -> None:
    part = parts["mark"]
    assert part.kept.drop_columns("contamination") == make_documents(*TEXTS).drop_columns("contamination")
    marks = part.kept["contamination"].to_pylist()
    assert marks == [[], ["CoLA", "RTE"], ["CoLA", "RTE"], ["CoLA", "RTE"], []]
    assert part.rejected.num_rows == 0
    assert part.altered == []


def test_cut_keeps_what_is_far_from_the_passage_and_says_what_it_was(parts: dict[str, CleanedPart]) -> None:
    part = parts["cut"]
    texts = make_documents(*TEXTS)
    assert part.kept["url"].to_pylist() == [f"http://a.example/{number}" for number in (0, 1, 4)]
    cut = part.kept["text"].to_pylist()[1]
    assert "pulley" not in cut
    assert len(cut) > len(FILLER) * 10
    assert part.kept["contamination"].to_pylist() == [[], ["CoLA", "RTE"], []]
    ids = texts["document_id"].to_pylist()
    assert part.altered == [(ids[number], TEXTS[number]) for number in (1, 2, 3)]


def test_drop_rejects_with_the_task_and_the_passage(parts: dict[str, CleanedPart]) -> None:
    part = parts["drop"]
    assert part.kept["url"].to_pylist() == ["http://a.example/0", "http://a.example/4"]
    rows = part.rejected.to_pylist()
    assert [row["offset"] for row in rows] == [1_000, 2_000, 3_000]
    assert {(row["stage"], row["reason"], row["broken"]) for row in rows} == {("decontaminate", "contaminated", False)}
    assert {row["detail"].lower() for row in rows} == {f"cola dev, rte dev: “{LEAK.lower().rstrip('.')}”"}


@pytest.mark.parametrize("mode", ["mark", "cut", "drop"])
def test_every_document_is_kept_or_rejected_and_schemas_stay(parts: dict[str, CleanedPart], mode: str) -> None:
    part = parts[mode]
    assert part.kept.schema == DOCUMENT_SCHEMA
    assert part.rejected.schema == REJECTION_SCHEMA
    ids = part.kept["document_id"].to_pylist() + part.rejected["document_id"].to_pylist()
    assert sorted(ids) == sorted(make_documents(*TEXTS)["document_id"].to_pylist())
    counts = {one.task: one for one in part.counts}
    assert set(counts) == {ALL_TASKS, "CoLA", "RTE"}
    assert counts[ALL_TASKS].n_documents == counts["RTE"].n_documents == 3
    assert counts[ALL_TASKS].n_dropped == part.rejected.num_rows
    assert pickle.loads(pickle.dumps(part.counts)) == part.counts  # they travel between workers


def test_a_part_without_documents_is_a_part(folder: Path, tmp_path: Path) -> None:
    plan_for(folder, "cut").write_index(str(tmp_path / "index"))
    part = Decontaminator(str(tmp_path / "index")).clean(DOCUMENT_SCHEMA.empty_table())
    assert (part.kept.num_rows, part.rejected.num_rows, part.altered) == (0, 0, [])
    assert part.kept.schema == DOCUMENT_SCHEMA
    assert {one.n_documents for one in part.counts} == {0}


def test_the_table_is_the_same_however_documents_fall_into_parts(folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "index")
    plan_for(folder, "cut").write_index(path)
    decontaminator = Decontaminator(path)
    whole = describe_contamination(path, [decontaminator.clean(make_documents(*TEXTS * 20)).counts])
    parts = [decontaminator.clean(make_documents(*TEXTS)).counts for _ in range(20)]
    random.Random(1).shuffle(parts)
    assert describe_contamination(path, parts) == whole
    assert json.loads(json.dumps(whole)) == whole
    rows = {row["task"]: row for row in whole["tasks"]}  # type: ignore[attr-defined]
    assert rows["RTE"] == {
        "task": "RTE", "texts": 2, "texts_too_short": 1, "ngrams": 4, "texts_found": 1, "share_found": 1.0,
        "texts_widespread": 1, "documents": 60, "cuts": 60, "documents_dropped": 40,
    }  # fmt: skip
    empty = describe_contamination(path, [])
    assert [row["documents"] for row in empty["tasks"]] == [0, 0, 0]  # type: ignore[attr-defined]


def test_the_same_sets_give_the_same_index_and_settings_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "moved" / "glue" / "rte").mkdir(parents=True)
    (tmp_path / "moved" / "glue" / "rte" / "dev.tsv").write_bytes((folder / "RTE" / "dev.tsv").read_bytes())
    (tmp_path / "moved" / "cola").mkdir()
    (tmp_path / "moved" / "cola" / "dev.tsv").write_bytes((folder / "CoLA" / "in_domain_dev.tsv").read_bytes())
    one, other = plan_for(folder, "cut"), plan_for(tmp_path / "moved", "cut")
    assert one.settings() == other.settings()
    one.write_index(str(tmp_path / "one"))
    other.write_index(str(tmp_path / "other"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert one.settings() != plan_for(folder, "drop").settings()
    json.dumps(one.settings())


def test_an_index_of_another_version_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    plan_for(folder, "mark").write_index(str(path))
    with np.load(path) as arrays:
        changed = dict(arrays)
    head = json.loads(changed["head"].tobytes())
    head["hashing"]["shingle_version"] = 0
    changed["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez(path, **changed)
    with pytest.raises(ValueError, match=r"index\.npz: made by another version.*remove it"):
        Decontaminator(str(path))


def test_the_files_of_the_folder_are_reported(folder: Path) -> None:
    assert plan_for(folder, "mark").describe_files() == [
        "CoLA dev: 1 text of 1 file",
        "RTE dev: 2 texts of 1 file",
        "README: not recognised: neither its name nor its folder's names a set",
    ]
    assert list_tree(str(folder)) == ["CoLA/in_domain_dev.tsv", "README", "RTE/dev.tsv"]


def test_no_flag_is_no_plan() -> None:
    assert plan_decontamination("") is None


@pytest.mark.parametrize(
    ("value", "folder", "mode"),
    [("eval:mark", "eval", "mark"), ("C:\\eval:drop", "C:\\eval", "drop"), ("gs://a/b:cut", "gs://a/b", "cut")],
)
def test_the_flag_is_parted_at_its_last_colon(value: str, folder: str, mode: str) -> None:
    assert read_flag(value) == (folder, mode)


@pytest.mark.parametrize("value", ["eval", ":cut", "eval:", "eval:delete", "s3://bucket/eval"])
def test_a_wrong_flag_says_what_a_right_one_is(value: str) -> None:
    with pytest.raises(ValueError, match=r"--decontaminate.*:mark, .*:cut, .*:drop"):
        read_flag(value)


def test_a_folder_that_is_missing_or_holds_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no folder {tmp_path}/nowhere"):
        plan_decontamination(f"{tmp_path}/nowhere:cut")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path}/empty: none of its 0 files"):
        plan_decontamination(f"{tmp_path}/empty:cut")


def test_real_articles_with_real_test_passages_planted_are_all_found(shared_data: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "index")
    plan = plan_decontamination(f"{shared_data / 'eval'}:mark")
    assert plan is not None
    plan.write_index(path)
    decontaminator = Decontaminator(path)
    long = [one for one in plan.sets.texts if len(one.text.split()) > 20]
    planted = random.Random(7).sample(long, 200)
    part = decontaminator.clean(make_documents(*(f"{FILLER}\n{one.text.upper()}\n{FILLER}" for one in planted)))
    for one, marks in zip(planted, part.kept["contamination"].to_pylist(), strict=True):
        assert one.task in marks
    assert pc.sum(pc.list_value_length(part.kept["contamination"])).as_py() < 300
