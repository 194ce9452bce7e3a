"""The faster searches find what trafilatura's own find, element for element, and leave strangers alone."""

import gzip
from pathlib import Path

import pytest
from lxml import etree
from lxml.html import HtmlElement
from trafilatura import settings, xpaths

from corpora.fast_pruning import faster_consent_search, faster_endless_search
from corpora.metadata import parse_html

PAGES = [
    "<html><body><div class='x cookie-banner'><p>We use</p></div><aside>a</aside><p>text</p></body></html>",
    "<html><body><div id='OneTrust-sdk'>We use</div><div class='site-footer'>f</div><svg/><p>text</p></body></html>",
    "<html><body><section id='infinite-scroll'><h1>a</h1></section><div class='infinitescroll'>b</div></body></html>",
    "<html><body><div class='mvp-post-add-box'><h1>a</h1></div><style>s</style></body></html>",
    "<html><body><p>nothing of the kind</p></body></html>",
]


def assert_same_elements(tree: HtmlElement) -> None:
    assert faster_consent_search(settings.BASIC_CLEAN_XPATH)(tree) == settings.BASIC_CLEAN_XPATH(tree)
    for original in xpaths.RAW_TREE_PRUNE_XPATH:
        assert faster_endless_search(original)(tree) == original(tree)


@pytest.mark.parametrize("html", PAGES)
def test_made_pages_give_the_same_elements(html: str):
    tree = parse_html(html)
    assert tree is not None
    assert_same_elements(tree)


def test_real_pages_give_the_same_elements(shared_data: Path):
    folder = shared_data / "html" / "scrapinghub181" / "html"
    paths = sorted(folder.glob("*.html*"))[:60]
    assert len(paths) == 60
    for path in paths:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        tree = parse_html(data.decode("utf-8", "replace"))
        assert tree is not None
        assert_same_elements(tree)


def test_the_installed_trafilatura_is_the_one_we_know():
    """Fails when an update words its expressions otherwise: then they are merely slow again, and this module is due."""
    assert faster_consent_search(settings.BASIC_CLEAN_XPATH) is not settings.BASIC_CLEAN_XPATH
    assert faster_endless_search(xpaths.RAW_TREE_PRUNE_XPATH[0]) is not xpaths.RAW_TREE_PRUNE_XPATH[0]


def test_an_expression_of_another_make_is_left_alone():
    other = etree.XPath(".//div")
    assert faster_consent_search(other) is other
    assert faster_endless_search(other) is other
