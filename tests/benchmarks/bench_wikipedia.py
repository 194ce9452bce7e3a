"""Measures dumps of MediaWiki to documents, in articles per second and core; the floor is 40.

    python tests/benchmarks/bench_wikipedia.py [--data FOLDER] [--json]

Every article of the dumps in FOLDER (default: the real ones of the tests) is read, parsed and rendered, one core, the
processor's time. Rendering is timed against the peer, mwparserfromhell's `strip_code()` (MIT), in turns on the same
texts, so that a busy machine slows both: the ratio counts. `strip_code` leaves out every template and keeps lists,
tables' text and headings, so it does less. Articles differ in size: megabytes of wikitext per second stand beside.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mwparserfromhell

from corpora.documents import RawPage
from corpora.mediawiki_dump import read_articles
from corpora.page_xml import read_text
from corpora.wikipedia import WikipediaSettings, process_article
from corpora.wikitext import render_wikitext

FLOOR = 40.0
ROUNDS = 2
DATA = Path(os.environ.get("SHARDMILL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "wikipedia"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of dumps (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    flags = parser.parse_args()
    dumps = sorted(path for path in flags.data.iterdir() if ".xml" in path.name)
    if not dumps:
        print(f"no dumps in {flags.data}", file=sys.stderr)
        return 2
    result = measure(dumps)
    print(json.dumps(result) if flags.json else "  ".join(f"{name} {value:,.1f}" for name, value in result.items()))
    print(f"dump to documents: {result['articles/s']:.0f} articles/s/core, floor {FLOOR:.0f}")
    return 0 if result["articles/s"] >= FLOOR else 1


def measure(dumps: list[Path]) -> dict[str, float]:
    """Articles per second of all and of each part, the best of some rounds, and the ratio to the peer."""
    pages = read_pages(dumps)
    texts = [(text.title, text.text) for text in (read_text(page.body) for page in pages)]
    settings = WikipediaSettings()
    seconds: dict[str, list[float]] = {"read": [], "process": [], "render": [], "peer": []}
    for _ in range(ROUNDS):
        seconds["read"].append(_time(lambda: read_pages(dumps)))
        seconds["process"].append(_time(lambda: [process_article(page, settings) for page in pages]))
        seconds["render"].append(_time(lambda: [render_wikitext(text, title=title) for title, text in texts]))
        seconds["peer"].append(_time(lambda: [mwparserfromhell.parse(text).strip_code() for _, text in texts]))
    best = {part: min(times) for part, times in seconds.items()}
    n, mb = len(pages), sum(len(text.encode()) for _, text in texts) / 1e6
    ratios = sorted(peer / ours for peer, ours in zip(seconds["peer"], seconds["render"], strict=True))
    return {
        "articles/s": n / (best["read"] + best["process"]),
        "read": n / best["read"],
        "process": n / best["process"],
        "render": n / best["render"],
        "render MB/s": mb / best["render"],
        "peer": n / best["peer"],
        "times the peer": ratios[len(ratios) // 2],
    }


def read_pages(dumps: list[Path]) -> list[RawPage]:
    pages = []
    for path in dumps:
        with path.open("rb") as stream:
            pages += [item for item in read_articles(stream, source=path.name) if isinstance(item, RawPage)]
    return pages


def _time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
