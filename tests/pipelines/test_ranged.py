import io
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpora.warc import read_pages
from pipelines.ranged import ChangedError, RangedFile, RangeIgnoredError, open_ranged
from pipelines.web_requests import Patience, read_whole

BODY = random.Random(1).randbytes(3_000_000)
QUICK = Patience(timeout_s=1.0, backoff_s=0.01, retries=3, max_wait_s=2.0)


@pytest.fixture
def held(site: Any) -> Any:
    site.files["/a.warc.gz"] = BODY
    site.address = f"{site.url}/a.warc.gz"
    return site


def read_all(url: str, **settings: Any) -> bytes:
    with RangedFile(url, patience=QUICK, **settings) as file:
        return file.readall() or b""


def test_a_file_is_read_in_one_request_and_its_size_is_known(held: Any) -> None:
    with RangedFile(held.address, patience=QUICK) as file:
        assert file.size == len(BODY)
        assert file.readall() == BODY
        assert file.read(10) == b""
        assert file.n_requests == 1


def test_any_walk_of_seeks_and_reads_gives_what_a_local_file_gives(held: Any) -> None:
    walk = random.Random(2)
    local = io.BytesIO(BODY)
    with open_ranged(held.address, patience=QUICK) as remote:
        for _ in range(60):
            offset = (
                walk.randrange(len(BODY) + 10) if walk.random() < 0.5 else max(0, local.tell() - walk.randrange(5_000))
            )
            assert remote.seek(offset) == local.seek(offset)
            n_bytes = walk.choice([0, 1, 100, 70_000, 400_000])
            assert remote.read(n_bytes) == local.read(n_bytes)
            assert remote.tell() == local.tell()
        assert remote.seek(-7, io.SEEK_END) == local.seek(-7, io.SEEK_END)
        assert remote.read() == local.read()


def test_small_steps_forward_go_on_in_the_same_request(held: Any) -> None:
    with RangedFile(held.address, patience=QUICK) as file:
        for start in range(0, len(BODY), 500_000):
            file.seek(start)
            assert file.read(10) == BODY[start : start + 10]
        assert file.n_requests == 1


def test_a_connection_that_drops_is_taken_up_where_it_stopped(held: Any) -> None:
    held.faults["/a.warc.gz"].extend(["drop 1000000", "drop 0", "drop 700001"])
    assert read_all(held.address) == BODY
    starts = [int(request.range.removeprefix("bytes=").split("-")[0]) for request in held.requests]
    assert starts == [0, 1_000_000, 1_000_000, 1_700_001]
    assert [request.if_range for request in held.requests] == ["", '"v1"', '"v1"', '"v1"']


@pytest.mark.parametrize(
    "fault", ["status 500", "status 502", "status 503", "status 429", "stall 5000", "no content-range"]
)
def test_what_may_get_better_is_tried_again(held: Any, fault: str) -> None:
    held.faults["/a.warc.gz"].append(fault)
    assert read_all(held.address) == BODY


def test_retry_after_is_honoured_and_capped(held: Any) -> None:
    held.faults["/a.warc.gz"].extend(["retry-after 1", "retry-after 86400"])
    assert read_all(held.address) == BODY
    first, second, third = (request.at_s for request in held.requests)
    assert 1.0 <= second - first < 1.9
    assert 1.9 <= third - second < 4.0  # not a day: max_wait_s


def test_patience_ends_after_the_retries_with_the_address_and_a_remedy(held: Any) -> None:
    held.always["/a.warc.gz"] = "status 503"
    with pytest.raises(
        OSError, match=r"/a\.warc\.gz: gave up after 4 tries: the server answers 503; .*run again later"
    ):
        read_all(held.address)
    assert len(held.requests) == 4


def test_a_body_that_drops_again_and_again_without_progress_ends_too(held: Any) -> None:
    held.always["/a.warc.gz"] = "drop 10"
    with pytest.raises(OSError, match="gave up after 4 tries"):
        read_all(held.address)


def test_progress_forgives_earlier_failures(held: Any) -> None:
    held.files["/a.warc.gz"] = BODY * 3
    held.always["/a.warc.gz"] = "drop 1100000"  # nine drops; three would be the end without progress
    assert read_all(held.address) == BODY * 3


