"""How long a new WARC takes to become shards that readers see, while a follower runs.

    python tests/benchmarks/bench_follow.py [--files 4] [--every 5s]

The shared news archive is cut into files of whole records, which are moved one after the other into the folder that a
follower watches. Measured for each: the seconds from the move to the published generation. Beside it, in the same
session: an ordinary run over the same file, made against the windows before it. A look comes every `--every`, so the
bound for each file is one interval plus 1.3 times its ordinary run; exit code 1 when a file is later. In the end one
run over all files must keep as many documents as the windows do.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from corpora.documents import RawPage
from corpora.warc import read_pages
from pipelines.follow_flags import parse_duration

ROOT = Path(__file__).resolve().parents[2]
OVERHEAD = 1.3
FLAGS = ("--near-duplicates", "0.5:0.99", "--workers", "1", "--no-progress")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=4, help="files that the archive is cut into (default 4)")
    parser.add_argument("--every", default="5s", help="time between two looks (default 5s)")
    options = parser.parse_args()
    data = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
    archives = sorted(data.glob("ccnews/*.warc.gz"))
    if not archives:
        print(f"skipped: no archive below {data}; set SHARDMILL_DATA")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return measure(archives[0], Path(folder), options.files, options.every)


def measure(archive: Path, folder: Path, n_files: int, every: str) -> int:
    files, watched, output = cut(archive, folder / "cut", n_files), folder / "watched", folder / "growing"
    watched.mkdir()
    late, earlier = False, list[str]()
    with following(watched, output, every):
        for number, file in enumerate(files, start=1):
            began = time.monotonic()
            file.rename(watched / file.name)
            while not (output / f"generations/{number:08d}.json").exists():
                time.sleep(0.02)
            seconds = time.monotonic() - began
            plain = run(watched / file.name, folder / f"plain-{number}", earlier)
            bound = parse_duration(every) + OVERHEAD * plain
            late |= seconds > bound
            print(
                f"{file.name}: readable after {seconds:.1f} s; an ordinary run over it takes {plain:.1f} s,"
                f" so the bound is {bound:.1f} s"
            )
            earlier.append(str(output / f"windows/{number:08d}"))
    together = run(watched, folder / "together", [])
    kept = sum(window["kept"] for window in json.loads((output / "manifest.json").read_text())["windows"])
    expected = json.loads((folder / "together/manifest.json").read_text())["books"]["kept"]
    print(f"kept: {kept} by {n_files} windows, {expected} by one run over all files, which takes {together:.1f} s")
    return 1 if late or kept != expected else 0


@contextmanager
def following(watched: Path, output: Path, every: str) -> Iterator[None]:
    words = command(watched, output, ["--follow", "--every", every, "--settle", "1s"])
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "waiting for new files" in line:
                break
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def run(source: Path, output: Path, against: list[str]) -> float:
    """Seconds of an ordinary run."""
    flags = ["--against", *against] if against else []
    began = time.monotonic()
    subprocess.run(command(source, output, flags), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def command(source: Path, output: Path, flags: list[str]) -> list[str]:
    words = [sys.executable, "-m", "pipelines", "run", "ccnews", "--input", str(source), "--output", str(output)]
    return [*words, *FLAGS, *flags]


def cut(archive: Path, folder: Path, n_files: int) -> list[Path]:
    """Files of whole gzip members, with about as many pages each."""
    folder.mkdir()
    data = archive.read_bytes()
    with archive.open("rb") as stream:
        pages = [page.offset for page in read_pages(stream, source="") if isinstance(page, RawPage)]
    step = -(-len(pages) // n_files)
    borders = [0, *pages[step::step], len(data)]
    files = []
    for number, (start, end) in enumerate(pairwise(borders)):
        files.append(folder / f"CC-NEWS-CUT-{number:05d}.warc.gz")
        files[-1].write_bytes(data[start:end])
    old = time.time() - 3_600  # complete files that are moved in, so that nothing has to settle
    for file in files:
        os.utime(file, (old, old))
    return files


if __name__ == "__main__":
    sys.exit(main())
