"""Takes documents out of a finished run: its tables, its shards, its books and its report without them.

In: a run and a survey of what is to go. Out: new files for those concerned, staged, and the manifest of the run that
they make. The rule: a file that holds nothing of it stays as it is, byte for byte, and one that does is what would
have been written, had the documents been rejected when the run was made. So the books still balance, for each file
too: a forgotten document is a rejected record with the stage `forget` and the reason `forgotten`.

What such a record keeps: the document's id, a hash that leads to no text; source and offset, since they are how a
record of a file is told from the others when the same file is read again; and the number of the removal. Never its
address, title or text.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpe.entries import FileEntry, Manifest, Removal, ShardEntry
from bpe.errors import ShardError
from bpe.manifest import FILE_NAME, dump_manifest
from bpe.manifest_parsing import FORGOTTEN
from bpe.places import Place
from bpe.removal import rewrite_shard_to
from bpe.shards import ShardContents, make_shard_entry, open_shard
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA
from inspection.report import render_report
from inspection.run_folder import RunFolder
from pipelines.forget_commit import commit_changes, start_staging
from pipelines.forget_request import Target, count_kinds, hash_request
from pipelines.forget_statistics import Lost, add_lost, lost_documents, lost_tokens, statistics_without
from pipelines.forget_survey import FORGET_STAGE, Survey, find_work_files, read_tables
from pipelines.published import published_targets
from pipelines.sharding import LINEAGE_SCHEMA, write_table
from pipelines.storage import HashingWriter, join, write_atomically

# Sketches of texts, by which later runs find near-duplicates. A sketch is of no use without its text, to which every
# pair is compared; exact keys, hashes too, stay: they keep the very document from coming back in a later run.
SKETCHES = "state/keys-"
TEXTS = "state/texts-"  # of documents that decontamination changed or dropped
FORGOTTEN_PART = "rejected/part-forgotten.parquet"  # of a run that keeps no documents, so has no parts to go by
_FOLDERS = ("documents", "rejected", "shards", "state")
_REJECT_ORDER = [("offset", "ascending"), ("document_id", "ascending")]


class Changes(NamedTuple):
    """What a removal does to a run; new files are staged under their names."""

    manifest: Manifest
    replaced: tuple[FileEntry, ...]  # rewritten and new files, the report among them
    removed: tuple[str, ...]  # files of which nothing is left, and work files that a next run makes again


class _Parts(NamedTuple):
    """Tables of the new run, and what it lost."""

    documents: tuple[FileEntry, ...]
    rejected: tuple[FileEntry, ...]
    lost: Lost


def forget(run: RunFolder, survey: Survey, targets: Sequence[Target], *, reason: str = "", date: str = "") -> Changes:
    """Carries a request out and commits it; raises ShardError where the run is damaged, and then changes nothing."""
    assert isinstance(run.path, Path)  # the command refuses addresses
    staging = start_staging(run.path, _FOLDERS)
    changes = stage_removal(run, survey, targets, staging, reason=reason, date=date)
    _refuse_links(run.path, [*(entry.name for entry in changes.replaced), *changes.removed])
    commit_changes(run.path, replace=changes.replaced, remove=changes.removed, manifest=dump_manifest(changes.manifest))
    return changes


def stage_removal(
    run: RunFolder, survey: Survey, targets: Sequence[Target], staging: Path, *, reason: str, date: str
) -> Changes:
    """Writes what a removal changes into `staging`, and says what the run is then."""
    old = run.manifest
    parts = _rewrite_tables(run, survey, staging, n_removals=len(old.removals) + 1)
    shards = [_rewrite_shard(run, shard, survey, staging) for shard in old.shards]
    lost = parts.lost if old.documents else lost_tokens(run, survey)
    new = old._replace(
        documents=parts.documents,
        rejected=parts.rejected,
        shards=tuple(shard for shard in shards if shard is not None),
        state=tuple(_rewrite_state(run, entry, survey, staging) for entry in old.state),
        report=None,
    )
    replaced, removed = _differences(old, new)
    work_files = find_work_files(run, survey, targets)
    removal = Removal(
        request_sha256=hash_request(targets),
        targets=count_kinds(targets),
        reason=reason,
        date=date,
        documents=len(survey.forgotten),
        sentences=old.counts.sentences - sum(shard.n_sentences for shard in new.shards),
        tokens=old.counts.tokens - sum(shard.n_tokens for shard in new.shards),
        text_bytes=lost.text_bytes,
        emptied=len(survey.emptied),
        dependents=len(survey.dependents),
        files=tuple(sorted([*(entry.name for entry in replaced), *removed])),
        previous_manifest=hashlib.sha256((run.path / FILE_NAME).read_bytes()).hexdigest(),
    )
    new = _settle_books(new, survey, lost, removal)
    if old.report is not None:
        report = _write_report(staging, old.report.name, new)
        new = new._replace(report=report)
        replaced.append(report)
    return Changes(new, tuple(replaced), (*removed, *work_files))


def _rewrite_tables(run: RunFolder, survey: Survey, staging: Path, *, n_removals: int) -> _Parts:
    """Documents and rejects without what is to be forgotten; each part keeps its records, told apart anew."""
    concerned = Counter(one.file for one in survey.forgotten)
    documents: list[FileEntry] = []
    gone: dict[str, pa.Table] = {}  # by the name of the file of rejects that they go to
    losses: list[Lost] = []
    for entry in run.manifest.documents:
        if entry.name not in concerned:
            documents.append(entry)
            continue
        table = _read_whole(run.path, entry, DOCUMENT_SCHEMA)
        is_gone = pc.is_in(table["document_id"], pa.array(sorted(survey.ids), pa.binary(16)))
        out, stay = table.filter(is_gone), table.filter(pc.invert(is_gone))
        losses.append(lost_documents(out, run.manifest))
        gone[f"rejected/{Path(entry.name).name}"] = _forgotten_rows(out, n_removals)
        if stay.num_rows:
            documents.append(write_table(str(staging), entry.name, stay.combine_chunks()))
    if not run.manifest.documents and survey.forgotten:
        gone[FORGOTTEN_PART] = _forgotten_rows(_lineage_rows(run, survey), n_removals)
    return _Parts(tuple(documents), _rewrite_rejects(run, survey, staging, gone), add_lost(losses))


def _rewrite_rejects(
    run: RunFolder, survey: Survey, staging: Path, gone: Mapping[str, pa.Table]
) -> tuple[FileEntry, ...]:
    emptied = pa.array(sorted(survey.emptied), pa.binary(16))
    entries = []
    for entry in run.manifest.rejected:
        table = None
        if entry.name in gone or _holds(run.path, entry, emptied):
            table = _read_whole(run.path, entry, REJECTION_SCHEMA)
            table = _empty_rows(table, pc.is_in(table["document_id"], emptied))
            table = pa.concat_tables([table, gone.get(entry.name, REJECTION_SCHEMA.empty_table())])
        entries.append(entry if table is None else _write_rejects(staging, entry.name, table))
    known = {entry.name for entry in run.manifest.rejected}
    entries += [_write_rejects(staging, name, table) for name, table in gone.items() if name not in known]
    return tuple(sorted(entries, key=lambda entry: entry.name))


def _write_rejects(staging: Path, name: str, table: pa.Table) -> FileEntry:
    return write_table(str(staging), name, table.combine_chunks().sort_by(_REJECT_ORDER))


def _empty_rows(table: pa.Table, flags: Any) -> pa.Table:
    for name in ("url", "detail"):
        column = pc.if_else(flags, "", table[name])
        table = table.set_column(table.schema.get_field_index(name), REJECTION_SCHEMA.field(name), column)
    return table


def _forgotten_rows(places: pa.Table, n_removals: int) -> pa.Table:
    """Rejected records in the place of documents: who they were by hash and place, and which removal it was."""
    verdict = {"url": "", "stage": FORGET_STAGE, "reason": FORGOTTEN, "broken": False}
    rows = [
        {**place, **verdict, "detail": f"removal {n_removals}"}
        for place in places.select(["document_id", "source", "offset"]).to_pylist()
    ]
    return pa.Table.from_pylist(rows, REJECTION_SCHEMA)


def _lineage_rows(run: RunFolder, survey: Survey) -> pa.Table:
    ids = pa.array(sorted(survey.ids), pa.binary(16))
    columns = ("document_id", "source", "offset")
    tables = [
        table.filter(pc.is_in(table["document_id"], ids))
        for shard in run.manifest.shards
        for table in read_tables(run.path, shard.lineage, columns)
    ]
    return pa.concat_tables(tables)


def _rewrite_shard(run: RunFolder, shard: ShardEntry, survey: Survey, staging: Path) -> ShardEntry | None:
    """The shard's entry: as it was where it holds none of the documents, None where it holds no other."""
    ids = pa.array(sorted(survey.ids), pa.binary(16))
    if not _holds(run.path, shard.lineage, ids):
        return shard
    lineage = _read_whole(run.path, shard.lineage, LINEAGE_SCHEMA)
    removed = np.asarray(pc.is_in(lineage["document_id"], ids), np.bool_)
    if removed.all():
        return None
    block_tokens = _block_tokens(run)

    def write(stream: BinaryIO) -> ShardContents:
        with open_shard(run.path / shard.name, shard) as opened:
            return rewrite_shard_to(stream, opened, removed, block_tokens=block_tokens)

    contents = write_atomically(join(str(staging), shard.name), write)
    stay = lineage.filter(pa.array(~removed)).combine_chunks()
    for name, column in zip(("block", "position"), zip(*contents.placements, strict=True), strict=True):
        field = LINEAGE_SCHEMA.field(name)
        stay = stay.set_column(LINEAGE_SCHEMA.get_field_index(name), field, pa.array(column, field.type))
    entry = write_table(str(staging), shard.lineage.name, stay)
    return make_shard_entry(contents, stem=shard.name.removesuffix(".tar"), split=shard.split, lineage=entry)


