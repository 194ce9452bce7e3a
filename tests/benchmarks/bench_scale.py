"""How big does it get: what a page and a document cost here, and what whole crawls come to.

Type: python tests/benchmarks/bench_scale.py [--records 3000] [--copies 24] [--page deploy/how-big-does-it-get.md]

Extraction is `bench_pipeline.py`'s side of ours: one core, the shared news archive repeated. Selection is `beam run`
itself on the local runner, over work files that are there already: the archive's documents, again and again with their
words in another order, so that lengths are real and nothing is a duplicate. It is run twice, and what is told of a
document is the difference of both, so that what a run costs at all is not counted. Bytes shuffled are those that Beam's
local runner puts into its groups, encoded. Seconds are of the processor, user and system: other work on the machine
does not count. With --page the table is put into that file, and what was measured beside it.
Exit code 1 when a worker takes more than 2.4 GB, which the manifests of deploy/kubernetes give one.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_pipeline import find_archive, processor_seconds, repeat_archive
from bench_pipeline import measure as measure_extraction
from scale_table import MARK_BEGIN, MARK_END, PRICE, Measured, render

ROOT = Path(__file__).resolve().parents[2]
NEAR = "0.5:0.99"
COPIES_PER_FILE = 4  # of the archive's pages, in one work file
MAX_WORKER_BYTES = 2_400_000_000
MEAN_TOKENS = 700  # of a document of the shard whose writing is measured


def main() -> None:
    options = parse_options()
    if options.side:
        sides = {"select": run_selection, "shard": run_shard_writing}
        print(json.dumps(sides[options.side](options)))
        return
    measured = measure(options)
    table = render(measured, price=options.price)
    print(f"{measured.machine}, {measured.date}\n\n{table}")
    if options.page:
        write_page(options.page, measured, table)
    sys.exit(int(measured.extract_memory + measured.shard_memory > MAX_WORKER_BYTES))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=3000, help="pages to extract, at least (default 3000)")
    parser.add_argument("--copies", type=int, default=24,
                        help="times the archive's documents are selected (default 24)")  # fmt: skip
    parser.add_argument("--price", type=float, default=PRICE,
                        help=f"of a core-hour, USD (default {PRICE}, an assumption)")  # fmt: skip
    parser.add_argument("--page", type=Path, default=None, help="file that the table is put into (default: none)")
    parser.add_argument("--archive", type=Path, default=None, help="a .warc.gz (default: the shared one)")
    parser.add_argument("--side", choices=("select", "shard"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--near", default="off", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> Measured:
    archive = find_archive(options.archive)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repeated = folder / "repeated.warc.gz"
        repeat_archive(archive, repeated, options.records)
        extraction = measure_extraction("ours", repeated, folder / "extracted", "fair")
        once = folder / "once"
        measure_extraction("ours", archive, once, "fair")
        vocabulary = import_vocabulary(folder / "vocab.json")
        few, many = max(1, options.copies // 4), options.copies
        runs = {}
        for near in ("off", NEAR):
            for copies in (few, many):
                target = folder / f"select-{near.replace(':', '-')}-{copies}"
                write_work(once, target, copies)
                runs[near, copies] = run_side("select", target, near, vocabulary)
        shard = run_side("shard", folder, "off", vocabulary)
        difference = {
            near: {key: runs[near, many][key] - runs[near, few][key] for key in runs[near, many]}
            for near in ("off", NEAR)
        }
        exact, close = difference["off"], difference[NEAR]
        return Measured(
            machine=describe_machine(),
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            pages=extraction.pages,
            extract_s=extraction.cpu_s,
            input_bytes=repeated.stat().st_size,
            work_bytes=sum(path.stat().st_size for path in (folder / "extracted").iterdir()),
            kept=extraction.kept,
            extract_memory=extraction.tree_bytes,
            shard_bytes=shard["bytes"],
            shard_memory=shard["memory"],
            documents=exact["documents"],
            text_bytes=exact["text_bytes"],
            select_s=exact["cpu_s"],
            near_s=close["cpu_s"],
            shuffled=exact["shuffled"],
            near_shuffled=close["shuffled"],
            written=close["written"],
            local_memory=close["memory"],
        )


def run_side(side: str, folder: Path, near: str, vocabulary: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--side", side, "--folder", str(folder), "--near", near]
    environment = {**os.environ, "SHARDMILL_BENCH_VOCABULARY": str(vocabulary)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def import_vocabulary(path: Path) -> Path:
    """RoBERTa's own, from the shared files of GPT-2."""
    from pipelines.prep_shards import main as prep_shards

    data = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data")) / "bpe"
    words = ["vocabulary", "import-gpt2", "--encoder", str(data / "encoder.json"), "--merges", str(data / "vocab.bpe")]
    with contextlib.redirect_stdout(sys.stderr):
        if prep_shards([*words, "--dict", str(data / "dict.txt"), "--output", str(path)]):
            sys.exit(f"no vocabulary could be made of {data}")
    return path


def describe_machine() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = found[1] if found else platform.processor()
    return f"{name}, {os.cpu_count()} cores of a virtual machine, Python {platform.python_version()}"


