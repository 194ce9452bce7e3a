"""Connected components of a graph given as arrays of edges, exactly, without a loop over edges.

Roots hook onto smaller neighbours, then all paths are halved until every node points at its root; that repeats until no
edge joins two roots. How many rounds that takes does not decide whether the answer is right.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["label_components", "spanning_forest"]

U64 = NDArray[np.uint64]
Index = NDArray[np.int64]


def label_components(one: U64, other: U64) -> tuple[U64, U64]:
    """(nodes, labels): every node that has an edge, sorted, and the smallest node that it is connected with.

    >>> nodes, labels = label_components(np.array([7, 3, 9], np.uint64), np.array([3, 5, 8], np.uint64))
    >>> dict(zip(nodes.tolist(), labels.tolist()))
    {3: 3, 5: 3, 7: 3, 8: 8, 9: 8}
    """
    nodes, a, b = _dense(one, other)
    parents, _ = _contract(a, b, nodes.size)
    return nodes, nodes[parents]


def spanning_forest(one: U64, other: U64) -> NDArray[np.bool_]:
    """Which edges to keep so that the components stay and no circle is left: nodes less components of them.

    >>> int(spanning_forest(np.array([1, 2, 3, 1], np.uint64), np.array([2, 3, 1, 2], np.uint64)).sum())
    2
    """
    nodes, a, b = _dense(one, other)
    return _contract(a, b, nodes.size)[1]


def _dense(one: U64, other: U64) -> tuple[U64, Index, Index]:
    nodes, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    return nodes, places[: one.size], places[one.size :]


def _contract(a: Index, b: Index, n_nodes: int) -> tuple[Index, NDArray[np.bool_]]:
    """(root of each node, which edges joined two roots)."""
    parents = np.arange(n_nodes)
    is_kept = np.zeros(a.size, np.bool_)
    edges = np.arange(a.size)
    while True:
        roots_a, roots_b = parents[a[edges]], parents[b[edges]]
        crosses = roots_a != roots_b
        if not crosses.any():
            return parents, is_kept
        edges, roots_a, roots_b = edges[crosses], roots_a[crosses], roots_b[crosses]
        low, high = np.minimum(roots_a, roots_b), np.maximum(roots_a, roots_b)
        # Each root hooks once, onto its smallest neighbour below it: no circle can close.
        order = np.lexsort((low, high))
        first = np.ones(order.size, np.bool_)
        first[1:] = high[order][1:] != high[order][:-1]
        hooked = order[first]
        parents[high[hooked]] = low[hooked]
        is_kept[edges[hooked]] = True
        while True:
            above = parents[parents]
            if np.array_equal(above, parents):
                break
            parents = above
