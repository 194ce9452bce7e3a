"""Compiled layers: torch.compile joins what lies between matrix products into few kernels.

In: a model. Out: the same model, whose layers run compiled. The rule: names, weights and mathematics stay; sums may be
rounded otherwise, and dropout draws other numbers, so losses agree with those of other runs in distribution only.

Layers are compiled one by one, all from the same code: once for all of them, in seconds rather than minutes, and
sharding and gradient averaging work between them as they do without.
"""

import os
import shutil

import torch
from torch import nn

from trainer.model import MaskedLanguageModel
from trainer.optimization import SumLosses, sum_losses


def compile_layers(model: MaskedLanguageModel, device: torch.device) -> None:
    """Compiles each layer at its first call; ValueError where this machine lacks what that needs."""
    require_compiler(device)
    # Cutting graphs at the borders of DDP's buckets is for whole models; a layer's gradients are ready at once.
    torch._dynamo.config.optimize_ddp = False
    for layer in model.encoder.layers:
        assert isinstance(layer, nn.Module)
        layer.compile()


def compile_losses(device: torch.device) -> SumLosses:
    """The losses, compiled on GPUs: there logits are read and written once, not once for each step of a softmax."""
    if device.type != "cuda":
        return sum_losses
    compiled: SumLosses = torch.compile(sum_losses)
    return compiled


def require_compiler(device: torch.device) -> None:
    """ValueError where no C++ compiler is found, for processors, or no C compiler, for GPUs."""
    # On GPUs Triton builds the code that launches its kernels. What is tried is what torch and Triton try.
    language, variable, known = ("C", "CC", "gcc clang") if device.type == "cuda" else ("C++", "CXX", "g++")
    wanted = os.environ.get(variable, known).split()
    if not any(shutil.which(name) for name in wanted):
        raise ValueError(
            f"--compile needs a {language} compiler and finds no {' or '.join(wanted)}: install one, name it in the "
            f"environment as {variable}, or leave --compile out"
        )
