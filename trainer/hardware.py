"""What a GPU could do at most, and the share of it that training uses.

In: tokens per second. Out: MFU, model FLOP utilisation as PaLM (arXiv 2204.02311, appendix B) defines it. The rule:

    MFU = tokens per second x FLOP per token / (ranks x peak FLOP per second of one GPU)

where the FLOP are those of `trainer.model.flop_per_token`, padding is not counted as tokens, and the peak is that of
dense bfloat16 without sparsity, in whatever precision the run computes.
"""

from typing import NamedTuple

import torch

from trainer.model import MaskedLanguageModel, flop_per_token
from trainer.parallel import Ranks
from trainer.settings import Settings

# TFLOP/s of dense bfloat16 (float16 where there is none), from the vendor's data sheets. The first name that is part
# of the GPU's counts: of two versions of a card the one with the longer name comes first.
PEAK_TFLOPS = {
    "B200": 2250.0,
    "B100": 1800.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H800": 989.0,
    "H20": 148.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 150.0,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "RTX 5090": 209.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
    "V100": 125.0,
    "T4": 65.0,
}


class Efficiency(NamedTuple):
    """What tokens per second are measured against."""

    flop_per_token: float
    peak_flops: float  # of all ranks together; 0 where it is not known

    def mfu(self, tokens_per_s: float) -> float | None:
        """The share of the peak that is used, None where that is not known."""
        return tokens_per_s * self.flop_per_token / self.peak_flops if self.peak_flops else None


UNKNOWN = Efficiency(0.0, 0.0)


def peak_tflops(device_name: str) -> float:
    """Peak of one GPU of this name in TFLOP/s; 0 where the name is not known."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in device_name), 0.0)


def measure_against(model: MaskedLanguageModel, settings: Settings, ranks: Ranks) -> Efficiency:
    """The efficiency of this run: with `peak_tflops` as set, else by the GPU's name."""
    on_gpu = ranks.device.type == "cuda"
    peak = settings.peak_tflops or (peak_tflops(torch.cuda.get_device_name(ranks.device)) if on_gpu else 0.0)
    flop = flop_per_token(model.shape, block_tokens=settings.block_tokens, mask_fraction=settings.mask_fraction)
    return Efficiency(flop, ranks.n_ranks * peak * 1e12)
