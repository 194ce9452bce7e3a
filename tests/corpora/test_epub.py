"""EPUB books: text in reading order, furniture left out, damage counted, and nothing that a file can do to the reader.

The books are made here, part by part, so that every byte of them is known; six real ones are read as well.
"""

import io
import random
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.book_layout import HEADING, NOTE, VERSE
from corpora.epub import EpubBook, EpubFailure, EpubLimits, read_epub
from corpora.reasons import REASONS

CONTAINER = """<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
METADATA = """<dc:title>The Lost Key</dc:title>
<dc:creator id="a">Ada Brown</dc:creator><meta refines="#a" property="role">aut</meta>
<dc:creator id="b">Carl Green</dc:creator><meta refines="#b" property="role">ill</meta>
<dc:language>en-GB</dc:language><dc:date>2014-05-25T00:00:00Z</dc:date>"""
XHTML = 'media-type="application/xhtml+xml"'


def page(body: str, *, head: str = '<?xml version="1.0" encoding="utf-8"?>\n') -> str:
    return (
        f'{head}<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'
        f"<head><title>not text</title></head><body>{body}</body></html>"
    )


def package(items: dict[str, str], *, metadata: str = METADATA, spine: list[str] | None = None, guide: str = "") -> str:
    """A package whose items are {path: other attributes}; the spine holds all of them, or what is named."""
    manifest = "".join(
        f'<item id="i{n}" href="{path}" {more if "media-type" in more else f"{XHTML} {more}"}/>'
        for n, (path, more) in enumerate(items.items())
    )
    references = spine if spine is not None else [f'idref="i{n}"' for n in range(len(items))]
    return (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata><manifest>{manifest}</manifest>'
        f"<spine>{''.join(f'<itemref {one}/>' for one in references)}</spine>{guide}</package>"
    )


def pack(members: list[tuple[str, str | bytes]]) -> bytes:
    """An archive of these members, in this order; a name may stand in it twice."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def book(
    pages: dict[str, str | bytes], *, opf: str | None = None, more: list[tuple[str, str | bytes]] | None = None
) -> bytes:
    """A book of these pages, in their order."""
    return pack(
        [
            ("mimetype", "application/epub+zip"),
            ("META-INF/container.xml", CONTAINER),
            ("OEBPS/book.opf", opf if opf is not None else package(dict.fromkeys(pages, ""))),
            *((f"OEBPS/{path}", content) for path, content in pages.items()),
            *(more or []),
        ]
    )


def chapter(n: int) -> str:
    return page(f"<h1>Chapter {n}</h1><p>Ada lost key number {n}.</p><p>She said so &amp; sat down.</p>")


def read(body: bytes, **limits: int) -> EpubBook:
    found = read_epub(body, limits=EpubLimits(**limits))
    assert isinstance(found, EpubBook), found
    return found


def fail(body: bytes, **limits: int) -> EpubFailure:
    found = read_epub(body, limits=EpubLimits(**limits))
    assert isinstance(found, EpubFailure), found
    assert found.reason in REASONS
    assert found.detail
    return found


def texts(body: str | bytes) -> list[str]:
    """What is read of a page with this body."""
    content = page(body) if isinstance(body, str) else body
    return [block.text for block in read(book({"a.xhtml": content})).blocks]


CHAPTERS = {f"{name}.xhtml": chapter(n) for n, name in enumerate("cab", 1)}
GOOD = book(CHAPTERS)


def test_chapters_come_in_the_order_of_the_spine_and_say_whose_book_it_is() -> None:
    found = read(GOOD)
    assert [block.text for block in found.blocks if block.kind == HEADING] == ["Chapter 1", "Chapter 2", "Chapter 3"]
    assert [block.text for block in found.blocks][1:3] == ["Ada lost key number 1.", "She said so & sat down."]
    assert found.facts == ("The Lost Key", ("Ada Brown",), "en", "2014-05-25")
    assert found.gaps == 0


