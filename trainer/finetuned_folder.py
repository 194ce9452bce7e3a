"""What a finetuning's folder holds, for whoever adds seeds to it, starts from it, or averages it with others.

    OUT/settings.json    task, settings, start, data and vocabulary by fingerprint, shape of the model
    OUT/vocab.json       the vocabulary, so that the folder can be used on its own
    OUT/seed-1/log.jsonl               a line per update, and per measurement on dev
               model.safetensors       encoder.* and head.* after the best update
               scores-dev.safetensors  the task's scores of each split, in its order
               predictions/CoLA.tsv    what the benchmark's server or script reads
               result.json             metrics; written last: a seed without it is not finished
    OUT/report.json, report.txt        all seeds and their median

In: settings and results. Out: the same, read back. The rule: a folder holds one task, one start, one set of settings;
a finished seed is never run again.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import Tensor

from bpe.vocabulary import Vocabulary, dump_vocabulary
from trainer.model import Shape
from trainer.run_folder import SETTINGS, RunError, replace_file
from trainer.tasks import Features, Scores

FORMAT = "shardmill-finetuned-1"
VOCABULARY, MODEL, RESULT, PREDICTIONS = "vocab.json", "model.safetensors", "result.json", "predictions"
_SEED = "seed-"


class Output(NamedTuple):
    """What settings.json holds."""

    task: str
    settings: Mapping[str, int | float | str]  # those that results depend on
    start: str  # sha256 of the weights that were started from
    data: str  # sha256 of training's and dev's features
    vocabulary: str  # fingerprint
    shape: Shape


class SeedResult(NamedTuple):
    """A finished seed."""

    seed: int
    update: int  # the best, whose state is kept
    last_update: int  # after which training ended
    updates: int  # of the whole schedule
    dev: Mapping[str, Mapping[str, float]]  # split -> metric -> value
    chosen: float  # the value of the metric that decides


def is_finetuned(path: Path) -> bool:
    """Whether this is a finetuned output, or one of its seeds."""
    for folder in (path, path.parent):
        try:
            plain = json.loads((folder / SETTINGS).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(plain, dict) and plain.get("format") == FORMAT:
            return folder == path or path.name.startswith(_SEED)
    return False


def seed_folder(folder: Path, seed: int) -> Path:
    """Where a seed's files are."""
    return folder / f"{_SEED}{seed}"


def claim_output(folder: Path, wanted: Output, vocabulary: Vocabulary, *, writes: bool) -> None:
    """Makes a folder that of this finetuning, or finds that it is; RunError where it is another's."""
    if (folder / SETTINGS).exists():
        _refuse_other(folder, read_output(folder), wanted)
        return
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / VOCABULARY, dump_vocabulary(vocabulary))
        plain = {"format": FORMAT, **wanted._asdict(), "shape": wanted.shape._asdict()}
        replace_file(folder / SETTINGS, _dump(plain))


def read_output(folder: Path) -> Output:
    """The settings of a finetuned output; RunError where there are none."""
    path = folder / SETTINGS
    try:
        plain = json.loads(path.read_bytes())
        if plain.pop("format") != FORMAT:
            raise RunError(f"{path} is not of a finetuning ({FORMAT!r} was expected); name another folder")
        return Output(**{**plain, "shape": Shape(**plain["shape"])})
    except FileNotFoundError as error:
        raise RunError(f"{folder}: no finetuned output, there is no {SETTINGS}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: not the settings of a finetuning ({error}); name another folder") from error


def _refuse_other(folder: Path, found: Output, wanted: Output) -> None:
    theirs, ours = {**found.settings, **found._asdict()}, {**wanted.settings, **wanted._asdict()}
    names = [name for name in {**theirs, **ours} if name != "settings" and theirs.get(name) != ours.get(name)]
    if names:
        shown = "; ".join(f"{name} {_short(theirs.get(name))} (now {_short(ours.get(name))})" for name in names)
        raise RunError(f"{folder} holds a finetuning with {shown}: repeat its settings, or name another --output")


def _short(value: object) -> str:
    return value[:16] if isinstance(value, str) else str(value)


def clear_seed(folder: Path) -> None:
    """An empty folder for a seed that begins: nothing of one that was cut off stays."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def write_model(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """The weights of a seed's best state."""
    replace_file(folder / MODEL, save_tensors(dict(weights)))


def write_scores(folder: Path, split: str, scores: Sequence[Scores]) -> None:
    """The scores of a split, whose arrays may differ in length."""
    shapes = np.array([array.shape for array in scores], np.int64).reshape(len(scores), -1)
    flat = np.concatenate([array.astype(np.float32).ravel() for array in scores])
    replace_file(_scores_path(folder, split), save_arrays({"values": flat, "shapes": shapes}))


def read_scores(folder: Path, split: str) -> list[Scores]:
    """The same, read back; RunError where they are not there."""
    path = _scores_path(folder, split)
    try:
        arrays = load_arrays(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: {error}; finetune that seed again") from error
    shapes = [tuple(row) for row in arrays["shapes"].tolist()]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(arrays["values"], ends[:-1]), shapes, strict=True)]


def _scores_path(folder: Path, split: str) -> Path:
    return folder / f"scores-{split}.safetensors"


def write_result(folder: Path, result: SeedResult) -> None:
    """Says that a seed is finished: the last thing that is written of it."""
    replace_file(folder / RESULT, _dump({"format": FORMAT, **result._asdict()}))


def read_result(folder: Path) -> SeedResult | None:
    """The result of a seed; None where it is not finished."""
    path = folder / RESULT
    try:
        plain = json.loads(path.read_bytes())
        if plain.pop("format") != FORMAT:
            raise RunError(f"{path}: not of format {FORMAT!r}; name another --output")
        return SeedResult(**plain)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: not the result of a seed ({error}); remove {folder} and run it again") from error


def finished_seeds(path: Path) -> list[Path]:
    """The folders of an output's finished seeds, or this one seed; RunError where there are none."""
    if path.name.startswith(_SEED) and (path / RESULT).exists():
        return [path]
    found = sorted(path.glob(f"{_SEED}*/{RESULT}"), key=lambda result: int(result.parent.name.removeprefix(_SEED)))
    if not found:
        raise RunError(f"{path}: no seed is finished here; finetune it first")
    return [result.parent for result in found]


def choose_seed(path: Path) -> tuple[Path, Output]:
    """The seed of an output that is best on dev, or the one that is named."""
    folders = finished_seeds(path)
    chosen = {folder: result.chosen for folder in folders if (result := read_result(folder)) is not None}
    best = max(chosen, key=lambda folder: chosen[folder])
    return best, read_output(best.parent)


def digest_features(splits: Sequence[Sequence[Features]]) -> str:
    """sha256 of what training and dev consist of, so that another vocabulary or file is noticed."""
    digest = hashlib.sha256()
    for features in splits:
        digest.update(f"{len(features)} features".encode())
        for feature in features:
            for row in feature.rows:
                digest.update(row.size.to_bytes(4, "little") + row.tobytes())
            digest.update(feature.targets.tobytes())
    return digest.hexdigest()


def _dump(plain: Mapping[str, object]) -> bytes:
    return (json.dumps(plain, indent=1) + "\n").encode()
