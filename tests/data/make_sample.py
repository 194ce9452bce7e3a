"""Makes the bundled sample: `python tests/data/make_sample.py [--output tests/data/sample]`.

Two WARC files of made-up news in the layout of CC-NEWS and `expected.tsv`, a line per content record that says what was
planted there. The prose is in `sample_prose`, the page layouts in `sample_layouts`. The rule: the same sources give the
same bytes; nothing is drawn at random, no clock is read.
"""

import argparse
import csv
import io
from pathlib import Path

from sample_archive import build_archive
from sample_oddities import capture_pages, list_oddities
from sample_papers import plan_pages, read_all

OUTPUT = Path(__file__).parent / "sample"
NAMES = ("CC-NEWS-SAMPLE-00000.warc.gz", "CC-NEWS-SAMPLE-00001.warc.gz")
COLUMNS = ("file", "offset", "url", "language", "kind", "article")


def make_sample() -> dict[str, bytes]:
    """The files of the sample by name."""
    pages = plan_pages(read_all())
    captures = sorted(capture_pages(pages) + list_oddities(pages), key=lambda capture: capture.fetched_at)
    # A file is cut at its end only, so the truncated record has to be the last of all.
    captures.sort(key=lambda capture: capture.damage == "truncated")
    half = len(captures) // 2
    files: dict[str, bytes] = {}
    table = io.StringIO()
    rows = csv.writer(table, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    rows.writerow(COLUMNS)
    for name, part in zip(NAMES, (captures[:half], captures[half:]), strict=True):
        files[name], places = build_archive(name, part)
        for offset, capture in places:
            rows.writerow((name, offset, capture.url, capture.language, capture.kind, capture.article))
    files["expected.tsv"] = table.getvalue().encode()
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to (default: the bundled sample)")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for name, content in make_sample().items():
        (output / name).write_bytes(content)
        print(f"{output / name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
