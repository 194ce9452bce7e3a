"""Finetunes a pretrained model on a task of GLUE, SQuAD or RACE, and reports the median of several seeds on dev.

    torchrun --nproc-per-node=2 trainer/finetune.py --task cola --data CoLA --checkpoint RUN --output OUT --seeds 5

In: a task's official files, and weights to start from. Out: a folder per seed with its model, scores and predictions,
and a report. The rule: a finished seed is not run again, so the same command goes on where it was stopped, and a
larger --seeds adds to what is there.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bpe.encoding import Encoder
from bpe.errors import ShardError
from bpe.vocabulary import Vocabulary
from trainer.command_line import OneLineParser, parse_flags
from trainer.finetune_report import describe_data, describe_seed, summarise_seeds, write_report
from trainer.finetune_settings import FinetuneSettings, add_flags, given_flags, settings_of_task, training_fields
from trainer.finetuned_folder import (
    PREDICTIONS,
    Output,
    SeedResult,
    claim_output,
    clear_seed,
    digest_features,
    read_result,
    seed_folder,
    write_model,
    write_result,
    write_scores,
)
from trainer.finetuning import Encoded, Finetuned, Finetuning, finetune_seed, score
from trainer.parallel import (
    RankError,
    Ranks,
    StopRequest,
    all_agree,
    choose_precision,
    leave_process,
    rank_of_environment,
    start_ranks,
    stop_ranks,
    sum_over_ranks,
)
from trainer.progress import ProgressLine
from trainer.run_folder import RunError
from trainer.starts import find_vocabulary, load_start
from trainer.tasks import TASK_NAMES, DataError, Split, Task, find_task

_PAIRWISE = "-pairwise"


class Prepared(NamedTuple):
    """A finetuning, ready to go."""

    finetuning: Finetuning
    test: tuple[Encoded, ...]
    output: Output
    vocabulary: Vocabulary


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 done, 1 the data are bad, 2 the command is wrong, 128 + n stopped by signal n."""
    flags = parse_flags(make_parser(), argv)
    try:
        try:
            task, settings = choose_task(flags)
            ranks = start_ranks(settings.device)
        except ValueError as error:
            if flags.debug:
                raise
            return complain(error, code=2)
        prepared = prepare(task, settings, ranks, flags)
        return run_seeds(prepared, Path(flags.output))
    except (DataError, ShardError, RunError, RankError, OSError) as error:
        if flags.debug:
            raise
        return complain(error, code=1)


def complain(error: Exception, *, code: int) -> int:
    """One line; a wrong command is the same for all ranks, of bad data each may have met its own."""
    rank = rank_of_environment()
    if rank == 0 or code == 1:
        print(f"finetune: {f'rank {rank}: ' if rank else ''}{error}", file=sys.stderr)
    return code


def make_parser() -> OneLineParser:
    """The flags."""
    assert __doc__ is not None
    parser = OneLineParser("finetune.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    names = [name for name in TASK_NAMES if not name.endswith(_PAIRWISE)]
    parser.add_argument("--task", required=True, choices=names, help="what to learn")
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="folder of the task's official files, plain or .gz, or GLUE's"
    )
    parser.add_argument(
        "--checkpoint", metavar="PATH", help="a pretraining run, one of its checkpoints, or a Hugging Face folder"
    )
    parser.add_argument(
        "--start-from",
        metavar="OUT",
        help="a finetuned output (its best seed on dev) or one of its seeds, in place of the pretrained weights: "
        "RTE, STS-B and MRPC start from MNLI's in the paper; a head of other classes is drawn anew",
    )
    parser.add_argument("--output", required=True, metavar="OUT", help="folder for seeds and report")
    parser.add_argument("--vocabulary", metavar="FILE", help="vocab.json (default: the one beside the run's shards)")
    parser.add_argument("--pairwise", action="store_true", help="QNLI by ranking the sentences of a question")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    add_flags(parser)
    return parser


def choose_task(flags: argparse.Namespace) -> tuple[Task[Any], FinetuneSettings]:
    """The task and its settings; ValueError where flags do not go together."""
    if not flags.checkpoint and not flags.start_from:
        raise ValueError("--checkpoint, or --start-from, is needed: what to finetune")
    if flags.pairwise and flags.task != "qnli":
        raise ValueError(f"--pairwise is for --task qnli, not {flags.task}")
    task = find_task(flags.task + (_PAIRWISE if flags.pairwise else ""))
    return task, settings_of_task(task.defaults, given_flags(flags))


