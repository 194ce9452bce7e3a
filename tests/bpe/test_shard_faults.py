"""Tars that are not shards of ours are refused, by name and place, within a second, and nothing in them runs."""

import hashlib
import io
import pickle
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from bpe.errors import ShardError
from bpe.layout import END, RECORD, block_members, block_sizes, shard_bytes
from bpe.shards import ShardContents, check_shard, open_shard, scan_shard
from bpe.ustar import make_header


def sign(header):
    """The header with the checksum that fits it."""
    blank = bytes(header[:148]) + b" " * 8 + bytes(header[156:])
    return blank[:148] + b"%06o\x00 " % sum(blank) + blank[156:]


def header(name="00000000.tok", size=0, *, kind=b"0", link=b"", size_field=None):
    raw = bytearray(make_header("00000000.tok", size if 0 <= size < 8**11 else 0))
    raw[:100] = name.encode().ljust(100, b"\0")
    raw[156:157] = kind
    raw[157:257] = link.ljust(100, b"\0")
    if size_field is not None:
        raw[124:136] = size_field
    return sign(raw)


def member(name, data=b"", **options):
    return header(name, len(data), **options) + data + bytes(-len(data) % RECORD)


def base256(value):
    return value.to_bytes(12, "big", signed=True) if value < 0 else b"\x80" + value.to_bytes(11, "big")


def block(k, *, tokens=b"\5\0", lengths=b"\1\0", documents=b"\1\0\0\0"):
    parts = (("tok", tokens), ("sen", lengths), ("doc", documents))
    return b"".join(member(f"{k:08d}.{part}", data) for part, data in parts)


def pax_tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("00000000.tok")
        info.pax_headers = {"comment": "x" * (1 << 20)}
        tar.addfile(info)
    return stream.getvalue()


def gnu_tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("x" * 300))
    return stream.getvalue()


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


GOOD = block(0) + block(1) + END
FAULTS = {
    "a name that leaves its folder": (member("../00000000.tok", b"\5\0") + END, "leaves its folder"),
    "an absolute name": (member("/tmp/00000000.tok", b"\5\0") + END, "absolute name"),
    "a symbolic link": (header(kind=b"2", link=b"/etc/passwd") + END, "symbolic link"),
    "a hard link": (header(kind=b"1", link=b"00000001.tok") + END, "hard link"),
    "a character device": (header(kind=b"3") + END, "character device"),
    "a block device": (header(kind=b"4") + END, "block device"),
    "a directory": (header("00000000.tok/", kind=b"5") + END, "directory"),
    "a FIFO": (header(kind=b"6") + END, "FIFO"),
    "a member of no known type": (header(kind=b"Z") + END, "unknown type"),
    "an old-style plain file": (header(kind=b"\0") + END, "unknown type"),
    "a duplicate": (
        member("00000000.tok", b"\5\0") + member("00000000.tok", b"\5\0") + END,
        "00000000.sen was expected",
    ),
    "a block twice": (block(0) + block(0) + END, "00000001.tok was expected"),
    "members in another order": (member("00000000.sen", b"\1\0") + END, "00000000.tok was expected"),
    "2^45 bytes": (header(size_field=base256(1 << 45)) + END, str(1 << 45)),
    "a negative size": (header(size_field=base256(-512)) + END, "-512"),
    "a size that is no number": (header(size_field=b"12345678xyz\0") + END, "claims -1 bytes"),
    "more bytes than there are": (header(size_field=b"00000777777\0") + END, "follow"),
    "PAX headers of 1 MB": (pax_tar(), "PAX"),
    "a GNU long name": (gnu_tar(), "GNU long name"),
    "no end": (GOOD[:-1024], "without its two zero records"),
    "half an end": (GOOD[:-512], "one zero record"),
    "a bad checksum": (b"1" + GOOD[1:], "checksum"),
    "a cut at a member's border": (GOOD[: 2 * 1024], "without its two zero records"),
    "a cut within a header": (GOOD[: 2 * 1024 + 100], "without its two zero records"),
    "a cut within a payload": (GOOD[:700], "follow"),
    "an end after half a block": (block(0)[: 2 * 1024] + END, "last block ends with 00000000.sen"),
    "something after the end": (GOOD + b"x", "1 bytes follow"),
    "a second tar after the end": (GOOD + GOOD, "follow the end"),
    "padding that is not zero": (GOOD[:600] + b"x" + GOOD[601:], "padding"),
    "another owner": (sign(GOOD[:108] + b"0001750\0" + GOOD[116:512]) + GOOD[512:], "owner"),
    "another time": (sign(GOOD[:136] + b"14524770000\0" + GOOD[148:512]) + GOOD[512:], "owner, a time"),
    "a payload of half a token": (block(0, tokens=b"\5\0\7") + END, "no multiple"),
    "an empty file": (b"", "empty"),
    "no tar at all": (b"<html>" * 300, "checksum"),
    "a pickle": (member("00000000.pickle", b"\5\0") + END, "'00000000.pickle'"),
    "a tensor": (member("00000000.pt", b"\5\0") + END, "'00000000.pt'"),
    "a command for a name": (member("pipe:touch x", b"\5\0") + END, "'pipe:touch x'"),
}


