"""Pretrains RoBERTa on shards.

    torchrun --nproc-per-node=2 trainer/pretrain.py --recipe tiny --data OUT --output RUN

In: finished runs of shards, and a recipe. Out: checkpoints and a log in RUN. The rule: what is trained on is a function
of shards, recipe and seed, so the same command again goes on where it was stopped, on any number of ranks.
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from bpe.errors import ShardError
from trainer.batches import to_device
from trainer.checkpoints import Progress
from trainer.command_line import OneLineParser, add_setting_flags, parse_flags, settings_of_flags
from trainer.evaluation import HeldOut, measure_loss
from trainer.model import MaskedLanguageModel, count_parameters, make_model
from trainer.optimization import gradient_norm, learning_rate, make_optimizer, set_learning_rate, summed_loss
from trainer.parallel import (
    RankError,
    Ranks,
    StopRequest,
    add_over_ranks,
    choose_precision,
    computing_in,
    rank_of_environment,
    start_ranks,
    stop_ranks,
    sum_over_ranks,
    without_sync,
    wrap_model,
)
from trainer.plan import Order, masking_rules, packing_rules
from trainer.progress import ProgressLine
from trainer.randomness import Purpose, derive_seed
from trainer.reporting import RunLog, UpdateReport, summarise_losses
from trainer.resumption import RunState, claim_folder, resume_run, save_progress
from trainer.run_folder import (
    CHECKPOINTS,
    LOG,
    RunDescription,
    RunError,
    describe_run,
)
from trainer.settings import Settings, accumulation_steps
from trainer.sources import Source, check_shards, open_runs
from trainer.streaming import DIGEST_BITS, BatchStream, LoaderError, Prefetched, RankBatch

LISTEN_EVERY = 8  # micro-batches between two looks at whether some rank was asked to stop


class Training(NamedTuple):
    """All that an update needs."""

    settings: Settings
    run: RunState
    ranks: Ranks
    dtype: torch.dtype  # of matrix products
    model: MaskedLanguageModel
    averaged: nn.Module  # the same model, its gradients averaged over ranks
    optimizer: torch.optim.AdamW
    batches: Prefetched
    order: Order
    held_out: HeldOut
    line: ProgressLine


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 done, 1 the data are bad, 2 the command is wrong, 128 + n stopped by signal n."""
    flags = parse_flags(make_parser(), argv)
    rank = rank_of_environment()
    try:
        settings = settings_of_flags(flags)
        training = prepare(settings, flags.data, Path(flags.output), resume=flags.resume)
        return train(training)
    except ValueError as error:
        if flags.debug:
            raise
        if rank == 0:  # a wrong command is the same for all ranks
            print(f"pretrain: {error}", file=sys.stderr)
        return 2
    except (ShardError, RunError, LoaderError, RankError, OSError) as error:
        if flags.debug:
            raise
        print(f"pretrain: {f'rank {rank}: ' if rank else ''}{error}", file=sys.stderr)
        return 1


def make_parser() -> OneLineParser:
    """The flags."""
    assert __doc__ is not None
    parser = OneLineParser("pretrain.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--recipe", required=True, help="tiny, roberta-base, roberta-large, or a .toml file")
    parser.add_argument("--data", required=True, nargs="+", metavar="OUT", help="folders of finished runs of shards")
    parser.add_argument("--output", required=True, metavar="RUN", help="folder for checkpoints and log")
    parser.add_argument("--resume", choices=("auto", "never"), default="auto", help="go on with RUN (default: auto)")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    add_setting_flags(parser)
    return parser


def prepare(settings: Settings, data: Sequence[str], folder: Path, *, resume: str) -> Training:
    """Data, model, optimizer; ValueError where the settings do not go together."""
    ranks = start_ranks(settings.device)
    line = ProgressLine(speaks=ranks.speaks, every_s=settings.log_every)
    steps = accumulation_steps(settings, n_ranks=ranks.n_ranks)
    runs = open_runs(data)
    check_shards(runs)
    description = describe_run(settings, runs)
    run = RunState(folder, description, ranks, line.say)
    claim_folder(run, resume=resume)
    order = Order(Source(runs, split="train"), packing_rules(settings))
    model = make_model(settings, vocabulary_size=description.vocabulary_size).to(ranks.device).train()
    dtype = choose_precision(settings.precision, ranks.device)
    line.say(
        f"{count_parameters(model):,} parameters, {order.source.n_tokens:,} tokens in {len(order.source):,} blocks, "
        f"vocabulary {description.vocabulary[:16]} of {description.vocabulary_size:,}, seed {settings.seed}; "
        f"{ranks.n_ranks} rank(s) x {steps} x {settings.micro_batch} sequences on {ranks.device.type}, {dtype}"
    )
    return Training(
        settings=settings,
        run=run,
        ranks=ranks,
        dtype=dtype,
        model=model,
        averaged=wrap_model(model, ranks),
        optimizer=make_optimizer(model, settings),
        batches=make_batches(order, description, ranks),
        order=order,
        held_out=HeldOut(runs, settings, vocabulary_size=description.vocabulary_size),
        line=line,
    )


def make_batches(order: Order, description: RunDescription, ranks: Ranks) -> Prefetched:
    """This rank's shares of the global batches."""
    settings = description.settings
    stream = BatchStream(
        order,
        masking_rules(settings, vocabulary_size=description.vocabulary_size),
        batch_sequences=settings.batch_sequences,
        micro_batch=settings.micro_batch,
        rank=ranks.rank,
        n_ranks=ranks.n_ranks,
    )
    return Prefetched(stream)


