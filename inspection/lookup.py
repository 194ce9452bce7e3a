"""All that a run knows of one record: its document, its rejection, its place in a shard.

A record is asked for by its id, by its URL or by a place in a shard; each way leads to the same answer.
"""

from typing import NamedTuple

from bpe.manifest import ShardEntry
from corpora.documents import Document, Rejection
from inspection.errors import NotFoundError
from inspection.rows import IdPrefix, Lineage, Match, find_rows, match_id, match_value
from inspection.run_folder import RunFolder, find_shard

MAX_NAMED = 5  # ids that an error about an ambiguous one lists


class Placed(NamedTuple):
    """A document's place in a shard."""

    shard: ShardEntry
    lineage: Lineage


class Record(NamedTuple):
    """One record of the crawl; at least one of the three is there."""

    document_id: bytes  # bytes16
    document: Document | None  # None where it was not kept, or where the run keeps no texts
    rejection: Rejection | None
    placed: Placed | None  # None where it was not kept, or not encoded


def find_record(run: RunFolder, wanted: IdPrefix) -> Record:
    """The record whose id begins so; NotFoundError where there is none, or more than one."""
    records = find_records(run, wanted)
    if not records:
        raise NotFoundError(f"{run.path}: no record has an id that begins with {wanted.digits}, kept or rejected")
    if len(records) > 1:
        named = ", ".join(record.document_id.hex() for record in records[:MAX_NAMED])
        raise NotFoundError(f"{run.path}: {len(records)} ids begin with {wanted.digits} ({named}); give more digits")
    return records[0]


def find_records(run: RunFolder, wanted: IdPrefix) -> list[Record]:
    """All records whose ids begin so, in their order."""
    return _find(run, "document_id", match_id(wanted))


def find_records_of_url(run: RunFolder, url: str) -> list[Record]:
    """Every record of exactly this URL, kept ones first; NotFoundError where there is none."""
    records = _find(run, "url", match_value(url))
    if not records:
        raise NotFoundError(f"{run.path}: no record has the URL {url}, as recorded, kept or rejected")
    return sorted(records, key=lambda record: record.rejection is not None)


def find_record_at(run: RunFolder, shard_name: str, block: int, position: int) -> Record:
    """The record at a place in a shard; NotFoundError where there is no such place."""
    placed = find_place(run, find_shard(run, shard_name), block, position)
    document_id = placed.lineage.document_id
    match = match_id(IdPrefix(document_id.hex()))
    for _, document in find_rows(run.path, run.manifest.documents, Document, column="document_id", match=match):
        return Record(document_id, document, None, placed)
    return Record(document_id, None, None, placed)


def find_place(run: RunFolder, shard: ShardEntry, block: int, position: int) -> Placed:
    """The lineage of the document at a position of a block of a shard."""
    blocks = shard.blocks.n_documents
    if not 0 <= block < blocks.size:
        raise NotFoundError(f"{shard.name}: no block {block}; it has {blocks.size}, counted from 0")
    if not 0 <= position < blocks[block]:
        raise NotFoundError(f"{shard.name}: no document {position} in block {block}; it has {blocks[block]}, from 0")
    for _, row in find_rows(run.path, [shard.lineage], Lineage, column="block", match=match_value(block)):
        if row.position == position:
            return Placed(shard, row)
    raise NotFoundError(f"{shard.lineage.name}: no row for block {block}, document {position}; verify the run")


def _find(run: RunFolder, column: str, match: Match) -> list[Record]:
    """Records that match, in the order of their ids."""
    manifest = run.manifest
    found: dict[bytes, Record] = {}

    def known(document_id: bytes) -> Record:
        return found.get(document_id, Record(document_id, None, None, None))

    for _, document in find_rows(run.path, manifest.documents, Document, column=column, match=match):
        found[document.document_id] = known(document.document_id)._replace(document=document)
    for _, rejection in find_rows(run.path, manifest.rejected, Rejection, column=column, match=match):
        found[rejection.document_id] = known(rejection.document_id)._replace(rejection=rejection)
    for shard in manifest.shards:
        for _, lineage in find_rows(run.path, [shard.lineage], Lineage, column=column, match=match):
            found[lineage.document_id] = known(lineage.document_id)._replace(placed=Placed(shard, lineage))
    return [found[document_id] for document_id in sorted(found)]
