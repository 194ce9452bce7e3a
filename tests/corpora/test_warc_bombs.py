"""What small files that stand for enormous ones cost: no more than the caps allow."""

import subprocess
import sys
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from corpora.documents import RawPage, Rejection
from corpora.warc import ReadLimits, read_pages

MEGABYTE = 1 << 20
LARGE = 300 * MEGABYTE


def brotli_zeros(n_bytes: int) -> bytes:
    packer = brotli.Compressor(quality=1)
    return b"".join(packer.process(bytes(MEGABYTE)) for _ in range(n_bytes // MEGABYTE)) + packer.finish()


def zstd_zeros(n_bytes: int) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(n_bytes // MEGABYTE)) + packer.flush()


def make_bombs(archive: Any) -> dict[str, bytes]:
    """Each is one member of less than 700 KB that inflates to 300 MB, at once or in its payload."""
    gzipped, brotlied = archive.deflate_zeros(LARGE), brotli_zeros(LARGE)
    packed = {
        "gzip": gzipped,
        "deflate": archive.deflate_zeros(LARGE, wbits=15),
        "raw deflate": archive.deflate_zeros(LARGE, wbits=-15),
        "br": brotlied,
        "zstd": zstd_zeros(LARGE),
        "gzip, gzip": zlib.compress(gzipped, wbits=31),
        "br, gzip": zlib.compress(brotlied, wbits=31),
    }
    bombs = {}
    for name, body in packed.items():
        headers = b"Content-Encoding: " + name.removeprefix("raw ").encode() + b"\r\n"
        bombs[name] = archive.members([archive.record(archive.http(body, headers=headers), url="http://bomb/")])
    head = archive.record(archive.http(b""), url="http://bomb/", length=str(LARGE + 50)).removesuffix(b"\r\n\r\n")
    bombs["member"] = archive.deflate_zeros(LARGE, head=head)
    lying = archive.record(archive.http(b"x"), url="http://bomb/").removesuffix(b"\r\n\r\n")
    bombs["member that declares little"] = archive.deflate_zeros(LARGE, head=lying)
    bombs["header"] = archive.deflate_zeros(LARGE, head=b"WARC/1.0\r\nWARC-Type: response\r\nX: ")
    bombs["padding"] = archive.deflate_zeros(LARGE)
    bombs["no record"] = archive.deflate_zeros(LARGE, head=b"x")
    return bombs


SCRIPT = """
import resource, sys
limit = 700 << 20  # of address space: imports alone take half of it
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from corpora.warc import read_pages
with open(sys.argv[1], "rb") as stream:
    for item in read_pages(stream, source="a"):
        print(type(item).__name__, getattr(item, "reason", ""), getattr(item, "url", ""))
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print("peak", int(line.split()[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bombs_of_all_kinds_cost_their_own_record_and_less_than_300_mb(
    archive: Any, tmp_path: Path, project_root: Path
) -> None:
    bombs = make_bombs(archive)
    expected = []
    file = tmp_path / "bombs.warc.gz"
    with file.open("wb") as stream:
        for number, (name, bomb) in enumerate(bombs.items()):
            assert len(bomb) < 700_000, name
            stream.write(bomb + archive.members([archive.page(number)]))
            reason = {
                "member that declares little": "content_length",
                "padding": "not_a_record",
                "no record": "not_a_record",
            }
            url = "" if name in ("header", "padding", "no record") else "http://bomb/"
            expected.append(f"Rejection {reason.get(name, 'too_large')} {url}".strip())
            expected.append(f"RawPage  http://example.com/{number}")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file)], cwd=project_root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *found, peak = done.stdout.splitlines()
    assert [line.strip() for line in found] == expected
    assert int(peak.removeprefix("peak ")) < 300
    assert time.monotonic() - began < 30


def test_a_bomb_is_not_inflated_beyond_the_cap(archive: Any) -> None:
    limits = ReadLimits(record_bytes=MEGABYTE)
    head = archive.record(archive.http(b""), length=str(LARGE + 50)).removesuffix(b"\r\n\r\n")
    bomb = archive.deflate_zeros(LARGE, head=head)
    began = time.process_time()
    items = list(read_pages(BytesIO(bomb + archive.members([archive.page(1)])), source="a", limits=limits))
    assert time.process_time() - began < 0.1  # all of it takes half a second
    assert [item.reason for item in items if isinstance(item, Rejection)] == ["too_large"]
    assert sum(isinstance(item, RawPage) for item in items) == 1


def test_a_large_plain_record_is_passed_over_without_reading_it(archive: Any, tmp_path: Path) -> None:
    file = tmp_path / "large.warc"
    head = archive.record(b"", url="http://large/", length=str(10 << 30)).removesuffix(b"\r\n\r\n")
    with file.open("wb") as stream:
        stream.write(head)
        stream.seek(10 << 30, 1)  # a hole: 10 GB that take no disk
        stream.write(b"\r\n\r\n" + archive.page(1))
    with file.open("rb") as stream:
        first, second = read_pages(stream, source="a")
    assert isinstance(first, Rejection)
    assert (first.reason, first.broken) == ("too_large", False)
    assert isinstance(second, RawPage)
