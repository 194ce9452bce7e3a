"""What a manifest holds, as values; `bpe.manifest` reads and writes them."""

from collections.abc import Mapping
from typing import NamedTuple

from bpe.layout import BlockTable

SPLITS = ("train", "held-out")
ENCODINGS = ("fairseq", "lossless")


class FileEntry(NamedTuple):
    """A file of the run."""

    name: str  # relative to the manifest's folder, with slashes
    bytes: int
    sha256: str
    rows: int | None = None  # of a table; None for what is not one


class InputEntry(NamedTuple):
    """A file that the run read."""

    name: str
    bytes: int
    fingerprint: str


class VocabularyEntry(NamedTuple):
    """The copy of the vocabulary in the run's folder, and how text was encoded with it."""

    name: str
    bytes: int
    sha256: str
    fingerprint: str  # of its content, whatever the form of the file
    size: int  # number of ids
    encoding: str  # one of ENCODINGS


class Books(NamedTuple):
    """read = kept + rejected + broken; the last two by reason."""

    read: int
    kept: int
    rejected: Mapping[str, int]
    broken: Mapping[str, int]


class Counts(NamedTuple):
    """Totals of the run."""

    documents: int
    sentences: int
    tokens: int
    text_bytes: int  # UTF-8
    administrative: int  # records that hold no content


class ShardEntry(NamedTuple):
    """A shard, its lineage and its blocks."""

    name: str
    bytes: int
    sha256: str
    split: str  # one of SPLITS
    n_documents: int
    n_sentences: int
    n_tokens: int
    lineage: FileEntry
    blocks: BlockTable


class Removal(NamedTuple):
    """Documents that were taken out of the finished run on request, all at once; not what they were.

    What was asked for is there as a hash alone: a list of addresses that somebody wanted forgotten is the last thing
    that a run should publish.
    """

    request_sha256: str  # of the targets in their one form, sorted, a line each
    targets: Mapping[str, int]  # of the request, by kind
    reason: str  # as given; "" for none
    date: str  # as given, ISO 8601; "" for none: nothing here depends on a clock
    documents: int
    sentences: int
    tokens: int
    text_bytes: int  # UTF-8
    emptied: int  # rejected records whose address and detail were emptied
    dependents: int  # documents that had been dropped as duplicates of one of these, and stay dropped
    files: tuple[str, ...]  # rewritten, made or removed, sorted; manifest and report are not named
    previous_manifest: str  # sha256 of manifest.json as it was


class Manifest(NamedTuple):
    """A finished run."""

    name: str
    code_version: str
    settings: Mapping[str, object]
    settings_hash: str
    inputs: tuple[InputEntry, ...]
    vocabulary: VocabularyEntry | None
    books: Books
    counts: Counts
    statistics: Mapping[str, object]
    documents: tuple[FileEntry, ...]
    rejected: tuple[FileEntry, ...]
    shards: tuple[ShardEntry, ...]
    report: FileEntry | None
    state: tuple[FileEntry, ...] = ()  # what a later run needs to know of this one, below `state/`
    removals: tuple[Removal, ...] = ()  # in the order in which they were carried out
