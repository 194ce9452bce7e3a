"""Turns the bytes of a page into text by a ladder of evidence: body in, text and the rung that decided out.

The rule: every byte is accounted for. A rung decides only if the whole body decodes by it, or nearly (then each bad
byte becomes U+FFFD and the text after it is kept); else the next one is asked, down to windows-1252, which reads all.

    bom        a byte order mark
    http       the charset parameter of Content-Type
    meta       <meta charset>, <meta http-equiv=content-type>, or an XML declaration, in the first 4,096 bytes
    utf-8      nothing declared holds, and the body is UTF-8: chance does not make that
    detector   the letters themselves (resiliparse's uchardet; charset-normalizer where that knows nothing)
    cp1252     no better idea

Some declarations are known to be wrong, and passed over although they would decode: a body of valid UTF-8 that is
declared to be something older, UTF-16 declared for bytes without a single NUL, or the other way round. Control
characters that HTML ignores and lxml refuses (NUL among them) are left out of the text; line breaks, tabs and form
feeds stay.
"""

import re
from typing import NamedTuple

import charset_normalizer
from resiliparse.parse.encoding import detect_encoding

from corpora.charsets import (
    ISO_2022_JP,
    KOI8_U,
    UTF_8,
    UTF_16_BE,
    UTF_16_LE,
    WINDOWS_1252,
    Charset,
    find_charset,
)

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8", "utf_8"),
    (b"\xff\xfe\x00\x00", "utf-32le", "utf_32_le"),
    (b"\x00\x00\xfe\xff", "utf-32be", "utf_32_be"),
    (b"\xff\xfe", "utf-16le", "utf_16_le"),
    (b"\xfe\xff", "utf-16be", "utf_16_be"),
)
_PRESCAN_BYTES = 4_096  # browsers look at 1,024; pages that declare later than that are common
_SAMPLE_BYTES = 32_768  # shown to the detectors
# A rung holds if it reads this many characters beyond ASCII for each byte that it cannot. UTF-8 gives itself away, so
# where it is declared as well a majority will do.
_WIDE_PER_BAD = 10
_WIDE_PER_BAD_DECLARED_UTF_8 = 1
_NORMALIZER_BYTES = 4_096  # charset-normalizer is slow
_ASIAN = frozenset({"gb18030", "big5", "euc-jp", "shift_jis", "euc-kr"})

_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/]([^>]*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"([^\s=\"'/>]{1,40})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_CONTENT_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([^\"'>]+)[\"']")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_CONTROL_BYTES = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r") + b"\x7f"
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


class Decoded(NamedTuple):
    """A page's text. It holds no NUL and no lone surrogate: it can be encoded, parsed and stored."""

    text: str
    charset: str  # its name in the WHATWG standard
    decided_by: str  # bom, http, meta, utf-8, detector or cp1252


def decode_page(body: bytes, *, http_charset: str) -> Decoded:
    """The text of a page; never raises."""
    for mark, name, codec in _BOMS:
        if body.startswith(mark):
            return _finish(body[len(mark) :].decode(codec, "replace"), body, name, "bom")
    for charset, rung in ((find_charset(http_charset), "http"), (find_declared_charset(body), "meta")):
        if charset and not _is_contradicted(body, charset):
            wide_per_bad = _WIDE_PER_BAD_DECLARED_UTF_8 if charset == UTF_8 else _WIDE_PER_BAD
            if (text := _read(body, charset, wide_per_bad)) is not None:
                return _finish(text, body, charset.name, rung)
    for find, rung in ((_find_by_structure, "detector"), (_find_utf_8, "utf-8"), (_find_by_letters, "detector")):
        guess = find(body)
        if guess and (text := _read(body, guess, _WIDE_PER_BAD)) is not None:
            return _finish(text, body, guess.name, rung)
    return _finish(body.decode("cp1252", "replace"), body, WINDOWS_1252.name, "cp1252")