def test_metadata_of_epub_2_are_read() -> None:
    metadata = (
        '<dc:title>Key</dc:title><dc:creator opf:role="aut" xmlns:opf="http://www.idpf.org/2007/opf">A B</dc:creator>'
        '<dc:creator opf:role="trl" xmlns:opf="http://www.idpf.org/2007/opf">C D</dc:creator><dc:date>1890</dc:date>'
    )
    found = read(book(CHAPTERS, opf=package(dict.fromkeys(CHAPTERS, ""), metadata=metadata)))
    assert found.facts == ("Key", ("A B",), "", "1890")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>One\n  two<b>three</b></p>text between<p>four</p>", ["One twothree", "text between", "four"]),
        ("<div>a<div>b<p>c</p>d</div>e</div>", ["a", "b", "c", "d", "e"]),
        ("<p>She<!-- no --> sat<?pi no?> down</p>", ["She sat down"]),
        ("<p>To be<br/>or not</p>", ["To be\nor not"]),
        ("<h2>I<br/>The Key</h2>", ["I The Key"]),
        ("<pre>a  b\nc</pre>", ["a b\nc"]),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", ["a b", "c"]),
        ("<p>caf&eacute;&nbsp;&mdash; &#8220;x&#8221; &lt;i&gt;</p>", ["café — “x” <i>"]),
        ("<p>a</p><hr/><p>* * *</p><p>b</p>", ["a", "b"]),
        ('<nav epub:type="toc"><ol><li>Chapter 1</li></ol></nav><p>a</p>', ["a"]),
        ('<section epub:type="titlepage"><h1>Key</h1></section><p>a</p>', ["a"]),
        ('<section role="doc-colophon"><p>Set in type</p></section><p>a</p>', ["a"]),
        ("<figure><img alt='x' src='y'/><figcaption>A key</figcaption></figure><p>a</p>", ["a"]),
        ('<p>a <span class="pagenum">[12]</span>b<span epub:type="pagebreak" title="13">13</span></p>', ["a b"]),
        ('<p>a<a epub:type="noteref" href="n.xhtml#1">1</a> b<sup><a href="#2">2</a></sup> c<a href="#3">[3]</a></p>',
         ["a b c"]),
        ('<p>See <a href="b.xhtml#x">chapter 2</a>, <a href="#y">the key</a> or <a href="#z">7</a></p>',
         ["See chapter 2, the key or 7"]),
        ('<section class="pg-boilerplate pgheader"><p>Project Gutenberg</p></section><p>a</p>', ["a"]),
        ('<div class="transnote"><p>Spelling as it was</p></div><p>a</p>', ["a"]),
        ('<p hidden="hidden">x</p><p style="display: none">x</p><p>a</p>', ["a"]),
        ("<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby></p>", ["漢"]),
        ("<script>var x = 1</script><style>p {}</style><svg><text>x</text></svg><p>a</p>", ["a"]),
    ],
)  # fmt: skip
def test_text_stays_and_furniture_goes(body: str, expected: list[str]) -> None:
    assert texts(body) == expected


def test_notes_and_verse_are_told_apart_from_paragraphs() -> None:
    body = (
        '<p>a</p><aside epub:type="footnote"><p>A note.</p></aside><p><span>one</span><br/><span>two</span></p>'
        '<section epub:type="endnotes"><h2>Notes</h2><ol><li><p>Last. '
        '<a href="#r" epub:type="backlink">↩</a></p></li></ol></section>'
    )
    blocks = read(book({"a.xhtml": page(body)})).blocks
    assert [block.text for block in blocks if block.kind == NOTE] == ["A note.", "Notes", "Last."]
    assert [block.text for block in blocks if block.kind == VERSE] == ["one\ntwo"]


