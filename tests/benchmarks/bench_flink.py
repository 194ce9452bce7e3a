"""Flink on this machine: one TaskManager against two, Flink against the local runner, and more documents than memory.

Type: python tests/benchmarks/bench_flink.py [--records 3000] [--repeat 2] [--gigabytes 0.5] [--only speed|memory]

Speed: the shared news archive, repeated until there are enough records, in files of about equal size, through
`beam run pipelines/ccnews.py` on the local runner with two workers, on a cluster with one TaskManager of one slot, and
on one with two. Seconds are by the clock, of the whole command and of Flink's job alone; each is measured `--repeat`
times in turn. All must write the same manifest.
Memory: so many gigabytes of synthetic texts (sentences of the shared books at random, a tenth of the texts an altered
copy of another) through `beam run pipelines/books_wiki.py`, which removes near-duplicates and writes shards, on two
TaskManagers. Memory is the proportional set size of all processes together: cluster, pool, workers, their children and
the command. $SHARDMILL_BENCH_FLINK_GB is the default of --gigabytes.

Needs Java, the shared data, and Beam's job server in $SHARDMILL_FLINK_JOB_SERVER_JAR, whose name says Flink's version
(…-flink-1.20-…); without them it says so and is skipped.
Exit code 1 when two TaskManagers are less than 1.7 times as fast as one, Flink takes more than 1.3 times as long as the
local runner, manifests differ, or memory exceeds 4 GB. On a busy machine the first two say little.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
JAR_VARIABLE = "SHARDMILL_FLINK_JOB_SERVER_JAR"
RELEASES = {"1.20": "1.20.1", "2.2": "2.2.0"}
FASTER_WITH_TWO = 1.7
OVERHEAD = 1.3
MAX_BYTES = 4e9
SAMPLE_S = 2.0
TEXT_SENTENCES = 400  # of a synthetic text, about 45 kB
FOLDER_TEXTS = 1_000


class Timing(NamedTuple):
    """One run."""

    seconds: float  # of the command
    job_seconds: float  # of Flink's job; of the command, on the local runner
    peak_bytes: int
    sha256: str  # of the manifest


class Cluster(NamedTuple):
    port: int
    pool_port: int
    flink: str
    home: Path

    def flags(self, workers: int) -> list[str]:
        words = ["--runner", "flink", "--flink-master", f"localhost:{self.port}", "--workers", str(workers)]
        return [*words, "--worker-pool", f"localhost:{self.pool_port}", f"--flink_version={self.flink}"]

    def pids(self) -> list[int]:
        return [one["pid"] for one in json.loads((self.home / "run/state.json").read_text())]

    def last_job_seconds(self) -> float:
        with urllib.request.urlopen(f"http://localhost:{self.port}/jobs/overview", timeout=60) as answer:
            jobs = json.load(answer)["jobs"]
        return float(max(jobs, key=lambda one: one["start-time"])["duration"]) / 1e3


def main() -> None:
    options = parse_options()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "memory":
            failed |= compare_speed(Path(folder), options)
        if options.only != "speed":
            failed |= measure_memory(Path(folder), options)
    sys.exit(failed)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=3000, help="pages to read, at least (3000)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each kind (2)")
    parser.add_argument("--gigabytes", type=float, default=float(os.environ.get("SHARDMILL_BENCH_FLINK_GB", "0.5")),
                        help="of synthetic texts, 1e9 bytes each (0.5)")  # fmt: skip
    parser.add_argument("--only", choices=("speed", "memory"), help="one half of it (both)")
    options = parser.parse_args()
    jar = os.environ.get(JAR_VARIABLE, "")
    version = re.search(r"flink-(\d+\.\d+)-", Path(jar).name)
    options.data = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
    for is_there, what in (
        (bool(jar) and Path(jar).is_file(), f"no job server; set {JAR_VARIABLE} to its jar"),
        (version and version[1] in RELEASES, f"the name of {jar} says none of Flink {', '.join(RELEASES)}"),
        (shutil.which("java"), "no java on PATH"),
        (options.data.is_dir(), f"no real data at {options.data}; set SHARDMILL_DATA to its folder"),
    ):
        if not is_there:
            print(f"skipped: {what}")
            sys.exit(0)
    options.flink = version[1] if version else ""
    return options


@contextlib.contextmanager
def cluster(folder: Path, flink: str, *, task_managers: int) -> Iterator[Cluster]:
    """A cluster of its own; Flink's packages are installed once for all of them."""
    home, ports = folder / "flink", (free_port(), free_port())
    words = [sys.executable, str(ROOT / "deploy/flink/local-cluster")]
    flags = ["--home", str(home), "--port", str(ports[0]), "--pool-port", str(ports[1])]
    flags += ["--flink-version", RELEASES[flink], "--task-managers", str(task_managers)]
    subprocess.run([*words, "start", *flags], check=True, stdout=subprocess.DEVNULL)
    try:
        yield Cluster(*ports, flink, home)
    finally:
        subprocess.run([*words, "stop", *flags], check=True, stdout=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(words: list[str], output: Path, on: Cluster | None, *, workers: int) -> Timing:
    """One run of `beam run`, into a folder that is not there yet; ends us where it fails."""
    flags = on.flags(workers) if on else ["--workers", str(workers)]
    command = [str(BIN / "beam"), "run", *words, "--output", str(output), "--no-progress", *flags]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    start = time.monotonic()
    job = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watch = Watch([job.pid, *(on.pids() if on else [])])
    said, _ = job.communicate()
    seconds, peak = time.monotonic() - start, watch.stop()
    if job.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{said[-3_000:]}")
    sha256 = hashlib.sha256((output / "manifest.json").read_bytes()).hexdigest()
    return Timing(seconds, on.last_job_seconds() if on else seconds, peak, sha256)


class Watch:
    """The largest proportional set size that processes and all their children have had together."""

    def __init__(self, pids: list[int]) -> None:
        self.pids, self.peak, self.ended = pids, 0, threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self) -> None:
        while not self.ended.wait(SAMPLE_S):
            self.peak = max(self.peak, sum(map(tree_bytes, self.pids)))

    def stop(self) -> int:
        self.ended.set()
        self.thread.join()
        return self.peak


