"""report.html: the manifest's figures, the same bytes each time, nothing alive in it."""

import re
from html.parser import HTMLParser
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpe.manifest import (
    BlockTable,
    Books,
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    ShardEntry,
    VocabularyEntry,
)
from corpora.ccnews import TARGETS
from corpora.reasons import REASONS as REASONS_OF_CORPORA
from inspection.figures import compare_yields, list_outcomes
from inspection.plain_text import printable
from inspection.report import MAX_INPUTS, Targets, render_report

TAGS = {
    "html", "head", "meta", "link", "title", "style", "body", "header", "main", "footer", "section", "div", "h1", "h2",
    "p", "dl", "dt", "dd", "small", "table", "thead", "tbody", "tr", "th", "td", "span", "i", "b", "em", "bdi", "ul",
    "ol", "li", "details", "summary",
}  # fmt: skip
VOID = {"meta", "link"}
REASONS = {"language": "The text is in a language that was not asked for.", "truncated": "The file ends in a record."}


class Published(NamedTuple):
    documents: int | None = 63_000_000
    gib: float | None = 76.0
    mean_bytes: float | None = 1_300
    source: str = "Liu et al. 2019"


class Reader(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that is not closed in order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def make_manifest(**changes):
    blocks = BlockTable(*(np.array([n], np.int64) for n in (0, 9_000, 300, 40)), np.array([1], np.uint32))
    lineage = FileEntry("shards/c-00000-of-00001.parquet", 9, "b" * 64, 40)
    manifest = Manifest(
        name="ccnews",
        code_version="0.1.0",
        settings={"corpus": "ccnews", "variant": "paper", "extract": {"languages": ["en"], "pii": False}},
        settings_hash="d" * 64,
        inputs=(InputEntry("CC-NEWS-1.warc.gz", 1 << 30, "e" * 64),),
        vocabulary=VocabularyEntry("vocab.json", 1, "c" * 64, "a" * 64, 50_265, "fairseq"),
        books=Books(100, 40, {"language": 50, "duplicate_url": 7}, {"truncated": 3}),
        counts=Counts(40, 300, 9_000, 40_000, 5),
        statistics={
            "languages": {"en": 40, "de": 30, "fr": 20},
            "domains": {"distinct": 900, "top": [["a.example", 12], ["b.example", 9]]},
            "characters": {"512": 10, "1024": 25, "4096": 5},
            "duplicates": {"url": 7},
        },
        documents=(),
        rejected=(),
        shards=(ShardEntry("shards/c-00000-of-00001.tar", 20_000, "f" * 64, "train", 40, 300, 9_000, lineage, blocks),),
        report=None,
    )
    return manifest._replace(**changes)


def read(manifest, targets=None):
    given = {} if targets is None else {"": targets}
    return Reader(render_report(manifest, targets=given, reasons=REASONS))


def test_the_page_says_what_was_read_kept_and_lost_with_shares_and_reasons_in_words():
    words = read(make_manifest()).words
    for part in ("read 100 100 %", "50 50.0 %", "duplicate url 7 7.0 %", "truncated", "kept 40 40.0 %"):
        assert part in words
    assert REASONS["language"] in words
    assert "rejected: not wanted (57)" in words
    assert "broken: damaged input (3)" in words


def test_bars_of_the_funnel_end_where_the_next_begins():
    page = render_report(make_manifest(), reasons=REASONS)
    bars = re.findall(r"width:([\d.]+)%;margin-left:([\d.]+)%", page)[:5]
    places = [(float(left), float(left) + float(width)) for width, left in bars]
    assert places[0] == (0, 100)
    for (start, _), (_, end) in zip([(100.0, 0.0), *places[1:]], places[1:4], strict=False):
        assert end == pytest.approx(start)
    assert places[-1] == pytest.approx((0, places[3][0]))


def test_the_same_figures_give_the_same_bytes_whatever_the_order_of_their_keys():
    manifest = make_manifest()
    books = manifest.books._replace(rejected=dict(reversed(manifest.books.rejected.items())))
    statistics = {key: manifest.statistics[key] for key in reversed(manifest.statistics)}
    statistics["languages"] = dict(reversed(manifest.statistics["languages"].items()))
    statistics["characters"] = dict(reversed(manifest.statistics["characters"].items()))
    shuffled = manifest._replace(books=books, statistics=statistics, settings=dict(reversed(manifest.settings.items())))
    assert render_report(shuffled, reasons=REASONS) == render_report(manifest, reasons=REASONS)


def test_the_page_asks_for_nothing_and_can_run_nothing():
    page = render_report(make_manifest(), targets={"": Published()}, reasons=REASONS)
    reader = Reader(page)
    assert set(reader.tags) <= TAGS
    assert [value for _, name, value in reader.attributes if name in ("src", "href", "action")] == ["data:,"]
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|http:|https:", page)
    assert "default-src 'none'" in page


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(codec=None), min_size=1),
        st.sampled_from(
            [
                "<script>alert(1)</script>",
                '"><img src=http://canary.test/x onerror=alert(1)>',
                "</style><script>",
                "]]>",
                "<!--",
            ]
        ),
    )
)
def test_whatever_strangers_chose_is_text(text):
    plain = make_manifest(
        name="x", code_version="x", settings={"x": "x", "variant": "x"}, inputs=(InputEntry("x", 1, "x"),),
        books=Books(3, 1, {"x": 1}, {"x": 1}),
        statistics={
            "languages": {"x": 1}, "domains": {"distinct": 1, "top": [["x", 1]]}, "characters": {"1": 1},
            "duplicates": {"x": 1},
        },
    )  # fmt: skip
    hostile = make_manifest(
        name=text, code_version=text, settings={"x" + text: text, "variant": text}, inputs=(InputEntry(text, 1, text),),
        books=Books(3, 1, {text: 1}, {text: 1}),
        statistics={
            "languages": {text: 1}, "domains": {"distinct": 1, "top": [[text, 1]]}, "characters": {"1": 1},
            "duplicates": {text: 1},
        },
    )  # fmt: skip
    expected, found = Reader(render_report(plain, reasons={})), Reader(render_report(hostile, reasons={text: text}))
    small = sum(tag == "small" for tag in found.tags) - sum(tag == "small" for tag in expected.tags)
    assert (len(found.tags) - small, set(found.tags)) == (len(expected.tags), set(expected.tags))
    # An attribute holds none of it either.
    assert {value for _, _, value in found.attributes} == {value for _, _, value in expected.attributes}
    assert " ".join(printable(text).split()) in found.words


