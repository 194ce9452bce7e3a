"""Whose folder it is: ours to continue, finished, somebody else's; and what is cleared away afterwards."""

from pathlib import Path

import pytest

from bpe.manifest import Books, Counts, FileEntry, InputEntry, Manifest, Removal, dump_manifest, settings_hash
from pipelines.inputs import InputFile
from pipelines.runs import check_output, clear_leftovers, execution_summary, hold_output, prepare_output

SETTINGS: dict[str, object] = {"corpus": "ccnews", "variant": "default"}
INPUTS = [InputFile("a.warc.gz", "/in/a.warc.gz", 10)]


def finished_run(folder: Path, *documents: FileEntry) -> Manifest:
    manifest = Manifest(
        name="ccnews", code_version="0.1.0", settings=SETTINGS, settings_hash=settings_hash(SETTINGS),
        inputs=(InputEntry("a.warc.gz", 10, "ab"),), vocabulary=None, books=Books(2, 0, {"language": 2}, {}),
        counts=Counts(0, 0, 0, 0, 0),
        statistics={"languages": {}, "domains": {"distinct": 0, "top": []}, "characters": {}, "duplicates": {}},
        documents=documents, rejected=(FileEntry("rejected/part-a.parquet", 1, "0" * 64, 2),), shards=(), report=None,
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))
    return manifest


def test_a_new_and_an_interrupted_folder_may_be_written(tmp_path: Path):
    assert check_output(str(tmp_path / "new"), SETTINGS, INPUTS, overwrite=False) is None
    prepare_output(str(tmp_path / "out"), str(tmp_path / "out" / "work" / "abc"))
    assert check_output(str(tmp_path / "out"), SETTINGS, INPUTS, overwrite=False) is None


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ValueError, match="no run of ours"):
        check_output(str(tmp_path), SETTINGS, INPUTS, overwrite=True)


def test_the_same_settings_and_input_are_a_finished_run(tmp_path: Path):
    manifest = finished_run(tmp_path / "out")
    assert check_output(str(tmp_path / "out"), SETTINGS, INPUTS, overwrite=False) == manifest


@pytest.mark.parametrize(
    ("settings", "inputs", "says"),
    [
        (SETTINGS | {"variant": "paper"}, INPUTS, "variant is default there, paper here"),
        (SETTINGS, [*INPUTS, InputFile("b.warc.gz", "/in/b.warc.gz", 5)], "1 only here"),
        (SETTINGS, [INPUTS[0]._replace(n_bytes=11)], "another size"),
    ],
)
def test_other_settings_or_input_are_named_and_need_overwrite(tmp_path: Path, settings, inputs, says: str):
    finished_run(tmp_path / "out")
    with pytest.raises(ValueError, match=says):
        check_output(str(tmp_path / "out"), settings, inputs, overwrite=False)
    assert check_output(str(tmp_path / "out"), settings, inputs, overwrite=True) is None


def test_what_was_forgotten_is_not_brought_back_by_overwriting(tmp_path: Path):
    manifest = finished_run(tmp_path / "out")
    removal = Removal("a" * 64, {"url": 1}, "", "", 1, 2, 3, 4, 0, 0, ("rejected/part-a.parquet",), "b" * 64)
    books = manifest.books._replace(read=3, rejected={"language": 2, "forgotten": 1})
    rejected = (manifest.rejected[0]._replace(rows=3),)
    manifest = manifest._replace(books=books, rejected=rejected, removals=(removal,))
    (tmp_path / "out" / "manifest.json").write_bytes(dump_manifest(manifest))
    finished = check_output(str(tmp_path / "out"), SETTINGS, INPUTS, overwrite=False)
    assert finished == manifest
    assert "forgotten since: 1 documents, which stay so" in execution_summary(manifest, "out")
    for settings in (SETTINGS, SETTINGS | {"variant": "paper"}):
        with pytest.raises(ValueError, match="1 documents were forgotten, and --overwrite would bring them back"):
            check_output(str(tmp_path / "out"), settings, INPUTS, overwrite=True)


def test_a_second_run_into_the_same_folder_is_kept_out(tmp_path: Path):
    with hold_output(str(tmp_path)), pytest.raises(ValueError, match="another run"), hold_output(str(tmp_path)):
        pass
    with hold_output(str(tmp_path)):
        pass


def test_only_files_of_ours_that_are_not_listed_are_cleared(tmp_path: Path):
    prepare_output(str(tmp_path), str(tmp_path / "work" / "abc"))
    manifest = finished_run(tmp_path, FileEntry("documents/part-kept.parquet", 1, "0" * 64, 0))
    names = ["documents/part-kept.parquet", "documents/part-old.parquet", "documents/notes.md", "shards/old.tar"]
    for name in [*names, "rejected/part-a.parquet", "mine.txt"]:
        (tmp_path / name).write_text("x")
    clear_leftovers(str(tmp_path), manifest, keep_work=False)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        "documents/part-kept.parquet", "documents/notes.md", "rejected/part-a.parquet", "mine.txt", "manifest.json",
    }  # fmt: skip
    assert not (tmp_path / "work").exists()
