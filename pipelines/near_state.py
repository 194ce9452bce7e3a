"""What a run leaves for later runs under `state/`, so that their documents are compared with its own.

    state/deduplication.json       the rules, the versions of all hashing, which runs this one was made against, and
                                   which it stands for, where it was merged out of others
    state/exact-NNNNN.parquet      exact keys and the document that each belongs to
    state/keys-PART.parquet        near-duplicate keys of the documents that exact deduplication kept
    state/dropped-PART.parquet     which documents were dropped as duplicates, and for whom
    state/edges-NNNNN.parquet      all verified pairs
    state/texts-PART.parquet       texts as they were compared, of documents that decontamination changed or dropped

Nothing here is ever rewritten by a later run. Runs whose rules or hashes differ are never mixed: `open_earlier_runs`
says which run differs, in what, and what to do.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bpe.manifest import FILE_NAME, FileEntry, Manifest, parse_manifest, settings_hash
from corpora.duplicate_pairs import MAX_EPOCH, at_epoch
from corpora.near_duplicates import NearDuplicateRules
from corpora.shingles import describe_hashing
from corpora.sketches import SKETCH_VERSION
from pipelines.settings import SelectionRules, as_plain
from pipelines.sharding import write_table
from pipelines.storage import HashingWriter, exists, join, open_read, write_atomically

STATE_FILE = "state/deduplication.json"
STATE_FORMAT = 1
EXACT_KEY_VERSION = 1  # of canonical URLs, collapsed texts and their hashes
EXACT, _KEYS, _DROPPED, EDGES, TEXTS = (f"state/{what}-" for what in ("exact", "keys", "dropped", "edges", "texts"))

DROPPED_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.binary(16), nullable=False),
        pa.field("kept_id", pa.binary(16), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("similarity", pa.float64()),  # of near-duplicates
    ]
)
EDGE_SCHEMA = pa.schema(
    [
        pa.field("earlier_id", pa.binary(16), nullable=False),
        pa.field("later_id", pa.binary(16), nullable=False),
        pa.field("common", pa.uint32(), nullable=False),  # shingles that both have
        pa.field("sizes", pa.uint32(), nullable=False),  # of both, added up
    ]
)
EXACT_SCHEMA = pa.schema(
    [
        pa.field("step", pa.uint8(), nullable=False),  # which rule the key belongs to
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("document_id", pa.binary(16), nullable=False),  # the first that had it; it may have been dropped since
    ]
)


TEXT_SCHEMA = pa.schema(
    [pa.field("document_id", pa.binary(16), nullable=False), pa.field("text", pa.large_string(), nullable=False)]
)


class EarlierRun(NamedTuple):
    """A finished run whose documents are not taken again."""

    folder: str
    fingerprint: str  # sha256 of its manifest
    identity: str  # of what it was made from, the same after documents were taken out of it
    epoch: int  # place among the runs that a run is made against; a run made against others comes after them


class RunState(NamedTuple):
    """Which run a finished one is to later runs; identities do not change when documents are taken out."""

    identity: str
    made_against: tuple[str, ...]  # identities, in the order of the fingerprints in the run's settings
    stands_for: tuple[str, ...]  # identities of the runs that it was merged out of, and of those they stood for


class EarlierPart(NamedTuple):
    """A part of an earlier run."""

    folder: str
    epoch: int
    name: str
    has_dropped: bool
    has_documents: bool
    has_texts: bool

    @property
    def text_source(self) -> str:
        """Names the part's texts among those of all runs; a part's own name has no slash."""
        return f"{self.epoch:04d}/{self.name}"

    @property
    def text_paths(self) -> list[str]:
        """Where its texts are; an earlier file has precedence."""
        names = [
            (self.has_texts, f"{TEXTS}{self.name}.parquet"),
            (self.has_documents, f"documents/{self.name}.parquet"),
        ]
        return [join(self.folder, name) for is_there, name in names if is_there]


class KeyTable(NamedTuple):
    """Near-duplicate keys of some documents."""

    ids: NDArray[np.uint8]  # [documents, 16]
    orders: NDArray[np.uint64]  # see corpora.duplicate_pairs
    lengths: NDArray[np.int64]  # characters
    keys: NDArray[np.uint64]  # [documents, bands]
    has_words: NDArray[np.bool_]


def describe_state(rules: SelectionRules, *, earlier: Sequence[EarlierRun]) -> dict[str, object]:
    """What `state/deduplication.json` says."""
    return {
        "format": STATE_FORMAT,
        **_parameters(rules),
        "made_against": [run.identity for run in earlier],
    }


def open_earlier_runs(folders: Sequence[str], rules: SelectionRules) -> list[EarlierRun]:
    """The runs in these folders, oldest first; ValueError unless all can be compared with a run of these rules."""
    runs: list[EarlierRun] = []
    against: dict[str, tuple[str, ...]] = {}
    owners: dict[str, EarlierRun] = {}  # the named run that an identity is, or was merged into
    for folder in folders:
        run, state = _open_run(folder, rules)
        _refuse_known(run, state, owners)
        runs.append(run)
        against[run.identity] = state.made_against
        owners |= dict.fromkeys((run.identity, *state.stands_for), run)
    for run in runs:
        missing = [identity for identity in against[run.identity] if identity not in owners]
        if missing:
            raise ValueError(
                f"--against {run.folder}: that run was itself made against {len(missing)} run(s) that are not named,"
                " and its documents say nothing of theirs; name all of them, oldest first"
            )

    def place(run: EarlierRun) -> tuple[int, str]:
        """Who was made against all that another was made against, and against that one, comes after it."""
        return len({owners[identity].identity for identity in against[run.identity]}), run.identity

    ordered = sorted(runs, key=place)
    if len(ordered) >= MAX_EPOCH:
        raise ValueError(f"--against names {len(ordered)} runs; at most {MAX_EPOCH - 1} can be told apart: merge some")
    return [run._replace(epoch=epoch) for epoch, run in enumerate(ordered)]


def fingerprints(folders: Sequence[str], rules: SelectionRules) -> tuple[str, ...]:
    """What the settings of a run say of the runs it is made against."""
    return tuple(run.fingerprint for run in open_earlier_runs(folders, rules))


def earlier_parts(folder: str, *, epoch: int) -> list[EarlierPart]:
    """The parts of an earlier run that have near-duplicate keys, from its manifest."""
    listed = _listed_files(_read_manifest(folder)[0])
    names = [name.removeprefix(_KEYS).removesuffix(".parquet") for name in listed if name.startswith(_KEYS)]
    return [
        EarlierPart(
            folder,
            epoch,
            name,
            f"{_DROPPED}{name}.parquet" in listed,
            f"documents/{name}.parquet" in listed,
            f"{TEXTS}{name}.parquet" in listed,
        )
        for name in names
    ]


def exact_files(folder: str) -> list[str]:
    """Paths of an earlier run's exact keys, from its manifest."""
    return _paths(folder, EXACT)


