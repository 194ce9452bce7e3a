"""A bundle that fails after its work is done is tried again, and leaves the same bytes as one that did not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.settings import ShardRules
from pipelines.sharding import EncodedDocument, ShardCounts, WriteShard


class WriteShardAndFailTwice(WriteShard):
    """Fails after the files are written: the worst moment for a step that is tried again."""

    def process(self, group: Any, counts: Any) -> Iterator[Any]:
        written = list(super().process(group, counts))
        tries = Path(self.folder) / "tries"
        n = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (n + 1))
        if n < 2:
            raise OSError("injected: the worker is lost")
        yield from written


def encoded(number: int) -> EncodedDocument:
    rng = np.random.default_rng(number)
    ids = rng.integers(4, 5_000, size=60).astype("<u2")
    lengths = np.array([20, 40], "<u2")
    return EncodedDocument(rng.bytes(16), ids.tobytes(), lengths.tobytes(), f"http://a.example/{number}", "a", number)


def write(folder: Path, writer: type[WriteShard]) -> dict[str, bytes]:
    (folder / "shards").mkdir(parents=True)
    group = ("train/00000", [tuple(encoded(number)) for number in range(50)])
    step = writer(folder=str(folder), name="x", rules=ShardRules(held_out=0))
    options = PipelineOptions(["--no_save_main_session"])
    with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
        _ = pipeline | beam.Create([group]) | beam.ParDo(step, counts=tuple(ShardCounts(1, 0)))
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def test_a_retried_bundle_leaves_the_same_bytes(tmp_path: Path):
    undisturbed = write(tmp_path / "once", WriteShard)
    retried = write(tmp_path / "thrice", WriteShardAndFailTwice)
    assert len((tmp_path / "thrice" / "tries").read_text()) == 3
    assert retried == undisturbed
    assert set(undisturbed) == {"x-00000-of-00001.tar", "x-00000-of-00001.parquet"}
