"""All deduplication of a run: exact, then near, then every loser is pointed at a document that is kept.

A document lost by its URL to one that is then lost as a near-duplicate would otherwise name one that is not there.
What later runs need to know is written under `state/`; what earlier runs wrote there is read (`--against`): their
documents never lose, and nothing of theirs is rewritten.

    found = {"files": files, "candidates": candidates} | RemoveDuplicates(rules, output=folder, earlier=runs)

`rules` are the run's SelectionRules; `earlier` is what `near_state.open_earlier_runs(folders, rules)` gives.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.deduplication import EXACT_ROW, Loser, RemoveExactDuplicates
from pipelines.flattening import FlattenAll
from pipelines.near_deduplication import RemoveNearDuplicates
from pipelines.near_state import (
    EarlierRun,
    describe_state,
    dropped_files,
    exact_files,
    read_dropped,
    read_exact,
    write_description,
    write_dropped,
    write_exact,
    write_texts,
)
from pipelines.packed import unpack
from pipelines.settings import SelectionRules

REPORT = "near_duplicates"  # what the report calls near-deduplication's figures


class Duplicates(NamedTuple):
    """Collections of what deduplication found."""

    kept: Any  # candidates
    losers: Any  # (part name, Loser as a tuple); each names a document that is kept, here or in an earlier run
    details: Any  # (name, plain value), for the report
    state: Any  # FileEntry as a tuple, of every file written under `state/`


class RemoveDuplicates(beam.PTransform):
    """{"files": (part name, work file), "candidates": Candidates} -> Duplicates."""

    def __init__(self, rules: SelectionRules, *, output: str, earlier: Sequence[EarlierRun] = ()) -> None:
        super().__init__()
        self.rules, self.output, self.earlier = rules, output, tuple(earlier)

    def expand(self, collections: Any) -> Any:
        files, candidates = collections["files"], collections["candidates"]
        pipeline = files.pipeline
        known = self._read_earlier(pipeline, "exact keys", _list_exact_rows) if self.earlier else None
        exact = candidates | "Remove exact duplicates" >> RemoveExactDuplicates(self.rules.deduplication, earlier=known)
        kept, states = exact.kept, []
        near_losers: tuple[Any, ...] = ()
        details = pipeline | "No details" >> beam.Create([])
        if self.rules.near_duplicates is not None:
            near = {"files": files, "kept": kept} | "Remove near-duplicates" >> RemoveNearDuplicates(
                self.rules.near_duplicates, output=self.output, earlier=self.earlier
            )
            kept, near_losers = near.kept, (near.losers,)
            details = near.report | "Name the report" >> beam.Map(_name_report)
            states.append(near.state)
        losers = self._point_at_kept(exact.losers, near_losers, pipeline)
        states += [self._write_exact(exact.keys, pipeline), self._write_dropped(losers), self._describe(pipeline)]
        return Duplicates(kept, losers, details, states | "All state" >> FlattenAll())

    def _point_at_kept(self, exact: tuple[Any, ...], near: tuple[Any, ...], pipeline: Any) -> Any:
        """Losers of each step, the last step first: whom they lost to can only have lost in a later one."""
        settled = [*near]
        known = []
        if self.earlier:
            known.append(self._read_earlier(pipeline, "dropped documents", _list_dropped_rows))
        for number in reversed(range(len(exact))):
            if not settled and not known:
                settled.append(exact[number])
                continue
            pointers = [
                losers | f"Pointers {number} {k}" >> beam.Map(_as_pointer) for k, losers in enumerate(settled)
            ] + known
            settled.append(
                {
                    "losers": exact[number] | f"Key losers {number} by whom they lost to" >> beam.Map(_by_kept_id),
                    "pointers": pointers | f"All pointers {number}" >> FlattenAll(),
                }
                | f"Bring losers {number} and pointers together" >> beam.CoGroupByKey()
                | f"Point losers {number} at the kept" >> beam.FlatMap(_follow)
            )
        if not settled:
            return pipeline | "No losers" >> beam.Create([])
        return settled | "All losers" >> FlattenAll()

    def _read_earlier(self, pipeline: Any, what: str, read: Any) -> Any:
        return (
            pipeline
            | f"Name earlier runs for {what}" >> beam.Create([(run.folder, run.epoch) for run in self.earlier])
            | f"List earlier {what}" >> beam.FlatMap(_LISTS[what])
            | f"Spread earlier {what}" >> beam.Reshuffle()
            | f"Read earlier {what}" >> beam.FlatMap(read)
        )

    def _write_exact(self, keys: tuple[Any, ...], pipeline: Any) -> Any:
        if not keys:
            return pipeline | "No exact keys" >> beam.Create([])
        return (
            keys
            | "All exact keys" >> FlattenAll()
            | "Gather exact keys" >> beam.GroupByKey()
            | "Write exact keys" >> beam.Map(_write_exact, self.output)
        )

    def _write_dropped(self, losers: Any) -> Any:
        return (
            losers
            | "Gather the dropped by part" >> beam.GroupByKey()
            | "Write the dropped" >> beam.Map(_write_dropped, self.output)
        )

    def _describe(self, pipeline: Any) -> Any:
        description = describe_state(self.rules, earlier=self.earlier)
        return (
            pipeline
            | "Describe state" >> beam.Create([description])
            | "Write the description" >> beam.Map(_write_description, self.output)
        )


class KeepTexts(beam.PTransform):
    """(part name, (document id, text)) of documents that later steps changed or dropped -> FileEntry as a tuple.

    A later run compares its documents with these texts, since it is these that the keys were made of.
    """

    def __init__(self, *, output: str) -> None:
        super().__init__()
        self.output = output

    def expand(self, altered: Any) -> Any:
        return (
            altered
            | "Gather earlier texts by part" >> beam.GroupByKey()
            | "Write earlier texts" >> beam.Map(_write_texts, self.output)
        )


def _list_exact(element: Any) -> list[tuple[str, int]]:
    folder, epoch = element
    return [(path, epoch) for path in exact_files(folder)]


def _list_dropped(element: Any) -> list[tuple[str, int]]:
    folder, epoch = element
    return [(path, epoch) for path in dropped_files(folder)]


_LISTS = {"exact keys": _list_exact, "dropped documents": _list_dropped}


def _list_exact_rows(element: Any) -> Iterator[Any]:
    path, epoch = element
    for step, key, document_id in read_exact(path):
        yield step, key, epoch, document_id


def _list_dropped_rows(element: Any) -> Iterator[Any]:
    yield from read_dropped(element[0])


def _by_kept_id(element: Any) -> tuple[bytes, Any]:
    return Loser(*element[1]).kept_id, element


def _as_pointer(element: Any) -> tuple[bytes, bytes]:
    loser = Loser(*element[1])
    return loser.document_id, loser.kept_id


def _follow(element: Any) -> Iterator[Any]:
    """Losers to one document, pointed at the kept one that stands for it where it was itself dropped."""
    groups = element[1]
    kept_id = min(groups["pointers"], default=None)  # one at most: a document is dropped once
    for part_name, loser in groups["losers"]:
        yield part_name, tuple(Loser(*loser)._replace(kept_id=kept_id)) if kept_id else loser


def _name_report(report: Any) -> tuple[str, Any]:
    return REPORT, report


def _write_exact(element: Any, output: str) -> tuple[Any, ...]:
    partition, blobs = element
    return tuple(write_exact(output, int.from_bytes(partition, "big"), unpack(blobs, EXACT_ROW)))


def _write_dropped(element: Any, output: str) -> tuple[Any, ...]:
    part_name, losers = element
    rows = [(one.document_id, one.kept_id, one.reason, one.similarity) for one in (Loser(*loser) for loser in losers)]
    return tuple(write_dropped(output, part_name, rows))


def _write_texts(element: Any, output: str) -> tuple[Any, ...]:
    part_name, rows = element
    return tuple(write_texts(output, part_name, rows))


def _write_description(description: Any, output: str) -> tuple[Any, ...]:
    return tuple(write_description(output, description))
