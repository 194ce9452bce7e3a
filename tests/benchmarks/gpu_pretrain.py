"""Measures pretraining: tokens per second, and the share of the GPU's arithmetic that it uses (MFU).

    python tests/benchmarks/gpu_pretrain.py --shape base --micro-batch 64 --compile
    torchrun --nproc-per-node=8 tests/benchmarks/gpu_pretrain.py --shape large --sharding fsdp
    python tests/benchmarks/gpu_pretrain.py --shape large --profile 1 --output profiles   # where the time goes

Needs torch, numpy and this checkout, nothing else: random shards are made in a temporary folder, and the updates are
those of `pretrain.py`, batches made ahead in a thread included.

MFU is that of `trainer.hardware`: a token's training costs, forward and backward, 6 x (weights of the layers' matrix
products) + 12 x layers x hidden x 512 for attention + 6 x 0.15 x (weights of the head): 0.6015 GFLOP for base and
2.010 GFLOP for large. Padding is not counted as tokens. Peak is that of dense bf16.
"""

import argparse
import os
import sys
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]
try:
    import google_crc32c  # noqa: F401 - only to see whether it is there
except ImportError:
    # Shards are written and read by this process alone, so any checksum will do.
    stand_in = ModuleType("google_crc32c")
    stand_in.extend = lambda value, data: zlib.crc32(data, value)  # type: ignore[attr-defined]
    sys.modules["google_crc32c"] = stand_in

import torch  # noqa: E402 - after the path is set
from random_shards import Shape, make_run  # noqa: E402

from trainer.compilation import compile_layers, compile_losses  # noqa: E402
from trainer.hardware import measure_against  # noqa: E402
from trainer.loss_scale import UNSCALED, next_scale, scale_for  # noqa: E402
from trainer.model import count_parameters, make_model  # noqa: E402
from trainer.optimization import SumLosses, make_optimizer, sum_losses  # noqa: E402
from trainer.parallel import StopRequest, choose_precision, leave_process, start_ranks, stop_ranks  # noqa: E402
from trainer.plan import BatchSize, Order, masking_rules, packing_rules  # noqa: E402
from trainer.profiling import WARM_UP, UpdateProfile  # noqa: E402
from trainer.settings import Settings, load_settings  # noqa: E402
from trainer.sharding import spread_model  # noqa: E402
from trainer.sources import Source, open_runs  # noqa: E402
from trainer.streaming import BatchStream, Prefetched  # noqa: E402
from trainer.updates import Learner, run_update  # noqa: E402

VOCABULARY = 50_265


