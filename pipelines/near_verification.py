"""Verification: the exact similarity of every pair that shares a key, from texts that are read a second time.

Only the documents that occur in a pair are read again, 13 to 23 of 100, and each is sent as its set of 32-bit shingles
to where it is compared. A pair is accepted if and only if J > threshold, in whole numbers.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpora.duplicate_pairs import EDGE, PAIR, similarities, unique_pairs
from corpora.near_duplicates import (
    NearDuplicateRules,
    chance_of_comparison,
    count_common,
    is_similar,
    slow_similarity,
)
from corpora.shingles import hash_ngrams, hash_words, mix64, shingle_sets
from pipelines.near_rows import CHANCE_UNIT, PLACE, ROUTE, TALLY
from pipelines.near_state import join_halves
from pipelines.packed import PackedRows, id_partition, partition_key, unpack, windowed
from pipelines.storage import open_read

SAMPLE = "sample"  # packed EDGE with the smallest hashes, for the check by other code
SAMPLED_PAIRS = 200
SIMILARITY_STEPS = 20  # of the histogram, .05 each
MAX_SET_BYTES = 8 << 20  # shingles gathered before they are sent on
_N_PAIRS = struct.Struct("<I")
_HEADER = struct.Struct("<QQI")  # halves of the id, number of shingles
_TEXT_BATCH = 64


class LocateTexts(beam.DoFn):
    """(partition of ids, its PLACEs by source and its ROUTEs) -> (text source, packed ROUTE).

    Two documents whose ids agree in the first 8 bytes cannot be told apart here: neither is compared with any other, so
    both are kept, and they are counted.
    """

    def start_bundle(self) -> None:
        self.n_collisions = 0

    def process(self, element: Any) -> Iterator[Any]:
        groups = element[1]
        routes = unpack(groups["routes"], ROUTE)
        if not routes.size:
            return
        routes = routes[np.argsort(routes["id"])]
        sources = [(source, unpack([blob], PLACE)["id"]) for source, blob in groups["places"]]
        ids, counts = np.unique(np.concatenate([ids for _, ids in sources]), return_counts=True)
        ambiguous = ids[counts > 1]
        self.n_collisions += ambiguous.size
        routes = routes[~np.isin(routes["id"], ambiguous)]
        wanted = np.ascontiguousarray(routes["id"])
        for source, ids in sources:
            begins, ends = np.searchsorted(wanted, ids), np.searchsorted(wanted, ids, side="right")
            counts = ends - begins
            if counts.any():
                steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                yield source, routes[np.repeat(begins, counts) + steps].tobytes()

    def finish_bundle(self) -> Iterator[Any]:
        yield windowed(beam.pvalue.TaggedOutput(TALLY, ("id_collisions", self.n_collisions)))


class ReadShingles(beam.DoFn):
    """(text source, its files and ROUTEs) -> (comparison, pairs and shingle sets of the documents needed there)."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def start_bundle(self) -> None:
        self.pairs: dict[int, list[bytes]] = {}
        self.sets: dict[int, list[bytes]] = {}
        self.n_bytes = 0
        self.n_read = 0

    def process(self, element: Any) -> Iterator[Any]:
        groups = element[1]
        routes = unpack(groups["routes"], ROUTE)
        if not routes.size:
            return
        routes = routes[np.lexsort((routes["comparison"], routes["id"]))]
        wanted = np.unique(routes["id"])
        for _, path in sorted(groups["paths"]):
            found = [wanted[:0]]
            for ids, texts in read_texts(path, wanted):
                found.append(ids["id"])
                self._add(ids, texts, routes)
                if self.n_bytes > MAX_SET_BYTES:
                    yield from self._take()
            wanted = np.setdiff1d(wanted, np.concatenate(found))  # what was changed later is read once, as it was

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self._take())
        yield windowed(beam.pvalue.TaggedOutput(TALLY, ("documents_read_again", self.n_read)))

    def _add(self, ids: NDArray[Any], texts: list[bytes], routes: NDArray[Any]) -> None:
        grams = hash_ngrams(hash_words(texts), self.rules.shingle_words, short_texts=True)
        begins = np.searchsorted(routes["id"], ids["id"]).tolist()
        ends = np.searchsorted(routes["id"], ids["id"], side="right").tolist()
        comparisons, has_pair = routes["comparison"].tolist(), (routes["pair"]["b"]["id"] == routes["id"]).tolist()
        for (high, low), shingles, begin, end in zip(ids.tolist(), shingle_sets(grams), begins, ends, strict=True):
            blob = _HEADER.pack(high, low, shingles.size) + shingles.tobytes()
            for comparison in dict.fromkeys(comparisons[begin:end]):
                self.sets.setdefault(comparison, []).append(blob)
                self.n_bytes += len(blob)
            for place in range(begin, end):
                if has_pair[place]:
                    self.pairs.setdefault(comparisons[place], []).append(routes["pair"][place].tobytes())
        self.n_read += len(texts)

    def _take(self) -> Iterator[Any]:
        for comparison in sorted(self.sets):
            pairs = self.pairs.get(comparison, [])
            yield partition_key(comparison), b"".join([_N_PAIRS.pack(len(pairs)), *pairs, *self.sets[comparison]])
        self.pairs, self.sets, self.n_bytes = {}, {}, 0


