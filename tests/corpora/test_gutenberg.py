"""Project Gutenberg's matter goes, and not a line of the book with it: by cases, by laws, and on 36 real novels.

The 36 are checked twice: against their first and last lines, which were read by eye, and against a second rule, slow
and plain, that knows no patterns: every line that went must stand in a paragraph that says why.
"""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.book_facts import declared_charset, language_code, read_header
from corpora.gutenberg import strip_gutenberg

NOVEL = [
    "THE LOST KEY",
    "",
    "CHAPTER I",
    "",
    "It rained on the day that Ada lost the key,",
    "and she said so.",
    "",
    "THE END",
]
HEADER = [
    "The Project Gutenberg EBook of The Lost Key, by Ada Brown", "",
    "This eBook is for the use of anyone anywhere at no cost", "",
    "Title: The Lost Key", "       or, A Wet Day", "Author: Ada Brown and Carl Green",
    "Release Date: May 3, 2009 [EBook #77777]", "Language: English", "Character set encoding: ISO-8859-1", "",
]  # fmt: skip
FOOTER = [
    "*** END OF THIS PROJECT GUTENBERG EBOOK THE LOST KEY ***", "",
    "***** This file should be named 77777.txt *****", "*** START: FULL LICENSE ***",
    "THE FULL PROJECT GUTENBERG LICENSE",
]  # fmt: skip
STARTS = [
    ["*** START OF THIS PROJECT GUTENBERG EBOOK THE LOST KEY ***"],
    ["***START OF THE PROJECT GUTENBERG EBOOK THE LOST KEY***"],
    ["*** START OF THE PROJECT GUTENBERG EBOOK, THE LOST KEY ***"],
    ["*** START OF THE PROJECT GUTENBERG EBOOK 77777 ***"],
    ["*** START OF THIS PROJECT GUTENBERG EBOOK THE LOST KEY OR A VERY, VERY", "VERY WET DAY ***"],
    ["*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*"],
    [
        "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.05/20/01*END*",
        "[Portions of this header are copyright (C) 2001",
    ],
]
CREDITS = [
    ["Produced by Ann Smith and the Online Distributed", "Proofreading Team at http://www.pgdp.net"],
    ["E-text prepared by Ann Smith"],
    ["This etext was prepared by Ann Smith"],
    ["This eBook was produced by Ann Smith"],
    ["Transcribed from the 1890 edition by Ann Smith, email a@b.org"],
    ["Scanned and proofed by Ann Smith"],
    ["Produit par Ann Smith"],
    [
        "Note: Project Gutenberg also has an HTML version of this",
        "      file which includes the original illustrations.",
    ],
    [
        "Transcriber's Note: spelling is as it was.",
        "",
        "Words in italics are between _underscores_.",
        "",
        "-----------",
    ],
    ["[Transcriber's notes: spelling is as it was]"],
    ["+-------------------+", "| Transcriber’s Note |", "| Spelling as it was |", "+-------------------+"],
    ["Original Transcriber's Notes:", "", "This text is a combination of etexts."],
]
ENDS = [
    FOOTER,
    ["End of Project Gutenberg's The Lost Key, by Ada Brown", "", *FOOTER],
    ["End of the Project Gutenberg EBook of The Lost Key, by", "Ada Brown", "", *FOOTER],
    ["End of The Project Gutenberg Etext of The Lost Key"],
    ["End of this Project Gutenberg etext of The Lost Key"],
    ["Ende dieses Projekt Gutenberg Etextes The Lost Key"],
    ["Transcriber's Notes:", "", "Page 9: 'teh' changed to 'the'.", "", *FOOTER],
    ["* * * * *", "", "Transcriber’s Note: as it was.", "", "End of Project Gutenberg's The Lost Key", "", *FOOTER],
    ["*** START: FULL LICENSE ***", "", "THE FULL PROJECT GUTENBERG LICENSE"],
]


def lines_with_words(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip()]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("end", ENDS)
def test_header_and_footer_go_and_the_novel_stays(start: list[str], end: list[str]) -> None:
    book = strip_gutenberg([*HEADER, *start, "", *NOVEL, "", *end])
    assert lines_with_words(book.lines) == lines_with_words(NOVEL)
    assert book.has_header
    assert book.has_footer


@pytest.mark.parametrize("credit", CREDITS)
def test_credits_and_notes_at_the_head_go_wherever_the_title_stands(credit: list[str]) -> None:
    for body in ([*credit, "", *NOVEL], [NOVEL[0], "", "by Ada Brown", "", *credit, "", *NOVEL[1:]]):
        kept = lines_with_words(strip_gutenberg([*HEADER, *STARTS[0], "", *body, "", *FOOTER]).lines)
        assert [line for line in kept if line != "by Ada Brown"] == lines_with_words(NOVEL)


