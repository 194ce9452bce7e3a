"""One book from bytes to a document: layout rules by small cases, and on real novels that no paragraph is lost."""

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpora.book_files import EPUB, PLAIN_TEXT, read_books
from corpora.book_headings import find_contents, split_blocks
from corpora.book_layout import HEADING, PARAGRAPH, VERSE, lay_out
from corpora.book_marks import drop_page_numbers, take_out_marks, undo_emphasis
from corpora.books import PUBLISHED_LINES, TARGETS, BookSettings, book_versions, process_book
from corpora.documents import STAGES, Document, RawPage, Rejection, make_document_id
from corpora.gutenberg import strip_gutenberg
from corpora.reasons import REASONS

PROSE = """\
It rained on the day that Ada lost the key, and it rained on the day
that she found it again, so that nobody in the village could say for
certain afterwards how long the shop had been shut, or whether the
baker had really been locked in it all the while with his three cats.
"""
MORE = """\
"I had it in my hand," she said. "I had it in my hand when the clock
struck four, and when the clock struck five I had a bun in my hand,
and that is all that I can tell you about either of them, my dear."
"""
VERSES = """\
     The rain came down on hill and town,
       And on the baker's door;
     The key lay low where ducks do go,
       And Ada said no more.
"""


def make_page(body: str | bytes, *, mime: str = PLAIN_TEXT) -> RawPage:
    content = body.encode() if isinstance(body, str) else body
    return RawPage(make_document_id("a.txt", 0, ""), "", "", 200, mime, "", content, "a.txt", 0)


def kinds(text: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in lay_out(text.split("\n"), keep_notes=False).blocks]


def flat(text: str) -> str:
    return " ".join(text.split())


def keep(body: str | bytes, **options: object) -> Document:
    rules = BookSettings(min_words=1, **options)  # type: ignore[arg-type]  # names and types are the test's to get right
    found = process_book(make_page(body), rules)
    assert isinstance(found, Document), found
    return found


# Layout


def test_wrapped_lines_become_paragraphs() -> None:
    assert kinds(PROSE + "\n" + MORE) == [(PARAGRAPH, flat(PROSE)), (PARAGRAPH, flat(MORE))]


def test_verse_stays_line_by_line() -> None:
    lines = "\n".join(line.strip() for line in VERSES.splitlines())
    assert kinds(PROSE + "\n" + VERSES + "\n" + MORE)[1] == (VERSE, lines)
    flush = "\n".join(line.strip() for line in VERSES.splitlines()) + "\n"
    assert kinds(PROSE + "\n" + flush + "\n" + MORE)[1] == (VERSE, lines)


def test_a_frame_around_lines_goes() -> None:
    frame = "  +------------------+\n  | Lost: one key.   |\n  | Ask for Ada.     |\n  +------------------+\n"
    assert kinds(PROSE + "\n" + frame + "\n" + MORE)[1] == (VERSE, "Lost: one key.\nAsk for Ada.")


def test_long_lines_with_a_capital_each_are_verse_where_they_are_set_apart() -> None:
    lines = [
        f"And {word} was the evening that the cats came down the hill to dine"
        for word in ("wet", "dark", "cold", "old")
    ]
    verse = "\n".join("     " + line for line in lines)
    assert kinds(f"{PROSE}\n{verse}\n\n{MORE}")[1] == (VERSE, "\n".join(lines))


def test_a_letter_set_narrower_is_prose_and_its_signature_a_line() -> None:
    letter = """\
     My dear Ada, I write to you in some
     haste, for the cats have eaten all of
     the buns, and the lamp is going out
     as I write.
     The Baker
"""
    assert kinds(PROSE + "\n" + letter + "\n" + MORE)[1:-1] == [
        (PARAGRAPH, flat(letter.replace("The Baker", ""))),
        (PARAGRAPH, "The Baker"),
    ]


def test_paragraphs_that_only_an_indentation_marks_are_told_apart() -> None:
    block = "".join("    " + piece for piece in (PROSE, MORE, PROSE))
    assert kinds(block) == [(PARAGRAPH, flat(PROSE)), (PARAGRAPH, flat(MORE)), (PARAGRAPH, flat(PROSE))]


