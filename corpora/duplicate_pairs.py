"""From keys to pairs to compare, and from verified pairs to the documents that are dropped; all on packed arrays.

A document is a NODE: what decides who is kept (epoch, time of fetching, length) and the first 8 bytes of its id. The
smaller is kept. Of the documents that share a key, each is compared with the first few in that order: that finds crowds
of 10,000 copies whole, needs no limit on them, and depends on earlier documents only, so a later run changes nothing.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    *("CANARY_EPOCH", "DROPPED", "EDGE", "HEADS", "MAX_EPOCH", "NODE", "PAIR", "ROW"),
    *(
        "Buckets",
        "at_epoch",
        "choose_dropped",
        "distinct",
        "make_order",
        "pair_buckets",
        "similarities",
        "unique_pairs",
    ),
]

Rows = NDArray[np.void]

# `order`: epoch (12 bits), second of fetching (48 bits), marks that do not order (4 bits).
NODE = np.dtype([("order", "<u8"), ("length", "<u4"), ("id", "<u8")])
ROW = np.dtype([("key", "<u4"), *((name, NODE[name]) for name in NODE.names or ())])
PAIR = np.dtype([("a", NODE), ("b", NODE)])  # a before b
EDGE = np.dtype(
    [
        *(("a", NODE), ("b", NODE)),
        *(("a_low", "<u8"), ("b_low", "<u8")),  # the other 8 bytes of their ids
        *(("common", "<u4"), ("sizes", "<u4")),  # shingles that both have, and the sum of what each has
    ]
)

HEADS = 4  # documents of a bucket that all others are compared with; lost none of 8,354 pairs that 4 or more would find
MAX_EPOCH = 4_000
CANARY_EPOCH = 4_095  # planted copies come last, so that no document is ever compared with them instead of another
DROPPED = 1  # mark of an earlier run's document that was dropped: it keeps its place, and nobody is compared with it
_NO_TIME = (1 << 48) - 1  # unknown is last
_MARKS = np.uint64(15)
_EPOCH_SHIFT = np.uint64(52)
_USUAL_MARKS = "--T::Z"  # of 2016-09-26T21:18:09Z, every third from the first
_NOT_DIGIT = re.compile(r"\D+")


def make_order(epoch: int, fetched_at: str, *, marks: int = 0) -> int:
    """The leading part of the order in which documents are kept: epoch, then second of fetching, unknown last.

    >>> make_order(0, "2016-09-26T21:18:09Z") < make_order(0, "2016-09-26T21:18:10Z") < make_order(0, "")
    True
    >>> make_order(0, "") < make_order(1, "2016")
    True
    """
    digits = ""
    if fetched_at[4::3] == _USUAL_MARKS:  # cut up at a quarter of the cost
        digits = fetched_at[:4] + "".join([fetched_at[place : place + 2] for place in (5, 8, 11, 14, 17)])
    if not digits.isdecimal():
        digits = _NOT_DIGIT.sub("", fetched_at)[:14]
    time = int(digits.ljust(14, "0")) if digits else _NO_TIME
    return epoch << 52 | time << 4 | marks


class Buckets(NamedTuple):
    """What the rows of one partition say."""

    pairs: Rows  # PAIR, may repeat
    canaries: NDArray[np.uint64]  # ids of documents that met their own planted copy, may repeat
    sizes: NDArray[np.int64]  # documents of each bucket of two or more
    keys: NDArray[np.uint32]  # of the same buckets
    firsts: NDArray[np.uint64]  # ids of the first document of the same buckets


def pair_buckets(rows: Rows, *, epoch: int) -> Buckets:
    """Pairs to compare among the rows of a partition, of which at least one is of this epoch."""
    shared = _in_shared_buckets(rows)
    shared = shared[np.lexsort((shared["id"], shared["length"], shared["order"] & ~_MARKS, shared["key"]))]
    keys = shared["key"]
    first = np.ones(keys.size, np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    begins = np.flatnonzero(first)
    sizes = np.diff(np.append(begins, keys.size))
    begin_of = np.repeat(begins, sizes)
    ranks = np.arange(keys.size) - begin_of
    nodes = _nodes(shared)
    epochs = nodes["order"] >> _EPOCH_SHIFT
    is_canary = epochs == CANARY_EPOCH
    pairs, met = [np.empty(0, PAIR)], [np.empty(0, np.uint64)]
    for head in range(HEADS):
        later = np.flatnonzero(ranks > head)
        earlier = begin_of[later] + head
        same = nodes["id"][earlier] == nodes["id"][later]
        met.append(nodes["id"][later[same & is_canary[later] & ~is_canary[earlier]]])
        wanted = ~same & (epochs[later] == epoch) & ((nodes["order"][earlier] & np.uint64(DROPPED)) == 0)
        pairs.append(_pair(nodes[earlier[wanted]], nodes[later[wanted]]))
    return Buckets(np.concatenate(pairs), np.concatenate(met), sizes, keys[begins], nodes["id"][begins])


def unique_pairs(pairs: Rows) -> Rows:
    """Each pair once, ordered by the ids of the first and of the second."""
    return pairs[distinct(pairs["a"]["id"], pairs["b"]["id"])]


def distinct(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """Places of one of each combination of two columns, ordered by them."""
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    is_new = np.ones(order.size, np.bool_)
    is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return np.asarray(order[is_new])


def at_epoch(orders: NDArray[np.uint64], epoch: int) -> NDArray[np.uint64]:
    """The same orders, of another epoch."""
    return (orders & np.uint64((1 << 52) - 1)) | (np.uint64(epoch) << _EPOCH_SHIFT)


def choose_dropped(edges: Rows) -> Rows:
    """The edges that say which documents are dropped and which kept one each gives way to; whole components go in.

    In the order of nodes, a document is dropped if and only if one before it that is kept is its near-duplicate. Of
    several, the most similar stands for it, then the earliest.
    """
    ranks_a, ranks_b = _rank_nodes(edges)
    order = np.argsort(ranks_b, kind="stable")
    is_kept = bytearray(b"\1") * (int(ranks_b.max(initial=-1)) + 1)
    for a, b in zip(ranks_a[order].tolist(), ranks_b[order].tolist(), strict=True):
        if is_kept[a]:
            is_kept[b] = 0  # `a` comes before `b`, so what became of it is settled
    kept = np.frombuffer(is_kept, np.uint8)
    by_kept = np.flatnonzero(kept[ranks_a] == 1)
    similarity = similarities(edges[by_kept])
    by_kept = by_kept[np.lexsort((ranks_a[by_kept], -similarity, ranks_b[by_kept]))]
    dropped = ranks_b[by_kept]
    first = np.ones(dropped.size, np.bool_)
    first[1:] = dropped[1:] != dropped[:-1]
    return edges[by_kept[first]]


def similarities(edges: Rows) -> NDArray[np.float64]:
    """Jaccard similarity of each verified pair."""
    common = edges["common"].astype(np.float64)
    return np.asarray(common / np.maximum(edges["sizes"] - common, 1.0))


def _in_shared_buckets(rows: Rows) -> Rows:
    """Only the rows whose key another row has too: most have none, and need no sorting by all they hold."""
    keys = np.ascontiguousarray(rows["key"])
    order = np.argsort(keys)
    ordered = keys[order]
    equal = ordered[1:] == ordered[:-1]
    is_shared = np.zeros(keys.size, np.bool_)
    is_shared[1:] = equal
    is_shared[:-1] |= equal
    return rows[order[is_shared]]


def _nodes(rows: Rows) -> Rows:
    nodes = np.empty(rows.size, NODE)
    for name in NODE.names or ():
        nodes[name] = rows[name]
    return nodes


def _pair(a: Rows, b: Rows) -> Rows:
    pairs = np.empty(a.size, PAIR)
    pairs["a"], pairs["b"] = a, b
    return pairs


def _rank_nodes(edges: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place of either end of each edge in the order of all nodes."""
    nodes = np.concatenate([edges["a"], edges["b"]])
    order = np.lexsort((nodes["id"], nodes["length"], nodes["order"] & ~_MARKS))
    is_new = np.ones(order.size, np.bool_)
    is_new[1:] = nodes["id"][order][1:] != nodes["id"][order][:-1]
    ranks = np.empty(order.size, np.int64)
    ranks[order] = np.cumsum(is_new) - 1
    return ranks[: edges.size], ranks[edges.size :]
