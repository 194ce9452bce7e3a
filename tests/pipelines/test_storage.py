import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.storage import (
    HashingWriter,
    exists,
    join,
    list_files,
    local_path,
    make_folder,
    open_read,
    remove,
    remove_tree,
    size_of,
    sweep_temporaries,
    write_atomically,
)


def write(data: bytes) -> Callable[[BinaryIO], int]:
    return lambda stream: stream.write(data)


@pytest.fixture(params=["local", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder on the local disk, and one in fsspec's object store in memory: both must behave alike."""
    if request.param == "local":
        yield str(tmp_path)
        return
    url = f"memory://{tmp_path.name}"
    yield url
    remove_tree(join(url, "out"), root=url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to, root included."""
    folder = tmp_path / "fixed"
    folder.mkdir()
    (folder / "old.tar").write_bytes(b"old")
    for command in (["mount", "--bind", folder, folder], ["mount", "-o", "remount,bind,ro", folder]):
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
            pytest.skip(f"cannot make a folder read-only here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_what_was_written_is_there_whole_and_nothing_else_is(root: str) -> None:
    make_folder(join(root, "out"))
    path = join(root, "out", "a.tar")
    assert not exists(path)
    assert write_atomically(path, write(b"first")) == 5
    assert write_atomically(path, write(b"the second")) == 10
    with open_read(path) as stream:
        assert stream.seek(4) == 4
        assert stream.read() == b"second"
    assert exists(path)
    assert size_of(path) == 10
    assert list_files(join(root, "out"), "*") == ["a.tar"]


def test_a_failing_write_leaves_the_old_file_and_no_temporary(root: str) -> None:
    make_folder(join(root, "out"))
    path = join(root, "out", "a.tar")
    write_atomically(path, write(b"old"))

    def fail(stream: BinaryIO) -> None:
        stream.write(b"x" * 3_000_000)
        raise KeyError("a damaged record")

    with pytest.raises(KeyError, match="a damaged record"):
        write_atomically(path, fail)
    with open_read(path) as stream:
        assert stream.read() == b"old"
    assert list_files(join(root, "out"), "*") == ["a.tar"]


def test_listing_sorts_matches_names_alone_and_knows_no_folder_that_is_absent(root: str) -> None:
    make_folder(join(root, "out", "deeper"))
    for name in ("out/b.tar", "out/a.tar", "out/a.parquet", "out/deeper/c.tar"):
        write_atomically(join(root, name), write(b"-"))
    assert list_files(join(root, "out"), "*.tar") == ["a.tar", "b.tar"]
    assert list_files(join(root, "out"), "[") == []
    assert list_files(join(root, "nowhere"), "*") == []


def test_removing_is_repeatable(root: str) -> None:
    make_folder(join(root, "out", "work"))
    path = join(root, "out", "work", "a")
    write_atomically(path, write(b"-"))
    remove(path)
    remove(path)
    assert not exists(path)
    write_atomically(path, write(b"-"))
    remove_tree(join(root, "out", "work"), root=join(root, "out"))
    remove_tree(join(root, "out", "work"), root=join(root, "out"))
    assert not exists(path)


@pytest.mark.parametrize("name", ["", "..", "../other", "out/../../other", "outer"])
def test_nothing_outside_the_root_is_ever_removed(root: str, name: str) -> None:
    make_folder(join(root, "out"))
    path = join(root, "out", name) if name != "outer" else join(root, "outer")
    with pytest.raises(ValueError, match=r"refusing to remove .* not below"):
        remove_tree(path, root=join(root, "out"))


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "out" / "work").symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="refusing"):
        remove_tree(str(tmp_path / "out" / "work"), root=str(tmp_path / "out"))
    assert (tmp_path / "precious" / "file").exists()


def test_a_full_disk_is_named_with_the_file_and_leaves_no_temporary(small_disk: Path) -> None:
    path = small_disk / "shard.tar"
    with pytest.raises(OSError, match=r"cannot write: No space left on device \(free some space.*shard\.tar") as caught:
        write_atomically(str(path), write(b"x" * 1_000_000))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert list(small_disk.iterdir()) == []
    write_atomically(str(path), write(b"x" * 100_000))  # all of the space is there again


def test_a_full_disk_under_a_parquet_writer_is_named_too(small_disk: Path) -> None:
    table = pa.table({"noise": [os.urandom(1000) for _ in range(1000)]})
    with pytest.raises(OSError, match=r"No space left on device.*part\.parquet"):
        write_atomically(str(small_disk / "part.parquet"), lambda stream: pq.write_table(table, stream))
    assert list(small_disk.iterdir()) == []


def test_a_read_only_folder_is_named_with_the_file(read_only_disk: Path) -> None:
    path = read_only_disk / "old.tar"
    with pytest.raises(OSError, match=r"cannot write: Read-only file system.*old\.tar"):
        write_atomically(str(path), write(b"new"))
    assert path.read_bytes() == b"old"


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    with pytest.raises(NotADirectoryError, match=r"out/a\.tar"):
        write_atomically(str(tmp_path / "out" / "a.tar"), write(b"-"))


def test_an_absent_folder_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"on a cluster every worker must see it.*/out/a\.tar"):
        write_atomically(str(tmp_path / "out" / "a.tar"), write(b"-"))
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_fails_is_named_and_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cannot write.*a\.tar") as caught:
        write_atomically(str(tmp_path / "a.tar"), write(b"-"))
    assert caught.value.filename == str(tmp_path / "a.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_a_killed_writer_leaves_only_what_sweeping_takes_away(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pipelines.storage import write_atomically
def die(stream):
    stream.write(b"x" * 2_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
write_atomically({str(tmp_path / "a.tar")!r}, die)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".tmp-a.tar-")
    (tmp_path / "kept.tar").touch()
    assert sweep_temporaries(str(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept.tar"]
    assert sweep_temporaries(str(tmp_path / "nowhere")) == 0
    assert sweep_temporaries("memory://nowhere") == 0


def test_an_error_of_reading_inside_a_write_keeps_its_own_file(tmp_path: Path) -> None:
    def copy(stream: BinaryIO) -> None:
        stream.write((tmp_path / "input.warc").read_bytes())

    with pytest.raises(FileNotFoundError, match=r"input\.warc") as caught:
        write_atomically(str(tmp_path / "a.tar"), copy)
    assert "cannot write" not in str(caught.value)


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".tar")
    write_atomically(str(path), write(b"-"))
    assert path.read_bytes() == b"-"


def test_files_are_made_with_the_modes_asked_for(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        write_atomically(str(tmp_path / "open"), write(b"-"))
        write_atomically(str(tmp_path / "private"), write(b"-"), mode=0o600)
    finally:
        os.umask(umask)
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_the_hash_is_that_of_the_bytes_on_disk(root: str) -> None:
    make_folder(join(root, "out"))

    def write_hashed(stream: BinaryIO) -> tuple[int, str]:
        hashing = HashingWriter(stream)
        for piece in (b"", b"one", bytearray(b"two"), memoryview(b"three"), pa.py_buffer(b"four")):
            hashing.write(piece)
        assert hashing.tell() == hashing.n_bytes
        return hashing.n_bytes, hashing.sha256

    path = join(root, "out", "a")
    n_bytes, sha256 = write_atomically(path, write_hashed)
    with open_read(path) as stream:
        data = stream.read()
    assert data == b"onetwothreefour"
    assert (n_bytes, sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_parquet_file_can_be_written_through_the_hash(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(1000))})

    def write_table(stream: BinaryIO) -> str:
        hashing = HashingWriter(stream)
        with pq.ParquetWriter(hashing, table.schema) as writer:
            writer.write_table(table)
        assert not stream.closed
        return hashing.sha256

    sha256 = write_atomically(str(tmp_path / "a.parquet"), write_table)
    assert sha256 == hashlib.sha256((tmp_path / "a.parquet").read_bytes()).hexdigest()
    assert pq.read_table(tmp_path / "a.parquet").equals(table)


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/a%20b"
    write_atomically(url, write(b"-"))
    assert (tmp_path / "a b").read_bytes() == b"-"
    assert exists(url)
    assert size_of(url) == 1
    assert local_path(url) == str(tmp_path / "a b")


def test_a_store_whose_driver_is_missing_says_what_to_install() -> None:
    program = """
import sys
sys.modules["s3fs"] = None
from pipelines.storage import exists
try:
    exists("s3://commoncrawl/crawl-data")
except ValueError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "s3:// needs a driver that is not installed: pip install 'shardmill[aws]'\n"


@pytest.mark.parametrize("url", ["https://ann:canary@host/out", "nosuch://ann:canary@host/out"])
def test_places_that_cannot_be_written_to_are_wrong_commands(url: str) -> None:
    with pytest.raises(ValueError, match=r"://host/out: ") as caught:
        write_atomically(url, write(b"-"))
    assert "canary" not in str(caught.value)


def test_a_file_on_a_web_server_can_be_looked_at_and_read(site: Any) -> None:
    site.files["/a b/c"] = b"12345"
    assert exists(f"{site.url}/a b/c")
    assert not exists(f"{site.url}/other")
    assert size_of(f"{site.url}/a b/c") == 5
    with open_read(f"{site.url}/a b/c") as stream:
        assert stream.seek(3) == 3
        assert stream.read() == b"45"


def test_local_files_need_no_object_store_library(tmp_path: Path) -> None:
    program = f"""
import sys
from pipelines.storage import exists, list_files
exists({str(tmp_path)!r}), list_files({str(tmp_path)!r}, "*")
assert not {{"fsspec", "botocore", "apache_beam", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
