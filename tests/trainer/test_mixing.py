"""Corpora mixed by weight: how often a block is seen, in which order, and that a resumed run sees the same."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.mixture import FILE_NAME, Mixture, MixtureSource, dump_mixture
from bpe.shared_vocabulary import SharedVocabulary
from trainer.masking import MaskingRules
from trainer.mixing import Part, count_blocks, draw_blocks
from trainer.plan import BatchSize, Order, PackingRules, SampleId, SampleRun
from trainer.replay import open_order
from trainer.sources import Source, open_runs
from trainer.streaming import BatchStream

RULES = PackingRules(block_tokens=32, window_blocks=3, seed=5)

weights = st.fractions(Fraction(1, 20), 4, max_denominator=20)
all_parts = st.lists(st.tuples(st.integers(0, 12), weights), max_size=4).map(
    lambda pairs: [Part(sum(n for n, _ in pairs[:k]), n, weight) for k, (n, weight) in enumerate(pairs)]
)


def count(parts: list[Part], seed: int, n_epochs: int) -> Counter[int]:
    return Counter(one for epoch in range(n_epochs) for one in draw_blocks(parts, seed=seed, epoch=epoch).tolist())


@given(all_parts, st.integers(0, 99), st.integers(1, 8))
def test_after_any_number_of_epochs_blocks_of_a_source_were_seen_as_evenly_as_can_be(
    parts: list[Part], seed: int, n_epochs: int
) -> None:
    seen = count(parts, seed, n_epochs)
    for part in parts:
        times = [seen[number] for number in range(part.first, part.first + part.n_blocks)]
        assert sum(times) == int(part.weight * part.n_blocks * n_epochs)
        assert not times or max(times) - min(times) <= 1
    assert set(seen) <= set(range(sum(part.n_blocks for part in parts)))


@given(all_parts, st.integers(0, 99), st.integers(0, 9))
def test_an_epoch_is_a_function_of_its_number_and_the_seed(parts: list[Part], seed: int, epoch: int) -> None:
    drawn = draw_blocks(parts, seed=seed, epoch=epoch)
    assert np.array_equal(drawn, draw_blocks(parts, seed=seed, epoch=epoch))
    assert np.array_equal(drawn, np.sort(drawn))
    assert drawn.size == count_blocks(parts, epoch)


def test_whole_weights_see_each_block_so_often_and_fractions_choose_by_seed() -> None:
    parts = [Part(0, 40, Fraction(2)), Part(40, 40, Fraction(1, 4)), Part(80, 40, Fraction(3, 2))]
    seen = count(parts, 1, 1)
    assert {seen[k] for k in range(40)} == {2}
    assert sorted(seen[k] for k in range(40, 80)) == [0] * 30 + [1] * 10
    assert sorted(seen[k] for k in range(80, 120)) == [1] * 20 + [2] * 20
    assert count(parts, 2, 1) != seen
    assert {count(parts, 1, 4)[k] for k in range(40, 80)} == {1}


# --- with shards ---


@pytest.fixture(scope="module")
def two_runs(
    random_shards: ModuleType, small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    shape = random_shards.Shape(
        n_tokens=8_000, n_shards=2, held_out_tokens=1_000, vocabulary_size=500, sentence_tokens=9.0,
        block_tokens=1_000, seed=1,
    )  # fmt: skip
    return small_data, random_shards.make_run(tmp_path_factory.mktemp("second") / "run", shape)


def write_mix(folder: Path, sources: list[tuple[Path, str]]) -> Path:
    """A mixture of finished runs, as `prep-shards mix` writes it."""
    folder.mkdir()
    manifests = [(run / "manifest.json").read_bytes() for run, _ in sources]
    vocabulary = json.loads(manifests[0])["vocabulary"]
    mixture = Mixture(
        tuple(
            MixtureSource(os.path.relpath(run.resolve(), folder.resolve()), digest, weight)
            for (run, weight), digest in zip(sources, (hashlib.sha256(m).hexdigest() for m in manifests), strict=True)
        ),
        SharedVocabulary(vocabulary["fingerprint"], vocabulary["encoding"], vocabulary["size"]),
    )
    (folder / FILE_NAME).write_bytes(dump_mixture(mixture))
    return folder


@pytest.fixture
def mix(two_runs: tuple[Path, Path], tmp_path: Path) -> Path:
    return write_mix(tmp_path / "mix", [(two_runs[0], "0.5"), (two_runs[1], "2")])


def order_of(*folders: Path) -> Order:
    return Order(Source(open_runs(folders), split="train"), RULES)


def stored_tokens(order: Order, epoch: int) -> Counter[int]:
    """Every token that an epoch trains on, separators aside."""
    tokens: Counter[int] = Counter()
    for window in range(order.n_windows(epoch)):
        tokens.update(order.window(epoch, window).tokens.tolist())
    return tokens


def test_an_epoch_of_a_mixture_holds_each_block_as_often_as_its_weight_says(
    mix: Path, two_runs: tuple[Path, Path]
) -> None:
    order = order_of(mix)
    first, second = (len(Source(open_runs([run]), split="train")) for run in two_runs)
    for epoch in range(4):
        blocks = order.epoch_blocks(epoch).tolist()
        seen = Counter(blocks)
        assert {seen[k] for k in range(first, first + second)} == {2}
        assert sum(seen[k] for k in range(first)) in (first // 2, (first + 1) // 2)
        taken = [number for window in range(order.n_windows(epoch)) for number in order.window_blocks(epoch, window)]
        assert taken == blocks
        assert blocks != sorted(blocks)
        read = Counter(token for number in blocks for token in order.source.read(number).tokens.tolist())
        assert stored_tokens(order, epoch) == read
    both = Counter(order.epoch_blocks(0).tolist()) + Counter(order.epoch_blocks(1).tolist())
    assert {both[k] for k in range(first)} == {1}


def test_weights_of_one_are_the_order_of_the_runs_themselves(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    mixed = order_of(write_mix(tmp_path / "ones", [(run, "1") for run in two_runs]))
    plain = order_of(*two_runs)
    for epoch in (0, 3):
        assert np.array_equal(mixed.epoch_blocks(epoch), plain.epoch_blocks(epoch))
    run = SampleRun(1, 2, 0, 5)
    assert np.array_equal(mixed.gather(run).ids, plain.gather(run).ids)


def test_a_mixture_may_stand_beside_a_run(mix: Path, two_runs: tuple[Path, Path]) -> None:
    runs = open_runs([mix, two_runs[0]])
    assert [run.weight for run in runs] == [Fraction(1, 2), 2, 1]


def test_held_out_data_are_read_once_whatever_the_weights(mix: Path, two_runs: tuple[Path, Path]) -> None:
    source = Source(open_runs([mix]), split="held-out")
    order = Order(source, PackingRules(block_tokens=32, window_blocks=3, shuffle=False))
    assert order.epoch_blocks(0).tolist() == list(range(len(source)))
    assert source.n_tokens == sum(Source(open_runs([run]), split="held-out").n_tokens for run in two_runs)


def test_batches_of_a_mixture_go_on_bit_for_bit_wherever_a_run_was_stopped(mix: Path) -> None:
    def start() -> BatchStream:
        masking = MaskingRules(vocabulary_size=500, seed=1)
        return BatchStream(order_of(mix), masking, batch=BatchSize(24), micro_batch=24, rank=0, n_ranks=1)

    stream = start()
    n_batches = 3 * stream.order.epoch_samples(0) // 24
    made, states = [], []
    for _ in range(n_batches):
        states.append(stream.state_dict())
        made.append(next(stream))
    assert made[-1].place.epoch >= 2
    for number in (0, 1, n_batches // 3, n_batches // 2, n_batches - 1):
        resumed = start()
        resumed.load_state_dict(states[number])
        assert next(resumed).digest == made[number].digest


def test_a_mixture_of_runs_that_were_changed_is_refused(mix: Path, two_runs: tuple[Path, Path]) -> None:
    data = (mix / FILE_NAME).read_text()
    digest = hashlib.sha256((two_runs[1] / "manifest.json").read_bytes()).hexdigest()
    (mix / FILE_NAME).write_text(data.replace(digest, "0" * 64))
    with pytest.raises(ShardError, match="make the mixture again"):
        open_runs([mix])


def test_training_on_a_mixture_resumes_to_the_same_log_and_its_folder_knows_the_weights(
    mix: Path, two_runs: tuple[Path, Path], tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    flags = ("--data", mix, "--checkpoint-every", 5)
    done = run_here(*flags, "--output", tmp_path / "whole", "--max-updates", 12)
    assert done.returncode == 0, done.stderr
    assert "0.5 x small + 2 x run" in done.stdout
    for updates in (7, 12):
        assert run_here(*flags, "--output", tmp_path / "stopped", "--max-updates", updates).returncode == 0
    logs = [
        [(line["update"], line["loss"], line["batch"]) for line in map(json.loads, text.splitlines())]
        for text in ((tmp_path / name / "log.jsonl").read_text() for name in ("whole", "stopped"))
    ]
    assert logs[0] == logs[1]
    order, description = open_order(tmp_path / "whole")
    assert description.weights == (Fraction(1, 2), 2)
    assert np.array_equal(order.epoch_blocks(1), Order(order_of(mix).source, order.rules).epoch_blocks(1))
    assert order.take(SampleId(0, 0, 0), 8)[1] == SampleId(*json.loads(_line(tmp_path / "whole", 2))["place"])
    other = write_mix(tmp_path / "other", [(two_runs[0], "0.5"), (two_runs[1], "3")])
    done = run_here("--data", other, "--output", tmp_path / "whole", "--max-updates", 12)
    assert done.returncode == 1
    assert "weights 1/2, 2 (now 1/2, 3)" in done.stderr


def _line(folder: Path, update: int) -> str:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return next(line for line in lines if json.loads(line)["update"] == update)
