"""Batches for one rank, made ahead of time in a thread.

In: the order, the masking rules, and which of how many ranks this is. Out: for each update this rank's share of the
global batch, as micro-batches of arrays. The rule: the union of the ranks' shares is the global batch of the plan, and
the state of it all is one place in the order.

Where data grow, the thread stops at the border of an epoch until the training loop has opened the next one. All ranks
meet the border in the same global batch, so there they can agree on what the epoch reads as they agree on all else,
by a sum over ranks in the loop's own thread: nobody waits for a file or in a second thread, so there is no order of
events in which two ranks wait for each other, and a rank that is gone is noticed as it is elsewhere. The price is that
the batch of a border is not made ahead of time.

A thread is enough: packing and masking run at tens of millions of tokens per second in numpy, which lets go of the
interpreter's lock, and a thread cannot be killed apart from its rank.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from trainer.dealing import cut_evenly, deal_by_number, deal_by_tokens, round_widths, split_rows
from trainer.epoch_data import EpochNotOpenError
from trainer.masking import MaskedBlocks, MaskingRules
from trainer.packing import Indices
from trainer.plan import BatchSize, Order, SampleId, slice_runs
from trainer.shares import DIGEST_MASK, Share

_LOOK_AFTER_S = 1.0  # how often a waiting side looks whether the other one lives


class RankBatch(NamedTuple):
    """A rank's share of the global batch of one update."""

    place: SampleId  # first sample of the global batch
    after: SampleId  # where the next global batch begins
    micro_batches: list[MaskedBlocks]
    n_masked: int  # tokens to predict
    n_tokens: int  # padding not counted
    n_sequences: int
    n_documents: int  # pieces of documents, a document counted in each sequence that has some of it
    tokens_by_corpus: Indices  # [corpora]
    digest: int  # of names, tokens and masks; those of all ranks add up to the global batch's, modulo 2^48


def epochs_begun(batch: RankBatch) -> range:
    """The epochs whose first sample is in the global batch.

    A place at the beginning of an epoch, with none of its samples taken, belongs to the batch before.
    """
    first = batch.place.epoch + (batch.place[1:] != (0, 0))
    return range(first, batch.after.epoch + (batch.after[1:] != (0, 0)))


class LoaderError(Exception):
    """The thread that makes batches ended without saying why."""


class BatchStream:
    """The shares of one rank, update after update, without end."""

    def __init__(
        self, order: Order, masking: MaskingRules, *, batch: BatchSize, micro_batch: int, rank: int, n_ranks: int
    ) -> None:
        self.order = order
        self._masking = masking
        self._batch = batch
        self._micro_batch = micro_batch
        self._rank, self._n_ranks = rank, n_ranks
        self._place = SampleId(0, 0, 0)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RankBatch:
        place = self._place
        runs, after = self.order.take_batch(place, self._batch)
        lengths = self.order.lengths(runs)
        dealt = self._deal(lengths)
        low, high = cut_evenly(lengths.size, self._n_ranks)[self._rank]
        share = Share(self.order, slice_runs(runs, low, high), self._masking)
        made = [share.micro_batch(rows) for rows in dealt]
        self._place = after
        return RankBatch(
            place=place,
            after=after,
            micro_batches=[masked for masked, _ in made],
            n_masked=sum(masked.chosen.size for masked, _ in made),
            n_tokens=int(lengths[low:high].sum()),
            n_sequences=high - low,
            n_documents=share.n_documents,
            tokens_by_corpus=share.tokens_by_corpus,
            digest=sum(digest for _, digest in made) & DIGEST_MASK,
        )

    def _deal(self, lengths: Indices) -> list[Indices]:
        """The rows of this rank's share in each of its micro-batches, of which all ranks have as many."""
        shares = [lengths[low:high] for low, high in cut_evenly(lengths.size, self._n_ranks)]
        if not self._batch.tokens:
            return deal_by_number(shares[self._rank], self._micro_batch)
        block_tokens = self.order.rules.block_tokens
        dealt = [
            deal_by_tokens(round_widths(share, block_tokens), self._micro_batch * block_tokens) for share in shares
        ]
        return split_rows(dealt[self._rank], max(map(len, dealt)))

    def state_dict(self) -> dict[str, int]:
        """Where the next global batch begins."""
        return self._place._asdict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._place = SampleId(**state)


class Prefetched:
    """A stream whose next batches are made in a thread while the current one is trained on.

    What stops the thread is raised to whoever asks for the next batch, at once. `open_epoch` is called, by whoever asks
    for the next batch, for each epoch that it is the first to read.
    """

    def __init__(self, stream: BatchStream, *, depth: int = 2, open_epoch: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._depth = depth
        self._open_epoch = open_epoch
        self._opened = threading.Event()
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
        while isinstance(made, EpochNotOpenError) and self._open_epoch is not None:
            self._open_epoch(made.epoch)
            self._opened.set()
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
            while True:
                try:
                    made: RankBatch | EpochNotOpenError = next(self._stream)
                except EpochNotOpenError as error:
                    made = error  # the stream has not moved: once the epoch is open, it makes this batch again
                if not self._put(made) or (isinstance(made, EpochNotOpenError) and not self._wait_until_opened()):
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the training loop raises it
            self._put(error)

    def _wait_until_opened(self) -> bool:
        while not self._closed.is_set():
            if self._opened.wait(_LOOK_AFTER_S):
                self._opened.clear()
                return True
        return False

    def _put(self, made: RankBatch | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(made, timeout=_LOOK_AFTER_S)
            except queue.Full:
                continue
            return True
        return False