@pytest.mark.parametrize(
    ("part", "said"), [("trickle", r"only \d+ bytes came in"), ("trickle header", r"no answer within 0\.3 s")]
)
def test_a_body_or_header_that_trickles_is_given_up(held: Any, part: str, said: str) -> None:
    held.always["/a.warc.gz"] = part
    began = time.monotonic()
    with pytest.raises(OSError, match=f"gave up after 2 tries: {said}"):
        RangedFile(held.address, patience=Patience(timeout_s=0.3, backoff_s=0.01, retries=1)).readall()
    assert time.monotonic() - began < 5


def test_the_deadline_covers_a_server_that_is_just_fast_enough(held: Any) -> None:
    held.always["/a.warc.gz"] = "trickle"
    with pytest.raises(OSError, match="the server is too slow"):
        RangedFile(held.address, patience=Patience(timeout_s=5, min_bytes_per_s=1, deadline_s=0.5)).readall()


def test_a_reader_may_think_for_longer_than_the_timeout(held: Any) -> None:
    with RangedFile(held.address, patience=Patience(timeout_s=1, retries=0)) as file:
        first = file.read(1000)
        time.sleep(1.2)
        assert first + file.readall() == BODY


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, FileNotFoundError),
        (403, PermissionError),
        (401, PermissionError),
        (410, FileNotFoundError),
        (400, OSError),
    ],
)
def test_what_cannot_get_better_fails_at_once_and_says_what_to_do(held: Any, status: int, kind: type[OSError]) -> None:
    held.always["/a.warc.gz"] = f"status {status}"
    with pytest.raises(kind, match=rf"/a\.warc\.gz: the server answers {status}: .*(check|leave it out)"):
        read_all(held.address)
    assert len(held.requests) == 1


def test_a_host_that_cannot_be_reached_fails_soon() -> None:
    began = time.monotonic()
    with pytest.raises(OSError, match=r"gave up after 4 tries: the host refuses the connection"):
        RangedFile("http://127.0.0.1:9/a", patience=Patience(backoff_s=0.01)).read(1)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("fault", ["status 404", "status 503", "drop 5"])
