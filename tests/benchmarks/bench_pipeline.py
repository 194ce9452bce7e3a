"""Pages per second and core, from the archive to cleaned documents: ours against datatrove 0.10, in one run.

Type: python tests/benchmarks/bench_pipeline.py [--records 3000] [--peer-settings fair|stock] [--archive FILE]

Both sides get the same file (the shared news archive, its gzip members repeated until there are enough records) and one
processor core for all of their processes. Ours is the extract stage as a run has it: `extract_split` over the splits of
the file, with the reader, the sandboxed extractor, the language and quality rules, and the Parquet work files.
The peer is WarcReader + Trafilatura + a language filter + JsonlWriter in a LocalPipelineExecutor of one task. Its own
LanguageFilter loads a model from a hub, so a BaseFilter with pycld2, our detector, stands in for it. It needs
the extra [bench], and libmagic.
`stock` keeps the peer's `deduplicate=True`, which drops paragraphs seen before in the same process: on a repeated file
that empties pages. `fair`, the default, switches it off.

Prints a table of pages per second of processor time and of the clock, resident memory, the ratio, and where our time
goes. Processor time is what the floor is held to: on a busy machine the clock says more about the neighbours.
Exit code 1 when the ratio is below the floor of 2.5, a worker of ours exceeds 1 GB, or ours keeps too few pages.
"""

import argparse
import contextlib
import functools
import inspect
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 2.5
MAX_WORKER_BYTES = 1_000_000_000
MIN_KEPT_SHARE = 0.9  # quality rules drop some; a broken pipeline would be fast and keep nothing
SAMPLE_S = 0.1
PROFILE_RECORDS = 300


class Side(NamedTuple):
    """What one side did with the archive."""

    name: str
    pages: int  # that carry content
    kept: int
    start_s: float  # until the first record could be read
    work_s: float
    cpu_s: float  # of all its processes, from then on
    peak_bytes: int  # resident, largest single process
    tree_bytes: int  # resident, all its processes together


