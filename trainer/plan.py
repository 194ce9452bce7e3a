"""The order of training: which sentences make which sample, and which samples make the global batch of an update.

In: the train blocks of some manifests, a recipe's data fields and a seed. Out: windows of packed samples, and the
samples of any update. The rule: all of it is a pure function of (manifests, recipe, seed, update), never of ranks,
loader threads or micro-batches; so a place in it is three numbers, and whoever resumes packs one window.

Per epoch the blocks, repeated by the weight of their corpus (trainer.mixing), are permuted; each run of `window_blocks`
of them is a *window*, whose documents are shuffled, packed, and whose samples are shuffled again. Batches run across
the borders of windows and of epochs.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.errors import ShardError
from trainer import packing
from trainer.masking import MaskingRules
from trainer.mixing import count_blocks, draw_blocks
from trainer.packing import Blocks, Ids, Indices, Items, Spans
from trainer.randomness import Purpose, draw_permutation
from trainer.settings import Settings
from trainer.sources import Source, concatenate_blocks

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


class Window(NamedTuple):
    """A window, packed: what its samples are made from, in the order of training."""

    tokens: Ids  # [n], as stored: without separators
    items: Items
    spans: Spans  # one element per sample, shuffled
    n_long: int  # sentences longer than a block, cut or, in compat mode, dropped


@dataclass(frozen=True, kw_only=True, slots=True)
class PackingRules:
    """What the order depends on besides the data."""

    block_tokens: int = 512  # `<s>` included
    window_blocks: int = 16
    fairseq_compat: bool = False
    seed: int = 0
    shuffle: bool = True  # held-out data stay in the order of their shards


class Order:
    """The samples of all epochs."""

    def __init__(self, source: Source, rules: PackingRules) -> None:
        self.source = source
        self.rules = rules
        self._blocks: tuple[int, Indices] | None = None  # of the epoch asked for last
        self._packed: OrderedDict[tuple[int, int], Window] = OrderedDict()
        self._n_samples: dict[tuple[int, int], int] = {}
        self.n_long: dict[tuple[int, int], int] = {}  # sentences longer than a block, of the windows packed so far

    def n_windows(self, epoch: int) -> int:
        """Windows in an epoch; where corpora are mixed by fractions, epochs differ by a block and so by a window."""
        n_blocks = count_blocks(self.source.parts, epoch) if self.rules.shuffle else len(self.source)
        return -(-n_blocks // self.rules.window_blocks)

    def epoch_blocks(self, epoch: int) -> Indices:
        """The numbers of the blocks of an epoch in its order, those that are seen more than once repeated."""
        if not self.rules.shuffle:
            return np.arange(len(self.source))
        if self._blocks is None or self._blocks[0] != epoch:
            seed = self.rules.seed
            drawn = draw_blocks(self.source.parts, seed=seed, epoch=epoch)
            order = draw_permutation(drawn.size, seed=seed, purpose=Purpose.BLOCK_ORDER, epoch=epoch)
            self._blocks = epoch, drawn[order]
        return self._blocks[1]

    def window_blocks(self, epoch: int, window: int) -> list[int]:
        """The numbers of the blocks of a window, in the order in which it holds them."""
        first = window * self.rules.window_blocks
        numbers: list[int] = self.epoch_blocks(epoch)[first : first + self.rules.window_blocks].tolist()
        return numbers

    def window(self, epoch: int, window: int) -> Window:
        """A window, packed; the last few are kept."""
        key = (epoch, window)
        if key not in self._packed:
            blocks = [self.source.read(number) for number in self.window_blocks(epoch, window)]
            packed = pack_window(*concatenate_blocks(blocks), epoch=epoch, window=window, rules=self.rules)
            self._packed[key] = packed
            self._n_samples[key] = packed.spans.first.size
            self.n_long[key] = packed.n_long
            if len(self._packed) > _KEPT_WINDOWS:
                self._packed.popitem(last=False)
        self._packed.move_to_end(key)
        return self._packed[key]

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
        runs: list[SampleRun] = []
        epoch, window, offset = place
        empty_since = epoch
        while n:
            if window >= self.n_windows(epoch):
                epoch, window, offset = epoch + 1, 0, 0
                if epoch - empty_since > _MAX_EMPTY_EPOCHS:
                    raise ShardError(self.source.name, "", f"the {self.source.split} shards hold no text to pack")
                continue
            count = min(n, self.n_samples(epoch, window) - offset)
            if count > 0:
                runs.append(SampleRun(epoch, window, offset, count))
                n, offset, empty_since = n - count, offset + count, epoch
            else:
                window, offset = window + 1, 0
        return runs, SampleId(epoch, window, offset)

    def gather(self, run: SampleRun) -> Blocks:
        """The blocks of consecutive samples, before masking."""
        packed = self.window(run.epoch, run.window)
        chosen = slice(run.first, run.first + run.n_samples)
        spans = Spans(packed.spans.first[chosen], packed.spans.end[chosen])
        return packing.gather_blocks(packed.tokens, packed.items, spans, width=self.rules.block_tokens)


def pack_window(
    tokens: Ids,
    sentence_lengths: Ids,
    sentences_per_document: npt.NDArray[np.integer[Any]],
    *,
    epoch: int,
    window: int,
    rules: PackingRules,
) -> Window:
    """Shuffle the documents of a window, pack them, shuffle the samples."""
    n_documents = sentences_per_document.size
    room = rules.block_tokens - 1  # <s> takes one
    documents = _shuffle(n_documents, Purpose.DOCUMENT_ORDER, epoch, window, rules)
    items = packing.build_items(sentence_lengths, sentences_per_document, documents)
    n_long = 0
    if not rules.fairseq_compat:
        items, n_long = packing.cut_long_items(items, block_tokens=room)
    spans = packing.pack_full_sentences(items.size, block_tokens=room)
    if rules.fairseq_compat:
        # fairseq packs a long sentence into a block of its own, and drops blocks that are too long.
        fits = items.size[spans.first] <= room
        n_long = int(np.count_nonzero(~fits))
        spans = Spans(spans.first[fits], spans.end[fits])
    samples = _shuffle(spans.first.size, Purpose.SAMPLE_ORDER, epoch, window, rules)
    return Window(tokens, items, Spans(spans.first[samples], spans.end[samples]), n_long)


def _shuffle(n: int, purpose: Purpose, epoch: int, window: int, rules: PackingRules) -> Indices:
    if not rules.shuffle:
        return np.arange(n)
    return draw_permutation(n, seed=rules.seed, purpose=purpose, epoch=epoch, window=window)


def packing_rules(settings: Settings) -> PackingRules:
    """The fields of a recipe that the order depends on."""
    return PackingRules(
        block_tokens=settings.block_tokens,
        window_blocks=settings.window_blocks,
        fairseq_compat=settings.fairseq_compat,
        seed=settings.seed,
    )


def masking_rules(settings: Settings, *, vocabulary_size: int) -> MaskingRules:
    """The fields of a recipe that masks depend on."""
    return MaskingRules(
        vocabulary_size=vocabulary_size,
        seed=settings.seed,
        fraction=settings.mask_fraction,
        kept=settings.mask_kept,
        randomised=settings.mask_randomised,
        fairseq_compat=settings.fairseq_compat,
    )


def samples_of_update(
    order: Order, update: int, *, batch_sequences: int, known: tuple[int, SampleId] = (1, SampleId(0, 0, 0))
) -> list[SampleId]:
    """The samples of the global batch of an update, the first one being update 1.

    `known` is an earlier update and its first sample, as log.jsonl has them: from there on samples are counted,
    which packs every window between the two.
    """
    first_update, place = known
    if update < first_update:
        raise ValueError(f"update {update} comes before update {first_update}, where counting starts")
    _, place = order.take(place, (update - first_update) * batch_sequences)
    runs, _ = order.take(place, batch_sequences)
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
