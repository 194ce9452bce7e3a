"""data.jsonl keeps what was written, loses no more than a line that a crash cut off, and names what is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data_record import DATA, EpochRecord, FolderRecord, append_record, begin_records, read_records
from trainer.run_folder import RunError

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.text("abc é", min_size=1, max_size=5).map(lambda name: f"x{name}x")
histories = st.lists(st.tuples(st.integers(1, 10**6), digests, digests), min_size=1, max_size=5)


def make_records(root: Path, history: list[tuple[int, str, str]], name: str = "news") -> list[EpochRecord]:
    """Of a corpus that grows and one that does not."""
    return [
        EpochRecord(
            epoch, (FolderRecord(root / name, generation, first), FolderRecord(root / "runs" / "books", None, second))
        )
        for epoch, (generation, first, second) in enumerate(history)
    ]


def write_records(run: Path, records: list[EpochRecord]) -> None:
    begin_records(run, records[0])
    for record in records[1:]:
        append_record(run, record)


@given(histories, names, st.integers(1, 200))
def test_what_is_recorded_is_read_again_wherever_a_crash_cut_the_next_line(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, str, str]], name: str, cut: int
) -> None:
    root = tmp_path_factory.mktemp("records")
    run = root / "run"
    records = make_records(root, history, name)
    write_records(run, records)
    assert list(read_records(run)) == records
    line = (run / DATA).read_bytes().splitlines(keepends=True)[-1]
    before = (run / DATA).read_bytes()
    (run / DATA).write_bytes(before + line[: min(cut, len(line) - 1)])
    assert list(read_records(run)) == records
    following = records[-1]._replace(epoch=len(records))
    append_record(run, following)
    assert list(read_records(run)) == [*records, following]
    assert (run / DATA).read_bytes().startswith(before)  # earlier lines are as they were


def test_a_run_and_its_data_may_be_moved_together(tmp_path: Path) -> None:
    records = make_records(tmp_path / "here", [(1, "a" * 64, "b" * 64)])
    write_records(tmp_path / "here" / "run", records)
    (tmp_path / "here").rename(tmp_path / "there")
    assert list(read_records(tmp_path / "there" / "run")) == make_records(tmp_path / "there", [(1, "a" * 64, "b" * 64)])


def test_a_run_without_the_file_has_no_records_and_a_new_beginning_replaces_them(tmp_path: Path) -> None:
    assert read_records(tmp_path / "run") == ()
    records = make_records(tmp_path, [(3, "a" * 64, "b" * 64), (4, "c" * 64, "b" * 64)])
    write_records(tmp_path / "run", records)
    begin_records(tmp_path / "run", records[0])
    assert read_records(tmp_path / "run") == (records[0],)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not what an epoch reads"),
        ("[]", "not what an epoch reads"),
        ('{"epoch": 1}', "not what an epoch reads"),
        ('{"epoch": 2, "data": [{"folder": "x", "generation": 1, "manifest_sha256": "a"}]}', "epoch 2, where epoch 1"),
        ('{"epoch": 1, "data": []}', "where epoch 1 belongs"),
        ('{"epoch": 1, "data": [{"folder": "x", "generation": 0, "manifest_sha256": "a"}]}', "generation 0"),
        ('{"epoch": 1, "data": [{"folder": "x", "generation": true, "manifest_sha256": "a"}]}', "generation True"),
        ('{"epoch": 1, "data": [{"folder": 3, "generation": 1, "manifest_sha256": "a"}]}', "are texts"),
        ('{"epoch": 1, "data": [{"folder": "x", "generation": 1, "manifest_sha256": "a"}]}', "not those of line 1"),
    ],
    ids=["torn", "list", "no-data", "late", "nothing", "zeroth", "truth", "number", "fewer"],
)
def test_a_line_that_cannot_be_trusted_is_named_with_a_remedy(tmp_path: Path, line: str, says: str) -> None:
    write_records(tmp_path, make_records(tmp_path, [(1, "a" * 64, "b" * 64)]))
    with (tmp_path / DATA).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(RunError, match=rf"{DATA}:2: .*another --output") as caught:
        read_records(tmp_path)
    assert says in str(caught.value)
