"""A run that is kept clear of evaluation sets: books, rows, table and report, and the same bytes by any workers.

The sets are made of what the bundled sample's own documents say, so that every document has a known answer.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

Digest = Callable[[Path], dict[str, str]]
NEVER_SAID = "Thirteen words that no page of the sample says stand in this one sentence, as they do."


def documents_of(run: Path) -> dict[bytes, dict[str, Any]]:
    table = ds.dataset(run / "documents").to_table() if (run / "documents").exists() else pa.table({})
    return {row["document_id"]: row for row in table.to_pylist()}


def words_of(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def runs_of(text: str) -> set[tuple[str, ...]]:
    """All 13 words in a row."""
    words = words_of(text).split()
    return {tuple(words[place : place + 13]) for place in range(len(words) - 12)}


@pytest.fixture(scope="module")
def leaks(reference_run: Path) -> list[str]:
    """A sentence of 14 to 40 words from the middle of each of three documents, no 13 of them in any other document."""
    documents = [row for _, row in sorted(documents_of(reference_run).items())]
    everything = [runs_of(row["text"]) for row in documents]
    found = []
    for row in documents:
        sentences = re.split(r"(?<=[.!?])\s+", row["text"])
        middle = sentences[len(sentences) // 2]
        fits = 14 <= len(words_of(middle).split()) <= 40 and middle.isascii() and len(row["text"]) > 2_000
        if fits and sum(not runs.isdisjoint(runs_of(middle)) for runs in everything) == 1:
            found.append(middle)
    assert len(found) >= 3
    return found[:3]


@pytest.fixture(scope="module")
def sets(leaks: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    (folder / "RTE").mkdir()
    rows = [f"0\t{leaks[0].upper()}\t{NEVER_SAID}", f"1\t{leaks[1]}\tToo short."]
    (folder / "RTE" / "dev.tsv").write_text("index\tsentence1\tsentence2\n" + "\n".join(rows) + "\n")
    (folder / "RTE" / "train.tsv").write_text("never read")
    context = {"context": f"So it was. {leaks[2]} So it is.", "qas": [{"question": "Was it?", "id": "0"}]}
    (folder / "dev-v1.1.json").write_text(json.dumps({"data": [{"paragraphs": [context]}]}))
    return folder


class Runs:
    """One run in each mode, by one worker, made when it is first asked for."""

    def __init__(self, folder: Path, start: Callable[..., Any]) -> None:
        self.folder, self.start = folder, start
        self.said: dict[str, str] = {}

    def __getitem__(self, mode: str) -> Path:
        if mode not in self.said:
            done = self.start(mode, output=self.folder / mode, workers=1)
            self.said[mode] = done.stdout + done.stderr
        return self.folder / mode


@pytest.fixture(scope="module")
def start(command: Any, sample: str, vocabulary: Path, sets: Path) -> Callable[..., Any]:
    def run(mode: str, *, output: Path, workers: int) -> Any:
        return command(
            "beam", "run", "pipelines/ccnews.py", "--input", sample, "--vocabulary", str(vocabulary),
            "--held-out", "0.05", "--decontaminate", f"{sets}:{mode}", "--output", str(output),
            "--workers", str(workers),
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def runs(start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"), start)


def hit_by(reference_run: Path, leaks: list[str]) -> set[bytes]:
    wanted = set().union(*map(runs_of, leaks))
    documents = documents_of(reference_run)
    return {document_id for document_id, row in documents.items() if not wanted.isdisjoint(runs_of(row["text"]))}


def manifest_of(run: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return manifest


@pytest.mark.parametrize("mode", ["mark", "cut", "drop"])
def test_the_books_balance_and_say_what_was_dropped(runs: Runs, reference_run: Path, mode: str):
    books = manifest_of(runs[mode])["books"]
    before = manifest_of(reference_run)["books"]
    assert books["read"] == before["read"] == books["kept"] + sum((books["rejected"] | books["broken"]).values())
    assert books["rejected"].get("contaminated", 0) == (3 if mode == "drop" else 0)
    assert books["kept"] == before["kept"] - (3 if mode == "drop" else 0) == len(documents_of(runs[mode]))


def test_mark_marks_these_three_and_changes_nothing_else(runs: Runs, reference_run: Path, leaks: list[str]):
    before, after = documents_of(reference_run), documents_of(runs["mark"])
    marked = {document_id: row["contamination"] for document_id, row in after.items() if row["contamination"]}
    assert marked.keys() == hit_by(reference_run, leaks)
    assert sorted(marked.values()) == [["RTE"], ["RTE"], ["SQuAD"]]
    assert {key: row | {"contamination": []} for key, row in after.items()} == before


def test_cut_leaves_the_documents_without_the_passages(runs: Runs, reference_run: Path, leaks: list[str]):
    before, after = documents_of(reference_run), documents_of(runs["cut"])
    changed = {document_id for document_id, row in after.items() if row["text"] != before[document_id]["text"]}
    assert changed == hit_by(reference_run, leaks) == {key for key, row in after.items() if row["contamination"]}
    for document_id in changed:
        text = after[document_id]["text"]
        assert runs_of(text).isdisjoint(set().union(*map(runs_of, leaks)))
        assert len(before[document_id]["text"]) > len(text) >= 200
    assert manifest_of(runs["cut"])["counts"]["tokens"] < manifest_of(reference_run)["counts"]["tokens"]


def test_drop_rejects_these_three_with_task_and_passage(runs: Runs, reference_run: Path, leaks: list[str]):
    rows = ds.dataset(runs["drop"] / "rejected").to_table().to_pylist()
    dropped = {row["document_id"]: row for row in rows if row["reason"] == "contaminated"}
    assert dropped.keys() == hit_by(reference_run, leaks)
    assert {row["stage"] for row in dropped.values()} == {"decontaminate"}
    assert sorted(row["detail"].split(": “")[0] for row in dropped.values()) == ["RTE dev", "RTE dev", "SQuAD dev"]
    for row in dropped.values():
        assert any(words_of(row["detail"].split("“")[1].rstrip("…”")) in words_of(leak) for leak in leaks)


@pytest.mark.parametrize("mode", ["mark", "cut", "drop"])
def test_the_table_is_in_the_manifest_and_in_the_report(runs: Runs, mode: str):
    said = manifest_of(runs[mode])["statistics"]["details"]["decontamination"]
    assert said["mode"] == mode
    tasks = {row["task"]: row for row in said["tasks"]}
    assert {task: (row["texts_found"], row["documents"]) for task, row in tasks.items()} == {
        "all tasks": (3, 3), "RTE": (2, 2), "SQuAD": (1, 1)
    }  # fmt: skip
    assert tasks["RTE"]["share_found"] == pytest.approx(2 / 3, abs=1e-6)
    assert tasks["all tasks"]["cuts"] == (3 if mode == "cut" else 0)
    assert tasks["all tasks"]["documents_dropped"] == (3 if mode == "drop" else 0)
    report = (runs[mode] / "report.html").read_text()
    assert "Evaluation sets" in report
    assert "WNLI is made from WSC" in report


def test_the_command_says_what_it_read_and_what_it_did_not(runs: Runs):
    assert runs["cut"].is_dir()
    assert "RTE dev: 4 texts of 1 file" in runs.said["cut"]
    assert "RTE/train.tsv: training split" in runs.said["cut"]


def test_two_workers_write_the_same_bytes_as_one(runs: Runs, start: Callable[..., Any], digest: Digest, tmp_path: Path):
    start("cut", output=tmp_path / "out", workers=2)
    assert digest(tmp_path / "out") == digest(runs["cut"])


def test_verify_is_green_after_decontamination(command: Any, runs: Runs):
    for mode in ("mark", "cut", "drop"):
        command("inspect-shards", "verify", str(runs[mode]))


@pytest.mark.parametrize(
    ("flag", "says"), [("nowhere:cut", "nowhere"), ("deploy:cut", "none of its"), ("deploy", "DIR:mark")]
)
def test_a_wrong_flag_is_one_line_before_any_work(command: Any, sample: str, tmp_path: Path, flag: str, says: str):
    output = tmp_path / "out"
    words = ["beam", "run", "pipelines/ccnews.py", "--input", sample, "--output", str(output), "--decontaminate", flag]
    done = command(*words, status=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not output.exists()
