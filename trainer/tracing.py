"""From a training sample back to its documents: which shard, which block of it, which tokens.

In: an `Order` and a `SampleId`. Out: the pieces of documents that the sample is made of, in order. The rule: what
is named here is what training reads, because it comes out of the same packed window.
"""

from typing import NamedTuple

import numpy as np

from trainer.plan import Order, SampleId


class DocumentPiece(NamedTuple):
    """A run of tokens of one document in a sample."""

    shard: str  # name in its manifest
    run: int  # ordinal of the shard's run among those that the epoch reads
    block: int  # of the shard
    position: int  # of the document in its block
    first_token: int  # of the document, separators not counted
    n_tokens: int


def sample_documents(order: Order, sample: SampleId) -> list[DocumentPiece]:
    """What a sample is made of; ValueError where there is no such sample."""
    n_windows = order.n_windows(sample.epoch) if sample.epoch >= 0 else 0
    if not 0 <= sample.window < n_windows:
        raise ValueError(f"there is no window {sample.window} in epoch {sample.epoch}: it has {n_windows}")
    n_samples = order.n_samples(sample.epoch, sample.window)
    if not 0 <= sample.offset < n_samples:
        raise ValueError(f"there is no sample {sample.offset}: the window has samples 0 to {n_samples - 1}")
    packed = order.window(sample.epoch, sample.window)
    chosen = slice(packed.spans.first[sample.offset], packed.spans.end[sample.offset])
    document, source, n_tokens = (
        column[chosen] for column in (packed.items.document, packed.items.source, packed.items.n_tokens)
    )
    is_text = n_tokens > 0
    document, source, n_tokens = document[is_text], source[is_text], n_tokens[is_text]
    # Where pairs were cut, a document goes on somewhere else.
    goes_on = (document[1:] == document[:-1]) & (source[1:] == source[:-1] + n_tokens[:-1])
    starts = np.flatnonzero(np.append(True, ~goes_on)[: document.size])
    totals = np.add.reduceat(n_tokens, starts) if starts.size else n_tokens
    return [
        _name_piece(order, sample, int(document[start]), int(source[start]), int(total))
        for start, total in zip(starts.tolist(), totals.tolist(), strict=True)
    ]


def _name_piece(order: Order, sample: SampleId, document: int, source: int, n_tokens: int) -> DocumentPiece:
    """Find the block that holds a document of the window, and the document in it."""
    source_of_epoch = order.source_of(sample.epoch)
    for number in order.window_blocks(sample.epoch, sample.window):
        block = source_of_epoch.read(number)
        n_documents = block.sentences_per_document.size
        if document < n_documents:
            n_sentences = int(block.sentences_per_document[:document].sum())
            first = int(block.sentence_lengths[:n_sentences].sum())
            place = source_of_epoch.place(number)
            return DocumentPiece(place.shard.name, place.run, place.block, document, source - first, n_tokens)
        document -= n_documents
        source -= block.tokens.size
    raise AssertionError("a window's documents are those of its blocks")
