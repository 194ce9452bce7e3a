"""Global batches know nothing of ranks, micro-batches or threads; what stops the thread reaches the loop at once."""

import time
from pathlib import Path

import numpy as np
import pytest

from bpe.errors import ShardError
from trainer.masking import MaskingRules
from trainer.plan import Order, PackingRules, SampleId
from trainer.sources import Source, open_runs
from trainer.streaming import DIGEST_BITS, BatchStream, LoaderError, Prefetched, RankBatch

BATCH = 24


def _order(data: Path) -> Order:
    return Order(Source(open_runs([data]), split="train"), PackingRules(block_tokens=32, window_blocks=3, seed=1))


def _stream(order: Order, *, rank: int = 0, n_ranks: int = 1, micro_batch: int = 3) -> BatchStream:
    masking = MaskingRules(vocabulary_size=500, seed=1)
    return BatchStream(order, masking, batch_sequences=BATCH, micro_batch=micro_batch, rank=rank, n_ranks=n_ranks)


def _take(stream: BatchStream | Prefetched, n: int) -> list[RankBatch]:
    return [next(stream) for _ in range(n)]


def _rows(batches: list[RankBatch]) -> np.ndarray:
    """Inputs and labels, row by row."""
    parts = [np.stack((m.input_ids, m.labels), axis=1) for batch in batches for m in batch.micro_batches]
    return np.concatenate(parts)


@pytest.mark.parametrize(("n_ranks", "micro_batch"), [(1, 24), (2, 4), (4, 1), (4, 6)])
def test_the_shares_of_all_ranks_are_the_global_batch(small_data: Path, n_ranks: int, micro_batch: int) -> None:
    order = _order(small_data)
    n = 2 * order.epoch_samples(0) // BATCH  # across windows and epochs
    whole = _take(_stream(order), n)
    shares = [_take(_stream(order, rank=r, n_ranks=n_ranks, micro_batch=micro_batch), n) for r in range(n_ranks)]
    for update, batch in enumerate(whole):
        mine = [share[update] for share in shares]
        assert np.array_equal(_rows(mine), _rows([batch]))
        assert sum(part.digest for part in mine) % (1 << DIGEST_BITS) == batch.digest
        assert sum(part.n_masked for part in mine) == batch.n_masked
        assert sum(part.n_tokens for part in mine) == batch.n_tokens
        assert {len(part.micro_batches) for part in mine} == {BATCH // n_ranks // micro_batch}
        assert {(part.place, part.after) for part in mine} == {(batch.place, batch.after)}


def test_chosen_places_are_those_of_the_labels(small_data: Path) -> None:
    for batch in _take(_stream(_order(small_data), micro_batch=24), 40):
        (masked,) = batch.micro_batches
        assert np.array_equal(np.sort(masked.chosen), np.flatnonzero(masked.labels != 65_535))


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_resumed_stream_goes_on_bit_for_bit_on_any_number_of_ranks(small_data: Path, n_ranks: int) -> None:
    uninterrupted = _stream(_order(small_data))
    _take(uninterrupted, 50)
    state = uninterrupted.state_dict()
    expected = _take(uninterrupted, 100)
    order = _order(small_data)
    resumed = [_stream(order, rank=rank, n_ranks=n_ranks) for rank in range(n_ranks)]
    for stream in resumed:
        stream.load_state_dict(state)
    found = [[next(stream) for stream in resumed] for _ in range(100)]
    for one, several in zip(expected, found, strict=True):
        assert np.array_equal(_rows([one]), _rows(several))


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
    other = BatchStream(order, masking, batch_sequences=BATCH, micro_batch=3, rank=0, n_ranks=1)
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