def test_a_book_without_wrapped_lines_has_a_paragraph_on_each() -> None:
    text = "\n".join(flat(piece) for piece in (PROSE, MORE, PROSE, "She sat down.", MORE))
    assert [text for _, text in kinds(text)] == text.split("\n")


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("She could not under-", "stand it, nor understand the cats.", "not understand it"),
        ("She had a well-", "known key, a well-known key indeed.", "a well-known key"),
        ("The water was full of water-", "beetles, and the beetles were full.", "of water-beetles, and"),
        ("The Anglo-", "Saxon key was old.", "The Anglo-Saxon key"),
        ("She stopped--", "and sat down.", "stopped--and sat"),
        ("She stopped —", "and sat down.", "stopped — and sat"),
        ("Rooms 3-", "5 were shut.", "Rooms 3- 5"),
    ],
)
def test_words_parted_at_the_end_of_a_line_are_joined_as_the_book_writes_them(
    first: str, second: str, joined: str
) -> None:
    filler = "a" * (66 - len(first))
    found = kinds(f"{PROSE}\n{filler} {first}\n{second}\n\n{MORE}")
    assert joined in found[1][1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CHAPTER I\n\n", ["CHAPTER I"]),
        ("\nCHAPTER XII. In which it rains\n\n", ["CHAPTER XII. In which it rains"]),
        ("CHAPTER ONE.\n\nALL THE CATS BUT ONE.\n\n", ["CHAPTER ONE.", "ALL THE CATS BUT ONE."]),
        ("VOLUME ONE, CHAPTER ONE.\n\n", ["VOLUME ONE, CHAPTER ONE."]),
        ("\n1\n\nThe Key in the Pond\n\n", ["1", "The Key in the Pond"]),
        ("\nXIV.\n\n", ["XIV."]),
        ("PREFACE TO THE SECOND EDITION\n\n", ["PREFACE TO THE SECOND EDITION"]),
        ("_Chapter the Last_\n\n", ["Chapter the Last"]),
        ("\nTHE CATS\n\n", ["THE CATS"]),
        # None of these is a heading.
        ("STOP!\n\n", []),
        ('\n"HELP!"\n\n', []),
        ("Chapter 3 was dull, she said, and shut the book.\n\n", []),
        ("I am she.\n\n", []),
        ("\nMr. Green Laughed.\n\n", []),
    ],
)
def test_headings_say_that_they_are_headings(text: str, expected: list[str]) -> None:
    found = kinds(f"{PROSE}\n{text}{MORE}")
    assert [text for kind, text in found if kind == HEADING] == expected
    assert len(found) == 2 + (len(expected) or 1)


def test_headings_are_kept_or_dropped() -> None:
    text = f"CHAPTER I\n\n{PROSE}\n\nCHAPTER II\n\n{MORE}"
    assert keep(text).text == "\n".join(("CHAPTER I", flat(PROSE), "CHAPTER II", flat(MORE)))
    assert keep(text, headings="drop").text == "\n".join((flat(PROSE), flat(MORE)))


CHAPTERS = "".join(
    f"\n\n\nCHAPTER {n}\n\n{title.upper()}\n\n{PROSE}" for n, title in enumerate(("Rain", "Cats", "A Key"), 1)
)


@pytest.mark.parametrize(
    "contents",
    [
        "CONTENTS\n\n   1. Rain\n   2. Cats\n   3. A Key\n",
        "CONTENTS.\n\n\nCHAPTER          PAGE\n\n  I. Rain . . . . 1\n\n II. Cats . . . . 9\n\nIII. A Key . . . . 44\n",
        "Table of Contents\n\nRain\n\nCats\n\nA Key\n",
        "CONTENTS\n\nRain       1\nCats       9\nA Key     44\n\n\n"
        "LIST OF ILLUSTRATIONS\n\n\nShe looked into the pond.\n\nThe cats\n",
        "Rain\nCats\nA Key\nChapter 1: Rain\nChapter 2: Cats\nChapter 3: A Key\n",
    ],
)
def test_lists_of_contents_and_illustrations_go(contents: str) -> None:
    found = kinds(f"THE LOST KEY\n\n\n{contents}{CHAPTERS}")
    assert [text for _, text in found] == [text for _, text in kinds(f"THE LOST KEY\n\n\n{CHAPTERS}")]


def test_a_heading_that_only_sounds_like_one_drops_nothing() -> None:
    for name in ("CONTENTS", "ILLUSTRATIONS"):
        text = f"{name}\n\n{PROSE}\n{MORE}"
        assert [kind for kind, _ in kinds(text)][-2:] == [PARAGRAPH, PARAGRAPH]
    assert find_contents(split_blocks(f"CONTENTS\n\n{PROSE}".split("\n"))) == set()


# Marks