def main() -> int:
    flags = parse()
    ranks = start_ranks(flags.device)
    settings = make_settings(flags, n_ranks=ranks.n_ranks)
    # Every rank makes the same shards, each in a folder of its own.
    with tempfile.TemporaryDirectory() as folder:
        shape = Shape(flags.tokens, 2, 0, VOCABULARY if flags.shape != "tiny" else 4096)
        order = Order(
            Source(open_runs([make_run(Path(folder) / "data", shape)]), split="train"), packing_rules(settings)
        )
        masking = masking_rules(settings, vocabulary_size=shape.vocabulary_size)
        batches = Prefetched(
            BatchStream(
                order,
                masking,
                batch=BatchSize(settings.batch_sequences),
                micro_batch=settings.micro_batch,
                rank=ranks.rank,
                n_ranks=ranks.n_ranks,
            )
        )
        model = make_model(settings, vocabulary_size=shape.vocabulary_size).to(ranks.device).train()
        dtype = choose_precision(settings.precision, ranks.device)
        losses: SumLosses = sum_losses
        if settings.compile:
            compile_layers(model, ranks.device)
            losses = compile_losses(ranks.device)
        averaged = spread_model(model, ranks, sharding=settings.sharding)
        learner = Learner(settings, ranks, dtype, model, averaged, make_optimizer(model, settings), losses)
        speed, loss = measure(learner, batches, warm_up=flags.warm_up, updates=flags.updates)
        if settings.profile:
            run_profiled(learner, batches, flags.output, speaks=ranks.speaks)
        batches.close()
    if ranks.speaks:
        report(learner, speed, loss)
    stop_ranks(ranks)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("base", "large", "tiny"), default="base")
    parser.add_argument("--micro-batch", type=int, default=0, help="sequences per pass (default: the recipe's)")
    parser.add_argument("--accumulate", type=int, default=8, help="passes per update and rank (default 8)")
    parser.add_argument("--updates", type=int, default=10, help="updates to measure (default 10)")
    parser.add_argument("--warm-up", type=int, default=3, help="updates before that (default 3)")
    parser.add_argument("--tokens", type=int, default=20_000_000, help="tokens of the random shards (default 20 M)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--sharding", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--compile", action="store_true", help="compile each layer")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="of one GPU (default: by its name)")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="updates to profile after measuring")
    parser.add_argument("--output", type=Path, default=Path(), help="where profile/ is written (default: here)")
    return parser.parse_args()


def make_settings(flags: argparse.Namespace, *, n_ranks: int) -> Settings:
    settings = load_settings("tiny" if flags.shape == "tiny" else f"roberta-{flags.shape}", {})
    micro_batch = flags.micro_batch or settings.micro_batch
    return replace(
        settings,
        micro_batch=micro_batch,
        batch_sequences=micro_batch * flags.accumulate * n_ranks,
        precision=flags.precision,
        sharding=flags.sharding,
        compile=flags.compile,
        peak_tflops=flags.peak_tflops,
        profile=flags.profile,
    )


def measure(learner: Learner, batches: Prefetched, *, warm_up: int, updates: int) -> tuple[float, float]:
    """Tokens per second over all ranks, and the last loss."""
    stop, n_tokens, started, loss, scaling = StopRequest(), 0, 0.0, 0.0, scale_for(learner.dtype, UNSCALED)
    for update in range(1, 1 + warm_up + updates):
        if update == warm_up + 1:
            started, n_tokens = time.monotonic(), 0
        report = run_update(learner, next(batches), update, stop=stop, started=time.monotonic(), scaling=scaling)
        assert report is not None, "nobody asks a benchmark to stop"
        scaling = next_scale(scaling, overflowed=not report.applied)
        # The report holds the loss's value, so the GPU has finished the update.
        n_tokens, loss = n_tokens + report.n_tokens, report.loss
    return n_tokens / (time.monotonic() - started), loss


def run_profiled(learner: Learner, batches: Prefetched, folder: Path, *, speaks: bool) -> None:
    """Some more updates, with the profiler of `pretrain.py --profile`."""
    n = learner.settings.profile
    with UpdateProfile(folder, updates=n if speaks else 0, device=learner.ranks.device, say=print) as profile:
        for update in range(1, 1 + WARM_UP + n):
            run_update(learner, next(batches), update, stop=StopRequest(), started=0.0)
            profile.step()


def report(learner: Learner, speed: float, loss: float) -> None:
    settings, ranks = learner.settings, learner.ranks
    name = torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else "cpu"
    efficiency = measure_against(learner.model, settings, ranks)
    mfu = efficiency.mfu(speed)
    print(
        f"{count_parameters(learner.model):,} parameters on {ranks.n_ranks} x {name} in {learner.dtype}, "
        f"micro-batch {settings.micro_batch} x {settings.block_tokens}, {settings.batch_sequences} sequences per "
        f"update, {settings.sharding}{', compiled' if settings.compile else ''}, loss {loss:.3f}"
    )
    gflop = efficiency.flop_per_token / 1e9
    print(f"tokens/s {speed:,.0f}, per rank {speed / ranks.n_ranks:,.0f}; {gflop:.4f} GFLOP per token")
    if mfu is None:
        print("MFU unknown: give --peak-tflops")
    else:
        print(f"MFU {100 * mfu:.1f} % of {efficiency.peak_flops / ranks.n_ranks / 1e12:.0f} TFLOP/s a GPU")
    if ranks.device.type == "cuda":
        print(f"GPU memory {torch.cuda.max_memory_allocated(ranks.device) / 2**30:.1f} GiB")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    leave_process(main())