def test_a_summary_between_two_rules_goes_only_where_a_transcriber_is_credited() -> None:
    rule = "_" * 72
    body = ["The Lost Key, by Ada Brown.", "", rule, "A short and wet novel, which we liked.", rule, "", *NOVEL]
    assert "A short and wet novel, which we liked." in strip_gutenberg([*HEADER, *STARTS[0], *body, *FOOTER]).lines
    credited = [*HEADER, *STARTS[0], "", "Produced by Ann Smith of London", "", *body, *FOOTER]
    assert lines_with_words(strip_gutenberg(credited).lines) == [
        "The Lost Key, by Ada Brown.",
        *lines_with_words(NOVEL),
    ]


def test_what_only_looks_like_matter_stays() -> None:
    novel = [
        "He produced by and by a small key.", "", "Produced", "by magic, the key lay there.", "",
        "The end of the project was near.", "", "*** START ***", "", "* * *", "", "END OF PART ONE", "",
    ]  # fmt: skip
    inside = ["A dull page of the story goes here."] * 300
    lines = [*HEADER, *STARTS[0], "", *inside, "", *novel, *inside, "", *FOOTER]
    assert lines_with_words(strip_gutenberg(lines).lines) == lines_with_words([*inside, *novel, *inside])


def test_a_book_of_another_house_is_not_touched() -> None:
    lines = [*NOVEL, "Produced by Ann Smith", "Transcriber's note: none"]
    assert strip_gutenberg(lines).lines == lines


def test_a_footer_line_between_two_parts_does_not_end_the_book() -> None:
    middle = "End of Project Gutenberg's The Lost Key, Volume 1"
    lines = [*HEADER, *STARTS[0], "", *NOVEL, "", middle, *[""] * 20, *NOVEL, "", *FOOTER]
    assert lines_with_words(strip_gutenberg(lines).lines) == lines_with_words(NOVEL) * 2


def test_several_books_in_one_file_all_stay() -> None:
    one = [*HEADER, *STARTS[0], "", *NOVEL, "", *FOOTER]
    assert lines_with_words(strip_gutenberg(one * 3).lines) == lines_with_words(NOVEL) * 3


def test_the_header_says_title_authors_language_and_date() -> None:
    facts = read_header(HEADER)
    assert facts == ("The Lost Key or, A Wet Day", ("Ada Brown", "Carl Green"), "en", "2009-05-03")
    german = read_header(["Titel: Der Schlüssel", "Autor: Ada Braun", "Sprache: Deutsch", "March, 1999 [Etext #1]"])
    assert german == ("Der Schlüssel", ("Ada Braun",), "de", "1999-03")
    assert declared_charset("\n".join(HEADER).encode()) == "ISO-8859-1"
    assert [language_code(name) for name in ("English", "en-GB", "French and English", "Klingon", "")] == [
        "en", "en", "fr", "", "",
    ]  # fmt: skip


MATTER = [*HEADER, *FOOTER, *NOVEL, *(line for part in (*STARTS, *CREDITS, *ENDS) for line in part)]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(MATTER), st.text())))
def test_any_lines_give_some_of_these_lines_in_their_order(lines: list[str]) -> None:
    book = strip_gutenberg(lines)
    assert book.lines == [lines[place] for place in book.places]
    assert book.places == sorted(set(book.places))