def test_yields_stand_beside_what_was_published():
    words = read(make_manifest(), Published()).words
    assert "63,000,000" in words
    assert "76.0 GiB" in words
    assert "Published: Liu et al. 2019" in words
    assert "1,000 bytes 1,300 bytes 76.9 %" in words
    assert "Yield beside" not in read(make_manifest()).words
    assert "not published" in read(make_manifest(), Published(documents=None)).words


def test_the_reasons_and_targets_of_corpora_are_used_as_they_are():
    words = Reader(render_report(make_manifest(), targets={"": TARGETS})).words
    assert REASONS_OF_CORPORA["language"] in words
    assert REASONS_OF_CORPORA["duplicate_url"] in words
    assert f"Published: {TARGETS.source}" in words


def test_any_object_with_the_fields_can_be_the_targets():
    targets: Targets = Published()
    assert [one.published for one in compare_yields(make_manifest(), {"": targets})] == [63_000_000, 76.0, 1_300]


def test_long_lists_are_capped_and_say_how_many_more_there_are():
    inputs = tuple(InputEntry(f"{k}.warc.gz", 1, "e") for k in range(MAX_INPUTS + 30))
    words = read(make_manifest(inputs=inputs)).words
    assert "and 30 more" in words
    assert f"{MAX_INPUTS - 1}.warc.gz" in words
    assert f"{MAX_INPUTS}.warc.gz" not in words
    assert "230 files" in words
    domains = {"distinct": 900, "top": [[f"d{k}.example", 100 - k] for k in range(100)]}
    words = read(make_manifest(statistics=make_manifest().statistics | {"domains": domains})).words
    assert "The next 85" in words
    assert "d99.example" in words


def test_lengths_have_a_column_for_every_power_of_two_between_the_shortest_and_the_longest():
    page = render_report(make_manifest(), reasons=REASONS)
    columns = re.findall(r"<em>(\w+)</em>", page)
    assert columns == ["512", "1k", "2k", "4k"]
    assert "1,024 to 2,047 characters: 25 documents (62.5 %)" in page


def test_a_run_without_anything_still_has_a_report():
    nothing = make_manifest(
        inputs=(), vocabulary=None, books=Books(0, 0, {}, {}), counts=Counts(0, 0, 0, 0, 0), settings={}, shards=(),
        statistics={"languages": {}, "domains": {"distinct": 0, "top": []}, "characters": {}, "duplicates": {}},
    )  # fmt: skip
    words = read(nothing, Published()).words
    assert "No documents." in words
    assert "no vocabulary" in words
    assert [outcome.records for outcome in list_outcomes(nothing)] == [0]