def write_page(path: Path, measured: Measured, table: str) -> None:
    """Puts the table, and what it was made from, between the marks."""
    text = path.read_text()
    before, _, rest = text.partition(MARK_BEGIN)
    _, _, after = rest.partition(MARK_END)
    data = f"<!-- measured: {json.dumps(measured._asdict())} -->"
    said = f"Measured on {measured.date}: {measured.machine}."
    path.write_text(f"{before}{MARK_BEGIN}\n{data}\n\n{said}\n\n{table}\n{MARK_END}{after}")


# --- the sides, each in a process of its own --------------------------------------------------------------------------


def write_work(extracted: Path, target: Path, copies: int) -> None:
    """Input files that nobody reads, and the work files that extraction would have made of them."""
    from corpora.ccnews import VARIANTS
    from pipelines.inputs import resolve_inputs
    from pipelines.runs import work_folder_of
    from pipelines.settings import ANY_KIND, Execution, InputKind, RunSettings
    from pipelines.splits import split_input
    from pipelines.work_files import write_work_file

    (target / "in").mkdir(parents=True)
    groups = [range(start, min(start + COPIES_PER_FILE, copies)) for start in range(0, copies, COPIES_PER_FILE)]
    for number in range(len(groups)):
        (target / "in" / f"{number:05d}.warc.gz").write_bytes(random.Random(number).randbytes(4_096))
    settings = RunSettings(corpus="ccnews", kinds={ANY_KIND: InputKind(settings=VARIANTS["default"].processing)})
    work = Path(work_folder_of(Execution(output=str(target / "out")), settings))
    work.mkdir(parents=True)
    for file, group in zip(resolve_inputs(inputs=[str(target / "in")]), groups, strict=True):
        (split,) = split_input(file, limit_bytes=None)
        verdicts = [one for copy in group for one in copy_verdicts(extracted, copy)]
        write_work_file(str(work / split.work_name), verdicts, n_read=len(verdicts), administrative=0)


def copy_verdicts(extracted: Path, copy: int) -> Iterator[Any]:
    """The archive's documents and rejects as pages of their own: other ids and addresses, words in another order."""
    from corpora.documents import Document, Rejection
    from pipelines.work_files import read_groups

    draw = random.Random(copy)
    for path in sorted(extracted.glob("*.parquet")):
        for row in (row for table in read_groups(str(path)) for row in table.to_pylist()):
            kind: Any = Rejection if row["reason"] else Document
            one = kind(**{name: row[name] for name in kind._fields if name in row})
            one = one._replace(document_id=draw.randbytes(16), url=f"{one.url.rstrip('/')}/copy-{copy}")
            yield one if row["reason"] else one._replace(text=shuffle_words(one.text, draw))


def shuffle_words(text: str, draw: random.Random) -> str:
    """The same words and white space; no run of five words is likely to stay."""
    pieces = re.split(r"(\s+)", text)
    words = pieces[::2]
    draw.shuffle(words)
    pieces[::2] = words
    return "".join(pieces)


def run_selection(options: argparse.Namespace) -> dict[str, float]:
    """`beam run` in this process, over work files that are there; its groups are weighed."""
    from apache_beam.runners.portability.fn_api_runner import execution

    from bpe.manifest import load_manifest
    from pipelines import ccnews

    groups: Any = execution.GroupingBuffer
    append, shuffled = groups.append, 0

    def weigh(buffer: Any, elements: bytes) -> None:
        nonlocal shuffled
        shuffled += len(elements)
        append(buffer, elements)

    groups.append = weigh
    output = options.folder / "out"
    words = ["--input", str(options.folder / "in"), "--output", str(output), "--workers", "1", "--no-progress",
             "--vocabulary", os.environ["SHARDMILL_BENCH_VOCABULARY"], "--near-duplicates", options.near]  # fmt: skip
    begun = processor_seconds()
    if ccnews.run(words):
        sys.exit("the run failed")
    cpu_s = processor_seconds() - begun
    manifest = load_manifest(output)
    written = sum(path.stat().st_size for path in output.rglob("*") if path.is_file() and path.name != "report.html")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"documents": manifest.counts.documents, "text_bytes": manifest.counts.text_bytes, "cpu_s": cpu_s,
            "shuffled": shuffled, "written": written, "memory": memory}  # fmt: skip


def run_shard_writing(options: argparse.Namespace) -> dict[str, float]:
    """One shard of the default size, as a worker writes it: all of its documents in memory."""
    import numpy as np

    from pipelines.settings import DEFAULT_BLOCK_TOKENS, DEFAULT_SHARD_BYTES
    from pipelines.sharding import EncodedDocument, write_documents

    draw = np.random.default_rng(0)
    documents = []
    for number in range(DEFAULT_SHARD_BYTES // (2 * MEAN_TOKENS)):
        ids = draw.integers(4, 50_000, MEAN_TOKENS, dtype="<u2").tobytes()
        lengths = np.full(MEAN_TOKENS // 25, 25, "<u2").tobytes()
        url = f"https://news{number % 5_000}.example/2018/11/26/a-story-of-some-length-{number}"
        source = "crawl-data/CC-NEWS/2018/11/a.warc.gz"
        documents.append(EncodedDocument(draw.bytes(16), ids, lengths, url, source, number))
    (options.folder / "shards").mkdir()
    documents.sort(key=lambda one: one.document_id)
    entry = write_documents(str(options.folder), "ccnews", documents, split="train", block_tokens=DEFAULT_BLOCK_TOKENS)
    return {"bytes": entry.bytes, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


if __name__ == "__main__":
    main()