def test_no_message_shows_credentials(held: Any, fault: str) -> None:
    held.always["/a.warc.gz"] = fault
    url = held.address.replace("http://", "http://ann:canary-password@") + "?token=canary-token"
    with pytest.raises(OSError, match=r"a\.warc\.gz") as caught:
        read_all(url)
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "canary" not in str(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def test_an_address_that_is_none_is_an_error_in_one_line() -> None:
    with pytest.raises(OSError, match="not an address that can be asked for"):
        read_all("http://[::1")


def test_a_file_that_changes_while_it_is_read_is_an_error(held: Any) -> None:
    with RangedFile(held.address, patience=QUICK) as file:
        file.read(1000)
        held.etags["/a.warc.gz"] = "v2"
        file.seek(2_900_000)
        with pytest.raises(ChangedError, match=r"changed on the server.*run again"):
            file.read(10)


def test_a_file_that_grows_is_an_error_even_where_the_server_has_no_etags(held: Any) -> None:
    held.always["/a.warc.gz"] = "no validators"
    with RangedFile(held.address, patience=QUICK) as file:
        file.read(1000)
        held.files["/a.warc.gz"] = BODY + b"more"
        file.seek(2_900_000)
        with pytest.raises(ChangedError, match="3000000 bytes before, 3000004 now"):
            file.read(10)


def test_a_file_that_is_not_as_long_as_listed_is_an_error(held: Any) -> None:
    with pytest.raises(ChangedError, match="2999999 bytes before, 3000000 now"):
        read_all(held.address, size=len(BODY) - 1)


def test_a_server_that_ignores_ranges_is_read_through_where_that_is_cheap(held: Any) -> None:
    held.always["/a.warc.gz"] = "ignore range"
    with RangedFile(held.address, patience=QUICK) as file:
        file.seek(2_500_000)
        assert file.read(100) == BODY[2_500_000:2_500_100]


def test_a_server_that_ignores_ranges_is_refused_where_that_is_dear(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.ranged.SKIP_FROM_START_BYTES", 1_000_000)
    held.always["/a.warc.gz"] = "ignore range"
    with RangedFile(held.address, patience=QUICK) as file:
        file.seek(2_500_000)
        with pytest.raises(RangeIgnoredError, match="byte 2500000 is out of reach; download it"):
            file.read(100)


def test_a_server_that_sends_less_than_asked_is_asked_again_without_a_penalty(held: Any) -> None:
    held.always["/a.warc.gz"] = "cut range 300000"
    with RangedFile(held.address, patience=Patience(retries=0, timeout_s=5)) as file:
        assert file.readall() == BODY
        assert file.n_requests == 10


def test_a_server_that_sends_another_range_is_refused(held: Any) -> None:
    held.always["/a.warc.gz"] = "wrong range"
    with pytest.raises(OSError, match=r"asked for bytes from 0, got 'bytes 1-2999999/3000000'"):
        read_all(held.address)


def test_a_range_of_no_bytes_is_refused_and_not_asked_for_for_ever(held: Any) -> None:
    with RangedFile(held.address, patience=QUICK) as file:
        file.read(10)
        held.always["/a.warc.gz"] = "empty range"
        file.seek(2_000_000)
        with pytest.raises(OSError, match="got bytes 2000000 to 2000000 of 3000000, which cannot be"):
            file.read(10)


def test_a_file_of_unknown_length_is_refused(held: Any) -> None:
    held.always["/a.warc.gz"] = "no length"
    with pytest.raises(OSError, match="does not say how long the file is; download it"):
        read_all(held.address)


def test_an_empty_file_is_empty(held: Any) -> None:
    held.files["/empty"] = b""
    with RangedFile(f"{held.url}/empty", patience=QUICK) as file:
        assert file.size == 0
        assert file.readall() == b""


def test_reading_behind_the_end_gives_nothing_and_before_the_start_fails(held: Any) -> None:
    with RangedFile(held.address, patience=QUICK) as file:
        file.seek(len(BODY) + 5)
        assert file.read(5) == b""
        with pytest.raises(OSError, match="cannot seek to byte -1"):
            file.seek(-1)


def test_redirects_are_followed_and_circles_end(held: Any) -> None:
    held.files["/old"] = b"-"
    held.always["/old"] = "redirect /a.warc.gz"
    assert read_all(f"{held.url}/old") == BODY
    held.always["/old"] = "redirect /old"
    held.requests.clear()
    with pytest.raises(OSError, match="redirected more than 5 times"):
        read_all(f"{held.url}/old")
    assert len(held.requests) == 6


def test_no_thread_outlives_a_read(held: Any) -> None:
    before = threading.active_count()
    read_all(held.address)
    deadline = time.monotonic() + 2
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_small_answer_is_read_whole_without_a_length_and_tried_again(held: Any) -> None:
    held.files["/list"] = b"<list/>" * 1000
    held.faults["/list"].extend(["drop 10", "status 503", "no length"])
    assert read_whole(f"{held.url}/list", max_bytes=10_000, patience=QUICK) == b"<list/>" * 1000
    with pytest.raises(OSError, match="more than 100 bytes"):
        read_whole(f"{held.url}/list", max_bytes=100, patience=QUICK)
    with pytest.raises(FileNotFoundError):
        read_whole(f"{held.url}/gone", max_bytes=100, patience=QUICK)


@pytest.mark.parametrize(
    "make", [lambda: Patience(timeout_s=0), lambda: Patience(retries=-1), lambda: Patience(backoff_s=-1)]
)
def test_patience_that_cannot_be_is_refused(make: Callable[[], Patience]) -> None:
    with pytest.raises(ValueError, match=r"cannot be negative|above 0"):
        make()


def test_records_read_over_a_bad_line_are_those_of_the_file(site: Any, shared_data: Path) -> None:
    path = shared_data / "ccnews" / "CC-NEWS-STANDIN-dev300.warc.gz"
    site.files["/a.warc.gz"] = path.read_bytes()
    site.faults["/a.warc.gz"].extend(["drop 1500000", "status 503", "drop 70001", "cut range 300000"])
    start, end = 1 << 20, 3 << 20
    with path.open("rb") as local, open_ranged(f"{site.url}/a.warc.gz", patience=QUICK) as remote:
        expected = list(read_pages(local, source="a", start=start, end=end))
        assert list(read_pages(remote, source="a", start=start, end=end)) == expected
    assert len(expected) > 20
