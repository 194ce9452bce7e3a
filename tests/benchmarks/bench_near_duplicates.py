"""Recall, speed and memory of near-deduplication: ours against datatrove's MinHash, on the same documents.

Type: python tests/benchmarks/bench_near_duplicates.py [--documents 10000 100000] [--sentences 11]

Documents are real sentences with planted pairs of known similarity (planted_pairs.py); 11 sentences are about 1.2 kB,
the size that the floor is stated for, 28 are 3 kB. Ours is `RemoveNearDuplicates` over work files on the local runner,
one worker, at 0.5:0.99; the start of the runner is counted too. The peer is all four stages of datatrove's MinHash as
its authors set it (14 buckets of 8 hashes), reading and writing its own JSON lines, on at most 20,000 documents; the
extra `bench` installs what it needs, and --peer-python names another interpreter that has it.
A planted pair counts as found when at least one of the two is gone. Processor seconds are what counts; on a busy
machine they too are inflated.

Exit code 1 when recall at J .50-.55 is below .99 by more than chance, or above .7 below 1, or a pair with J <= .5 was
accepted, or the processor speed at 100,000 documents or more is below the floor.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 6_000  # documents per processor second
BINS = (0.5, 0.55, 0.7, 1.01)
PER_FILE = 2_000
PEER_DOCUMENTS = 20_000  # at most; minutes at some 100 documents a second


class Made(NamedTuple):
    """The documents of one comparison."""

    n_documents: int
    n_bytes: int  # of their texts
    truth: dict[str, list[list[int]]]  # the planted pairs, by name of the range that their similarity is in


def main() -> None:
    options = parse_options()
    if options.side:
        {"ours": run_ours, "peer": run_peer}[options.side](options.folder)
        return
    failed = False
    for n_documents in options.documents:
        with tempfile.TemporaryDirectory() as folder:
            failed |= compare(Path(folder), n_documents, options.sentences, options.peer_python)
    sys.exit(failed)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000], help="sizes (10000 100000)")
    parser.add_argument("--sentences", type=int, default=11, help="of a document on average, at least 4 (11)")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has datatrove (this one)")
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(folder: Path, n_documents: int, mean_sentences: int, peer_python: str) -> bool:
    """Both sides on so many documents; prints a line each, and says whether ours fell short."""
    made = write_documents(folder, n_documents, mean_sentences)
    print(
        f"{n_documents:,} documents of {made.n_bytes / n_documents / 1e3:.2f} kB; pairs by J: "
        + ", ".join(f"{name} {len(pairs)}" for name, pairs in sorted(made.truth.items()))
    )
    ours = run_side("ours", folder, sys.executable)
    assert ours is not None
    shortfall = report("ours", ours, made)
    accepted = [pair for pair in ours["pairs"] if pair[2] <= 0.5]
    print(f"{'':<10}accepted {len(ours['pairs'])} pairs, {len(accepted)} of them with J <= .5; report {ours['report']}")
    if n_documents > PEER_DOCUMENTS:
        print(f"datatrove left out above {PEER_DOCUMENTS:,} documents: it takes too long")
        return shortfall or bool(accepted)
    peer = run_side("peer", folder, peer_python)
    if peer is None:
        print(f"datatrove skipped: {peer_python} cannot import it; name one that can with --peer-python")
    else:
        report("datatrove", peer, made)
    return shortfall or bool(accepted)


def report(name: str, found: dict[str, Any], made: Made) -> bool:
    gone = set(found["gone"])
    recall = {
        label: sum(bool(gone & set(pair)) for pair in pairs) / len(pairs)
        for label, pairs in made.truth.items()
        if pairs
    }
    speed = made.n_documents / found["cpu_s"]
    print(
        f"{name:<10}{speed:>8,.0f} documents/cpu s, {made.n_bytes / found['cpu_s'] / 1e6:.1f} MB/cpu s,"
        f" {found['wall_s']:.1f} s by the clock,"
        f" {found['peak_kb'] / made.n_documents:.2f} kB/document above {found['base_kb'] / 1e3:.0f} MB,"
        f" {len(gone):,} dropped; recall " + ", ".join(f"{label} {recall[label]:.4f}" for label in sorted(recall))
    )
    few = 3 * (0.01 * 0.99 / max(len(made.truth.get(".50-.55", [])), 1)) ** 0.5  # what chance takes from so few pairs
    return (
        recall.get(".50-.55", 1) < 0.99 - few
        or recall.get(".70-1.0", 1) < 1
        or (made.n_documents >= 100_000 and speed < FLOOR)
    )


def write_documents(folder: Path, n_documents: int, mean_sentences: int) -> Made:
    """Work files for ours, JSON lines for the peer."""
    from planted_pairs import load_sentences, make_documents

    from corpora.documents import Document
    from corpora.near_duplicates import count_common
    from corpora.shingles import hash_ngrams, hash_words, shingle_sets
    from pipelines.work_files import write_work_file

    data = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
    if not data.is_dir():
        print(f"skipped: no real data at {data}; set SHARDMILL_DATA to its folder")
        sys.exit(0)
    for name in ("work", "lines", "state"):
        (folder / name).mkdir()
    made = list(make_documents(load_sentences(data), n_documents, seed=1, mean_sentences=mean_sentences))
    sets: list[Any] = []
    for start in range(0, n_documents, PER_FILE):
        chunk = made[start : start + PER_FILE]
        name = f"{start:09d}"
        rows = [
            Document(
                one.document_id, f"http://a.example/{k}", "", one.text, "", "en", name, k, one.fetched_at, (), "", "",
                "utf-8", "http", "x 1",
            )
            for k, one in enumerate(chunk, start)
        ]  # fmt: skip
        write_work_file(str(folder / "work" / f"{name}.parquet"), rows, n_read=len(rows), administrative=0)
        lines = [json.dumps({"id": str(k), "text": one.text}) for k, one in enumerate(chunk, start)]
        (folder / "lines" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        sets += shingle_sets(hash_ngrams(hash_words([one.text for one in chunk]), 5, short_texts=True))
    (folder / "ids.json").write_text(json.dumps([one.document_id.hex() for one in made]))
    truth: defaultdict[str, list[list[int]]] = defaultdict(list)
    for k, one in enumerate(made):
        if one.copy_of >= 0:
            common = count_common(sets[k], sets[one.copy_of])
            jaccard = common / (sets[k].size + sets[one.copy_of].size - common)
            for low, high in itertools.pairwise(BINS):
                if low < jaccard <= high:
                    truth[f"{low:.2f}-{min(high, 1):.2f}".replace("0.", ".").replace("1.00", "1.0")].append(
                        [k, one.copy_of]
                    )
    return Made(n_documents, sum(len(one.text.encode()) for one in made), dict(truth))


def run_side(side: str, folder: Path, python: str) -> dict[str, Any] | None:
    command = [python, str(Path(__file__).resolve()), "--side", side, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if side == "peer" and "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3_000:]}")
    result: dict[str, Any] = json.loads((folder / f"{side}.json").read_text())
    return result


# --- the two sides, each in a process of its own ---------------------------------------------------------------------


class Meter:
    """Processor seconds and memory of this process and its children, from now on."""

    def __init__(self) -> None:
        self.base_kb = self._peak_kb()
        self.cpu_s, self.wall_s = self._cpu_s(), time.monotonic()

    def stop(self) -> dict[str, float]:
        return {
            "cpu_s": self._cpu_s() - self.cpu_s,
            "wall_s": time.monotonic() - self.wall_s,
            "base_kb": self.base_kb,
            "peak_kb": self._peak_kb() - self.base_kb,
        }

    def _peak_kb(self) -> int:
        """Of this process since it was started; `getrusage` would give its parent's where that was larger."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def _cpu_s(self) -> float:
        used = os.times()
        return used.user + used.system + used.children_user + used.children_system