def train(training: Training) -> int:
    """Updates, from the last checkpoint to the last update."""
    settings, line = training.settings, training.line
    progress = saved = resume_run(training.run, training.model, training.optimizer)
    training.batches.load_state_dict(progress.place._asdict())
    if progress.update >= settings.last_update:
        line.say(f"finished: {progress.update} of {settings.updates} updates are done, --max-updates asks for no more")
        stop_ranks(training.ranks)
        return 0
    log = RunLog(training.run.folder, line, speaks=training.ranks.speaks, n_updates=settings.last_update)
    with StopRequest().listening() as stop, log:
        while progress.update < settings.last_update:
            started = time.monotonic()
            batch = next(training.batches)
            report = run_update(training, batch, progress.update + 1, stop=stop, started=started)
            if report is None:
                break
            progress = advance(progress, batch, applied=report.applied)
            log.update(report)
            if progress.skipped_in_row > settings.max_skipped:
                kept = (
                    f"the last good checkpoint is of update {saved.update}"
                    if saved.update
                    else "there is no checkpoint"
                )
                raise RunError(
                    f"loss or gradient was not finite for {progress.skipped_in_row} updates in a row; {kept}"
                )
            if is_due(progress.update, settings.evaluate_every, settings.last_update) and training.held_out:
                loss = measure_loss(training.model, training.held_out, training.ranks, dtype=training.dtype)
                log.held_out(progress.update, loss)
            if is_due(progress.update, settings.checkpoint_every, settings.last_update):
                saved = save_progress(training.run, training.model, training.optimizer, progress, saved)
        saved = save_progress(training.run, training.model, training.optimizer, progress, saved)
    training.batches.close()
    stopped = progress.update < settings.last_update
    summarise(training, saved, stopped=stopped)
    stop_ranks(training.ranks)
    return 128 + stop.signal if stopped and stop else 0


def run_update(
    training: Training, batch: RankBatch, update: int, *, stop: StopRequest, started: float
) -> UpdateReport | None:
    """One step on one global batch; None, and nothing changed, where some rank was asked to stop."""
    settings, ranks = training.settings, training.ranks
    n_masked, n_tokens, digest, stopping = sum_over_ranks(
        [batch.n_masked, batch.n_tokens, batch.digest, int(bool(stop))], ranks
    )
    if stopping:
        return None
    loss = accumulate_gradients(training, batch, update, n_masked=n_masked, stop=stop)
    if loss is None:
        return None
    norm = gradient_norm(training.model.parameters(), clip_norm=settings.clip_norm)
    loss_value, norm_value = torch.stack((add_over_ranks(loss, ranks), norm)).tolist()
    # Both are the same on every rank, so all of them step or all of them skip.
    applied = math.isfinite(loss_value) and math.isfinite(norm_value)
    rate = learning_rate(update, settings)
    if applied:
        set_learning_rate(training.optimizer, rate)
        training.optimizer.step()
    training.optimizer.zero_grad()
    return UpdateReport(
        update=update,
        loss=loss_value,
        gradient_norm=norm_value,
        learning_rate=rate,
        n_tokens=n_tokens,
        n_masked=n_masked,
        seconds=time.monotonic() - started,
        place=batch.place,
        digest=digest % (1 << DIGEST_BITS),
        applied=applied,
    )


def accumulate_gradients(
    training: Training, batch: RankBatch, update: int, *, n_masked: int, stop: StopRequest
) -> torch.Tensor | None:
    """Gradients of the mean loss over all predicted tokens of the global batch; this rank's part of that loss."""
    settings, ranks = training.settings, training.ranks
    # Gradients are averaged over ranks, but the mean is over tokens: each rank's sum counts n_ranks times.
    weight = ranks.n_ranks / max(1, n_masked)
    total = torch.zeros((), device=ranks.device)
    for step, arrays in enumerate(batch.micro_batches):
        if step and step % LISTEN_EVERY == 0 and sum_over_ranks([int(bool(stop))], ranks)[0]:
            training.optimizer.zero_grad()
            return None
        # Dropout is a function of the place, so a checkpoint need not hold the state of a generator.
        torch.manual_seed(derive_seed(seed=settings.seed, purpose=Purpose.DROPOUT, place=(update, ranks.rank, step)))
        inputs = to_device(arrays, ranks.device)
        with without_sync(training.averaged, last=step == len(batch.micro_batches) - 1):
            with computing_in(training.dtype, ranks.device):
                logits = training.averaged(inputs.input_ids, inputs.attention, inputs.chosen)
                loss = summed_loss(logits, inputs.targets)
            torch.autograd.backward(loss * weight)
        total += loss.detach()
    return total / max(1, n_masked)


def advance(progress: Progress, batch: RankBatch, *, applied: bool) -> Progress:
    """Progress after one more update."""
    return Progress(
        update=progress.update + 1,
        steps=progress.steps + int(applied),
        place=batch.after,
        skipped_in_row=0 if applied else progress.skipped_in_row + 1,
    )


def is_due(update: int, every: int, last: int) -> bool:
    """Whether something that happens every so many updates, and at the end, happens after this one."""
    return every > 0 and (update % every == 0 or update == last)


def summarise(training: Training, saved: Progress, *, stopped: bool) -> None:
    """What was made, and where."""
    if not training.ranks.speaks:
        return
    n_long = sum(training.order.n_long.values())
    line = training.line
    if n_long:
        done = "dropped" if training.settings.fairseq_compat else "cut"
        line.say(f"{n_long:,} sentences longer than a block were {done}")
    if stopped:
        line.say(f"stopped after update {saved.update}; the same command goes on from there")
    checkpoint = training.run.folder / CHECKPOINTS / f"update-{saved.update:08d}"
    line.say(f"{summarise_losses(training.run.folder)}; checkpoint {checkpoint}, log {training.run.folder / LOG}")


if __name__ == "__main__":
    sys.exit(main())
