"""What was measured on a small machine, and what it comes to for whole crawls: one table.

In: the numbers of `bench_scale.py`, and what is assumed about crawls and prices. Out: rows of Markdown. The rule: a
number of the table is measured, is assumed with its source, or follows from these two; nothing is rounded before it is
shown.
"""

from typing import NamedTuple

PRICE = 0.04  # USD per core-hour: a round assumption (November 2026) for an on-demand vCPU, no quotation
MARK_BEGIN, MARK_END = "<!-- made by tests/benchmarks/bench_scale.py: begin -->", "<!-- end -->"


class Measured(NamedTuple):
    """Measurements; seconds are processor seconds, user and system."""

    machine: str
    date: str
    pages: int
    extract_s: float
    input_bytes: int  # compressed
    work_bytes: int  # work files of these pages
    kept: int  # of the pages, by extraction
    extract_memory: int  # a worker and its extractor, resident
    shard_bytes: int
    shard_memory: int  # a process that writes one such shard, resident
    documents: int  # that the selection runs below differ by
    text_bytes: int  # of these documents, as of all numbers that follow
    select_s: float
    near_s: float  # with near-duplicates
    shuffled: int
    near_shuffled: int
    written: int  # documents, rejects, shards, lineage, state
    local_memory: int  # of the local runner


class Crawl(NamedTuple):
    """What is to be made."""

    name: str
    n_bytes: float  # compressed WARC
    pages: float


def crawls(measured: Measured) -> list[Crawl]:
    """A TB of our pages; CC-NEWS by its published documents; a crawl by what its makers announced."""
    page_bytes = measured.input_bytes / measured.pages
    # 63 million documents: Liu et al. 2019. Of how many records was not published: our share of pages kept says.
    news_pages = 63e6 * measured.pages / measured.kept
    return [
        Crawl("per TB of such pages", 1e12, 1e12 / page_bytes),
        Crawl("CC-NEWS 2016-09..2019-02", news_pages * page_bytes, news_pages),
        # commoncrawl.org, "February 2019 crawl archive now available": 2.9 billion pages, 59.86 TiB of WARC files.
        Crawl("Common Crawl, February 2019", 59.86 * 2**40, 2.9e9),
    ]


def rows(measured: Measured, *, price: float = PRICE) -> list[list[str]]:
    """The table, its head first; a cell is empty where a row says nothing of the column."""
    found = crawls(measured)
    here = [[name, value, *[""] * len(found)] for name, value in _measured(measured)]
    return [["", "measured here", *(one.name for one in found)], *here, *_projected(measured, found, price)]


def render(measured: Measured, *, price: float = PRICE) -> str:
    """The rows as Markdown."""
    head, *body = rows(measured, price=price)
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def _measured(one: Measured) -> list[tuple[str, str]]:
    per = one.documents
    return [
        ("pages read, extracted and judged, per core and second", f"{one.pages / one.extract_s:.0f}"),
        ("pages kept by extraction", f"{one.kept / one.pages:.0%}"),
        ("compressed bytes of a page", f"{one.input_bytes / one.pages / 1e3:.1f} kB"),
        ("text of a kept document", f"{one.text_bytes / per / 1e3:.1f} kB"),
        ("work files, per page read", f"{one.work_bytes / one.pages / 1e3:.2f} kB"),
        ("selection, encoding and shards, per kept document", f"{1e3 * one.select_s / per:.2f} ms"),
        ("the same with near-duplicates, 0.5:0.99", f"{1e3 * one.near_s / per:.2f} ms"),
        ("shuffled, per kept document", f"{one.shuffled / per / 1e3:.2f} kB"),
        ("the same with near-duplicates", f"{one.near_shuffled / per / 1e3:.2f} kB"),
        ("written in the end, per kept document", f"{one.written / per / 1e3:.2f} kB"),
        ("memory of a worker that extracts, with its extractor", f"{one.extract_memory / 1e6:,.0f} MB"),
        (f"memory of writing a shard of {one.shard_bytes / 2**20:.0f} MiB", f"{one.shard_memory / 1e6:,.0f} MB"),
        ("memory of a worker, both at once", f"{(one.extract_memory + one.shard_memory) / 1e6:,.0f} MB"),
        ("memory of the local runner in selection, per kept document", f"{one.local_memory / per / 1e3:.1f} kB"),
    ]


def _projected(one: Measured, found: list[Crawl], price: float) -> list[list[str]]:
    def documents(crawl: Crawl) -> float:
        return crawl.pages * one.kept / one.pages

    def extract_hours(crawl: Crawl) -> float:
        return crawl.pages * one.extract_s / one.pages / 3600

    def select_hours(crawl: Crawl) -> float:
        return documents(crawl) * one.near_s / one.documents / 3600

    def hours(crawl: Crawl) -> float:
        return extract_hours(crawl) + select_hours(crawl)

    def each(name: str, shown: list[str]) -> list[str]:
        return [name, "", *shown]

    return [
        each("WARC files, compressed", [f"{crawl.n_bytes / 1e12:.3g} TB" for crawl in found]),
        each("pages", [f"{crawl.pages / 1e6:,.0f} million" for crawl in found]),
        each("documents, before duplicates go", [f"{documents(crawl) / 1e6:,.0f} million" for crawl in found]),
        each("core-hours, extraction", [f"{extract_hours(crawl):,.0f}" for crawl in found]),
        each("core-hours, selection with near-duplicates", [f"{select_hours(crawl):,.0f}" for crawl in found]),
        each("work files", [f"{crawl.pages * one.work_bytes / one.pages / 1e12:.2g} TB" for crawl in found]),
        each(
            "shuffled, with near-duplicates",
            [f"{documents(crawl) * one.near_shuffled / one.documents / 1e12:.2g} TB" for crawl in found],
        ),
        each(
            "written in the end",
            [f"{documents(crawl) * one.written / one.documents / 1e12:.2g} TB" for crawl in found],
        ),
        each("days on 64 cores", [f"{hours(crawl) / 64 / 24:,.2g}" for crawl in found]),
        each(f"cost at {price:.2f} USD per core-hour", [f"{hours(crawl) * price:,.0f} USD" for crawl in found]),
        each(
            "per TB of WARC files",
            [f"{hours(crawl) * price / (crawl.n_bytes / 1e12):,.2f} USD" for crawl in found],
        ),
    ]
