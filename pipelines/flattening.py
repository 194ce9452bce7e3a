"""Flatten, so that runners which fuse steps with Beam's Java library can carry it out.

In: collections. Out: one collection of what is in all of them.
The rule: what goes into a Flatten goes nowhere else.

Java's fuser (`GreedyPipelineFuser`, of Flink, Spark and Samza) decides for each collection whether it stays within a
stage. One that is flattened and grouped, too, leaves its stage: the Flatten is then carried out between stages,
and again inside the stage of another of its inputs, and the job is refused ("PCollectionNodes were consumed but never
produced"). A step before each input that does nothing makes the inputs alike.
"""

from typing import Any

import apache_beam as beam


class FlattenAll(beam.PTransform):
    """Collections -> one collection: `beam.Flatten`, whatever else is done with the collections."""

    def _extract_input_pvalues(self, pvalueish: Any) -> Any:
        """As `beam.Flatten` has it: lists, and a list of one, which other transforms are given otherwise."""
        collections = tuple(pvalueish)
        return collections, collections

    def expand(self, collections: Any) -> Any:
        marked = [one | f"Input {number}" >> beam.Map(_same) for number, one in enumerate(collections)]
        return marked | "Flatten" >> beam.Flatten()


def _same(element: Any) -> Any:
    return element
