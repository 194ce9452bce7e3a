"""The order of a run that was trained, from its folder and its shards alone.

In: a run's folder. Out: its `Order`, and what settings.json says. The rule: what is found is what was trained on, so
shards that are others by now are an error, and an epoch that has not begun is none (`EpochNotOpenError`) where what it
will read is not known yet.
"""

from collections.abc import Iterator
from pathlib import Path

from bpe.errors import ShardError
from bpe.mixture import load_mixture
from bpe.places import Place
from trainer.data_record import read_records
from trainer.epoch_data import EpochSources
from trainer.plan import Order, packing_rules
from trainer.run_folder import (
    SETTINGS,
    RunDescription,
    RunError,
    read_description,
    was_before_removal,
    why_not_the_same,
)
from trainer.sources import Source, open_runs


def open_order(folder: Path) -> tuple[Order, RunDescription]:
    """The order of the run in this folder; RunError or ShardError where it cannot be found again."""
    description = read_description(folder)
    if description is None:
        raise RunError(f"{folder} holds no run: there is no {SETTINGS}")
    records = read_records(folder)
    source = EpochSources(records) if records else _only_source(folder, description)
    return Order(source, packing_rules(description.settings)), description


def folders_read(folder: Path, description: RunDescription) -> Iterator[Place]:
    """The runs of shards that a run has read so far, by folder, and the growing corpora that they are windows of.

    Windows of generations that are gone are left out.
    """
    yield from description.folders
    for data in {record.data: None for record in read_records(folder)}:
        for one in data:
            if one.generation is None:
                continue  # the first epoch read the same
            yield one.folder
            try:
                mixture = load_mixture(one.folder, generation=one.generation)
            except ShardError:
                continue
            yield from (one.folder / source.run for source in mixture.sources)


def _only_source(folder: Path, description: RunDescription) -> Source:
    """What all epochs read where nothing grows."""
    runs = open_runs(description.folders)
    for run, expected in zip(runs, description.manifests, strict=True):
        if run.fingerprint != expected and was_before_removal(run.manifest, expected):
            raise RunError(
                f"{folder} holds a run that {why_not_the_same(run.folder)}; its samples cannot be found again"
            )
        if run.fingerprint != expected:
            raise RunError(f"{run.folder}: its manifest is {run.fingerprint[:16]}, the run read {expected[:16]}")
    runs = tuple(run._replace(weight=weight) for run, weight in zip(runs, description.weights, strict=True))
    return Source(runs, split="train")
