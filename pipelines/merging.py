"""Merging: several finished runs become one, without a document being read, judged or encoded again.

In: a `MergePlan`. Out: a run in a folder of its own: documents, rejects and most of the state are the members' own
files, exact keys and pairs are theirs put together, and shards are written anew from their tokens, so that they are
the shards that one run over all of the input writes, byte for byte. The rule: a merge changes no decision. All that it
holds in memory is a shard, or one of the parts that keys are dealt out to, as in any run.

A file that is carried over is a hard link where the disk has them, so it costs no space. That is safe: whatever
changes a run's file writes another one and renames it into place, so the other run's stays as it was.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpe.entries import FileEntry, ShardEntry
from bpe.errors import ShardError
from bpe.manifest import load_manifest
from bpe.shards import block_documents, open_shard
from corpora.documents import REJECTION_SCHEMA
from inspection.rows import open_table
from pipelines.commit import CommitRun
from pipelines.forget_request import count_hosts
from pipelines.forget_survey import FORGET_STAGE, read_tables
from pipelines.ledger import Books
from pipelines.merge_plan import MergePlan
from pipelines.near_state import EDGES, EXACT, STATE_FILE, TEXTS, write_description
from pipelines.part_statistics import Statistics
from pipelines.select_stage import PartSummary
from pipelines.settings import ShardRules
from pipelines.sharding import EncodedDocument, ShardCounts, WriteShards, count_shards, shard_key, write_table
from pipelines.storage import TEMPORARY_PREFIX, cannot_write, sync_folder, write_atomically

STATE = "state"  # side output of files: FileEntry as a tuple
DOCUMENTS, REJECTED = "documents", "rejected"
_SORTED_BY = {EXACT: ("step", "key"), EDGES: ("earlier_id", "later_id")}  # state that is put together, by number
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
_REMOVAL = re.compile(r"removal (\d+)")


class MemberPlace(NamedTuple):
    """A run that is merged, as an element."""

    folder: str
    n_removals: int  # of the members before it


class CarriedFile(NamedTuple):
    """A file that the merged run has from a member, under the same name."""

    folder: str
    kind: str  # one of DOCUMENTS, REJECTED and STATE
    entry: FileEntry
    n_removals: int


def build_merge(pipeline: Any, plan: MergePlan, *, output: str) -> None:
    """The job's graph, of one size however large the runs are."""
    members = pipeline | "Name the runs" >> beam.Create(place_members(plan))
    carried = (
        members
        | "List files" >> beam.FlatMap(list_files)
        | "Spread files" >> beam.Reshuffle()
        | "Carry files over" >> beam.ParDo(CarryFiles(output)).with_outputs(STATE, main="parts")
    )
    joined = (
        members
        | "List keys and pairs" >> beam.FlatMap(list_joined)
        | "Group keys and pairs" >> beam.GroupByKey()
        | "Put keys and pairs together" >> beam.Map(join_tables, output)
    )
    described = (
        pipeline
        | "Describe state" >> beam.Create([plan.description])
        | "Write the description" >> beam.Map(_describe, output)
    )
    totals = members | "Take totals" >> beam.Map(take_totals)
    written = {
        "inputs": members | "List inputs" >> beam.FlatMap(_list_inputs),
        "parts": (carried.parts, totals) | "All parts" >> beam.Flatten(),
        "shards": members | "Write shards anew" >> MergeShards(plan, output=output),
        "state": (carried[STATE], joined, described) | "All state" >> beam.Flatten(),
    }
    _ = written | "Commit" >> CommitRun(folder=output, identity=plan.identity, vocabulary=plan.vocabulary)


class MergeShards(beam.PTransform):
    """Member places -> ShardEntry of every shard of the merged run; none without a vocabulary."""

    def __init__(self, plan: MergePlan, *, output: str) -> None:
        super().__init__()
        self.rules, self.name, self.output = plan.rules, plan.identity.name, output

    def expand(self, members: Any) -> Any:
        if self.rules is None:
            return members.pipeline | "No shards" >> beam.Create([])
        altered = (
            members
            | "List altered texts" >> beam.FlatMap(list_texts)
            | "Spread altered texts" >> beam.Reshuffle()
            | "Measure altered texts" >> beam.Map(measure_altered)
        )
        kept = members | "Measure kept text" >> beam.Map(_text_bytes)
        counts = beam.pvalue.AsSingleton(
            (kept, altered)
            | "All text" >> beam.Flatten()
            | "Sum text" >> beam.CombineGlobally(sum)
            | "Count shards" >> beam.Map(count_shards, self.rules)
        )
        return (
            members
            | "List shards" >> beam.FlatMap(list_shards)
            | "Spread shards" >> beam.Reshuffle()
            | "Read shards" >> beam.FlatMap(read_shard, rules=self.rules, counts=counts)
            | "Write all shards" >> WriteShards(folder=self.output, name=self.name, rules=self.rules, counts=counts)
        )


