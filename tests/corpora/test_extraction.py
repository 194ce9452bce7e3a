"""Extraction: floors on real pages with gold texts, and what happens when an extractor breaks."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from corpora.decoding import decode_page
from corpora.extraction import EXTRACTORS, Extracted, ExtractionFailure, extract, load_extractor, visible_text

STORY = " ".join(f"Sentence number {n} of the story says that the council met in {1990 + n}." for n in range(12))
PAGE = f"""<html lang="en-GB"><head><title>The council met - The Paper</title>
<meta property="og:site_name" content="The Paper"><meta name="author" content="By Ann Author and Bob Byline">
<meta property="article:published_time" content="2016-09-26T21:18:09+02:00"></head>
<body><nav><a href="/">Home</a> <a href="/news">News</a></nav>
<article><h1>The council met</h1><p>{STORY}</p><p>{STORY[:300]}</p></article><footer>Imprint</footer></body></html>"""


def extracted(html: str, **options: str) -> Extracted:
    found = extract(html, **{"url": "http://www.example.com/a", **options})
    assert isinstance(found, Extracted), found
    return found


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_every_extractor_finds_the_story_and_not_the_navigation(extractor: str) -> None:
    if extractor == "news-please":
        pytest.importorskip("newsplease")
    found = extracted(PAGE, extractor=extractor, fallback="")
    assert "Sentence number 7 of the story" in found.text
    assert "Home" not in found.text
    assert "Imprint" not in found.text
    assert found.title.startswith("The council met")
    assert found.published == "2016-09-26T21:18:09+02:00"
    assert found.declared_language == "en-gb"
    assert found.site == "The Paper"
    assert found.extractor.startswith(extractor)


def test_authors_are_the_people_named() -> None:
    assert extracted(PAGE).authors == ("Ann Author", "Bob Byline")


@pytest.mark.parametrize("url", ["", "http://", "http:///path", "urn:x", "no url", "http://[", "http://h\ud800/"])
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_no_url_is_too_odd(extractor: str, url: str) -> None:
    if extractor == "news-please":
        pytest.importorskip("newsplease")
    assert "Sentence number 7" in extracted(PAGE, extractor=extractor, url=url).text


def test_news_please_gives_way_to_the_fallback_on_languages_that_it_cannot_read() -> None:
    pytest.importorskip("newsplease")
    story = "한국어 기사 본문입니다. 시의회는 목요일에 다시 회의를 열 예정이다. " * 20
    found = extracted(f'<html lang="ko"><body><article><p>{story}</p></article></body></html>', extractor="news-please")
    assert "시의회는" in found.text


@pytest.mark.parametrize("html", ["", " \n ", "<html></html>", "<!-- nothing -->", "<script>var a = 'text';</script>"])
def test_a_page_without_text_is_a_failure_with_a_reason(html: str) -> None:
    assert isinstance(found := extract(html, url="http://example.com/"), ExtractionFailure)
    assert found.reason == "no_text"


def test_an_extractor_that_raises_is_followed_by_the_fallback_and_then_by_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load():
        def run(page):
            raise RecursionError("the page is too clever")

        return run

    load_extractor.cache_clear()
    monkeypatch.setitem(extract.__globals__["_EXTRACTORS"], "trafilatura", load)
    assert extracted(PAGE).extractor.startswith("resiliparse")
    failed = extract(PAGE, url="", fallback="")
    load_extractor.cache_clear()
    assert failed == ExtractionFailure("extract_failed", "trafilatura: RecursionError: the page is too clever")


def test_an_unknown_extractor_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="there are news-please, resiliparse, trafilatura"):
        load_extractor("magic")


@pytest.mark.parametrize(
    "head", ["", "<head><title>Title</title>", "<!-- x --><title>Title</title><meta name=a content=b>"]
)
def test_paragraphs_stay_apart_on_pages_that_leave_out_the_body_tag(head: str) -> None:
    assert (
        extracted(f"<!DOCTYPE html><html>{head}<article><p>{STORY}</p><p>{STORY[:300]}</p></article>").text.count("\n")
        == 1
    )


def test_text_behind_nul_and_surrogates_is_kept() -> None:
    assert "Sentence number 11" in extracted(PAGE.replace("number 3", "\0 \ud800 number 3")).text


def test_visible_text_holds_the_navigation_but_no_script() -> None:
    seen = visible_text("<nav>Home</nav><script>var hidden</script><style>a{}</style><p>Text</p>")
    assert seen.split() == ["Home", "Text"]


def test_the_default_extractor_keeps_its_floor_on_scrapinghub181(shared_data: Path) -> None:
    """Shingle F1 as the benchmark counts it: precision and recall over all pages. Measured: .960."""
    folder = shared_data / "html" / "scrapinghub181"
    gold = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    load_extractor("trafilatura")
    precision = recall = 0.0
    for name, truth in gold.items():
        html = decode_page(
            gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()), http_charset="utf-8"
        ).text
        found = extract(html, url=truth.get("url", ""))
        ours, theirs = shingles(found.text if isinstance(found, Extracted) else ""), shingles(truth["articleBody"])
        common = (ours & theirs).total()
        precision += common / max(ours.total(), 1)
        recall += common / max(theirs.total(), 1)
    precision, recall = precision / len(gold), recall / len(gold)
    assert 2 * precision * recall / (precision + recall) >= 0.955


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    words = "".join(character if character.isalnum() else " " for character in text).split()
    return Counter(tuple(words[at : at + n]) for at in range(max(len(words) - n + 1, min(len(words), 1))))