def marked(text: str, *, keep_notes: bool = False) -> tuple[str, int]:
    found = take_out_marks(text.split("\n"), keep_notes=keep_notes)
    return "\n".join(found.lines), found.gaps


@pytest.mark.parametrize(
    ("text", "expected", "gaps"),
    [
        ("a\n\n[Illustration]\n\nb", "a\n\n\n\nb", 0),
        ("[Illustration: THE BAY.\n\n'Look [at] me.'--PAGE 16.]\nb", "\nb", 0),
        ("   [Picture: A cat] ", "    ", 0),
        ("a [Illustration of a cat] sat", "a  sat", 1),
        ("[Transcriber's note: sic]", "", 0),
        ("[Pictured here, he said, is a cat]", "[Pictured here, he said, is a cat]", 0),
        ("[The illustration is lost]", "[The illustration is lost]", 0),
        ("[Illustration: never closed\n\nb", "[Illustration: never closed\n\nb", 0),
        ("a.[1] b[*] [1]", "a. b[*] [1]", 0),
        ("a.[A] b\n\n[Footnote A: c\nd]\n\ne", "a. b\n\n\n\ne", 0),
        ("a {Endnote 4}, b", "a, b", 0),
        ("a [Pg 12]b {13}c", "a b c", 0),
    ],
)
def test_marks_of_transcribers_go(text: str, expected: str, gaps: int) -> None:
    assert marked(text) == (expected, gaps)


def test_footnotes_are_kept_as_paragraphs_if_asked_for() -> None:
    text = f"{PROSE}\n[Footnote 1: {flat(MORE)}]\n\n{PROSE}"
    assert keep(text).text.split("\n") == [flat(PROSE), flat(PROSE)]
    assert keep(text, notes="keep").text.split("\n") == [flat(PROSE), flat(MORE), flat(PROSE)]


def test_page_numbers_go_and_sentences_are_whole_again() -> None:
    lines = [
        line for n in range(30, 60) for line in ("It rained and", "", f"- {n} -", "", "rained on.", "", "It did.", "")
    ]
    kept = drop_page_numbers(lines)
    assert kept[:5] == ["It rained and", "rained on.", "", "It did.", ""]
    assert not any(char.isdigit() for line in kept for char in line)
    assert drop_page_numbers(["a", "", "[Pg 7]", "", "b"]) == ["a", "b"]
    assert drop_page_numbers(["a.", "", "[Pg 7]", "", "b"]) == ["a.", "", "", "b"]


def test_numbers_of_chapters_are_no_page_numbers() -> None:
    lines = [line for n in range(1, 30) for line in (str(n), "", *["It rained."] * 100, "")]
    assert drop_page_numbers(lines) == lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("_I_ have never", "I have never"),
        ("_a\nb_ c", "a\nb c"),
        ("_un_happy", "unhappy"),
        ("Mr. ____ came", "Mr. ____ came"),
        ("snake_case_name", "snake_case_name"),
        ("_an unclosed one", "an unclosed one"),
        ("=W. M.= and 1 = 2 = 3", "W. M. and 1 = 2 = 3"),
        ("<i>so</i> a < b", "so a < b"),
        ('_"No,"_ she said', '"No," she said'),
    ],
)
def test_signs_of_emphasis_go(text: str, expected: str) -> None:
    assert undo_emphasis(text) == expected


# Verdicts


def test_the_targets_are_the_published_ones() -> None:
    assert (TARGETS.documents, TARGETS.gib) == (11_038, 4.2)
    assert "Zhu et al. 2015" in TARGETS.source
    assert f"{PUBLISHED_LINES:,}" in TARGETS.source
    assert TARGETS.gib is not None
    assert TARGETS.mean_bytes == pytest.approx(TARGETS.gib * 2**30 / 11_038)


def test_a_book_becomes_a_document_that_says_where_it_comes_from() -> None:
    header = (
        "The Project Gutenberg EBook of The Lost Key\n\nTitle: The  Lost Key\nAuthor: Ada Brown\n"
        "Release Date: May, 1999 [Etext #7]\nLanguage: English\n\n"
        "*** START OF THIS PROJECT GUTENBERG EBOOK THE LOST KEY ***\n\nProduced by Ann\n\n"
    )
    found = keep(header + PROSE + "\n\n*** END OF THIS PROJECT GUTENBERG EBOOK THE LOST KEY ***\nlicence")
    assert found.text == flat(PROSE)
    assert (found.title, found.authors, found.published) == ("The Lost Key", ("Ada Brown",), "1999-05")
    assert (found.language, found.declared_language, found.extractor) == ("en", "en", "text")
    assert (found.charset, found.decoded_by, found.gaps) == ("utf-8", "utf-8", 0)
    assert (found.url, found.source, found.offset, found.fetched_at) == ("", "a.txt", 0, "")


