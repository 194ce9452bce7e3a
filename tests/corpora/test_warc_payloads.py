"""How HTTP is undone: chunks, content encodings, and what is cut, wrong or not what it says."""

import gzip
import zlib
from io import BytesIO
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.payloads import Response, Unreadable, read_response, split_content_type
from corpora.warc import RawPage, read_pages

PAGE = b"<html><body>" + b"".join(b"<p>paragraph %d</p>" % n for n in range(500)) + b"</body></html>"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def respond(body: bytes, headers: bytes, *, cap: int = 1 << 20) -> Response | Unreadable:
    content = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + headers + b"\r\n" + body
    return read_response(content, max_body_bytes=cap, max_header_bytes=1 << 16)


def body_of(body: bytes, headers: bytes) -> bytes:
    found = respond(body, headers)
    assert isinstance(found, Response), found
    return found.body


def reason_of(body: bytes, headers: bytes, *, cap: int = 1 << 20) -> tuple[str, bool]:
    found = respond(body, headers, cap=cap)
    assert isinstance(found, Unreadable), found
    return found.reason, found.broken


def encoding(name: str) -> bytes:
    return b"Content-Encoding: " + name.encode() + b"\r\n"


def chunk(data: bytes, size: int = 1000) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("name", PACK)
def test_each_encoding_is_undone(name: str) -> None:
    assert body_of(PACK[name](PAGE), encoding(name)) == PAGE
    assert body_of(PACK[name](PAGE), encoding(name.upper())) == PAGE
    assert body_of(PACK[name](b""), encoding(name)) == b""


def test_deflate_is_undone_raw_too() -> None:
    assert body_of(raw_deflate(PAGE), encoding("deflate")) == PAGE


def test_stacked_encodings_are_undone_in_reverse() -> None:
    assert body_of(gzip.compress(brotli.compress(PAGE)), encoding("br, gzip")) == PAGE
    assert body_of(gzip.compress(brotli.compress(PAGE)), encoding("br") + encoding("gzip")) == PAGE
    assert reason_of(PAGE, encoding(",".join(["gzip"] * 9))) == ("content_encoding", False)


def test_an_encoding_that_names_none_is_ignored() -> None:
    for name in ("identity", "none", "", "UTF-8", "8bit"):
        assert body_of(PAGE, encoding(name)) == PAGE


def test_an_unknown_encoding_is_a_rejection_and_not_damage() -> None:
    for name in ("compress", "sdch", "aes128gcm", "gzip, rot13"):
        assert reason_of(PAGE, encoding(name)) == ("content_encoding", False)


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("body", [PAGE, b"{}", b"plain words", "日本語のページ".encode("cp932"), b"[1]"])
def test_a_body_stored_decoded_is_taken_as_it_is(name: str, body: bytes) -> None:
    assert body_of(body, encoding(name)) == body


