"""The variants of CC-NEWS are the recipes that they say they are."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from corpora.ccnews import FIRST_MONTH, PAPER_MONTHS, TARGETS, VARIANTS


def test_the_targets_are_the_papers() -> None:
    assert TARGETS.documents == 63_000_000
    assert TARGETS.gib * 2**30 / TARGETS.documents == pytest.approx(TARGETS.mean_bytes, rel=0.01)
    assert (FIRST_MONTH, *PAPER_MONTHS) == ("2016-08", "2016-09", "2019-02")


def test_variants_differ_in_their_settings_and_say_what_they_are() -> None:
    assert set(VARIANTS) == {"default", "paper", "realnews"}
    settings = [str(asdict(variant.processing)) for variant in VARIANTS.values()]
    assert len(set(settings)) == len(settings)
    assert "never published" in VARIANTS["paper"].description


def test_realnews_has_the_thresholds_of_zellers_et_al() -> None:
    variant = VARIANTS["realnews"]
    rules = variant.processing.quality
    assert (rules.max_url_chars, rules.min_title_chars, rules.min_chars) == (200, 30, 1_000)
    assert rules.require_published
    assert variant.deduplicate_prefix_chars == 100


PAPER_RUN = """
import sys
opened = []
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        opened.append((event, str(details)))
        raise PermissionError(event)
sys.addaudithook(watch)
from corpora.ccnews import VARIANTS
from corpora.documents import Document, RawPage
from corpora.processing import process_page
from corpora.warc import read_pages
settings = VARIANTS["paper"].processing
verdicts = []
with open(sys.argv[1], "rb") as stream:
    for page in read_pages(stream, source="dev300"):
        if isinstance(page, RawPage):
            verdicts.append(process_page(page, settings))
        if len(verdicts) == 20:
            break
kept = [verdict for verdict in verdicts if isinstance(verdict, Document)]
assert len(kept) >= 8, len(kept)
assert all(document.extractor.startswith("news-please") and document.text for document in kept)
assert {document.language for document in kept} == {"en"}
assert not opened, opened
"""


def test_the_paper_variant_runs_news_please_and_opens_no_connection(shared_data: Path, project_root: Path) -> None:
    pytest.importorskip("newsplease")
    warc = shared_data / "ccnews" / "CC-NEWS-STANDIN-dev300.warc.gz"
    done = subprocess.run(
        [sys.executable, "-c", PAPER_RUN, str(warc)],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