def read_candidates(element: Any) -> Any:
    """Candidates without exact keys: ours is measured without exact deduplication."""
    import pyarrow.parquet as pq

    part_name, (_, path, _) = element
    table = pq.read_table(path, columns=["document_id", "fetched_at"])
    for document_id, fetched_at in zip(*(column.to_pylist() for column in table.columns), strict=True):
        yield part_name, document_id, fetched_at, 1, 1, b"", b"", b""


def write_losers(losers: Any, path: str) -> None:
    Path(path).write_text(json.dumps([loser[0].hex() for _, loser in losers]))


def write_report(found: Any, path: str) -> None:
    Path(path).write_text(json.dumps(found))


def run_ours(folder: Path) -> None:
    sys.path.insert(0, str(ROOT))
    import apache_beam as beam
    import bench_near_duplicates as importable  # what is defined in __main__ cannot be unpickled on workers
    import pyarrow.parquet as pq
    from apache_beam.transforms import combiners

    from corpora.near_duplicates import parse_rules
    from pipelines.near_deduplication import RemoveNearDuplicates
    from pipelines.running import run_pipeline
    from pipelines.settings import Execution

    paths = sorted((folder / "work").glob("*.parquet"))
    files = [(f"part-{k // 8:04d}", (k, str(path), None)) for k, path in enumerate(paths)]
    rules = parse_rules("0.5:0.99", expected_documents=10**7)

    def build(pipeline: Any) -> None:
        source = pipeline | "Files" >> beam.Create(files)
        kept = source | "Candidates" >> beam.FlatMap(importable.read_candidates)
        found = {"files": source, "kept": kept} | RemoveNearDuplicates(rules, output=str(folder))
        together = found.losers | "Gather losers" >> combiners.ToList()
        _ = together | "Write losers" >> beam.Map(importable.write_losers, str(folder / "losers.json"))
        _ = found.report | "Write the report" >> beam.Map(importable.write_report, str(folder / "report.json"))

    meter = Meter()
    run_pipeline(build, Execution(output=str(folder)))
    used = meter.stop()
    number_of = {name: k for k, name in enumerate(json.loads((folder / "ids.json").read_text()))}
    pairs = []
    for path in (folder / "state").glob("edges-*.parquet"):
        for row in pq.read_table(path).to_pylist():
            ids = [number_of[row[name].hex()] for name in ("earlier_id", "later_id")]
            pairs.append([*ids, row["common"] / (row["sizes"] - row["common"])])
    said = json.loads((folder / "report.json").read_text())
    chosen = ("recall_estimate", "candidates", "documents_read_again", "canaries", "precision_check")
    gone = [number_of[one] for one in json.loads((folder / "losers.json").read_text())]
    found = {"gone": gone, "pairs": pairs, "report": {name: said[name] for name in chosen}, **used}
    (folder / "ours.json").write_text(json.dumps(found))


def run_peer(folder: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config, base = MinhashConfig(), str(folder / "peer")
    reader = JsonlReader(str(folder / "lines"))
    stages = [
        ([reader, MinhashDedupSignature(f"{base}/signatures", config=config)], 1),
        ([MinhashDedupBuckets(f"{base}/signatures", f"{base}/buckets", config=config)], config.num_buckets),
        ([MinhashDedupCluster(f"{base}/buckets", f"{base}/remove", config=config)], 1),
        ([reader, MinhashDedupFilter(f"{base}/remove"), JsonlWriter(f"{base}/kept", compression=None)], 1),
    ]
    meter = Meter()
    for number, (steps, tasks) in enumerate(stages):
        logs = f"{base}/logs/{number}"
        LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=1, logging_dir=logs).run()
    used = meter.stop()
    kept = {int(json.loads(line)["id"]) for path in Path(base, "kept").glob("*") for line in path.open()}
    n_documents = len(json.loads((folder / "ids.json").read_text()))
    (folder / "peer.json").write_text(json.dumps({"gone": sorted(set(range(n_documents)) - kept), **used}))


if __name__ == "__main__":
    main()
