"""Weights over ranks: a copy on each (ddp), or a part on each (fsdp), which is what larger models need.

In: a model on its device. Out: the same model, its gradients averaged over ranks. The rule: which of the two it is
changes neither what is computed nor what a checkpoint holds.

With fsdp (FSDP2, arXiv 2304.11277) a layer's weights are gathered when it computes and let go of after it: between
two, weights and Adam's moments take 12 bytes a parameter divided by the number of ranks. Gradients are summed on each
rank until the last micro-batch, as with ddp, which takes 4 whole bytes a parameter and saves the network's time.
Weights travel in float32, so that numbers are those of ddp.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.model import MaskedLanguageModel
from trainer.parallel import Ranks, wrap_model

DDP, FSDP = "ddp", "fsdp"


def spread_model(model: MaskedLanguageModel, ranks: Ranks, *, sharding: str) -> nn.Module:
    """What an update calls; with fsdp it is the model itself, whose parameters are others afterwards."""
    if sharding == DDP or ranks.n_ranks == 1:
        return wrap_model(model, ranks)
    mesh = init_device_mesh(ranks.device.type, (ranks.n_ranks,))
    for layer in model.encoder.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


@contextmanager
def weights_in_place(model: nn.Module) -> Iterator[None]:
    """Every weight on every rank meanwhile, so that ranks may make different numbers of forward passes."""
    sharded = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in sharded:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()
            # The root's are used last in a forward pass and first in a backward pass.
            module.set_reshard_after_forward(module is not model, recurse=False)


def is_sharded(model: nn.Module) -> bool:
    """Whether each rank holds only a part of the weights."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """A tensor's parts gathered from all ranks, which all call this at once; another tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def total_norm(gradients: list[Tensor]) -> Tensor:
    """The norm of all gradients together, of which each rank may hold a part."""
    parts = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
    norm = nn.utils.get_total_norm(parts)
    if not gradients or not isinstance(gradients[0], DTensor):
        return norm
    squares = norm.square()
    distributed.all_reduce(squares, group=gradients[0].device_mesh.get_group())
    return squares.sqrt()


def laid_out_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """This rank's part of a whole tensor that every rank holds; the whole one where the pattern is whole."""
    if not isinstance(pattern, DTensor):
        return tensor
    # Each rank has read the same file, so nothing needs to travel.
    return distribute_tensor(tensor.to(pattern.device), pattern.device_mesh, pattern.placements, src_data_rank=None)
