"""Pretrains RoBERTa on shards.

    torchrun --nproc-per-node=2 trainer/pretrain.py --recipe tiny --data OUT --output RUN

In: finished runs of shards, and a recipe. Out: checkpoints and a log in RUN. The rule: what is trained on is a function
of shards, recipe and seed, so the same command again goes on where it was stopped, on any number of ranks.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bpe.cache_settings import add_cache_flags, use_cache_flags
from bpe.errors import ShardError
from bpe.places import is_address
from trainer.checkpoints import Progress
from trainer.command_line import OneLineParser, add_setting_flags, parse_flags, settings_of_flags
from trainer.compilation import compile_layers, compile_losses
from trainer.evaluation import HeldOut, measure_loss
from trainer.following import RunData
from trainer.hardware import measure_against
from trainer.loss_scale import next_scale, scale_for
from trainer.model import count_parameters, make_model
from trainer.optimization import SumLosses, make_optimizer, sum_losses
from trainer.parallel import (
    RankError,
    Ranks,
    StopRequest,
    choose_precision,
    leave_process,
    rank_of_environment,
    start_ranks,
    stop_ranks,
)
from trainer.plan import Order, batch_size, masking_rules, packing_rules
from trainer.profiling import UpdateProfile
from trainer.progress import ProgressLine
from trainer.reporting import HeldOutLoss, RunLog, UpdateReport, summarise_losses
from trainer.resumption import RunState, claim_folder, open_writer, resume_run, save_progress
from trainer.run_folder import (
    CHECKPOINTS,
    LOG,
    RunDescription,
    RunError,
    describe_run,
)
from trainer.settings import Settings, check_batch
from trainer.sharding import spread_model, weights_in_place
from trainer.sources import find_word_starts
from trainer.streaming import BatchStream, LoaderError, Prefetched, RankBatch
from trainer.tally import Corpus, count_seen, describe_seen, describe_weights, list_corpora
from trainer.trackers import open_tracker, require_tracker
from trainer.updates import Learner, run_update


class Training(NamedTuple):
    """A run, ready to go."""

    settings: Settings
    run: RunState
    data: RunData
    learner: Learner
    batches: Prefetched
    order: Order
    held_out: HeldOut
    corpora: tuple[Corpus, ...]
    line: ProgressLine


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 done, 1 the data are bad, 2 the command is wrong, 128 + n stopped by signal n."""
    flags = parse_flags(make_parser(), argv)
    try:
        try:
            use_cache_flags(flags)
            if is_address(flags.output):
                raise ValueError(f"--output {flags.output}: checkpoints are written to a disk that all ranks share")
            training = prepare(settings_of_flags(flags), flags)
        except ValueError as error:
            if flags.debug:
                raise
            return complain(error, code=2)
        return train(training)
    except (ShardError, RunError, LoaderError, RankError, OSError) as error:
        if flags.debug:
            raise
        return complain(error, code=1)


def complain(error: Exception, *, code: int) -> int:
    """One line; a wrong command is the same for all ranks, of bad data each may have met its own."""
    rank = rank_of_environment()
    if rank == 0 or code == 1:
        print(f"pretrain: {f'rank {rank}: ' if rank else ''}{error}", file=sys.stderr)
    return code


def make_parser() -> OneLineParser:
    """The flags."""
    assert __doc__ is not None
    parser = OneLineParser("pretrain.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--recipe", required=True, help="tiny, roberta-base, table2/full-sentences ..., or a .toml file"
    )
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="OUT",
        help="folders of finished runs of shards, of mixtures, or of growing corpora; also s3://… and gs://…",
    )
    parser.add_argument(
        "--follow-data",
        action="store_true",
        help="begin each epoch with the newest complete generation of every growing corpus in --data; RUN/data.jsonl "
        "records it, and a resumed epoch keeps it. Held-out loss stays that of the generation that the run began with, "
        "so that its curve compares (default: the run stays at that generation)",
    )
    parser.add_argument("--output", required=True, metavar="RUN", help="folder for checkpoints and log")
    parser.add_argument("--resume", choices=("auto", "never"), default="auto", help="go on with RUN (default: auto)")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    add_cache_flags(parser)
    add_setting_flags(parser)
    return parser


