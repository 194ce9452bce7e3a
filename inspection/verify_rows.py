"""Verification of a run's tables: their rows against the manifest, lineage against shards, ids against each other.

Memory stays bounded on any corpus: ids are compared as eight of their bytes, a share of them at a time,
and only what then looks equal is compared in full.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from bpe.errors import ShardError
from bpe.manifest import FileEntry, ShardEntry
from bpe.places import Place
from bpe.shards import ShardBlock, find_borders
from corpora.documents import DOCUMENT_SCHEMA, REJECTION_SCHEMA
from inspection.rows import Lineage, id_matrix, open_table
from inspection.run_folder import RunFolder

IDS_AT_ONCE = 1 << 25  # 256 MiB of eight-byte prefixes
MAX_EXAMPLES = 5

Int64s = npt.NDArray[np.int64]


class Places(NamedTuple):
    """The lineage of a shard, a row per document."""

    block: Int64s
    position: Int64s
    n_tokens: Int64s


def check_tables(run: RunFolder, broken: set[str], *, full: bool) -> Iterator[ShardError]:
    """Rows and columns of every table; of the whole, rejects by reason against the books, text against the counts."""
    manifest = run.manifest
    lineages = [shard.lineage for shard in manifest.shards]
    failed = False
    for entries, columns in (
        (manifest.documents, tuple(DOCUMENT_SCHEMA.names)),
        (manifest.rejected, tuple(REJECTION_SCHEMA.names)),
        (lineages, Lineage._fields),
    ):
        for entry in entries:
            error = None if entry.name in broken else _check_table(run.path, entry, columns)
            failed |= error is not None or entry.name in broken
            if error is not None:
                yield error
    if full and not failed:
        yield from _check_books(run)
        yield from _check_text(run)


def read_places(run: RunFolder, shard: ShardEntry) -> Places:
    """The lineage's columns that say where documents stand; raises ShardError."""
    with open_table(run.path, shard.lineage, Lineage._fields) as parquet:
        table = parquet.read(columns=list(Places._fields))
        return Places(*(np.asarray(table[name], np.int64) for name in Places._fields))


def check_places(run: RunFolder, shard: ShardEntry, places: Places) -> Iterator[ShardError]:
    """Lineage rows stand in the order of the shard: block after block, document after document."""
    per_block = shard.blocks.n_documents
    starts = np.cumsum(per_block) - per_block
    expected = (
        ("block", np.repeat(np.arange(per_block.size), per_block), places.block),
        ("position", np.arange(per_block.sum()) - np.repeat(starts, per_block), places.position),
    )
    for name, wanted, found in expected:
        if found.size != wanted.size:
            continue  # reported with the table's rows
        different = np.flatnonzero(found != wanted)
        if different.size:
            row = int(different[0])
            said = f"{name} {found[row]}, but by the shard's blocks it is {wanted[row]}; rebuild the run"
            yield ShardError(run.path / shard.lineage.name, f"row {row}", said)


def check_tokens(shard_path: str, k: int, block: ShardBlock, places: Places) -> Iterator[ShardError]:
    """Tokens of each document of a block against the lineage; inner sums of the block first."""
    if int(block.sentences_per_document.sum(dtype=np.int64)) != block.sentence_lengths.size:
        return  # check_shard says so
    n_tokens = np.diff(find_borders(block).tokens)
    said = places.n_tokens[places.block == k]
    if said.size != n_tokens.size:
        yield ShardError(shard_path, f"block {k}", f"{n_tokens.size} documents, but the lineage has {said.size}")
        return
    different = np.flatnonzero(n_tokens != said)
    if different.size:
        position = int(different[0])
        found = f"{n_tokens[position]} tokens, but the lineage says {said[position]}; rebuild the run"
        yield ShardError(shard_path, f"block {k}, document {position}", found)


