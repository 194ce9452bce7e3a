"""The order of training: every sample once per epoch, batches that know nothing of ranks, names that lead back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bpe.errors import ShardError
from bpe.shards import block_documents
from trainer.packing import EOS
from trainer.plan import BatchSize, Order, PackingRules, SampleId, SampleRun, sample_ids, samples_of_update, slice_runs
from trainer.settings import FORMATS
from trainer.sources import Source, open_runs
from trainer.tracing import sample_documents

RULES = PackingRules(block_tokens=32, window_blocks=3, seed=5)


@pytest.fixture
def order(small_data: Path) -> Order:
    return Order(Source(open_runs([small_data]), split="train"), RULES)


def _epoch(order: Order, epoch: int) -> Iterator[np.ndarray]:
    for window in range(order.n_windows(0)):
        blocks = order.gather(SampleRun(epoch, window, 0, order.n_samples(epoch, window)))
        for row, n in zip(blocks.ids, blocks.n_tokens.tolist(), strict=True):
            yield row[1:n]


def test_an_epoch_holds_every_token_of_the_train_split_once(order: Order) -> None:
    stored = np.concatenate([order.source.read(k).tokens for k in range(len(order.source))])
    for epoch in (0, 3):
        rows = list(_epoch(order, epoch))
        packed = np.concatenate(rows)
        assert np.array_equal(np.sort(packed[packed != EOS]), np.sort(stored))
        assert order.epoch_samples(epoch) == len(rows)
        assert stored.size == order.source.n_tokens


def test_no_two_epochs_have_the_same_order(order: Order) -> None:
    first, second = (b"".join(row.tobytes() for row in _epoch(order, epoch)) for epoch in (0, 1))
    assert first != second
    assert order.window_blocks(0, 0) != order.window_blocks(1, 0)


def test_the_order_is_the_same_whenever_and_wherever_it_is_asked_for(order: Order, small_data: Path) -> None:
    later = Order(Source(open_runs([small_data]), split="train"), RULES)
    run = SampleRun(2, 1, 4, 9)
    list(_epoch(order, 0))
    assert np.array_equal(order.gather(run).ids, later.gather(run).ids)


def test_batches_run_across_windows_and_epochs_and_lose_no_sample(order: Order) -> None:
    total = order.epoch_samples(0) + order.epoch_samples(1)
    place, taken = SampleId(0, 0, 0), []
    while len(taken) < total:
        runs, place = order.take(place, 7)
        batch = list(sample_ids(runs))
        assert len(batch) == 7
        taken += batch
    assert taken[:total] == [
        SampleId(epoch, window, offset)
        for epoch in (0, 1)
        for window in range(order.n_windows(0))
        for offset in range(order.n_samples(epoch, window))
    ]


def test_a_corpus_smaller_than_a_batch_goes_round(order: Order) -> None:
    n = order.epoch_samples(0)
    runs, place = order.take(SampleId(0, 0, 0), 3 * n)
    assert place.epoch >= 2
    assert len(set(sample_ids(runs))) == 3 * n


@pytest.mark.parametrize("n_parts", [1, 2, 3, 4, 6, 12])
def test_shares_of_a_batch_make_up_the_batch(order: Order, n_parts: int) -> None:
    runs, _ = order.take(SampleId(0, 0, order.n_samples(0, 0) - 5), 12)
    assert len(runs) == 2
    size = 12 // n_parts
    shares = [sample_ids(slice_runs(runs, k * size, (k + 1) * size)) for k in range(n_parts)]
    assert [name for share in shares for name in share] == list(sample_ids(runs))


def test_the_samples_of_an_update_are_found_from_the_start_or_from_a_known_update(order: Order) -> None:
    place = SampleId(0, 0, 0)
    for update in range(1, 60):
        runs, after = order.take(place, 11)
        if update in (1, 17, 59):
            expected = list(sample_ids(runs))
            assert samples_of_update(order, update, batch=BatchSize(11)) == expected
            assert samples_of_update(order, update, batch=BatchSize(11), known=(update, place)) == expected
        place = after


@pytest.mark.parametrize("name", FORMATS)
def test_a_sample_leads_back_to_its_documents(order: Order, small_data: Path, name: str) -> None:
    order = Order(order.source, replace(order.rules, input_format=name))
    run = order.source.runs[0]
    samples = [SampleId(0, 0, offset) for offset in range(20)]
    for sample in (*samples, SampleId(0, order.n_windows(0) - 1, 0), SampleId(1, 1, 11)):
        row, n_tokens = (column[0] for column in order.gather(SampleRun(*sample, 1))[:2])
        found = []
        for piece in sample_documents(order, sample):
            number = next(
                k
                for k in range(len(order.source))
                if (order.source.place(k).shard.name, order.source.place(k).block) == (piece.shard, piece.block)
            )
            document = list(block_documents(order.source.read(number)))[piece.position]
            found += document.ids[piece.first_token : piece.first_token + piece.n_tokens].tolist()
        ids = row[1:n_tokens]
        assert found == ids[ids != EOS].tolist()
    assert run.folder == small_data
    with pytest.raises(ValueError, match="there is no sample 999999: the window has samples 0 to"):
        sample_documents(order, SampleId(0, 0, 999_999))


def test_fairseq_drops_a_sentence_longer_than_a_block_and_we_cut_it(small_data: Path) -> None:
    source = Source(open_runs([small_data]), split="train")
    lengths = np.concatenate([source.read(k).sentence_lengths for k in range(len(source))]).astype(int)
    too_long = lengths + 1 > RULES.block_tokens - 1
    assert too_long.any()
    ours = Order(source, RULES)
    theirs = Order(source, PackingRules(block_tokens=32, window_blocks=3, seed=5, fairseq_compat=True))
    for order, n_tokens in ((ours, lengths.sum()), (theirs, lengths[~too_long].sum())):
        packed = np.concatenate(list(_epoch(order, 0)))
        assert np.count_nonzero(packed != EOS) == n_tokens
        assert sum(order.window(0, w).n_long for w in range(order.n_windows(0))) == too_long.sum()


def test_shards_of_another_vocabulary_are_refused_with_both_named(
    random_shards: ModuleType, small_data: Path, tmp_path: Path
) -> None:
    other = random_shards.make_run(
        tmp_path / "other", random_shards.Shape(n_tokens=100, n_shards=1, vocabulary="other")
    )
    with pytest.raises(ShardError, match=r"vocabulary [0-9a-f]{16}, but .* of [0-9a-f]{16}; encode both with one"):
        open_runs([small_data, other])


def test_a_flipped_byte_in_a_shard_names_the_shard(small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for path in [small_data / "manifest.json", *(small_data / "shards").iterdir()]:
        (tmp_path / path.relative_to(small_data)).write_bytes(path.read_bytes())
    victim = tmp_path / "shards" / "random-00001-of-00004.tar"
    data = bytearray(victim.read_bytes())
    data[600] ^= 1
    victim.write_bytes(data)
    order = Order(Source(open_runs([tmp_path]), split="train"), RULES)
    with pytest.raises(ShardError, match=r"random-00001-of-00004\.tar"):
        order.epoch_samples(0)


def test_shards_without_a_train_split_are_refused(random_shards: ModuleType, tmp_path: Path) -> None:
    run = random_shards.make_run(tmp_path / "one", random_shards.Shape(n_tokens=100, n_shards=1))
    source = Source(open_runs([run]), split="held-out")
    with pytest.raises(ShardError, match="the held-out shards hold no text"):
        Order(source, RULES).take(SampleId(0, 0, 0), 1)
