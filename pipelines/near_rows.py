"""From texts to pairs to compare: keys of each document, buckets of documents that share one, each pair once.

Text is read here, in batches, and nothing of it goes on: a document becomes `bands` packed rows of 24 bytes. The keys
are written down under `state/`, so that a later run need not read these texts again.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpora.canaries import Canaries, plant_canaries
from corpora.duplicate_pairs import (
    CANARY_EPOCH,
    DROPPED,
    PAIR,
    ROW,
    at_epoch,
    distinct,
    make_order,
    pair_buckets,
    unique_pairs,
)
from corpora.near_duplicates import NearDuplicateRules, chance_of_comparison
from corpora.shingles import HashedRuns, hash_ngrams, hash_words, mix64
from corpora.sketches import make_keys, make_sketches
from pipelines.deduplication import unpack_candidates
from pipelines.near_state import EarlierPart, KeyTable, read_dropped_ids, read_keys, write_keys
from pipelines.packed import PackedRows, id_partition, top_bits, unpack, windowed
from pipelines.work_files import read_groups

PLACES = "places"  # (partition of ids, (text source, packed PLACE)): where the text of a document is
STATE = "state"  # FileEntry as a tuple
TALLY = "tally"  # (what was counted, how often)
LARGEST = "largest"  # (documents, key, first id) of the largest buckets

PLACE = np.dtype([("id", "<u8"), ("low", "<u8")])  # the 16 bytes of a document's id, both halves big-endian numbers
# Where the shingles of a document are needed, and for which pair: a second document names it, a first names none.
ROUTE = np.dtype([("id", "<u8"), ("comparison", "<u4"), ("pair", PAIR)])

BATCH_TEXTS = 64  # their arrays stay in the processor's cache
MAX_PAIRS = 1 << 20  # gathered before repeated ones are removed
LARGEST_BUCKETS = 10
LARGE_BUCKET = 1_000  # documents
_PAIRS_PER_COMPARISON = 4_096  # of one first document; a crowd is dealt out to several partitions
CHANCE_UNIT = 1 << 40  # chances are added up as whole numbers, whose sum does not depend on the order


class MakeRows(beam.DoFn):
    """(part name, its work files and the candidates kept so far) -> (partition of keys, packed ROW), and more aside."""

    def __init__(self, rules: NearDuplicateRules, *, output: str, epoch: int) -> None:
        self.rules, self.output, self.epoch = rules, output, epoch

    def start_bundle(self) -> None:
        self.rows = PackedRows(ROW, self.rules.partitions)
        self.tally: Counter[str] = Counter()

    def process(self, element: Any) -> Iterator[Any]:
        part_name, groups = element
        kept = pa.array([candidate[1] for candidate in unpack_candidates(groups["kept"])], pa.binary(16))
        tables, places = [], []
        for _, path, _ in sorted(groups["files"]):
            for batch in _read_batches(path, kept):
                table = self._add(batch)
                tables.append(table)
                places.append(_places(table.ids))
                if self.rows.is_full:
                    yield from self.rows.take()
        if not tables:
            return
        yield from place_outputs(part_name, np.concatenate(places), self.rules)
        yield beam.pvalue.TaggedOutput(STATE, tuple(write_keys(self.output, part_name, tables)))

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self.rows.take())
        yield from (windowed(beam.pvalue.TaggedOutput(TALLY, item)) for item in sorted(self.tally.items()))

    def _add(self, batch: pa.Table) -> KeyTable:
        """Rows of a batch of documents, and of the copies planted among them."""
        rules, texts = self.rules, batch["text"].cast(pa.large_binary()).to_pylist()
        ids = _id_bytes(batch["document_id"])
        high = _places(ids)["id"]
        words = hash_words(texts)
        grams = hash_ngrams(words, rules.shingle_words, short_texts=True)
        keys = keys_of(grams, rules)
        orders = np.array([make_order(self.epoch, moment) for moment in batch["fetched_at"].to_pylist()], np.uint64)
        lengths = pc.utf8_length(batch["text"]).to_numpy()
        has_words = np.diff(grams.starts) > 0
        self._add_rows(keys[has_words], orders[has_words], lengths[has_words], high[has_words])
        canaries = plant_canaries(words, high, n=rules.shingle_words, threshold=rules.exact_threshold)
        self._add_canaries(canaries, high, lengths)
        self.tally["documents"] += len(texts)
        self.tally["without_words"] += int(np.count_nonzero(~has_words))
        self.tally["short"] += int(np.count_nonzero(has_words & (np.diff(words.starts) < rules.shingle_words)))
        return KeyTable(ids, orders, lengths, keys, has_words)

    def _add_canaries(self, canaries: Canaries, ids: NDArray[np.uint64], lengths: NDArray[np.int64]) -> None:
        n = canaries.texts.size
        if not n:
            return
        keys = keys_of(hash_ngrams(canaries.words, self.rules.shingle_words), self.rules)
        orders = np.full(n, make_order(CANARY_EPOCH, ""), np.uint64)
        self._add_rows(keys, orders, lengths[canaries.texts], ids[canaries.texts])
        chances = chance_of_comparison(canaries.similarities, self.rules)
        self.tally["canaries_planted"] += n
        self.tally["canaries_expected"] += sum(round(chance * CHANCE_UNIT) for chance in chances.tolist())

    def _add_rows(
        self, keys: NDArray[np.uint64], orders: NDArray[np.uint64], lengths: NDArray[np.int64], ids: NDArray[np.uint64]
    ) -> None:
        add_rows(self.rows, keys, orders, lengths, ids, n_partitions=self.rules.partitions)
        self.tally["rows"] += keys.size


class ReadEarlierKeys(beam.DoFn):
    """A part of an earlier run -> its rows and places, from what that run wrote down."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def start_bundle(self) -> None:
        self.rows = PackedRows(ROW, self.rules.partitions)
        self.n_documents = 0

    def process(self, element: Any) -> Iterator[Any]:
        part = EarlierPart(*element)
        dropped = read_dropped_ids(part)
        for table in read_keys(part, self.rules):
            places = _places(table.ids)
            is_dropped = np.isin(places["id"], dropped)
            orders = at_epoch(table.orders, part.epoch) | np.where(is_dropped, np.uint64(DROPPED), np.uint64(0))
            shown = table.has_words
            add_rows(
                self.rows,
                *(table.keys[shown], orders[shown], table.lengths[shown], places["id"][shown]),
                n_partitions=self.rules.partitions,
            )
            self.n_documents += int(np.count_nonzero(~is_dropped))
            yield from place_outputs(part.text_source, places[~is_dropped], self.rules)
            if self.rows.is_full:
                yield from self.rows.take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self.rows.take())
        yield windowed(beam.pvalue.TaggedOutput(TALLY, ("earlier_documents", self.n_documents)))


