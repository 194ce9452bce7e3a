"""Submissions a second and core, through the URL stage's inner loop and through Beam, beside a loop of json.loads.

    .venv/bin/python tests/benchmarks/bench_urls.py [--n 200000] [--packing zst]

Real submissions of others ($SHARDMILL_DATA) are repeated to --n, each copy with URLs of its own, in the two mixtures
that the files offer: a month of 2005 (1.4 kB a line, 7 of 10 links kept, the worst case: today 1 of 20 is) and lines
of 2005 to 2024 in the old and the new form (3 kB a line, 1 of 8 kept). Times are processor times of this process, so
decompression counts where --packing is not plain. Exit 1 where a mixture is below the floor of 100,000 submissions a
second in the inner loop on plain lines, or below twice the speed of json.loads with the tests that a submission needs.
"""

import argparse
import gzip
import io
import json
import lzma
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zstandard

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from corpora.openwebtext import VARIANTS  # noqa: E402 # the checkout's own, however this is started
from pipelines.inputs import InputFile  # noqa: E402
from pipelines.settings import Execution  # noqa: E402
from pipelines.url_files import LinkWriter  # noqa: E402
from pipelines.url_stage import UrlSettings, collect_links, run_url_stage  # noqa: E402

FLOORED = "2005-2024"  # the mixture that the floors are for
FLOOR = 100_000  # submissions a second and core
RATIO_FLOOR = 2.0
TRIES = 5
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "zst": zstandard.ZstdCompressor(level=3).compress,
    "gz": lambda data: gzip.compress(data, 6, mtime=0),
    "xz": lambda data: lzma.compress(data, preset=1),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000, help="submissions of each mixture (default 200000)")
    parser.add_argument("--packing", choices=sorted(PACKINGS), default="plain", help="of the input (default plain)")
    parser.add_argument("--no-beam", action="store_true", help="the inner loop only")
    flags = parser.parse_args()
    is_good = True
    print(
        f"{'mixture':<12}{'packing':<9}{'submissions':>12}{'kept':>7}{'loop/s':>10}{'json/s':>9}{'ratio':>7}{'Beam/s':>9}"
    )
    for name, lines in load_mixtures().items():
        data = repeat(lines, flags.n)
        n = data.count(b"\n")
        loop_s, kept = measure_loop(PACKINGS[flags.packing](data))
        json_s = measure_json(data)
        beam_s = 0.0 if flags.no_beam else measure_beam(PACKINGS[flags.packing](data), flags.packing)
        beam = f"{n / beam_s:>9.0f}" if beam_s else f"{'-':>9}"
        ratio = json_s / loop_s
        speeds = f"{n / loop_s:>10.0f}{n / json_s:>9.0f}{ratio:>7.1f}"
        print(f"{name:<12}{flags.packing:<9}{n:>12}{kept / n:>7.2f}{speeds}{beam}")
        if flags.packing == "plain" and name == FLOORED:
            is_good = n / loop_s >= FLOOR and ratio >= RATIO_FLOOR
    return 0 if is_good else 1


def load_mixtures() -> dict[str, list[bytes]]:
    data = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data")) / "reddit"
    if not data.is_dir():
        print(f"skipped: no submissions below {data}; set SHARDMILL_DATA")
        sys.exit(0)
    month = lzma.decompress((data / "pushshift-RS" / "RS_v2_2005-07.xz").read_bytes())
    mixed = (data / "pushshift-importer" / "test_submissions.json").read_bytes()
    return {"2005": month.splitlines(), "2005-2024": mixed.splitlines()}


def repeat(lines: list[bytes], n: int) -> bytes:
    """`n` lines whose URLs all differ, as those of a month mostly do: caches must not help."""
    pattern, made = re.compile(rb'("url": ?"https?:(?:\\?/){2}[^"\\/]+)'), []
    for number in range(n):
        made.append(pattern.sub(rb"\g<1>/%d" % number, lines[number % len(lines)]))
    return b"\n".join(made) + b"\n"


def measure_loop(data: bytes) -> tuple[float, int]:
    """Seconds of the stage's inner loop, rows written to Parquet included, at its best; and the links kept."""
    settings, best, kept = UrlSettings(VARIANTS["default"].urls, 1), float("inf"), 0
    for _ in range(TRIES):
        begun = time.process_time()
        with LinkWriter(io.BytesIO()) as writer:
            collect_links(io.BytesIO(data), "RS", writer, settings)
            kept = writer.finish().kept
        best = min(best, time.process_time() - begun)
    return best, kept


def measure_json(data: bytes) -> float:
    """Seconds of the plain way: json.loads, and the least that has to be asked of a submission."""
    best = float("inf")
    for _ in range(TRIES):
        begun, kept = time.process_time(), 0
        for line in io.BytesIO(data):
            row = json.loads(line)
            kept += bool(row["url"]) and not row["is_self"] and row["score"] >= 3 and not row["over_18"]
        best = min(best, time.process_time() - begun)
    return best


def measure_beam(data: bytes, packing: str) -> float:
    """Seconds of the whole stage in a run of one worker, Beam's start included: files in, sorted URLs out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"RS.ndjson{'' if packing == 'plain' else '.' + packing}"
        path.write_bytes(data)
        begun, stdout = time.process_time(), sys.stdout
        sys.stdout = io.StringIO()
        try:
            execution = Execution(output=str(Path(folder) / "out"), progress=False)
            run_url_stage(VARIANTS["default"].urls, execution, [InputFile(path.name, str(path), len(data))])
        finally:
            sys.stdout = stdout
        return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
