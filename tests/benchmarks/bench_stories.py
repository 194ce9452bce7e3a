"""Measures scoring for Stories on one core, in MB of text a second, and against its slow twin.

    .venv/bin/python tests/benchmarks/bench_stories.py

Questions and texts are those of $SHARDMILL_DATA (default: ../shared/data beside the checkout): children's novels in
pieces of 36 KB, the mean of the published corpus, and news articles of a few KB.
CPU time, so that a busy machine says nearly the same; read the ratios all the same.
"""

import gzip
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stories_twin import slow_score

from corpora.commonsense import Question, parse_questions
from corpora.stories import make_pool, score, split_words

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
PIECE_CHARS = 36_000
FLOOR_MB_S = 5.0  # per core: what a crawl's text must not wait for


def main() -> int:
    if not DATA.is_dir():
        print(f"no real data at {DATA}; set SHARDMILL_DATA to its folder")
        return 1
    questions = read_questions()
    started = time.process_time()
    pool = make_pool(questions)
    print(f"pool of {len(questions)} questions, {sum(table.keys.size for table in pool.tables):,} n-grams:", end=" ")
    print(f"{1000 * (time.process_time() - started):.0f} ms")
    slowest = min(bench(name, texts, questions) for name, texts in (("novels", read_novels()), ("news", read_news())))
    return 0 if slowest >= FLOOR_MB_S else 1


def bench(name: str, texts: list[str], questions: list[Question]) -> float:
    pool = make_pool(questions)
    few = texts[:5]
    assert [score(text, pool) for text in few] == [slow_score(text, questions) for text in few]
    fast = measure(lambda text: score(text, pool), texts)
    words = measure(split_words, texts)
    slow = measure(lambda text: slow_score(text, questions), few, repeats=1)
    best = max(score(text, pool) for text in texts)
    print(
        f"{name}: {len(texts)} texts of {sum(map(len, texts)) // len(texts):,} characters: {fast:.1f} MB/s/core"
        f" (words alone {words:.1f}), twin {slow:.3f} MB/s, {fast / slow:.0f} times slower; best score {best:.4f}"
    )
    return fast


def measure(work: Callable[[str], object], texts: list[str], *, repeats: int = 3) -> float:
    """MB of UTF-8 a second, the best of some repeats."""
    n_bytes = sum(len(text.encode()) for text in texts)
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        for text in texts:
            work(text)
        best = min(best, time.process_time() - started)
    return n_bytes / best / 1e6


def read_questions() -> list[Question]:
    folder = DATA / "commonsense"
    return [
        question
        for name in ("wsc273.txt", "PDP.txt")
        for question in parse_questions((folder / name).read_bytes(), path=name)
    ]


def read_novels() -> list[str]:
    files = sorted((DATA / "books" / "gutenberg").glob("*.gz"))[:12]
    novels = [gzip.decompress(path.read_bytes()).decode("utf-8", "replace") for path in files]
    return [novel[k : k + PIECE_CHARS] for novel in novels for k in range(0, len(novel), PIECE_CHARS)]


def read_news() -> list[str]:
    gold = json.loads((DATA / "html" / "scrapinghub181" / "ground-truth.json").read_text())
    return [entry["articleBody"] for entry in gold.values()]


if __name__ == "__main__":
    sys.exit(main())