class FindPairs(beam.DoFn):
    """(partition of keys, packed ROW) -> (partition of ids, packed PAIR), repeated ones mostly removed.

    A document that met its planted copy is paired with itself.
    """

    def __init__(self, rules: NearDuplicateRules, *, epoch: int) -> None:
        self.rules, self.epoch = rules, epoch

    def start_bundle(self) -> None:
        self.pairs = [np.empty(0, PAIR)]
        self.n_pairs = 0
        self.tally: Counter[str] = Counter()

    def process(self, element: Any) -> Iterator[Any]:
        partition, blobs = element
        buckets = pair_buckets(unpack(blobs, ROW), epoch=self.epoch)
        met = np.zeros(buckets.canaries.size, PAIR)
        met["a"]["id"] = met["b"]["id"] = buckets.canaries
        self.pairs += [buckets.pairs, met]
        self.n_pairs += buckets.pairs.size + met.size
        self.tally["buckets"] += buckets.sizes.size
        self.tally["large_buckets"] += int(np.count_nonzero(buckets.sizes > LARGE_BUCKET))
        top = np.lexsort((buckets.keys, -buckets.sizes))[:LARGEST_BUCKETS]
        for n, key, first in zip(*(column[top].tolist() for column in buckets[2:]), strict=True):
            yield beam.pvalue.TaggedOutput(LARGEST, (n, f"{partition.hex()}{key:08x}", f"{first:016x}"))
        if self.n_pairs > MAX_PAIRS:
            yield from self._take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self._take())
        yield from (windowed(beam.pvalue.TaggedOutput(TALLY, item)) for item in sorted(self.tally.items()))

    def _take(self) -> Iterator[Any]:
        pairs = unique_pairs(np.concatenate(self.pairs))
        self.pairs, self.n_pairs = [np.empty(0, PAIR)], 0
        packed = PackedRows(PAIR, self.rules.partitions)
        packed.add(id_partition(pairs["a"]["id"], self.rules.partitions), pairs)
        yield from packed.take()