@pytest.mark.parametrize(
    "body",
    [
        page("<p>Ada lost<br>the key.<p>She said so & sat"),  # as HTML was written once
        page("<p>Ada lost the key.</i></p><p>She said so &amp; sat"),
        "<p>Ada lost the key.</p><p>She said so & sat</p>",  # no html, no body
        page("<p>Ada lost the key.</p><p>She said so & sat</p>", head='<?xml version="1.0" encoding="iso-8859-1"?>'),
    ],
)
def test_malformed_xhtml_is_read_as_browsers_read_it(body: str) -> None:
    found = " ".join(texts(body.encode()))
    assert " ".join(found.split()) == "Ada lost the key. She said so & sat"


def test_deep_nesting_loses_no_text() -> None:
    for name in ("div", "span", "blockquote"):
        deep = f"<{name}>" * 3_000 + "the key" + f"</{name}>" * 3_000 + "<p>after it</p>"
        assert texts(deep) == ["the key", "after it"], name


def test_other_encodings_are_read() -> None:
    for encoding in ("utf-16", "windows-1252", "utf-8-sig"):
        declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
        assert texts(page("<p>the café’s key</p>", head=declared).encode(encoding)) == ["the café’s key"], encoding


def test_what_is_not_in_the_reading_order_is_left_out() -> None:
    pages = {
        name: chapter(n)
        for n, name in enumerate(("cover.xhtml", "nav.xhtml", "a.xhtml", "aside.xhtml", "b.xhtml", "x.svg"))
    }
    opf = package(
        {
            "cover.xhtml": "", "nav.xhtml": 'properties="nav"', "a.xhtml": "", "aside.xhtml": "", "b.xhtml": "",
            "x.svg": 'media-type="image/svg+xml"',
        },
        spine=['idref="i0"', 'idref="i1"', 'idref="i2"', 'idref="i3" linear="no"', 'idref="i5"', 'idref="i2"'],
        guide='<guide><reference type="cover" href="cover.xhtml"/></guide>',
    )  # fmt: skip
    found = read(book(pages, opf=opf))
    assert [block.text for block in found.blocks if block.kind == HEADING] == ["Chapter 2"]
    assert found.gaps == 0


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_chapter_that_cannot_be_read_is_counted() -> None:
    missing = book(CHAPTERS, opf=package({**dict.fromkeys(CHAPTERS, ""), "gone.xhtml": ""}))
    unlisted = book(CHAPTERS, opf=package(dict.fromkeys(CHAPTERS, ""), spine=['idref="i0"', 'idref="x"', 'idref="i2"']))
    twice = book(CHAPTERS, more=[("OEBPS/a.xhtml", chapter(7))])
    broken = break_member(GOOD, b"OEBPS/a.xhtml")
    for body, n_chapters in ((missing, 3), (unlisted, 2), (twice, 2), (broken, 2)):
        found = read(body)
        assert found.gaps == 1
        assert sum(block.kind == HEADING for block in found.blocks) == n_chapters
    assert read(book(CHAPTERS, more=[("OEBPS/a.xhtml", CHAPTERS["a.xhtml"])])).gaps == 0  # the same content twice


def break_member(body: bytes, name: bytes) -> bytes:
    """The archive with the middle of a member's data changed."""
    start = body.index(name) + len(name)
    middle = (start + body.index(b"PK\x03\x04", start)) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


def test_a_book_without_most_of_its_chapters_is_damaged() -> None:
    opf = package({**dict.fromkeys(CHAPTERS, ""), **{f"gone{n}.xhtml": "" for n in range(4)}})
    assert fail(book(CHAPTERS, opf=opf))[::2] == ("damaged_archive", True)
    assert read(book(CHAPTERS, opf=opf), max_gap_share=60).gaps == 4


def test_a_book_without_a_container_is_found_by_its_package() -> None:
    members = [("OEBPS/book.opf", package({"a.xhtml": ""})), ("OEBPS/a.xhtml", chapter(1))]
    assert read(pack(members)).blocks
    assert fail(pack(members[1:])).reason == "not_a_book"


