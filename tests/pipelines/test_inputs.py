import gzip
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.errors import RecordError
from pipelines.inputs import (
    MAX_SPLIT_BYTES,
    MIN_SPLIT_BYTES,
    SPLIT_UNIT,
    InputFile,
    fingerprint,
    open_input,
    plan_splits,
    read_input_list,
    resolve_inputs,
    size_of_input,
    write_input_list,
)
from pipelines.listing import this_month
from pipelines.storage import join, remove_tree, write_atomically

BODY = random.Random(4).randbytes(2_500_000)


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    """A folder of files as crawls have them; sizes tell them apart."""
    names = ["2016/09/a.warc.gz", "2016/09/b.warc.gz", "2016/10/a.warc.gz", "old.arc", "notes.md", ".hidden/c.warc.gz"]
    for n_bytes, name in enumerate(names, start=1):
        (tmp_path / "crawl" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "crawl" / name).write_bytes(b"x" * n_bytes)
    return tmp_path / "crawl"


def names_of(files: list[InputFile]) -> list[str]:
    return [file.name for file in files]


def test_a_pattern_names_files_from_its_first_wildcard_on(crawl: Path) -> None:
    files = resolve_inputs(inputs=[f"{crawl}/2016/*/*.warc.gz"])
    assert files == [
        InputFile("09/a.warc.gz", str(crawl / "2016/09/a.warc.gz"), 1),
        InputFile("09/b.warc.gz", str(crawl / "2016/09/b.warc.gz"), 2),
        InputFile("10/a.warc.gz", str(crawl / "2016/10/a.warc.gz"), 3),
    ]
    assert names_of(resolve_inputs(inputs=[f"{crawl}/**/a.warc.gz"])) == ["2016/09/a.warc.gz", "2016/10/a.warc.gz"]


def test_names_do_not_depend_on_how_the_folder_is_written(crawl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(crawl.parent)
    monkeypatch.setenv("HOME", str(crawl.parent))
    expected = resolve_inputs(inputs=[f"{crawl}/2016/09/*.gz"])
    for pattern in (
        "crawl/2016/09/*.gz",
        "./crawl/2016/09/*.gz",
        "crawl/../crawl/2016/09/*.gz",
        "~/crawl/2016/09/*.gz",
    ):
        assert resolve_inputs(inputs=[pattern]) == expected
    assert resolve_inputs(inputs=[f"file://{crawl}/2016/09/*.gz"]) == expected


def test_a_single_file_has_its_own_name_also_where_that_looks_like_a_pattern(crawl: Path) -> None:
    assert resolve_inputs(inputs=[f"{crawl}/old.arc"]) == [InputFile("old.arc", str(crawl / "old.arc"), 4)]
    (crawl / "a[1].warc").write_bytes(b"12345")
    assert resolve_inputs(inputs=[f"{crawl}/a[1].warc"]) == [InputFile("a[1].warc", str(crawl / "a[1].warc"), 5)]


def test_a_folder_names_the_crawl_files_below_it(crawl: Path) -> None:
    expected = ["2016/09/a.warc.gz", "2016/09/b.warc.gz", "2016/10/a.warc.gz", "old.arc"]
    assert names_of(resolve_inputs(inputs=[f"{crawl}/"])) == expected
    assert names_of(resolve_inputs(inputs=[str(crawl)], folder_endings=(".md",))) == ["notes.md"]


def test_order_of_arguments_and_naming_a_file_twice_change_nothing(crawl: Path) -> None:
    arguments = [f"{crawl}/*/*/*.gz", f"{crawl}/2016/09/a.warc.gz", str(crawl), f"{crawl}/old.arc"]
    expected = resolve_inputs(inputs=[str(crawl)])
    for _ in range(5):
        random.shuffle(arguments)
        assert resolve_inputs(inputs=arguments) == expected


def test_two_files_of_one_name_are_refused_with_both_places(crawl: Path) -> None:
    with pytest.raises(ValueError, match=r"09/a\.warc\.gz and .*10/a\.warc\.gz would both be called 'a\.warc\.gz'"):
        resolve_inputs(inputs=[f"{crawl}/2016/09/a.warc.gz", f"{crawl}/2016/10/a.warc.gz"])


def test_no_secret_of_an_address_is_shown_or_becomes_a_name() -> None:
    one, other = "https://ann:canary@host/a/b.warc.gz?token=canary", "https://host/a/b.warc.gz;sid=canary"
    (file,) = resolve_inputs(inputs=[one])
    assert file == InputFile("a/b.warc.gz", one, None)
    assert "canary" not in resolve_inputs(inputs=[other])[0].name
    with pytest.raises(ValueError, match="would both be called") as caught:
        resolve_inputs(inputs=[one, "https://bob:canary@other/a/b.warc.gz"])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("{crawl}/*.zst", "the pattern matches no file"),
        ("{crawl}/*", None),
        ("{crawl}/absent.warc", "no such file"),
        ("{crawl}/20*", "the pattern matches no file"),
        ("{crawl}/2016/11", "no such file"),
        ("{crawl}/empty", r"no files in it with one of the endings \.warc "),
        ("{crawl}/fifo", "not a file"),
        ("{crawl}/dangling", "not a file"),
        ("@{crawl}/absent.txt", "no such file"),
        ("memory://nowhere/*.gz", "the pattern matches no file"),
        ("https://host/", "no relative name"),
        ("https://host/a/../../b", "no relative name"),
        ("https://host/*.gz", "patterns do not work on the web"),
        ("http://[::1/a", "Invalid IPv6 URL"),
        ("nosuch://host/*", "use a path, https://, s3:// or gs://"),
        ("", "an empty --input"),
    ],
)
def test_what_names_nothing_is_a_wrong_command_in_one_line(crawl: Path, argument: str, complaint: str | None) -> None:
    (crawl / "empty").mkdir()
    os.mkfifo(crawl / "fifo")
    (crawl / "dangling").symlink_to(crawl / "absent")
    argument = argument.format(crawl=crawl)
    if complaint is None:
        assert names_of(resolve_inputs(inputs=[argument])) == ["notes.md", "old.arc"]
        return
    with pytest.raises(ValueError, match=complaint) as caught:
        resolve_inputs(inputs=[argument])
    assert "\n" not in str(caught.value)
    assert argument.removeprefix("@") in str(caught.value)