def _rewrite_state(run: RunFolder, entry: FileEntry, survey: Survey, staging: Path) -> FileEntry:
    """A file of state, without the sketches and texts of the documents, and of their rejected kin, where it has any."""
    ids = pa.array(sorted(survey.ids | survey.emptied), pa.binary(16))
    if not entry.name.startswith((SKETCHES, TEXTS)) or not _holds(run.path, entry, ids):
        return entry
    table = pa.concat_tables(read_tables(run.path, entry, ()))
    stay = table.filter(pc.invert(pc.is_in(table["document_id"], ids)))
    return write_table(str(staging), entry.name, stay.combine_chunks())


def _block_tokens(run: RunFolder) -> int:
    """The run's own setting, by which its blocks are closed."""
    shards = run.manifest.settings.get("shards")
    block_tokens = shards.get("block_tokens") if isinstance(shards, Mapping) else None
    if type(block_tokens) is not int or block_tokens < 1:
        found = f"{block_tokens!r}, but rewriting shards takes the number of tokens that a block is closed at"
        raise ShardError(run.path / FILE_NAME, "settings.shards.block_tokens", f"{found}; rebuild the run")
    return block_tokens


def _settle_books(new: Manifest, survey: Survey, lost: Lost, removal: Removal) -> Manifest:
    """Books, counts and statistics of the run without the documents."""
    n, books = len(survey.forgotten), new.books
    rejected = dict(books.rejected)
    if n:
        rejected[FORGOTTEN] = rejected.get(FORGOTTEN, 0) + n
    return new._replace(
        books=books._replace(kept=books.kept - n, rejected=rejected),
        counts=new.counts._replace(
            documents=new.counts.documents - n,
            sentences=sum(shard.n_sentences for shard in new.shards),
            tokens=sum(shard.n_tokens for shard in new.shards),
            text_bytes=max(new.counts.text_bytes - lost.text_bytes, 0),
        ),
        statistics=statistics_without(new.statistics, lost, hosts=survey.hosts, urls=survey.urls),
        removals=(*new.removals, removal),
    )


