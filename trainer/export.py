"""Writes a checkpoint as a folder that Hugging Face's `transformers` loads.

    python -m trainer.export --checkpoint runs/base --output exported/base

In: a run's folder, of which the last intact checkpoint is taken, or the folder of one checkpoint. Out: a folder with

    config.json, model.safetensors           for AutoModelForMaskedLM.from_pretrained
    tokenizer.json, tokenizer_config.json    for AutoTokenizer.from_pretrained
    special_tokens_map.json

The rule: the folder is there whole or not at all, and its tokenizer is the one whose ids the model was trained on.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import Tensor

from bpe.errors import ShardError
from bpe.manifest import load_manifest
from bpe.places import Place, parse_place, resolve_address
from bpe.vocabulary import BOS, EOS, MASK_TOKEN, PAD, SPECIAL_TOKENS, UNK, Vocabulary, dump_vocabulary, load_vocabulary
from trainer.checkpoints import (
    STATE,
    Checkpoint,
    DamagedCheckpointError,
    load_last,
    read_checkpoint,
    sync_to_disk,
)
from trainer.command_line import OneLineParser, parse_flags
from trainer.hugging_face import CONFIG, WEIGHTS, make_config
from trainer.hugging_face_names import SEGMENTS, NamesError, to_hugging_face
from trainer.model import shape_of
from trainer.run_folder import CHECKPOINTS, SETTINGS, RunError, replace_file
from trainer.settings import Settings, make_settings

TOKENIZER, TOKENIZER_CONFIG, SPECIAL_MAP = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
_SPECIAL = {
    "bos_token": SPECIAL_TOKENS[BOS],
    "eos_token": SPECIAL_TOKENS[EOS],
    "cls_token": SPECIAL_TOKENS[BOS],
    "sep_token": SPECIAL_TOKENS[EOS],
    "pad_token": SPECIAL_TOKENS[PAD],
    "unk_token": SPECIAL_TOKENS[UNK],
}


class Trained(NamedTuple):
    """What is exported: a checkpoint, and what it says of its run."""

    checkpoint: Checkpoint
    settings: Settings
    folders: tuple[Place, ...]  # of shards
    vocabulary: str  # fingerprint
    vocabulary_size: int


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 done, 1 the checkpoint or the vocabulary is bad, 2 the command is wrong."""
    flags = parse_flags(make_parser(), argv)
    try:
        for line in export(
            Path(flags.checkpoint), Path(flags.output), vocabulary=flags.vocabulary, overwrite=flags.overwrite
        ):
            print(line)
    except (ValueError, ShardError, RunError, OSError) as error:
        if flags.debug:
            raise
        print(f"export: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


def make_parser() -> OneLineParser:
    """The flags."""
    assert __doc__ is not None
    parser = OneLineParser("export", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="RUN",
        help="folder of a run (its last intact checkpoint) or of a checkpoint",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="vocab.json of the run (default: the one in the folders of its shards)"
    )
    parser.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="replace the export in DIR (default: no)",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def export(folder: Path, output: Path, *, vocabulary: str | None, overwrite: bool) -> Iterator[str]:
    """Makes the folder, and tells what there is to know of it.

    ValueError where the command cannot be carried out as given, RunError or ShardError where what it names is bad.
    """
    refuse_existing(output, overwrite=overwrite)
    notices: list[str] = []
    trained = read_trained(folder, notices)
    yield from notices
    checkpoint = trained.checkpoint
    words = find_vocabulary(trained, vocabulary)
    shape = shape_of(trained.settings, vocabulary_size=trained.vocabulary_size)
    try:
        tensors, dropped = to_hugging_face(checkpoint.model, layers=shape.layers)
    except NamesError as error:
        raise RunError(f"{checkpoint.path}: {error}; it is no checkpoint of trainer/pretrain.py") from error
    if dropped:
        yield f"left out, since RobertaForMaskedLM has no place for them: {', '.join(dropped)}"
    config = make_config(shape, token_types=2 if SEGMENTS in checkpoint.model else 1)
    write_folder(output, config, tensors, words, max_tokens=shape.max_tokens)
    n_parameters = sum(tensor.numel() for tensor in tensors.values())
    yield (
        f"{output}: RobertaForMaskedLM of {n_parameters:,} parameters, {shape.max_tokens} tokens at most, vocabulary "
        f"{words.fingerprint[:16]} of {words.size:,} ids; update {checkpoint.progress.update:,} of "
        f"{trained.settings.updates:,}, from {checkpoint.path}"
    )


def read_trained(folder: Path, notices: list[str]) -> Trained:
    """The checkpoint in a folder, or the last intact one of the run in it, verified; damaged ones are noticed."""
    if (folder / STATE).is_file():
        try:
            checkpoint = read_checkpoint(folder)
        except DamagedCheckpointError as error:
            raise RunError(f"{folder} is damaged ({error}); take another checkpoint") from error
    elif (folder / SETTINGS).is_file():
        last = load_last(folder / CHECKPOINTS, warn=notices.append)
        if last is None:
            raise RunError(f"{folder}: the run has no checkpoint yet")
        checkpoint = last
    else:
        raise ValueError(f"{folder} holds neither a run ({SETTINGS}) nor a checkpoint ({STATE}); name one of them")
    return _describe(checkpoint)


def _describe(checkpoint: Checkpoint) -> Trained:
    """What a checkpoint says of its run, whose settings.json is not needed: a checkpoint may be kept on its own."""
    path, run = checkpoint.path / STATE, checkpoint.path.parent.parent
    plain: Mapping[str, Any] = json.loads(path.read_text().partition(" ")[2])  # read_checkpoint has verified it
    try:
        return Trained(
            checkpoint,
            make_settings(plain["settings"], where=str(path)),
            tuple(resolve_address(entry["folder"], run) for entry in plain["shards"]),
            plain["vocabulary"]["fingerprint"],
            plain["vocabulary"]["size"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: not the checkpoint of a pretraining run ({error}); name another") from error


def find_vocabulary(trained: Trained, given: str | None) -> Vocabulary:
    """The vocabulary of the run: the one given, or the copy in the folder of its shards.

    RunError, with both fingerprints, where it is not the one of the run; ValueError where there is none.
    """
    files: list[Place] = [parse_place(given)] if given is not None else list(_vocabulary_files(trained.folders))
    wrong = []
    for file in files:
        found = load_vocabulary(file)
        if (found.fingerprint, found.size) == (trained.vocabulary, trained.vocabulary_size):
            return found
        wrong.append(f"{file} is vocabulary {found.fingerprint}")
    if wrong:
        raise RunError(f"{wrong[0]}, but the run was trained on {trained.vocabulary}; name its own by --vocabulary")
    folders = ", ".join(map(str, trained.folders))
    raise ValueError(f"no vocabulary in the run's shards ({folders}); name a copy by --vocabulary")


def _vocabulary_files(folders: tuple[Place, ...]) -> Iterator[Place]:
    """Copies of the vocabulary in those folders of shards that still are where they were."""
    for folder in folders:
        try:
            entry = load_manifest(folder).vocabulary
        except (ShardError, OSError):
            continue  # moved or rebuilt since; another folder, or --vocabulary, has the same one
        if entry is not None and (folder / entry.name).is_file():
            yield folder / entry.name


def refuse_existing(output: Path, *, overwrite: bool) -> None:
    """ValueError where something is in the way; --overwrite replaces exports, and nothing else."""
    if not output.exists() and not output.is_symlink():
        return
    if not overwrite:
        raise ValueError(f"{output} exists; name another --output, or give --overwrite")
    if not output.is_dir() or output.is_symlink() or not _is_export(output):
        raise ValueError(f"{output} is not an export, so --overwrite leaves it alone; name another --output")


def _is_export(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    return not names or {CONFIG, WEIGHTS, TOKENIZER} <= names


def write_folder(
    output: Path, config: Mapping[str, object], tensors: dict[str, Tensor], vocabulary: Vocabulary, *, max_tokens: int
) -> None:
    """Writes beside the folder, and renames once all bytes are on the disk."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.writing")
    if temporary.exists():
        shutil.rmtree(temporary)  # of an export that was killed
    temporary.mkdir()
    try:
        for name, body in _small_files(config, vocabulary, max_tokens=max_tokens).items():
            replace_file(temporary / name, body)
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        # safetensors writes for its owner's eyes alone; whoever may read the other files may read the weights.
        (temporary / WEIGHTS).chmod((temporary / CONFIG).stat().st_mode)
        sync_to_disk(temporary / WEIGHTS)
        sync_to_disk(temporary)
        _swap(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_to_disk(output.parent)


def _swap(temporary: Path, output: Path) -> None:
    """Puts a finished folder in its place; what was there goes after the new one is there."""
    aside = output.with_name(f".{output.name}.replaced")
    if output.exists():
        if aside.exists():
            shutil.rmtree(aside)
        output.rename(aside)
    temporary.rename(output)
    if aside.exists():
        shutil.rmtree(aside)


def _small_files(config: Mapping[str, object], vocabulary: Vocabulary, *, max_tokens: int) -> dict[str, bytes]:
    """Everything but the weights; the tokenizer puts `<s> A </s>` and `<s> A </s></s> B </s>` around texts."""
    mask = {"content": MASK_TOKEN, "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    tokenizer = {
        "tokenizer_class": "RobertaTokenizer",
        "model_max_length": max_tokens,
        "add_prefix_space": False,
        "trim_offsets": True,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        **_SPECIAL,
        "mask_token": {"__type": "AddedToken", "special": True, **mask},
    }
    return {
        CONFIG: _json(config),
        TOKENIZER: dump_vocabulary(vocabulary),
        TOKENIZER_CONFIG: _json(tokenizer),
        SPECIAL_MAP: _json({**_SPECIAL, "mask_token": mask}),
    }


def _json(value: Mapping[str, object]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())
