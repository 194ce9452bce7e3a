"""Input files cut into splits, and the names of what is made from them.

A split is the unit of work and of re-use: a byte range of one input file. Borders depend on the
file's size alone, so they are the same on every runner and with any number of workers.
"""

import hashlib
import re
from typing import NamedTuple

from pipelines.inputs import InputFile, fingerprint, plan_splits, size_of_input

SPLITS_PER_PART = 8  # up to 256 MiB of input make one Parquet part of documents
FILES_PER_PART = 256  # of files that are one document each


class Split(NamedTuple):
    """The records of one input file that start in [start, end)."""

    source: str
    location: str
    fingerprint: str
    n_bytes: int  # of the whole file
    ordinal: int  # of the split in its file
    start: int
    end: int
    group: str = ""  # part that files too small for one each share

    @property
    def work_name(self) -> str:
        """Name of the split's work file, without folder."""
        place = hashlib.blake2b(f"{self.source}\0{self.fingerprint}".encode(), digest_size=8).hexdigest()
        return f"{safe_stem(self.source)}-{place}-{self.start:012d}-{self.end:012d}.parquet"

    @property
    def part_name(self) -> str:
        """Name of the part of documents that the split goes to, without folder and ending.

        >>> Split("a/CC-NEWS-1.warc.gz", "", "", 0, 17, 0, 0).part_name
        'part-CC-NEWS-1-f33e5709-0002'
        """
        if self.group:
            return f"part-{self.group}"
        place = hashlib.blake2b(self.source.encode(), digest_size=4).hexdigest()
        return f"part-{safe_stem(self.source)}-{place}-{self.ordinal // SPLITS_PER_PART:04d}"


def safe_stem(source: str) -> str:
    """The file name of a source without its endings, in characters that every file system takes.

    >>> safe_stem("crawl-data/CC-NEWS/2016/09/CC-NEWS-20160926211809-00000.warc.gz")
    'CC-NEWS-20160926211809-00000'
    """
    name = source.rsplit("/", 1)[-1]
    name = re.sub(
        r"(\.(warc|arc|wet|txt|xml(-p\d+p\d+)?|epub|gz|bz2|zst|xz|open|parquet|jsonl))+$", "", name, flags=re.IGNORECASE
    )
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:80] or "input"


def group_of(source: str, *, kind: str, n_files: int) -> str:
    """The part that a small file goes to, of as many as hold FILES_PER_PART each: a hash of its name.

    >>> group_of("books/alice.txt", kind="books", n_files=1_000)
    'books-00003-of-00004'
    """
    n_parts = -(-n_files // FILES_PER_PART)
    place = int.from_bytes(hashlib.blake2b(source.encode(), digest_size=6).digest(), "big")
    return f"{kind}-{place * n_parts >> 48:05d}-of-{n_parts:05d}"


def split_input(file: InputFile, *, limit_bytes: int | None, group: str = "") -> list[Split]:
    """All splits of one input file; opens it to take its fingerprint. A file in a group, or an empty one, has one."""
    n_bytes = file.n_bytes if file.n_bytes is not None else size_of_input(file.location)
    mark = fingerprint(file)
    ranges = [(0, n_bytes)] if group else plan_splits(n_bytes, limit_bytes=limit_bytes) or [(0, 0)]
    return [
        Split(file.name, file.location, mark, n_bytes, k, start, end, group) for k, (start, end) in enumerate(ranges)
    ]