def test_an_encrypted_book_is_refused_and_scrambled_fonts_are_not() -> None:
    def encryption(algorithm: str, uri: str) -> tuple[str, str]:
        return (
            "META-INF/encryption.xml",
            '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
            ' xmlns:enc="http://www.w3.org/2001/04/xmlenc#">'
            f'<enc:EncryptedData><enc:EncryptionMethod Algorithm="{algorithm}"/><enc:CipherData>'
            f'<enc:CipherReference URI="{uri}"/></enc:CipherData></enc:EncryptedData></encryption>',
        )

    aes = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
    assert fail(book(CHAPTERS, more=[encryption(aes, "OEBPS/a.xhtml")]))[::2] == ("encrypted", False)
    assert read(book(CHAPTERS, more=[encryption(aes, "OEBPS/font.otf")])).blocks
    assert read(book(CHAPTERS, more=[encryption("http://www.idpf.org/2008/embedding", "OEBPS/a.xhtml")])).blocks
    # The archive's own encryption is bit 0 of the flags, in the member's header and in the table.
    locked = bytearray(GOOD)
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := locked.find(magic, start + 1)) >= 0:
            locked[start + place] |= 1
    assert fail(bytes(locked)).reason in ("encrypted", "damaged_archive")


def test_names_that_lead_out_of_the_archive_lead_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xhtml"
    secret.write_text(page("<p>CANARY</p>"))
    for name in (
        "../secret.xhtml",
        "/etc/passwd",
        str(secret),
        "..\\secret.xhtml",
        f"file://{secret}",
        "C:/secret.xhtml",
    ):
        opf = package({**dict.fromkeys(CHAPTERS, ""), name: ""})
        found = read(book(CHAPTERS, opf=opf, more=[(name, page("<p>inside</p>"))]))
        assert "CANARY" not in str(found.blocks), name
        assert sum(block.kind == HEADING for block in found.blocks) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.xhtml"]


DTDS = {
    "file": '<!DOCTYPE html [<!ENTITY x SYSTEM "file://{secret}">]>',
    "http": '<!DOCTYPE html [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>',
    "external subset": '<!DOCTYPE html SYSTEM "file://{secret}">',
    "parameter": '<!DOCTYPE html [<!ENTITY % p SYSTEM "file://{secret}"> %p;]>',
    "quoted bracket": '<!DOCTYPE html [<!ENTITY y "]>"><!ENTITY x SYSTEM "file://{secret}">]>',
    "laughs": "<!DOCTYPE html [<!ENTITY x0 'ha'>"
    + "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 12))
    + '<!ENTITY x "&x11;">]>',
    "quadratic": '<!DOCTYPE html [<!ENTITY x "' + "a" * 90_000 + '">]>',
    "beyond the head": "<!DOCTYPE html [" + "<!-- filler -->" * 9_000 + '<!ENTITY x SYSTEM "file://{secret}">]>',
    "unclosed": "<!DOCTYPE " + "\"'" * 5_000,
}  # fmt: skip


@pytest.mark.parametrize("name", DTDS)
def test_no_dtd_is_looked_at(name: str, tmp_path: Path) -> None:
    """In a chapter, in the package and in the container; also where an attribute holds the entity."""
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    dtd = DTDS[name].replace("{secret}", str(secret))
    body = dtd + page('<p title="&x;">&x;</p><p>the key</p>', head="") + "&x;" * 500
    started = time.process_time()
    found = read(book({"a.xhtml": body, **CHAPTERS}))
    assert "CANARY" not in str(found)
    assert sum(len(block.text) for block in found.blocks) < 200_000
    for opf, container in ((dtd + package({"a.xhtml": ""}), CONTAINER), (package({"a.xhtml": ""}), dtd + CONTAINER)):
        members = [("META-INF/container.xml", container), ("OEBPS/book.opf", opf), ("OEBPS/a.xhtml", chapter(1))]
        assert "CANARY" not in str(read_epub(pack(members)))
    assert time.process_time() - started < 1


