"""A work file gives back what was written, and a torn one is made again rather than believed."""

from pathlib import Path

import pytest

from corpora.documents import Document, Rejection, make_document_id
from pipelines.ledger import BooksError
from pipelines.select_stage import read_part
from pipelines.work_files import read_summary, write_work_file


def document(number: int) -> Document:
    place = make_document_id("a.warc.gz", number, "http://a.example/")
    return Document(
        place, f"http://a.example/{number}", "Title", f"Text {number} with a lone accent é.", "2017-01-02", "en",
        "a.warc.gz", number, "2017-01-02T03:04:05Z", ("A. Writer", "B. Writer"), "en-GB", "A", "utf-8", "http", "x 1",
    )  # fmt: skip


def rejection(number: int, *, broken: bool = False) -> Rejection:
    place = make_document_id("a.warc.gz", number, "http://a.example/")
    return Rejection(place, f"http://a.example/{number}", "language", "language", "de", "a.warc.gz", number, broken)


def test_what_was_written_is_read_back(tmp_path: Path):
    path = str(tmp_path / "split.parquet")
    verdicts = [document(n) if n % 3 else rejection(n, broken=n % 2 == 0) for n in range(3_500)]
    written = write_work_file(path, verdicts, n_read=3_500, administrative=2)
    assert read_summary(path) == written
    kept, rejected = read_part([path], {})
    assert [Document(*row.values()) for row in kept.to_pylist()] == [
        one._replace(authors=list(one.authors), contamination=[]) for one in verdicts if isinstance(one, Document)
    ]
    assert [Rejection(*row.values()) for row in rejected.to_pylist()] == [
        one for one in verdicts if isinstance(one, Rejection)
    ]


def test_the_order_in_which_verdicts_arrive_changes_no_byte(tmp_path: Path):
    documents, rejections = [document(n) for n in range(5)], [rejection(n) for n in range(10, 15)]
    write_work_file(str(tmp_path / "one"), [*documents, *rejections], n_read=10, administrative=0)
    write_work_file(str(tmp_path / "two"), [*rejections[::-1], *documents], n_read=10, administrative=0)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_lost_record_leaves_no_work_file(tmp_path: Path):
    with pytest.raises(BooksError):
        write_work_file(str(tmp_path / "split.parquet"), [document(1)], n_read=2, administrative=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_torn_work_file_does_not_count_as_finished(tmp_path: Path, damage: str):
    path = tmp_path / "split.parquet"
    write_work_file(str(path), [document(1)], n_read=1, administrative=0)
    data = path.read_bytes()
    content = {"missing": None, "empty": b"", "cut": data[:-30], "other": b"not parquet at all"}[damage]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert read_summary(str(path)) is None