def test_nothing_to_read_and_nothing_to_keep_are_wrong_commands(crawl: Path) -> None:
    with pytest.raises(ValueError, match="nothing to read: name files with --input or months with --months"):
        resolve_inputs()
    with pytest.raises(ValueError, match="--max-warcs is 0"):
        resolve_inputs(inputs=[str(crawl)], max_warcs=0)


@pytest.mark.parametrize("name", [b"a\tb.warc", b"a\nb.warc", b"a\xff.warc"])
def test_names_that_cannot_be_written_down_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(ValueError, match="control characters or is not UTF-8; rename the file") as caught:
        resolve_inputs(inputs=[f"{tmp_path}/*.warc"])
    str(caught.value).encode()  # can be printed


def test_lists_name_files_beside_them_by_line_and_others_by_what_is_left(crawl: Path) -> None:
    listed = crawl / "lists" / "mine.txt"
    listed.parent.mkdir()
    (crawl / "lists" / "near.warc").write_bytes(b"123456789")
    listed.write_text(
        f"# mine\nnear.warc\n./near.warc\n../2016/09/b.warc.gz\n{crawl}/old.arc\n"
        "https://host/crawl-data/x.warc.gz?token=canary\ns3://bucket/deep/y.warc.gz\n"
    )
    expected = [
        InputFile("b.warc.gz", str(crawl / "2016/09/b.warc.gz"), 2),
        InputFile("crawl-data/x.warc.gz", "https://host/crawl-data/x.warc.gz?token=canary", None),
        InputFile("deep/y.warc.gz", "s3://bucket/deep/y.warc.gz", None),
        InputFile("near.warc", str(crawl / "lists" / "near.warc"), 9),
        InputFile("old.arc", str(crawl / "old.arc"), 4),
    ]
    assert resolve_inputs(inputs=[str(listed)]) == expected
    assert resolve_inputs(inputs=[f"@{listed}"], list_endings=()) == expected
    assert resolve_inputs(inputs=[f"@{listed.parent}/*.txt"]) == expected
    assert names_of(resolve_inputs(inputs=[str(listed)], list_endings=())) == ["mine.txt"]


def test_relative_lines_lie_below_the_crawl_root_where_one_is_given(crawl: Path) -> None:
    listed = crawl / "warc.paths.gz"
    listed.write_bytes(gzip.compress(b"2016/09/a.warc.gz\n2016/10/a.warc.gz\n"))
    local = resolve_inputs(inputs=[str(listed)], crawl_root=str(crawl))
    assert local == resolve_inputs(inputs=[str(listed)])
    assert names_of(local) == ["2016/09/a.warc.gz", "2016/10/a.warc.gz"]
    remote = resolve_inputs(inputs=[str(listed)], crawl_root="https://host/mirror/")
    assert remote[0] == InputFile("2016/09/a.warc.gz", "https://host/mirror/2016/09/a.warc.gz", None)