def dropped_files(folder: str) -> list[str]:
    """Paths of the files that say which documents of an earlier run were dropped, from its manifest."""
    return _paths(folder, _DROPPED)


def _paths(folder: str, prefix: str) -> list[str]:
    return [join(folder, name) for name in _listed_files(_read_manifest(folder)[0]) if name.startswith(prefix)]


def write_description(folder: str, description: Mapping[str, object]) -> FileEntry:
    """Writes `state/deduplication.json`."""
    data = json.dumps(description, indent=1, sort_keys=True).encode() + b"\n"

    def write(stream: Any) -> FileEntry:
        hashing = HashingWriter(stream)
        hashing.write(data)
        return FileEntry(STATE_FILE, hashing.n_bytes, hashing.sha256)

    return write_atomically(join(folder, STATE_FILE), write)


def read_description(folder: str) -> dict[str, Any]:
    """What `state/deduplication.json` says."""
    with open_read(join(folder, STATE_FILE)) as stream:
        description: dict[str, Any] = json.loads(stream.read())
    return description


def run_state(manifest: Manifest, description: Mapping[str, Any]) -> RunState:
    """Who a run is to others, from its manifest and its description; runs that were not merged say nothing of it."""
    return RunState(_identity(manifest), tuple(description["made_against"]), tuple(description.get("stands_for", ())))


def write_keys(folder: str, part_name: str, tables: Iterable[KeyTable]) -> FileEntry:
    """Writes the keys of a part; epochs are left out, since a later run numbers them anew."""
    arrow = []
    for table in tables:
        n_documents, n_bands = table.keys.shape
        arrow.append(
            pa.table(
                [
                    _binary(table.ids.tobytes(), 16),
                    pa.array(at_epoch(table.orders, 0)),
                    pa.array(table.lengths),
                    pa.array(table.has_words),
                    _binary(table.keys.astype("<u8").tobytes(), 8 * n_bands),
                ],
                schema=_keys_schema(n_bands),
            )
        )
        assert n_documents == arrow[-1].num_rows
    return write_table(folder, f"{_KEYS}{part_name}.parquet", pa.concat_tables(arrow))