def _differences(old: Manifest, new: Manifest) -> tuple[list[FileEntry], list[str]]:
    """Files that are new or have new content, and names of those that are no more."""

    def files(manifest: Manifest) -> dict[str, FileEntry]:
        shards = [FileEntry(shard.name, shard.bytes, shard.sha256) for shard in manifest.shards]
        lineages = [shard.lineage for shard in manifest.shards]
        entries = [*manifest.documents, *manifest.rejected, *shards, *lineages, *manifest.state]
        return {entry.name: entry for entry in entries}

    before, after = files(old), files(new)
    changed = [entry for name, entry in after.items() if before.get(name) != entry]
    return changed, sorted(before.keys() - after.keys())


def _write_report(staging: Path, name: str, manifest: Manifest) -> FileEntry:
    page = render_report(manifest, targets=published_targets(manifest.name)).encode()

    def write(stream: BinaryIO) -> FileEntry:
        hashing = HashingWriter(stream)
        hashing.write(page)
        return FileEntry(name, hashing.n_bytes, hashing.sha256)

    return write_atomically(join(str(staging), name), write)


def _refuse_links(folder: Path, names: Sequence[str]) -> None:
    """A link would be replaced, and what it leads to would stay: ValueError before anything is changed."""
    for name in names:
        place = folder / name
        if place.is_symlink() or place.parent.is_symlink():
            raise ValueError(
                f"{place} is a link, or lies behind one; put the file itself there, so that it can be removed"
            )


def _holds(folder: Place, entry: FileEntry, ids: pa.Array) -> bool:
    """Whether a table has a row of one of these documents."""
    return bool(len(ids)) and any(
        pc.any(pc.is_in(table["document_id"], ids)).as_py() for table in read_tables(folder, entry, ("document_id",))
    )


def _read_whole(folder: Place, entry: FileEntry, schema: pa.Schema) -> pa.Table:
    tables = list(read_tables(folder, entry, schema.names))
    return pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])
