"""The losses, Adam, and the learning rate's course (section 3.1 and Table 9).

In: a model and settings. Out: an optimizer, and the rate of any update. The rule: losses are sums here, so that whoever
adds them up divides once: by all predicted tokens, or all pairs, of a global batch.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.batches import MaskedBatch
from trainer.model import Predictions
from trainer.settings import Settings
from trainer.sharding import total_norm


def learning_rate(update: int, settings: Settings) -> float:
    """The rate of an update, the first being 1: up in a line to the peak, then down in a line to 0.

    fairseq runs update k with the rate of k - 1, so that its first update changes nothing.
    """
    step = update - 1 if settings.fairseq_compat else update
    if step < settings.warmup_updates:
        return settings.peak_learning_rate * step / settings.warmup_updates
    left = settings.updates - step
    return settings.peak_learning_rate * left / (settings.updates - settings.warmup_updates)


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW; weight decay spares biases and layer norms, as BERT's does and fairseq's does not."""
    decayed = [p for p in model.parameters() if p.ndim >= 2 or settings.fairseq_compat]
    spared = [p for p in model.parameters() if not (p.ndim >= 2 or settings.fairseq_compat)]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,  # set anew for each update
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def summed_loss(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the predicted tokens, in float32 whatever the logits are in."""
    return functional.cross_entropy(logits_NV.float(), targets_N, reduction="sum")


SumLosses = Callable[[Predictions, MaskedBatch], Tensor]


def sum_losses(predictions: Predictions, batch: MaskedBatch) -> Tensor:
    """What a batch adds to the means of its update or evaluation, float32 [3].

    Summed cross-entropy in nats of the predicted tokens, and of whether second segments follow; and how many of the
    latter were told right. The last two are 0 where there are no pairs.
    """
    tokens = summed_loss(predictions.tokens_NV, batch.targets)
    if predictions.follows_BC is None or batch.follows is None:
        return torch.stack((tokens, torch.zeros_like(tokens), torch.zeros_like(tokens)))
    right = torch.sum(predictions.follows_BC.argmax(1) == batch.follows)
    return torch.stack((tokens, summed_loss(predictions.follows_BC, batch.follows), right.float()))


def gradient_norm(parameters: Iterable[nn.Parameter], *, clip_norm: float) -> Tensor:
    """The norm of the whole gradient, which is then scaled down to `clip_norm` where that is above 0."""
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = total_norm([p.grad for p in parameters if p.grad is not None])
    if clip_norm > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm
