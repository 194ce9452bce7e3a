"""A file of a book is one page or one rejection, whatever is in it and however the file is cut."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.book_files import BOOK_REASONS, EPUB, PLAIN_TEXT, BookLimits, read_books
from corpora.documents import RawPage, Rejection, make_document_id
from corpora.reasons import REASONS

TEXT = ("It rained on the day that Ada lost the key.\n" * 40).encode()
ZIP = b"PK\x03\x04" + bytes(40)


def read(body: bytes, **options: Any) -> RawPage | Rejection:
    (found,) = read_books(io.BytesIO(body), source="books/key.txt.gz", **options)
    assert found.document_id == make_document_id("books/key.txt.gz", 0, "")
    assert (found.url, found.source, found.offset) == ("", "books/key.txt.gz", 0)
    return found


@pytest.mark.parametrize(
    ("body", "mime", "content"),
    [
        (TEXT, PLAIN_TEXT, TEXT),
        (gzip.compress(TEXT, mtime=0), PLAIN_TEXT, TEXT),
        (
            gzip.compress(TEXT, mtime=0) + gzip.compress(TEXT, mtime=0) + bytes(512),
            PLAIN_TEXT,
            TEXT * 2,
        ),  # members, and a filled block
        (ZIP, EPUB, ZIP),
        (gzip.compress(ZIP, mtime=0), EPUB, ZIP),
        (TEXT.decode().encode("utf-16"), PLAIN_TEXT, TEXT.decode().encode("utf-16")),
        (TEXT.decode().encode("utf-16-le"), PLAIN_TEXT, TEXT.decode().encode("utf-16-le")),
        ("日本語の本です。".encode("euc-jp") * 99, PLAIN_TEXT, "日本語の本です。".encode("euc-jp") * 99),
    ],
)
def test_a_book_is_known_by_its_content(body: bytes, mime: str, content: bytes) -> None:
    page = read(body)
    assert isinstance(page, RawPage)
    assert (page.mime, page.status, page.fetched_at, page.http_charset) == (mime, 200, "", "")
    assert page.body == content


@pytest.mark.parametrize(
    ("body", "reason", "broken"),
    [
        (b"", "empty_file", True),
        (gzip.compress(TEXT, mtime=0)[:-20], "truncated", True),
        (gzip.compress(TEXT, mtime=0)[:12], "truncated", True),
        (gzip.compress(TEXT, mtime=0)[:-8] + bytes(8), "damaged_member", True),
        (gzip.compress(TEXT, mtime=0) + b"and more", "damaged_member", True),
        (gzip.compress(TEXT, mtime=0) + gzip.compress(TEXT, mtime=0)[:30], "truncated", True),
        (b"%PDF-1.4" + TEXT, "not_a_book", False),
        (b"{\\rtf1" + TEXT, "not_a_book", False),
        (gzip.compress(b"\x89PNG" + TEXT, mtime=0), "not_a_book", False),
        (b"\x7fELF" + bytes(range(256)) * 9, "not_a_book", False),
        (bytes(60) + b"BOOKMOBI" + bytes(99), "not_a_book", False),
    ],
)
def test_what_is_no_book_is_rejected_for_its_reason(body: bytes, reason: str, broken: bool) -> None:
    found = read(body)
    assert isinstance(found, Rejection)
    assert (found.reason, found.broken, found.stage) == (reason, broken, "read")
    assert found.detail
    assert set(REASONS) >= BOOK_REASONS


def test_a_book_cut_or_changed_anywhere_is_not_taken_for_whole() -> None:
    packed = gzip.compress(bytes(range(1, 250)) * 50)
    for n in range(3, 64):
        found = read(packed[: len(packed) * n // 64])
        assert isinstance(found, Rejection)
        assert found.reason == "truncated"
    for place in range(10, len(packed), 7):  # behind the header, whose bytes say when and where it was packed
        changed = packed[:place] + bytes([packed[place] ^ 0x10]) + packed[place + 1 :]
        found = read(changed)
        assert isinstance(found, Rejection)
        assert found.reason in ("truncated", "damaged_member")


def test_a_file_beyond_the_limits_is_not_read(archive: Any) -> None:
    limits = BookLimits(file_bytes=2_000, text_bytes=1_000)
    for body in (bytes(3_000), b"a" * 1_500, gzip.compress(TEXT), archive.deflate_zeros(300 << 20)):
        found = read(body, limits=limits)
        assert isinstance(found, Rejection)
        assert (found.reason, found.broken) == ("too_large", False)
    assert isinstance(read(ZIP + bytes(1_500), limits=limits), RawPage)  # text has a limit of its own
    bomb = archive.deflate_zeros(300 << 20)
    assert len(bomb) < 400_000
    assert isinstance(read(bomb), Rejection)  # held: no more than the limit of a text
    with pytest.raises(ValueError, match="at least 1"):
        BookLimits(text_bytes=0)


def test_ranges_of_a_file_hold_the_book_once() -> None:
    for size in (1, 100, len(TEXT)):
        found = [
            item
            for start in range(0, len(TEXT), size)
            for item in read_books(io.BytesIO(TEXT), source="a.txt", start=start, end=start + size)
        ]
        assert len(found) == 1
    assert len(list(read_books(io.BytesIO(b""), source="a.txt", start=0, end=0))) == 1
    with pytest.raises(ValueError, match="no byte range"):
        list(read_books(io.BytesIO(TEXT), source="a.txt", start=5, end=2))


@given(st.one_of(st.binary(), st.binary().map(lambda body: b"\x1f\x8b\x08" + body), st.binary().map(zlib.compress)))
def test_any_bytes_give_one_page_or_one_rejection(body: bytes) -> None:
    found = read(body)
    assert isinstance(found, RawPage) or found.reason in BOOK_REASONS


def test_real_books_are_read(shared_data: Path) -> None:
    for path in sorted((shared_data / "books").glob("*/*")):
        with path.open("rb") as stream:
            (page,) = read_books(stream, source=path.name)
        assert isinstance(page, RawPage)
        assert page.mime == (EPUB if path.suffix == ".epub" else PLAIN_TEXT)
