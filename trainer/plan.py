"""The order of training: which sentences make which sample, and which samples make the global batch of an update.

In: the train blocks of some manifests, a recipe's data fields and a seed. Out: windows of packed samples, and the
samples of any update. The rule: all of it is a pure function of (manifests, recipe, seed, update), never of ranks,
loader threads or micro-batches; so a place in it is three numbers, and whoever resumes packs one window.

Per epoch the blocks, repeated by the weight of their corpus (trainer.mixing), are permuted; each run of `window_blocks`
of them is a *window*, whose documents are shuffled, packed, and whose samples are shuffled again. Batches run across
the borders of windows and of epochs. Where a corpus grows, an epoch reads the generation that was recorded for it
(trainer.epoch_data), and is a function of that one alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.errors import ShardError
from trainer import packing
from trainer.masking import MaskingRules
from trainer.mixing import count_blocks, draw_blocks
from trainer.packing import Blocks, Indices, Spans
from trainer.randomness import Purpose, draw_permutation
from trainer.settings import Settings
from trainer.sources import Source, concatenate_blocks
from trainer.windows import PackingRules, Window, count_by_corpus, pack_window

_KEPT_WINDOWS = 2  # a batch that runs across a border needs both sides
_MAX_EMPTY_EPOCHS = 2


class SampleId(NamedTuple):
    """The name of a sample for ever; as a place in the order, the next sample to train on."""

    epoch: int
    window: int
    offset: int  # among the shuffled samples of its window


class SampleRun(NamedTuple):
    """Consecutive samples of a window: first, first + 1, ..., first + n_samples - 1."""

    epoch: int
    window: int
    first: int
    n_samples: int


class BatchSize(NamedTuple):
    """How many samples make a global batch."""

    sequences: int
    tokens: int = 0  # where above 0: as many samples as hold no more than these, and `sequences` does not count


class Order:
    """The samples of all epochs, which read one source, or each its own."""

    def __init__(self, source: Source | Callable[[int], Source], rules: PackingRules) -> None:
        self._source = source
        self.rules = rules
        if rules.fixed and any(part.weight.denominator != 1 for part in self.source.parts):
            raise ValueError(
                "static masks see the same blocks in every epoch, so the weights of a mixture must be whole"
            )
        self._blocks: tuple[int, Indices] | None = None  # of the epoch asked for last
        self._packed: OrderedDict[tuple[int, int], Window] = OrderedDict()
        self._n_samples: dict[tuple[int, int], int] = {}
        self.n_long: dict[tuple[int, int], int] = {}  # sentences longer than a block, of the windows packed so far
        self.n_dropped: dict[tuple[int, int], int] = {}  # tokens that pairs left out, likewise

    @property
    def source(self) -> Source:
        """What the first epoch reads, and all others where nothing grows."""
        return self.source_of(0)

    def source_of(self, epoch: int) -> Source:
        """What an epoch reads."""
        return self._source if isinstance(self._source, Source) else self._source(epoch)

    def n_windows(self, epoch: int) -> int:
        """Windows in an epoch; where corpora are mixed by fractions, epochs differ by a block and so by a window."""
        source = self.source_of(epoch)
        epoch = 0 if self.rules.fixed else epoch
        n_blocks = count_blocks(source.parts, epoch) if self.rules.shuffle else len(source)
        return -(-n_blocks // self.rules.window_blocks)

    def epoch_blocks(self, epoch: int) -> Indices:
        """The numbers of the blocks of an epoch in its order, those that are seen more than once repeated."""
        source = self.source_of(epoch)
        epoch = 0 if self.rules.fixed else epoch
        if not self.rules.shuffle:
            return np.arange(len(source))
        if self._blocks is None or self._blocks[0] != epoch:
            seed = self.rules.seed
            drawn = draw_blocks(source.parts, seed=seed, epoch=epoch)
            order = draw_permutation(drawn.size, seed=seed, purpose=Purpose.BLOCK_ORDER, epoch=epoch)
            self._blocks = epoch, drawn[order]
        return self._blocks[1]

    def composed(self, epoch: int, window: int) -> tuple[int, int]:
        """The epoch and window whose samples these are: others than asked for only where epochs are fixed."""
        if not self.rules.fixed or not epoch:
            return epoch, window
        n = self.n_windows(epoch)
        order = draw_permutation(n, seed=self.rules.seed, purpose=Purpose.STATIC_ORDER, epoch=epoch)
        return 0, int(order[window])

    def window_blocks(self, epoch: int, window: int) -> list[int]:
        """The numbers of the blocks of a window, in the order in which it holds them."""
        _, window = self.composed(epoch, window)
        first = window * self.rules.window_blocks
        numbers: list[int] = self.epoch_blocks(epoch)[first : first + self.rules.window_blocks].tolist()
        return numbers

    def window(self, epoch: int, window: int) -> Window:
        """A window, packed; the last few are kept."""
        key = (epoch, window)
        if key not in self._packed:
            packed = self._pack(epoch, window)
            self._packed[key] = packed
            self._n_samples[key] = packed.spans.first.size
            self.n_long[key] = packed.n_long
            self.n_dropped[key] = packed.n_dropped
            if len(self._packed) > _KEPT_WINDOWS:
                self._packed.popitem(last=False)
        self._packed.move_to_end(key)
        return self._packed[key]

    def _pack(self, epoch: int, window: int) -> Window:
        source = self.source_of(epoch)
        numbers = self.window_blocks(epoch, window)
        upcoming = self.window_blocks(epoch, window + 1) if window + 1 < self.n_windows(epoch) else []
        source.expect([*numbers, *upcoming])
        blocks = [source.read(number) for number in numbers]
        counts = [block.sentences_per_document.size for block in blocks]
        runs = [source.place(number).run for number in numbers]
        corpus_of_document = np.repeat(source.corpus_of_run[runs], counts)
        packed = pack_window(
            *concatenate_blocks(blocks),
            composed=self.composed(epoch, window),
            epoch=epoch,
            window=window,
            rules=self.rules,
        )
        return packed._replace(tokens_by_corpus=count_by_corpus(packed, corpus_of_document, len(source.corpora)))

    def n_samples(self, epoch: int, window: int) -> int:
        """Samples in a window; packs it when it has not been seen yet."""
        if (epoch, window) not in self._n_samples:
            self.window(epoch, window)
        return self._n_samples[epoch, window]

    def epoch_samples(self, epoch: int) -> int:
        """Samples in an epoch: every window's sentence lengths are packed once."""
        return sum(self.n_samples(epoch, window) for window in range(self.n_windows(epoch)))

    def take(self, place: SampleId, n: int) -> tuple[list[SampleRun], SampleId]:
        """The next `n` samples from a place on, and the place after them."""
        return self.take_batch(place, BatchSize(n))

    def take_batch(self, place: SampleId, size: BatchSize) -> tuple[list[SampleRun], SampleId]:
        """The samples of a global batch from a place on, and the place after them."""
        runs: list[SampleRun] = []
        epoch, window, offset = place
        empty_since, left = epoch, size.tokens or size.sequences
        while left:
            if window >= self.n_windows(epoch):
                epoch, window, offset = epoch + 1, 0, 0
                if epoch - empty_since > _MAX_EMPTY_EPOCHS:
                    source = self.source_of(epoch)
                    raise ShardError(source.name, "", f"the {source.split} shards hold no text to pack")
                continue
            available = self.n_samples(epoch, window) - offset
            if available <= 0:
                window, offset = window + 1, 0
                continue
            count, taken = (
                self._fit(SampleId(epoch, window, offset), left) if size.tokens else (min(left, available),) * 2
            )
            if not count:
                break  # the next sample would pass the budget
            runs.append(SampleRun(epoch, window, offset, count))
            left, offset, empty_since = left - taken, offset + count, epoch
        return runs, SampleId(epoch, window, offset)

    def _fit(self, place: SampleId, budget: int) -> tuple[int, int]:
        """How many samples of a window from a place on hold no more than a budget of tokens, and how many they hold."""
        sums = np.cumsum(self.window(place.epoch, place.window).n_tokens[place.offset :])
        count = int(np.searchsorted(sums, budget, side="right"))
        return count, int(sums[count - 1]) if count else 0

    def lengths(self, runs: list[SampleRun]) -> Indices:
        """Tokens of each sample of a batch."""
        parts = [self.window(run.epoch, run.window).n_tokens[run.first : run.first + run.n_samples] for run in runs]
        return np.concatenate(parts)

    def gather(self, run: SampleRun, *, width: int = 0) -> Blocks:
        """The blocks of consecutive samples, before masking, as wide as a block may be or as asked for."""
        return self.gather_rows(run, np.arange(run.n_samples), width=width or self.rules.block_tokens)

    def gather_rows(self, run: SampleRun, rows: Indices, *, width: int) -> Blocks:
        """The blocks of some of consecutive samples."""
        packed = self.window(run.epoch, run.window)
        chosen = run.first + rows
        spans = Spans(packed.spans.first[chosen], packed.spans.end[chosen])
        blocks = packing.gather_blocks(
            packed.tokens, packed.items, spans, width=width, documents=self.rules.document_attention
        )
        if packed.pairs is None:
            return blocks
        return blocks._replace(pairs=packing.take_pairs(packed.pairs, chosen))