def tree_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error, OSError):
                total += one.memory_full_info().pss
    return total


# --- speed -----------------------------------------------------------------------------------------------------------


def compare_speed(folder: Path, options: argparse.Namespace) -> bool:
    """Local, one TaskManager, two; prints each run and the ratios of the best, and says whether one falls short."""
    inputs = folder / "news"
    n_files = repeat_archive(options.data, inputs, options.records)
    words = ["pipelines/ccnews.py", "--input", str(inputs / "*.warc.gz")]
    print(f"{n_files} copies of the shared archive, {sum(one.stat().st_size for one in inputs.iterdir()) / 1e6:.0f} MB")
    runs: dict[str, list[Timing]] = {"local, 2 workers": [], "1 TaskManager": [], "2 TaskManagers": []}
    for number in range(options.repeat):
        for name, found in runs.items():
            output = folder / f"{name[:3].strip()}-{number}"
            if name.startswith("local"):
                found.append(run(words, output, None, workers=2))
            else:
                workers = int(name[0])
                with cluster(folder, options.flink, task_managers=workers) as on:
                    found.append(run(words, output, on, workers=workers))
            shutil.rmtree(output)
            show(name, found[-1])
    local, one, two = runs.values()
    twice = best(one, "job_seconds") / best(two, "job_seconds")
    overhead = best(two, "seconds") / best(local, "seconds")
    same = len({timing.sha256 for found in runs.values() for timing in found}) == 1
    print(
        f"two TaskManagers against one: {twice:.2f} times as fast (at least {FASTER_WITH_TWO})\n"
        f"Flink against the local runner: {overhead:.2f} times as long (at most {OVERHEAD})\n"
        f"manifests are {'the same' if same else 'DIFFERENT'}"
    )
    return twice < FASTER_WITH_TWO or overhead > OVERHEAD or not same


def best(found: list[Timing], field: str) -> float:
    return min(float(getattr(one, field)) for one in found)


def show(name: str, timing: Timing) -> None:
    print(
        f"{name:<20}{timing.seconds:7.1f} s, the job {timing.job_seconds:7.1f} s,"
        f" peak {timing.peak_bytes / 1e9:.2f} GB, manifest {timing.sha256[:12]}",
        flush=True,
    )


def repeat_archive(data: Path, folder: Path, n_records: int) -> int:
    """Copies of the shared archive, a file each: what a crawl's month is, in small."""
    from corpora.warc import Administrative, read_pages

    source = sorted(data.glob("ccnews/*.warc.gz"))[0]
    with source.open("rb") as stream:
        pages = sum(not isinstance(one, Administrative) for one in read_pages(stream, source=source.name))
    copies = -(-n_records // pages)
    folder.mkdir()
    for number in range(copies):
        shutil.copy(source, folder / f"CC-NEWS-{number:05d}.warc.gz")
    return copies


# --- memory ----------------------------------------------------------------------------------------------------------


def measure_memory(folder: Path, options: argparse.Namespace) -> bool:
    texts = folder / "books"
    n_texts, n_bytes = write_texts(options.data, texts, options.gigabytes * 1e9)
    print(f"{n_texts:,} synthetic texts, {n_bytes / 1e9:.2f} GB")
    words = ["pipelines/books_wiki.py", "--books", str(texts), "--vocabulary", str(vocabulary(folder))]
    with cluster(folder, options.flink, task_managers=2) as on:
        timing = run(words, folder / "large", on, workers=2)
    show("2 TaskManagers", timing)
    books: dict[str, Any] = json.loads((folder / "large/manifest.json").read_text())["books"]
    lost = {**books["rejected"], **books["broken"]}
    balanced = books["read"] == books["kept"] + sum(lost.values())
    print(f"read {books['read']:,}, kept {books['kept']:,}, lost {lost}; {n_bytes / timing.seconds / 1e6:.2f} MB/s")
    print(f"peak of all processes {timing.peak_bytes / 1e9:.2f} GB (at most {MAX_BYTES / 1e9:.0f})")
    return timing.peak_bytes > MAX_BYTES or not balanced


def write_texts(data: Path, folder: Path, n_bytes: float) -> tuple[int, int]:
    """Files of one text each until there are so many bytes; gives their number and their bytes."""
    from planted_pairs import load_sentences, make_documents

    written = number = 0
    for one in make_documents(load_sentences(data), 10**9, seed=1, mean_sentences=TEXT_SENTENCES):
        if written >= n_bytes:
            break
        path = folder / f"{number // FOLDER_TEXTS:05d}" / f"text-{number:08d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text)
        number, written = number + 1, written + path.stat().st_size
    return number, written


def vocabulary(folder: Path) -> Path:
    """A small one, of the bundled sample."""
    news, path = folder / "sample", folder / "vocab.json"
    sample = str(ROOT / "tests/data/sample/*.warc.gz")
    for words in (
        ["beam", "run", "pipelines/ccnews.py", "--input", sample, "--output", str(news), "--no-progress"],
        ["prep-shards", "vocabulary", "train", "--input", str(news), "--size", "4096", "--output", str(path)],
    ):
        subprocess.run([str(BIN / words[0]), *words[1:]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return path


if __name__ == "__main__":
    main()