class CarryFiles(beam.DoFn):
    """CarriedFile -> a PartSummary of the file; on STATE its FileEntry where it is one of state."""

    def __init__(self, output: str) -> None:
        self.output = output

    def process(self, element: Any) -> Iterator[Any]:
        folder, kind, entry, n_removals = CarriedFile(*element)
        entry = FileEntry(*entry)
        if kind == REJECTED and n_removals and (table := _renumbered(Path(folder), entry, n_removals)) is not None:
            entry = write_table(self.output, entry.name, table)
        else:
            carry_file(Path(folder), Path(self.output), entry)
        if kind == STATE:
            yield beam.pvalue.TaggedOutput(STATE, tuple(entry))
        elif kind == REJECTED:
            yield PartSummary(None, entry, Books(), 0, 0, Statistics())
        else:
            yield PartSummary(entry, None, Books(), 0, 0, Statistics(domains=_count_domains(Path(folder), entry)))


def place_members(plan: MergePlan) -> list[tuple[Any, ...]]:
    """The members as elements."""
    places, n_removals = [], 0
    for folder, manifest in zip(plan.members, plan.manifests, strict=True):
        places.append(tuple(MemberPlace(folder, n_removals)))
        n_removals += len(manifest.removals)
    return places


def list_files(element: Any) -> Iterator[tuple[Any, ...]]:
    """The files of a member that are carried over."""
    folder, n_removals = MemberPlace(*element)
    manifest = load_manifest(folder)
    state = [entry for entry in manifest.state if entry.name != STATE_FILE and _joined_kind(entry.name) is None]
    for kind, entries in ((DOCUMENTS, manifest.documents), (REJECTED, manifest.rejected), (STATE, state)):
        yield from (tuple(CarriedFile(folder, kind, entry, n_removals)) for entry in entries)


def list_joined(element: Any) -> Iterator[tuple[str, str]]:
    """(name, path) of the files of a member that are put together with those of the others."""
    folder = MemberPlace(*element).folder
    for entry in load_manifest(folder).state:
        if _joined_kind(entry.name) is not None:
            yield entry.name, f"{folder}/{entry.name}"


def join_tables(element: Any, output: str) -> tuple[Any, ...]:
    """Exact keys, or verified pairs, of one number of all members, in the order in which a run writes them."""
    name, paths = element
    tables = [pq.read_table(path, page_checksum_verification=True) for path in sorted(paths)]
    order = [(column, "ascending") for column in _SORTED_BY[_joined_kind(name) or EXACT]]
    return tuple(write_table(output, name, pa.concat_tables(tables).sort_by(order)))


def take_totals(element: Any) -> Any:  # Beam takes annotations for element types
    """What a member's manifest has as sums: books, bytes and statistics; domains are counted from documents."""
    manifest = load_manifest(MemberPlace(*element).folder)
    books, statistics = manifest.books, manifest.statistics
    details = statistics.get("details", {})
    return PartSummary(
        None,
        None,
        Books(books.read, books.kept, _pairs(books.rejected), _pairs(books.broken)),
        manifest.counts.administrative,
        manifest.counts.text_bytes,
        Statistics(
            languages=_pairs(statistics["languages"]),
            characters=tuple((int(bucket), n) for bucket, n in _pairs(statistics["characters"])),
            duplicates=_pairs(statistics["duplicates"]),
            kinds=_pairs(_get(details, "kinds")),
            gaps=_pairs(_get(details, "gaps")),
        ),
    )


def list_texts(element: Any) -> Iterator[tuple[str, Any, Any]]:
    """(folder, file of texts as they were compared, documents of the same part or None) of a member."""
    folder = MemberPlace(*element).folder
    manifest = load_manifest(folder)
    documents = {entry.name: entry for entry in manifest.documents}
    for entry in manifest.state:
        if entry.name.startswith(TEXTS):
            part = entry.name.removeprefix(TEXTS)
            yield folder, tuple(entry), documents.get(f"documents/{part}")


def measure_altered(element: Any) -> int:
    """Bytes of text that a part had more when its run counted shards: before passages were cut, documents dropped."""
    folder, texts, documents = element
    n_bytes, ids = 0, []
    for table in read_tables(Path(folder), FileEntry(*texts), ("document_id", "text")):
        n_bytes += pc.sum(pc.binary_length(table["text"])).as_py() or 0
        ids += table["document_id"].to_pylist()
    wanted = pa.array(ids, pa.binary(16))
    for table in read_tables(Path(folder), FileEntry(*documents), ("document_id", "text")) if documents else ():
        changed = table.filter(pc.is_in(table["document_id"], wanted))
        n_bytes -= pc.sum(pc.binary_length(changed["text"])).as_py() or 0
    return int(n_bytes)