def test_the_encoding_that_a_header_declares_is_used() -> None:
    text = f"Title: Key\nCharacter set encoding: ISO-8859-1\n\n{PROSE}\nThe café’s owner, Mr. Jérôme.\n"
    found = keep(text.replace("’", "'").encode("latin-1"))
    assert "café's owner, Mr. Jérôme" in found.text
    assert (found.charset, found.decoded_by) == ("windows-1252", "header")


GERMAN = "Es regnete an dem Tag, an dem Ada den Schlüssel verlor, und es regnete, als sie ihn wiederfand. "


@pytest.mark.parametrize(
    ("page", "options", "reason", "broken"),
    [
        (make_page(b""), {}, "empty_body", False),
        (make_page(" \n \n"), {}, "empty_body", False),
        (make_page("* * *\n\n-----\n"), {}, "no_text", False),
        (make_page("CHAPTER I\n\nCHAPTER II\n"), {"headings": "drop"}, "no_text", False),
        (make_page(GERMAN * 20), {}, "language", False),
        (make_page(PROSE), {"languages": ("de",)}, "language", False),
        (make_page(PROSE), {"min_words": 20_000}, "too_few_words", False),
        (make_page(PROSE), {}, "too_few_words", False),
        (make_page(PROSE, mime="text/html"), {}, "mime", False),
        (make_page(b"PK\x03\x04 cut off", mime=EPUB), {}, "damaged_archive", True),
    ],
)
def test_a_book_that_is_not_wanted_is_rejected_for_its_reason(
    page: RawPage, options: dict[str, object], reason: str, broken: bool
) -> None:
    found = process_book(page, BookSettings(**options))  # type: ignore[arg-type]  # as above
    assert isinstance(found, Rejection)
    assert (found.reason, found.broken) == (reason, broken)
    assert found.reason in REASONS
    assert found.stage in STAGES


def test_other_languages_can_be_asked_for() -> None:
    assert keep(GERMAN * 20, languages=("de",)).language == keep(GERMAN * 20, languages=()).language == "de"


def test_settings_are_checked_and_versions_named() -> None:
    for wrong in (
        {"headings": "no"},
        {"notes": ""},
        {"languages": ("English",)},
        {"min_words": 0},
        {"min_text_share": 101},
    ):
        with pytest.raises(ValueError, match="is"):
            BookSettings(**wrong)  # type: ignore[arg-type]  # as above
    assert {"lxml", "pycld2", "ftfy", "unicode", "book rules"} <= book_versions(BookSettings()).keys()


PIECES = st.sampled_from(
    [PROSE, MORE, VERSES, "CHAPTER I\n", "CONTENTS\n", "\n", "\n\n\n", "  1. Rain   9\n", "[Illustration: ", "]",
     "[Footnote 1: ", "_", "=", "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n", "End of Project Gutenberg's X\n",
     "Transcriber's Note:\n", "- 12 -\n", "\t", "\f", "\x00", "\ufeff", "under-\n", "stand\n", "Project Gutenberg",
     "_" * 80 + "\n", "+----+\n", "a" * 200]
)  # fmt: skip


@given(st.one_of(st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=40).map("".join), st.text()))
@settings(deadline=None)
@example("[" * 5_000)
@example("Produced by" + " " * 100_000 + "x Project Gutenberg")
def test_any_text_gives_a_document_or_a_reason(text: str) -> None:
    for headings in ("keep", "drop"):
        rules = BookSettings(min_words=1, languages=(), headings=headings)
        found = process_book(make_page(text.encode("utf-8", "surrogatepass")), rules)
        if isinstance(found, Rejection):
            assert found.reason in REASONS
        else:
            assert found.text
            assert not re.search(r"^\s|\s$|\n\n|[\r\t\x00]", found.text)


@given(st.binary(max_size=3_000))
@settings(deadline=None)
def test_any_bytes_give_a_document_or_a_reason(body: bytes) -> None:
    for mime in (PLAIN_TEXT, EPUB):
        found = process_book(make_page(body, mime=mime), BookSettings(min_words=1, languages=()))
        assert isinstance(found, Document) or found.reason in REASONS


# Real books


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, Document]:
    found = {}
    for path in sorted((shared_data / "books").glob("*/*")):
        with path.open("rb") as stream:
            (page,) = read_books(stream, source=path.name)
        assert isinstance(page, RawPage)
        document = process_book(page, BookSettings())
        assert isinstance(document, Document), (path.name, document)
        found[path.name] = document
    return found


