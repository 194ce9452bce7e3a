"""Weights go to transformers and come back with the same logits, and what would compute something else is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from trainer.hugging_face import make_config, read_hugging_face, tensor_sizes
from trainer.hugging_face_names import NamesError, from_hugging_face, to_hugging_face
from trainer.model import MaskedLanguageModel, Shape
from trainer.packing import BOS, EOS, PAD
from trainer.run_folder import RunError

transformers = pytest.importorskip("transformers")

SMALL = Shape(vocabulary_size=99, max_tokens=24, layers=2, hidden=32, heads=4, feed_forward=48)


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows, two of them padded."""
    ids = torch.randint(4, 98, (3, 24), generator=torch.Generator().manual_seed(2))
    ids[:, 0] = BOS
    for row, n in enumerate((24, 17, 9)):
        ids[row, n - 1] = EOS
        ids[row, n:] = PAD
    return ids, ids != PAD


def _spread(model: torch.nn.Module) -> None:
    """Larger weights than at the start, so that a wrong place of a norm or a row would show."""
    generator = torch.Generator().manual_seed(5)
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, 0.0, 0.3, generator=generator)


def _their_model(**fields: object) -> Any:
    config = transformers.RobertaConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=26,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        **{"type_vocab_size": 1, **fields},
    )
    return transformers.RobertaForMaskedLM(config).eval()


