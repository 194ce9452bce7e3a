"""An update's gradients are those of two means, over tokens and over pairs, however its batch is divided."""

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainer.batches import to_device
from trainer.masking import IGNORE, MaskedBlocks
from trainer.model import make_model
from trainer.optimization import make_optimizer
from trainer.packing import BOS, EOS, PAD, Pairs
from trainer.parallel import Ranks, StopRequest
from trainer.plan import SampleId
from trainer.run_folder import read_log
from trainer.settings import Settings
from trainer.streaming import RankBatch
from trainer.updates import Learner, accumulate_gradients, run_update

CPU = torch.device("cpu")
N, WIDTH = 8, 24
MASK_ID = 59
SETTINGS = Settings(
    input_format="segment-pair",
    segment_embeddings=True,
    layers=2,
    hidden=16,
    heads=2,
    feed_forward=32,
    block_tokens=WIDTH,
    dropout=0.0,
    attention_dropout=0.0,
    updates=10,
    warmup_updates=1,
)


def _pairs() -> MaskedBlocks:
    """Eight pairs of uneven lengths and numbers of predicted tokens."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(8, WIDTH + 1, N)
    ids = rng.integers(4, MASK_ID, (N, WIDTH)).astype(np.uint16)
    second = lengths // 2
    for row, (n, b) in enumerate(zip(lengths, second, strict=True)):
        ids[row, 0], ids[row, b - 2 : b], ids[row, n - 1], ids[row, n:] = BOS, EOS, EOS, PAD
    chosen = np.flatnonzero((rng.random(ids.shape) < np.linspace(0.1, 0.8, N)[:, None]) & (ids >= 4))
    labels = np.full(ids.shape, IGNORE, dtype=np.uint16)
    labels.flat[chosen] = ids.flat[chosen]
    inputs = ids.copy()
    inputs.flat[chosen] = MASK_ID
    return MaskedBlocks(inputs, labels, chosen, lengths, Pairs(second, rng.random(N) < 0.5))


def _rows(blocks: MaskedBlocks, low: int, high: int) -> MaskedBlocks:
    assert blocks.pairs is not None
    chosen = blocks.chosen[(blocks.chosen >= low * WIDTH) & (blocks.chosen < high * WIDTH)] - low * WIDTH
    pairs = Pairs(blocks.pairs.second[low:high], blocks.pairs.follows[low:high])
    return MaskedBlocks(blocks.input_ids[low:high], blocks.labels[low:high], chosen, blocks.n_tokens[low:high], pairs)


def _batch(parts: list[MaskedBlocks]) -> RankBatch:
    n_sequences, n_tokens = sum(part.n_tokens.size for part in parts), sum(int(part.n_tokens.sum()) for part in parts)
    return RankBatch(
        place=SampleId(0, 0, 0),
        after=SampleId(0, 0, n_sequences),
        micro_batches=parts,
        n_masked=sum(part.chosen.size for part in parts),
        n_tokens=n_tokens,
        n_sequences=n_sequences,
        n_documents=n_sequences,
        tokens_by_corpus=np.array([n_tokens]),
        digest=1,
    )


def _learner(rank: int = 0, n_ranks: int = 1) -> Learner:
    model = make_model(SETTINGS, vocabulary_size=MASK_ID + 1)
    for number, tensor in enumerate(p for p in model.parameters() if p.ndim == 2):
        torch.nn.init.normal_(tensor, 0.0, 0.3, generator=torch.Generator().manual_seed(number))
    ranks = Ranks(rank, n_ranks, CPU)
    return Learner(SETTINGS, ranks, torch.float32, model, model, make_optimizer(model, SETTINGS))


def _accumulate(learner: Learner, parts: list[MaskedBlocks], whole: MaskedBlocks) -> tuple[torch.Tensor, ...]:
    """Means, and the gradients."""
    n_masked, n_sequences = whole.chosen.size, whole.n_tokens.size
    means = accumulate_gradients(
        learner, _batch(parts), 1, n_masked=n_masked, n_sequences=n_sequences, stop=StopRequest()
    )
    assert means is not None
    return means, *(p.grad for p in learner.model.parameters() if p.grad is not None)


def _by_hand(whole: MaskedBlocks) -> tuple[torch.Tensor, ...]:
    """The same from the definition: a mean over tokens, a mean over pairs, their sum."""
    model = _learner().model
    assert whole.pairs is not None
    ids = torch.from_numpy(whole.input_ids.astype(np.int64))
    column = torch.arange(WIDTH)
    segments = (column >= torch.from_numpy(whole.pairs.second)[:, None]).long()
    attention = column < torch.from_numpy(whole.n_tokens)[:, None]
    found = model(ids, attention, torch.arange(ids.numel()), segments)
    labels = torch.from_numpy(whole.labels.astype(np.int64)).flatten()
    tokens = functional.cross_entropy(found.tokens_NV, labels, ignore_index=IGNORE)
    follows = torch.from_numpy(whole.pairs.follows)
    chances = found.follows_BC.softmax(1)
    pairs = -torch.where(follows, chances[:, 1], chances[:, 0]).log().mean()
    (tokens + pairs).backward()
    right = ((chances[:, 1] > 0.5) == follows).float().mean()
    return torch.stack((tokens, pairs, right)).detach(), *(p.grad for p in model.parameters() if p.grad is not None)


def test_the_next_sentence_loss_and_its_gradient_equal_those_of_a_hand_computation() -> None:
    whole = _pairs()
    found, expected = _accumulate(_learner(), [whole], whole), _by_hand(whole)
    assert len(found) == len(expected) == 1 + len(list(_learner().model.parameters()))
    assert expected[0][1] > 0.3
    assert 0 < expected[0][2] < 1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("borders", [(0, 2, 4, 6, 8), (0, 1, 8), (0, 3, 4, 8)])
def test_gradients_of_both_means_do_not_depend_on_micro_batches(borders: tuple[int, ...]) -> None:
    whole = _pairs()
    parts = [_rows(whole, low, high) for low, high in itertools.pairwise(borders)]
    torch.testing.assert_close(_accumulate(_learner(), parts, whole), _by_hand(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("borders", [(0, 4, 8), (0, 2, 8), (0, 3, 4, 8)])
def test_gradients_of_both_means_do_not_depend_on_ranks(borders: tuple[int, ...]) -> None:
    whole = _pairs()
    n_ranks = len(borders) - 1
    by_rank = [
        _accumulate(_learner(rank, n_ranks), [_rows(whole, low, high)], whole)
        for rank, (low, high) in enumerate(itertools.pairwise(borders))
    ]
    # What ranks do: means are summed, gradients averaged.
    means = torch.stack([found[0] for found in by_rank]).sum(0)
    gradients = [torch.stack(same).mean(0) for same in zip(*(found[1:] for found in by_rank), strict=True)]
    torch.testing.assert_close((means, *gradients), _by_hand(whole), rtol=1e-4, atol=1e-5)


def test_an_update_reports_the_loss_of_tokens_and_that_of_pairs_apart() -> None:
    whole = _pairs()
    report = run_update(_learner(), _batch([whole]), 1, stop=StopRequest(), started=0.0)
    assert report is not None
    assert report.next_sentence is not None
    found = (report.loss, report.next_sentence.loss, report.next_sentence.accuracy)
    assert found == pytest.approx(_by_hand(whole)[0].tolist(), rel=1e-4)
    assert (report.n_sequences, report.n_documents, report.tokens_by_corpus) == (N, N, (int(whole.n_tokens.sum()),))


def test_tensors_say_where_the_second_segment_starts_and_which_document_a_token_is_of() -> None:
    whole = _pairs()
    documents = np.arange(N * WIDTH, dtype=np.uint16).reshape(N, WIDTH)
    batch = to_device(whole._replace(documents=documents), CPU)
    assert whole.pairs is not None
    assert batch.segments is not None
    assert batch.follows is not None
    assert batch.documents is not None
    assert (WIDTH - batch.segments.sum(1)).tolist() == whole.pairs.second.tolist()
    assert batch.segments[:, 0].tolist() == [0] * N
    assert batch.follows.tolist() == whole.pairs.follows.astype(int).tolist()
    assert batch.documents.tolist() == documents.tolist()
    plain = to_device(whole._replace(pairs=None), CPU)
    assert (plain.segments, plain.follows, plain.documents) == (None, None, None)


@pytest.mark.parametrize("input_format", ["segment-pair", "sentence-pair"])
def test_pairs_train_and_the_log_tells_both_losses(
    input_format: str, small_data: Path, tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    flags = ("--input-format", input_format, "--segment-embeddings", "--max-updates", 30, "--evaluate-every", 30)
    done = run_here("--data", small_data, "--output", tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr
    untrained, *entries = read_log(tmp_path / "run")
    assert 0 <= float(str(untrained["held_out_next_sentence_accuracy"])) <= 1
    assert all(0.3 < float(str(entry["next_sentence_loss"])) < 1.5 for entry in entries)
    assert all(0 <= float(str(entry["next_sentence_accuracy"])) <= 1 for entry in entries)
    losses = [float(str(entry["loss"])) for entry in entries]
    assert sum(losses[-5:]) / 5 < losses[0] - 0.2
    assert 0 <= float(str(entries[-1]["held_out_next_sentence_accuracy"])) <= 1
    assert "% right" in done.stdout
    assert "% full, " in done.stdout


def test_two_ranks_have_the_losses_and_gradients_of_one(
    small_data: Path,
    tmp_path: Path,
    run_here: Callable[..., Any],
    start_trainer: Callable[..., "subprocess.Popen[str]"],
) -> None:
    flags = ("--data", small_data, "--input-format", "segment-pair", "--segment-embeddings", "--max-updates", 4)
    flags = (*flags, "--dropout", 0.0, "--attention-dropout", 0.0)
    process = start_trainer(*flags, "--output", tmp_path / "two", "--micro-batch", 2, n_ranks=2)
    assert run_here(*flags, "--output", tmp_path / "one").returncode == 0
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    one, two = (list(read_log(tmp_path / name)) for name in ("one", "two"))
    for key in ("batch", "sequences", "documents", "tokens", "masked"):
        assert [entry[key] for entry in one] == [entry[key] for entry in two]
    for key in ("loss", "next_sentence_loss", "next_sentence_accuracy", "gradient_norm"):
        assert [entry[key] for entry in two] == pytest.approx([entry[key] for entry in one], rel=1e-3), key


def test_attention_within_documents_trains_on_the_same_batches_to_other_losses(
    small_data: Path, tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    flags = ("--data", small_data, "--max-updates", 15, "--evaluate-every", 15, "--block-tokens", 128)
    for name, more in (("all", ()), ("own", ("--document-attention",))):
        done = run_here(*flags, *more, "--output", tmp_path / name)
        assert done.returncode == 0, done.stderr
    # After the line of the untrained model.
    found = [list(read_log(tmp_path / name))[1:] for name in ("all", "own")]
    assert [entry["batch"] for entry in found[0]] == [entry["batch"] for entry in found[1]]
    assert all(a["loss"] != b["loss"] for a, b in zip(*found, strict=True))
    assert all(isinstance(entry["loss"], float) for entry in found[1])
    assert float(str(found[1][-1]["held_out_loss"])) < float(str(found[1][0]["loss"]))
