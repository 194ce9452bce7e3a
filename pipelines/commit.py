"""Commit: the report, the vocabulary's copy and, last of all, the manifest that makes a run a run.

Everything that was written reports here, is put in order by name, and is checked once more: the books
of the whole must balance before anything is published.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, NamedTuple

import apache_beam as beam

from bpe.manifest import Books as ManifestBooks
from bpe.manifest import (
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    Removal,
    ShardEntry,
    VocabularyEntry,
    dump_manifest,
    settings_hash,
)
from inspection.report import render_report
from pipelines.decontaminate_stage import describe_contamination
from pipelines.ledger import Books, add_books, check_balance
from pipelines.part_statistics import Statistics, add_statistics
from pipelines.published import published_targets
from pipelines.select_stage import PartSummary
from pipelines.storage import HashingWriter, join, open_read, write_atomically

TOP_DOMAINS = 100


class RunIdentity(NamedTuple):
    """What the manifest says of a run besides what it wrote."""

    name: str
    settings: dict[str, object]
    details: Mapping[str, object] = MappingProxyType({})  # for the report: of stages before this run, by name
    removals: tuple[Removal, ...] = ()  # from the runs that this one is merged out of


class CommitRun(beam.PTransform):
    """Dict of collections -> the name of the manifest, written last.

    "inputs", "parts" (PartSummary) and "shards" (ShardEntry) always; "state" (FileEntry) and "details" (name, plain
    value for the report) where a run has them.
    """

    def __init__(
        self, *, folder: str, identity: RunIdentity, vocabulary: "VocabularyCopy | None", evaluation_index: str = ""
    ) -> None:
        super().__init__()
        self.writer = _WriteManifest(folder, identity, vocabulary, evaluation_index)

    def expand(self, collections: Any) -> Any:
        keyed = {
            label: collection | f"Gather {label}" >> beam.Map(_under_one_key)
            for label, collection in collections.items()
        }
        return keyed | "Bring all together" >> beam.CoGroupByKey() | "Write the manifest" >> beam.ParDo(self.writer)


class VocabularyCopy(NamedTuple):
    """The vocabulary of a run: where it lies, and what the manifest says of it."""

    path: str
    fingerprint: str
    size: int
    encoding: str


class _WriteManifest(beam.DoFn):
    def __init__(
        self, folder: str, identity: RunIdentity, vocabulary: VocabularyCopy | None, evaluation_index: str
    ) -> None:
        self.folder, self.identity, self.vocabulary = folder, identity, vocabulary
        self.evaluation_index = evaluation_index

    def process(self, element: Any) -> Iterator[str]:
        groups = element[1]
        details = {**self.identity.details, **dict(groups.get("details", ()))}
        if self.evaluation_index:
            counts = (part.contamination for part in groups["parts"])
            details["decontamination"] = describe_contamination(self.evaluation_index, counts)
        yield commit(
            self.folder,
            self.identity,
            vocabulary=self.vocabulary,
            inputs=[InputEntry(*one) for one in set(groups["inputs"])],
            parts=groups["parts"],
            shards=groups["shards"],
            state=[FileEntry(*entry) for entry in groups.get("state", ())],
            details=details,
        )


def commit(
    folder: str,
    identity: RunIdentity,
    *,
    vocabulary: VocabularyCopy | None,
    inputs: Iterable[InputEntry],
    parts: Iterable[PartSummary],
    shards: Iterable[ShardEntry],
    state: Iterable[FileEntry] = (),
    details: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Writes vocab.json, report.html and manifest.json into the run's folder; raises BooksError instead of lying."""
    parts = list(parts)
    books = add_books(part.books for part in parts)
    check_balance(books, "the run")
    shards = sorted(shards, key=lambda shard: shard.name)
    if vocabulary is not None and sum(shard.n_documents for shard in shards) != books.kept:
        raise ValueError(f"the shards hold {sum(s.n_documents for s in shards)} documents, {books.kept} were kept")
    manifest = Manifest(
        name=identity.name,
        code_version=version("shardmill"),
        settings=identity.settings,
        settings_hash=settings_hash(identity.settings),
        inputs=tuple(sorted(inputs)),
        vocabulary=_copy_vocabulary(folder, vocabulary) if vocabulary else None,
        books=_manifest_books(books),
        counts=Counts(
            documents=books.kept,
            sentences=sum(shard.n_sentences for shard in shards),
            tokens=sum(shard.n_tokens for shard in shards),
            text_bytes=sum(part.text_bytes for part in parts),
            administrative=sum(part.administrative for part in parts),
        ),
        statistics=_shown_statistics(add_statistics(part.statistics for part in parts), details),
        documents=_in_order(part.documents for part in parts),
        rejected=_in_order(part.rejected for part in parts),
        shards=tuple(shards),
        report=None,
        state=_in_order(state),
        removals=identity.removals,
    )
    page = render_report(manifest, targets=published_targets(identity.name)).encode()
    report = _write_file(folder, "report.html", page)
    _write_file(folder, "manifest.json", dump_manifest(manifest._replace(report=report)))
    return "manifest.json"


def _write_file(folder: str, name: str, data: bytes) -> FileEntry:
    def write(stream: Any) -> FileEntry:
        hashing = HashingWriter(stream)
        hashing.write(data)
        return FileEntry(name=name, bytes=hashing.n_bytes, sha256=hashing.sha256, rows=None)

    return write_atomically(join(folder, name), write)


def _copy_vocabulary(folder: str, vocabulary: VocabularyCopy) -> VocabularyEntry:
    with open_read(vocabulary.path) as stream:
        file = _write_file(folder, "vocab.json", stream.read())
    return VocabularyEntry(
        name=file.name,
        bytes=file.bytes,
        sha256=file.sha256,
        fingerprint=vocabulary.fingerprint,
        size=vocabulary.size,
        encoding=vocabulary.encoding,
    )


def _manifest_books(books: Books) -> ManifestBooks:
    return ManifestBooks(read=books.read, kept=books.kept, rejected=dict(books.rejected), broken=dict(books.broken))


def _in_order(entries: Iterable[FileEntry | None]) -> tuple[FileEntry, ...]:
    return tuple(sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.name))


def _shown_statistics(statistics: Statistics, details: Mapping[str, object]) -> dict[str, object]:
    found = {"kinds": dict(statistics.kinds), "gaps": dict(statistics.gaps), **details}
    details = {name: value for name, value in found.items() if value}
    top = sorted(statistics.domains, key=lambda pair: (-pair[1], pair[0]))[:TOP_DOMAINS]
    return {
        "languages": dict(statistics.languages),
        "domains": {"distinct": len(statistics.domains), "top": [list(pair) for pair in top]},
        "characters": {str(bucket): n for bucket, n in statistics.characters},
        "duplicates": dict(statistics.duplicates),
    } | ({"details": details} if details else {})


def _under_one_key(element: Any) -> tuple[str, Any]:
    return "run", element