def test_the_tar_that_the_faults_are_made_of_is_good(tmp_path):
    (tmp_path / "good.tar").write_bytes(GOOD)
    assert scan_shard(tmp_path / "good.tar").n_tokens.tolist() == [1, 1]


@pytest.mark.parametrize("name", FAULTS)
def test_a_tar_is_refused_and_named_within_a_second(tmp_path, shard, name):
    data, found = FAULTS[name]
    path = tmp_path / "fault.tar"
    path.write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    started = time.perf_counter()
    for read in (lambda: scan_shard(path), lambda: check_shard(path, shard[1])):
        with pytest.raises(ShardError, match=r"fault\.tar") as error:
            read()
        assert found in str(error.value)
    with pytest.raises(ShardError, match=r"fault\.tar"):
        open_shard(path, shard[1]).block(0)
    assert time.perf_counter() - started < 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("ending", ["pyd", "pickle", "pt"])
def test_a_pickle_in_a_shard_is_never_loaded(tmp_path, shard, ending):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.tar"
    path.write_bytes(member(f"00000000.{ending}", pickle.dumps(Marker(marker))) + END)
    for read in (lambda: scan_shard(path), lambda: check_shard(path, shard[1]), lambda: open_shard(path, shard[1])):
        with pytest.raises(ShardError):
            read()
    assert not marker.exists()


def test_a_name_that_is_a_command_is_only_a_name(tmp_path, shard, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ShardError):
        open_shard(Path("pipe:touch marker"), shard[1])
    assert not (tmp_path / "marker").exists()


def test_every_flipped_byte_is_noticed_and_the_shard_is_named(shard):
    path, row = shard
    data = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), size=60).tolist():
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(ShardError, match=r"x\.tar"):
            check_shard(path, row)


def test_a_flipped_byte_is_noticed_by_the_block_it_is_in(shard):
    path, row = shard
    member_ = block_members(row.blocks, 2)[0]
    data = bytearray(path.read_bytes())
    data[member_.offset + RECORD + 5] ^= 1
    path.write_bytes(data)
    opened = open_shard(path, row)
    opened.block(1)
    opened.block(3)
    with pytest.raises(ShardError, match=r"x.tar at byte \d+: block 2 has crc32c"):
        opened.block(2)


def test_a_shard_of_another_size_than_the_manifest_says_is_not_opened(shard):
    path, row = shard
    path.write_bytes(path.read_bytes()[:-RECORD])
    with pytest.raises(ShardError, match="the manifest says"):
        open_shard(path, row)


def test_blocks_that_are_not_the_manifests_are_refused(shard):
    """A shard that is good in itself, but is not the one that the manifest lists."""
    path, row = shard
    blocks = row.blocks._replace(n_tokens=np.roll(row.blocks.n_tokens, 1))
    other = row._replace(blocks=blocks)
    with pytest.raises(ShardError, match="block 0: n_tokens"):
        check_shard(path, other)
    with pytest.raises(ShardError, match=r"were expected"):
        open_shard(path, other).block(0)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"tokens": b"\5\0\6\0"}, "tokens, the block has 2"),
        ({"lengths": b"\0\0\1\0"}, "has no tokens"),
        ({"documents": b"\2\0\0\0"}, "sentences, the block has"),
    ],
)
def test_sums_within_a_block_are_verified(tmp_path, entry, parts, found):
    data = block(0, **parts) + END
    path = tmp_path / "sums.tar"
    path.write_bytes(data)
    table = scan_shard(path)
    sizes = block_sizes(table.n_tokens, table.n_sentences, table.n_documents)
    assert shard_bytes(sizes) == len(data)
    row = entry("sums", _contents(table, data))
    with pytest.raises(ShardError, match=found):
        check_shard(path, row)


def _contents(table, data):
    return ShardContents(1, 1, 1, len(data), hashlib.sha256(data).hexdigest(), table, [])
