"""What a finetuning starts from: an encoder's weights, wherever they lie, and the vocabulary that belongs to them.

In: a pretraining run, one of its checkpoints, a finetuned output or one of its seeds, or a folder of Hugging Face's.
Out: `Start`. The rule: weights and vocabulary belong together, by fingerprint where there is one, else by size.
"""

import hashlib
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bpe.errors import ShardError
from bpe.manifest import load_manifest
from bpe.places import Place
from bpe.vocabulary import Vocabulary, load_vocabulary
from trainer import finetuned_folder
from trainer.checkpoints import STATE as CHECKPOINT_STATE
from trainer.checkpoints import DamagedCheckpointError, load_last, read_checkpoint
from trainer.model import Shape, shape_of
from trainer.run_folder import CHECKPOINTS, RunDescription, RunError, read_description

_ENCODER, _HEAD = "encoder.", "head."
_HUGGING_FACE, _HUGGING_FACE_READER = "config.json", "trainer.hugging_face"


class Start(NamedTuple):
    """Weights to finetune."""

    path: Path
    shape: Shape
    encoder: Mapping[str, Tensor]  # by their names in trainer.model.Encoder
    head: Mapping[str, Tensor]  # of a finetuned model; empty for a pretrained one
    vocabulary: str  # fingerprint; "" where it is not known
    vocabulary_files: tuple[Place, ...]  # where it may be
    fingerprint: str  # sha256 of all weights


def load_start(path: Path) -> Start:
    """The weights at a path; RunError where there are none, or they are damaged."""
    if finetuned_folder.is_finetuned(path):
        return _of_finetuned(path)
    if (path / CHECKPOINT_STATE).exists():
        return _of_checkpoint(path)
    if (path / _HUGGING_FACE).exists():
        return _of_hugging_face(path)
    if read_description(path) is not None:
        found = load_last(path / CHECKPOINTS, warn=lambda _: None)
        if found is None:
            raise RunError(f"{path}: the run has no checkpoint yet; let it write one, or give another --checkpoint")
        return _of_checkpoint(found.path)
    raise RunError(f"{path}: no run, checkpoint, finetuned output or Hugging Face folder; give one as --checkpoint")


def find_vocabulary(start: Start, given: Path | None) -> Vocabulary:
    """The vocabulary of the weights; RunError where it is not found, or what was found is another."""
    vocabulary = load_vocabulary(given) if given else _first_vocabulary(start)
    if start.vocabulary and vocabulary.fingerprint != start.vocabulary:
        raise RunError(
            f"{start.path} was trained with vocabulary {start.vocabulary[:16]}, "
            f"but {given or 'what is beside its shards'} is {vocabulary.fingerprint[:16]}; give its own as --vocabulary"
        )
    if vocabulary.size > start.shape.vocabulary_size:
        raise RunError(
            f"{start.path} has {start.shape.vocabulary_size:,} token embeddings, the vocabulary {vocabulary.size:,} "
            "ids; give the vocabulary that it was trained with as --vocabulary"
        )
    return vocabulary


def _first_vocabulary(start: Start) -> Vocabulary:
    for path in start.vocabulary_files:
        if path.is_file():
            return load_vocabulary(path)
    looked = ", ".join(map(str, start.vocabulary_files)) or "no folder"
    raise RunError(f"{start.path}: its vocabulary is not there (looked for {looked}); give it as --vocabulary")


def _of_checkpoint(path: Path) -> Start:
    try:
        checkpoint = read_checkpoint(path)
    except DamagedCheckpointError as error:
        raise RunError(f"{path} is damaged ({error}); give another --checkpoint") from error
    description = read_description(path.parent.parent)  # RUN/checkpoints/update-N
    if description is None:
        raise RunError(
            f"{path}: the run's settings.json is not two folders above; put the checkpoint back, or it there"
        )
    shape = shape_of(description.settings, vocabulary_size=description.vocabulary_size)
    files = tuple(_vocabulary_files(description))
    return _make_start(path, shape, checkpoint.model, description.vocabulary, files)


def _of_finetuned(path: Path) -> Start:
    folder, output = finetuned_folder.choose_seed(path)
    try:
        weights = load_file(folder / finetuned_folder.MODEL)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder / finetuned_folder.MODEL}: {error}; finetune that seed again") from error
    files = (folder.parent / finetuned_folder.VOCABULARY,)
    return _make_start(folder, output.shape, weights, output.vocabulary, files)


def _of_hugging_face(path: Path) -> Start:
    try:
        reader = importlib.import_module(_HUGGING_FACE_READER)
    except ModuleNotFoundError as error:
        if error.name != _HUGGING_FACE_READER:
            raise
        raise RunError(f"{path} is a Hugging Face folder, which this version does not read") from error
    shape, weights = reader.read_hugging_face(path)
    return _make_start(path, shape, weights, "", (path / "tokenizer.json", path / "vocab.json"))


def _make_start(
    path: Path, shape: Shape, weights: Mapping[str, Tensor], vocabulary: str, files: tuple[Place, ...]
) -> Start:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return Start(
        path,
        shape,
        _below(_ENCODER, weights),
        _below(_HEAD, weights),
        vocabulary,
        files,
        digest.hexdigest(),
    )


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _vocabulary_files(description: RunDescription) -> Iterable[Place]:
    """Each folder of shards has the vocabulary that they were encoded with, under the name that its manifest says."""
    for folder in description.folders:
        try:
            entry = load_manifest(folder).vocabulary
        except (ShardError, OSError):
            continue  # the shards are elsewhere by now; the vocabulary may be given
        if entry is not None:
            yield folder / entry.name
