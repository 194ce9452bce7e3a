"""Choose: which of the documents fit to keep are kept, where one may stand for another.

In go the work files of the extract stage; out come the candidates that are kept, the losers with what
each lost to, and for the report what was found on the way. Only keys and numbers travel, never texts.
"""

from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.deduplication import LOSERS, Deduplicate
from pipelines.select_stage import ReadCandidates
from pipelines.settings import Execution, RunSettings


class Choice(NamedTuple):
    """Collections of what was chosen."""

    kept: Any  # candidates
    losers: Any  # (part name, loser)
    details: Any  # (name, plain value), for the report


class ChooseDocuments(beam.PTransform):
    """(part name, work file) -> Choice: a cut by score where the corpus ranks, then exact deduplication."""

    def __init__(self, settings: RunSettings, execution: Execution) -> None:
        super().__init__()
        self.settings, self.execution = settings, execution

    def expand(self, files: Any) -> Choice:
        rules = self.settings.selection.deduplication
        read = files | "Read candidates" >> beam.ParDo(ReadCandidates(rules)).with_outputs(LOSERS, main="candidates")
        kept, losers = read.candidates | "Deduplicate" >> Deduplicate(rules)
        nothing = files.pipeline | "No details" >> beam.Create([])
        return Choice(kept, [read[LOSERS], *losers] | "All losers" >> beam.Flatten(), nothing)