def prepare(task: Task[Any], settings: FinetuneSettings, ranks: Ranks, flags: argparse.Namespace) -> Prepared:
    """Weights, vocabulary, examples as features."""
    line = ProgressLine(speaks=ranks.speaks, every_s=settings.log_every)
    start = load_start(Path(flags.start_from or flags.checkpoint))
    vocabulary = find_vocabulary(start, Path(flags.vocabulary) if flags.vocabulary else None)
    settings = dataclasses.replace(settings, max_tokens=min(settings.max_tokens, start.shape.max_tokens))
    splits = task.read(Path(flags.data))
    encoder = Encoder(vocabulary)
    train = encode_split(task, splits.train, encoder, settings, training=True)
    dev = tuple(encode_split(task, split, encoder, settings) for split in splits.dev)
    test = tuple(encode_split(task, split, encoder, settings) for split in splits.test)
    for said in describe_data((train, *dev, *test)):
        line.say(said)
    dtype = choose_precision(settings.precision, ranks.device)
    finetuning = Finetuning(task, settings, start, train, dev, ranks, dtype, line)
    return Prepared(finetuning, test, describe_output(finetuning, vocabulary), vocabulary)


def encode_split(
    task: Task[Any], split: Split[Any], encoder: Encoder, settings: FinetuneSettings, *, training: bool = False
) -> Encoded:
    """A split's features; DataError where there are none."""
    features = task.encode(split, encoder, max_tokens=settings.max_tokens, training=training)
    if not features:
        raise DataError(f"{task.name}: {split.name} has {len(split.examples)} examples, but nothing to score")
    return Encoded(split, features)


def describe_output(finetuning: Finetuning, vocabulary: Vocabulary) -> Output:
    """What the output's folder will say it holds."""
    return Output(
        task=finetuning.task.name,
        settings=training_fields(finetuning.settings),
        start=finetuning.start.fingerprint,
        data=digest_features([each.features for each in (finetuning.train, *finetuning.dev)]),
        vocabulary=vocabulary.fingerprint,
        shape=finetuning.start.shape,
    )


def run_seeds(prepared: Prepared, folder: Path) -> int:
    """Each seed that is not finished yet, and the report over all."""
    finetuning, ranks, line = prepared.finetuning, prepared.finetuning.ranks, prepared.finetuning.line
    if not all_agree(int(prepared.output.data[:7], 16), ranks):
        raise RunError("the ranks do not read the same data; give all of them the same --data")
    claim_output(folder, prepared.output, prepared.vocabulary, writes=ranks.speaks)
    with StopRequest().listening() as stop:
        for seed in range(1, finetuning.settings.seeds + 1):
            # Rank 0's word counts: another machine may not see the folder.
            done = ranks.speaks and read_result(seed_folder(folder, seed)) is not None
            if sum_over_ranks([int(done)], ranks)[0]:
                line.say(f"seed {seed}: finished before")
            elif not run_seed(prepared, seed, folder, stop):
                line.say(f"stopped in seed {seed}; the same command begins that seed again")
                stop_ranks(ranks)
                return 128 + stop.signal if stop else 0
    if ranks.speaks:
        report(prepared, folder)
    stop_ranks(ranks)
    return 0


def run_seed(prepared: Prepared, seed: int, folder: Path, stop: StopRequest) -> bool:
    """One seed, trained and written; False where it was asked to stop."""
    finetuning, ranks = prepared.finetuning, prepared.finetuning.ranks
    place = seed_folder(folder, seed)
    if ranks.speaks:
        clear_seed(place)
    finetuned = finetune_seed(finetuning, seed, place, stop)
    if finetuned is None:
        return False
    write_answers(prepared, finetuned, place)
    if ranks.speaks:
        write_model(place, finetuned.model.state_dict())
        result = SeedResult(
            seed, finetuned.update, finetuned.last_update, finetuned.updates, finetuned.dev, finetuned.chosen
        )
        write_result(place, result)
        finetuning.line.say(describe_seed(result))
    return True


def write_answers(prepared: Prepared, finetuned: Finetuned, place: Path) -> None:
    """Scores and predictions of dev and test, by the best state."""
    finetuning = prepared.finetuning
    for split, features in (*finetuning.dev, *prepared.test):
        scores = score(finetuning, finetuned.model, features)
        if finetuning.ranks.speaks:
            write_scores(place, split.name, scores)
            finetuning.task.write_predictions(place / PREDICTIONS, split, features, scores)


def report(prepared: Prepared, folder: Path) -> None:
    """The report of all seeds that were asked for, as a table and in lines `metric value`."""
    finetuning = prepared.finetuning
    places = [seed_folder(folder, seed) for seed in range(1, finetuning.settings.seeds + 1)]
    results = [result for place in places if (result := read_result(place)) is not None]
    summary = summarise_seeds(finetuning.task, results)
    data = (finetuning.train, *finetuning.dev, *prepared.test)
    for text in write_report(folder, prepared.output, data, results, summary):
        finetuning.line.say(text)


if __name__ == "__main__":
    leave_process(main())
