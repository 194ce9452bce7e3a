"""Measures reading + packing + masking, in million tokens per second and core; the floor is 15.

    python tests/benchmarks/bench_trainer_data.py [--data OUT]

Random shards with sentences of 24 and of 12 tokens on average, or the shards of OUT. One thread does everything that a
rank's loader does, block checksums and digests of the batches included; the parts are then timed on their own. Times
are the processor's, so that a busy machine does not count.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from random_shards import Shape, make_run

from trainer.masking import MaskingRules, mask_blocks
from trainer.plan import Order, PackingRules, SampleId
from trainer.sources import Source, open_runs, vocabulary_of
from trainer.streaming import BatchStream

FLOOR = 15.0
N_TOKENS = 24_000_000
MICRO_BATCH = 32
VOCABULARY = 50_265


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a finished run of shards to measure on (default: random ones)")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each measurement")
    flags = parser.parse_args()
    speeds = []
    with tempfile.TemporaryDirectory() as folder:
        for name, data in _data(flags.data, Path(folder)):
            result = measure(data)
            speeds.append(result["all"])
            if flags.json:
                print(json.dumps({"data": name, **result}))
            else:
                print(f"{name}: " + "  ".join(f"{part} {speed:.1f}" for part, speed in result.items()))
    print(f"reading + packing + masking: {min(speeds):.1f} M tokens/s/core, floor {FLOOR}")
    return 0 if min(speeds) >= FLOOR else 1


def _data(given: Path | None, folder: Path) -> list[tuple[str, Path]]:
    if given is not None:
        return [(str(given), given)]
    shapes = {f"sentences of {mean}": Shape(N_TOKENS, 4, 0, VOCABULARY, mean) for mean in (24, 12)}
    return [(name, make_run(folder / name.replace(" ", "-"), shape)) for name, shape in shapes.items()]


def measure(data: Path) -> dict[str, float]:
    """M tokens/s of everything, and of each part alone."""
    runs = open_runs([data])
    masking = MaskingRules(vocabulary_size=vocabulary_of(runs).size)
    n_tokens = Source(runs, split="train").n_tokens
    order = Order(Source(runs, split="train"), PackingRules())

    n_masked, seconds_masking = 0, 0.0

    def pack() -> None:
        for window in range(order.n_windows(0)):
            order.window(1, window)

    def gather_and_mask() -> None:
        packed = Order(order.source, PackingRules())
        n_samples = packed.epoch_samples(0)
        nonlocal n_masked, seconds_masking
        runs_of, _ = packed.take(SampleId(0, 0, 0), n_samples)
        for run in runs_of:
            for first in range(0, run.n_samples - MICRO_BATCH, MICRO_BATCH):
                blocks = packed.gather(run._replace(first=first, n_samples=MICRO_BATCH))
                started = time.process_time()
                mask_blocks(blocks, epoch=0, window=run.window, first_sample=first, rules=masking)
                seconds_masking += time.process_time() - started
                n_masked += int(blocks.n_tokens.sum())

    speeds = {
        "all": stream_speed(order, masking, n_tokens),
        "reading": n_tokens / _time(lambda: [order.source.read(k) for k in range(len(order.source))]) / 1e6,
        "reading+packing": n_tokens / _time(pack) / 1e6,
    }
    gather_and_mask()
    speeds["masking"] = n_masked / seconds_masking / 1e6
    return {part: round(speed, 1) for part, speed in speeds.items()}


def stream_speed(order: Order, masking: MaskingRules, n_tokens: int) -> float:
    """What a rank's loader does for an epoch, as it does it."""
    stream = BatchStream(order, masking, batch_sequences=256, micro_batch=MICRO_BATCH, rank=0, n_ranks=1)
    done, started = 0, time.process_time()
    while done < n_tokens:
        done += next(stream).n_tokens
    return done / (time.process_time() - started) / 1e6


def _time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
