"""The names of the model's tensors here and in Hugging Face's RobertaForMaskedLM, both ways.

In: tensors by the names of the one. Out: the same numbers by the names of the other. The rule: each tensor is named
once, so what has no counterpart is told to the caller and never lost in silence.

Three things differ besides names. Query, key and value are one matrix here and three there. Every token there gets a
row of a table of token types, which here only models of sentence pairs have. The projection to the vocabulary is the
table of tokens in both, and is stored once.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from trainer.packing import PAD

SEGMENTS = "encoder.segments.weight"  # [2, D], of models that tell two segments apart
_TOKEN_TYPES = "roberta.embeddings.token_type_embeddings.weight"
_POSITIONS = "roberta.embeddings.position_embeddings.weight"
_TOKENS = "roberta.embeddings.word_embeddings.weight"
_PROJECTION, _PROJECTION_BIAS = "lm_head.decoder.weight", "lm_head.decoder.bias"
_EMBEDDINGS = {
    "encoder.tokens.weight": _TOKENS,
    "encoder.positions.weight": _POSITIONS,
    "encoder.norm.weight": "roberta.embeddings.LayerNorm.weight",
    "encoder.norm.bias": "roberta.embeddings.LayerNorm.bias",
}
_HEAD = {
    "head_dense.weight": "lm_head.dense.weight",
    "head_dense.bias": "lm_head.dense.bias",
    "head_norm.weight": "lm_head.layer_norm.weight",
    "head_norm.bias": "lm_head.layer_norm.bias",
    "head_bias": "lm_head.bias",
}
_LAYER = {
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "output_norm": "output.LayerNorm",
}
_FUSED, _SEPARATE = "attention.query_key_value", ("query", "key", "value")
# What only other tasks need, or what newer versions no longer store.
_IGNORED = (
    "roberta.pooler.",
    "roberta.embeddings.position_ids",
    "roberta.embeddings.token_type_ids",
    "classifier.",
    "qa_outputs.",
)


class NamesError(Exception):
    """Tensors that are not those of the model: the first missing or unknown name."""


def to_hugging_face(ours: Mapping[str, Tensor], *, layers: int) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by Hugging Face's names, and those of ours that it has no place for: heads beside the masked one.

    Raises NamesError where one of the model is missing.
    """
    theirs: dict[str, Tensor] = {}
    used = set()
    for here, there in _single_names(layers):
        theirs[there] = _take(ours, here)
        used.add(here)
    for here, separate in _fused_names(layers):
        for name, part in zip(separate, _take(ours, here).chunk(3), strict=True):
            theirs[name] = part
        used.add(here)
    tokens = theirs[_TOKENS]
    # A row of zeros adds nothing, and transformers has no model without a table.
    theirs[_TOKEN_TYPES] = ours.get(SEGMENTS, torch.zeros(1, tokens.shape[1], dtype=tokens.dtype))
    unplaced = sorted(ours.keys() - used - {SEGMENTS})
    encoder = [name for name in unplaced if name.startswith("encoder.")]
    if encoder:
        raise NamesError(f"{encoder[0]} has no counterpart in RobertaForMaskedLM")
    return {name: tensor.contiguous() for name, tensor in theirs.items()}, unplaced


def from_hugging_face(theirs: Mapping[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """The tensors by our names, in float32; without the head where theirs has none (RobertaModel).

    The first row of token types, which transformers adds to every token unless told otherwise, goes into the
    positions. Raises NamesError where a tensor is missing or has no counterpart here.
    """
    if not any(name.startswith("roberta.") for name in theirs):
        theirs = {f"roberta.{name}": tensor for name, tensor in theirs.items()}  # a RobertaModel's
    theirs = {name: tensor.float() for name, tensor in theirs.items() if not name.startswith(_IGNORED)}
    _refuse_untied(theirs)
    if _PROJECTION_BIAS in theirs:
        theirs.setdefault("lm_head.bias", theirs[_PROJECTION_BIAS])
    has_head = any(name.startswith("lm_head.") for name in theirs)
    ours: dict[str, Tensor] = {}
    used = {_TOKEN_TYPES, _PROJECTION, _PROJECTION_BIAS}
    for here, there in _single_names(layers, head=has_head):
        ours[here] = _take(theirs, there)
        used.add(there)
    for here, separate in _fused_names(layers):
        ours[here] = torch.cat([_take(theirs, name) for name in separate])
        used.update(separate)
    unknown = sorted(theirs.keys() - used)
    if unknown:
        raise NamesError(f"{unknown[0]} has no counterpart in this model")
    if _TOKEN_TYPES in theirs:
        positions = ours["encoder.positions.weight"] + theirs[_TOKEN_TYPES][0]
        positions[PAD] = 0.0  # of no consequence to any token; ours starts, and stays, at zero
        ours["encoder.positions.weight"] = positions
    return ours


def _single_names(layers: int, *, head: bool = True) -> Iterator[tuple[str, str]]:
    """Pairs of a name here and the one there, of all tensors that are the same in both."""
    yield from _EMBEDDINGS.items()
    if head:
        yield from _HEAD.items()
    for layer in range(layers):
        for here, there in _LAYER.items():
            for kind in ("weight", "bias"):
                yield f"encoder.layers.{layer}.{here}.{kind}", f"roberta.encoder.layer.{layer}.{there}.{kind}"


def _fused_names(layers: int) -> Iterator[tuple[str, list[str]]]:
    """The fused tensors here, each with the three of which it is made."""
    for layer in range(layers):
        for kind in ("weight", "bias"):
            there = [f"roberta.encoder.layer.{layer}.attention.self.{name}.{kind}" for name in _SEPARATE]
            yield f"encoder.layers.{layer}.{_FUSED}.{kind}", there


def _refuse_untied(theirs: Mapping[str, Tensor]) -> None:
    projection = theirs.get(_PROJECTION)
    if projection is not None and not torch.equal(projection, _take(theirs, _TOKENS)):
        raise NamesError(f"{_PROJECTION} is not {_TOKENS}; only tied projections can be read")
    bias, other = theirs.get(_PROJECTION_BIAS), theirs.get("lm_head.bias")
    if bias is not None and other is not None and not torch.equal(bias, other):
        raise NamesError(f"{_PROJECTION_BIAS} is not lm_head.bias; only tied biases can be read")


def _take(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None:
        raise NamesError(f"there is no tensor {name}")
    return tensor
