"""What a book costs, from the bytes of its file to a document: megabytes a second on one core.

Type: python tests/benchmarks/bench_books.py [FOLDER]

Reads every .txt, .txt.gz and .epub below FOLDER (default: the tiny library, which is too small to say much) and prints
megabytes of text made per second of processor time, for each kind, and the slowest book.
"""

import sys
import time
from pathlib import Path

from corpora.book_files import read_books
from corpora.books import BookSettings, process_book
from corpora.documents import Document, RawPage

LIBRARY = Path(__file__).resolve().parents[1] / "data" / "tiny" / "books"


def measure(path: Path) -> tuple[float, int]:
    """Seconds of processor time, and bytes of text."""
    started = time.process_time()
    with path.open("rb") as stream:
        (page,) = read_books(stream, source=path.name)
    document = process_book(page, BookSettings(languages=())) if isinstance(page, RawPage) else page
    seconds = time.process_time() - started
    return seconds, len(document.text.encode()) if isinstance(document, Document) else 0


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else LIBRARY
    paths = sorted(path for path in folder.rglob("*") if path.name.endswith((".txt", ".txt.gz", ".epub")))
    measure(paths[0])  # imports and tables
    costs = {path: measure(path) for path in paths}
    for kind in ("text", "epub"):
        of_kind = [cost for path, cost in costs.items() if (path.suffix == ".epub") == (kind == "epub")]
        seconds, n_bytes = sum(cost[0] for cost in of_kind), sum(cost[1] for cost in of_kind)
        if seconds:
            print(f"{kind}: {len(of_kind)} books, {n_bytes / 1e6:.1f} MB, {n_bytes / 1e6 / seconds:.1f} MB/s/core")
    slowest = max(costs, key=lambda path: costs[path][0])
    print(f"slowest: {slowest.name}, {costs[slowest][0]:.2f} s for {costs[slowest][1] / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
