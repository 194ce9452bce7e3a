"""Reads an EPUB book: the bytes of the file in, its text in reading order and what it says of itself out.

The rule: no file can make us inflate more than the limits say, nothing is written anywhere, and a chapter that cannot
be read is counted. Nothing here raises on any bytes.

The way through the file: `META-INF/container.xml` names the package, the package lists the documents (manifest) and
their order (spine). Documents that the spine calls auxiliary (`linear="no"`), the navigation document, and what the
guide of EPUB 2 calls cover, title page, contents and the like are left out; of the others see `corpora.epub_text`.
Names in the file are only looked up in its own table of members: `..` and `/` lead nowhere.
"""

import io
import posixpath
import re
import struct
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree

from corpora.book_facts import BookFacts, language_code
from corpora.book_layout import Block
from corpora.decoding import decode_page
from corpora.epub_text import parse_markup, parse_xml, read_document

__all__ = ["EpubBook", "EpubFailure", "EpubLimits", "read_epub"]

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
_PACKAGE_TYPE = "application/oebps-package+xml"
_DOCUMENT_TYPES = frozenset(["application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"])
_CENTRAL_ENTRY = b"PK\x01\x02"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that EPUB allows
_ENCRYPTED_BIT = 1
_RATIO_FLOOR = 1 << 20  # bytes that may come out of next to nothing
_PIECE_BYTES = 1 << 18
# Fonts may be scrambled without the book being encrypted.
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_LEFT_OUT = frozenset([
    "cover", "title-page", "titlepage", "toc", "copyright-page", "colophon", "index", "loi", "lot", "landmarks",
    "other.cover", "other.titlepage", "other.copyright-page",
])  # fmt: skip
_DATE = re.compile(r"\s*(\d{4}(?:-\d\d(?:-\d\d)?)?)(?=$|[T\s])")

# What zipfile raises on damaged archives, beyond its own error.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    zlib.error,
    ValueError,  # UnicodeDecodeError among them
    NotImplementedError,
    RuntimeError,
    OverflowError,
    EOFError,
    OSError,
    KeyError,
    IndexError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpubLimits:
    """How much of a shape a book may have."""

    max_members: int = 10_000
    max_document_bytes: int = 8 << 20  # of one chapter, inflated; the Bible in one file has 5 MB
    max_total_bytes: int = 32 << 20  # of all chapters, inflated
    max_ratio: int = 200  # inflated to compressed, beyond 1 MiB; text compresses by 2 to 10
    max_elements: int = 400_000  # of one chapter
    max_gap_share: int = 50  # percent of the chapters that may be unreadable, for the others to be kept

    def __post_init__(self) -> None:
        if min(self.max_members, self.max_document_bytes, self.max_total_bytes, self.max_ratio, self.max_elements) < 1:
            raise ValueError("the limits of an EPUB book are counts and sizes: they are at least 1")
        if not 0 <= self.max_gap_share <= 100:
            raise ValueError(f"max_gap_share is {self.max_gap_share}; it is a percentage")


_DEFAULT_LIMITS = EpubLimits()


class EpubBook(NamedTuple):
    """A book's text and facts."""

    facts: BookFacts
    blocks: list[Block]
    gaps: int  # chapters that could not be read


class EpubFailure(NamedTuple):
    """Why a file gives no book."""

    reason: str
    detail: str
    broken: bool


class _Refused(Exception):  # noqa: N818 # it ends the reading of a book, inside this module
    def __init__(self, reason: str, detail: str, *, broken: bool = False) -> None:
        self.failure = EpubFailure(reason, detail, broken)
        super().__init__(detail)


class _Unreadable(Exception):  # noqa: N818 # as above, of one member
    pass


class _Item(NamedTuple):
    """A file that the package lists."""

    path: str
    media_type: str
    properties: str


def read_epub(body: bytes, *, limits: EpubLimits = _DEFAULT_LIMITS) -> EpubBook | EpubFailure:
    """The book, or why it cannot be read."""
    try:
        with _open(body, limits) as archive:
            return _read_book(_Members(archive, limits), limits)
    except _Refused as refused:
        return refused.failure
    except _ZIP_ERRORS as error:
        return EpubFailure("damaged_archive", f"{type(error).__name__}: {error}"[:300], True)