def packing_rules(settings: Settings) -> PackingRules:
    """The fields of a recipe that the order depends on."""
    return PackingRules(
        input_format=settings.input_format,
        block_tokens=settings.block_tokens,
        window_blocks=settings.window_blocks,
        fixed=settings.mask_patterns > 0,
        document_attention=settings.document_attention,
        fairseq_compat=settings.fairseq_compat,
        seed=settings.seed,
    )


def masking_rules(
    settings: Settings, *, vocabulary_size: int, word_starts: npt.NDArray[np.bool_] | None = None
) -> MaskingRules:
    """The fields of a recipe that masks depend on; `word_starts` [vocabulary] where whole words are masked."""
    if settings.mask_whole_words and word_starts is None:
        raise ValueError("mask_whole_words needs to know which ids begin a word")
    return MaskingRules(
        vocabulary_size=vocabulary_size,
        seed=settings.seed,
        fraction=settings.mask_fraction,
        kept=settings.mask_kept,
        randomised=settings.mask_randomised,
        patterns=settings.mask_patterns,
        fairseq_compat=settings.fairseq_compat,
        word_starts=word_starts if settings.mask_whole_words else None,
    )


def batch_size(settings: Settings) -> BatchSize:
    """How many samples make a global batch of a run."""
    return BatchSize(settings.batch_sequences, settings.batch_tokens)


