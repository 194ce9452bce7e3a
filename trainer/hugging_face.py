"""Folders as Hugging Face's `transformers` writes and reads them: config.json and safetensors of a RoBERTa.

In: such a folder, or a model of ours. Out: the other. The rule: a checkpoint that would compute something else here
than there (another activation, other positions, another epsilon) is refused with the field that says so.

    shape, tensors = read_hugging_face(Path("roberta-base"))
    model = MaskedLanguageModel(shape)
    model.load_state_dict(tensors)
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.hugging_face_names import NamesError, from_hugging_face
from trainer.model import INIT_STD, NORM_EPSILON, Shape
from trainer.packing import BOS, EOS, PAD
from trainer.run_folder import RunError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_FIRST_POSITION = PAD + 1
_SIZES = {
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "layers",
    "hidden_size": "hidden",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
}
_DROPOUTS = {"hidden_dropout_prob": "dropout", "attention_probs_dropout_prob": "attention_dropout"}
# What our model computes; a folder without the field means the value of `transformers`, in the second place.
_FIXED: dict[str, tuple[object, object]] = {
    "model_type": ("roberta", None),
    "hidden_act": ("gelu", "gelu"),  # the exact one; gelu_new and gelu_fast are approximations
    "position_embedding_type": ("absolute", "absolute"),
    "layer_norm_eps": (NORM_EPSILON, 1e-12),
    "pad_token_id": (PAD, PAD),
    "bos_token_id": (BOS, BOS),
    "eos_token_id": (EOS, EOS),
    "is_decoder": (False, False),
    "add_cross_attention": (False, False),
    "tie_word_embeddings": (True, True),
}
_DEFAULTS: dict[str, object] = {
    "vocab_size": 50_265,
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}


def read_hugging_face(folder: Path) -> tuple[Shape, dict[str, Tensor]]:
    """Shape and tensors, in float32 and by our names, of the RoBERTa in a folder.

    Reads RobertaForMaskedLM and RobertaModel (and finetuned ones, without their heads), safetensors in one file or
    in several with an index. A RobertaModel's tensors are the encoder's alone. Of several rows of token types the
    first counts: the one that transformers adds where nobody names another. RunError says what cannot be read.
    """
    shape = read_shape(folder)
    tensors = _read_tensors(folder)
    try:
        ours = from_hugging_face(tensors, layers=shape.layers)
    except NamesError as error:
        raise RunError(f"{folder}: {error}; a RobertaForMaskedLM or RobertaModel is read, nothing else") from error
    _check_sizes(folder, shape, ours)
    return shape, ours


def read_shape(folder: Path) -> Shape:
    """The shape that a folder's config.json tells; RunError names the field that our model cannot do."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{folder}: no {CONFIG}; name a folder that save_pretrained wrote") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); save the model again") from error
    if not isinstance(config, dict):
        raise RunError(f"{path}: an object was expected; save the model again")
    for name, (wanted, default) in _FIXED.items():
        found = config.get(name, default)
        if found != wanted:
            raise RunError(f"{path}: {name} is {found!r}; only {wanted!r} can be read")
    max_tokens = _whole_number(path, config, "max_position_embeddings", 512) - _FIRST_POSITION
    sizes = {ours: _whole_number(path, config, theirs, _DEFAULTS[theirs]) for theirs, ours in _SIZES.items()}
    dropouts = {ours: _share(path, config, theirs) for theirs, ours in _DROPOUTS.items()}
    if max_tokens < 1 or sizes["hidden"] % sizes["heads"]:
        raise RunError(
            f"{path}: {max_tokens} positions of tokens, width {sizes['hidden']} in {sizes['heads']} heads; the width "
            "must be a multiple of the heads, and there must be positions"
        )
    return Shape(
        vocabulary_size=sizes["vocabulary_size"],
        max_tokens=max_tokens,
        layers=sizes["layers"],
        hidden=sizes["hidden"],
        heads=sizes["heads"],
        feed_forward=sizes["feed_forward"],
        dropout=dropouts["dropout"],
        attention_dropout=dropouts["attention_dropout"],
    )


def make_config(shape: Shape, *, token_types: int) -> dict[str, object]:
    """The config.json of a model of this shape."""
    fixed = {name: wanted for name, (wanted, _) in _FIXED.items()}
    sizes = {theirs: getattr(shape, ours) for theirs, ours in {**_SIZES, **_DROPOUTS}.items()}
    return {
        "architectures": ["RobertaForMaskedLM"],
        **fixed,
        **sizes,
        "max_position_embeddings": shape.max_tokens + _FIRST_POSITION,
        "type_vocab_size": token_types,
        "initializer_range": INIT_STD,
        "torch_dtype": "float32",
    }


def _whole_number(path: Path, config: Mapping[str, object], name: str, default: object) -> int:
    value = config.get(name, default)
    if type(value) is not int or value < 1:
        raise RunError(f"{path}: {name} is {value!r}; a whole number above 0 was expected")
    return value


def _share(path: Path, config: Mapping[str, object], name: str) -> float:
    value = config.get(name, _DEFAULTS[name])
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise RunError(f"{path}: {name} is {value!r}; a probability below 1 was expected")
    return float(value)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            tensors |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path}: cannot be read as safetensors ({error}); get the file again") from error
    return tensors


def _weight_files(folder: Path) -> Iterator[Path]:
    """The files that hold the weights; RunError where there are none that can be read without running them."""
    if (folder / WEIGHTS).exists():
        yield folder / WEIGHTS
        return
    index = folder / INDEX
    if not index.exists():
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = f"only {pickles[0]}, a pickle, which is never opened" if pickles else f"no {WEIGHTS} and no {INDEX}"
        raise RunError(f"{folder}: {found}; save the model with save_pretrained(..., safe_serialization=True)")
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{index}: not an index of safetensors ({error!r}); get the file again") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise RunError(f"{index}: {name!r} is not the name of a file beside it; get the file again")
        yield folder / name


def _check_sizes(folder: Path, shape: Shape, tensors: Mapping[str, Tensor]) -> None:
    """RunError where a tensor is not of the size that the configuration says."""
    expected = tensor_sizes(shape)
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != expected[name]:
            found, wanted = (list(each) for each in (tensor.shape, expected[name]))
            raise RunError(f"{folder}: {name} is {found}, but {wanted} by {CONFIG}; the files do not fit together")


def tensor_sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The sizes of the model's tensors; a model on the meta device knows them too, but takes seconds to be made."""
    d, inner, vocabulary = shape.hidden, shape.feed_forward, shape.vocabulary_size
    sizes: dict[str, tuple[int, ...]] = {
        "encoder.tokens.weight": (vocabulary, d),
        "encoder.positions.weight": (shape.max_tokens + _FIRST_POSITION, d),
        "head_bias": (vocabulary,),
    }
    products = {"head_dense": (d, d)}
    norms = ["encoder.norm", "head_norm"]
    for layer in range(shape.layers):
        here = f"encoder.layers.{layer}."
        products |= {
            f"{here}attention.query_key_value": (3 * d, d),
            f"{here}attention.output": (d, d),
            f"{here}inner": (inner, d),
            f"{here}outer": (d, inner),
        }
        norms += [f"{here}attention_norm", f"{here}output_norm"]
    for name, size in products.items():
        sizes |= {f"{name}.weight": size, f"{name}.bias": size[:1]}
    for name in norms:
        sizes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    return sizes