def test_every_real_book_is_kept_and_knows_its_title_and_author(real: dict[str, Document]) -> None:
    assert len(real) == 49
    for name, document in real.items():
        assert document.title, name
        assert document.authors, name
        assert document.language == "en", name
        assert document.published, name
        assert not re.search(r"gutenberg|\[illustration|\[picture|\[pg|\[footnote", document.text, re.IGNORECASE), name


SIGNS = re.compile(r"[\W_]+")
BRACKETS = re.compile(r"\[(?:Illustration|Picture|Frontispiece|Footnote|Music)[^\]]*\]|\{Endnote \d+\}|(?<=\S)\[\d+\]")
SAYS_LIST = re.compile(r"\s*_?(?:contents|list of illustrations|illustrations)[.:_]*\s*$", re.IGNORECASE)


def test_of_36_novels_no_paragraph_is_lost_or_changed(shared_data: Path, real: dict[str, Document]) -> None:
    """The slow way: each paragraph of the file is looked for in the document, letter by letter, behind the one before.

    What is not there must be a mark, or stand in a list that is headed as one of contents or illustrations.
    """
    n_paragraphs = n_missing = 0
    for path in sorted((shared_data / "books" / "gutenberg").glob("*.txt.gz")):
        lines = strip_gutenberg(gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines()).lines
        text = BRACKETS.sub("", "\n".join(lines))
        document = SIGNS.sub("", real[path.name].text)
        in_list, position = False, 0
        for block in re.split(r"\n\s*\n", text):
            letters = SIGNS.sub("", block)
            if not letters:
                continue
            n_paragraphs += 1
            if any(SAYS_LIST.match(line) for line in block.split("\n")):
                in_list = True
            found = document.find(letters, position)
            # A short entry of a list would be found as the heading of its chapter, far behind or at once.
            if found >= 0 and not (in_list and (found - position > 400 or len(letters) < 60)):
                position, in_list = found + len(letters), False
                continue
            n_missing += 1
            is_unheaded_list = path.name == "clive.txt.gz" and position < 400
            assert in_list or is_unheaded_list, (path.name, block[:300])
    assert n_paragraphs > 49_000
    assert n_missing < 600


def test_editions_of_one_book_come_out_nearly_the_same(real: dict[str, Document]) -> None:
    def shingles(name: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", real[name].text.lower())
        return {tuple(words[n : n + 5]) for n in range(len(words) - 4)}

    pairs = {
        ("Pride-and-Prejudice_1342-1342-0.txt.gz", "Pride-and-Prejudice_1342-1342.txt.gz"): 0.99,
        ("Pride-and-Prejudice_1342-1342.txt.gz", "jane-austen_pride-and-prejudice.epub"): 0.90,
        ("Jack-Sheppard_16215-16215-8.txt.gz", "Jack-Sheppard_16215-16215.txt.gz"): 0.99,
    }
    for (one, other), floor in pairs.items():
        first, second = shingles(one), shingles(other)
        assert len(first & second) / len(first | second) >= floor, (one, other)


def test_chapters_of_real_novels_are_found(shared_data: Path) -> None:
    """As many headings of chapters as the book has chapters, counted by eye in its list of contents."""
    expected = {"alice": 12, "amulet": 14, "kidnap": 30, "masterman": 67, "railway": 14, "wind": 38}
    for name, n_chapters in expected.items():
        body = gzip.decompress((shared_data / "books" / "gutenberg" / f"{name}.txt.gz").read_bytes())
        lines = strip_gutenberg(body.decode("utf-8-sig").splitlines()).lines
        headings = [block.text for block in lay_out(lines, keep_notes=False).blocks if block.kind == HEADING]
        assert sum(text.lower().startswith("chapter") for text in headings) == n_chapters, name


def test_songs_in_real_novels_keep_their_lines(real: dict[str, Document]) -> None:
    for name, lines in {
        "alice.txt.gz": [
            "‘How doth the little crocodile",
            "Improve his shining tail,",
            "And pour the waters of the Nile",
        ],
        "treasure.txt.gz": ["\"Fifteen men on the dead man's chest--", 'Yo-ho-ho, and a bottle of rum!"'],
        "wind.txt.gz": ["“Kilmeny had been she knew not where,", "And Kilmeny had seen what she could not declare;"],
    }.items():
        assert "\n".join(lines) in real[name].text, name