def _open(body: bytes, limits: EpubLimits) -> zipfile.ZipFile:
    # zipfile makes an object of each entry of the table, whatever its end claims, so they are counted before.
    n_members = body.count(_CENTRAL_ENTRY)
    if n_members > limits.max_members:
        raise _Refused("too_large", f"{n_members} members; the limit is {limits.max_members}")
    return zipfile.ZipFile(io.BytesIO(body))


class _Members:
    """The members of an archive by name, inflated within the limits."""

    def __init__(self, archive: zipfile.ZipFile, limits: EpubLimits) -> None:
        self._archive = archive
        self._limits = limits
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._ambiguous: set[str] = set()
        self._total_bytes = 0
        for info in archive.infolist():
            earlier = self._infos.get(info.filename)
            if earlier and (earlier.CRC, earlier.file_size) != (info.CRC, info.file_size):
                self._ambiguous.add(info.filename)
            self._infos[info.filename] = info

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def find_package(self) -> str:
        """The first package by name, where the container does not say."""
        return min((name for name in self._infos if name.lower().endswith(".opf")), default="")

    def read(self, name: str) -> str:
        """A member's text. `_Unreadable` if it is missing or damaged, `_Refused` if it passes a limit."""
        info = self._infos.get(name)
        if info is None:
            raise _Unreadable(f"{name!r} is not in the archive")
        if name in self._ambiguous:
            raise _Unreadable(f"{name!r} is in the archive twice, with different content")
        self._check(info)
        parts: list[bytes] = []
        left = info.file_size
        try:
            with self._archive.open(info) as stream:
                while piece := stream.read(_PIECE_BYTES):
                    parts.append(piece)
                    left -= len(piece)
        except _ZIP_ERRORS as error:
            raise _Unreadable(f"{name!r}: {error}"[:300]) from error
        if left:
            raise _Unreadable(f"{name!r} is {left} bytes shorter than the archive says")
        return decode_page(b"".join(parts), http_charset="").text

    def _check(self, info: zipfile.ZipInfo) -> None:
        limits, name = self._limits, info.filename[:100]
        if info.flag_bits & _ENCRYPTED_BIT:
            raise _Refused("encrypted", f"{name!r} is encrypted in the archive")
        if info.compress_type not in _METHODS:
            raise _Unreadable(f"{name!r} is compressed by method {info.compress_type}")
        if info.file_size > limits.max_document_bytes:
            raise _Refused("too_large", f"{name!r}: {info.file_size} bytes; the limit is {limits.max_document_bytes}")
        if info.file_size > _RATIO_FLOOR and info.file_size > limits.max_ratio * max(info.compress_size, 1):
            raise _Refused("too_large", f"{name!r}: {info.file_size} bytes out of {info.compress_size}")
        self._total_bytes += info.file_size
        if self._total_bytes > limits.max_total_bytes:
            raise _Refused("too_large", f"more than {limits.max_total_bytes} bytes of text")


def _read_book(members: _Members, limits: EpubLimits) -> EpubBook:
    package_path = _find_package(members)
    try:
        package = parse_xml(members.read(package_path))
    except _Unreadable as error:
        raise _Refused("damaged_archive", str(error), broken=True) from error
    if package is None:
        raise _Refused("damaged_archive", f"the package {package_path!r} is no XML", broken=True)
    paths = _reading_order(package, posixpath.dirname(package_path))
    encrypted = _encrypted_paths(members)
    blocks: list[Block] = []
    n_missing = 0
    for path in paths:
        if path in encrypted:
            raise _Refused("encrypted", f"{path[:100]!r} is encrypted")
        found = _read_chapter(members, path, limits) if path else None
        n_missing += found is None
        blocks += found or []
    if not paths:
        raise _Refused("no_text", "the spine of the book is empty")
    if 100 * n_missing > limits.max_gap_share * len(paths):
        raise _Refused("damaged_archive", f"{n_missing} of {len(paths)} chapters cannot be read", broken=True)
    return EpubBook(_read_facts(package), blocks, n_missing)


def _read_chapter(members: _Members, path: str, limits: EpubLimits) -> list[Block] | None:
    try:
        text = members.read(path)
    except _Unreadable:
        return None  # counted by the caller
    n_elements = text.count("<")
    if n_elements > limits.max_elements:
        raise _Refused("too_large", f"{path[:100]!r}: {n_elements} tags; the limit is {limits.max_elements}")
    root = parse_markup(text)
    return None if root is None else read_document(root)


