"""The files of the URL stage: what was taken of each submissions file, the URLs of a run, and `urls.json`.

    work/urls-<hash>/<file>.parquet       links and shown rejects of one input file, its books in the metadata
    urls/part-*.parquet                   one row a URL, sorted by its canonical form
    urls/rejected-*.parquet               refused links, duplicates and broken lines, sorted by their place
    urls/urls.json                        written last: the commit point; readers trust only what it lists

A submission that was rejected for itself (a low score, no link) has no row: there would be billions. It is counted per
file and reason in `urls.json`, and the books balance over all of them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bpe.entries import FileEntry
from bpe.manifest import settings_hash
from corpora.errors import CorpusError
from pipelines.ledger import Books, add_books, check_balance
from pipelines.storage import exists, join, open_read, write_atomically

FOLDER = "urls"
COMMIT_NAME = "urls.json"
FORMAT = 1
ROWS_PER_GROUP = 16_384

LINK_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # canonical form; "" on a reject
        pa.field("url", pa.string(), nullable=False),
        pa.field("score", pa.int64(), nullable=False),
        pa.field("created_utc", pa.int64(), nullable=False),  # seconds since 1970, 0 unknown
        pa.field("subreddit", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),  # of the unpacked file, from 1
        pa.field("reason", pa.string(), nullable=False),  # "" on a link
        pa.field("detail", pa.string(), nullable=False),
        pa.field("broken", pa.bool_(), nullable=False),
    ]
)
URL_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),  # of the submission that stands for it
        pa.field("score", pa.int64(), nullable=False),  # of that submission, or the sum over all
        pa.field("n_submissions", pa.int64(), nullable=False),
        pa.field("first_utc", pa.int64(), nullable=False),  # of the earliest submission of it, 0 unknown
        pa.field("created_utc", pa.int64(), nullable=False),
        pa.field("subreddit", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
    ]
)
REJECT_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("broken", pa.bool_(), nullable=False),
        pa.field("score", pa.int64(), nullable=False),
        pa.field("created_utc", pa.int64(), nullable=False),
        pa.field("subreddit", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
    ]
)
Row = tuple[str, str, int, int, str, str, int, str, str, bool]  # of LINK_SCHEMA


class LinkWriter:
    """Writes the links of one input file as they are found, and counts what has no row."""

    def __init__(self, stream: BinaryIO) -> None:
        # URLs hardly repeat: looking for them in a dictionary costs time and space.
        repeated = ["subreddit", "reason", "detail"]
        self._writer = pq.ParquetWriter(
            stream, LINK_SCHEMA, compression="zstd", write_page_checksum=True, use_dictionary=repeated
        )
        self._rows: list[Row] = []
        self.n_read = self.n_links = 0
        self.rejected: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()

    def __enter__(self) -> "LinkWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> Books:
        """Ends the file; BooksError where a submission is neither a link nor counted."""
        self._flush()
        rejected, broken = tuple(sorted(self.rejected.items())), tuple(sorted(self.broken.items()))
        books = Books(self.n_read, self.n_links, rejected, broken)
        check_balance(books, "these submissions")
        self._writer.add_key_value_metadata({"shardmill": json.dumps(books)})
        return books

    def _flush(self) -> None:
        if self._rows:
            arrays = [pa.array(column, field.type) for column, field in zip(zip(*self._rows), LINK_SCHEMA)]  # noqa: B905 # equal by type
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=LINK_SCHEMA))
            self._rows.clear()


def read_link_books(path: str) -> Books | None:
    """The books of a finished input file; None where it is not there or must be made again."""
    if not exists(path):
        return None
    try:
        with open_read(path) as stream:
            read, kept, rejected, broken = json.loads((pq.read_metadata(stream).metadata or {})[b"shardmill"])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError):
        return None
    pairs = [tuple((str(reason), int(n)) for reason, n in column) for column in (rejected, broken)]
    return Books(read, kept, *pairs)


class UrlRun(NamedTuple):
    """A finished URL stage, as `urls.json` tells it."""

    settings: dict[str, Any]
    settings_hash: str
    inputs: dict[str, dict[str, Any]]  # name -> bytes, fingerprint, books
    books: dict[str, Any]
    parts: tuple[FileEntry, ...]
    rejected: tuple[FileEntry, ...]

    @property
    def n_urls(self) -> int:
        return sum(entry.rows or 0 for entry in self.parts)


def write_url_run(
    folder: str,
    settings: Mapping[str, object],
    inputs: Mapping[str, tuple[int, str, Books]],
    parts: Iterable[FileEntry],
    rejected: Iterable[FileEntry],
) -> None:
    """Commits the stage: writes `urls.json` below the run's folder. BooksError where a file's books do not balance."""
    for name, (_, _, books) in inputs.items():
        check_balance(books, name)
    total = add_books(books for _, _, books in inputs.values())
    shown = {
        "format": FORMAT,
        "settings": settings,
        "settings_hash": settings_hash(dict(settings)),
        "books": total.as_dict(),
        "inputs": {
            name: {"bytes": n_bytes, "fingerprint": mark, "books": books.as_dict()}
            for name, (n_bytes, mark, books) in sorted(inputs.items())
        },
        "parts": [entry._asdict() for entry in sorted(parts, key=lambda entry: entry.name)],
        "rejected": [entry._asdict() for entry in sorted(rejected, key=lambda entry: entry.name)],
    }
    text = json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(join(folder, FOLDER, COMMIT_NAME), lambda stream: stream.write(text.encode()))


def read_url_run(output: str) -> UrlRun | None:
    """The finished URL stage of a run's folder, None where there is none; CorpusError where it cannot be read."""
    path = join(output, FOLDER, COMMIT_NAME)
    if not exists(path):
        return None
    with open_read(path) as stream:
        data = stream.read()
    try:
        shown = json.loads(data)
        if shown["format"] != FORMAT:
            raise ValueError(f"format {shown['format']}, and this version reads {FORMAT}")
        entries = [tuple(FileEntry(**entry) for entry in shown[kind]) for kind in ("parts", "rejected")]
        return UrlRun(shown["settings"], shown["settings_hash"], shown["inputs"], shown["books"], *entries)
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{path}: not a list of URLs of ours ({error}); remove it and run --stage urls again"
        ) from error