class VerifyPairs(beam.DoFn):
    """(comparison, its pairs and shingle sets) -> (partition of ids, packed EDGE) of the near-duplicates among them."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def start_bundle(self) -> None:
        self.edges = PackedRows(EDGE, self.rules.partitions)
        self.sample = np.empty(0, EDGE)
        self.tally: Counter[str] = Counter()

    def process(self, element: Any) -> Iterator[Any]:
        blobs = list(element[1])
        pairs = np.concatenate([np.frombuffer(blob, PAIR, *_find_pairs(blob)) for blob in blobs])
        pairs = unique_pairs(pairs)
        measured = measure_pairs(pairs, dict(_parse_sets(blobs)))
        self.tally["pairs_without_text"] += pairs.size - measured.size
        self.tally["pairs_verified"] += measured.size
        common, sizes = measured["common"].astype(np.int64), measured["sizes"].astype(np.int64)
        edges = measured[is_similar(common, sizes, self.rules.exact_threshold)]
        self.edges.add(id_partition(edges["a"]["id"], self.rules.partitions), edges)
        self.sample = smallest_hashes(np.concatenate([self.sample, edges]))
        self._count(similarities(edges))
        if self.edges.is_full:
            yield from self.edges.take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self.edges.take())
        yield windowed(beam.pvalue.TaggedOutput(SAMPLE, (b"sample", self.sample.tobytes())))
        yield from (windowed(beam.pvalue.TaggedOutput(TALLY, item)) for item in sorted(self.tally.items()))

    def _count(self, similarity: NDArray[np.float64]) -> None:
        self.tally["pairs_found"] += similarity.size
        expected = np.rint(CHANCE_UNIT / chance_of_comparison(similarity, self.rules)).astype(np.int64)
        self.tally["pairs_expected"] += int(expected.sum())
        steps = np.minimum((similarity * SIMILARITY_STEPS).astype(np.int64), SIMILARITY_STEPS - 1)
        for step, n in zip(*(column.tolist() for column in np.unique(steps, return_counts=True)), strict=True):
            self.tally[f"similarity/{step / SIMILARITY_STEPS:.2f}"] += n


class ReadSampledTexts(beam.DoFn):
    """(text source, (rank, path)) -> (half id, (rank, text)) of the sample's documents; few row groups are read."""

    def process(self, element: Any, sample: Any) -> Iterator[Any]:
        edges = np.frombuffer(sample, EDGE)
        wanted = np.unique(np.concatenate([edges["a"]["id"], edges["b"]["id"]]))
        if wanted.size:
            rank, path = element[1]
            for ids, texts in read_texts(path, wanted):
                yield from ((one, (rank, text.decode())) for one, text in zip(ids["id"].tolist(), texts, strict=True))


