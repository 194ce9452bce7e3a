"""Flatten for all runners: what goes into one goes nowhere else."""

from collections import Counter
from typing import Any

import apache_beam as beam
from apache_beam.portability import common_urns
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.flattening import FlattenAll


def readers(pipeline: beam.Pipeline) -> tuple[Counter[str], set[str]]:
    """How many steps read each collection, and the collections that Flattens read."""
    steps = pipeline.to_runner_api().components.transforms.values()
    primitive = [step for step in steps if not step.subtransforms]
    flattens = [step for step in primitive if step.spec.urn == common_urns.primitives.FLATTEN.urn]
    return (
        Counter(name for step in primitive for name in step.inputs.values()),
        {name for step in flattens for name in step.inputs.values()},
    )


def branching(pipeline: beam.Pipeline, flatten: Any) -> Any:
    """Two collections that are flattened; one of them is grouped as well."""
    first, second = (pipeline | name >> beam.Create([(name, 1)]) for name in ("first", "second"))
    _ = first | beam.GroupByKey() | "Use groups" >> beam.Map(str)
    return (first, second) | "Both" >> flatten


def test_what_is_flattened_has_no_other_reader() -> None:
    for flatten, most in ((beam.Flatten(), 2), (FlattenAll(), 1)):
        pipeline = beam.Pipeline(runner=FnApiRunner())
        branching(pipeline, flatten)
        n_readers, flattened = readers(pipeline)
        assert max(n_readers[name] for name in flattened) == most


def test_it_gives_what_flatten_gives() -> None:
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(branching(pipeline, FlattenAll()), equal_to([("first", 1), ("second", 1)]), label="two")
        one = pipeline | "Alone" >> beam.Create([1, 2])
        assert_that([one] | "List of one" >> FlattenAll(), equal_to([1, 2]), label="one")