def list_shards(element: Any) -> Iterator[Any]:
    """(folder, shard) of a member."""
    folder = MemberPlace(*element).folder
    yield from ((folder, shard) for shard in load_manifest(folder).shards)


def read_shard(element: Any, rules: ShardRules, counts: Any) -> Iterator[Any]:
    """The documents of a shard as they were encoded: (key of the merged run's shard, EncodedDocument as a tuple)."""
    folder, shard = element
    for document in read_encoded(Path(folder), ShardEntry(*shard)):
        yield shard_key(document.document_id, rules, ShardCounts(*counts)), tuple(document)


def read_encoded(folder: Path, shard: ShardEntry) -> Iterator[EncodedDocument]:
    """Every document of a shard with its lineage; ShardError where one says of it what the other does not."""
    columns = ("document_id", "url", "source", "offset", "block", "position", "n_tokens")
    lineage = (row for table in read_tables(folder, shard.lineage, columns) for row in table.to_pylist())
    with open_shard(folder / shard.name, shard) as opened:
        for k in range(len(opened)):
            for position, document in enumerate(block_documents(opened.block(k))):
                row = next(lineage, None)
                if row is None or (row["block"], row["position"], row["n_tokens"]) != (k, position, document.ids.size):
                    found = f"says nothing of document {position} of block {k}, or something else; verify the run"
                    raise ShardError(folder / shard.lineage.name, "", found)
                ids, lengths = document.ids.tobytes(), document.sentence_lengths.tobytes()
                yield EncodedDocument(row["document_id"], ids, lengths, row["url"], row["source"], row["offset"])


def carry_file(source: Path, target: Path, entry: FileEntry) -> None:
    """Gives a run's file to another run; ShardError where it is not there as the manifest says."""
    file, place = source / entry.name, target / entry.name
    if not file.is_file() or file.stat().st_size != entry.bytes:
        raise ShardError(file, "", f"not there with {entry.bytes} bytes, as its manifest says; bring it back")
    if place.exists() and place.samefile(file):
        return
    temporary = place.parent / f"{TEMPORARY_PREFIX}{place.name[:100]}-{uuid.uuid4().hex}"
    try:
        os.link(file.resolve(), temporary)
        temporary.replace(place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise cannot_write(error, place) from error
        _copy(file, place)
    finally:
        temporary.unlink(missing_ok=True)  # where a retry has made the same link, renaming to it does nothing
    sync_folder(place.parent)


def _copy(file: Path, place: Path) -> None:
    with file.open("rb") as stream:
        write_atomically(str(place), lambda copy: shutil.copyfileobj(stream, copy, 1 << 20))


def _renumbered(folder: Path, entry: FileEntry, n_removals: int) -> pa.Table | None:
    """Rejects that name the removal that took them out by its number in the merged run; None where there are none."""
    with open_table(folder, entry, ("stage",)) as parquet:
        stages = parquet.read(columns=["stage"])["stage"]
    if not pc.any(pc.equal(stages, FORGET_STAGE)).as_py():
        return None
    table = pa.concat_tables(read_tables(folder, entry, ())).combine_chunks()
    details = [
        _REMOVAL.sub(lambda found: f"removal {int(found[1]) + n_removals}", detail) if stage == FORGET_STAGE else detail
        for stage, detail in zip(table["stage"].to_pylist(), table["detail"].to_pylist(), strict=True)
    ]
    field = REJECTION_SCHEMA.field("detail")
    return table.set_column(table.schema.get_field_index("detail"), field, pa.array(details, field.type))


def _count_domains(folder: Path, entry: FileEntry) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for table in read_tables(folder, entry, ("url",)):
        for host, n in count_hosts(table["url"]).items():
            counts[host] = counts.get(host, 0) + n
    return tuple(sorted(counts.items()))


def _joined_kind(name: str) -> str | None:
    return next((kind for kind in _SORTED_BY if name.startswith(kind)), None)


def _list_inputs(element: Any) -> Iterator[Any]:
    yield from load_manifest(MemberPlace(*element).folder).inputs


def _text_bytes(element: Any) -> int:
    return load_manifest(MemberPlace(*element).folder).counts.text_bytes


def _describe(description: Any, output: str) -> tuple[Any, ...]:
    return tuple(write_description(output, description))


def _pairs(counts: object) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items())) if isinstance(counts, Mapping) else ()


def _get(details: object, name: str) -> object:
    return details.get(name) if isinstance(details, Mapping) else None
