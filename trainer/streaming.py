"""Batches for one rank, made ahead of time in a thread.

In: the order, the masking rules, and which of how many ranks this is. Out: for each update this rank's share of the
global batch, as micro-batches of arrays. The rule: the union of the ranks' shares is the global batch of the plan, and
the state of it all is one place in the order.

A thread is enough: packing and masking run at tens of millions of tokens per second in numpy, which lets go of the
interpreter's lock, and a thread cannot be killed apart from its rank.
"""

import hashlib
import queue
import threading
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np

from trainer.masking import MaskedBlocks, MaskingRules, mask_blocks
from trainer.plan import Order, SampleId, SampleRun, slice_runs

DIGEST_BITS = 48  # so that the digests of 2^15 ranks add up in an int64
_DIGEST_MASK = (1 << DIGEST_BITS) - 1
_LOOK_AFTER_S = 1.0  # how often a waiting side looks whether the other one lives


class RankBatch(NamedTuple):
    """A rank's share of the global batch of one update."""

    place: SampleId  # first sample of the global batch
    after: SampleId  # where the next global batch begins
    micro_batches: list[MaskedBlocks]
    n_masked: int  # tokens to predict
    n_tokens: int  # padding not counted
    digest: int  # of names, tokens and masks; those of all ranks add up to the global batch's, modulo 2^48


class LoaderError(Exception):
    """The thread that makes batches ended without saying why."""


class BatchStream:
    """The shares of one rank, update after update, without end."""

    def __init__(
        self, order: Order, masking: MaskingRules, *, batch_sequences: int, micro_batch: int, rank: int, n_ranks: int
    ) -> None:
        assert batch_sequences % (micro_batch * n_ranks) == 0
        self.order = order
        self._masking = masking
        self._batch_sequences = batch_sequences
        self._micro_batch = micro_batch
        self._share = range(rank * batch_sequences // n_ranks, (rank + 1) * batch_sequences // n_ranks)
        self._place = SampleId(0, 0, 0)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RankBatch:
        place = self._place
        runs, after = self.order.take(place, self._batch_sequences)
        micro_batches, digest = [], 0
        for start in range(self._share.start, self._share.stop, self._micro_batch):
            share = slice_runs(runs, start, start + self._micro_batch)
            masked = join_blocks([mask_run(self.order, run, self._masking) for run in share])
            digest += digest_blocks(masked, share)
            micro_batches.append(masked)
        self._place = after
        return RankBatch(
            place,
            after,
            micro_batches,
            sum(masked.chosen.size for masked in micro_batches),
            sum(int(masked.n_tokens.sum()) for masked in micro_batches),
            digest & _DIGEST_MASK,
        )

    def state_dict(self) -> dict[str, int]:
        """Where the next global batch begins."""
        return self._place._asdict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._place = SampleId(**state)


def mask_run(order: Order, run: SampleRun, masking: MaskingRules) -> MaskedBlocks:
    """Consecutive samples, gathered and masked."""
    return mask_blocks(order.gather(run), epoch=run.epoch, window=run.window, first_sample=run.first, rules=masking)


def join_blocks(parts: list[MaskedBlocks]) -> MaskedBlocks:
    """Several of them as one: where a micro-batch runs across the border of a window."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0] + [part.input_ids.size for part in parts])
    return MaskedBlocks(
        np.concatenate([part.input_ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.chosen + start for part, start in zip(parts, starts[:-1], strict=True)]),
        np.concatenate([part.n_tokens for part in parts]),
    )


def digest_blocks(masked: MaskedBlocks, runs: list[SampleRun]) -> int:
    """The sum of a hash of each sample's name, input and labels: the same however a batch is divided."""
    names = [(run.epoch, run.window, run.first + k) for run in runs for k in range(run.n_samples)]
    rows = np.concatenate(
        (np.array(names, dtype="<u8").view("<u2"), masked.input_ids, masked.labels), axis=1, dtype="<u2"
    )
    size = DIGEST_BITS // 8
    total = sum(int.from_bytes(hashlib.blake2b(row, digest_size=size).digest(), "little") for row in rows)
    return total & _DIGEST_MASK


class Prefetched:
    """A stream whose next batches are made in a thread while the current one is trained on.

    What stops the thread is raised to whoever asks for the next batch, at once.
    """

    def __init__(self, stream: BatchStream, *, depth: int = 2) -> None:
        self._stream = stream
        self._depth = depth
        self._state = stream.state_dict()
        self._closed = threading.Event()
        self._ready: queue.Queue[RankBatch | BaseException] = queue.Queue(maxsize=depth)
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[RankBatch]:
        return self

    def __next__(self) -> RankBatch:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
            self._thread.start()
        made = self._wait()
        if isinstance(made, BaseException):
            raise made
        self._state = made.after._asdict()
        return made

    def state_dict(self) -> dict[str, int]:
        """Where the batch after the last one handed out begins; what was made ahead does not count."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there; before the first batch only."""
        assert self._thread is None
        self._stream.load_state_dict(state)
        self._state = self._stream.state_dict()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=10 * _LOOK_AFTER_S)

    def _wait(self) -> RankBatch | BaseException:
        assert self._thread is not None
        while True:
            alive = self._thread.is_alive()  # before looking: what it made last must not be missed
            try:
                return self._ready.get(timeout=_LOOK_AFTER_S if alive else 0)
            except queue.Empty as error:
                if not alive:
                    raise LoaderError("the thread that makes batches died; resume the run to go on") from error

    def _work(self) -> None:
        try:
            for batch in self._stream:
                if not self._put(batch):
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the training loop raises it
            self._put(error)

    def _put(self, made: RankBatch | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(made, timeout=_LOOK_AFTER_S)
            except queue.Full:
                continue
            return True
        return False