# First and last line with a letter that is no mark of a picture, read by eye in each file.
BORDERS = {
    "alice": ("ALICE’S ADVENTURES IN WONDERLAND", "THE END"),
    "amulet": ("THE STORY OF THE AMULET", "never saw before! The dear children! The dear, dear children!’"),
    "brass": ("THE BRASS BOTTLE", "linger awhile in the memories of some at least of its readers."),
    "canada": ("SETTLERS IN CANADA", "and good Christians."),
    "clive": ("WITH CLIVE IN INDIA:", "exploits of their fathers, when with Clive in India."),
    "crofton": ("The Crofton Boys, by Harriet Martineau.", "THE END."),
    "daisy": ("THE DAISY CHAIN, OR ASPIRATIONS", "Church.”"),
    "dove": ("THE", "_Richard Clay & Sons_, _Limited_, _London & Bungay_"),
    "dreamdays": ("DREAM DAYS", "whom one had every confidence."),
    "enchanted": ("The Enchanted Castle", "them away."),
    "fiord": ("can of ale.]", "THE TEMPLE PRESS, PRINTERS, LETCHWORTH"),
    "flopsy": ("THE TALE OF", "F. WARNE & Co"),
    "girls": ("A World of Girls", "The End."),
    "goldenage": ("THE GOLDEN AGE", "and how much the merest child’s play?"),
    "holiday": ("HOLIDAY HOUSE:", "THE END."),
    "jackanapes": ("JACKANAPES", "lessons of their lives."),
    "jessica": ("Jessica’s First Prayer", "never more be silenced."),
    "kidnap": ("KIDNAPPED", "the British Linen Company’s bank."),
    "masterman": ("Masterman Ready, by Captain Marryat.", "the history of old Ready's death and burial."),
    "mice": ("THE TALE OF TWO BAD MICE", "LONDON, S.E."),
    "mopsa": ("MOPSA THE FAIRY", "That's all."),
    "overtheway": ("MRS. OVERTHEWAY'S", "S.P.C.K., NORTHUMBERLAND AVENUE, LONDON, W.C."),
    "peasant": ("The Peasant and the Prince, by Harriet Martineau.", "all may have their fill and dwell in peace."),
    "prince": ("The Happy Prince", "Tavistock Street, Covent Garden, London"),
    "quatermain": ("ALLAN QUATERMAIN", "which work I am personally unacquainted."),
    "railway": ("THE RAILWAY CHILDREN", "now."),
    "rival": ("THE RIVAL CRUSOES;", "THE END"),
    "secret": ("THE SECRET GARDEN", "any boy in Yorkshire--Master Colin."),
    "settlers": ("The Settlers at Home, by Harriet Martineau.", "his father's return."),
    "squirrel": ("THE TALE OF", "THE END"),
    "stiria": ("THE KING OF THE GOLDEN RIVER.", "GINN & COMPANY, BOSTON, NEW YORK, AND CHICAGO."),
    "toadylion": ("Sir Toady Lion", "Girls are funny things."),
    "treasure": ("TREASURE ISLAND", 'still ringing in my ears: "Pieces of eight! Pieces of eight!"'),
    "vice": ("VICE VERSÂ", "farewell."),
    "water": ("THE WATER BABIES", "to believe a word of it, even if it is true."),
    "wind": ("AT THE BACK OF THE NORTH WIND", "the back of the north wind."),
}  # fmt: skip
# Words of which one stands in each paragraph that may go from between the two markers.
SAYS_WHY = (
    "Produced by", "E-text prepared by", "Transcribed from", "Transcribed by", "Project Gutenberg", "Portions of this",
    "ranscriber", "In Honor of Lisa Hart",
)  # fmt: skip


@pytest.fixture(scope="module")
def novels(shared_data: Path) -> dict[str, list[str]]:
    folder = shared_data / "books" / "gutenberg"
    return {
        path.name.removesuffix(".txt.gz"): gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines()
        for path in sorted(folder.glob("*.txt.gz"))
    }


def test_each_of_36_novels_begins_and_ends_where_a_reader_says(novels: dict[str, list[str]]) -> None:
    assert novels.keys() == BORDERS.keys()
    for name, lines in novels.items():
        kept = [
            line.strip()
            for line in strip_gutenberg(lines).lines
            if any(map(str.isalpha, line))
            and not line.strip().startswith(("[Illustration", "[Picture", "[Frontispiece"))
        ]
        first, last = BORDERS[name]
        assert kept[0] == first, name
        assert kept[-1].endswith(last), name


def test_of_36_novels_only_paragraphs_go_that_say_why(novels: dict[str, list[str]]) -> None:
    for name, lines in novels.items():
        book = strip_gutenberg(lines)
        first, last = marked_lines(lines)
        kept = set(book.places)
        assert min(kept) >= first, name
        assert max(kept) < last, name
        text = "\n".join(book.lines)
        assert "gutenberg" not in text.lower(), name
        assert "produced by " not in text[:5_000].lower(), name
        for block in paragraphs(lines, first, last):
            gone = [place for place in block if place not in kept]
            if gone and not says_why(lines, block, first, last):
                assert not gone, (name, [lines[place] for place in gone])


def marked_lines(lines: list[str]) -> tuple[int, int]:
    """The lines between the markers, found by plain comparison."""
    start = end = -1
    for place, line in enumerate(lines):
        if start < 0 and ("START OF TH" in line and "PROJECT GUTENBERG" in line):
            start = place + 1
        if start < 0 and line.startswith("*END THE SMALL PRINT!"):
            start = place + 1
        if (
            start >= 0
            and end < 0
            and "project gutenberg" in line.lower()
            and line.lower().lstrip("* ").startswith("end of")
        ):
            end = place
    assert 0 <= start < end
    return start, end


def paragraphs(lines: list[str], first: int, last: int) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for place in range(first, last):
        if lines[place].strip():
            found[-1].append(place)
        elif found[-1]:
            found.append([])
    return [block for block in found if block]


def says_why(lines: list[str], block: list[int], first: int, last: int) -> bool:
    """Whether the paragraph names its reason, or stands between two rules at the head, or after a note at the end."""
    text = " ".join(lines[place] for place in block)
    if any(words in text for words in SAYS_WHY) or not any(map(str.isalnum, text)):
        return True
    rules = [place for place in range(first, first + 100) if lines[place].startswith("_" * 60)]
    if len(rules) >= 2 and rules[0] <= block[0] <= rules[1]:
        return True
    return any("ranscriber" in lines[place] for place in range(max(first, last - 120), block[0]))
