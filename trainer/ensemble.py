"""Averages the scores of several finetuned outputs of a task, and scores and predicts with the mean.

    python -m trainer.ensemble OUT1 OUT2 OUT3/seed-2 --data CoLA --output ENSEMBLE

In: outputs (all their finished seeds) or single seeds, and the data that they were finetuned on. Out: metrics on dev,
ENSEMBLE/report.json, ENSEMBLE/predictions. The rule: only scores of the same inputs are averaged: task, data,
vocabulary and longest row of all outputs must be the same; weights, models and settings may differ.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bpe.encoding import Encoder
from bpe.errors import ShardError
from bpe.vocabulary import load_vocabulary
from trainer.command_line import OneLineParser, parse_flags
from trainer.finetuned_folder import (
    PREDICTIONS,
    VOCABULARY,
    Output,
    digest_features,
    finished_seeds,
    read_output,
    read_scores,
)
from trainer.finetuning import Encoded
from trainer.run_folder import RunError, replace_file
from trainer.tasks import DataError, Scores, Split, Task, find_task

REPORT = "report.json"


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 done, 1 the data are bad, 2 the command is wrong."""
    parser = make_parser()
    flags = parse_flags(parser, argv)
    try:
        seeds = [seed for path in flags.outputs for seed in finished_seeds(Path(path))]
        output = common_output(seeds)
        dev, test = encode_data(find_task(output.task), output, seeds[0].parent, Path(flags.data))
        average(find_task(output.task), seeds, dev, test, Path(flags.output))
    except (DataError, ShardError, RunError, ValueError, OSError) as error:
        if flags.debug:
            raise
        print(f"ensemble: {error}", file=sys.stderr)
        return 1
    return 0


def make_parser() -> OneLineParser:
    """The flags."""
    assert __doc__ is not None
    parser = OneLineParser("ensemble.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("outputs", nargs="+", metavar="OUT", help="finetuned outputs, or single seeds of them")
    parser.add_argument("--data", required=True, metavar="DIR", help="the data that they were finetuned on")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for predictions and report")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def common_output(seeds: Sequence[Path]) -> Output:
    """What all outputs agree on; RunError where they do not."""
    outputs = {seed.parent: read_output(seed.parent) for seed in seeds}
    first_folder, first = next(iter(outputs.items()))
    for folder, other in outputs.items():
        for name in ("task", "data", "vocabulary"):
            ours, theirs = getattr(first, name), getattr(other, name)
            if ours != theirs:
                raise RunError(
                    f"{folder} is of {name} {theirs[:16]}, {first_folder} of {ours[:16]}: their scores are of other "
                    "inputs; average outputs of one task, data and vocabulary"
                )
    return first


def encode_data(
    task: Task[Any], output: Output, folder: Path, data: Path
) -> tuple[tuple[Encoded, ...], tuple[Encoded, ...]]:
    """Dev and test as they were finetuned on; RunError where the data are others."""
    encoder = Encoder(load_vocabulary(folder / VOCABULARY))
    max_tokens = int(output.settings["max_tokens"])
    splits = task.read(data)

    def encode(split: Split[Any], *, training: bool = False) -> Encoded:
        return Encoded(split, task.encode(split, encoder, max_tokens=max_tokens, training=training))

    train, dev = encode(splits.train, training=True), tuple(map(encode, splits.dev))
    if digest_features([each.features for each in (train, *dev)]) != output.data:
        raise RunError(f"{data} is not what {folder} was finetuned on; give the same --data")
    return dev, tuple(map(encode, splits.test))


def average_scores(seeds: Sequence[Path], split: str, *, n_features: int) -> list[Scores]:
    """The mean of each feature's scores over seeds; RunError where a seed has scores of another form."""
    total: list[Any] = []
    for seed in seeds:
        scores = read_scores(seed, split)
        shapes = [array.shape for array in total] if total else [array.shape for array in scores]
        if len(scores) != n_features or [array.shape for array in scores] != shapes:
            raise RunError(f"{seed}: its scores of {split} are of other inputs; finetune it again on this data")
        added = [array.astype(np.float64) for array in scores]
        total = [sum_ + array for sum_, array in zip(total, added, strict=True)] if total else added
    return [(sum_ / len(seeds)).astype(np.float32) for sum_ in total]


def average(
    task: Task[Any], seeds: Sequence[Path], dev: Sequence[Encoded], test: Sequence[Encoded], folder: Path
) -> None:
    """Metrics and predictions of the mean, printed and written."""
    folder.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Mapping[str, float]] = {}
    for number, (split, features) in enumerate((*dev, *test)):
        scores = average_scores(seeds, split.name, n_features=len(features))
        task.write_predictions(folder / PREDICTIONS, split, features, scores)
        if number < len(dev):
            measured[split.name] = task.metrics(split, features, scores)
    for name, values in measured.items():
        for metric, value in values.items():
            print(f"{f'{name} ' if len(measured) > 1 else ''}{metric} {value:.4f}")
    plain = {"task": task.name, "averaged": [f"{seed.parent.name}/{seed.name}" for seed in seeds], "dev": measured}
    replace_file(folder / REPORT, (json.dumps(plain, indent=1) + "\n").encode())
    print(f"{len(seeds)} seeds averaged; report {folder / REPORT}, predictions {folder / PREDICTIONS}")


if __name__ == "__main__":
    sys.exit(main())
