"""Measures how long a run over 10,000 shards takes to begin and to resume; both are asked to be below 10 s.

    python tests/benchmarks/bench_trainer_start.py [--shards 10000]

One random shard of 250 blocks stands on the disk under 10,000 names (hard links), and the manifest lists them all, 2.5
million blocks. Timed are whole commands, from the shell to the exit, interpreter and torch included: one update of a
tiny model and its checkpoint, and then the same command for one update more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from random_shards import Shape, make_run

from bpe.manifest import dump_manifest, load_manifest

ROOT = Path(__file__).resolve().parents[2]
CEILING_S = 10.0
N_BLOCKS = 250
BLOCK_TOKENS = 1 << 17


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=10_000, help="names of the shard (default 10,000)")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, run = make_many(Path(folder) / "data", flags.shards), Path(folder) / "run"
        train(data, Path(folder) / "warm-up", 1)  # compiled modules and file names are cached as on any second day
        seconds = {name: train(data, run, updates) for name, updates in (("start", 1), ("resume", 2))}
        states = sorted((run / "checkpoints").glob("update-*/state.json"))
        place = json.loads(states[-1].read_text().partition(" ")[2])["progress"]["place"]
    n_bytes = len(json.dumps(place))
    if flags.json:
        print(json.dumps({"seconds": seconds, "state_bytes": n_bytes}))
    else:
        print(
            f"{flags.shards:,} shards: start {seconds['start']:.1f} s, resume {seconds['resume']:.1f} s (ceiling "
            f"{CEILING_S:.0f} s each); state of the data path {n_bytes} bytes"
        )
    return 0 if max(seconds.values()) < CEILING_S else 1


def make_many(folder: Path, n_shards: int) -> Path:
    """A run of one shard under many names."""
    make_run(folder, Shape(N_BLOCKS * BLOCK_TOKENS, 1, 0, 50_265, block_tokens=BLOCK_TOKENS))
    manifest = load_manifest(folder)
    (shard,) = manifest.shards
    named = []
    for number in range(n_shards):
        stem = f"shards/random-{number:05d}-of-{n_shards:05d}"
        entry = shard._replace(name=f"{stem}.tar", lineage=shard.lineage._replace(name=f"{stem}.parquet"))
        for new, old in ((entry.name, shard.name), (entry.lineage.name, shard.lineage.name)):
            os.link(folder / old, folder / new)
        named.append(entry)
    for name in (shard.name, shard.lineage.name):
        (folder / name).unlink()
    counts = manifest.counts._replace(
        documents=shard.n_documents * n_shards,
        sentences=shard.n_sentences * n_shards,
        tokens=shard.n_tokens * n_shards,
    )
    books = manifest.books._replace(read=counts.documents, kept=counts.documents)
    (folder / "manifest.json").write_bytes(
        dump_manifest(manifest._replace(shards=tuple(named), counts=counts, books=books))
    )
    return folder


def train(data: Path, run: Path, updates: int) -> float:
    """Seconds of a command that trains up to this update."""
    command = [sys.executable, "trainer/pretrain.py", "--recipe", "tiny", "--device", "cpu", "--evaluate-every", "0"]
    started = time.monotonic()
    subprocess.run(
        [*command, "--data", str(data), "--output", str(run), "--max-updates", str(updates)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, "OMP_NUM_THREADS": "1"},
    )
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
