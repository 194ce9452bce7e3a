"""Near-deduplication: of documents with nearly the same words one is kept, and every dropped one names a kept one.

In go the work files and the candidates that exact deduplication kept; out come losers, a report and state for later
runs. Texts are read in place, twice: once for their keys, and those that occur in a pair once more, to be compared
exactly. All that travels is packed numbers, so a worker's memory is bounded by a partition, never by the corpus. The
result is a pure function of documents, rules and earlier runs: not of runner, workers or the order of delivery.

    from pipelines.near_deduplication import RemoveNearDuplicates
    outcome = {"files": files, "kept": kept} | RemoveNearDuplicates(rules, output=folder, earlier=runs)

`files` are (part name, (ordinal, path, summary)) as the extract stage gives them, `kept` are `Candidate` tuples.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms import combiners

from corpora.duplicate_pairs import EDGE
from corpora.near_duplicates import NearDuplicateRules
from pipelines.deduplication import Candidate, pack_candidates
from pipelines.flattening import FlattenAll
from pipelines.near_components import (
    ChooseDropped,
    DropLosers,
    GatherComponents,
    LabelComponents,
    NameLosers,
    ThinLinks,
)
from pipelines.near_report import make_report
from pipelines.near_rows import (
    LARGEST,
    LARGEST_BUCKETS,
    PLACES,
    STATE,
    TALLY,
    FindPairs,
    MakeRows,
    ReadEarlierKeys,
    RoutePairs,
)
from pipelines.near_state import EarlierPart, EarlierRun, earlier_parts
from pipelines.near_verification import (
    SAMPLE,
    CheckSample,
    LocateTexts,
    ReadSampledTexts,
    ReadShingles,
    VerifyPairs,
    smallest_hashes,
)
from pipelines.packed import unpack, windowed

_MAX_PACKED = 50_000  # candidates that wait to be packed
_SLICES = 4  # that keys and shingles are grouped in, one after the other: the local runner copies a whole group by key


class NearDuplicates(NamedTuple):
    """Collections of what near-deduplication found."""

    kept: Any  # candidates, as they came in
    losers: Any  # (part name, Loser as a tuple), reason `near_duplicate`, kept_id and similarity set
    report: Any  # one dict of plain values
    state: Any  # FileEntry as a tuple, of every file written under `state/`


class RemoveNearDuplicates(beam.PTransform):
    """{"files", "kept"} -> NearDuplicates."""

    def __init__(self, rules: NearDuplicateRules, *, output: str, earlier: Sequence[EarlierRun] = ()) -> None:
        super().__init__()
        self.rules, self.output, self.earlier = rules, output, tuple(earlier)

    def expand(self, collections: Any) -> Any:  # Beam takes annotations for element types
        files, kept = collections["files"], collections["kept"]
        packed = kept | "Pack candidates" >> beam.ParDo(_PackCandidates())
        rows = self._make_rows(files, packed)
        pairs = self._find_pairs(rows.main)
        verified = self._verify(files, rows.places, pairs)
        chosen = self._choose(verified.edges, rows.places)
        survivors = (
            {"kept": packed, "losers": chosen.losers}
            | "Bring candidates and losers together" >> beam.CoGroupByKey()
            | "Drop near-duplicates" >> beam.ParDo(DropLosers())
        )
        tallies = (*rows.tallies, *pairs.tallies, *verified.tallies, *chosen.tallies)
        state = (*rows.state, *chosen.state) | "All state of near-duplicates" >> FlattenAll()
        return NearDuplicates(survivors, chosen.losers, self._report(tallies, pairs.largest), state)

    def _make_rows(self, files: Any, packed: Any) -> "_Rows":
        """Keys of all documents, of this run and of the earlier ones."""
        made = (
            {"files": files, "kept": packed}
            | "Bring files and candidates together" >> beam.CoGroupByKey()
            | "Make keys"
            >> beam.ParDo(MakeRows(self.rules, output=self.output, epoch=len(self.earlier))).with_outputs(
                PLACES, STATE, TALLY, main="rows"
            )
        )
        if not self.earlier:
            return _Rows(made.rows, made[PLACES], (made[STATE],), (made[TALLY],))
        read = self._earlier_parts(files.pipeline, "keys") | "Read earlier keys" >> beam.ParDo(
            ReadEarlierKeys(self.rules)
        ).with_outputs(PLACES, TALLY, main="rows")
        return _Rows(
            (made.rows, read.rows) | "All keys" >> FlattenAll(),
            (made[PLACES], read[PLACES]) | "All places" >> FlattenAll(),
            (made[STATE],),
            (made[TALLY], read[TALLY]),
        )

    def _find_pairs(self, rows: Any) -> "_Pairs":
        """Documents that share a key."""
        find = beam.ParDo(FindPairs(self.rules, epoch=len(self.earlier)))
        found = [
            rows_of_slice
            | f"Group by key {number}" >> beam.GroupByKey()
            | f"Find pairs {number}" >> find.with_outputs(TALLY, LARGEST, main="pairs")
            for number, rows_of_slice in enumerate(rows | "Slice rows" >> beam.Partition(_ChooseSlice(), _SLICES))
        ]
        routed = (
            [one.pairs for one in found]
            | "All pairs" >> FlattenAll()
            | "Group pairs" >> beam.GroupByKey()
            | "Route pairs" >> beam.ParDo(RoutePairs(self.rules)).with_outputs(TALLY, main="routes")
        )
        largest = [one[LARGEST] for one in found] | "All large buckets" >> FlattenAll()
        return _Pairs(routed.routes, largest, (*(one[TALLY] for one in found), routed[TALLY]))

    def _verify(self, files: Any, places: Any, pairs: "_Pairs") -> "_Verified":
        """The exact similarity of every pair, and a sample of those accepted tested again."""
        paths = self._text_paths(files)
        located = (
            {"places": places, "routes": pairs.routes}
            | "Bring places and routes together" >> beam.CoGroupByKey()
            | "Locate texts" >> beam.ParDo(LocateTexts()).with_outputs(TALLY, main="routes")
        )
        read = (
            {"paths": paths, "routes": located.routes}
            | "Bring texts and routes together" >> beam.CoGroupByKey()
            | "Read shingles" >> beam.ParDo(ReadShingles(self.rules)).with_outputs(TALLY, main="sets")
        )
        verified = [
            sets
            | f"Group shingles by comparison {number}" >> beam.GroupByKey()
            | f"Verify pairs {number}" >> beam.ParDo(VerifyPairs(self.rules)).with_outputs(SAMPLE, TALLY, main="edges")
            for number, sets in enumerate(read.sets | "Slice shingles" >> beam.Partition(_ChooseSlice(), _SLICES))
        ]
        edges = [one.edges for one in verified] | "All verified pairs" >> FlattenAll()
        sample = (
            [one[SAMPLE] for one in verified]
            | "All samples" >> FlattenAll()
            | "Gather samples" >> beam.GroupByKey()
            | "Choose the sample" >> beam.Map(_choose_sample)
        )
        texts = paths | "Read sampled texts" >> beam.ParDo(
            ReadSampledTexts(), sample=beam.pvalue.AsSingleton(sample, default_value=b"")
        )
        checked = sample | "Check the sample" >> beam.ParDo(CheckSample(self.rules), texts=beam.pvalue.AsList(texts))
        return _Verified(edges, (located[TALLY], read[TALLY], *(one[TALLY] for one in verified), checked))

    def _choose(self, edges: Any, places: Any) -> "_Chosen":
        """Who is dropped, and for whom."""
        labels = (
            edges
            | "Thin links" >> beam.ParDo(ThinLinks())
            | "Gather links" >> beam.GroupByKey()
            | "Label components" >> beam.ParDo(LabelComponents(self.rules)).with_outputs(TALLY, main="labels")
        )
        dropped = (
            {"edges": edges, "labels": labels.labels}
            | "Bring pairs and labels together" >> beam.CoGroupByKey()
            | "Gather components" >> beam.ParDo(GatherComponents(self.rules))
            | "Group by component" >> beam.GroupByKey()
            | "Choose the dropped"
            >> beam.ParDo(ChooseDropped(self.rules, output=self.output)).with_outputs(STATE, TALLY, main="dropped")
        )
        losers = (
            {"places": places, "dropped": dropped.dropped}
            | "Bring places and the dropped together" >> beam.CoGroupByKey()
            | "Name losers" >> beam.ParDo(NameLosers())
        )
        return _Chosen(losers, (dropped[STATE],), (labels[TALLY], dropped[TALLY]))

    def _report(self, tallies: Sequence[Any], largest: Any) -> Any:
        counts = (
            tallies
            | "All counts" >> FlattenAll()
            | "Add up counts" >> beam.CombinePerKey(sum)
            | "List counts" >> combiners.ToList()
        )
        top = largest | "Choose the largest buckets" >> beam.CombineGlobally(_LargestBuckets())
        return counts | "Report near-duplicates" >> beam.Map(
            _make_report, largest=beam.pvalue.AsSingleton(top), rules=self.rules
        )

    def _text_paths(self, files: Any) -> Any:
        """(text source, (rank, path)) of all texts, of this run and of the earlier ones; the smaller rank is right."""
        own = files | "Name work files" >> beam.Map(_path_of_file)
        if not self.earlier:
            return own
        earlier = self._earlier_parts(files.pipeline, "texts") | "Name earlier texts" >> beam.FlatMap(_paths_of_part)
        return (own, earlier) | "All texts" >> FlattenAll()

    def _earlier_parts(self, pipeline: Any, purpose: str) -> Any:
        """Parts of earlier runs; their names come from the runs' manifests, so the job graph stays small."""
        return (
            pipeline
            | f"Name earlier runs for {purpose}" >> beam.Create([(run.folder, run.epoch) for run in self.earlier])
            | f"List earlier parts for {purpose}" >> beam.FlatMap(_list_parts)
            | f"Spread earlier parts for {purpose}" >> beam.Reshuffle()
        )