def find_declared_charset(body: bytes) -> Charset | None:
    """What the page's first bytes say of its encoding."""
    head = _COMMENT.sub(b"", body[:_PRESCAN_BYTES])
    labels = [_read_meta(meta[1]) for meta in _META.finditer(head)]
    xml = _XML_ENCODING.match(head)
    if xml:
        labels.append(xml[1])
    for label in labels:
        charset = find_charset(label.decode("latin-1"))
        if charset in (UTF_16_LE, UTF_16_BE):
            return UTF_8  # it was read as ASCII, so it cannot be UTF-16; the standard says what it is then
        if charset:
            return charset
    return None


def _read_meta(attributes: bytes) -> bytes:
    values: dict[bytes, bytes] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(attributes):
        values.setdefault(name.lower(), double or single or bare)
    if b"charset" in values:
        return values[b"charset"]
    if values.get(b"http-equiv", b"").strip().lower() == b"content-type":
        found = _CONTENT_CHARSET.search(values.get(b"content", b""))
        return found[1] if found else b""
    return b""


def _find_by_structure(body: bytes) -> Charset | None:
    """Encodings that would pass for ASCII or UTF-8."""
    if b"\x1b$" in body and body.isascii():
        return ISO_2022_JP
    return _find_utf_16(body)


def _find_utf_16(body: bytes) -> Charset | None:
    """UTF-16 without a mark: a tenth of the bytes of one parity, if only those of tags and spaces, are NUL."""
    head = body[:1024]
    if b"\0" not in head:
        return None
    n_even, n_odd = head[0::2].count(0), head[1::2].count(0)
    if min(n_even, n_odd) or max(n_even, n_odd) < max(2, len(head) // 20):
        return None
    return UTF_16_LE if n_odd else UTF_16_BE


def _find_utf_8(_body: bytes) -> Charset | None:
    return UTF_8


def _find_by_letters(body: bytes) -> Charset | None:
    """What the letters look like, None if like nothing known."""
    first = _BEYOND_ASCII.search(body)
    begin = max(0, first.start() - 64) if first else 0
    sample = body[begin : begin + _SAMPLE_BYTES]
    found = find_charset(detect_encoding(sample) or "")
    if found and found.name == "koi8-r":
        return KOI8_U  # the same letters and the Ukrainian ones
    if found != UTF_8:
        return found
    # uchardet's "utf-8" means that it does not know, Korean for one. charset-normalizer does, but only its East Asian
    # answers are good: it takes short Western texts for hp_roman8 and the like.
    best = charset_normalizer.from_bytes(sample[:_NORMALIZER_BYTES]).best()
    guess = find_charset(best.encoding.replace("hkscs", "")) if best else None
    return guess if guess and guess.name in _ASIAN else None


def _is_contradicted(body: bytes, charset: Charset) -> bool:
    """Whether the bytes cannot be what is declared, although they would decode."""
    if charset in (UTF_16_LE, UTF_16_BE):
        return b"\0" not in body[:_PRESCAN_BYTES]
    if _find_utf_16(body):
        return True
    if charset == UTF_8 or body.isascii():
        return False
    try:
        n_wide = _count_wide(body.decode("utf-8"))
    except UnicodeDecodeError:
        return False
    # One "Ã©" proves that text is not windows-1252; two letters of an Asian set can pass for one of UTF-8 by chance.
    return n_wide >= (1 if charset == WINDOWS_1252 else 3)


def _read(body: bytes, charset: Charset, wide_per_bad: int) -> str | None:
    """The text if the whole body decodes, or nearly."""
    for codec in charset.codecs:
        try:
            return body.decode(codec)
        except UnicodeDecodeError:
            continue
    text = body.decode(charset.codecs[0], "replace")
    n_bad = text.count("\ufffd")
    return text if _count_wide(text) - n_bad >= wide_per_bad * n_bad else None


def _count_wide(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore"))


def _finish(text: str, body: bytes, charset: str, rung: str) -> Decoded:
    if charset.startswith(("utf-16", "utf-32")) or len(body.translate(None, _CONTROL_BYTES)) != len(body):
        text = _CONTROLS.sub("", text)
    if charset != UTF_8.name:
        text = _SURROGATES.sub("\ufffd", text)
    return Decoded(text, charset, rung)
