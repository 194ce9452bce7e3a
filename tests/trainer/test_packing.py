"""Packing keeps every token, splits no sentence that fits, and agrees with fairseq."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import packing
from trainer.packing import BOS, EOS, PAD

DOCUMENTS = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=8)


def _arrays(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens 4, 5, 6, ... so that each is known by its value; sentence lengths; sentences per document."""
    lengths = np.array([length for document in documents for length in document], dtype=np.uint16)
    tokens = np.arange(4, 4 + int(lengths.sum()), dtype=np.uint16)
    return tokens, lengths, np.array([len(document) for document in documents], dtype=np.uint32)


def _borders(size: np.ndarray, spans: packing.Spans) -> list[list[int]]:
    starts = packing.stream_starts(size)
    return np.stack((starts[spans.first], starts[spans.end]), axis=1).tolist()


def _stream(tokens: np.ndarray, documents: list[list[int]], order: np.ndarray) -> list[int]:
    """The slow, readable twin: sentence, `</s>`, and one more `</s>` between documents."""
    texts, start = [], 0
    for document in documents:
        text: list[int] = []
        for length in document:
            text += [*tokens[start : start + length].tolist(), EOS]
            start += length
        texts.append(text)
    return [token for k, d in enumerate(order) for token in ([EOS] if k else []) + texts[d]]


def test_packings_equal_those_of_fairseq(fairseq: dict[str, Any]) -> None:
    assert len(fairseq["packing"]) == 200
    for case in fairseq["packing"]:
        size = np.array(case["sizes"])
        full = packing.pack_full_sentences(size, block_tokens=case["block"])
        doc = packing.pack_doc_sentences(size, size == 1, block_tokens=case["block"])
        assert _borders(size, full) == case["complete"]
        assert _borders(size, doc) == case["complete_doc"]


def test_the_worked_packing_example_of_fairseq() -> None:
    size = np.array([4, 3, 1, 5, 20, 2, 1, 1, 3])
    full = packing.pack_full_sentences(size, block_tokens=9)
    doc = packing.pack_doc_sentences(size, size == 1, block_tokens=9)
    assert _borders(size, full) == [[0, 8], [8, 13], [13, 33], [33, 40]]
    assert _borders(size, doc) == [[0, 7], [8, 13], [13, 33], [33, 35], [37, 40]]


@given(DOCUMENTS, st.integers(5, 30), st.randoms(use_true_random=False))
def test_full_sentences_lose_and_invent_no_token(documents: list[list[int]], room: int, random: Any) -> None:
    tokens, lengths, counts = _arrays(documents)
    order = np.array(random.sample(range(len(documents)), len(documents)))
    items, n_cut = packing.cut_long_items(packing.build_items(lengths, counts, order), block_tokens=room)
    spans = packing.pack_full_sentences(items.size, block_tokens=room)
    blocks = packing.gather_blocks(tokens, items, spans, width=room + 1)
    assert n_cut == int((lengths >= room).sum())
    assert (blocks.ids[:, 0] == BOS).all()
    assert (blocks.ids != PAD).sum(axis=1).tolist() == blocks.n_tokens.tolist()
    packed = [row[1:n].tolist() for row, n in zip(blocks.ids, blocks.n_tokens, strict=True)]
    assert [token for row in packed for token in row] == _stream(tokens, documents, order)


@given(DOCUMENTS, st.integers(5, 60))
def test_full_sentences_never_splits_a_sentence_that_fits_and_never_leaves_room_for_the_next(
    documents: list[list[int]], room: int
) -> None:
    _, lengths, counts = _arrays(documents)
    items = packing.build_items(lengths, counts, np.arange(len(documents)))
    pieces, _ = packing.cut_long_items(items, block_tokens=room)
    spans = packing.pack_full_sentences(pieces.size, block_tokens=room)
    sums = np.add.reduceat(pieces.size, spans.first)
    assert sums.max() <= room
    assert (sums[:-1] + pieces.size[spans.first[1:]] > room).all()
    fitting = items.n_tokens[(items.n_tokens > 0) & (items.size <= room)]
    assert np.isin(fitting, pieces.n_tokens).all()
    assert (pieces.size.sum(), pieces.n_tokens.sum()) == (items.size.sum(), lengths.sum())


@given(DOCUMENTS, st.integers(5, 60))
def test_doc_sentences_hold_every_sentence_and_no_separator(documents: list[list[int]], room: int) -> None:
    tokens, lengths, counts = _arrays(documents)
    items, _ = packing.cut_long_items(
        packing.build_items(lengths, counts, np.arange(len(documents))), block_tokens=room
    )
    is_separator = np.append(np.diff(items.document) > 0, False)
    spans = packing.pack_doc_sentences(items.size, is_separator, block_tokens=room)
    blocks = packing.gather_blocks(tokens, items, spans, width=room + 1)
    assert np.sort(blocks.ids[blocks.ids > EOS]).tolist() == tokens.tolist()
    assert all(np.unique(items.document[a:b]).size == 1 for a, b in zip(*spans, strict=True))


def test_a_sentence_longer_than_a_block_is_cut_into_full_length_pieces() -> None:
    _, lengths, counts = _arrays([[3, 25, 2]])
    items, n_cut = packing.cut_long_items(packing.build_items(lengths, counts, np.arange(1)), block_tokens=10)
    assert n_cut == 1
    assert items.size.tolist() == [4, 10, 10, 6, 3]
    assert items.n_tokens.tolist() == [3, 10, 10, 5, 2]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 50))
def test_gathering_some_blocks_gives_the_rows_of_gathering_all(sizes: list[int], room: int) -> None:
    tokens, lengths, counts = _arrays([sizes] if sizes else [[1]])
    items, _ = packing.cut_long_items(packing.build_items(lengths, counts, np.arange(1)), block_tokens=room)
    spans = packing.pack_full_sentences(items.size, block_tokens=room)
    whole = packing.gather_blocks(tokens, items, spans, width=room + 1).ids
    odd = packing.Spans(spans.first[1::2], spans.end[1::2])
    assert np.array_equal(packing.gather_blocks(tokens, items, odd, width=room + 1).ids, whole[1::2])
