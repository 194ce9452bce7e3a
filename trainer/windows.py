"""A window: the documents of some consecutive blocks, shuffled, packed into samples, and those shuffled again.

In: tokens, sentence lengths and sentences per document, and the rules of packing. Out: a `Window`, from which any
sample of it can be made. The rule: it is a pure function of these and of (seed, epoch, window), so whoever needs a
sample packs its window and no other.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer import packing
from trainer.packing import Ids, Indices, Items, Pairs, Spans
from trainer.pairs import N_SEPARATORS, pack_pairs
from trainer.randomness import Purpose, draw_permutation
from trainer.settings import PAIR_FORMATS


class Window(NamedTuple):
    """A window, packed: what its samples are made from; one element per sample, in the order of training."""

    tokens: Ids  # [n], as stored: without separators
    items: Items
    spans: Spans
    n_tokens: Indices  # `<s>` included
    n_documents: Indices  # documents that have a piece in the sample
    mask_start: Indices  # where the sample's words begin among those of its window (trainer.masking)
    pairs: Pairs | None
    tokens_by_corpus: Indices  # [samples, corpora]
    n_long: int  # sentences longer than a block, cut or, in compat mode, dropped
    n_dropped: int  # tokens that pairs left out: cut from the longer segment


@dataclass(frozen=True, kw_only=True, slots=True)
class PackingRules:
    """What the order depends on besides the data."""

    input_format: str = "full-sentences"
    block_tokens: int = 512  # `<s>` included
    window_blocks: int = 16
    fixed: bool = False  # epochs hold the same samples, in another order: what static masks need
    document_attention: bool = False  # blocks say which token is of which document
    fairseq_compat: bool = False
    seed: int = 0
    shuffle: bool = True  # held-out data stay in the order of their shards


def pack_window(
    tokens: Ids,
    sentence_lengths: Ids,
    sentences_per_document: npt.NDArray[np.integer[Any]],
    *,
    composed: tuple[int, int],
    epoch: int,
    window: int,
    rules: PackingRules,
) -> Window:
    """Shuffle the documents of a window, pack them, shuffle the samples.

    Documents are shuffled as the window `composed` says, samples as `epoch` and `window` do.
    """
    documents = _shuffle(sentences_per_document.size, Purpose.DOCUMENT_ORDER, *composed, rules)
    is_pair = rules.input_format in PAIR_FORMATS
    items = packing.build_items(sentence_lengths, sentences_per_document, documents, separators=not is_pair)
    pairs, n_dropped = None, 0
    if is_pair:
        room = rules.block_tokens - N_SEPARATORS
        items, n_long = packing.cut_long_items(items, block_tokens=room)
        single = rules.input_format == "sentence-pair"
        drawn = pack_pairs(
            items,
            block_tokens=rules.block_tokens,
            single=single,
            seed=rules.seed,
            epoch=composed[0],
            window=composed[1],
        )
        items, spans, n_dropped = drawn.items, drawn.spans, drawn.n_dropped
        pairs = Pairs(drawn.second, drawn.follows)
    else:
        items, spans, n_long = _pack_sentences(items, rules)
    n_tokens = packing.span_tokens(items, spans)
    order = _shuffle(n_tokens.size, Purpose.SAMPLE_ORDER, epoch, window, rules)
    mask_start = packing.exclusive_sum(n_tokens + 1)[: n_tokens.size]
    n_tokens = n_tokens[order]
    spans = Spans(spans.first[order], spans.end[order])
    return Window(
        tokens=tokens,
        items=items,
        spans=spans,
        n_tokens=n_tokens,
        n_documents=_count_documents(items, spans),
        # Dynamic masks follow the samples' order, so that a batch's words are drawn at once.
        mask_start=mask_start[order] if rules.fixed else packing.exclusive_sum(n_tokens + 1)[: n_tokens.size],
        pairs=None if pairs is None else packing.take_pairs(pairs, order),
        tokens_by_corpus=n_tokens[:, None],
        n_long=n_long,
        n_dropped=n_dropped,
    )


def _pack_sentences(items: Items, rules: PackingRules) -> tuple[Items, Spans, int]:
    """FULL-SENTENCES or DOC-SENTENCES, and how many sentences did not fit into a block."""
    room = rules.block_tokens - 1  # <s> takes one
    n_long = 0
    if not rules.fairseq_compat:
        items, n_long = packing.cut_long_items(items, block_tokens=room)
    if rules.input_format == "doc-sentences":
        # Pieces of a long sentence hold text too; only separators have no token.
        is_separator = _find_separators(items)
        spans = packing.pack_doc_sentences(items.size, is_separator, block_tokens=room)
    else:
        spans = packing.pack_full_sentences(items.size, block_tokens=room)
    if rules.fairseq_compat:
        # fairseq packs a long sentence into a block of its own, and drops blocks that are too long.
        fits = items.size[spans.first] <= room
        n_long = int(np.count_nonzero(~fits))
        spans = Spans(spans.first[fits], spans.end[fits])
    return items, spans, n_long


def _find_separators(items: Items) -> npt.NDArray[np.bool_]:
    """Which items stand between two documents: each last one of its document but the window's last."""
    is_last = np.append(items.document[1:] != items.document[:-1], False)[: items.size.size]
    found: npt.NDArray[np.bool_] = is_last
    return found


def _count_documents(items: Items, spans: Spans) -> Indices:
    """In how many documents the items of each span lie, those of neighbouring pieces of one counted once."""
    if not items.size.size:
        return np.zeros(spans.first.size, dtype=np.int64)
    seen = np.cumsum(np.append(True, items.document[1:] != items.document[:-1]))
    counted: Indices = seen[spans.end - 1] - seen[spans.first] + 1
    return counted


def count_by_corpus(packed: Window, corpus_of_document: Indices, n_corpora: int) -> Indices:
    """Tokens of each corpus in each sample; `<s>` belongs to what comes after it."""
    if n_corpora == 1:
        return packed.n_tokens[:, None]
    corpus = corpus_of_document[packed.items.document]
    counts = np.zeros((packed.n_tokens.size, n_corpora), dtype=np.int64)
    for number in range(n_corpora):
        starts = packing.stream_starts(np.where(corpus == number, packed.items.size, 0))
        counts[:, number] = starts[packed.spans.end] - starts[packed.spans.first]
    counts[np.arange(packed.n_tokens.size), corpus[packed.spans.first]] += 1
    return counts


def _shuffle(n: int, purpose: Purpose, epoch: int, window: int, rules: PackingRules) -> Indices:
    if not rules.shuffle:
        return np.arange(n)
    return draw_permutation(n, seed=rules.seed, purpose=purpose, epoch=epoch, window=window)
