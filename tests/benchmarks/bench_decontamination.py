"""Measures decontamination on one core: hashing alone, looking up, whole parts in each mode, and a plain loop.

    python tests/benchmarks/bench_decontamination.py

Documents are books of $SHARDMILL_DATA (default: ../shared/data beside the checkout) in pieces of about 3 kB; evaluation
texts are the real ones there, and as many made-up ones as bring the index to the size of all of GLUE, SQuAD and RACE.
CPU time, so that a busy machine says nearly the same; read the ratios all the same.
"""

import gzip
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from corpora.contamination_index import build_index, find_hits
from corpora.decontamination import DecontaminationRules
from corpora.documents import DOCUMENT_SCHEMA
from corpora.evaluation_sets import EvaluationSets, EvaluationText
from corpora.shingles import hash_ngrams, hash_words
from pipelines.decontaminate_stage import DecontaminationPlan, Decontaminator, plan_decontamination

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
PIECE_CHARS = 3_200
LEAKS = 0.01  # of the documents
MADE_UP_TEXTS = 100_000  # of 40 words: 2.8 million runs of 13
T = TypeVar("T")


def main() -> int:
    if not DATA.is_dir():
        print(f"no real data at {DATA}; set SHARDMILL_DATA to its folder")
        return 1
    plan = plan_decontamination(f"{DATA / 'eval'}:mark")
    assert plan is not None
    texts = read_texts()
    texts = plant(texts, [one.text for one in plan.sets.texts if len(one.text.split()) > 13])
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {megabytes:.1f} MB")
    plain = bench_plain_loop(texts, plan.sets)
    print(f"{'a set of tuples, in a loop':44} {megabytes / plain:6.1f} MB/s/core")
    hashing = measure(lambda: [hash_ngrams(hash_words(texts[k : k + 64]), 13) for k in range(0, len(texts), 64)])
    print(f"{'hashing words and 13-grams alone':44} {megabytes / hashing:6.1f} MB/s/core")
    for name, sets in (("real sets", plan.sets), ("real and made-up sets", enlarge(plan.sets))):
        bench_index(name, sets, texts, megabytes, plain)
    return 0


def bench_index(name: str, sets: EvaluationSets, texts: list[str], megabytes: float, plain: float) -> None:
    started = time.process_time()
    index = build_index(sets.texts)
    seconds = time.process_time() - started
    print(f"{name}: {len(sets.texts):,} texts, {index.whole.hashes.size:,} runs, built in {seconds:.1f} s")
    looking = measure(lambda: [find_hits(index, texts[k : k + 64]) for k in range(0, len(texts), 64)])
    print(f"{'  hashing and looking up':44} {megabytes / looking:6.1f} MB/s/core")
    documents = make_table(texts)
    for mode in ("mark", "cut", "drop"):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/index.npz"
            DecontaminationPlan(DecontaminationRules(mode=mode), sets).write_index(path)
            size = Path(path).stat().st_size / 1e6
            loaded = time.process_time()
            decontaminator = Decontaminator(path)
            loading = time.process_time() - loaded
        seconds = measure(lambda ready=decontaminator: ready.clean(documents))  # type: ignore[misc]
        print(f"{f'  whole parts, {mode}':44} {megabytes / seconds:6.1f} MB/s/core, {plain / seconds:.1f} x the loop"
              f" (index {size:.0f} MB, loaded in {loading:.1f} s)")  # fmt: skip


def bench_plain_loop(texts: list[str], sets: EvaluationSets) -> float:
    """What one writes first: lower case, words, a set of tuples. It neither cuts nor counts."""
    grams = {gram for one in sets.texts for gram in list_runs(one.text)}
    return measure(lambda: [any(gram in grams for gram in list_runs(text)) for text in texts])


def list_runs(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[place : place + 13]) for place in range(len(words) - 12)]


def measure(work: Callable[[], T]) -> float:
    """Seconds of CPU time: the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def read_texts() -> list[str]:
    texts = []
    for path in sorted((DATA / "books").rglob("*")):
        if path.name.endswith((".txt", ".txt.gz")):
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            book = data.decode("utf-8", "replace")
            texts += [book[place : place + PIECE_CHARS] for place in range(0, len(book), PIECE_CHARS)]
    return texts[:4_000]


def plant(texts: list[str], leaks: list[str]) -> list[str]:
    chosen = random.Random(3)
    return [f"{text}\n{chosen.choice(leaks)}\n{text}" if chosen.random() < LEAKS else text for text in texts]


def enlarge(sets: EvaluationSets) -> EvaluationSets:
    chosen = random.Random(5)
    words = sorted({word for one in sets.texts for word in one.text.lower().split()})
    made_up = {EvaluationText("QQP", "test", " ".join(chosen.choices(words, k=40))) for _ in range(MADE_UP_TEXTS)}
    return sets._replace(texts=tuple(sorted({*sets.texts, *made_up})))


def make_table(texts: list[str]) -> pa.Table:
    blank = {field.name: "" for field in DOCUMENT_SCHEMA if field.type in (pa.string(), pa.large_string())}
    rest: dict[str, object] = {"authors": [], "score": None, "gaps": 0, "contamination": [], "language": "en"}
    rows = [
        {**blank, **rest, "document_id": number.to_bytes(16, "big"), "offset": number, "text": text}
        for number, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, DOCUMENT_SCHEMA)


if __name__ == "__main__":
    sys.exit(main())
