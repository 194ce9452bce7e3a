"""Choose: which of the documents fit to keep are kept, where one may stand for another.

In go the work files of the extract stage; out come the candidates that are kept, the losers with what
each lost to, and for the report what was found on the way. Only keys and numbers travel, never texts.
"""

from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.deduplication import LOSERS
from pipelines.duplicates import RemoveDuplicates
from pipelines.flattening import FlattenAll
from pipelines.near_state import open_earlier_runs
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
        self.selection, self.output = settings.selection, execution.output
        self.earlier = open_earlier_runs(execution.against, settings.selection)

    def expand(self, files: Any) -> Choice:
        cuts = self._find_cut(files)
        reader = ReadCandidates(self.selection.deduplication)
        reading = beam.ParDo(reader, cut=beam.pvalue.AsSingleton(cuts)) if cuts else beam.ParDo(reader)
        read = files | "Read candidates" >> reading.with_outputs(LOSERS, main="candidates")
        remove = RemoveDuplicates(self.selection, output=self.output, earlier=self.earlier)
        found = {"files": files, "candidates": read.candidates} | "Remove duplicates" >> remove
        details = (cuts | "Report the cut" >> beam.Map(describe_cut), found.details) if cuts else (found.details,)
        return Choice(
            kept=found.kept,
            losers=(read[LOSERS], found.losers) | "All losers" >> FlattenAll(),
            details=details | "All details" >> FlattenAll(),
            state=found.state,
        )

    def _find_cut(self, files: Any) -> Any:
        if self.selection.keep is None:
            return None
        scores = files | "Spread work files" >> beam.Reshuffle() | "Read scores" >> beam.ParDo(ReadScores())
        return scores | "Find the cut" >> FindCut(self.selection.keep)