class RoutePairs(beam.DoFn):
    """(partition of ids, packed PAIR) -> (partition of ids, packed ROUTE) for both documents of each pair.

    All pairs of one first document are compared in one place, so that its shingles travel once, except in crowds. A
    pair travels with its second document, which is of this run, so that its text is there.
    """

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def start_bundle(self) -> None:
        self.routes = PackedRows(ROUTE, self.rules.partitions)
        self.tally: Counter[str] = Counter()

    def process(self, element: Any) -> Iterator[Any]:
        pairs = unique_pairs(unpack(element[1], PAIR))
        is_canary = pairs["a"]["id"] == pairs["b"]["id"]
        self.tally["canaries_found"] += int(np.count_nonzero(is_canary))
        pairs = pairs[~is_canary]
        self.tally["candidates"] += pairs.size
        routes = np.zeros(2 * pairs.size, ROUTE)
        seconds, firsts = routes[: pairs.size], routes[pairs.size :]
        seconds["pair"], seconds["id"], firsts["id"] = pairs, pairs["b"]["id"], pairs["a"]["id"]
        seconds["comparison"] = firsts["comparison"] = self._choose_comparisons(firsts["id"])
        routes = np.concatenate([seconds, firsts[distinct(firsts["id"], firsts["comparison"])]])
        self.routes.add(id_partition(routes["id"], self.rules.partitions), routes)
        if self.routes.is_full:
            yield from self.routes.take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self.routes.take())
        yield from (windowed(beam.pvalue.TaggedOutput(TALLY, item)) for item in sorted(self.tally.items()))

    def _choose_comparisons(self, first: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Where each pair is compared, by its first document; these are sorted."""
        begins = np.flatnonzero(np.append(True, first[1:] != first[:-1])[: first.size])
        counts = np.diff(np.append(begins, first.size))
        chunk = (np.arange(first.size) - np.repeat(begins, counts)) // _PAIRS_PER_COMPARISON
        return top_bits(mix64(first + chunk.astype(np.uint64)), self.rules.partitions)


def keys_of(grams: HashedRuns, rules: NearDuplicateRules) -> NDArray[np.uint64]:
    """uint64 [texts, bands]."""
    return make_keys(make_sketches(grams, rules.rows * rules.bands), rows=rules.rows, bands=rules.bands)


def add_rows(
    packed: PackedRows,
    keys: NDArray[np.uint64],
    orders: NDArray[np.uint64],
    lengths: NDArray[np.int64],
    ids: NDArray[np.uint64],
    *,
    n_partitions: int,
) -> None:
    """A row for each key [documents, bands]; its partition is the key's top, the rest of the key its bottom."""
    rows = np.empty(keys.shape, ROW)
    rows["key"] = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    rows["order"] = orders[:, None]
    rows["length"] = (0xFFFFFFFF - np.minimum(lengths, 0xFFFFFFFF)).astype(np.uint32)[:, None]  # the longer is kept
    rows["id"] = ids[:, None]
    packed.add(top_bits(keys, n_partitions).ravel(), rows.ravel())


def place_outputs(source: str, places: NDArray[Any], rules: NearDuplicateRules) -> Iterator[Any]:
    """On PLACES, the documents whose text lies in one source, by the partition of their ids."""
    packed = PackedRows(PLACE, rules.partitions)
    packed.add(id_partition(places["id"], rules.partitions), places)
    for partition, blob in packed.take():
        yield beam.pvalue.TaggedOutput(PLACES, (partition, (source, blob)))


def _read_batches(path: str, kept: pa.Array) -> Iterator[pa.Table]:
    for table in read_groups(path, ["document_id", "text", "fetched_at", "reason"]):
        wanted = pc.and_(pc.equal(table["reason"], ""), pc.is_in(table["document_id"], kept))
        documents = table.filter(wanted).combine_chunks()
        for start in range(0, documents.num_rows, BATCH_TEXTS):
            yield documents.slice(start, BATCH_TEXTS)


def _id_bytes(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """uint8 [documents, 16]."""
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, 16)


def _places(ids: NDArray[np.uint8]) -> NDArray[Any]:
    places = np.empty(ids.shape[0], PLACE)
    halves = np.ascontiguousarray(ids).view(">u8")
    places["id"], places["low"] = halves[:, 0], halves[:, 1]
    return places
