"""A generation is published whole, after the one that it follows, and again by whoever was killed while publishing."""

from pathlib import Path

import pytest

from bpe.errors import ShardError
from bpe.growing import Growing, Window, load_growing, window_folder
from pipelines.generations import Generation, next_generation, publish, read_generation, read_run
from pipelines.storage import write_atomically

FIRST = Growing("ccnews", 1, "", "5" * 64, None, ())


def window(number: int) -> Window:
    return Window(
        number, number, window_folder(number, number), f"{number}" * 64, files=1, read=3, kept=2, rejected=1, broken=0,
        tokens=0,
    )  # fmt: skip


def grow(folder: Path, n: int) -> Generation:
    newest = publish(str(folder), FIRST._replace(windows=(window(1),)))
    for number in range(2, n + 1):
        newest = publish(str(folder), next_generation(newest, [*newest.growing.windows, window(number)]))
    return newest


def test_generations_follow_each_other_and_stay_readable(tmp_path: Path):
    newest = grow(tmp_path, 3)
    assert read_generation(str(tmp_path)) == newest
    assert [load_growing(tmp_path, generation=n).generation for n in (1, 2, 3)] == [1, 2, 3]
    assert load_growing(tmp_path) == newest.growing
    assert load_growing(tmp_path, generation=2).windows == (window(1), window(2))


def test_publishing_the_newest_again_changes_nothing(tmp_path: Path):
    newest = grow(tmp_path, 2)
    assert publish(str(tmp_path), newest.growing) == newest


def test_who_was_killed_before_the_manifest_publishes_the_same(tmp_path: Path):
    before = grow(tmp_path, 2)
    after = publish(str(tmp_path), next_generation(before, [*before.growing.windows, window(3)]))
    written = (tmp_path / "manifest.json").read_bytes()
    older = (tmp_path / "generations/00000002.json").read_bytes()
    write_atomically(str(tmp_path / "manifest.json"), lambda stream: stream.write(older))
    assert read_generation(str(tmp_path)) == before
    assert publish(str(tmp_path), next_generation(before, [*before.growing.windows, window(3)])) == after
    assert (tmp_path / "manifest.json").read_bytes() == written


def test_two_writers_are_told_of_each_other(tmp_path: Path):
    before = grow(tmp_path, 2)
    publish(str(tmp_path), next_generation(before, [*before.growing.windows, window(3)]))
    with pytest.raises(ShardError, match="is not what generation 3 follows; another process writes to it"):
        publish(str(tmp_path), next_generation(before, before.growing.windows))
    with pytest.raises(ShardError, match="is not what generation 1 follows"):
        publish(str(tmp_path), FIRST._replace(windows=(window(9)._replace(first=1),)))


def test_a_folder_without_a_run_or_with_one_that_does_not_grow_is_named(tmp_path: Path):
    assert read_generation(str(tmp_path)) is None
    (tmp_path / "manifest.json").write_text('{"format": "something else"}')
    with pytest.raises(ShardError, match="a finished run that does not grow"):
        read_generation(str(tmp_path))
    with pytest.raises(ShardError, match=r"no finished run here, but .* needs one"):
        read_run(str(tmp_path), "windows/00000001")