def read_keys(part: EarlierPart, rules: NearDuplicateRules) -> Iterator[KeyTable]:
    """The keys of a part of an earlier run, some documents at a time."""
    with open_read(join(part.folder, f"{_KEYS}{part.name}.parquet")) as stream:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
        for batch in file.iter_batches(batch_size=16_384):
            keys = np.frombuffer(b"".join(batch["keys"].to_pylist()), "<u8").reshape(-1, rules.bands)
            ids = np.frombuffer(b"".join(batch["document_id"].to_pylist()), np.uint8).reshape(-1, 16)
            has_words = batch["has_words"].to_numpy(zero_copy_only=False)
            yield KeyTable(ids, batch["order"].to_numpy(), batch["n_chars"].to_numpy(), keys, has_words)


def write_dropped(folder: str, part_name: str, rows: Iterable[tuple[bytes, bytes, str, float | None]]) -> FileEntry:
    """Writes which documents of a part were dropped as duplicates: (id, id of the kept one, reason, similarity)."""
    columns = zip(*sorted(rows), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, DROPPED_SCHEMA, strict=True)]
    return write_table(folder, f"{_DROPPED}{part_name}.parquet", pa.table(arrays, schema=DROPPED_SCHEMA))


def write_texts(folder: str, part_name: str, rows: Iterable[tuple[bytes, str]]) -> FileEntry:
    """Writes texts as they were compared, of documents of a part that were changed or dropped afterwards."""
    columns = zip(*sorted(rows), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TEXT_SCHEMA, strict=True)]
    return write_table(folder, f"{TEXTS}{part_name}.parquet", pa.table(arrays, schema=TEXT_SCHEMA))


def read_dropped_ids(part: EarlierPart) -> NDArray[np.uint64]:
    """First halves of the ids of the documents of a part that were dropped as duplicates."""
    if not part.has_dropped:
        return np.empty(0, np.uint64)
    with open_read(join(part.folder, f"{_DROPPED}{part.name}.parquet")) as stream:
        ids = pq.read_table(stream, columns=["document_id"], page_checksum_verification=True)["document_id"]
    halves = np.frombuffer(b"".join(ids.to_pylist()), ">u8").reshape(-1, 2)
    return halves[:, 0].astype(np.uint64)


def write_edges(folder: str, number: int, edges: NDArray[Any]) -> FileEntry:
    """Writes verified pairs."""
    table = pa.table(
        [
            _binary(join_halves(edges["a"]["id"], edges["a_low"]), 16),
            _binary(join_halves(edges["b"]["id"], edges["b_low"]), 16),
            pa.array(edges["common"]),
            pa.array(edges["sizes"]),
        ],
        schema=EDGE_SCHEMA,
    )
    table = table.sort_by([("earlier_id", "ascending"), ("later_id", "ascending")])
    return write_table(folder, f"{EDGES}{number:05d}.parquet", table)


def write_exact(folder: str, number: int, rows: NDArray[Any]) -> FileEntry:
    """Writes exact keys, EXACT_ROWs, and the document that each belongs to."""
    columns = [rows["step"].copy(), _binary(rows["key"].tobytes(), 16), _binary(rows["kept"].tobytes(), 16)]
    table = pa.table([pa.array(columns[0]), *columns[1:]], schema=EXACT_SCHEMA)
    table = table.sort_by([("step", "ascending"), ("key", "ascending")])
    return write_table(folder, f"{EXACT}{number:05d}.parquet", table)


def read_exact(path: str) -> Iterator[tuple[int, bytes, bytes]]:
    """(step, key, id) of a file of exact keys."""
    yield from _read_rows(path)


def read_dropped(path: str) -> Iterator[tuple[bytes, bytes]]:
    """(document id, id of the kept document that stands for it) of a file of dropped documents."""
    yield from _read_rows(path, ["document_id", "kept_id"])