def main() -> None:
    options = parse_options()
    if options.side:
        side = {"ours": run_ours, "datatrove": run_datatrove, "steps": run_steps}[options.side]
        side(options.archive, options.output, options.peer_settings)
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "repeated.warc.gz")
        copies = repeat_archive(find_archive(options.archive), archive, options.records)
        print(f"{archive.stat().st_size:,} bytes, {copies} copies of the shared archive; one core a side")
        ours = measure("ours", archive, Path(folder, "ours"), options.peer_settings)
        peer = measure("datatrove", archive, Path(folder, "peer"), options.peer_settings)
        verdict = report(ours, peer)
        print()
        sys.stdout.flush()
        subprocess.run(command("steps", find_archive(options.archive), Path(folder, "steps"), "fair"), check=True)
    sys.exit(verdict)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=3000, help="pages to read, at least (default 3000)")
    parser.add_argument("--archive", type=Path, default=None, help="a .warc.gz to repeat (default: the shared one)")
    parser.add_argument("--peer-settings", choices=("fair", "stock"), default="fair", help="see above (default fair)")
    parser.add_argument("--side", choices=("ours", "datatrove", "steps"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def find_archive(given: Path | None) -> Path:
    if given:
        return given
    data = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
    archives = sorted(data.glob("ccnews/*.warc.gz"))
    if not archives:
        print(f"skipped: no archive below {data}; set SHARDMILL_DATA or give --archive")
        sys.exit(0)
    return archives[0]


def repeat_archive(source: Path, target: Path, n_records: int) -> int:
    """Gzip members may be concatenated: the copies are one valid archive."""
    from corpora.warc import Administrative, read_pages

    with source.open("rb") as stream:
        pages = sum(not isinstance(one, Administrative) for one in read_pages(stream, source=source.name))
    copies = -(-n_records // pages)
    data = source.read_bytes()
    with target.open("wb") as stream:
        for _ in range(copies):
            stream.write(data)
    return copies


# --- measuring -------------------------------------------------------------------------------------------------------


def command(side: str, archive: Path, output: Path, peer_settings: str) -> list[str]:
    arguments = ["--side", side, "--archive", str(archive), "--output", str(output), "--peer-settings", peer_settings]
    return [sys.executable, str(Path(__file__).resolve()), *arguments]


def measure(side: str, archive: Path, output: Path, peer_settings: str) -> Side:
    """Runs a side on one core in its own process tree, which is watched from the outside."""
    output.mkdir()
    with subprocess.Popen(
        command(side, archive, output, peer_settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        peak, tree = watch(process)
        assert process.stdout is not None
        said = process.stdout.read().strip().splitlines()
    if process.returncode:
        sys.exit(f"{side} failed with exit code {process.returncode}; run it alone with --side {side} --output FOLDER")
    return Side(name=side, peak_bytes=peak, tree_bytes=tree, **json.loads(said[-1]))


def watch(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Largest resident size of one process of the tree, and of the tree, until it ends."""
    root = psutil.Process(process.pid)
    peak = tree = 0
    while process.poll() is None:
        sizes = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    sizes.append(one.memory_info().rss)
        peak, tree = max(peak, *sizes, 0), max(tree, sum(sizes))
        time.sleep(SAMPLE_S)
    return peak, tree


def processor_seconds() -> float:
    """Used so far by this process, the children at work and those that ended."""
    used = os.times()
    total = used.user + used.system + used.children_user + used.children_system
    for child in psutil.Process().children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return total


def finish(pages: int, kept: int, *, started: float, ready: float, cpu_before_s: float) -> None:
    """The last line of a side's output."""
    cpu_s = processor_seconds() - cpu_before_s
    now = time.monotonic()
    print(json.dumps({"pages": pages, "kept": kept, "start_s": ready - started, "work_s": now - ready, "cpu_s": cpu_s}))


def report(ours: Side, peer: Side) -> int:
    columns = ("pages", "kept", "pages/cpu s", "pages/s", "start s", "peak MB", "tree MB")
    print(f"{'':<10}" + "".join(f"{name:>12}" for name in columns))
    for side in (ours, peer):
        sizes = f"{side.peak_bytes / 1e6:>12.0f}{side.tree_bytes / 1e6:>12.0f}"
        speed = f"{side.pages / side.cpu_s:>12.1f}{side.pages / side.work_s:>12.1f}{side.start_s:>12.1f}"
        print(f"{side.name:<10}{side.pages:>12}{side.kept:>12}{speed}{sizes}")
    ratio = (ours.pages / ours.cpu_s) / (peer.pages / peer.cpu_s)
    elapsed = (ours.pages / ours.work_s) / (peer.pages / peer.work_s)
    print(f"ratio {ratio:.2f} by processor time (floor {FLOOR}), {elapsed:.2f} by the clock")
    print(f"largest process of ours {ours.peak_bytes / 1e6:.0f} MB (at most {MAX_WORKER_BYTES / 1e6:.0f})")
    if ours.kept < MIN_KEPT_SHARE * peer.kept:
        print(f"ours kept {ours.kept} pages, the peer {peer.kept}: too few for the speeds to be compared")
        return 1
    return int(ratio < FLOOR or ours.peak_bytes > MAX_WORKER_BYTES)


# --- the two sides, each in a process of its own ---------------------------------------------------------------------


def stay_on_one_core() -> float:
    """Of this process and all it starts; returns the time."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return time.monotonic()


def run_ours(archive: Path, output: Path, _peer_settings: str) -> None:
    started = stay_on_one_core()
    from corpora.ccnews import VARIANTS
    from pipelines.extract_stage import extract_split
    from pipelines.inputs import InputFile
    from pipelines.sandbox import Sandbox
    from pipelines.settings import InputKind
    from pipelines.splits import split_input

    splits = split_input(InputFile(archive.name, str(archive), archive.stat().st_size), limit_bytes=None)
    kind = InputKind(settings=VARIANTS["default"].processing)
    with Sandbox(kind.process, settings=kind.settings) as sandbox:
        ready, cpu_before_s = time.monotonic(), processor_seconds()
        books = [
            extract_split(split, str(output / split.work_name), kind=kind, sandbox=sandbox).books for split in splits
        ]
        pages, kept = sum(one.read for one in books), sum(one.kept for one in books)
        finish(pages, kept, started=started, ready=ready, cpu_before_s=cpu_before_s)


def run_datatrove(archive: Path, output: Path, peer_settings: str) -> None:
    started = stay_on_one_core()
    import pycld2
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.readers import WarcReader
    from datatrove.pipeline.writers import JsonlWriter

    class EnglishFilter(BaseFilter):  # type: ignore[misc]  # datatrove has no types
        name = "English by pycld2"

        def filter(self, doc: Document) -> bool | tuple[bool, str]:
            try:
                _reliable, _bytes, found = pycld2.detect(doc.text)
            except pycld2.error:
                return False, "undetectable"
            return bool(found[0][1] == "en")

    steps = [
        WarcReader(str(archive.parent), glob_pattern=archive.name),
        # A second, its default, is passed by slow pages on a busy machine; ours allows ten of processor time.
        Trafilatura(deduplicate=peer_settings == "stock", timeout=10),
        EnglishFilter(),
        JsonlWriter(str(output)),
    ]
    ready, cpu_before_s = time.monotonic(), processor_seconds()
    executor = LocalPipelineExecutor(pipeline=steps, tasks=1, workers=1, logging_dir=str(output / "logs"))
    statistics = executor.run()
    counts = {one.name: one.stats for one in statistics.stats}
    extracted = next(stats for name, stats in counts.items() if "Trafilatura" in name)
    kept = next(stats for name, stats in counts.items() if "English" in name)
    pages = int(extracted["total"].total)
    finish(pages, int(kept["forwarded"].total), started=started, ready=ready, cpu_before_s=cpu_before_s)


# --- where our time goes ---------------------------------------------------------------------------------------------


class Clock:
    """Seconds per step; a step is any callable that is wrapped."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] += time.process_time() - begun
                self.calls[name] += 1

        return timed


def run_steps(archive: Path, output: Path, _peer_settings: str) -> None:
    """One pass in one process over the first records: each function that `corpora.processing` calls is timed."""
    stay_on_one_core()
    from corpora import processing
    from corpora.ccnews import VARIANTS
    from corpora.documents import RawPage
    from corpora.warc import read_pages
    from pipelines.work_files import write_work_file

    settings, clock = VARIANTS["default"].processing, Clock()
    with archive.open("rb") as stream:
        records = clock.wrap("read records", lambda: list(read_pages(stream, source=archive.name)))()
    pages = [record for record in records if isinstance(record, RawPage)][:PROFILE_RECORDS]
    for page in pages[:20]:
        processing.process_page(page, settings)  # what is loaded or compiled on first use is not a page's cost
    for name, function in vars(processing).items():
        module = getattr(function, "__module__", None)
        if inspect.isfunction(function) and str(module).startswith("corpora.") and name != "process_page":
            setattr(processing, name, clock.wrap(f"{module}.{name}", function))
    whole = clock.wrap("process_page, all of it", processing.process_page)
    verdicts = [whole(page, settings) for page in pages]
    pickled = clock.wrap("pickle there and back", lambda values: [pickle.loads(pickle.dumps(one)) for one in values])
    pickled(pages), pickled(verdicts)
    write = clock.wrap("write Parquet", write_work_file)
    output.mkdir(exist_ok=True)
    write(str(output / "work.parquet"), verdicts, n_read=len(verdicts), administrative=0)
    print_steps(clock, len(pages))


def print_steps(clock: Clock, n_pages: int) -> None:
    print(f"where our time goes, {n_pages} pages in one process (a step's time includes the steps it calls)")
    print(f"{'step':<58} {'ms/page':>8} {'calls':>6}")
    for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        print(f"{name:<58} {seconds / n_pages * 1e3:>8.3f} {clock.calls[name]:>6}")


if __name__ == "__main__":
    main()