@pytest.mark.parametrize("name", PACK)
def test_a_body_cut_in_transit_keeps_what_decodes(name: str) -> None:
    packed = PACK[name](PAGE * 40 + bytes(range(256)) * 300)
    whole = PAGE * 40
    found = body_of(packed[: len(packed) * 9 // 10], encoding(name))
    assert whole.startswith(found[: len(whole)])
    assert found


@pytest.mark.parametrize("name", PACK)
def test_a_damaged_body_is_rejected_as_broken(name: str) -> None:
    packed = bytearray(PACK[name](PAGE + bytes(range(256)) * 9))
    middle = len(packed) // 2
    packed[middle : middle + 40] = b"\xff" * 40
    found = respond(bytes(packed), encoding(name))
    # Brotli has no checksum: damage may decode to something. It must not be shorter without a word.
    if isinstance(found, Unreadable):
        assert (found.reason, found.broken) == ("damaged_payload", True)
    else:
        assert name == "br"


@pytest.mark.parametrize("name", PACK)
def test_a_body_over_the_cap_is_too_large(name: str) -> None:
    assert reason_of(PACK[name](bytes(2 << 20)), encoding(name)) == ("too_large", False)


def test_a_zstd_window_over_8_mb_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(PAGE) + packer.flush()
    assert reason_of(packed, encoding("zstd")) == ("damaged_payload", True)


def test_a_gzip_body_of_several_members_is_undone_whole() -> None:
    assert body_of(gzip.compress(PAGE) + gzip.compress(b"more") + b"\0\0", encoding("gzip")) == PAGE + b"more"
    assert body_of(gzip.compress(b"") * 99 + gzip.compress(b"x"), encoding("gzip")) == b"x"


@given(st.binary(max_size=500), st.integers(1, 99))
def test_chunks_are_joined(data: bytes, size: int) -> None:
    assert body_of(chunk(data, size), CHUNKED) == data


def test_chunks_with_extensions_trailers_and_bare_line_feeds_are_joined() -> None:
    assert body_of(b"5;a=b\r\nhello\r\n0\r\nExpires: never\r\n\r\n", CHUNKED) == b"hello"
    assert body_of(b"5\nhello\n0\n\n", CHUNKED) == b"hello"
    assert body_of(b"0005 \r\nhello\r\n000\r\n\r\n", CHUNKED) == b"hello"


def test_chunked_and_packed_are_both_undone() -> None:
    assert body_of(chunk(gzip.compress(PAGE)), CHUNKED + encoding("gzip")) == PAGE


def test_a_body_stored_without_its_chunks_is_taken_as_it_is() -> None:
    assert body_of(PAGE, CHUNKED) == PAGE


def test_chunks_cut_in_transit_keep_all_that_came() -> None:
    packed = chunk(PAGE)
    for cut in range(1, len(packed), 37):
        found = body_of(packed[:cut], CHUNKED)
        assert PAGE.startswith(found) or found == packed[:cut]
        assert len(found) >= cut - 7 * (cut // 1000 + 1)


def test_wrong_chunks_are_never_a_shorter_page() -> None:
    right = chunk(PAGE)
    for wrong in (
        right.replace(b"3e8\r\n", b"3e0\r\n", 1),  # a chunk longer than it says
        right[:2000] + b"zz" + right[2000:],
        right.replace(b"0\r\n\r\n", b"0\r\n\r\n" + b"<p>and more"),  # something after the end
        right.replace(b"3e8\r\n", b"0\r\n\r\n3e8\r\n", 1),  # an end before the end
    ):
        assert reason_of(wrong, CHUNKED) == ("damaged_payload", True)


def test_a_chunk_that_declares_too_much_takes_what_is_there() -> None:
    assert body_of(b"ffffffff\r\nhello", CHUNKED) == b"hello"


def test_interim_responses_are_passed_over() -> None:
    content = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\n\r\nx"
    found = read_response(content, max_body_bytes=99, max_header_bytes=999)
    assert found == Response(404, "a/b", "", b"x")


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"HTTP/1.1 200 OK", 200), (b"HTTP/1.1 200", 200), (b"HTTP/2 301", 301), (b"HTTP/1.0 OK", 0), (b"HTTP/", 0)],
)
def test_status_lines_of_all_kinds(line: bytes, status: int) -> None:
    found = read_response(line + b"\r\n\r\nx", max_body_bytes=99, max_header_bytes=999)
    assert isinstance(found, Response)
    assert (found.status, found.body) == (status, b"x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/html; charset=utf-8", ("text/html", "utf-8")),
        ("TEXT/HTML;Charset='x'", ("text/html", "x")),
        ("text/html; a=b; charset = koi8-r ; c", ("text/html", "koi8-r")),
        ("text/html, text/plain", ("text/html", "")),
        ("", ("", "")),
        ("; charset=", ("", "")),
    ],
)
def test_content_types_of_all_kinds(value: str, expected: tuple[str, str]) -> None:
    assert split_content_type(value) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", CHUNKED, *(encoding(name) for name in PACK), CHUNKED + encoding("gzip, br")]),
    st.sampled_from([b"", b"5\r\n", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x78\x9c", b"\x5b"]),
)
def test_no_bytes_make_it_raise(body: bytes, headers: bytes, head: bytes) -> None:
    respond(head + body, headers, cap=1000)


def test_a_page_cut_by_the_crawler_is_kept(archive: Any) -> None:
    packed = gzip.compress(PAGE)[:-200]
    record = archive.record(archive.http(packed, headers=encoding("gzip")), extra=b"WARC-Truncated: length\r\n")
    (page,) = read_pages(BytesIO(record), source="a")
    assert isinstance(page, RawPage)
    assert PAGE.startswith(page.body)
    assert page.body
