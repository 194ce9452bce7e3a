"""Compiled layers compute what plain ones do under the same names, and need a compiler that is named where missing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.compilation import compile_layers
from trainer.model import MaskedLanguageModel, Shape, init_weights

SHAPE = Shape(vocabulary_size=40, max_tokens=16, layers=1, hidden=16, heads=2, feed_forward=32)


def _model() -> MaskedLanguageModel:
    model = MaskedLanguageModel(SHAPE)
    init_weights(model, torch.Generator().manual_seed(0))
    return model.eval()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile with")
def test_compiled_layers_have_the_names_logits_and_gradients_of_plain_ones() -> None:
    plain, compiled = _model(), _model()
    compile_layers(compiled, torch.device("cpu"))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    ids, chosen = torch.arange(4, 36).reshape(2, 16), torch.arange(0, 32, 3)
    attention = torch.arange(16) < torch.tensor([[16], [13]])
    for model in (plain, compiled):
        model(ids, attention, chosen).tokens_NV.logsumexp(-1).sum().backward()
    assert compiled(ids, attention, chosen).tokens_NV.allclose(plain(ids, attention, chosen).tokens_NV, atol=1e-5)
    for (name, ours), theirs in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert ours.grad.allclose(theirs.grad, rtol=1e-3, atol=1e-5), name


def test_without_a_compiler_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, small_data: Path, tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    done = run_here("--data", small_data, "--output", tmp_path / "run", "--compile")
    assert done.returncode == 2
    assert "--compile needs a C++ compiler and finds no no-such-compiler: install one" in done.stderr
    assert done.stderr.count("\n") == 1
