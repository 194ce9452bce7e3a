"""The papers of the bundled sample: which article stands where, under which address, sent how.

Articles in, pages and captures out. The rule: a paper sends its pages as its kind does in a real crawl, with the
charsets, encodings and mistakes that go with it; all of it is decided by hashes of the article's key.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sample_archive import Capture, send
from sample_articles import PROSE, Article, compose, number, pick, read_articles, read_family
from sample_chrome import Page, render

BEGIN, END = datetime(2016, 9, 5, 6), datetime(2019, 2, 20, 18)  # the months of RoBERTa's CC-NEWS
LANGUAGES = {
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "dutch": "nl",
    "japanese": "ja",
    "russian": "ru",
}
FAMILY_STORIES = 10  # of each family


class Paper(NamedTuple):
    """A news site: where it is, how its pages look and how they are sent."""

    host: str
    name: str
    language: str
    layout: str
    charset: str = "utf-8"  # the codec of its bytes
    http: str = ""  # charset that its server declares
    meta: str = ""  # charset that its pages declare
    encoding: str = "stored"  # see sample_archive.send
    scheme: str = "https"


class Planned(NamedTuple):
    """A page in its paper, and when the crawler came by."""

    paper: Paper
    page: Page
    moment: datetime


PAPERS = (
    Paper("www.harbour-courier.example", "The Harbour Courier", "en", "html5", meta="utf-8", http="UTF-8"),
    Paper("www.fenwick-gazette.example", "Fenwick Gazette", "en", "wordpress", meta="UTF-8", encoding="gzip"),
    Paper("news.northbay-herald.example", "Northbay Herald", "en", "cms", http="utf-8", encoding="chunked"),
    Paper("www.valleypost.test", "The Valley Post", "en", "table", "cp1252", meta="windows-1252", scheme="http"),
    Paper("amp.dailybeacon.example", "The Daily Beacon", "en", "amp", meta="utf-8", encoding="chunked+gzip"),
    Paper("www.dailybeacon.example", "The Daily Beacon", "en", "bundled", meta="utf-8", http="utf-8"),
    Paper("www.ridgeway-echo.test", "Ridgeway Echo", "en", "div-soup", "cp1252", http="ISO-8859-1", scheme="http"),
    Paper("www.saltmarsh-observer.example", "Saltmarsh Observer", "en", "wordpress", encoding="stale", scheme="http"),
    Paper("www.eastern-wire.example", "Eastern Wire", "en", "html5", meta="utf-8"),
    Paper("orchard-weekly.example", "The Orchard Weekly", "en", "div-soup", "utf-8-sig", scheme="http"),
    Paper("www.capital-ledger.test", "The Capital Ledger", "en", "cms", meta="utf-8", encoding="plain"),
    Paper("www.elbufer-zeitung.example", "Elbufer-Zeitung", "de", "cms", http="utf-8"),
    Paper("www.bergland-bote.test", "Bergland-Bote", "de", "table", "cp1252", meta="iso-8859-1", scheme="http"),
    Paper("www.gazette-du-littoral.example", "La Gazette du littoral", "fr", "html5", meta="utf-8"),
    Paper("www.courrier-des-vallees.test", "Courrier des vallées", "fr", "wordpress", "cp1252", http="windows-1252"),
    Paper("www.diario-del-puerto.example", "Diario del Puerto", "es", "bundled", meta="utf-8", encoding="gzip"),
    Paper("www.corriere-della-laguna.example", "Corriere della Laguna", "it", "div-soup", meta="utf-8"),
    Paper("www.jornal-da-ria.example", "Jornal da Ria", "pt", "wordpress", "cp1252", meta="iso-8859-1"),
    Paper("www.polderbode.example", "De Polderbode", "nl", "html5", meta="utf-8", http="utf-8"),
    Paper("www.minato-shimbun.example", "みなと新聞", "ja", "cms", "cp932", meta="Shift_JIS", scheme="http"),
    Paper("www.volzhskiy-vestnik.example", "Волжский вестник", "ru", "div-soup", "koi8-r", http="koi8-r"),
)

# Pages that are not sent as their paper sends the others, by article.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "english-1/8": {"charset": "utf-16", "http": "utf-16", "meta": ""},
    "english-1/14": {"charset": "utf-8", "http": "ISO-8859-1", "meta": ""},  # a lie that shows in every quote
    "japanese/1": {"charset": "utf-8", "meta": "utf-8"},
    "japanese/3": {"charset": "euc_jp", "meta": "EUC-JP"},
    "russian/2": {"charset": "cp1251", "http": "windows-1251"},
    "russian/4": {"charset": "utf-8", "http": "utf-8"},
}
# Pages whose `lang` is wrong: templates are copied.
DECLARED = {"english-1/5": "de", "german/2": "en"}


def read_all() -> list[Article]:
    """Every article of the sample, once."""
    english = [
        article for path in sorted(PROSE.glob("english-*.txt")) for article in read_articles(path, language="en")
    ]
    families = [
        article
        for path in sorted(PROSE.glob("family-*.txt"))
        for article in compose(read_family(path), n_articles=FAMILY_STORIES)
    ]
    foreign = [
        article
        for name, language in LANGUAGES.items()
        for article in read_articles(PROSE / f"{name}.txt", language=language)
    ]
    return english + families + foreign


def plan_pages(articles: Sequence[Article]) -> list[Planned]:
    """Gives each article a paper, an address and links to others of its language; in the order of fetching."""
    turns = {paper.language: 0 for paper in PAPERS}
    placed = []
    for article in sorted(articles, key=lambda article: number("order", article.key)):
        papers = [paper for paper in PAPERS if paper.language == article.language]
        placed.append((papers[turns[article.language] % len(papers)], article))
        turns[article.language] += 1
    urls = {article.key: make_url(paper, article) for paper, article in placed}
    step = (END - BEGIN) / len(placed)
    planned = []
    for place, (paper, article) in enumerate(placed):
        moment = BEGIN + place * step
        published = stamp(moment - timedelta(minutes=number(article.key, "lag") % 900))
        paper = paper._replace(**EXCEPTIONS.get(article.key, {}))
        related = tuple((other.title, urls[other.key]) for other in _choose_related(article, articles))
        declared = DECLARED.get(article.key, article.language)
        page = Page(article, paper.name, urls[article.key], published, related, paper.meta, paper.layout, declared)
        planned.append(Planned(paper, page, moment))
    return planned


def _choose_related(article: Article, articles: Sequence[Article]) -> list[Article]:
    others = [other for other in articles if other.language == article.language and other.key != article.key]
    return sorted(others, key=lambda other: number(article.key, other.key))[:4]


def make_url(paper: Paper, article: Article) -> str:
    """An address in the manner of the paper."""
    ident = number(article.key, "ident") % 900_000 + 100_000
    words = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in article.title.lower())
    slug = "-".join(words.split()[:8]) or "story"
    paths = {
        "html5": f"/news/{slug}-{ident}",
        "wordpress": f"/2017/{ident % 12 + 1:02d}/{slug}/",
        "table": f"/cgi-bin/article.pl?id={ident}",
        "div-soup": f"/article/{ident}/{slug}.html",
        "amp": f"/story/{slug}-{ident}.amp",
        "cms": f"/node/{ident}",
        "bundled": f"/story/{slug}-{ident}",
    }
    return f"{paper.scheme}://{paper.host}{paths[paper.layout]}"


def stamp(moment: datetime) -> str:
    """A time as WARC writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def capture_page(planned: Planned, *, kind: str, damage: str = "") -> Capture:
    """The page as the crawler got it."""
    paper, page, moment = planned
    # What a charset lacks is written as a reference, as editors' software does it.
    body = render(page).encode(paper.charset, "xmlcharrefreplace")
    payload, encoding_headers = send(body, encoding=paper.encoding)
    headers = (
        ("Date", moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        ("Server", pick(("nginx", "Apache", "cloudflare", "Microsoft-IIS/8.5"), paper.host)),
        ("Content-Type", "text/html" + (f"; charset={paper.http}" if paper.http else "")),
        *encoding_headers,
        ("Vary", "Accept-Encoding"),
    )
    article = page.article
    return Capture(page.url, stamp(moment), "200 OK", headers, payload, kind, article.language, article.key, damage)