@torch.no_grad()
def _our_logits(shape: Shape, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    model = MaskedLanguageModel(shape).eval()
    model.load_state_dict(tensors)
    ids, attention = _batch()
    output = model(ids, attention, attention.flatten().nonzero().flatten())
    logits: torch.Tensor = output[0] if isinstance(output, tuple) else output  # models of pairs give theirs too
    return logits


@torch.no_grad()
def _their_logits(model: Any) -> torch.Tensor:
    ids, attention = _batch()
    logits: torch.Tensor = model(input_ids=ids, attention_mask=attention.long()).logits.flatten(0, 1)
    return logits[attention.flatten()]


def _save(folder: Path, model: Any, **options: object) -> Path:
    model.save_pretrained(folder, **options)
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small RobertaForMaskedLM."""
    model = _their_model()
    _spread(model)
    return _save(tmp_path / "theirs", model)


def _edit(folder: Path, **fields: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    return folder


def test_our_weights_give_the_same_logits_in_transformers() -> None:
    ours = MaskedLanguageModel(SMALL).eval()
    _spread(ours)
    tensors, unplaced = to_hugging_face(ours.state_dict(), layers=2)
    theirs = _their_model()
    missing = theirs.load_state_dict(tensors, strict=False)
    assert unplaced == missing.unexpected_keys == []
    assert set(missing.missing_keys) <= {"lm_head.decoder.weight", "lm_head.decoder.bias"}
    theirs.tie_weights()
    expected = _our_logits(SMALL, ours.state_dict())
    assert expected.std() > 0.1
    torch.testing.assert_close(_their_logits(theirs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("token_types", [1, 2])
def test_weights_of_transformers_give_the_same_logits_here(tmp_path: Path, token_types: int) -> None:
    theirs = _their_model(type_vocab_size=token_types)
    _spread(theirs)
    shape, tensors = read_hugging_face(_save(tmp_path / "theirs", theirs))
    assert shape == SMALL._replace(dropout=0.0)
    assert tensors["encoder.positions.weight"][PAD].tolist() == [0.0] * 32
    torch.testing.assert_close(_our_logits(shape, tensors), _their_logits(theirs), atol=1e-4, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(5, 30))
def test_there_and_back_changes_no_bit(layers: int, heads: int, width: int, inner: int, size: int) -> None:
    shape = Shape(size, max_tokens=8, layers=layers, hidden=heads * width, heads=heads, feed_forward=inner)
    ours = MaskedLanguageModel(shape)
    _spread(ours)
    with torch.no_grad():
        ours.encoder.positions.weight[PAD] = 0.0
    back = from_hugging_face(to_hugging_face(ours.state_dict(), layers=layers)[0], layers=layers)
    assert tensor_sizes(shape) == {name: tuple(tensor.shape) for name, tensor in back.items()}
    assert back.keys() == ours.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.state_dict().items())


def test_segments_become_token_types_and_heads_of_pairs_are_named() -> None:
    ours = MaskedLanguageModel(SMALL)
    _spread(ours)
    segments = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    extra = {"encoder.segments.weight": segments, "pair_dense.weight": torch.zeros(32, 32), "pair_bias": torch.zeros(2)}
    tensors, unplaced = to_hugging_face({**ours.state_dict(), **extra}, layers=2)
    assert unplaced == ["pair_bias", "pair_dense.weight"]
    theirs = _their_model(type_vocab_size=2)
    theirs.load_state_dict(tensors, strict=False)
    theirs.tie_weights()
    ids, attention = _batch()
    with torch.no_grad():
        found = theirs(input_ids=ids, attention_mask=attention.long(), token_type_ids=torch.ones_like(ids)).logits
        # All tokens of the second segment: the same as that segment's row added to every position.
        ours.encoder.positions.weight += segments[1]
    torch.testing.assert_close(
        found.flatten(0, 1)[attention.flatten()], _our_logits(SMALL, ours.state_dict()), atol=1e-4, rtol=0
    )


def test_a_sharded_checkpoint_is_that_of_one_file(saved: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(saved)
    sharded = _save(tmp_path / "sharded", model, max_shard_size="20KB")
    assert not (sharded / "model.safetensors").exists()
    shape, tensors = read_hugging_face(sharded)
    expected_shape, expected = read_hugging_face(saved)
    assert shape == expected_shape
    assert all(torch.equal(tensors[name], expected[name]) for name in expected.keys() | tensors.keys())


@pytest.mark.parametrize("kind", ["RobertaModel", "RobertaForSequenceClassification", "RobertaForQuestionAnswering"])
def test_other_kinds_give_the_encoder_alone(saved: Path, tmp_path: Path, kind: str) -> None:
    model = getattr(transformers, kind).from_pretrained(saved)
    shape, tensors = read_hugging_face(_save(tmp_path / "other", model))
    assert shape.layers == 2
    expected = {name: tensor for name, tensor in read_hugging_face(saved)[1].items() if name.startswith("encoder.")}
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_weights_of_half_precision_are_read_in_float32(saved: Path) -> None:
    path = saved / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    assert {tensor.dtype for tensor in read_hugging_face(saved)[1].values()} == {torch.float32}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_act", "gelu_new", "hidden_act is 'gelu_new'; only 'gelu' can be read"),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'; only 'absolute'"),
        ("layer_norm_eps", 1e-12, "layer_norm_eps is 1e-12; only 1e-05"),
        ("model_type", "bert", "model_type is 'bert'; only 'roberta'"),
        ("pad_token_id", 0, "pad_token_id is 0; only 1"),
        ("is_decoder", True, "is_decoder is True; only False"),
        ("hidden_size", "32", "hidden_size is '32'; a whole number above 0 was expected"),
        ("hidden_dropout_prob", 2, "hidden_dropout_prob is 2; a probability below 1 was expected"),
        ("num_attention_heads", 5, "width 32 in 5 heads; the width must be a multiple"),
        ("num_hidden_layers", 3, "there is no tensor roberta.encoder.layer.2.attention.output.dense.weight"),
        ("num_hidden_layers", 1, "roberta.encoder.layer.1.attention.output.LayerNorm.bias has no counterpart"),
        ("intermediate_size", 47, r"encoder.layers.0.inner.weight is \[48, 32\], but \[47, 32\] by config.json"),
    ],
)
def test_what_would_compute_something_else_is_refused_by_field(
    saved: Path, field: str, value: object, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        read_hugging_face(_edit(saved, **{field: value}))


def test_a_pickle_is_never_opened(saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"only pytorch_model\.bin, a pickle, which is never opened; save the model"):
        read_hugging_face(saved)


def test_folders_that_hold_no_model_or_a_damaged_one_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no config\.json; name a folder that save_pretrained wrote"):
        read_hugging_face(tmp_path)
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"model\.safetensors: cannot be read as safetensors"):
        read_hugging_face(saved)
    weights.unlink()
    index = saved / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../../elsewhere.safetensors"}}))
    with pytest.raises(RunError, match=r"'\.\./\.\./elsewhere\.safetensors' is not the name of a file beside it"):
        read_hugging_face(saved)
    (saved / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json: not JSON"):
        read_hugging_face(saved)


def test_a_projection_of_its_own_is_refused() -> None:
    theirs, _ = to_hugging_face(MaskedLanguageModel(SMALL).state_dict(), layers=2)
    with pytest.raises(NamesError, match="only tied projections"):
        from_hugging_face({**theirs, "lm_head.decoder.weight": torch.ones(99, 32)}, layers=2)


def test_the_configuration_says_what_the_model_is() -> None:
    config = make_config(SMALL, token_types=1)
    assert (config["max_position_embeddings"], config["type_vocab_size"], config["layer_norm_eps"]) == (26, 1, 1e-5)
    assert (config["bos_token_id"], config["pad_token_id"], config["eos_token_id"]) == (0, 1, 2)
    loaded = transformers.RobertaConfig(**config)
    assert (loaded.hidden_size, loaded.num_hidden_layers, loaded.hidden_dropout_prob) == (32, 2, 0.1)
