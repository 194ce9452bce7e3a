"""Books and Wikipedia from real files: the books balance, editions go, one worker and two write the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import books_wiki

Rows = Callable[[Path, str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def flags(shared_data: Path) -> list[str]:
    dumps, books = shared_data / "wikipedia", shared_data / "books"
    words = ["beam", "run", "pipelines/books_wiki.py"]
    words += ["--wikipedia", str(dumps / "enwiki-*.bz2"), "--limit-bytes", "900000"]
    return [*words, "--books", str(books / "epub"), str(books / "editions" / "Jack-*"), str(books / "gutenberg" / "m*")]


@pytest.fixture(scope="module")
def run(command: Any, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("books_wiki") / "out"
    command(*flags, "--workers", "1", "--output", str(output))
    return output


def test_every_record_of_both_kinds_is_kept_or_lost_for_a_reason(
    run: Path, manifest: dict[str, Any], rows: Rows
) -> None:
    books = manifest["books"]
    lost = books["rejected"] | books["broken"]
    assert books["read"] == books["kept"] + sum(lost.values())
    assert (len(rows(run, "documents")), len(rows(run, "rejected"))) == (books["kept"], sum(lost.values()))
    assert {"redirect", "near_duplicate"} <= lost.keys()


def test_an_edition_is_dropped_for_a_kept_one_that_it_is_like(run: Path, rows: Rows) -> None:
    kept = {row["document_id"]: row for row in rows(run, "documents")}
    dropped = [row for row in rows(run, "rejected") if row["reason"] == "near_duplicate"]
    assert any("Jack-Sheppard" in row["source"] for row in dropped)
    for row in dropped:
        assert row["dropped_by"] in kept
        assert row["similarity"] > 0.5


def test_kinds_are_told_apart_by_name_and_stand_beside_their_own_targets(
    run: Path, manifest: dict[str, Any], rows: Rows
) -> None:
    kinds = manifest["statistics"]["details"]["kinds"]
    documents = rows(run, "documents")
    for kind in ("books", "wikipedia"):
        mine = [row for row in documents if row["source"].startswith(f"{kind}/")]
        assert kinds[f"{kind} documents"] == len(mine) > 0
        assert kinds[f"{kind} text_bytes"] == sum(len(row["text"].encode()) for row in mine)
    report = (run / "report.html").read_text()
    assert "books: text" in report
    assert "wikipedia: text" in report


def test_a_document_says_where_it_comes_from(command: Any, run: Path, shared_data: Path, rows: Rows) -> None:
    article = next(row for row in rows(run, "documents") if row["source"].startswith("wikipedia/"))
    said = command(
        "inspect-shards",
        "trace",
        run,
        "--document",
        article["document_id"].hex(),
        "--warc-root",
        shared_data / "wikipedia",
    ).stdout
    assert article["url"] in said
    assert article["source"] in said


def test_two_workers_write_the_same_bytes_as_one(command: Any, flags: list[str], run: Path, digest: Any) -> None:
    other = run.parent / "two"
    command(*flags, "--workers", "2", "--output", str(other))
    assert digest(other) == digest(run)


def test_without_input_one_line_says_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert books_wiki.run(["--output", str(tmp_path / "out")]) == 2
    complaint = capsys.readouterr().err
    assert "--wikipedia" in complaint
    assert "--books" in complaint
    assert complaint.count("\n") == 1