def _read_rows(path: str, columns: list[str] | None = None) -> Iterator[Any]:
    with open_read(path) as stream:
        for batch in pq.ParquetFile(stream, page_checksum_verification=True).iter_batches(columns=columns):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def join_halves(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> bytes:
    """16-byte ids, one after the other, from their halves."""
    return np.stack([high, low], axis=1).astype(">u8").tobytes()


def _refuse_known(run: EarlierRun, state: RunState, owners: Mapping[str, EarlierRun]) -> None:
    """ValueError where a run, or one that it stands for, is among those named before."""
    if run.identity in owners and owners[run.identity].identity == run.identity:
        raise ValueError(f"--against {run.folder}: the same run is named twice; name it once")
    for identity in (run.identity, *state.stands_for):
        if identity in owners:
            raise ValueError(
                f"--against {run.folder}: it holds documents of {owners[identity].folder}, since one was merged out of"
                " the other; name one of them"
            )


def _open_run(folder: str, rules: SelectionRules) -> tuple[EarlierRun, RunState]:
    """A run, and who it is to others."""
    manifest, fingerprint = _read_manifest(folder)
    if STATE_FILE not in _listed_files(manifest):
        raise ValueError(f"--against {folder}: that run kept no state to compare with; make it again with this version")
    description = read_description(folder)
    _check_same(folder, description, rules)
    state = run_state(manifest, description)
    return EarlierRun(folder, fingerprint, state.identity, 0), state


def _read_manifest(folder: str) -> tuple[Manifest, str]:
    """An earlier run's manifest and the sha256 of its file."""
    path = join(folder, FILE_NAME)
    if not exists(path):
        raise ValueError(f"--against {folder}: no {FILE_NAME}, so there is no finished run there; name a finished one")
    with open_read(path) as stream:
        data = stream.read()
    return parse_manifest(data, path=path), hashlib.sha256(data).hexdigest()


def _listed_files(manifest: Manifest) -> dict[str, FileEntry]:
    return {entry.name: entry for entry in (*manifest.state, *manifest.documents)}


def _identity(manifest: Manifest) -> str:
    """The same for the same input and settings, whatever was taken out of the run since."""
    inputs = [[entry.name, entry.bytes, entry.fingerprint] for entry in manifest.inputs]
    return settings_hash({"settings": manifest.settings_hash, "inputs": inputs})


def _parameters(rules: SelectionRules) -> dict[str, object]:
    """All that must be equal between runs that are compared."""
    return {
        "exact": {**_plain(rules.deduplication), "key_version": EXACT_KEY_VERSION},
        "near_duplicates": _plain(rules.near_duplicates) if rules.near_duplicates else None,
        "hashing": {**describe_hashing(), "sketch_version": SKETCH_VERSION},
    }


def _check_same(folder: str, state: Mapping[str, object], rules: SelectionRules) -> None:
    if state.get("format") != STATE_FORMAT:
        raise ValueError(
            f"--against {folder}: its state has format {state.get('format')!r}, this version reads {STATE_FORMAT};"
            " make that run again with this version"
        )
    ours = _parameters(rules)
    for section, mine in ours.items():
        theirs = state.get(section)
        if theirs == mine:
            continue
        if section == "hashing" and rules.near_duplicates is None:
            continue  # exact keys do not depend on it
        raise ValueError(f"--against {folder}: {_difference(section, theirs, mine)}")


def _difference(section: str, theirs: object, mine: object) -> str:
    """What differs, and what to do."""
    if section == "near_duplicates" and theirs is None:
        return (
            "near-duplicates were off in that run, so it has no keys to compare with;"
            " make it again with --near-duplicates, or switch them off here too"
        )
    if section == "near_duplicates" and mine is None:
        return "near-duplicates were on in that run and are off here; use the same --near-duplicates for both"
    assert isinstance(theirs, Mapping)
    assert isinstance(mine, Mapping)
    names = sorted(name for name in {*theirs, *mine} if theirs.get(name) != mine.get(name))
    shown = "; ".join(f"{name} is {theirs.get(name)} there and {mine.get(name)} here" for name in names)
    remedy = (
        "make that run again with this version and the same Python"
        if section == "hashing"
        else "use the same rules for both runs, or make that run again with these"
    )
    return f"{shown}; {remedy}"


def _plain(value: object) -> dict[str, object]:
    plain = as_plain(value)
    assert isinstance(plain, dict)
    return plain


def _keys_schema(n_bands: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("document_id", pa.binary(16), nullable=False),
            pa.field("order", pa.uint64(), nullable=False),
            pa.field("n_chars", pa.int64(), nullable=False),
            pa.field("has_words", pa.bool_(), nullable=False),
            pa.field("keys", pa.binary(8 * n_bands), nullable=False),
        ]
    )


def _binary(data: bytes, width: int) -> pa.Array:
    buffer = pa.py_buffer(data)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(data) // width, [None, buffer])
