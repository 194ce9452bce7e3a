"""From JSON to a `Manifest`, with everything checked that the manifest says about itself.

The checks need no other file: names stay in the folder and are given once, books balance, rows and
counts add up, and the block tables are the ones that their counts imply (bpe.layout).
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from bpe.entries import (
    ENCODINGS,
    SPLITS,
    Books,
    Counts,
    FileEntry,
    InputEntry,
    Manifest,
    Removal,
    ShardEntry,
    VocabularyEntry,
)
from bpe.growing import FORMAT as GROWING_FORMAT
from bpe.layout import BlockTable, block_offsets, block_sizes, shard_bytes
from bpe.strict_json import (
    Node,
    read_choice,
    read_count,
    read_count_array,
    read_counts_by_name,
    read_date,
    read_items,
    read_object,
    read_plain,
    read_relative_name,
    read_sha256,
    read_text,
)
from bpe.tokenized import MAX_SENTENCE_TOKENS
from bpe.ustar import MAX_PAYLOAD

FORMAT = "shardmill-manifest-1"
REMOVAL_FORMAT = "shardmill-removal-1"  # of what stands in a manifest's place while files of the run are replaced
FORGOTTEN = "forgotten"  # the reason, in the books, of documents that a removal took out
OPTIONAL_KEYS = ("state", "removals")  # left out where they are empty, so that a run without them has its old bytes
STATE_FOLDER = "state/"
MAX_DETAIL_DEPTH = 8  # of lists and objects in each other; reports are flat


def read_manifest(root: Node) -> Manifest:
    """The manifest in a parsed file; raises ShardError."""
    _check_format(root)
    required = (key for key in Manifest._fields if key not in OPTIONAL_KEYS)
    node = read_object(root, ("format", *required), optional=OPTIONAL_KEYS)
    manifest = Manifest(
        name=read_text(node["name"]),
        code_version=read_text(node["code_version"]),
        settings=_read_settings(node["settings"]),
        settings_hash=read_sha256(node["settings_hash"]),
        inputs=tuple(_read_input(item) for item in read_items(node["inputs"])),
        vocabulary=None if node["vocabulary"].value is None else _read_vocabulary(node["vocabulary"]),
        books=_read_books(node["books"]),
        counts=Counts(**{key: read_count(one) for key, one in read_object(node["counts"], Counts._fields).items()}),
        statistics=_read_statistics(node["statistics"]),
        documents=tuple(_read_table(item) for item in read_items(node["documents"])),
        rejected=tuple(_read_table(item) for item in read_items(node["rejected"])),
        shards=tuple(_read_shard(item) for item in read_items(node["shards"])),
        report=None if node["report"].value is None else _read_file(node["report"]),
        state=tuple(_read_state(item) for item in _read_some(node.get("state"))),
        removals=tuple(_read_removal(item) for item in _read_some(node.get("removals"))),
    )
    _check_names(root, manifest)
    _check_totals(root, manifest)
    return manifest


def list_files(manifest: Manifest) -> Iterator[FileEntry]:
    """Every file that the manifest lists."""
    yield from chain(manifest.documents, manifest.rejected, manifest.state)
    for shard in manifest.shards:
        yield FileEntry(shard.name, shard.bytes, shard.sha256)
        yield shard.lineage
    if manifest.vocabulary is not None:
        yield FileEntry(*manifest.vocabulary[:3])
    if manifest.report is not None:
        yield manifest.report


def _check_format(root: Node) -> None:
    found = root.value.get("format") if isinstance(root.value, dict) else None
    if found == REMOVAL_FORMAT:
        root.child("format", None).fail(
            "documents are being removed from this run, or that was interrupted and some of its files are new, others"
            " old; `prep-shards forget` with this folder, and nothing else, completes it"
        )
    if found == GROWING_FORMAT:
        root.child("format", None).fail(
            "a corpus that grows holds no documents of its own; name one of its runs, below windows/"
        )
    if found != FORMAT:
        root.child("format", None).fail(
            f"found {found!r}, this version reads {FORMAT!r}; use the version that wrote it"
        )


def _read_settings(node: Node) -> dict[str, object]:
    if not isinstance(node.value, dict):
        node.fail("an object was expected")
    return node.value


def _read_input(node: Node) -> InputEntry:
    fields = read_object(node, InputEntry._fields)
    name = read_relative_name(fields["name"], opened=False)
    return InputEntry(name, read_count(fields["bytes"]), read_text(fields["fingerprint"]))


def _read_file(node: Node) -> FileEntry:
    fields = read_object(node, ("name", "bytes", "sha256"))
    return FileEntry(read_relative_name(fields["name"]), read_count(fields["bytes"]), read_sha256(fields["sha256"]))


def _read_table(node: Node) -> FileEntry:
    fields = read_object(node, FileEntry._fields)
    return FileEntry(
        read_relative_name(fields["name"]),
        read_count(fields["bytes"]),
        read_sha256(fields["sha256"]),
        read_count(fields["rows"]),
    )


def _read_some(node: Node | None) -> list[Node]:
    """The elements of an optional list, which is left out where there are none."""
    if node is None:
        return []
    return read_items(node) or node.fail("an empty list; leave the key out")


def _read_state(node: Node) -> FileEntry:
    fields = read_object(node, ("name", "bytes", "sha256"), optional=("rows",))
    name = read_relative_name(fields["name"])
    if not name.startswith(STATE_FOLDER):
        fields["name"].fail(f"{name[:80]!r} is not below {STATE_FOLDER}, where state lies; rebuild the run")
    rows = read_count(fields["rows"]) if "rows" in fields else None
    return FileEntry(name, read_count(fields["bytes"]), read_sha256(fields["sha256"]), rows)


def _read_removal(node: Node) -> Removal:
    fields = read_object(node, Removal._fields)
    counts = ("documents", "sentences", "tokens", "text_bytes", "emptied", "dependents")
    removal = Removal(
        request_sha256=read_sha256(fields["request_sha256"]),
        targets=read_counts_by_name(fields["targets"]),
        reason=read_text(fields["reason"], empty=True),
        date=read_date(fields["date"]),
        files=tuple(read_relative_name(item) for item in read_items(fields["files"])),
        previous_manifest=read_sha256(fields["previous_manifest"]),
        **{key: read_count(fields[key]) for key in counts},
    )
    if list(removal.files) != sorted(set(removal.files)):
        fields["files"].fail("the names are not in order, or one is given twice")
    return removal


def _read_vocabulary(node: Node) -> VocabularyEntry:
    fields = read_object(node, VocabularyEntry._fields)
    return VocabularyEntry(
        name=read_relative_name(fields["name"]),
        bytes=read_count(fields["bytes"]),
        sha256=read_sha256(fields["sha256"]),
        fingerprint=read_sha256(fields["fingerprint"]),
        size=read_count(fields["size"]),
        encoding=read_choice(fields["encoding"], ENCODINGS),
    )


def _read_books(node: Node) -> Books:
    fields = read_object(node, Books._fields)
    books = Books(
        read=read_count(fields["read"]),
        kept=read_count(fields["kept"]),
        rejected=read_counts_by_name(fields["rejected"]),
        broken=read_counts_by_name(fields["broken"]),
    )
    lost = sum(books.rejected.values()) + sum(books.broken.values())
    if books.read != books.kept + lost:
        node.fail(f"{books.read} read, but {books.kept} kept and {lost} rejected or broken; rebuild the run")
    return books


def _read_statistics(node: Node) -> dict[str, object]:
    """Figures for people: their form is checked, they need not add up to anything."""
    fields = read_object(node, ("languages", "domains", "characters", "duplicates"), optional=("details",))
    domains = read_object(fields["domains"], ("distinct", "top"))
    top = []
    for item in read_items(domains["top"]):
        pair = read_items(item)
        if len(pair) != 2:
            item.fail("a pair of domain and count was expected")
        if not isinstance(pair[0].value, str):  # "" is the domain of what has no address
            pair[0].fail("a domain was expected")
        top.append([pair[0].value, read_count(pair[1])])
    return {
        "languages": read_counts_by_name(fields["languages"]),
        "domains": {"distinct": read_count(domains["distinct"]), "top": top},
        "characters": read_counts_by_name(fields["characters"]),
        "duplicates": read_counts_by_name(fields["duplicates"]),
    } | ({"details": _read_details(fields["details"])} if "details" in fields else {})


def _read_details(node: Node) -> dict[str, object]:
    """Reports of single stages by name: any plain values, for people and for what shows them."""
    if not isinstance(node.value, dict) or not node.value:
        node.fail("an object with at least one member was expected; leave the key out where there is none")
    return {name: read_plain(node.child(name, value), max_depth=MAX_DETAIL_DEPTH) for name, value in node.value.items()}


def _read_shard(node: Node) -> ShardEntry:
    fields = read_object(node, ShardEntry._fields)
    shard = ShardEntry(
        name=read_relative_name(fields["name"]),
        bytes=read_count(fields["bytes"]),
        sha256=read_sha256(fields["sha256"]),
        split=read_choice(fields["split"], SPLITS),
        n_documents=read_count(fields["n_documents"]),
        n_sentences=read_count(fields["n_sentences"]),
        n_tokens=read_count(fields["n_tokens"]),
        lineage=_read_table(fields["lineage"]),
        blocks=_read_blocks(fields["blocks"]),
    )
    if shard.lineage.rows != shard.n_documents:
        fields["lineage"].fail(f"{shard.lineage.rows} rows for {shard.n_documents} documents; rebuild the run")
    _check_blocks(node, shard)
    return shard


def _read_blocks(node: Node) -> BlockTable:
    fields = read_object(node, BlockTable._fields)
    columns = {key: read_count_array(one) for key, one in fields.items()}
    crc32c = columns.pop("crc32c")
    if len({column.size for column in (*columns.values(), crc32c)}) != 1:
        node.fail("the columns are not of one length; rebuild the run")
    if crc32c.size and crc32c.max() >= 1 << 32:
        fields["crc32c"].fail("a checksum has more than 32 bits")
    return BlockTable(**columns, crc32c=crc32c.astype(np.uint32))


def _check_blocks(node: Node, shard: ShardEntry) -> None:
    blocks = shard.blocks
    for column, total in (
        ("n_tokens", shard.n_tokens),
        ("n_sentences", shard.n_sentences),
        ("n_documents", shard.n_documents),
    ):
        counts = getattr(blocks, column)
        if counts.size and 4 * int(counts.max()) > MAX_PAYLOAD:
            node.fail(f"a block has {counts.max()} in {column}, more than a tar member holds")
        if int(counts.sum()) != total:
            node.fail(f"{column} is {total}, but its blocks add up to {counts.sum()}; rebuild the run")
    if np.any(blocks.n_documents == 0):
        node.fail("a block without documents; rebuild the run")
    if np.any(blocks.n_tokens < blocks.n_sentences) or np.any(
        blocks.n_tokens > MAX_SENTENCE_TOKENS * blocks.n_sentences
    ):
        node.fail("a block whose tokens cannot be those of its sentences; rebuild the run")
    sizes = block_sizes(blocks.n_tokens, blocks.n_sentences, blocks.n_documents)
    if np.any(blocks.offset != block_offsets(sizes)):
        node.fail("the offsets of its blocks are not those that their counts imply; rebuild the run")
    if shard.bytes != shard_bytes(sizes):
        node.fail(f"bytes is {shard.bytes}, but the counts of its blocks imply {shard_bytes(sizes)}; rebuild the run")


def _check_names(root: Node, manifest: Manifest) -> None:
    for place, names in (
        ("inputs", [one.name for one in manifest.inputs]),
        ("", [one.name for one in list_files(manifest)]),
    ):
        if len(set(names)) != len(names):
            twice = next(name for k, name in enumerate(sorted(names)) if sorted(names)[k - 1] == name)
            Node(root.path, place, None).fail(f"{twice!r} is listed twice; rebuild the run")


def _check_totals(root: Node, manifest: Manifest) -> None:
    """Raises ShardError unless books, counts, rows and shards tell one story."""
    books, counts, shards = manifest.books, manifest.counts, manifest.shards
    lost = books.read - books.kept
    claims = [("counts.documents", counts.documents, "records kept", books.kept)]
    if manifest.documents:
        claims.append(("counts.documents", counts.documents, "rows of documents", _rows(manifest.documents)))
    claims.append(("rejected", _rows(manifest.rejected), "records rejected or broken", lost))
    claims.append(("counts.sentences", counts.sentences, "sentences in the shards", sum(s.n_sentences for s in shards)))
    claims.append(("counts.tokens", counts.tokens, "tokens in the shards", sum(s.n_tokens for s in shards)))
    if manifest.vocabulary is not None:
        claims.append(
            ("counts.documents", counts.documents, "documents in the shards", sum(s.n_documents for s in shards))
        )
    elif shards:
        Node(root.path, "vocabulary", None).fail("there are shards, but no vocabulary; rebuild the run")
    forgotten = books.rejected.get(FORGOTTEN, 0)
    claims.append(("removals", sum(one.documents for one in manifest.removals), f"records are {FORGOTTEN}", forgotten))
    for key, claimed, what, found in claims:
        if claimed != found:
            Node(root.path, key, None).fail(f"{claimed}, but {found} {what}; rebuild the run")


def _rows(entries: tuple[FileEntry, ...]) -> int:
    return sum(entry.rows or 0 for entry in entries)
