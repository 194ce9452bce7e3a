"""Numbers travel in packed arrays: one Beam element holds the rows of one partition that a bundle has made.

An element for every row would cost three times the processor time and five times the memory. A `PackedRows` gathers
rows and hands them out by partition. How it cuts them depends on the bundle: who receives them must not mind the order.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from numpy.typing import NDArray

__all__ = ["PackedRows", "id_partition", "partition_key", "top_bits", "unpack", "windowed"]

MAX_BYTES = 8 << 20  # gathered before they are handed out


class PackedRows:
    """Rows of one dtype on their way to partitions."""

    def __init__(self, dtype: np.dtype[Any], n_partitions: int) -> None:
        self._opaque = np.dtype((np.void, dtype.itemsize))  # moved as a whole, not field by field
        self._n_partitions = n_partitions
        self._partitions: list[NDArray[np.uint32]] = []
        self._rows: list[NDArray[Any]] = []
        self._n_bytes = 0

    def add(self, partitions: NDArray[Any], rows: NDArray[Any]) -> None:
        """Rows and the partition of each."""
        if not rows.size:
            return
        self._partitions.append(partitions.astype(np.uint32))
        self._rows.append(rows)
        self._n_bytes += rows.nbytes

    @property
    def is_full(self) -> bool:
        return self._n_bytes >= MAX_BYTES

    def take(self) -> Iterator[tuple[bytes, bytes]]:
        """(partition's key, its rows) of all that was gathered, which is then forgotten."""
        if not self._rows:
            return
        partitions, rows = np.concatenate(self._partitions), np.concatenate(self._rows).view(self._opaque)
        self._partitions, self._rows, self._n_bytes = [], [], 0
        small = partitions.astype(np.uint16) if self._n_partitions <= 1 << 16 else partitions
        order = np.argsort(small, kind="stable")  # of 16 bits: a radix sort
        rows = rows[order]
        found, begins = np.unique(partitions[order], return_index=True)
        ends = np.append(begins[1:], rows.size)
        for partition, begin, end in zip(found.tolist(), begins.tolist(), ends.tolist(), strict=True):
            yield partition_key(partition), rows[begin:end].tobytes()


def unpack(blobs: Iterable[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    """All rows of some elements, in one array."""
    return np.frombuffer(b"".join(blobs), dtype)


def partition_key(partition: int) -> bytes:
    """A shuffle key; they sort as the numbers do."""
    return partition.to_bytes(4, "big")


def top_bits(values: NDArray[np.uint64], n_partitions: int) -> NDArray[np.uint64]:
    """Partition of each value, for a power of two of them: its highest bits."""
    n_bits = n_partitions.bit_length() - 1
    return values >> np.uint64(64 - n_bits) if n_bits else np.zeros_like(values)


def id_partition(ids: NDArray[np.uint64], n_partitions: int) -> NDArray[np.uint64]:
    """Partition of documents by their ids; a sixteenth as many as there are of keys, since documents have many keys."""
    return top_bits(ids, max(n_partitions // 16, 1))


def windowed(element: Any) -> Any:
    """What a DoFn may yield at the end of a bundle; of a tagged output it is the value that has a window."""
    if isinstance(element, TaggedOutput):
        return TaggedOutput(element.tag, windowed(element.value))
    window = GlobalWindow()
    return WindowedValue(element, window.max_timestamp(), (window,))
