"""Rates and Adam's steps equal fairseq's, and the loss is a mean over tokens however they are divided."""

from typing import Any

import pytest
import torch

from trainer.model import MaskedLanguageModel, Shape
from trainer.optimization import gradient_norm, learning_rate, make_optimizer, set_learning_rate, summed_loss
from trainer.settings import Settings, load_settings


def test_learning_rates_in_compat_mode_equal_those_of_fairseq(fairseq: dict[str, Any]) -> None:
    facts = fairseq["lr"]
    settings = Settings(
        fairseq_compat=True,
        warmup_updates=facts["warmup"],
        peak_learning_rate=facts["peak"],
        updates=facts["total"],
    )
    for update, expected in facts["values"]:
        assert learning_rate(update, settings) == pytest.approx(expected, rel=1e-12)


def test_the_rate_rises_in_a_line_to_its_peak_and_falls_in_a_line_to_zero() -> None:
    settings = load_settings("roberta-base", {})
    assert learning_rate(1, settings) == pytest.approx(6e-4 / 24_000)
    assert learning_rate(12_000, settings) == pytest.approx(3e-4)
    assert learning_rate(24_000, settings) == 6e-4
    assert learning_rate(262_000, settings) == pytest.approx(3e-4)
    assert learning_rate(500_000, settings) == 0.0


def test_adam_steps_equal_those_of_fairseq(fairseq: dict[str, Any]) -> None:
    facts = fairseq["adam"]
    model = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(facts["initial"]))])
    settings = Settings(
        fairseq_compat=True,  # which decays every weight, this vector too
        adam_beta1=facts["betas"][0],
        adam_beta2=facts["betas"][1],
        adam_epsilon=facts["eps"],
        weight_decay=facts["weight_decay"],
    )
    optimizer = make_optimizer(model, settings)
    set_learning_rate(optimizer, facts["lr"])
    for gradient, expected in zip(facts["gradients"], facts["after_each_step"], strict=True):
        model[0].grad = torch.tensor(gradient)
        optimizer.step()
        assert model[0].tolist() == pytest.approx(expected, abs=2e-7)


def test_weight_decay_spares_biases_and_norms_unless_fairseq_is_followed() -> None:
    model = MaskedLanguageModel(Shape(vocabulary_size=20, max_tokens=8, layers=1, hidden=8, heads=2, feed_forward=8))
    decayed, spared = make_optimizer(model, Settings()).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert all(p.ndim == 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])
    (everything,) = make_optimizer(model, Settings(fairseq_compat=True)).param_groups
    assert len(everything["params"]) == len(decayed["params"]) + len(spared["params"])


def test_the_summed_loss_is_in_nats_and_float32() -> None:
    logits = torch.zeros(5, 8, dtype=torch.bfloat16)
    loss = summed_loss(logits, torch.arange(5))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(5 * torch.tensor(8.0).log().item(), rel=1e-5)


def test_clipping_scales_the_gradient_down_to_the_limit_and_reports_its_norm() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert gradient_norm([parameter], clip_norm=0.0).item() == 5.0
    assert parameter.grad.tolist() == [3.0, 4.0]
    assert gradient_norm([parameter], clip_norm=1.0).item() == 5.0
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-4)
