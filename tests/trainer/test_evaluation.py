"""Held-out perplexity is that of the held-out split, the same on any number of ranks and for any micro-batch."""

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.batches import to_device
from trainer.evaluation import HeldOut, measure_loss, share_sequences
from trainer.masking import IGNORE
from trainer.model import make_model
from trainer.parallel import Ranks
from trainer.settings import load_settings
from trainer.sources import Run, Source, open_runs

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


def _held_out(data: Path, recipe: Path, **overrides: int) -> HeldOut:
    return HeldOut(open_runs([data]), load_settings(str(recipe), overrides), vocabulary_size=500)


@pytest.fixture(scope="module")
def three_runs(
    small_data: Path, random_shards: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, ...]:
    """About 90 held-out sequences of 32 tokens, none, and about 15 of another seed."""
    folder = tmp_path_factory.mktemp("runs")
    shape = random_shards.Shape(n_tokens=500, n_shards=1, vocabulary_size=500, sentence_tokens=9.0, seed=7)
    none = random_shards.make_run(folder / "none", shape)
    few = random_shards.make_run(folder / "few", shape._replace(held_out_tokens=300))
    return open_runs([small_data, none, few])


def _samples(held_out: HeldOut, *, n_ranks: int) -> list[tuple[list[int], list[int], tuple[int, bool] | None]]:
    """Ids, labels, and of pairs where the second segment starts and whether it follows; sorted."""
    samples = []
    for rank in range(n_ranks):
        for _, blocks in held_out.batches(Ranks(rank, n_ranks, CPU)):
            pairs = blocks.pairs
            for row, n in enumerate(blocks.n_tokens.tolist()):
                pair = None if pairs is None else (int(pairs.second[row]), bool(pairs.follows[row]))
                samples.append((blocks.input_ids[row, :n].tolist(), blocks.labels[row, :n].tolist(), pair))
    return sorted(samples, key=repr)


def test_every_held_out_token_is_measured_once_whatever_the_ranks(small_data: Path, small_recipe: Path) -> None:
    n_tokens = Source(open_runs([small_data]), split="held-out").n_tokens
    seen = [
        _samples(_held_out(small_data, small_recipe, micro_batch=micro_batch), n_ranks=n_ranks)
        for n_ranks, micro_batch in ((1, 4), (3, 2))
    ]
    assert seen[0] == seen[1]
    assert (
        sum(label == IGNORE and token > 3 for row in seen[0] for token, label in zip(*row[:2], strict=True)) < n_tokens
    )
    assert sum(token > 3 for ids, _, _ in seen[0] for token in ids) == n_tokens


def test_an_untrained_model_is_as_perplexed_as_its_vocabulary_is_large(small_data: Path, small_recipe: Path) -> None:
    model = make_model(load_settings(str(small_recipe), {}), vocabulary_size=500).train()
    found = measure_loss(model, _held_out(small_data, small_recipe), ALONE, dtype=torch.float32)
    assert math.exp(found.loss) == pytest.approx(500, rel=0.1)
    assert (found.by_corpus, found.next_sentence) == ((found.loss,), None)
    assert model.training
    assert found == measure_loss(model, _held_out(small_data, small_recipe), ALONE, dtype=torch.float32)
    coarse = measure_loss(model, _held_out(small_data, small_recipe), ALONE, dtype=torch.bfloat16)
    assert coarse.loss == pytest.approx(found.loss, abs=0.02)


def test_no_more_sequences_are_measured_than_asked_for(small_data: Path, small_recipe: Path) -> None:
    held_out = _held_out(small_data, small_recipe, evaluation_sequences=13)
    assert sum(blocks.input_ids.shape[0] for _, blocks in held_out.batches(ALONE)) == 13


def test_runs_without_a_held_out_split_have_nothing_to_measure(
    random_shards: ModuleType, small_recipe: Path, tmp_path: Path
) -> None:
    data = random_shards.make_run(tmp_path / "one", random_shards.Shape(n_tokens=100, n_shards=1))
    assert not _held_out(data, small_recipe)


