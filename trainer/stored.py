"""Shards in object stores, on their way to the trainer before it asks for them.

In: the shards of a source, and which of their blocks come next. Out: those shards in this machine's cache, or the
blocks alone. The rule: where all shards fit into the cache, each is fetched whole, once; where they do not, blocks are
read by their ranges, since a window takes its blocks from as many shards and would fetch most of them again and again.
What a thread could not fetch is raised to whoever reads it.
"""

import queue
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from bpe.cache_settings import find_cache
from bpe.entries import ShardEntry
from bpe.places import Place, StorePath
from bpe.shard_cache import open_cached
from bpe.shards import ShardBlock, read_block

N_THREADS = 4
_WHOLE = -1  # in the place of a block: the shard

Key = tuple[int, int]  # ordinal of a shard, block


class StoredShards:
    """What is fetched of the shards of a source; of shards on a disk nothing is."""

    def __init__(self, shards: Sequence[tuple[Place, ShardEntry]]) -> None:
        self._shards = {
            number: (place, entry) for number, (place, entry) in enumerate(shards) if isinstance(place, StorePath)
        }
        n_bytes = sum(entry.bytes for _, entry in self._shards.values())
        self._whole = not n_bytes or n_bytes <= find_cache().max_bytes
        self._asked: queue.SimpleQueue[tuple[Key, Future[ShardBlock | None]]] = queue.SimpleQueue()
        self._coming: dict[Key, Future[ShardBlock | None]] = {}
        self._threads: list[threading.Thread] = []

    def __bool__(self) -> bool:
        return bool(self._shards)

    def expect(self, blocks: Iterable[Key]) -> None:
        """Begins to fetch what these blocks need, in their order."""
        for shard, block in blocks:
            key = (shard, _WHOLE if self._whole else block)
            if shard in self._shards and key not in self._coming:
                coming: Future[ShardBlock | None] = Future()
                self._coming[key] = coming
                self._asked.put((key, coming))
        if self._coming and not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=f"fetch-{k}", daemon=True) for k in range(N_THREADS)
            ]
            for thread in self._threads:
                thread.start()

    def read(self, shard: int, block: int) -> ShardBlock | None:
        """A block where blocks are read by their ranges; None where its shard is to be opened."""
        if self._whole or shard not in self._shards:
            return None
        coming = self._coming.pop((shard, block), None)
        return coming.result() if coming else self._fetch((shard, block))

    def wait_for(self, shard: int) -> None:
        """Returns when a shard that was expected is here; raises what kept it from coming."""
        coming = self._coming.pop((shard, _WHOLE), None)
        if coming:
            coming.result()

    def _work(self) -> None:
        while True:
            key, coming = self._asked.get()
            try:
                coming.set_result(self._fetch(key))
            except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits for it raises it
                coming.set_exception(error)

    def _fetch(self, key: Key) -> ShardBlock | None:
        number, block = key
        place, entry = self._shards[number]
        assert isinstance(place, StorePath)
        if block != _WHOLE:
            return read_block(place, entry, block)
        open_cached(place, entry).close()
        return None
