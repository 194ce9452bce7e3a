"""Choose: which of the documents fit to keep are kept, where one may stand for another.

In go the work files of the extract stage; out come the candidates that are kept, the losers with what
each lost to, and for the report what was found on the way. Only keys and numbers travel, never texts.
"""

from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.deduplication import LOSERS, Deduplicate
from pipelines.near_deduplication import RemoveNearDuplicates
from pipelines.score_cut import FindCut, ReadScores, describe_cut
from pipelines.select_stage import ReadCandidates
from pipelines.settings import Execution, RunSettings


class Choice(NamedTuple):
    """Collections of what was chosen."""

    kept: Any  # candidates
    losers: Any  # (part name, loser)
    details: Any  # (name, plain value), for the report
    state: Any  # FileEntry as a tuple, of what is kept for later runs


class ChooseDocuments(beam.PTransform):
    """(part name, work file) -> Choice: a cut by score where the corpus ranks, then duplicates, exact and near."""

    def __init__(self, settings: RunSettings, execution: Execution) -> None:
        super().__init__()
        self.selection, self.execution = settings.selection, execution

    def expand(self, files: Any) -> Choice:
        cuts = self._find_cut(files)
        rules = self.selection.deduplication
        reader = ReadCandidates(rules)
        reading = beam.ParDo(reader, cut=beam.pvalue.AsSingleton(cuts)) if cuts else beam.ParDo(reader)
        read = files | "Read candidates" >> reading.with_outputs(LOSERS, main="candidates")
        kept, losers = read.candidates | "Deduplicate" >> Deduplicate(rules)
        details = [cuts | "Report the cut" >> beam.Map(describe_cut)] if cuts else []
        state = []
        if self.selection.near_duplicates is not None:
            remove = RemoveNearDuplicates(self.selection.near_duplicates, output=self.execution.output)
            found = {"files": files, "kept": kept} | "Remove near-duplicates" >> remove
            kept, losers = found.kept, [*losers, found.losers]
            details.append(found.report | "Name the report" >> beam.Map(_named, "near_duplicates"))
            state.append(found.state)
        return Choice(
            kept=kept,
            losers=[read[LOSERS], *losers] | "All losers" >> beam.Flatten(),
            details=details | "All details" >> beam.Flatten(pipeline=files.pipeline),
            state=state | "All state" >> beam.Flatten(pipeline=files.pipeline),
        )

    def _find_cut(self, files: Any) -> Any:
        if self.selection.keep is None:
            return None
        scores = files | "Spread work files" >> beam.Reshuffle() | "Read scores" >> beam.ParDo(ReadScores())
        return scores | "Find the cut" >> FindCut(self.selection.keep)


def _named(value: object, name: str) -> tuple[str, object]:
    return name, value
