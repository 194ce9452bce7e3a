"""Makes the tiny corpora: `python tests/data/make_tiny_corpora.py [--output tests/data/tiny]`.

A little of each input that the pipelines beside news take: a Wikipedia dump, a library of books, submissions to Reddit,
questions of commonsense reasoning and pages as text. Prose is that of the bundled sample (`sample_prose`) and of
`tiny_tales`. The rule: the same sources give the same bytes; nothing is drawn at random, no clock is read.
"""

import argparse
import csv
import zlib
from pathlib import Path
from typing import NamedTuple

from sample_articles import Article, compose, number, read_articles, read_family
from sample_papers import FAMILY_STORIES, LANGUAGES, PROSE
from tiny_books import make_library
from tiny_submissions import make_submissions
from tiny_tales import tell_tales, write_questions
from tiny_wiki import make_dump

OUTPUT = Path(__file__).parent / "tiny"
SAMPLE = Path(__file__).parent / "sample"
N_TALES = 12
N_STORIES = 6  # of each family, those after the sample's
N_FOREIGN = 1  # of each language
N_WIKI = 14


class TextPage(NamedTuple):
    """A page of which only the text was kept."""

    url: str
    date: str
    text: str


def make_tiny_corpora() -> dict[str, bytes]:
    """The files by name."""
    english = [
        article
        for name in ("english-1", "english-2")
        for article in read_articles(PROSE / f"{name}.txt", language="en")
    ]
    n_books = len(english) - N_WIKI
    library = {f"books/{name}": content for name, content in make_library(english[:n_books]).items()}
    return {
        **library,
        "dump.xml.bz2": make_dump(english[n_books:]),
        "pages.warc.wet.gz": b"".join(pack(record) for record in text_records(list_pages())),
        "questions.txt": write_questions().encode(),
        "submissions.ndjson.gz": pack(make_submissions(read_urls()).encode()),
    }


def read_urls() -> list[str]:
    """Addresses of the sample's English articles, of which its WARC files hold the pages."""
    with (SAMPLE / "expected.tsv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["url"] for row in rows if row["kind"] == "article"]


def list_pages() -> list[TextPage]:
    """Tales that share passages with the questions, news that do not, other languages, and pages with hardly a word."""
    stories = [
        article
        for path in sorted(PROSE.glob("family-*.txt"))
        for article in compose(read_family(path), n_articles=FAMILY_STORIES + N_STORIES)[FAMILY_STORIES:]
    ]
    foreign = [
        article
        for name, language in LANGUAGES.items()
        for article in read_articles(PROSE / f"{name}.txt", language=language)[:N_FOREIGN]
    ]
    texts = [("tales.example", tale.title, "\n".join(tale.paragraphs)) for tale in tell_tales(N_TALES)]
    texts += [
        (f"{article.language}.news.example", article.title, page_text(article)) for article in [*stories, *foreign]
    ]
    texts += [("thin.example", f"Video {n}", "Watch video\nShare\nLog in") for n in range(4)]
    pages = []
    for ordinal, (host, title, text) in enumerate(texts):
        minutes = number("fetched", ordinal) % 1_440
        date = f"2018-11-{1 + ordinal % 28:02d}T{minutes // 60:02d}:{minutes % 60:02d}:09Z"
        pages.append(TextPage(f"https://www.{host}/{ordinal}", date, f"{title}\n{text}\n"))
    return sorted(pages, key=lambda page: page.date)


def page_text(article: Article) -> str:
    return "\n".join(article.paragraphs)


def text_records(pages: list[TextPage]) -> list[bytes]:
    """A record of each page in the layout of Common Crawl's WET files, after one that describes the file."""
    info = b"Software-Info: made by hand\r\nFormat: WARC File Format 1.0\r\n"
    records = [record("warcinfo", "", pages[0].date, "application/warc-fields", info)]
    return records + [record("conversion", page.url, page.date, "text/plain", page.text.encode()) for page in pages]


def record(kind: str, url: str, date: str, mime: str, content: bytes) -> bytes:
    identity = f"{number(kind, url, 1):08x}-0000-4000-8000-{number(kind, url, 2):08x}0000"
    head = [f"WARC/1.0\r\nWARC-Type: {kind}", f"WARC-Date: {date}", f"WARC-Record-ID: <urn:uuid:{identity}>"]
    if url:
        head.append(f"WARC-Target-URI: {url}")
    head += [f"Content-Type: {mime}", f"Content-Length: {len(content)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content + b"\r\n\r\n"


def pack(content: bytes) -> bytes:
    # Not gzip.compress: what it writes into the header differs from one Python to the next.
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(content) + packer.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to (default: the bundled one)")
    output = parser.parse_args().output
    for name, content in make_tiny_corpora().items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{path}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
