"""Runs of tokens that see each other are what the mask says, and fast kernels give what the plain ones give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.attention import Visible, attend, find_borders, find_visible, project, project_rounded

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6))
@settings(deadline=None)
def test_within_borders_tokens_see_the_tokens_of_their_row_and_padding_sees_only_itself(lengths: list[int]) -> None:
    attention_BT = torch.arange(8) < torch.tensor(lengths)[:, None]
    borders = find_borders(attention_BT)
    assert borders.dtype == torch.int32
    assert borders.numel() == 2 * len(lengths) + 1
    assert (borders[0], borders[-1]) == (0, attention_BT.numel())
    assert (borders.diff() >= 0).all()
    run = torch.bucketize(torch.arange(attention_BT.numel()), borders, right=True)
    row = torch.arange(len(lengths)).repeat_interleave(8)
    kind = attention_BT.flatten()
    expected = (row[:, None] == row) & (kind[:, None] == kind)
    assert torch.equal(run[:, None] == run, expected)


def test_where_there_is_no_padding_nothing_is_masked() -> None:
    assert find_visible(None, head_size=8) is None


def test_a_token_s_mix_does_not_depend_on_padding() -> None:
    torch.manual_seed(0)
    full = torch.randn(2, 8, 3 * 16)
    attention = torch.tensor([[True] * 5 + [False] * 3, [True] * 8])
    mixed = attend(full, find_visible(attention, head_size=8), heads=2, dropout=0.0)
    alone = attend(full[:1, :5], None, heads=2, dropout=0.0)
    assert mixed[:1, :5].allclose(alone, atol=1e-6)


def test_logits_and_gradients_are_those_of_the_vocabulary_without_its_spare_rows() -> None:
    torch.manual_seed(0)
    hidden, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((5, 8), (50, 8), (50,)))
    results = []
    for logits in (functional.linear(hidden, weight, bias), project_rounded(hidden, weight, bias, spare=14)):
        assert logits.shape == (5, 50)
        results.append((logits, *torch.autograd.grad(logits.square().sum(), (hidden, weight, bias))))
    for plain, rounded in zip(*results, strict=True):
        assert rounded.allclose(plain, rtol=1e-5)
    assert torch.equal(project(hidden, weight, bias), results[0][0])


@on_gpu
def test_on_a_gpu_borders_give_the_mix_and_the_gradients_of_the_mask() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([500, 512, 1, 37], device="cuda")
    attention_BT = torch.arange(512, device="cuda") < lengths[:, None]
    input_BTD = torch.randn(4, 512, 3 * 128, device="cuda", dtype=torch.bfloat16)
    weight_BTD = torch.randn(4, 512, 128, device="cuda") * attention_BT[..., None]  # padding's output is never used
    with torch.autocast("cuda", dtype=torch.bfloat16):
        fast = find_visible(attention_BT, head_size=64)
    assert fast is not None
    assert fast.borders is not None
    results = []
    for visible, dtype in ((fast, torch.bfloat16), (Visible(attention_BT[:, None, None, :], None), torch.float32)):
        leaf = input_BTD.to(dtype).requires_grad_()
        mixed = attend(leaf, visible, heads=2, dropout=0.0).float()
        (gradient,) = torch.autograd.grad((mixed * weight_BTD).sum(), leaf)
        results.append(((mixed * attention_BT[..., None]), gradient.float()))
    for ours, exact in zip(*results, strict=True):
        assert ours.isfinite().all()
        assert (ours - exact).norm() < 0.02 * exact.norm()


@on_gpu
def test_on_a_gpu_dropout_within_borders_follows_the_seed_and_keeps_the_mean() -> None:
    attention_BT = torch.arange(64, device="cuda") < torch.full((64, 1), 60, device="cuda")
    ones_BTD = torch.ones(64, 64, 3 * 128, device="cuda", dtype=torch.bfloat16)
    visible = Visible(None, find_borders(attention_BT))
    mixes = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        mixes.append(attend(ones_BTD, visible, heads=2, dropout=0.1))
    assert torch.equal(mixes[0], mixes[1])
    assert not torch.equal(mixes[0], mixes[2])
    assert mixes[0].float().mean().item() == pytest.approx(1.0, abs=0.01)
