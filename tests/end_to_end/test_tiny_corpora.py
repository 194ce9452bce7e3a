"""The tiny corpora hold what their README says: the same bytes again, and something for every rule to find."""

import bz2
import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest

from corpora.book_files import read_books
from corpora.books import BookSettings, process_book
from corpora.commonsense import parse_questions
from corpora.documents import Document, RawPage, Rejection
from corpora.mediawiki_dump import read_articles
from corpora.processing import ProcessingSettings, process_page
from corpora.submissions import BadLine, Submission, read_submissions
from corpora.warc import read_pages
from corpora.wikipedia import WikipediaSettings, process_article

DATA = Path(__file__).resolve().parents[1] / "data"
TINY = DATA / "tiny"
MAX_BYTES = 300_000


def unpack(path: Path) -> bytes:
    """What is in a file; gzip's own bytes depend on the zlib that packed it."""
    content = path.read_bytes()
    if path.suffix == ".bz2":
        return bz2.decompress(content)
    if path.suffix != ".gz":
        return content
    unpacked = b""
    while content:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        unpacked += inflater.decompress(content)
        content = inflater.unused_data
    return unpacked


def test_the_script_gives_the_same_corpora_again(tmp_path: Path) -> None:
    script = DATA / "make_tiny_corpora.py"
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, str(script), "--output", str(tmp_path)],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "TZ": f"UTC-{seed}"},
        )
        made = {path.relative_to(tmp_path): unpack(path) for path in tmp_path.rglob("*") if path.is_file()}
        bundled = {path.relative_to(TINY): unpack(path) for path in TINY.rglob("*") if path.is_file()}
        del bundled[Path("README.md")]
        assert made == bundled


def test_they_are_tiny() -> None:
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) < MAX_BYTES


@pytest.fixture(scope="module")
def library() -> dict[str, Document]:
    found = {}
    for path in sorted((TINY / "books").rglob("*.*")):
        with path.open("rb") as stream:
            (page,) = read_books(stream, source=path.name)
        assert isinstance(page, RawPage)
        document = process_book(page, BookSettings())
        assert isinstance(document, Document), (path, document)
        found[path.name] = document
    return found


def test_books_lose_their_matter_and_keep_their_text(library: dict[str, Document]) -> None:
    assert len(library) == 5
    for name, document in library.items():
        assert not re.search(
            "gutenberg|small print|nobody in particular|illustration|transcriber", document.text, re.I
        ), name
        assert len(document.text.split()) > 1_000
    first = library["the-harbour-wall.txt"]
    assert (first.title, first.authors, first.published) == ("The Harbour Wall", ("Martha Quill",), "2009-05-03")
    assert first.text.endswith("\nTHE END")
    assert "\nThe tide came in, the tide went out,\nThe wall was none the wetter;\n" in first.text
    assert "CONTENTS" not in first.text
    assert library["bees-in-the-belfry.txt"].charset == "windows-1252"
    assert library["night-shift.epub"].authors == ("Samuel Irwin",)


def test_the_second_edition_is_a_near_duplicate_and_no_duplicate(library: dict[str, Document]) -> None:
    def shingles(name: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", library[name].text.lower())
        return {tuple(words[place : place + 5]) for place in range(len(words) - 4)}

    one, other = shingles("the-harbour-wall.txt"), shingles("the-harbour-wall-2nd.txt")
    assert 0.8 < len(one & other) / len(one | other) < 1


def test_the_dump_has_a_page_of_each_kind() -> None:
    outcomes: Counter[str] = Counter()
    with (TINY / "dump.xml.bz2").open("rb") as stream:
        for item in read_articles(stream, source="dump.xml.bz2"):
            verdict = process_article(item, WikipediaSettings()) if isinstance(item, RawPage) else item
            outcomes[verdict.reason if isinstance(verdict, Rejection) else "kept"] += 1
            if isinstance(verdict, Document):
                assert not re.search(r"\{\{|\[\[|\]\]|'''|<ref", verdict.text), verdict.title
                if verdict.title == "Skerry Point":
                    assert "14 miles (23 km) north of Tarn Haven" in verdict.text
    assert outcomes == {"kept": 17, "namespace": 2, "redirect": 1, "disambiguation": 1, "no_text": 1}


def test_submissions_come_in_both_forms_with_something_for_every_rule() -> None:
    with (TINY / "submissions.ndjson.gz").open("rb") as stream:
        records = [
            record for batch in read_submissions(stream, name="submissions.ndjson.gz") for record in batch.records
        ]
    assert [record.reason for record in records if isinstance(record, BadLine)] == ["bad_json"]
    assert records.count(None) == 1
    found = [record for record in records if isinstance(record, Submission)]
    assert len(found) == 199
    urls = Counter(str(record.url) for record in found)
    for holds, floor in (
        (sum(bool(record.is_self) for record in found), 10),
        (sum(bool(record.over_18) for record in found), 5),
        (sum(record.removed_by_category is not None for record in found), 1),
        (sum((record.score or 0) < 3 for record in found), 50),
        (sum(record.score is None for record in found), 1),
        (sum((record.score or 0) >= 3 for record in found), 80),
        (sum((record.created_utc or 0) > 1_514_764_800 for record in found), 10),  # after 2017
        (sum(count > 1 for count in urls.values()), 20),
        (sum("imgur" in url for url in urls), 1),
        (sum("&amp;" in url for url in urls), 1),
    ):
        assert holds >= floor


def test_pages_share_passages_with_the_questions_and_some_are_not_wanted() -> None:
    questions = parse_questions((TINY / "questions.txt").read_bytes(), path="questions.txt")
    assert len(questions) == 32
    pieces = {piece.lower() for question in questions for piece in question.pieces if len(piece.split()) > 5}
    outcomes: Counter[str] = Counter()
    with (TINY / "pages.warc.wet.gz").open("rb") as stream:
        for item in read_pages(stream, source="pages.warc.wet.gz"):
            if isinstance(item, RawPage):
                verdict = process_page(item, ProcessingSettings())
                outcomes[verdict.reason if isinstance(verdict, Rejection) else "kept"] += 1
                if isinstance(verdict, Document):
                    n_shared = sum(piece in verdict.text.lower() for piece in pieces)
                    outcomes["like the questions"] += n_shared > 3
                    assert ("tales.example" in verdict.url) == (n_shared > 3), verdict.url
    assert outcomes == {"kept": 48, "like the questions": 12, "language": 8, "too_short": 4}
