"""Global batches know nothing of ranks, micro-batches or threads; what stops the thread reaches the loop at once."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpe.errors import ShardError
from trainer.masking import MaskingRules
from trainer.plan import BatchSize, Order, SampleId, SampleRun
from trainer.settings import FORMATS
from trainer.shares import DIGEST_BITS
from trainer.sources import Source, open_runs
from trainer.streaming import BatchStream, LoaderError, Prefetched, RankBatch
from trainer.windows import PackingRules

BATCH = 24


def _order(data: Path, **rules: Any) -> Order:
    return Order(
        Source(open_runs([data]), split="train"), PackingRules(block_tokens=32, window_blocks=3, seed=1, **rules)
    )


def _stream(
    order: Order, *, rank: int = 0, n_ranks: int = 1, micro_batch: int = 3, n_tokens: int = 0, patterns: int = 0
) -> BatchStream:
    masking = MaskingRules(vocabulary_size=500, seed=1, patterns=patterns)
    batch = BatchSize(BATCH, n_tokens)
    return BatchStream(order, masking, batch=batch, micro_batch=micro_batch, rank=rank, n_ranks=n_ranks)


def _take(stream: BatchStream | Prefetched, n: int) -> list[RankBatch]:
    return [next(stream) for _ in range(n)]


def _rows(batches: list[RankBatch]) -> list[tuple[object, ...]]:
    """Inputs, labels and what pairs know of each sequence; rows have no order within a batch."""
    rows: list[tuple[object, ...]] = []
    for masked in (masked for batch in batches for masked in batch.micro_batches):
        for row, n in enumerate(masked.n_tokens.tolist()):
            pair = () if masked.pairs is None else (int(masked.pairs.second[row]), bool(masked.pairs.follows[row]))
            rows.append((masked.input_ids[row, :n].tobytes(), masked.labels[row, :n].tobytes(), *pair))
            assert (masked.labels[row, n:] == 65_535).all()
    return sorted(rows)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("n_ranks", "micro_batch"), [(1, 24), (2, 4), (4, 1), (4, 6)])
def test_the_shares_of_all_ranks_are_the_global_batch(
    small_data: Path, n_ranks: int, micro_batch: int, name: str
) -> None:
    order = _order(small_data, input_format=name)
    n = 2 * order.epoch_samples(0) // BATCH  # across windows and epochs
    whole = _take(_stream(order), n)
    shares = [_take(_stream(order, rank=r, n_ranks=n_ranks, micro_batch=micro_batch), n) for r in range(n_ranks)]
    for update, batch in enumerate(whole):
        mine = [share[update] for share in shares]
        assert _rows(mine) == _rows([batch])
        assert {len(part.micro_batches) for part in mine} == {BATCH // n_ranks // micro_batch}
        _assert_sums(mine, batch)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_a_batch_by_tokens_is_the_same_on_any_number_of_ranks(small_data: Path, n_ranks: int, name: str) -> None:
    order = _order(small_data, input_format=name)
    whole = _take(_stream(order, n_tokens=700), 60)
    shares = [_take(_stream(order, rank=r, n_ranks=n_ranks, micro_batch=2, n_tokens=700), 60) for r in range(n_ranks)]
    for update, batch in enumerate(whole):
        mine = [share[update] for share in shares]
        assert 700 - 32 < batch.n_tokens <= 700
        assert _rows(mine) == _rows([batch])
        assert len({len(part.micro_batches) for part in mine}) == 1
        assert all(masked.n_tokens.size for part in mine for masked in part.micro_batches)
        assert max(masked.input_ids.size for part in mine for masked in part.micro_batches) <= 2 * 32
        _assert_sums(mine, batch)


def _assert_sums(shares: list[RankBatch], batch: RankBatch) -> None:
    assert sum(part.digest for part in shares) % (1 << DIGEST_BITS) == batch.digest
    for count in ("n_masked", "n_tokens", "n_sequences", "n_documents"):
        assert sum(getattr(part, count) for part in shares) == getattr(batch, count)
    assert np.array_equal(np.sum([part.tokens_by_corpus for part in shares], axis=0), batch.tokens_by_corpus)
    assert batch.tokens_by_corpus.sum() == batch.n_tokens
    assert {(part.place, part.after) for part in shares} == {(batch.place, batch.after)}


def test_chosen_places_are_those_of_the_labels(small_data: Path) -> None:
    for batch in _take(_stream(_order(small_data), micro_batch=24), 40):
        (masked,) = batch.micro_batches
        assert np.array_equal(np.sort(masked.chosen), np.flatnonzero(masked.labels != 65_535))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("n_ranks", "n_tokens"), [(1, 0), (2, 0), (2, 700)])
def test_a_resumed_stream_goes_on_bit_for_bit_on_any_number_of_ranks(
    small_data: Path, n_ranks: int, n_tokens: int, name: str
) -> None:
    uninterrupted = _stream(_order(small_data, input_format=name), n_tokens=n_tokens)
    _take(uninterrupted, 50)
    state = uninterrupted.state_dict()
    assert len(json.dumps(state)) < 1024
    expected = _take(uninterrupted, 100)
    order = _order(small_data, input_format=name)
    resumed = [_stream(order, rank=rank, n_ranks=n_ranks, n_tokens=n_tokens, micro_batch=2) for rank in range(n_ranks)]
    for stream in resumed:
        stream.load_state_dict(state)
    for one in expected:
        assert _rows([one]) == _rows([next(stream) for stream in resumed])


def test_static_masks_are_as_many_as_there_are_patterns_and_belong_to_the_same_sequences(small_data: Path) -> None:
    order = _order(small_data, fixed=True)
    n_samples = order.epoch_samples(0)
    epochs = []
    for epoch in range(5):
        stream = BatchStream(
            order,
            MaskingRules(vocabulary_size=500, patterns=2),
            batch=BatchSize(n_samples),
            micro_batch=n_samples,
            rank=0,
            n_ranks=1,
        )
        stream.load_state_dict(SampleId(epoch, 0, 0)._asdict())
        epochs.append(_rows([next(stream)]))
    assert epochs[0] == epochs[2] == epochs[4]
    assert epochs[1] == epochs[3] != epochs[0]
    firsts = [order.gather(SampleRun(epoch, 0, 0, 4)).ids.tobytes() for epoch in range(5)]
    assert len(set(firsts)) > 1  # in another order


def test_dynamic_masks_and_sequences_differ_between_epochs(small_data: Path) -> None:
    order = _order(small_data)
    rows = []
    for epoch in range(2):
        stream = _stream(order)
        stream.load_state_dict(SampleId(epoch, 0, 0)._asdict())
        rows.append(_rows([next(stream)]))
    assert rows[0] != rows[1]


def test_a_thread_makes_the_same_batches_and_its_state_is_that_of_what_was_handed_out(small_data: Path) -> None:
    ahead = Prefetched(_stream(_order(small_data)))
    plain = _stream(_order(small_data))
    for made, expected in zip(_take(ahead, 20), _take(plain, 20), strict=True):
        assert made.digest == expected.digest
    time.sleep(0.2)  # time to make batches ahead
    assert ahead.state_dict() == plain.state_dict() == SampleId(**ahead.state_dict())._asdict()
    ahead.close()


def test_digests_tell_batches_and_masks_apart(small_data: Path) -> None:
    order = _order(small_data)
    digests = [batch.digest for batch in _take(_stream(order), 60)]
    assert len(set(digests)) == 60
    masking = MaskingRules(vocabulary_size=500, seed=2)
    other = BatchStream(order, masking, batch=BatchSize(BATCH), micro_batch=3, rank=0, n_ranks=1)
    assert next(other).digest != digests[0]


def test_a_shard_that_breaks_stops_the_loop_with_its_name(small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for path in [small_data / "manifest.json", *(small_data / "shards").iterdir()]:
        (tmp_path / path.relative_to(small_data)).write_bytes(path.read_bytes())
    ahead = Prefetched(_stream(_order(tmp_path)))
    next(ahead)
    for path in (tmp_path / "shards").glob("*.tar"):
        with path.open("r+b") as stream:  # in place, under the map
            for place in range(600, path.stat().st_size, 1024):
                stream.seek(place)
                stream.write(b"\xff")
    with pytest.raises(ShardError, match=r"random-0000\d-of-00004\.tar"):
        _take(ahead, 200)


def test_a_thread_that_dies_without_a_word_is_an_error_and_not_a_hang(small_data: Path) -> None:
    ahead = Prefetched(_stream(_order(small_data)))
    next(ahead)
    ahead.close()
    started = time.monotonic()
    with pytest.raises(LoaderError, match="died"):
        _take(ahead, 10)
    assert time.monotonic() - started < 10