def check_ids(run: RunFolder, broken: set[str]) -> Iterator[ShardError]:
    """No id twice among all records, nor in the shards; the documents are exactly what the shards hold."""
    manifest = run.manifest
    lineages = [shard.lineage for shard in manifest.shards]
    documents = list(manifest.documents)
    if broken & {entry.name for entry in chain(documents, manifest.rejected, lineages)}:
        return
    records = [*(documents or lineages), *manifest.rejected]
    compare = bool(documents and lineages)
    n_passes = -(-max(sum(entry.rows or 0 for entry in entries) for entries in (records, lineages)) // IDS_AT_ONCE)
    for share in range(max(n_passes, 1)):
        yield from _check_unique(run.path, records, share, n_passes)
        if compare:
            yield from _check_unique(run.path, lineages, share, n_passes)
            yield from _check_equal(run.path, documents, lineages, share, n_passes)


def _check_table(folder: Place, entry: FileEntry, columns: tuple[str, ...]) -> ShardError | None:
    try:
        with open_table(folder, entry, columns) as parquet:
            n_rows = parquet.metadata.num_rows
    except ShardError as error:
        return error
    if n_rows == entry.rows:
        return None
    return ShardError(folder / entry.name, "", f"{n_rows} rows, but the manifest says {entry.rows}; rebuild the run")


def _check_books(run: RunFolder) -> Iterator[ShardError]:
    """Rejects of each reason in the files against the books."""
    counts: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for entry in run.manifest.rejected:
        with open_table(run.path, entry, ("reason", "broken")) as parquet:
            table = parquet.read(columns=["reason", "broken"])
            for is_broken, counter in counts.items():
                reasons = table.filter(pc.equal(table["broken"], is_broken))["reason"]
                counter.update({pair["values"]: pair["counts"] for pair in pc.value_counts(reasons).to_pylist()})
    books = run.manifest.books
    for kind, found, said in (("rejected", counts[False], books.rejected), ("broken", counts[True], books.broken)):
        for reason in sorted(found.keys() | said.keys()):
            if found[reason] != said.get(reason, 0):
                what = f"{said.get(reason, 0)} records, but rejected/ holds {found[reason]}; rebuild the run"
                yield ShardError(run.path / "manifest.json", f"books.{kind}.{reason}", what)


def _check_text(run: RunFolder) -> Iterator[ShardError]:
    """Bytes of all texts against the counts, where the run keeps its texts."""
    if not run.manifest.documents:
        return
    n_bytes = 0
    for entry in run.manifest.documents:
        with open_table(run.path, entry, ("text",)) as parquet:
            for batch in parquet.iter_batches(columns=["text"]):
                n_bytes += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
    said = run.manifest.counts.text_bytes
    if n_bytes != said:
        found = f"{said}, but the documents hold {n_bytes} bytes of text; rebuild the run"
        yield ShardError(run.path / "manifest.json", "counts.text_bytes", found)


def _check_unique(folder: Place, entries: list[FileEntry], share: int, n_shares: int) -> Iterator[ShardError]:
    """Ids that occur more than once in these files, with the place of the second time."""
    heads = _sorted_heads(folder, entries, share, n_shares)
    suspects = np.unique(heads[1:][heads[1:] == heads[:-1]])
    if not suspects.size:
        return
    seen: dict[bytes, str] = {}
    n_faults = 0
    for entry, row, document_id in _rows_of(folder, entries, suspects):
        first = seen.setdefault(document_id, f"{entry.name} row {row}")
        if first != f"{entry.name} row {row}":
            n_faults += 1
            if n_faults <= MAX_EXAMPLES:
                found = f"document {document_id.hex()} is there already, in {first}; rebuild the run"
                yield ShardError(folder / entry.name, f"row {row}", found)
    if n_faults > MAX_EXAMPLES:
        yield ShardError(folder, "", f"{n_faults - MAX_EXAMPLES} more document ids occur twice")


def _check_equal(
    folder: Place, documents: list[FileEntry], lineages: list[FileEntry], share: int, n_shares: int
) -> Iterator[ShardError]:
    """Documents that are in no shard, and documents of shards that are in no file of documents."""
    kept, placed = (_sorted_heads(folder, entries, share, n_shares) for entries in (documents, lineages))
    for entries, extra, where in (
        (documents, np.setdiff1d(kept, placed), "is in no shard"),
        (lineages, np.setdiff1d(placed, kept), "is not among the documents"),
    ):
        examples = list(_rows_of(folder, entries, extra[:MAX_EXAMPLES])) if extra.size else []
        for entry, row, document_id in examples:
            found = f"document {document_id.hex()} {where}; rebuild the run"
            yield ShardError(folder / entry.name, f"row {row}", found)
        if extra.size > MAX_EXAMPLES:
            yield ShardError(folder, "", f"{extra.size - MAX_EXAMPLES} more documents: each {where}")


def _sorted_heads(folder: Place, entries: Iterable[FileEntry], share: int, n_shares: int) -> npt.NDArray[np.uint64]:
    """First eight bytes of the ids of one share of the files' rows, sorted."""
    shares = [np.empty(0, np.uint64)]
    for _, heads, _ in _ids_of(folder, entries):
        shares.append(heads[heads % np.uint64(max(n_shares, 1)) == share])
    return np.sort(np.concatenate(shares))


def _rows_of(
    folder: Place, entries: Iterable[FileEntry], heads: npt.NDArray[np.uint64]
) -> Iterator[tuple[FileEntry, int, bytes]]:
    """(file, row, id) of the rows whose id begins so."""
    for entry, found, ids in _ids_of(folder, entries):
        for row in np.flatnonzero(np.isin(found, heads)):
            yield entry, int(row), ids[row].tobytes()


def _ids_of(
    folder: Place, entries: Iterable[FileEntry]
) -> Iterator[tuple[FileEntry, npt.NDArray[np.uint64], npt.NDArray[np.uint8]]]:
    """(file, first eight bytes of its ids, its ids) of each file."""
    for entry in entries:
        with open_table(folder, entry, ("document_id",)) as parquet:
            ids = id_matrix(parquet.read(columns=["document_id"])["document_id"])
            yield entry, np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64), ids