def test_each_corpus_is_measured_on_as_many_sequences_and_has_the_loss_it_has_alone(
    three_runs: tuple[Run, ...], small_recipe: Path
) -> None:
    recipe = load_settings(str(small_recipe), {"evaluation_sequences": 20})
    model = make_model(recipe, vocabulary_size=500)
    held_out = HeldOut(three_runs, recipe, vocabulary_size=500)
    n_sequences: Counter[int] = Counter()
    n_masked: Counter[int] = Counter()
    for ordinal, blocks in held_out.batches(ALONE):
        n_sequences[ordinal] += blocks.input_ids.shape[0]
        n_masked[ordinal] += blocks.chosen.size
    assert n_sequences == {0: 10, 2: 10}
    found = measure_loss(model, held_out, ALONE, dtype=torch.float32)
    halved = load_settings(str(small_recipe), {"evaluation_sequences": 10})
    for ordinal in (0, 2):
        alone = HeldOut(three_runs[ordinal : ordinal + 1], halved, vocabulary_size=500)
        assert found.by_corpus[ordinal] == pytest.approx(measure_loss(model, alone, ALONE, dtype=torch.float32).loss)
    assert math.isnan(found.by_corpus[1])
    whole = sum(found.by_corpus[ordinal] * n for ordinal, n in n_masked.items()) / n_masked.total()
    assert found.loss == pytest.approx(whole)


def test_corpora_are_measured_the_same_whatever_their_weights(three_runs: tuple[Run, ...], small_recipe: Path) -> None:
    recipe = load_settings(str(small_recipe), {})
    weighted = tuple(run._replace(weight=Fraction(3, 2)) for run in three_runs)
    measured = [
        [(ordinal, blocks.input_ids.tolist()) for ordinal, blocks in held_out.batches(ALONE)]
        for held_out in (HeldOut(runs, recipe, vocabulary_size=500) for runs in (three_runs, weighted))
    ]
    assert measured[0] == measured[1]


@given(st.integers(0, 200), st.lists(st.integers(0, 100), max_size=8))
@settings(deadline=None)
def test_sequences_are_shared_as_evenly_as_they_last(limit: int, available: list[int]) -> None:
    shares = share_sequences(limit, available)
    assert sum(shares) == min(limit, sum(available))
    assert all(0 <= share <= n for share, n in zip(shares, available, strict=True))
    # Whoever has some left has given as many as anybody, but for what does not divide.
    most = max(shares, default=0)
    assert all(share >= most - 1 for share, n in zip(shares, available, strict=True) if share < n)


@pytest.mark.parametrize("input_format", ["doc-sentences", "segment-pair", "sentence-pair"])
def test_held_out_sequences_of_each_format_are_the_same_for_other_seeds_ranks_and_micro_batches(
    small_data: Path, small_recipe: Path, input_format: str
) -> None:
    seen = []
    for seed, n_ranks, micro_batch in ((0, 1, 4), (5, 3, 2)):
        recipe = load_settings(
            str(small_recipe), {"input_format": input_format, "seed": seed, "micro_batch": micro_batch}
        )
        held_out = HeldOut(open_runs([small_data]), recipe, vocabulary_size=500)
        seen.append(_samples(held_out, n_ranks=n_ranks))
    assert seen[0] == seen[1]
    assert len(seen[0]) > 60
    assert ([pair for _, _, pair in seen[0]].count(None) == 0) == (input_format != "doc-sentences")


def test_the_accuracy_on_held_out_pairs_is_the_share_told_right(small_data: Path, small_recipe: Path) -> None:
    recipe = load_settings(str(small_recipe), {"input_format": "segment-pair", "segment_embeddings": True})
    model = make_model(recipe, vocabulary_size=500).eval()
    held_out = HeldOut(open_runs([small_data]), recipe, vocabulary_size=500)
    right, losses = [], []
    for _, blocks in held_out.batches(ALONE):
        batch = to_device(blocks, CPU)
        found = model(batch.input_ids, batch.attention, batch.chosen, batch.segments)
        right += (found.follows_BC.argmax(1) == batch.follows).tolist()
        losses += functional.cross_entropy(found.tokens_NV, batch.targets, reduction="none").tolist()
    measured = measure_loss(model, held_out, ALONE, dtype=torch.float32)
    assert measured.next_sentence == pytest.approx(sum(right) / len(right))
    assert measured.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