def prepare(settings: Settings, flags: argparse.Namespace) -> Training:
    """Data, model, optimizer; ValueError where the settings do not go together."""
    folder = Path(flags.output)
    if flags.follow_data and settings.mask_patterns:
        raise ValueError("--follow-data: static masks see the same blocks in every epoch; set --mask-patterns 0")
    ranks = start_ranks(settings.device)
    dtype = choose_precision(settings.precision, ranks.device)
    require_tracker(settings.tracker)
    line = ProgressLine(speaks=ranks.speaks, every_s=settings.log_every)
    division = check_batch(settings, n_ranks=ranks.n_ranks)
    data = RunData(flags.data, folder, ranks, follow=flags.follow_data, say=line.say)
    description = describe_run(settings, data.runs)
    run = RunState(folder, description, ranks, line.say)
    claim_folder(run, resume=flags.resume, first=data.first)
    order = Order(data.source, packing_rules(settings))
    model = make_model(settings, vocabulary_size=description.vocabulary_size).to(ranks.device).train()
    losses: SumLosses = sum_losses
    if settings.compile:
        compile_layers(model, ranks.device)
        losses = compile_losses(ranks.device)
    averaged = spread_model(model, ranks, sharding=settings.sharding)
    line.say(
        f"{count_parameters(model):,} parameters, {order.source.n_tokens:,} tokens in {len(order.source):,} blocks"
        f"{describe_weights(order.source)}, "
        f"vocabulary {description.vocabulary[:16]} of {description.vocabulary_size:,}, seed {settings.seed}; "
        f"{settings.input_format}, {division} on {ranks.device.type}, {dtype}"
    )
    return Training(
        settings=settings,
        run=run,
        data=data,
        learner=Learner(settings, ranks, dtype, model, averaged, make_optimizer(model, settings), losses),
        batches=make_batches(order, description, ranks, open_epoch=data.open_epoch),
        order=order,
        held_out=HeldOut(data.runs, settings, vocabulary_size=description.vocabulary_size),
        corpora=list_corpora(order.source, stays=data.stays),
        line=line,
    )


def make_batches(
    order: Order, description: RunDescription, ranks: Ranks, *, open_epoch: Callable[[int], None] | None = None
) -> Prefetched:
    """This rank's shares of the global batches."""
    settings = description.settings
    word_starts = find_word_starts(order.source.runs) if settings.mask_whole_words else None
    stream = BatchStream(
        order,
        masking_rules(settings, vocabulary_size=description.vocabulary_size, word_starts=word_starts),
        batch=batch_size(settings),
        micro_batch=settings.micro_batch,
        rank=ranks.rank,
        n_ranks=ranks.n_ranks,
    )
    return Prefetched(stream, open_epoch=open_epoch)


def train(training: Training) -> int:
    """Updates, from the last checkpoint to the last update."""
    settings, learner, line = training.settings, training.learner, training.line
    progress = saved = resume_run(training.run, learner.model, learner.optimizer)
    progress = progress._replace(scaling=scale_for(learner.dtype, progress.scaling))
    training.batches.load_state_dict(progress.place._asdict())
    if progress.update >= settings.last_update:
        line.say(f"finished: {progress.update} of {settings.updates} updates are done, --max-updates asks for no more")
        stop_ranks(training.run.ranks)
        return 0
    training.data.go_on(progress.place)
    log = open_log(training, after=progress.update)
    n_profiled = settings.profile if learner.ranks.speaks else 0
    profile = UpdateProfile(training.run.folder, updates=n_profiled, device=learner.ranks.device, say=line.say)
    with StopRequest().listening() as stop, log, open_writer(training.run) as writer, profile:
        if not progress.update and settings.evaluate_every and training.held_out:
            log.start(measure_held_out(training))
        while progress.update < settings.last_update:
            started = time.monotonic()
            batch = next(training.batches)
            report = run_update(
                learner, batch, progress.update + 1, stop=stop, started=started, scaling=progress.scaling
            )
            if report is None:
                break
            progress = advance(progress, batch, report)
            held_out = None
            if is_due(progress.update, settings.evaluate_every, settings.last_update) and training.held_out:
                held_out = measure_held_out(training)
            log.update(report, held_out=held_out, begun=training.data.describe_begun(batch))
            refuse_divergence(progress, saved, max_skipped=settings.max_skipped)
            writer.check()
            profile.step()
            if is_due(progress.update, settings.checkpoint_every, settings.last_update):
                saved = save_progress(training.run, learner.model, learner.optimizer, progress, saved, writer)
        saved = save_progress(training.run, learner.model, learner.optimizer, progress, saved, writer)
    training.batches.close()
    stopped = progress.update < settings.last_update
    if training.run.ranks.speaks:
        summarise(training, saved, stopped=stopped)
    stop_ranks(training.run.ranks)
    return 128 + stop.signal if stopped and stop else 0


