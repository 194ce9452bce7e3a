"""Splits of input files: what belongs together, and names that depend on nothing but the input."""

from collections import Counter
from pathlib import Path

from pipelines.inputs import InputFile
from pipelines.settings import InputKind, kind_of
from pipelines.splits import FILES_PER_PART, group_of, split_input

KINDS = {"books": InputKind(settings=None, whole_files=True), "wikipedia": InputKind(settings=None)}


def test_the_first_folder_of_a_name_tells_the_kind_where_a_corpus_has_several():
    assert kind_of("books/shelf/novel.txt", KINDS) == "books"
    assert kind_of("wikipedia/enwiki.xml.bz2", KINDS) == "wikipedia"
    assert kind_of("books/novel.txt", {"": InputKind(settings=None)}) == ""


def test_a_file_of_a_group_is_one_split_whatever_its_size_and_shares_its_part(tmp_path: Path):
    (tmp_path / "novel.txt").write_bytes(b"x" * (20 << 20))
    file = InputFile("books/novel.txt", str(tmp_path / "novel.txt"), None)
    (split,) = split_input(file, limit_bytes=1_000, group="books-00000-of-00001")
    assert (split.start, split.end, split.part_name) == (0, 20 << 20, "part-books-00000-of-00001")
    assert len(split_input(file, limit_bytes=None)) > 1


def test_small_files_fill_parts_evenly_and_a_lone_one_has_a_part():
    names = [f"books/{n}.txt" for n in range(20 * FILES_PER_PART)]
    counts = Counter(group_of(name, kind="books", n_files=len(names)) for name in names)
    assert len(counts) == 20
    assert max(counts.values()) < 1.4 * FILES_PER_PART
    assert group_of("books/a.txt", kind="books", n_files=1) == "books-00000-of-00001"
