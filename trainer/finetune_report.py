"""What a finetuning tells: its data's books, a line per seed, and the median over seeds as the benchmark names it.

In: encoded splits and results. Out: lines for people, report.json and report.txt. The rule: read = kept + broken, and
each broken record is named in report.json.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from trainer.finetuned_folder import Output, SeedResult
from trainer.finetuning import Encoded
from trainer.run_folder import replace_file
from trainer.tasks import Features, Split, Task

REPORT, TABLE = "report.json", "report.txt"
_VALUE_WIDTH = len("-0.1234")
_SHOWN_BROKEN = 3  # of a split; report.json has all


class Summary(NamedTuple):
    """Medians over seeds."""

    chosen_metric: str
    median: Mapping[str, Mapping[str, float]]  # split -> metric -> value


def describe_data(data: Sequence[Encoded]) -> Iterator[str]:
    """A line per split: what was read and kept, what was broken, what was cut."""
    for split, features in data:
        n_kept, n_broken = len(split.examples), len(split.broken)
        n_cut = sum(feature.n_cut for feature in features)
        n_shortened = sum(feature.n_cut > 0 for feature in features)
        said = (
            f"{split.name}: {n_kept + n_broken:,} read, {n_kept:,} kept, {n_broken:,} broken; {len(features):,} inputs"
        )
        said += f", {n_cut:,} tokens cut from {n_shortened:,} of them" if n_cut else ""
        n_unused = count_unused(split, features)
        yield said + (f"; {n_unused:,} kept ones are in no input" if n_unused else "")
        if split.note:
            yield f"{split.name}: {split.note}"
        for bad in split.broken[:_SHOWN_BROKEN]:
            yield f"{split.name}: broken: {bad.path}:{bad.line}: {bad.reason}"
        if n_broken > _SHOWN_BROKEN:
            yield f"{split.name}: and {n_broken - _SHOWN_BROKEN:,} more, all in {REPORT}"


def count_unused(split: Split[Any], features: Sequence[Features]) -> int:
    """Examples that a task did not make an input of, such as questions whose answer fits into no window."""
    return len(split.examples) - len({number for feature in features for number in feature.examples})


def describe_seed(result: SeedResult) -> str:
    """A seed's result in a line."""
    early = " (ended early)" if result.last_update < result.updates else ""
    values = ", ".join(f"{name} {value:.4f}" for name, value in _flatten(result.dev).items())
    return f"seed {result.seed}: {values}; best after update {result.update} of {result.last_update}{early}"


def summarise_seeds(task: Task[Any], results: Sequence[SeedResult]) -> Summary:
    """The median of each metric over seeds; of an even number, the mean of the middle two."""
    first = results[0].dev
    medians = {
        split: {name: median(result.dev[split][name] for result in results) for name in values}
        for split, values in first.items()
    }
    return Summary(task.chosen_metric, medians)


def write_report(
    folder: Path, output: Output, data: Sequence[Encoded], results: Sequence[SeedResult], summary: Summary
) -> list[str]:
    """Writes report.json and report.txt; the lines of the latter, and one per metric and its median."""
    plain = {
        "task": output.task,
        "chosen_metric": summary.chosen_metric,
        "median": summary.median,
        "seeds": [result._asdict() for result in results],
        "settings": output.settings,
        "fingerprints": {"start": output.start, "data": output.data, "vocabulary": output.vocabulary},
        "data": {split.name: _books(split, features) for split, features in data},
    }
    lines = [*_table(results, summary), *(f"{name} {value:.4f}" for name, value in _flatten(summary.median).items())]
    replace_file(folder / REPORT, (json.dumps(plain, indent=1) + "\n").encode())
    replace_file(folder / TABLE, "".join(f"{text}\n" for text in lines).encode())
    return [*lines, f"report {folder / REPORT}"]


def _books(split: Any, features: Sequence[Any]) -> dict[str, object]:
    return {
        "read": len(split.examples) + len(split.broken),
        "kept": len(split.examples),
        "broken": [bad._asdict() for bad in split.broken],
        "note": split.note,
        "unused": count_unused(split, features),
        "inputs": len(features),
        "tokens_cut": sum(feature.n_cut for feature in features),
        "inputs_cut": sum(feature.n_cut > 0 for feature in features),
    }


def _table(results: Sequence[SeedResult], summary: Summary) -> Iterator[str]:
    medians = _flatten(summary.median)
    widths = {name: max(len(name), _VALUE_WIDTH) for name in medians}
    yield "  ".join(["seed".rjust(6), "update".rjust(8), *(name.rjust(width) for name, width in widths.items())])
    rows = [(str(result.seed), str(result.update), _flatten(result.dev)) for result in results]
    for seed, update, values in (*rows, ("median", "", medians)):
        cells = [f"{values[name]:.4f}".rjust(width) for name, width in widths.items()]
        yield "  ".join([seed.rjust(6), update.rjust(8), *cells])


def _flatten(dev: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Values by metric; where there are several splits, by split and metric."""
    several = len(dev) > 1
    return {
        f"{split} {name}" if several else name: value for split, values in dev.items() for name, value in values.items()
    }
