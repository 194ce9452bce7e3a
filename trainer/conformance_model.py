"""Rules of the model: its size, its first weights, and what a layer and the head compute (section 3, Table 9)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.conformance_rules import Inputs, Outcome, Rule, judge, unchecked
from trainer.model import (
    Layer,
    MaskedLanguageModel,
    Shape,
    count_parameters,
    flop_per_token,
    init_weights,
    make_model,
    shape_of,
)
from trainer.packing import PAD
from trainer.settings import Settings, load_settings

_VOCABULARY = 50_265
_PARAMETERS = {"roberta-base": 124_696_665, "roberta-large": 355_411_033}
_GIGA_FLOP = {"roberta-base": 0.6015, "roberta-large": 2.010}
_SMALL = Shape(vocabulary_size=2_000, max_tokens=64, layers=2, hidden=64, heads=2, feed_forward=128)


def _check_parameters(_: Inputs) -> Outcome:
    with torch.device("meta"):
        found = {name: count_parameters(MaskedLanguageModel(_shape(name))) for name in _PARAMETERS}
    return judge(found == _PARAMETERS, " and ".join(f"{n:,}" for n in found.values()))


def _check_flop(_: Inputs) -> Outcome:
    found = {name: flop_per_token(_shape(name), block_tokens=512, mask_fraction=0.15) / 1e9 for name in _GIGA_FLOP}
    holds = all(math.isclose(found[name], giga, rel_tol=5e-4) for name, giga in _GIGA_FLOP.items())
    return judge(holds, " and ".join(f"{giga:.4f} G" for giga in found.values()))


def _check_positions(_: Inputs) -> Outcome:
    with torch.device("meta"):
        rows = MaskedLanguageModel(_shape("roberta-base")).encoder.positions.weight.shape[0]
    model = _small_model()
    ids = torch.full((1, 64), 7)
    # The same token everywhere: what differs between two places are their positions' rows, 2 and 65.
    with torch.no_grad():
        model.encoder.positions.weight.zero_()
        model.encoder.positions.weight[2].fill_(1.0)
        model.encoder.positions.weight[65, ::2] = 1.0
        hidden = model.encoder(ids, None)[0]
    others = hidden[1:-1]
    distinct = not torch.allclose(hidden[0], others[0]) and not torch.allclose(hidden[-1], others[0])
    holds = rows == 514 and distinct and torch.allclose(others, others[0].expand_as(others), atol=1e-5)
    return judge(holds, f"{rows} rows; the first token has row 2, the last of 64 has row 65")


def _check_no_segments(_: Inputs) -> Outcome:
    with torch.device("meta"):
        tables = [m for m in MaskedLanguageModel(_shape("roberta-base")).modules() if isinstance(m, nn.Embedding)]
    return judge(len(tables) == 2, f"{len(tables)} tables of embeddings: tokens and positions")


def _check_init(_: Inputs) -> Outcome:
    settings = Settings(layers=1, hidden=256, heads=4, feed_forward=512)
    model = make_model(settings, vocabulary_size=2_000)
    spread, wrong = [], []
    for name, tensor in model.named_parameters():
        if tensor.ndim == 2:
            spread.append(tensor.std().item())
            mean_limit = 6 * 0.02 / math.sqrt(tensor.numel())
            if not math.isclose(spread[-1], 0.02, rel_tol=0.03) or abs(tensor.mean().item()) > mean_limit:
                wrong.append(name)
        elif not bool((tensor == (1.0 if "norm.weight" in name else 0.0)).all()):
            wrong.append(name)
    encoder = model.encoder
    padding = bool(encoder.tokens.weight[PAD].any()) or bool(encoder.positions.weight[PAD].any())
    detail = f"wrong: {wrong}" if wrong else f"deviations of {min(spread):.4f} to {max(spread):.4f}"
    return judge(not wrong and not padding, detail)


def _check_post_norm(_: Inputs) -> Outcome:
    layer = _small_model().encoder.layers[0].eval()
    assert isinstance(layer, Layer)
    hidden = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        attended = layer.attention_norm(hidden + _attend(layer, hidden))
        inner = layer.inner(attended)
        exact_gelu = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        expected = layer.output_norm(attended + layer.outer(exact_gelu))
        error = (layer(hidden, None) - expected).abs().max().item()
    return judge(error < 1e-5, f"differs from the formula by {error:.1e}")


def _check_epsilon(_: Inputs) -> Outcome:
    found = {module.eps for module in _small_model().modules() if isinstance(module, nn.LayerNorm)}
    return judge(found == {1e-5}, f"{found}")


def _check_dropout(_: Inputs) -> Outcome:
    settings = load_settings("roberta-base", {})
    model = MaskedLanguageModel(_SMALL._replace(dropout=settings.dropout, attention_dropout=settings.attention_dropout))
    rates = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    attention = {layer.attention.dropout for layer in model.encoder.layers if isinstance(layer, Layer)}
    ids = torch.randint(4, 1_999, (1, 64), generator=torch.Generator().manual_seed(1))
    model.train()
    torch.manual_seed(0)
    first = model.encoder(ids, None)
    changes = not torch.equal(first, model.encoder(ids, None))
    return judge(rates == attention == {0.1} and changes, f"hidden {rates}, attention {attention}")


def _check_tied_head(_: Inputs) -> Outcome:
    model = _small_model().eval()
    ids = torch.randint(4, 1_999, (2, 16), generator=torch.Generator().manual_seed(1))
    chosen = torch.tensor([3, 17, 30])
    with torch.no_grad():
        hidden = model.encoder(ids, None).flatten(0, 1)[chosen]
        dense = model.head_dense(hidden)
        passed = model.head_norm(dense * 0.5 * (1 + torch.erf(dense / math.sqrt(2))))
        expected = passed @ model.encoder.tokens.weight.T + model.head_bias
        found = _logits(model, ids, chosen)
    n_large = sum(p.shape == model.encoder.tokens.weight.shape for p in model.parameters())
    holds = found.shape == expected.shape and torch.allclose(found, expected, atol=1e-5) and n_large == 1
    return judge(holds, f"logits of {found.shape[0]} predicted tokens of {ids.numel()}, {n_large} table of tokens")


def _check_hugging_face(_: Inputs) -> Outcome:
    return unchecked("transformers is for tests only: tests/trainer/test_hugging_face.py compares logits both ways")


def _shape(recipe: str) -> Shape:
    return shape_of(load_settings(recipe, {}), vocabulary_size=_VOCABULARY)


def _small_model() -> MaskedLanguageModel:
    """A model of weights large enough to show a term in the wrong place."""
    model = MaskedLanguageModel(_SMALL._replace(dropout=0.0, attention_dropout=0.0))
    generator = torch.Generator().manual_seed(2)
    init_weights(model, generator)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.empty_like(tensor).normal_(0.0, 0.1, generator=generator))
    return model


def _attend(layer: Layer, hidden_BTD: Tensor) -> Tensor:
    """Attention written out: softmax(q k / sqrt(d)) v of each head."""
    b, t, d = hidden_BTD.shape
    attention = layer.attention
    query, key, value = attention.query_key_value(hidden_BTD).view(b, t, 3, attention.heads, -1).unbind(2)
    scores = torch.einsum("bqhe,bkhe->bhqk", query, key) / math.sqrt(query.shape[-1])
    mixed = torch.einsum("bhqk,bkhe->bqhe", functional.softmax(scores, dim=-1), value)
    attended: Tensor = attention.output(mixed.reshape(b, t, d))
    return attended


def _logits(model: MaskedLanguageModel, ids: Tensor, chosen: Tensor) -> Tensor:
    """Logits of predicted tokens; a model of pairs gives them first and the pairs' after them."""
    output: Any = model(ids, None, chosen)
    logits: Tensor = output[0] if isinstance(output, tuple) else output
    return logits


RULES = (
    Rule("parameters", "124,696,665 parameters of BASE, 355,411,033 of LARGE", "Table 9", _check_parameters),
    Rule("flop", "a token's training costs 0.6015 GFLOP in BASE, 2.010 in LARGE", "Table 9", _check_flop),
    Rule("positions", "learned positions from padding_idx + 1 on: 514 rows", "fairseq", _check_positions),
    Rule("no-segments", "no embeddings of segments", "section 4.2", _check_no_segments),
    Rule("init", "weights normal(0, 0.02), biases and padding's rows zero", "section 3.1, fairseq", _check_init),
    Rule(
        "post-norm",
        "layers normalise after adding (post-LN), with the exact GELU",
        "section 3, fairseq",
        _check_post_norm,
    ),
    Rule("norm-epsilon", "epsilon of layer norms is 1e-5", "fairseq", _check_epsilon),
    Rule("dropout", "dropout 0.1 of hidden states and of attention", "Table 9", _check_dropout),
    Rule("tied-head", "dense, GELU, norm, tied projection, at predicted tokens only", "fairseq", _check_tied_head),
    Rule(
        "hugging-face", "logits equal those of Hugging Face's RobertaForMaskedLM", "Hugging Face", _check_hugging_face
    ),
)
