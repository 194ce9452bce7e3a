"""Ranks and devices: who this process is, where it computes, and how ranks agree.

In: what torchrun says in the environment, or nothing. Out: `Ranks`, chosen once at the top of a command, and sums over
all ranks. The rule: whatever ranks must agree on is a sum that every rank gets, so no rank decides alone.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from types import FrameType
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

_TIMEOUT = timedelta(minutes=30)  # rank 0 may be writing a large checkpoint meanwhile


class Ranks(NamedTuple):
    """This process among those of the run."""

    rank: int
    n_ranks: int
    device: torch.device

    @property
    def speaks(self) -> bool:
        """Only rank 0 writes to the terminal and to the run's folder."""
        return self.rank == 0


class RankError(Exception):
    """Another rank is gone; what happened to it is in its own last line."""


class StopRequest:
    """Whether somebody asked this process to stop: by SIGTERM, or by Ctrl-C."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Takes note of the first signal; a second Ctrl-C interrupts as usual."""
        previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)


def rank_of_environment() -> int:
    """This process's rank, before anything is started."""
    return int(os.environ.get("RANK", "0"))


def start_ranks(device: str) -> Ranks:
    """Joins the other ranks where torchrun started some; ValueError where there is no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU here; use --device cpu, or auto")
    kind = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    n_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)
    if place.type == "cuda":
        torch.cuda.set_device(place)
        torch.set_float32_matmul_precision("high")  # products of float32 by TF32, an order of magnitude faster
    if n_ranks > 1:
        # Counts and signals travel between processors by gloo, gradients between GPUs by nccl.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=_TIMEOUT)
    return Ranks(rank_of_environment(), n_ranks, place)


def stop_ranks(ranks: Ranks) -> None:
    """Waits for the others, so that none is ended while it still writes, and leaves."""
    if ranks.n_ranks > 1:
        sum_over_ranks([0], ranks)
        distributed.destroy_process_group()


def leave_process(code: int) -> NoReturn:
    """Ends this process with an exit code; at once where there are other ranks, after a last flush.

    A sharded model keeps gloo's threads alive, and one that lets go of a tensor while the interpreter is being taken
    down aborts the process: a run that is done would now and then be reported as failed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def sum_over_ranks(counts: list[int], ranks: Ranks) -> list[int]:
    """Each count added up over all ranks, exactly; on the processors, so that no GPU is waited for."""
    if ranks.n_ranks == 1:
        return counts
    total = torch.tensor(counts, dtype=torch.int64)
    try:
        distributed.all_reduce(total)
    except RuntimeError as error:  # gloo's word for a closed connection
        raise RankError("lost contact with another rank; its own message says why") from error
    summed: list[int] = total.tolist()
    return summed


def all_agree(number: int, ranks: Ranks) -> bool:
    """Whether every rank holds the same number, such as a hash of what it read; below 2^31."""
    total, squares = sum_over_ranks([number, number * number >> 32], ranks)
    return total == number * ranks.n_ranks and squares == (number * number >> 32) * ranks.n_ranks


def add_over_ranks(values: Tensor, ranks: Ranks) -> Tensor:
    """The same for a tensor where it lies."""
    if ranks.n_ranks > 1:
        distributed.all_reduce(values)
    return values


def wrap_model(model: nn.Module, ranks: Ranks) -> nn.Module:
    """The model with its gradients averaged over ranks after each backward pass that is not `without_sync`."""
    if ranks.n_ranks == 1:
        return model
    device_ids = [ranks.device.index] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=device_ids, gradient_as_bucket_view=True)


def without_sync(model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Keeps gradients on their rank until the last micro-batch of an update."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """What matrix products compute in: bfloat16 where the GPU has it, unless told; float32 on processors.

    ValueError for float16 on a processor.
    """
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    if precision == "float16" and device.type != "cuda":
        raise ValueError("--precision float16 needs a GPU; on processors use --precision bfloat16, float32, or auto")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to this type; weights, gradients and sums stay in float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