def test_a_list_on_a_web_server_names_files_beside_it(site: Any) -> None:
    site.files["/lists/all.paths"] = b"a.warc.gz\n"
    (file,) = resolve_inputs(inputs=[f"@{site.url}/lists/all.paths?token=canary"])
    assert file == InputFile("a.warc.gz", f"{site.url}/lists/a.warc.gz", None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "the list is empty"), ("gone.warc\n", r"gone\.warc: No such file or directory; take it off the list")],
)
def test_a_list_that_names_nothing_is_a_wrong_command(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        resolve_inputs(inputs=[str(tmp_path / "list.txt")])


def test_a_list_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(b"%d.warc\n" % n for n in range(1000)))
    (tmp_path / "list.paths.gz").write_bytes(data[:-9])
    with pytest.raises(RecordError, match="breaks off before its end"):
        resolve_inputs(inputs=[str(tmp_path / "list.paths.gz")])


def test_months_of_a_crawl_are_named_by_their_path_in_it(site: Any) -> None:
    for month in ("09", "10"):
        folder = f"crawl-data/CC-NEWS/2016/{month}"
        site.files[f"/{folder}/warc.paths.gz"] = gzip.compress(f"{folder}/b.warc.gz\n{folder}/a.warc.gz\n".encode())
    files = resolve_inputs(months="2016-09..2016-10", crawl_root=site.url)
    assert names_of(files) == [
        f"crawl-data/CC-NEWS/2016/{month}/{letter}.warc.gz" for month in ("09", "10") for letter in "ab"
    ]
    assert files[0].location == f"{site.url}/crawl-data/CC-NEWS/2016/09/a.warc.gz"
    site.requests.clear()
    assert resolve_inputs(months="2016-09..2016-10", crawl_root=site.url, max_warcs=2) == files[:2]
    assert len(site.requests) == 1  # the second month cannot matter


def test_the_first_files_are_those_of_all_arguments_together(crawl: Path) -> None:
    inputs = [f"{crawl}/old.arc", f"{crawl}/2016/*/*.gz"]
    assert resolve_inputs(inputs=inputs, max_warcs=2) == resolve_inputs(inputs=inputs)[:2]


def test_a_mirror_that_lacks_a_listed_file_says_which(tmp_path: Path) -> None:
    folder = "crawl-data/CC-NEWS/2016/09"
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "a.warc.gz").write_bytes(b"12")
    (tmp_path / folder / "warc.paths.gz").write_bytes(gzip.compress(f"{folder}/a.warc.gz\n{folder}/b.warc.gz".encode()))
    with pytest.raises(ValueError, match=r"b\.warc\.gz: No such file"):
        resolve_inputs(months="2016-09", crawl_root=str(tmp_path))
    (file,) = resolve_inputs(months="2016-09", crawl_root=str(tmp_path), max_warcs=1)
    assert file == InputFile(f"{folder}/a.warc.gz", str(tmp_path / folder / "a.warc.gz"), 2)