def samples_of_update(
    order: Order, update: int, *, batch: BatchSize, known: tuple[int, SampleId] = (1, SampleId(0, 0, 0))
) -> list[SampleId]:
    """The samples of the global batch of an update, the first one being update 1.

    `known` is an earlier update and its first sample, as log.jsonl has them: from there on samples are counted,
    which packs every window between the two.
    """
    first_update, place = known
    if update < first_update:
        raise ValueError(f"update {update} comes before update {first_update}, where counting starts")
    if batch.tokens:
        for _ in range(update - first_update):
            _, place = order.take_batch(place, batch)
    else:
        _, place = order.take(place, (update - first_update) * batch.sequences)
    runs, _ = order.take_batch(place, batch)
    return list(sample_ids(runs))


def sample_ids(runs: list[SampleRun]) -> Iterator[SampleId]:
    """The names of samples, one by one."""
    for run in runs:
        for offset in range(run.first, run.first + run.n_samples):
            yield SampleId(run.epoch, run.window, offset)


def slice_runs(runs: list[SampleRun], start: int, stop: int) -> list[SampleRun]:
    """Samples `start` to `stop` of a batch: a rank's share of it, or a micro-batch."""
    cut: list[SampleRun] = []
    passed = 0
    for run in runs:
        low, high = max(start - passed, 0), min(stop - passed, run.n_samples)
        if low < high:
            cut.append(SampleRun(run.epoch, run.window, run.first + low, high - low))
        passed += run.n_samples
    return cut
