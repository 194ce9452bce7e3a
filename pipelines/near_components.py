"""From verified pairs to losers: connected components, and in each the walk that decides who is kept.

Every bundle of pairs is thinned to a forest, all forests meet under one key, where each document learns its component;
that holds for some 10^8 pairs. Then the pairs of a component come together and are walked in the order of documents.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from corpora.components import label_components, spanning_forest
from corpora.duplicate_pairs import EDGE, choose_dropped, similarities
from corpora.near_duplicates import NearDuplicateRules
from corpora.shingles import mix64
from pipelines.deduplication import Candidate, Loser, unpack_candidates
from pipelines.near_rows import PLACE, STATE, TALLY
from pipelines.near_state import write_edges
from pipelines.near_verification import edge_ids
from pipelines.packed import PackedRows, id_partition, unpack, windowed

NEAR_DUPLICATE = "near_duplicate"
LINK = np.dtype([("one", "<u8"), ("other", "<u8")])
LABEL = np.dtype([("id", "<u8"), ("component", "<u8")])
_MAX_LINKS = 1 << 22  # gathered before they are thinned


class ThinLinks(beam.DoFn):
    """(partition, packed EDGE) -> one element a bundle: a forest that connects the same documents."""

    def start_bundle(self) -> None:
        self.links = np.empty(0, LINK)
        self.waiting: list[NDArray[Any]] = []

    def process(self, element: Any) -> None:
        edges = np.frombuffer(element[1], EDGE)
        links = np.empty(edges.size, LINK)
        links["one"], links["other"] = edges["a"]["id"], edges["b"]["id"]
        self.waiting.append(links)
        if sum(links.size for links in self.waiting) > _MAX_LINKS:
            self._thin()

    def finish_bundle(self) -> Iterator[Any]:
        self._thin()
        yield windowed((b"links", self.links.tobytes()))

    def _thin(self) -> None:
        links = np.concatenate([self.links, *self.waiting])
        self.links, self.waiting = links[spanning_forest(links["one"], links["other"])], []


class LabelComponents(beam.DoFn):
    """All forests -> (partition of ids, packed LABEL)."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def process(self, element: Any) -> Iterator[Any]:
        links = unpack(element[1], LINK)
        nodes, components = label_components(links["one"], links["other"])
        labels = np.empty(nodes.size, LABEL)
        labels["id"], labels["component"] = nodes, components
        packed = PackedRows(LABEL, self.rules.partitions)
        packed.add(id_partition(nodes, self.rules.partitions), labels)
        yield from packed.take()
        tally = _count_sizes(np.unique(components, return_counts=True)[1])
        one, other = (components[np.searchsorted(nodes, links[name])] for name in ("one", "other"))
        tally["unconverged"] = int(np.count_nonzero(one != other))
        yield from (beam.pvalue.TaggedOutput(TALLY, item) for item in sorted(tally.items()))


class GatherComponents(beam.DoFn):
    """(partition of ids, its EDGEs by the first document and its LABELs) -> (partition of components, packed EDGE)."""

    def __init__(self, rules: NearDuplicateRules) -> None:
        self.rules = rules

    def start_bundle(self) -> None:
        self.edges = PackedRows(EDGE, self.rules.partitions)

    def process(self, element: Any) -> Iterator[Any]:
        groups = element[1]
        edges, labels = unpack(groups["edges"], EDGE), unpack(groups["labels"], LABEL)
        if not edges.size:
            return
        labels = labels[np.argsort(labels["id"])]
        components = labels["component"][np.searchsorted(labels["id"], edges["a"]["id"])]
        # Labels are the smallest ids of components, so their top bits are anything but even.
        self.edges.add(id_partition(mix64(components), self.rules.partitions), edges)
        if self.edges.is_full:
            yield from self.edges.take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self.edges.take())


class ChooseDropped(beam.DoFn):
    """(partition of components, packed EDGE) -> (partition of ids, the EDGEs by which documents are dropped)."""

    def __init__(self, rules: NearDuplicateRules, *, output: str) -> None:
        self.rules, self.output = rules, output

    def start_bundle(self) -> None:
        self.tally: Counter[str] = Counter()

    def process(self, element: Any) -> Iterator[Any]:
        partition, blobs = element
        edges = unpack(blobs, EDGE)
        yield beam.pvalue.TaggedOutput(STATE, tuple(write_edges(self.output, int.from_bytes(partition, "big"), edges)))
        dropped = choose_dropped(edges)
        self.tally["dropped"] += dropped.size
        packed = PackedRows(EDGE, self.rules.partitions)
        packed.add(id_partition(dropped["b"]["id"], self.rules.partitions), dropped)
        yield from packed.take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(beam.pvalue.TaggedOutput(TALLY, item)) for item in sorted(self.tally.items()))


class NameLosers(beam.DoFn):
    """(partition of ids, its PLACEs by part and the EDGEs of its dropped documents) -> (part name, Loser)."""

    def process(self, element: Any) -> Iterator[Any]:
        groups = element[1]
        dropped = unpack(groups["dropped"], EDGE)
        if not dropped.size:
            return
        ids = np.ascontiguousarray(dropped["b"]["id"])
        order = np.argsort(ids)
        dropped, ids = dropped[order], ids[order]
        kept_ids, lost_ids = edge_ids(dropped)
        similarity = similarities(dropped).tolist()
        for source, blob in groups["places"]:
            places = unpack([blob], PLACE)["id"]
            found = np.searchsorted(ids, places[np.isin(places, ids)])
            for k in found.tolist():
                yield source, tuple(Loser(lost_ids[k], NEAR_DUPLICATE, kept_ids[k], similarity[k]))


class DropLosers(beam.DoFn):
    """(part name, its packed candidates and losers) -> candidates that are kept."""

    def process(self, element: Any) -> Iterator[Any]:
        lost = {Loser(*loser).document_id for loser in element[1]["losers"]}
        for candidate in unpack_candidates(element[1]["kept"]):
            if Candidate(*candidate).document_id not in lost:
                yield candidate


def _count_sizes(sizes: NDArray[np.int64]) -> Counter[str]:
    """Components by size: 2, 3-4, 5-8 and so on."""
    tally: Counter[str] = Counter({"components": sizes.size})
    ceilings = 1 << np.ceil(np.log2(np.maximum(sizes, 2))).astype(np.int64)
    for ceiling, n in zip(*(column.tolist() for column in np.unique(ceilings, return_counts=True)), strict=True):
        tally[f"component_sizes/{ceiling}"] = n
    return tally
