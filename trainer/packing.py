"""Sentences into blocks: FULL-SENTENCES and DOC-SENTENCES of the paper's section 4.2, as fairseq packs them.

The pairs of the other two formats are drawn in `trainer.pairs`, and become blocks here too.

In: the sentence lengths of a window and the order of its documents. Out: which run of sentences makes each
block, and the blocks themselves. The rule: no token is lost or invented, and no sentence that fits into a
block is split; a sentence that does not fit is cut into full-length pieces, and counted.

A block's stream is `sentence </s> sentence </s> </s> sentence </s> ...`: `</s>` after each sentence, one more
between documents. An *item* is a sentence with its `</s>`, a piece of one, or such a separator; packing is
greedy over the sizes of items, and `<s>` is put in front of what it makes.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BOS, PAD, EOS, UNK = 0, 1, 2, 3
N_SPECIAL = 4  # ids 0-3; the last id of the vocabulary is <mask>

_SHORT_RUN = 100  # tokens; copying many short runs one by one is slower than fetching each token by its place
NO_DOCUMENT = 65_535  # document of a token of padding

Indices = npt.NDArray[np.int64]
Ids = npt.NDArray[np.uint16]


class Items(NamedTuple):
    """What a window is packed from, in the order of packing; one element per item."""

    size: Indices  # tokens in the stream, with `</s>`; with two of them at the end of a pair's first segment
    n_tokens: Indices  # tokens of the sentence, without `</s>`; 0 for a separator
    source: Indices  # its first token among the window's tokens
    document: Indices  # its document's ordinal in the window, as stored (a separator belongs to the one before)


class Spans(NamedTuple):
    """Runs of items [first, end), one per block, in the order of packing."""

    first: Indices
    end: Indices


class Pairs(NamedTuple):
    """What pair formats know beside the ids, one element per block."""

    second: Indices  # [B], column where the second segment starts; `<s> A </s> </s>` comes before
    follows: npt.NDArray[np.bool_]  # [B], whether it is the continuation of the first


def take_pairs(pairs: Pairs, rows: Indices) -> Pairs:
    """Some of them."""
    return Pairs(pairs.second[rows], pairs.follows[rows])


class Blocks(NamedTuple):
    """Packed blocks before masking, B of T tokens: `<s>`, a run of items, padding."""

    ids: Ids  # [B, T]
    n_tokens: Indices  # [B], `<s>` included, padding not
    pairs: Pairs | None = None  # of pair formats
    documents: Ids | None = None  # [B, T], ordinal of the token's document in its block; for document attention


def build_items(
    sentence_lengths: Ids,
    sentences_per_document: npt.NDArray[np.integer[Any]],
    document_order: Indices,
    *,
    separators: bool = True,
) -> Items:
    """The items of documents taken in `document_order`: their sentences, and a separator between two documents."""
    n_sentences = sentences_per_document.astype(np.int64)
    document_order = document_order[n_sentences[document_order] > 0]
    first_sentence = exclusive_sum(n_sentences)
    first_token = exclusive_sum(sentence_lengths.astype(np.int64))
    counts = n_sentences[document_order]
    # A separator is one more item at the end of each document but the last.
    slots = counts + int(separators)
    if slots.size and separators:
        slots[-1] -= 1
    items_start = exclusive_sum(slots)
    sentences = concatenate_ranges(first_sentence[document_order], counts)
    places = concatenate_ranges(items_start[: document_order.size], counts)
    n_items = int(slots.sum())
    n_tokens = np.zeros(n_items, dtype=np.int64)
    n_tokens[places] = sentence_lengths[sentences]
    source = np.zeros(n_items, dtype=np.int64)
    source[places] = first_token[sentences]
    return Items(n_tokens + 1, n_tokens, source, np.repeat(document_order, slots))


def cut_long_items(items: Items, *, block_tokens: int) -> tuple[Items, int]:
    """Items that all fit into a block, and how many sentences were cut.

    A sentence and its `</s>` are cut at every `block_tokens`-th token, so each piece but the last fills a block.
    """
    n_pieces = -(-items.size // block_tokens)
    n_cut = int(np.count_nonzero(n_pieces > 1))
    if not n_cut:
        return items, 0
    parent = np.repeat(np.arange(n_pieces.size), n_pieces)
    skipped = block_tokens * concatenate_ranges(np.zeros_like(n_pieces), n_pieces)
    size = np.minimum(items.size[parent] - skipped, block_tokens)
    n_tokens = np.clip(items.n_tokens[parent] - skipped, 0, block_tokens)
    return Items(size, n_tokens, items.source[parent] + skipped, items.document[parent]), n_cut


def pack_full_sentences(size: Indices, *, block_tokens: int) -> Spans:
    """Greedy whole items, across documents, until a block would pass `block_tokens` (fairseq's `complete`).

    An item larger than a block stands alone in one.

    >>> pack_full_sentences(np.array([4, 3, 1, 5, 20, 2, 1, 1, 3]), block_tokens=9).first.tolist()
    [0, 3, 4, 5]
    """
    return walk_spans(_farthest_ends(size, block_tokens), skip=None)


def pack_doc_sentences(size: Indices, is_separator: npt.NDArray[np.bool_], *, block_tokens: int) -> Spans:
    """The same, but a block ends where its document does, and no block holds a separator (`complete_doc`)."""
    ends = _farthest_ends(size, block_tokens)
    separators = np.append(np.flatnonzero(is_separator), size.size)
    next_separator = separators[np.searchsorted(separators, np.arange(size.size))]
    return walk_spans(np.minimum(ends, next_separator), skip=is_separator)


def stream_starts(size: Indices) -> Indices:
    """Where each item starts in the stream, and after the last one where the stream ends."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(size, dtype=np.int64)))


def span_tokens(items: Items, spans: Spans) -> Indices:
    """Tokens of each block, `<s>` included."""
    starts = stream_starts(items.size)
    return 1 + starts[spans.end] - starts[spans.first]


def gather_blocks(tokens: Ids, items: Items, spans: Spans, *, width: int, documents: bool = False) -> Blocks:
    """The blocks of these spans, `width` tokens wide: only they are made, whatever else the window holds."""
    counts = spans.end - spans.first
    chosen = concatenate_ranges(spans.first, counts)
    row = np.repeat(np.arange(counts.size), counts)
    size, n_tokens = items.size[chosen], items.n_tokens[chosen]
    in_stream = stream_starts(size)
    row_start = in_stream[np.append(exclusive_sum(counts)[: counts.size], chosen.size)]
    length = 1 + np.diff(row_start)  # <s> included
    # Column 0 is <s>; an item starts where the items before it in its row end.
    place = row * width + 1 + in_stream[:-1] - row_start[row]
    is_text = np.arange(width) < length[:, None]
    ids = np.where(is_text, np.uint16(EOS), np.uint16(PAD))
    ids[:, 0] = BOS
    of_document = _name_documents(is_text, row, items.document[chosen], size) if documents else None
    is_text[:, 0] = False
    flat = is_text.reshape(-1)
    ends = place + n_tokens
    flat[ends[size > n_tokens]] = False
    flat[ends[size > n_tokens + 1] + 1] = False
    # What is left are the tokens' places, in the order in which the items hold them.
    ids[is_text] = _gather_runs(tokens, items.source[chosen], n_tokens)
    return Blocks(ids, length, documents=of_document)


def _name_documents(is_text: npt.NDArray[np.bool_], row: Indices, document: Indices, size: Indices) -> Ids:
    """For each token the ordinal of its document in the block; 0 for `<s>`, NO_DOCUMENT for padding."""
    is_new = np.append(True, (document[1:] != document[:-1]) | (row[1:] != row[:-1]))[: row.size]
    seen = np.cumsum(is_new)
    # Each block counts from 0: what its first item has seen is taken off.
    first = np.flatnonzero(np.append(True, row[1:] != row[:-1])[: row.size])
    ordinal = seen - np.repeat(seen[first], np.diff(np.append(first, row.size)))
    named = np.where(is_text, np.uint16(0), np.uint16(NO_DOCUMENT))
    inside = is_text.copy()
    inside[:, 0] = False
    named[inside] = np.repeat(ordinal, size)
    return named


def _gather_runs(tokens: Ids, start: Indices, count: Indices) -> Ids:
    """The tokens of many ranges, one after the other; ranges that continue each other are copied as one."""
    start, count = start[count > 0], count[count > 0]
    if not start.size:
        return tokens[:0]
    is_first = np.append(True, start[1:] != start[:-1] + count[:-1])
    last = np.append(np.flatnonzero(is_first)[1:], start.size) - 1
    start, end = start[is_first], start[last] + count[last]
    if (end - start).sum() < _SHORT_RUN * start.size:
        return tokens[concatenate_ranges(start, end - start)]
    return np.concatenate([tokens[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)])


def concatenate_ranges(start: Indices, count: Indices) -> Indices:
    """[start, start + count) of each element, one after the other.

    >>> concatenate_ranges(np.array([7, 0, 3]), np.array([2, 0, 3])).tolist()
    [7, 8, 3, 4, 5]
    """
    shift = np.repeat(start - exclusive_sum(count)[: count.size], count)
    shift += np.arange(shift.size, dtype=np.int64)
    return shift


def exclusive_sum(count: Indices) -> Indices:
    """Exclusive running sum, as long as its input and at least one element."""
    starts = np.zeros(max(1, count.size), dtype=np.int64)
    np.cumsum(count[:-1], out=starts[1:])
    return starts


def _farthest_ends(size: Indices, block_tokens: int) -> Indices:
    """Where a block ends that starts at each item: all jumps at once, so that walking them is all that is left."""
    starts = stream_starts(size)
    ends = np.searchsorted(starts, starts[:-1] + block_tokens, side="right") - 1
    return np.maximum(ends, np.arange(1, size.size + 1))


def walk_spans(ends: Indices, *, skip: npt.NDArray[np.bool_] | None) -> Spans:
    """Follow the jumps from the first item; items in `skip` start no block."""
    jumps = ends.tolist()  # a list is ten times faster to index than an array
    skipped = None if skip is None else skip.tolist()
    first: list[int] = []
    item = 0
    while item < len(jumps):
        if skipped is not None and skipped[item]:
            item += 1
            continue
        first.append(item)
        item = jumps[item]
    starts = np.array(first, dtype=np.int64)
    return Spans(starts, ends[starts])