class CheckSample(beam.DoFn):
    """The sample -> (pairs tested, pairs above the threshold) by code that shares nothing with the fast way."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def process(self, sample: bytes, texts: Any) -> Iterator[tuple[str, int]]:
        by_id = {one: text for one, (_, text) in sorted(texts, key=_rank_of, reverse=True)}
        edges = np.frombuffer(sample, EDGE)
        ids = zip(edges["a"]["id"].tolist(), edges["b"]["id"].tolist(), strict=True)
        pairs = [(a, b) for a, b in ids if a in by_id and b in by_id]
        similar = [
            slow_similarity(by_id[a], by_id[b], n=self.rules.shingle_words) > self.rules.exact_threshold
            for a, b in pairs
        ]
        yield "sampled_pairs", len(pairs)
        yield "sampled_pairs_confirmed", sum(similar)


def measure_pairs(pairs: NDArray[Any], sets: dict[int, tuple[int, NDArray[np.uint32]]]) -> NDArray[Any]:
    """EDGE of each pair of which both sets are at hand."""
    measured = []
    ids = zip(pairs["a"]["id"].tolist(), pairs["b"]["id"].tolist(), strict=True)
    for k, (a, b) in enumerate(ids):
        one, other = sets.get(a), sets.get(b)
        if one is not None and other is not None:
            n_common = count_common(one[1], other[1])
            measured.append((k, one[0], other[0], n_common, one[1].size + other[1].size))
    edges = np.empty(len(measured), EDGE)
    if measured:
        places, a_low, b_low, common, sizes = zip(*measured, strict=True)
        of = pairs[list(places)]
        edges["a"], edges["b"] = of["a"], of["b"]
        edges["a_low"], edges["b_low"] = np.array(a_low, np.uint64), np.array(b_low, np.uint64)
        edges["common"], edges["sizes"] = common, sizes
    return edges


def smallest_hashes(edges: NDArray[Any]) -> NDArray[Any]:
    """The sample of some pairs: those with the smallest hashes, so that the sample of samples is that of the whole."""
    hashes = mix64(mix64(edges["a"]["id"]) + edges["b"]["id"])
    return edges[np.lexsort((edges["b"]["id"], edges["a"]["id"], hashes))[:SAMPLED_PAIRS]]


def read_texts(path: str, wanted: NDArray[np.uint64]) -> Iterator[tuple[NDArray[Any], list[bytes]]]:
    """(PLACEs, texts in UTF-8) of the documents of a file whose ids begin so; ids are sorted."""
    with open_read(path) as stream:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
        has_reason = "reason" in file.schema_arrow.names
        for group in range(file.num_row_groups):
            head = file.read_row_group(group, columns=["document_id"], use_threads=False)
            places = np.empty(head.num_rows, PLACE)
            halves = np.frombuffer(b"".join(head["document_id"].to_pylist()), ">u8").reshape(-1, 2)
            places["id"], places["low"] = halves[:, 0], halves[:, 1]
            rows = np.flatnonzero(np.isin(places["id"], wanted))
            if not rows.size:
                continue
            columns = ["text", "reason"] if has_reason else ["text"]
            table = file.read_row_group(group, columns=columns, use_threads=False).take(pa.array(rows))
            if has_reason:
                is_kept = np.array([not reason for reason in table["reason"].to_pylist()], np.bool_)
                table, rows = table.filter(pa.array(is_kept)), rows[is_kept]
            texts = table["text"].cast(pa.large_binary())
            for start in range(0, rows.size, _TEXT_BATCH):
                yield places[rows[start : start + _TEXT_BATCH]], texts.slice(start, _TEXT_BATCH).to_pylist()


def edge_ids(edges: NDArray[Any]) -> tuple[list[bytes], list[bytes]]:
    """16-byte ids of the first and of the second documents."""
    first = join_halves(edges["a"]["id"], edges["a_low"])
    second = join_halves(edges["b"]["id"], edges["b_low"])
    cut = range(0, len(first), 16)
    return [first[k : k + 16] for k in cut], [second[k : k + 16] for k in cut]


def _rank_of(element: Any) -> int:
    return int(element[1][0])


def _find_pairs(blob: bytes) -> tuple[int, int]:
    """(number, offset) of the pairs that an element begins with."""
    return _N_PAIRS.unpack_from(blob)[0], _N_PAIRS.size


def _parse_sets(blobs: Iterable[bytes]) -> Iterator[tuple[int, tuple[int, NDArray[np.uint32]]]]:
    """(half id, (other half, shingles)) of every document."""
    for blob in blobs:
        n_pairs, offset = _find_pairs(blob)
        offset += n_pairs * PAIR.itemsize
        while offset < len(blob):
            high, low, n = _HEADER.unpack_from(blob, offset)
            offset += _HEADER.size
            yield high, (low, np.frombuffer(blob, np.uint32, n, offset))
            offset += 4 * n
