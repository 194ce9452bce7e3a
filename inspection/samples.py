"""A training sample traced: from its name, or an update and a row of it, to the documents it was packed from.

The order of training is the trainer's own (`trainer.plan`), so what is named here is what was trained on.
"""

from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.places import Place, is_same_place
from inspection.errors import NotFoundError
from inspection.lookup import find_record_at
from inspection.mixtures import list_runs
from inspection.run_folder import MANIFEST, open_run
from inspection.trace import Trace, trace_lines, trace_record, trace_values
from trainer.epoch_data import EpochNotOpenError
from trainer.plan import Order, SampleId, batch_size, samples_of_update
from trainer.replay import folders_read, open_order
from trainer.run_folder import RunDescription, RunError, first_sample_of
from trainer.tracing import DocumentPiece, sample_documents


class TrainingRun(NamedTuple):
    """A training run as far as its data go."""

    folder: Path
    order: Order
    description: RunDescription


class TracedPiece(NamedTuple):
    """A run of tokens of one document in a sample."""

    folder: Place  # of the corpus
    first_token: int  # of the document
    n_tokens: int
    trace: Trace


class TracedSample(NamedTuple):
    """A sample and what it is made of, in order."""

    sample: SampleId
    pieces: list[TracedPiece]


def parse_sample(text: str) -> SampleId:
    """EPOCH/WINDOW/INDEX, three counts from 0; ValueError for anything else."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(f"--sample {text!r}: a sample is named EPOCH/WINDOW/INDEX, as in 0/3/117")
    return SampleId(*map(int, parts))


def open_training_run(place: str, *, corpus: str) -> TrainingRun:
    """The training run in a folder, which must have read the run in the folder of this corpus, or one of its runs."""
    folder = Path(place)
    try:
        order, description = open_order(folder)
    except RunError as error:
        raise NotFoundError(str(error)) from error
    read = tuple(dict.fromkeys(folders_read(folder, description)))
    asked = list_runs(corpus)
    if not any(is_same_place(one / MANIFEST, other / MANIFEST) for one in read for other in asked):
        listed = ", ".join(map(str, read))
        raise NotFoundError(f"{folder}: this training run did not read {corpus}; it read {listed}")
    return TrainingRun(folder, order, description)


def find_samples(training: TrainingRun, update: int) -> list[SampleId]:
    """The samples of an update's global batch, by row; counts from the last update that the log has before it."""
    batch = batch_size(training.description.settings)
    try:
        known = first_sample_of(training.folder, update)
        return samples_of_update(training.order, update, batch=batch, known=known)
    except RunError as error:
        raise NotFoundError(str(error)) from error
    except EpochNotOpenError as error:
        raise NotFoundError(f"{training.folder}: update {update} is not drawn yet: {error}") from error


def trace_sample(training: TrainingRun, sample: SampleId, *, warc_root: Place | None) -> TracedSample:
    """A sample's documents, each traced back to the crawl; NotFoundError where there is no such sample."""
    try:
        pieces = sample_documents(training.order, sample)
    except (ValueError, EpochNotOpenError) as error:
        raise NotFoundError(f"{training.folder}: {error}") from error
    return TracedSample(sample, [_trace_piece(training, sample.epoch, piece, warc_root) for piece in pieces])


def sample_values(traced: TracedSample) -> dict[str, object]:
    """A traced sample as plain values."""
    pieces = [
        {"folder": str(piece.folder), "first_token": piece.first_token, "tokens_in_sample": piece.n_tokens}
        | trace_values(piece.trace)
        for piece in traced.pieces
    ]
    return {"sample": sample_name(traced.sample), "pieces": pieces}


def sample_lines(traced: TracedSample) -> list[str]:
    """A traced sample as lines, a paragraph for each document."""
    n_tokens = sum(piece.n_tokens for piece in traced.pieces)
    n = len(traced.pieces)
    lines = [f"sample {sample_name(traced.sample)}: {n_tokens:,} tokens of {n} document{'' if n == 1 else 's'}"]
    for piece in traced.pieces:
        end = piece.first_token + piece.n_tokens
        lines += ["", f"tokens {piece.first_token:,} to {end - 1:,} of a document of {piece.folder}"]
        lines += ["  " + line for line in trace_lines(piece.trace)]
    return lines


def sample_name(sample: SampleId) -> str:
    return "/".join(map(str, sample))


def _trace_piece(training: TrainingRun, epoch: int, piece: DocumentPiece, warc_root: Place | None) -> TracedPiece:
    run = open_run(str(training.order.source_of(epoch).runs[piece.run].folder))
    try:
        record = find_record_at(run, piece.shard, piece.block, piece.position)
    except NotFoundError as error:
        raise ShardError(run.path / piece.shard, f"block {piece.block}", f"not in its lineage: {error}") from error
    return TracedPiece(run.path, piece.first_token, piece.n_tokens, trace_record(record, warc_root=warc_root))
