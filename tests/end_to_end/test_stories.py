"""Stories from real WARC and WET files: books, the cut, scores, the same bytes from one worker and two."""

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpora.commonsense import parse_questions
from pipelines import stories

KEEP = 0.15

Rows = Callable[[Path, str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def flags(shared_data: Path) -> list[str]:
    warc, questions = shared_data / "warc", shared_data / "commonsense"
    inputs = [
        warc / "commoncrawl-whirlwind" / "whirlwind.warc.wet.gz",
        warc / "commoncrawl-whirlwind" / "whirlwind.warc.gz",
        warc / "dolma" / "sample-0000.warc.gz",
        shared_data / "ccnews" / "CC-NEWS-STANDIN-dev300.warc.gz",
    ]
    words = ["beam", "run", "pipelines/stories.py", "--input", *map(str, inputs), "--limit-bytes", "700000"]
    return [*words, "--questions", *(str(questions / name) for name in ("wsc273.txt", "PDP.txt")), "--keep", str(KEEP)]


@pytest.fixture(scope="module")
def run(command: Any, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("stories") / "out"
    command(*flags, "--workers", "1", "--output", str(output))
    return output


def test_the_books_balance_and_the_cut_keeps_the_share_that_was_asked_for(run: Path, manifest: dict[str, Any]) -> None:
    books, cut = manifest["books"], manifest["statistics"]["details"]["cut"]
    lost = books["rejected"] | books["broken"]
    assert books["read"] == books["kept"] + sum(lost.values())
    duplicates = sum(n for reason, n in lost.items() if reason.startswith("duplicate"))
    assert cut["documents_scored"] == books["kept"] + duplicates + lost["below_cut"] > 20
    assert cut["documents_at_or_above_the_cut"] == books["kept"] + duplicates
    assert cut["documents_at_or_above_the_cut"] == math.ceil(KEEP * cut["documents_scored"])


def test_kept_documents_have_the_twins_score_and_it_reaches_the_cut(
    run: Path, manifest: dict[str, Any], shared_data: Path, project_root: Path, rows: Rows
) -> None:
    spec = importlib.util.spec_from_file_location("twin", project_root / "tests" / "benchmarks" / "stories_twin.py")
    assert spec is not None
    assert spec.loader is not None
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    folder = shared_data / "commonsense"
    questions = [
        question
        for name in ("wsc273.txt", "PDP.txt")
        for question in parse_questions((folder / name).read_bytes(), path=name)
    ]
    cut = manifest["statistics"]["details"]["cut"]
    scores = []
    for document in rows(run, "documents"):
        assert document["score"] == twin.slow_score(document["text"], questions)
        scores.append(document["score"])
    assert min(scores) >= cut["lowest_score_kept"] > 0
    assert max(scores) == cut["highest_score"]


def test_what_was_cut_says_its_score_and_the_cut(run: Path, manifest: dict[str, Any], rows: Rows) -> None:
    cut = f"{manifest['statistics']['details']['cut']['lowest_score_kept']:.6f}"
    below = [row for row in rows(run, "rejected") if row["reason"] == "below_cut"]
    assert len(below) == manifest["books"]["rejected"]["below_cut"]
    for row in below:
        score, _, named = row["detail"].removeprefix("score ").partition(", the cut is ")
        assert row["stage"] == "rank"
        assert named == cut
        assert float(score) <= float(cut)


def test_the_manifest_shows_the_questions_by_fingerprint_alone(manifest: dict[str, Any]) -> None:
    described = manifest["settings"]["extract"]["all"]["processing"]
    assert (described["n_questions"], len(described["questions"])) == (333, 64)
    assert "councilmen" not in json.dumps(manifest)
    assert manifest["settings"]["selection"]["keep"] == KEEP


def test_the_report_shows_the_cut_beside_what_was_published(run: Path) -> None:
    report = (run / "report.html").read_text()
    assert "Documents were ranked by score" in report
    assert "947,247" in report


def test_the_report_warns_of_the_overlap_with_evaluation(run: Path) -> None:
    assert "WNLI of GLUE derives from WSC" in (run / "report.html").read_text()


def test_two_workers_write_the_same_bytes_as_one(command: Any, flags: list[str], run: Path, digest: Any) -> None:
    other = run.parent / "two"
    command(*flags, "--workers", "2", "--output", str(other))
    assert digest(other) == digest(run)


@pytest.mark.parametrize(
    ("questions", "keep", "status", "says"),
    [
        ("empty.txt", "0.1", 1, "empty.txt: no question in it"),
        ("missing.txt", "0.1", 2, "--questions"),
        ("good.txt", "0", 2, "--keep"),
    ],
)
def test_what_cannot_be_ranked_by_is_said_on_one_line(
    tmp_path: Path, sample: str, capsys: pytest.CaptureFixture[str], questions: str, keep: str, status: int, says: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "good.txt").write_text("Did he?\n")
    words = ["--input", sample, "--output", str(tmp_path / "out"), "--keep", keep]
    assert stories.run([*words, "--questions", str(tmp_path / questions)]) == status
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()
