"""The bundled sample holds what its script plants: the same bytes, the kinds promised, prose worth training on."""

import csv
import importlib
import itertools
import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pycld2
import pytest
import trafilatura

from corpora.decoding import decode_page
from corpora.documents import RawPage, Rejection
from corpora.warc import read_pages

DATA = Path(__file__).resolve().parents[1] / "data"
SAMPLE = DATA / "sample"
WORD = re.compile(r"\w+")


class Row(NamedTuple):
    """A line of expected.tsv."""

    file: str
    offset: int
    url: str
    language: str
    kind: str
    article: str


def read_table(folder: Path) -> list[Row]:
    with (folder / "expected.tsv").open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        assert next(rows) == list(Row._fields)
        return [Row(file, int(offset), *rest) for file, offset, *rest in rows]


@pytest.fixture(scope="module")
def papers() -> ModuleType:
    """The script's own modules, which import one another by plain names."""
    sys.path.insert(0, str(DATA))
    try:
        return importlib.import_module("sample_papers")
    finally:
        sys.path.remove(str(DATA))


@pytest.fixture(scope="module")
def articles(papers: ModuleType) -> dict[str, tuple[str, str]]:
    """Language and text of each article by its key."""
    return {article.key: (article.language, "\n".join(article.paragraphs)) for article in papers.read_all()}


def read_records(folder: Path) -> dict[Row, RawPage | Rejection]:
    """What our reader finds at each planted place."""
    rows = {(row.file, row.offset): row for row in read_table(folder)}
    found: dict[Row, RawPage | Rejection] = {}
    for name in sorted({row.file for row in rows.values()}):
        with (folder / name).open("rb") as stream:
            for item in read_pages(stream, source=name):
                if isinstance(item, RawPage | Rejection):
                    found[rows[name, item.offset]] = item
    return found


@pytest.fixture(scope="module")
def records() -> dict[Row, RawPage | Rejection]:
    return read_records(SAMPLE)


@pytest.fixture(scope="module")
def extracted(records: dict[Row, RawPage | Rejection]) -> dict[Row, str]:
    """The text that the default extractor finds on each page that has an English article."""
    return {row: extract(page) for row, page in records.items() if isinstance(page, RawPage) and is_english(row)}


def is_english(row: Row) -> bool:
    return row.language == "en" and row.kind in ("article", "duplicate_text", "duplicate_url")


def extract(page: RawPage) -> str:
    html = decode_page(page.body, http_charset=page.http_charset).text
    return trafilatura.extract(html, fast=True, include_comments=False) or ""


def word_f1(found: str, planted: str) -> float:
    ours, theirs = Counter(WORD.findall(found.lower())), Counter(WORD.findall(planted.lower()))
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def packs_as_bundled() -> bool:
    """Whether this machine's zlib gives the bytes of the one that packed the bundled files; others pack as well."""
    row = read_table(SAMPLE)[0]
    bundled = (SAMPLE / row.file).read_bytes()[row.offset :]
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    packed = packer.compress(zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(bundled)) + packer.flush()
    return bundled.startswith(packed)


def test_the_script_gives_the_same_sample_again(tmp_path: Path, records):
    subprocess.run(
        [sys.executable, str(DATA / "make_sample.py"), "--output", str(tmp_path)], check=True, capture_output=True
    )
    if packs_as_bundled():
        for made in sorted(tmp_path.iterdir()):
            assert made.read_bytes() == (SAMPLE / made.name).read_bytes(), made.name
    for (row, made), (bundled_row, bundled) in zip(read_records(tmp_path).items(), records.items(), strict=True):
        assert row._replace(offset=0) == bundled_row._replace(offset=0)
        if isinstance(made, RawPage) and isinstance(bundled, RawPage):
            assert made.body == bundled.body, row.url


def test_the_sample_is_small():
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 2_000_000


def test_the_table_counts_what_the_readme_says():
    said = re.findall(r"^\| `(\w+)` \| (\d+) \|", (SAMPLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert Counter(row.kind for row in read_table(SAMPLE)) == {kind: int(count) for kind, count in said}


def test_english_is_the_majority_among_many_languages_and_hosts():
    rows = [row for row in read_table(SAMPLE) if row.kind in ("article", "foreign")]
    languages = Counter(row.language for row in rows)
    assert languages["en"] >= 100
    assert len(languages) >= 7
    assert min(languages.values()) >= 4
    assert len({row.url.split("/")[2] for row in rows}) >= 20


def test_the_reader_finds_every_planted_record_at_its_place(records):
    assert set(records) == set(read_table(SAMPLE))
    for row, record in records.items():
        assert isinstance(record, Rejection) == (row.kind == "damaged"), row
        assert row.kind == "damaged" or record.url == row.url


def test_the_three_damages_are_told_apart(records):
    reasons = {record.reason for record in records.values() if isinstance(record, Rejection) and record.broken}
    assert reasons == {"damaged_member", "content_length", "truncated"}


def test_statuses_and_types_are_as_planted(records):
    pages = {row: record for row, record in records.items() if isinstance(record, RawPage)}
    assert {page.status for row, page in pages.items() if row.kind == "redirect"} == {301, 302, 303, 307}
    assert {page.status for row, page in pages.items() if row.kind == "error"} == {403, 404, 410, 500, 503}
    assert {page.mime for row, page in pages.items() if row.kind == "not_html"}.isdisjoint({"text/html", ""})
    assert all(page.status == 200 for row, page in pages.items() if row.kind not in ("redirect", "error"))


def test_many_charsets_are_read_without_loss(records, articles):
    charsets = Counter()
    for row, page in records.items():
        if isinstance(page, RawPage) and row.kind in ("article", "foreign"):
            decoded = decode_page(page.body, http_charset=page.http_charset)
            charsets[decoded.charset] += 1
            # A few words of each text, of letters that every charset of its language has.
            assert max(WORD.findall(articles[row.article][1]), key=len) in decoded.text, row
    assert len(charsets) >= 6, charsets


def test_no_two_articles_are_near_duplicates(articles):
    shingles = {}
    for key, (_, text) in articles.items():
        words = WORD.findall(text.lower())
        shingles[key] = {tuple(words[place : place + 5]) for place in range(len(words) - 4)}
    nearest = max(
        len(shingles[one] & shingles[other]) / len(shingles[one] | shingles[other])
        for one, other in itertools.combinations(shingles, 2)
    )
    assert nearest < 0.15


def test_wire_stories_are_near_duplicates_of_their_original(records):
    for row, page in records.items():
        if row.kind == "near_duplicate":
            original = next(other for other in records if (other.kind, other.article) == ("article", row.article))
            assert 0.6 < word_f1(extract(page), extract(records[original])) < 1


def test_duplicates_give_the_text_of_an_original_fetched_before(records, extracted):
    for row, text in extracted.items():
        if row.kind != "article":
            original = next(other for other in extracted if (other.kind, other.article) == ("article", row.article))
            assert text == extracted[original], row.url
            assert records[original].fetched_at < records[row].fetched_at


def test_articles_are_long_enough_to_learn_from(articles):
    lengths = [len(text.split()) for language, text in articles.values() if language == "en"]
    assert len(lengths) >= 100
    assert min(lengths) >= 150
    assert sum(lengths) >= 25_000


def test_the_language_detector_agrees_with_every_article(articles):
    for key, (language, text) in articles.items():
        assert pycld2.detect(text)[2][0][1] == language, key


def test_an_extractor_finds_the_planted_text_amid_the_chrome(extracted, articles):
    scores = {row.url: word_f1(text, articles[row.article][1]) for row, text in extracted.items()}
    assert sum(scores.values()) / len(scores) > 0.94
    assert min(scores.values()) > 0.7, min(scores, key=scores.__getitem__)
    # Were all of them perfect, the pages would be too clean to show anything.
    assert min(scores.values()) < 0.95