def _find_package(members: _Members) -> str:
    container = None
    with suppress(_Unreadable):  # many readers do without it, and so can we
        container = parse_xml(members.read(CONTAINER))
    if container is not None:
        for rootfile in _elements(container, "rootfile"):
            path = _resolve("", rootfile.get("full-path") or "")
            if rootfile.get("media-type", _PACKAGE_TYPE) == _PACKAGE_TYPE and path in members:
                return path
    path = members.find_package()
    if not path:
        raise _Refused("not_a_book", "a zip archive without a package (.opf)")
    return path


def _reading_order(package: etree._Element, folder: str) -> list[str]:
    """Paths of the documents in the order of the spine; "" for one that the manifest does not list."""
    items: dict[str, _Item] = {}
    for item in _elements(package, "item"):
        path = _resolve(folder, item.get("href") or "")
        items.setdefault(item.get("id") or "", _Item(path, item.get("media-type") or "", item.get("properties") or ""))
    left_out = {
        _resolve(folder, reference.get("href") or "")
        for reference in _elements(package, "reference")
        if (reference.get("type") or "").lower() in _LEFT_OUT
    }
    paths: list[str] = []
    listed_before: set[str] = set()
    for reference in _elements(package, "itemref"):
        listed = items.get(reference.get("idref") or "")
        if (reference.get("linear") or "").lower() == "no":
            continue
        if listed is None:
            paths.append("")
        elif (
            listed.media_type.lower() in _DOCUMENT_TYPES
            and "nav" not in listed.properties.split()
            and listed.path not in left_out
            and listed.path not in listed_before  # the standard allows each document once
        ):
            paths.append(listed.path)
            listed_before.add(listed.path)
    return paths


def _encrypted_paths(members: _Members) -> set[str]:
    if ENCRYPTION not in members:
        return set()
    try:
        root = parse_xml(members.read(ENCRYPTION))
    except _Unreadable:
        return set()
    paths: set[str] = set()
    for data in _elements(root, "EncryptedData") if root is not None else ():
        algorithms = {method.get("Algorithm") or "" for method in _elements(data, "EncryptionMethod")}
        if algorithms and algorithms <= set(_FONT_ALGORITHMS):
            continue
        paths |= {_resolve("", reference.get("URI") or "") for reference in _elements(data, "CipherReference")}
    return paths


def _resolve(folder: str, href: str) -> str:
    """The name of a member that a reference stands for; one that leads out of the archive is the name of none."""
    path = unquote(href.split("#", 1)[0].split("?", 1)[0])
    return posixpath.normpath(posixpath.join(folder, path)) if path else ""


def _read_facts(package: etree._Element) -> BookFacts:
    def values(name: str) -> list[str]:
        return [text for found in _elements(package, name) if (text := _text_of(found))]

    dates = [found[1] for value in values("date") if (found := _DATE.match(value))]
    languages = [code for value in values("language") if (code := language_code(value))]
    return BookFacts(
        title=next(iter(values("title")), ""),
        authors=tuple(dict.fromkeys(_authors(package))),
        language=next(iter(languages), ""),
        published=next(iter(dates), ""),
    )


def _authors(package: etree._Element) -> list[str]:
    """Creators that are called authors, or nothing."""
    roles: dict[str, set[str]] = {}
    for meta in _elements(package, "meta"):
        if meta.get("property") == "role":
            roles.setdefault((meta.get("refines") or "").removeprefix("#"), set()).add(_text_of(meta))
    authors: list[str] = []
    for creator in _elements(package, "creator"):
        own = {value for key, value in creator.attrib.items() if str(key).endswith("role")}
        said = own | roles.get(creator.get("id") or "", set())
        if (not said or "aut" in said) and _text_of(creator):
            authors.append(_text_of(creator))
    return authors


def _elements(root: etree._Element, name: str) -> list[etree._Element]:
    """All elements of a local name, in any namespace, in document order."""
    return list(root.iter(f"{{*}}{name}"))


def _text_of(element: etree._Element) -> str:
    return " ".join("".join(element.itertext()).split())