def test_an_input_is_the_same_wherever_it_is_opened(site: Any, tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    site.files["/a.warc"] = BODY
    (tmp_path / "a.warc").write_bytes(BODY)
    try:
        write_atomically(join(root, "a.warc"), lambda stream: stream.write(BODY))
        marks = set()
        for location in (str(tmp_path / "a.warc"), f"{site.url}/a.warc", join(root, "a.warc")):
            (file,) = resolve_inputs(inputs=[location])
            assert size_of_input(location) == len(BODY)
            with open_input(location) as stream:
                stream.seek(2_000_000)
                assert stream.read(100) == BODY[2_000_000:2_000_100]
                assert stream.seek(0) == 0
                assert stream.read() == BODY
            marks.add(fingerprint(file))
        assert len(marks) == 1
    finally:
        remove_tree(join(root, "a.warc"), root=root)


def test_objects_matched_by_a_pattern_come_with_their_size_and_key() -> None:
    root = "memory://bucket"
    try:
        for name in ("deep/a.warc.gz", "deep/b.warc.gz", "deep/er/c.warc.gz"):
            write_atomically(join(root, name), lambda stream: stream.write(b"123"))
        files = resolve_inputs(inputs=[f"{root}/deep/*.warc.gz"])
        assert [(file.name, file.n_bytes) for file in files] == [("deep/a.warc.gz", 3), ("deep/b.warc.gz", 3)]
        with open_input(files[0].location) as stream:
            assert stream.read() == b"123"
    finally:
        remove_tree(join(root, "deep"), root=root)


@pytest.mark.parametrize("n_bytes", [0, 1, 65_536, 65_537, 200_000])
def test_a_fingerprint_sees_size_and_both_ends(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "a"

    def mark(data: bytes) -> str:
        path.write_bytes(data)
        return fingerprint(InputFile("a", str(path), None))

    data = BODY[:n_bytes]
    marks = [mark(data), mark(data + b"\0")]
    if data:
        marks += [mark(bytes([data[0] ^ 1]) + data[1:])]
    if n_bytes > 1:
        marks += [mark(data[:-1] + bytes([data[-1] ^ 1]))]
    assert len(set(marks)) == len(marks)
    assert mark(data) == marks[0]


@given(st.integers(0, 3 << 30), st.none() | st.integers(1, 3 << 30))
def test_splits_cover_the_file_once_with_borders_of_its_size_alone(n_bytes: int, limit: int | None) -> None:
    splits = plan_splits(n_bytes, limit_bytes=limit)
    end = n_bytes if limit is None else min(n_bytes, limit)
    assert [start for start, _ in splits] == [0, *(stop for _, stop in splits[:-1])][: len(splits)]
    assert (splits[-1][1] if splits else 0) == end
    assert all(start < stop for start, stop in splits)
    unlimited = plan_splits(n_bytes)
    assert splits[:-1] == unlimited[: max(0, len(splits) - 1)]  # a limit moves no border but the last
    if len(unlimited) > 1:
        step = unlimited[0][1]
        assert MIN_SPLIT_BYTES // 2 <= step <= MAX_SPLIT_BYTES
        assert step % SPLIT_UNIT == 0


def test_a_limit_below_one_byte_is_a_wrong_command() -> None:
    with pytest.raises(ValueError, match="--limit-bytes is 0"):
        plan_splits(10, limit_bytes=0)


def test_a_list_of_inputs_reads_back_as_it_was_written(tmp_path: Path) -> None:
    files = [InputFile("a/ü b.warc", "/data/ü b.warc", 17), InputFile("x", "s3://bucket/x", None)]
    write_input_list(files, str(tmp_path / "inputs.tsv"))
    assert list(read_input_list(str(tmp_path / "inputs.tsv"))) == files
    assert (tmp_path / "inputs.tsv").read_text() == "a/ü b.warc\t/data/ü b.warc\t17\nx\ts3://bucket/x\t\n"


def test_a_list_of_inputs_with_credentials_is_its_owners_alone(tmp_path: Path) -> None:
    write_input_list([InputFile("x", "https://ann:secret@host/x", None)], str(tmp_path / "inputs.tsv"))
    assert (tmp_path / "inputs.tsv").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["a\tb\n", "a\t/a\t1\nb\t/b\t2", "<html>\n"])
def test_a_list_of_inputs_that_is_damaged_is_an_error_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "inputs.tsv").write_text(text)
    with pytest.raises(OSError, match=r"inputs\.tsv line \d: not a line of an input list"):
        list(read_input_list(str(tmp_path / "inputs.tsv")))


def test_a_hundred_thousand_inputs_are_cheap(tmp_path: Path) -> None:
    listed = tmp_path / "warc.paths.gz"
    lines = "".join(f"crawl-data/CC-NEWS/2016/09/CC-NEWS-{n:06d}.warc.gz\n" for n in range(100_000))
    listed.write_bytes(gzip.compress(lines.encode(), 1))
    began = time.process_time()
    files = resolve_inputs(inputs=[str(listed)], crawl_root="https://data.commoncrawl.org")
    write_input_list(files, str(tmp_path / "inputs.tsv"))
    assert sum(1 for _ in read_input_list(str(tmp_path / "inputs.tsv"))) == 100_000
    assert time.process_time() - began < 8  # about 1.5 s


def test_finding_inputs_imports_neither_beam_nor_torch_nor_an_object_store() -> None:
    program = (
        "import sys, pipelines.inputs\n"
        "assert not {'apache_beam', 'torch', 'fsspec', 'botocore', 'pyarrow'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_real_crawl_files_are_found_by_pattern(shared_data: Path) -> None:
    (file,) = resolve_inputs(inputs=[f"{shared_data}/ccnews/*.warc.gz"])
    assert file.name == "CC-NEWS-STANDIN-dev300.warc.gz"
    splits = plan_splits(file.n_bytes or 0)
    assert splits[-1][1] == Path(file.location).stat().st_size


def test_a_follower_may_name_what_has_no_files_yet_and_nobody_looks_at_those_there_are(tmp_path: Path):
    (tmp_path / "list.txt").write_text("gone.warc.gz\n")
    (tmp_path / "empty").mkdir()
    inputs = [str(tmp_path / "empty"), str(tmp_path / "*.warc.gz"), f"@{tmp_path / 'list.txt'}"]
    year, month = this_month()
    found = resolve_inputs(inputs=inputs, months=f"{year}-{month:02d}..", crawl_root=str(tmp_path), following=True)
    assert [(file.name, file.n_bytes) for file in found] == [("gone.warc.gz", None)]
    for argument in inputs:
        with pytest.raises(ValueError, match=r"no files in it|matches no file|No such file"):
            resolve_inputs(inputs=[argument])
    with pytest.raises(ValueError, match="no such file"):  # a typo is none the less told
        resolve_inputs(inputs=[str(tmp_path / "typo")], following=True)