def measure_held_out(training: Training) -> HeldOutLoss:
    """The loss on the held-out split now."""
    learner = training.learner
    with weights_in_place(learner.model):
        return measure_loss(learner.model, training.held_out, learner.ranks, dtype=learner.dtype)


def open_log(training: Training, *, after: int) -> RunLog:
    """What tells of this run's updates; only rank 0 does."""
    settings, ranks, folder = training.settings, training.run.ranks, training.run.folder
    return RunLog(
        folder,
        training.line,
        speaks=ranks.speaks,
        n_updates=settings.last_update,
        block_tokens=settings.block_tokens,
        corpora=training.corpora,
        efficiency=measure_against(training.learner.model, settings, ranks),
        tracker=open_tracker(settings.tracker, folder, after=after) if ranks.speaks else None,
    )


def advance(progress: Progress, batch: RankBatch, report: UpdateReport) -> Progress:
    """Progress after one more update; one that lowers the scale of the loss is no sign of divergence."""
    return Progress(
        update=progress.update + 1,
        steps=progress.steps + int(report.applied),
        place=batch.after,
        skipped_in_row=0 if report.applied else progress.skipped_in_row + int(not report.rescaled),
        scaling=next_scale(progress.scaling, overflowed=not report.applied),
    )


def refuse_divergence(progress: Progress, saved: Progress, *, max_skipped: int) -> None:
    """RunError where too many updates in a row were skipped."""
    if progress.skipped_in_row > max_skipped:
        kept = f"the last good checkpoint is of update {saved.update}" if saved.update else "there is no checkpoint"
        raise RunError(f"loss or gradient was not finite for {progress.skipped_in_row} updates in a row; {kept}")


def is_due(update: int, every: int, last: int) -> bool:
    """Whether something that happens every so many updates, and at the end, happens after this one."""
    return every > 0 and (update % every == 0 or update == last)


def summarise(training: Training, saved: Progress, *, stopped: bool) -> None:
    """What was made, and where."""
    n_long = sum(training.order.n_long.values())
    line = training.line
    if n_long:
        done = "dropped" if training.settings.fairseq_compat else "cut"
        line.say(f"{n_long:,} sentences longer than a block were {done}")
    seen = count_seen(training.run.folder, training.corpora)
    for shown in describe_seen(seen, training.corpora, block_tokens=training.settings.block_tokens):
        line.say(shown)
    n_dropped = sum(training.order.n_dropped.values())
    if n_dropped:
        line.say(f"{n_dropped:,} tokens were left out of pairs, to make them fit")
    if stopped:
        line.say(f"stopped after update {saved.update}; the same command goes on from there")
    folder = training.run.folder
    checkpoint = (
        f"checkpoint {folder / CHECKPOINTS / f'update-{saved.update:08d}'}" if saved.update else "no checkpoint"
    )
    line.say(f"{summarise_losses(folder)}; {checkpoint}, log {folder / LOG}")


if __name__ == "__main__":
    leave_process(main())
