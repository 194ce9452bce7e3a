import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.downloading import download
from pipelines.web_requests import Patience

BODY = random.Random(3).randbytes(3_000_000)
QUICK = Patience(timeout_s=1.0, backoff_s=0.01, retries=1)


@pytest.fixture
def held(site: Any) -> Any:
    site.files["/a.warc.gz"] = BODY
    site.address = f"{site.url}/a.warc.gz"
    return site


def interrupt(held: Any, path: Path) -> None:
    """A first try that gets 1,000,000 bytes and then fails."""
    held.faults["/a.warc.gz"].extend(["drop 1000000", "status 503"])
    with pytest.raises(OSError, match="gave up after 2 tries"):
        download(held.address, path, patience=QUICK)
    held.requests.clear()


def starts(held: Any) -> list[int]:
    return [int(request.range.removeprefix("bytes=").split("-")[0]) for request in held.requests]


def test_a_download_is_the_file_and_leaves_nothing_beside_it(held: Any, tmp_path: Path) -> None:
    held.faults["/a.warc.gz"].append("drop 1000000")
    assert download(held.address, tmp_path / "a.warc.gz", patience=QUICK) == len(BODY)
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["a.warc.gz"]


def test_a_failed_download_is_gone_on_with_and_never_has_the_files_name(held: Any, tmp_path: Path) -> None:
    interrupt(held, tmp_path / "a.warc.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.warc.gz.part", "a.warc.gz.part.json"]
    download(held.address, tmp_path / "a.warc.gz", patience=QUICK)
    assert starts(held) == [1_000_000]
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["a.warc.gz"]


def test_a_download_that_only_lacked_its_rename_fetches_nothing_again(held: Any, tmp_path: Path) -> None:
    interrupt(held, tmp_path / "a.warc.gz")
    part = tmp_path / "a.warc.gz.part"
    part.write_bytes(BODY)
    mark = tmp_path / "a.warc.gz.part.json"
    mark.write_text(mark.read_text().replace('"n_bytes": 1000000', f'"n_bytes": {len(BODY)}'))
    download(held.address, tmp_path / "a.warc.gz", patience=QUICK)
    assert starts(held) == [len(BODY)]
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY


def test_bytes_that_were_never_synced_are_fetched_again(held: Any, tmp_path: Path) -> None:
    interrupt(held, tmp_path / "a.warc.gz")
    with (tmp_path / "a.warc.gz.part").open("ab") as part:
        part.write(b"\0" * 500_000)  # as a file system may leave after a power failure
    download(held.address, tmp_path / "a.warc.gz", patience=QUICK)
    assert starts(held) == [1_000_000]
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY


def test_another_version_on_the_server_is_fetched_from_its_start(held: Any, tmp_path: Path) -> None:
    interrupt(held, tmp_path / "a.warc.gz")
    held.files["/a.warc.gz"], held.etags["/a.warc.gz"] = BODY[::-1], "v2"
    download(held.address, tmp_path / "a.warc.gz", patience=QUICK)
    assert starts(held) == [1_000_000, 0]
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY[::-1]


def test_a_server_that_cannot_say_which_version_it_has_is_fetched_from_the_start(held: Any, tmp_path: Path) -> None:
    held.always["/a.warc.gz"] = "no validators"
    (tmp_path / "a.warc.gz.part").write_bytes(b"something older")
    download(held.address, tmp_path / "a.warc.gz", patience=QUICK)
    assert starts(held) == [0]
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY


def test_a_sidecar_that_cannot_be_read_means_a_new_start(held: Any, tmp_path: Path) -> None:
    interrupt(held, tmp_path / "a.warc.gz")
    (tmp_path / "a.warc.gz.part.json").write_text("{")
    download(held.address, tmp_path / "a.warc.gz", patience=QUICK)
    assert starts(held) == [0]
    assert (tmp_path / "a.warc.gz").read_bytes() == BODY


def test_a_file_that_is_not_there_leaves_nothing(held: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="answers 404"):
        download(f"{held.url}/gone", tmp_path / "gone", patience=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(held: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/a\.warc\.gz\.part"):
        download(held.address, tmp_path / "nowhere" / "a.warc.gz", patience=QUICK)


def test_two_processes_do_not_write_one_file(held: Any, tmp_path: Path) -> None:
    held.always["/a.warc.gz"] = "stall 1000"
    path = tmp_path / "a.warc.gz"
    program = f"from pipelines.downloading import download; download({held.address!r}, {str(path)!r})"
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        try:
            while not held.requests:
                assert other.poll() is None
                time.sleep(0.02)
            with pytest.raises(OSError, match="another process is downloading this file"):
                download(held.address, path, patience=QUICK)
        finally:
            other.kill()
    del held.always["/a.warc.gz"]
    download(held.address, path, patience=QUICK)  # a dead process holds nothing
    assert path.read_bytes() == BODY
