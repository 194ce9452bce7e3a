"""Rules of updates: learning rates, Adam, and what a loss is the mean of (sections 3.1 and 5, Table 9)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainer.conformance_batches import VOCABULARY_SIZE, draw_documents, read_batches
from trainer.conformance_rules import NO_FACTS, Inputs, Outcome, Rule, judge, judge_deviation, unchecked
from trainer.model import MaskedLanguageModel, Shape, make_model
from trainer.optimization import gradient_norm, learning_rate, make_optimizer, set_learning_rate, summed_loss
from trainer.parallel import Ranks, StopRequest
from trainer.reporting import perplexity
from trainer.settings import Settings, load_settings
from trainer.streaming import RankBatch
from trainer.updates import Learner, accumulate_gradients

_CPU = torch.device("cpu")


# Sentences of a third of a block and of nearly all of it, so that sequences differ in length, and with them ranks.
_UNEVEN = [*draw_documents(6, sentences=1, tokens=22), *draw_documents(4, sentences=3, tokens=60, seed=1)]


class Mean(NamedTuple):
    """What a global batch gives."""

    loss: float
    gradient: Tensor  # of all parameters, one after the other
    n_masked: tuple[int, ...]  # by rank


def _check_course(inputs: Inputs) -> Outcome:
    settings = replace(load_settings("roberta-base", {}), fairseq_compat=inputs.fairseq_compat)
    shift = 1 if inputs.fairseq_compat else 0
    at = {12_000: 3e-4, 24_000: 6e-4, 262_000: 3e-4, 500_000: 0.0}  # rise, peak, fall, end
    found = [learning_rate(update + shift, settings) for update in at]
    holds = all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15) for a, b in zip(found, at.values(), strict=True))
    return judge(
        holds, f"BASE: {', '.join(f'{rate:.1e} at {update:,}' for update, rate in zip(at, found, strict=True))}"
    )


def _check_first_rate(inputs: Inputs) -> Outcome:
    settings = replace(load_settings("roberta-base", {}), fairseq_compat=inputs.fairseq_compat)
    first = learning_rate(1, settings)
    return judge_deviation(
        inputs,
        holds=first == 0.0,
        deviates=math.isclose(first, 6e-4 / 24_000),
        reason="update k runs at the rate of k, so that the first one teaches too and the last one is at 0",
        detail=f"the first update is at {first:.2e}",
    )


def _check_rates(inputs: Inputs) -> Outcome:
    facts = inputs.facts.rates
    if facts is None:
        return unchecked(NO_FACTS)
    settings = Settings(
        fairseq_compat=inputs.fairseq_compat,
        warmup_updates=facts.warmup,
        peak_learning_rate=facts.peak,
        updates=facts.total,
    )
    # By default update k runs at the rate that fairseq gives to k + 1; its last update has none.
    shift = 0 if inputs.fairseq_compat else 1
    compared = [(update - shift, rate) for update, rate in facts.values if update > shift]
    wrong = [k for k, rate in compared if not math.isclose(learning_rate(k, settings), rate, rel_tol=1e-9)]
    shifted = "" if inputs.fairseq_compat else ", an update earlier"
    return judge(not wrong and bool(compared), f"wrong at {wrong}" if wrong else f"{len(compared)} rates{shifted}")


def _check_adam(inputs: Inputs) -> Outcome:
    facts = inputs.facts.adam
    if facts is None:
        return unchecked(NO_FACTS)
    settings = Settings(
        fairseq_compat=True,  # which decays every weight, this vector too
        adam_beta1=facts.betas[0],
        adam_beta2=facts.betas[1],
        adam_epsilon=facts.eps,
        weight_decay=facts.weight_decay,
    )
    weights = nn.ParameterList([nn.Parameter(torch.tensor(facts.initial))])
    optimizer = make_optimizer(weights, settings)
    set_learning_rate(optimizer, facts.lr)
    error = 0.0
    for gradient, expected in zip(facts.gradients, facts.after_each_step, strict=True):
        weights[0].grad = torch.tensor(gradient)
        optimizer.step()
        error = max(error, (weights[0].detach() - torch.tensor(expected)).abs().max().item())
    return judge(error < 2e-7, f"{len(facts.gradients)} steps, differing by {error:.1e} at most")


def _check_decay(inputs: Inputs) -> Outcome:
    model = MaskedLanguageModel(Shape(vocabulary_size=20, max_tokens=8, layers=1, hidden=8, heads=2, feed_forward=8))
    optimizer = make_optimizer(model, replace(load_settings("roberta-base", {}), fairseq_compat=inputs.fairseq_compat))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    vectors = {decay[id(p)] for p in model.parameters() if p.ndim == 1}
    matrices = {decay[id(p)] for p in model.parameters() if p.ndim == 2}
    return judge_deviation(
        inputs,
        holds=vectors == matrices == {0.01},
        deviates=matrices == {0.01} and vectors == {0.0},
        reason="biases and layer norms are spared, as in BERT: decay has no meaning for them",
        detail=f"matrices {matrices}, biases and norms {vectors}",
    )


def _check_clipping(_: Inputs) -> Outcome:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3e4, 4e4])
    norm = gradient_norm([parameter], clip_norm=load_settings("roberta-base", {}).clip_norm)
    return judge(norm.item() == 5e4 and parameter.grad.tolist() == [3e4, 4e4], "a gradient of norm 50,000 stays")


def _check_loss(_: Inputs) -> Outcome:
    loss = summed_loss(torch.zeros(5, 8, dtype=torch.bfloat16), torch.arange(5))
    holds = loss.dtype == torch.float32 and math.isclose(loss.item(), 5 * math.log(8), rel_tol=1e-6)
    return judge(holds, f"{loss.dtype}, {loss.item() / 5:.4f} nats for one of 8 at random")


def _check_perplexity(_: Inputs) -> Outcome:
    found = perplexity(math.log(8))
    return judge(math.isclose(found, 8.0), f"{found:.4f} for a loss of ln 8 nats")


def _check_normalisation(inputs: Inputs) -> Outcome:
    whole = _mean_over(inputs, micro_batch=8, n_ranks=1)
    found = {
        "micro-batches of 2": _mean_over(inputs, micro_batch=2, n_ranks=1),
        "two ranks": _mean_over(inputs, micro_batch=4, n_ranks=2),
        "two ranks, micro-batches of 1": _mean_over(inputs, micro_batch=1, n_ranks=2),
    }
    scale = whole.gradient.abs().max()
    errors = {name: ((mean.gradient - whole.gradient).abs().max() / scale).item() for name, mean in found.items()}
    wrong = [name for name, mean in found.items() if not math.isclose(mean.loss, whole.loss, rel_tol=1e-5)]
    wrong += [name for name, error in errors.items() if error > 1e-4]
    uneven = found["two ranks"].n_masked
    detail = (
        f"wrong: {wrong}" if wrong else f"the same gradient within {max(errors.values()):.0e}; ranks predict {uneven}"
    )
    return judge(not wrong and len(set(uneven)) > 1, detail)


def _mean_over(inputs: Inputs, *, micro_batch: int, n_ranks: int) -> Mean:
    """Loss and gradient of one global batch, computed rank by rank and averaged as ranks do."""
    settings = Settings(
        layers=1,
        hidden=32,
        heads=2,
        feed_forward=64,
        dropout=0.0,
        attention_dropout=0.0,
        block_tokens=64,
        batch_sequences=8,
        micro_batch=micro_batch,
        updates=10,
        warmup_updates=1,
        fairseq_compat=inputs.fairseq_compat,
    )
    shares = [read_batches(_UNEVEN, settings, rank=rank, n_ranks=n_ranks).batches[0] for rank in range(n_ranks)]
    model = make_model(settings, vocabulary_size=VOCABULARY_SIZE)
    loss = _accumulate(settings, model, shares)
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]) / n_ranks
    return Mean(loss, gradient, tuple(share.n_masked for share in shares))


def _accumulate(settings: Settings, model: MaskedLanguageModel, shares: Sequence[RankBatch]) -> float:
    """Adds up the gradients of all ranks in the model; the mean loss."""
    # What means are over: predicted tokens, and where pairs are read sequences too.
    counts: dict[str, Any] = {
        name: sum(getattr(share, name) for share in shares)
        for name in ("n_masked", "n_sequences")
        if name in RankBatch._fields
    }
    loss = 0.0
    for rank, share in enumerate(shares):
        ranks = Ranks(rank, len(shares), _CPU)
        learner = Learner(settings, ranks, torch.float32, model, model, make_optimizer(model, settings))
        part = accumulate_gradients(learner, share, 1, stop=StopRequest(), **counts)
        assert part is not None, "nobody asks to stop"
        loss += part.flatten()[0].item()
    return loss


RULES = (
    Rule("rate-course", "the rate rises in a line to its peak, then falls in a line to 0", "Table 9", _check_course),
    Rule("rate-first", "update k runs at the rate of k - 1, the first one at 0", "fairseq", _check_first_rate),
    Rule("rates", "rates are fairseq's", "fairseq", _check_rates),
    Rule("adam", "Adam's steps are fairseq's", "fairseq", _check_adam),
    Rule("decay", "weight decay is decoupled, and on every parameter", "fairseq", _check_decay),
    Rule("clipping", "gradients are not clipped", "Table 9", _check_clipping),
    Rule("loss", "cross-entropy in nats, summed in float32", "fairseq", _check_loss),
    Rule("perplexity", "perplexity is 2 to the loss in bits, e to the loss in nats", "section 4", _check_perplexity),
    Rule(
        "normalisation",
        "the loss is a mean over the predicted tokens of all ranks and micro-batches",
        "fairseq",
        _check_normalisation,
    ),
)
