"""One page from bytes to a document or a rejection, and the floors of the whole chain on real pages."""

import csv
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.documents import STAGES, Document, RawPage, Rejection, make_document_id
from corpora.processing import REASONS, ProcessingSettings, library_versions, process_page
from corpora.urls import redact_credentials
from corpora.warc import READ_REASONS, read_pages

STORY = [
    f"The council met for the {n}th time in the old town hall on Monday evening, its mayor said." for n in range(12)
]
HTML = (
    '<html lang="en"><title>The council met again on Monday</title><article><p>'
    + "</p><p>".join(STORY)
    + "</p></article></html>"
)
GERMAN = "<p>Der Ausschuss trifft sich am Donnerstag wieder, um über den Haushalt der Stadt zu sprechen.</p>" * 9


def make_page(body: bytes | str, **fields: object) -> RawPage:
    page = RawPage(
        document_id=make_document_id("a.warc.gz", 7, "http://example.com/a"),
        url="http://example.com/a",
        fetched_at="2016-09-26T21:18:09Z",
        status=200,
        mime="text/html",
        http_charset="utf-8",
        body=body.encode() if isinstance(body, str) else body,
        source="a.warc.gz",
        offset=7,
    )
    return page._replace(**fields)  # type: ignore[arg-type]  # names and types are the test's to get right


def judge(page: RawPage, **options: object) -> str:
    """The reason, or "kept"."""
    verdict = process_page(page, ProcessingSettings(**options))  # type: ignore[arg-type]  # as above
    if isinstance(verdict, Rejection):
        assert verdict.reason in REASONS
        assert verdict.stage in STAGES
        assert not verdict.broken
        assert (verdict.document_id, verdict.source, verdict.offset) == (page.document_id, page.source, page.offset)
        return verdict.reason
    return "kept"


def test_a_good_page_becomes_a_document_that_says_where_it_comes_from() -> None:
    document = process_page(make_page(HTML), ProcessingSettings())
    assert isinstance(document, Document)
    assert document.text == "\n".join(STORY)
    assert document.title == "The council met again on Monday"
    assert (document.language, document.declared_language, document.site) == ("en", "en", "example.com")
    assert (document.charset, document.decoded_by) == ("utf-8", "http")
    assert document.extractor.startswith("trafilatura ")
    assert (document.source, document.offset, document.fetched_at) == ("a.warc.gz", 7, "2016-09-26T21:18:09Z")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (make_page(HTML, status=404), "http_status"),
        (make_page(HTML, status=301), "http_status"),
        (make_page(b""), "empty_body"),
        (make_page(b" \n "), "empty_body"),
        (make_page(HTML, mime="application/pdf"), "mime"),
        (make_page(b"%PDF-1.4", mime=""), "mime"),
        (make_page(HTML + " " * 7_000_000), "too_large"),
        (make_page(GERMAN), "language"),
        (make_page("<html><script>var a = 1</script></html>"), "no_text"),
        (make_page("<p>Advertisement</p>"), "no_text"),
        (make_page("<p>The council met again on Monday evening, its mayor said.</p>"), "too_short"),
    ],
)
def test_a_page_that_is_not_wanted_is_rejected_for_its_reason(page: RawPage, reason: str) -> None:
    assert judge(page) == reason


def test_a_page_of_100_megabytes_is_rejected_by_its_size_at_once() -> None:
    assert judge(make_page(HTML.encode() * 80_000)) == "too_large"


def test_a_page_without_a_type_is_read_if_it_looks_like_html() -> None:
    assert judge(make_page("<!DOCTYPE html>" + HTML, mime="")) == "kept"


def test_plain_text_is_not_extracted_from() -> None:
    """WET files hold the text of pages."""
    document = process_page(make_page("\n".join(STORY), mime="text/plain"), ProcessingSettings())
    assert isinstance(document, Document)
    assert document.text == "\n".join(STORY)
    assert document.extractor == ""


def test_other_languages_can_be_asked_for() -> None:
    german = GERMAN.replace("Donnerstag", "{}")
    days = ("Montag", "Dienstag", "Mittwoch", "Freitag", "Samstag", "Sonntag", "Morgen", "Abend", "Nachmittag")
    page = make_page(german.format(*days))
    assert judge(page, languages=("de",)) == judge(page, languages=()) == "kept"
    assert judge(make_page(HTML), languages=("de",)) == "language"


def test_personal_data_go_only_if_asked_for() -> None:
    page = make_page(HTML.replace("its mayor said", "says joe@example.com"))
    kept, redacted = (process_page(page, ProcessingSettings(redact_personal_data=on)) for on in (False, True))
    assert isinstance(kept, Document)
    assert isinstance(redacted, Document)
    assert "joe@example.com" in kept.text
    assert "joe@example.com" not in redacted.text
    assert "says <email>" in redacted.text


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: ("<p>" + text).encode("utf-16")))
def test_no_bytes_raise(body: bytes) -> None:
    judge(make_page(body, http_charset="x-unknown"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"extractor": "magic"},
        {"extractor": ""},
        {"languages": ("English",)},
        {"mimes": ("image/png",)},
        {"min_text_share": 101},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"extractor|language|image/png|percentage"):
        ProcessingSettings(**wrong)  # type: ignore[arg-type]  # the point


def test_versions_name_what_shapes_a_document_and_only_that() -> None:
    versions = library_versions(ProcessingSettings())
    assert {"trafilatura", "resiliparse", "ftfy", "pycld2", "lxml", "unicode"} <= set(versions)
    assert "news-please" not in versions
    assert list(versions) == sorted(versions)


def test_every_reason_has_a_sentence() -> None:
    assert set(READ_REASONS) <= set(REASONS)
    for reason, sentence in REASONS.items():
        assert re.fullmatch("[a-z_]+", reason)
        assert sentence.endswith(".")


def test_the_default_keeps_the_english_pages_of_the_stand_in_and_their_text(shared_data: Path) -> None:
    """Measured: 155 of 160 kept, 1 of another language, word F1 .94."""
    name = str(shared_data / "ccnews" / "CC-NEWS-STANDIN-dev300")
    with open(f"{name}.index.tsv", encoding="utf-8") as lines:
        languages = {
            redact_credentials(row["url"]): row["lang_detected"] for row in csv.DictReader(lines, delimiter="\t")
        }
    with open(f"{name}.warc.gz", "rb") as stream:
        pages = [page for page in read_pages(stream, source="dev300") if isinstance(page, RawPage)]
    kept = [one for one in (process_page(page, ProcessingSettings()) for page in pages) if isinstance(one, Document)]
    counted = Counter(languages[document.url] == "en" for document in kept)
    assert counted[True] >= 150
    assert counted[False] <= 2
    gold = _read_gold(name)
    scores = [word_f1(document.text, gold[document.url]) for document in kept if document.url in gold]
    assert len(scores) >= 100
    assert sum(scores) / len(scores) >= 0.92


def _read_gold(name: str) -> dict[str, str]:
    gold: dict[str, str] = {}
    for kind in ("gold", "fundus-gold"):
        with gzip.open(f"{name}.{kind}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for truth in map(json.loads, lines):
                if truth.get("text"):
                    gold[redact_credentials(truth["url"])] = truth["text"]
    return gold


def word_f1(found: str, gold: str) -> float:
    ours, theirs = (Counter(re.findall(r"\w+", text.lower())) for text in (found, gold))
    return 2 * (ours & theirs).total() / max(ours.total() + theirs.total(), 1)
