"""Measures reading + packing + masking, in million tokens per second and core; the floor is 20 for each input format.

    python tests/benchmarks/bench_trainer_data.py [--data OUT] [--formats full-sentences …]

Random shards with sentences of 24 tokens on average, or the shards of OUT. One thread does everything that a rank's
loader does, block checksums and digests of the batches included. Times are the processor's, so that a busy machine
does not count; of three epochs the fastest is taken.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from random_shards import Shape, make_run

from trainer.plan import BatchSize, Order, masking_rules, packing_rules
from trainer.settings import FORMATS, Settings
from trainer.sources import Source, open_runs, vocabulary_of
from trainer.streaming import BatchStream

FLOOR = 20.0
N_TOKENS = 24_000_000
N_EPOCHS = 3
MICRO_BATCH = 32
VOCABULARY = 50_265


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a finished run of shards to measure on (default: random ones)")
    parser.add_argument("--sentence-tokens", type=float, default=24.0, help="mean of the random ones (default 24)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, help="(default: all four)")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each measurement")
    flags = parser.parse_args()
    slow = 0
    with tempfile.TemporaryDirectory() as folder:
        data = flags.data or make_run(Path(folder) / "random", Shape(N_TOKENS, 4, 0, VOCABULARY, flags.sentence_tokens))
        for name in flags.formats:
            result = measure(data, name)
            slow += result["speed"] < FLOOR
            if flags.json:
                print(json.dumps({"format": name, **result}))
            else:
                print(
                    f"{name}: {result['speed']:.1f} M tokens/s/core, fill rate {result['fill']:.3f}, "
                    f"{result['documents']:.2f} documents a block, floor {FLOOR}",
                    flush=True,
                )
    return min(slow, 1)


def measure(data: Path, name: str) -> dict[str, float]:
    """M tokens/s, the share of a block that is text, and documents in a block."""
    runs = open_runs([data])
    pair = name.endswith("-pair")
    settings = Settings(input_format=name, batch_tokens=0 if name in ("full-sentences", "segment-pair") else 256 * 512)
    order = Order(Source(runs, split="train"), packing_rules(settings))
    masking = masking_rules(settings, vocabulary_size=vocabulary_of(runs).size)
    batch = BatchSize(256, settings.batch_tokens)
    stream = BatchStream(order, masking, batch=batch, micro_batch=MICRO_BATCH, rank=0, n_ranks=1)
    n_tokens = order.source.n_tokens if not pair else order.source.n_tokens // 2
    best, n_sequences, n_documents, total = 0.0, 0, 0, 0
    for _ in range(N_EPOCHS):
        done, started = 0, time.process_time()
        while done < n_tokens:
            made = next(stream)
            done += made.n_tokens
            n_sequences += made.n_sequences
            n_documents += made.n_documents
        best = max(best, done / (time.process_time() - started) / 1e6)
        total += done
    return {
        "speed": round(best, 1),
        "fill": round(total / n_sequences / settings.block_tokens, 4),
        "documents": round(n_documents / n_sequences, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