class _Rows(NamedTuple):
    main: Any
    places: Any
    state: tuple[Any, ...]
    tallies: tuple[Any, ...]


class _Pairs(NamedTuple):
    routes: Any
    largest: Any
    tallies: tuple[Any, ...]


class _Verified(NamedTuple):
    edges: Any
    tallies: tuple[Any, ...]


class _Chosen(NamedTuple):
    losers: Any
    state: tuple[Any, ...]
    tallies: tuple[Any, ...]


class _PackCandidates(beam.DoFn):
    """Candidates -> (part name, many of them in one element), which costs a fraction of many elements."""

    def start_bundle(self) -> None:
        self.candidates: dict[str, list[Any]] = {}
        self.n_waiting = 0

    def process(self, element: Any) -> Iterator[Any]:
        self.candidates.setdefault(Candidate(*element).part_name, []).append(element)
        self.n_waiting += 1
        if self.n_waiting >= _MAX_PACKED:
            yield from self._take()

    def finish_bundle(self) -> Iterator[Any]:
        yield from (windowed(element) for element in self._take())

    def _take(self) -> Iterator[Any]:
        yield from ((name, pack_candidates(many)) for name, many in sorted(self.candidates.items()))
        self.candidates, self.n_waiting = {}, 0


class _LargestBuckets(beam.CombineFn):
    def create_accumulator(self) -> list[tuple[int, str, str]]:
        return []

    def add_input(self, accumulator: list[tuple[int, str, str]], element: Any) -> list[tuple[int, str, str]]:
        return self.merge_accumulators([accumulator, [tuple(element)]])

    def merge_accumulators(self, accumulators: Iterable[list[tuple[int, str, str]]]) -> list[tuple[int, str, str]]:
        together = [one for accumulator in accumulators for one in accumulator]
        return sorted(together, key=lambda one: (-one[0], one[1]))[:LARGEST_BUCKETS]

    def extract_output(self, accumulator: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
        return accumulator


class _ChooseSlice(beam.PartitionFn):
    """By the low bits of the partition, so that all slices are of one size."""

    def partition_for(self, element: Any, num_partitions: int) -> int:
        return int(element[0][-1]) % num_partitions


def _path_of_file(element: Any) -> tuple[str, tuple[int, str]]:
    part_name, (_, path, _) = element
    return part_name, (0, path)


def _list_parts(run: Any) -> list[EarlierPart]:
    folder, epoch = run
    return earlier_parts(folder, epoch=epoch)


def _paths_of_part(element: Any) -> Iterator[tuple[str, tuple[int, str]]]:
    part = EarlierPart(*element)
    for rank, path in enumerate(part.text_paths):
        yield part.text_source, (rank, path)


def _choose_sample(element: Any) -> bytes:
    return smallest_hashes(unpack(element[1], EDGE)).tobytes()


def _make_report(counts: Any, largest: Any, rules: NearDuplicateRules) -> dict[str, object]:
    return make_report(dict(counts), largest, rules)