BOMB_RUN = """
import resource, sys
from corpora.epub import read_epub
from corpora.reasons import REASONS
import corpora.epub_text, resiliparse.parse.encoding
body = open(sys.argv[1], "rb").read()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (128 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = read_epub(body)
print(getattr(found, "reason", "kept"), len(getattr(found, "blocks", [])))
"""


def make_bomb(n_bytes: int, *, declared: int | None = None) -> bytes:
    """A book whose chapter inflates to `n_bytes` of spaces; `declared` is the size that the archive claims instead."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OEBPS/book.opf", package({"bomb.xhtml": "", **dict.fromkeys(CHAPTERS, "")}))
        for name, content in CHAPTERS.items():
            archive.writestr(f"OEBPS/{name}", content)
        with archive.open("OEBPS/bomb.xhtml", "w", force_zip64=False) as member:
            for _ in range(n_bytes >> 20):
                member.write(b" " * (1 << 20))
    body = bytearray(stream.getvalue())
    if declared is not None:
        for magic, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            start = body.rindex(magic)
            body[start + place : start + place + 4] = declared.to_bytes(4, "little")
    return bytes(body)


@pytest.mark.parametrize(("declared", "verdict"), [(None, "too_large 0"), (1_000, "kept 9")])
def test_a_bomb_of_300_kilobytes_is_cut_off_within_128_megabytes(
    tmp_path: Path, declared: int | None, verdict: str
) -> None:
    """It says how large it is, or lies: then what it says is read, its checksum is wrong, and a chapter is missing."""
    body = make_bomb(300 << 20, declared=declared)
    assert len(body) < 400_000
    path = tmp_path / "bomb.epub"
    path.write_bytes(body)
    shown = subprocess.run(
        [sys.executable, "-c", BOMB_RUN, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert shown.stdout.strip() == verdict, shown.stderr[-2_000:]


def test_every_limit_is_one() -> None:
    many = book(CHAPTERS, more=[(f"OEBPS/{n}.png", b"") for n in range(200)])
    assert fail(many, max_members=100).reason == "too_large"
    assert fail(GOOD, max_document_bytes=100).reason == "too_large"
    assert fail(GOOD, max_total_bytes=1_200).reason == "too_large"
    assert fail(GOOD, max_elements=5).reason == "too_large"
    assert fail(make_bomb(2 << 20), max_ratio=100).reason == "too_large"
    assert read(make_bomb(2 << 20), max_ratio=2_000).blocks
    with pytest.raises(ValueError, match="at least 1"):
        EpubLimits(max_members=0)


def test_costly_markup_costs_seconds_at_most() -> None:
    attributes = " ".join(f'a{n}="{n}"' for n in range(150_000))
    for body in (
        f"<p {attributes}>the key</p>",
        "<p>" * 200_000 + "the key",
        "<b>" * 100_000 + "the key",
        "<p>a" + "<a href='#x'>" * 240 + "y" * 1_000_000 + "</a>" * 240 + "the key</p>",
        "[" * 500_000 + "the key",
        "&x" * 500_000 + "the key",
    ):
        started = time.process_time()
        found = read_epub(book({"a.xhtml": page(body)}))
        assert time.process_time() - started < 8, body[:40]
        assert isinstance(found, EpubFailure) or "the key" in found.blocks[-1].text, body[:40]


def test_a_book_cut_anywhere_is_refused_as_damaged() -> None:
    for n in range(64):
        found = fail(GOOD[: len(GOOD) * n // 64])
        assert found.reason == "damaged_archive", n
        assert found.broken


def test_flipped_bytes_never_change_a_chapter_unnoticed() -> None:
    """A chapter is as it was, or counted as missing, or the book is refused; only names and dates have no checksum."""
    whole = read(GOOD).blocks
    rng = random.Random(7)
    n_noticed = 0
    for _ in range(400):
        body = bytearray(GOOD)
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        found = read_epub(bytes(body))
        if isinstance(found, EpubBook):
            assert all(block in whole for block in found.blocks)
            assert len(found.blocks) == len(whole) - 3 * found.gaps
        n_noticed += isinstance(found, EpubFailure) or found.gaps > 0
    assert n_noticed > 100


@given(st.binary(max_size=2_000))
@settings(deadline=None)
def test_any_bytes_give_a_book_or_a_reason(body: bytes) -> None:
    for one in (
        body,
        b"PK\x03\x04" + body,
        book({"a.xhtml": body}),
        pack([("META-INF/container.xml", body), ("a.opf", body)]),
    ):
        found = read_epub(one)
        assert isinstance(found, EpubBook) or found.reason in REASONS


MARKUP = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<br/>", "<br>", "<h1>", "</h1>", "<div>", "</div>", "<span>", "</span>", "<!--", "-->", "]]>",
         "<![CDATA[", "<?x", "?>", "&amp;", "&nbsp;", "&x;", "<pre>", "</pre>", "<svg>", "</svg>", "<a href='#n'>",
         "</a>", "<", ">", "key", " ", "<!DOCTYPE html>", "</body>", "</html>", "<title>", "<p hidden=''>",
         "<p epub:type='footnote'>", "\x00", "\ud800", "é"]
    ),
    max_size=60,
).map("".join)  # fmt: skip


@given(MARKUP)
@settings(deadline=None)
def test_any_markup_gives_blocks_of_clean_lines(markup: str) -> None:
    found = read_epub(book({"a.xhtml": page(markup).encode("utf-8", "replace"), "b.xhtml": chapter(1)}))
    assert isinstance(found, EpubBook)
    for block in found.blocks:
        assert any(map(str.isalnum, block.text))
        assert not re.search(r"[\x00\r\t]|^ | $|  ", block.text, re.MULTILINE)


# First and last words of each book's text, read by eye.
REAL_BOOKS = {
    "arthur-conan-doyle_the-adventures-of-sherlock-holmes": ("A Scandal in Bohemia", "considerable success.", 12),
    "bram-stoker_dracula": ("To", "Jonathan Harker.", 28),
    "h-g-wells_the-time-machine": ("I", "lived on in the heart of man.", 13),
    "jane-austen_pride-and-prejudice": ("I", "the means of uniting them.", 61),
    "mary-shelley_frankenstein": ("Introduction", "lost in darkness and distance.", 28),
    "oscar-wilde_the-picture-of-dorian-gray": ("Preface", "recognized who it was.", 20),
}


def test_six_real_books_are_read_from_their_first_word_to_their_last(shared_data: Path) -> None:
    for name, (first, last, n_headings) in REAL_BOOKS.items():
        found = read((shared_data / "books" / "epub" / f"{name}.epub").read_bytes())
        blocks = [block for block in found.blocks if block.kind != NOTE]
        assert blocks[0].text.startswith(first), name
        assert blocks[-1].text.endswith(last), (name, blocks[-1].text[-80:])
        assert sum(block.kind == HEADING for block in blocks) >= n_headings, name
        assert found.gaps == 0
        assert found.facts.language == "en"
        assert found.facts.authors
        text = "\n".join(block.text for block in blocks)
        for furniture in ("Standard Ebooks", "public domain", "Table of Contents", "Project Gutenberg", "Uncopyright"):
            assert furniture not in text, (name, furniture)


def test_a_real_book_that_is_damaged_keeps_its_other_chapters(shared_data: Path) -> None:
    body = (shared_data / "books" / "epub" / "oscar-wilde_the-picture-of-dorian-gray.epub").read_bytes()
    whole = [block.text for block in read(body).blocks]
    found = read(break_member(body, b"epub/text/chapter-5.xhtml"))
    assert found.gaps == 1
    assert 0.9 < len(found.blocks) / len(whole) < 1
    for n in range(1, 64):
        assert fail(body[: len(body) * n // 64]).reason == "damaged_archive"
