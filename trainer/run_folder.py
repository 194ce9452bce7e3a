"""What a run's folder says of the run: settings.json, written once at its start, and log.jsonl, a line per update.

In: settings and the runs of shards that are read. Out: the same, for whoever resumes or inspects the run. The rule:
settings.json holds all that the order of training depends on, and a folder serves one run only.

    RUN/settings.json   settings, shards (folder relative to RUN or in a store, hash of the manifest, weight
                        unless it is 1), vocabulary
    RUN/log.jsonl       {"update": 50, "loss": ..., "place": [epoch, window, offset], "batch": ...}; pair formats add
                        "next_sentence_loss", several runs of shards "tokens_by_corpus"; where the held-out split was
                        measured after it {..., "held_out_loss": ..., "held_out_perplexity": ...,
                        "held_out_by_corpus": {...}}; the first line, {"update": 0, "held_out_loss": ...}, is of the
                        model that has learnt nothing yet. Where data grow, the line with the first sample of an
                        epoch adds "epoch", "generation" ("generation/NAME" of several) and "epoch_tokens"
    RUN/data.jsonl      where data grow: what each epoch reads, see trainer.data_record
    RUN/checkpoints/    see trainer.checkpoints
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from bpe.manifest import Manifest, load_manifest
from bpe.places import Place, relative_address, resolve_address
from trainer.plan import SampleId
from trainer.settings import Settings, make_settings, training_fields
from trainer.sources import Run, vocabulary_of

FORMAT = "shardmill-run-2"  # 2: masks are drawn per token; a run of format 1 would go on with others
SETTINGS, LOG, CHECKPOINTS = "settings.json", "log.jsonl", "checkpoints"


class RunError(Exception):
    """A run's folder that cannot be used as it is; command lines exit 1 with its one line."""


class RunDescription(NamedTuple):
    """What settings.json holds."""

    settings: Settings
    folders: tuple[Place, ...]  # of shards
    manifests: tuple[str, ...]  # sha256 of each manifest's file
    vocabulary: str  # fingerprint
    vocabulary_size: int
    weights: tuple[Fraction, ...]  # of the runs of shards, in the same order


def describe_run(settings: Settings, runs: tuple[Run, ...]) -> RunDescription:
    """The description of a run that starts now."""
    vocabulary = vocabulary_of(runs)
    return RunDescription(
        settings,
        tuple(run.folder for run in runs),
        tuple(run.fingerprint for run in runs),
        vocabulary.fingerprint,
        vocabulary.size,
        tuple(run.weight for run in runs),
    )


def plain_description(folder: Path, description: RunDescription) -> dict[str, object]:
    """A description as settings.json and the checkpoints hold it."""
    shards = [
        # Relative to the run, so that both may be moved together.
        {"folder": relative_address(path, folder), "manifest_sha256": manifest}
        | ({} if weight == 1 else {"weight": str(weight)})
        for path, manifest, weight in zip(description.folders, description.manifests, description.weights, strict=True)
    ]
    return {
        "settings": dataclasses.asdict(description.settings),
        "shards": shards,
        "vocabulary": {"fingerprint": description.vocabulary, "size": description.vocabulary_size},
    }


def write_description(folder: Path, description: RunDescription) -> None:
    """Writes settings.json, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"format": FORMAT, **plain_description(folder, description)}
    replace_file(folder / SETTINGS, (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


def read_description(folder: Path) -> RunDescription | None:
    """The description of the run in this folder; None where there is none."""
    path = folder / SETTINGS
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); give the run another folder") from error
    try:
        if plain["format"] != FORMAT:
            raise RunError(
                f"{path}: a run of format {plain['format']!r}, and this version trains {FORMAT!r}, in another order; "
                "give the run another folder, or finish it with the version that began it"
            )
        return RunDescription(
            make_settings(plain["settings"], where=str(path)),
            tuple(resolve_address(entry["folder"], folder) for entry in plain["shards"]),
            tuple(entry["manifest_sha256"] for entry in plain["shards"]),
            plain["vocabulary"]["fingerprint"],
            plain["vocabulary"]["size"],
            tuple(Fraction(entry.get("weight", 1)) for entry in plain["shards"]),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise RunError(f"{path}: not the description of a run ({error}); give the run another folder") from error


def refuse_other_run(folder: Path, found: RunDescription, wanted: RunDescription) -> None:
    """RunError where the run in the folder is not the one that this command describes."""
    theirs, ours = training_fields(found.settings), training_fields(wanted.settings)
    differing = [f"{name} {theirs[name]} (now {ours[name]})" for name in ours if theirs[name] != ours[name]]
    if found.vocabulary != wanted.vocabulary:
        differing.append(f"vocabulary {found.vocabulary[:16]} (now {wanted.vocabulary[:16]})")
    if found.manifests != wanted.manifests:
        theirs_short, ours_short = (", ".join(name[:16] for name in each.manifests) for each in (found, wanted))
        differing.append(f"shards of manifest {theirs_short} (now {ours_short})")
        forgetful = [
            path
            for path, before, now in zip(wanted.folders, found.manifests, wanted.manifests, strict=False)
            if before != now and was_before_removal(load_manifest(path), before)
        ]
        if forgetful:
            raise RunError(f"{folder} holds a run that {why_not_the_same(forgetful[0])}; name another --output")
    if found.weights != wanted.weights:
        theirs_weights, our_weights = (", ".join(map(str, each.weights)) for each in (found, wanted))
        differing.append(f"weights {theirs_weights} (now {our_weights})")
    if differing:
        raise RunError(
            f"{folder} holds a run with {'; '.join(differing)}: repeat its settings, or name another --output"
        )


def was_before_removal(manifest: Manifest, fingerprint: str) -> bool:
    """Whether this is the run of that manifest, with documents taken out since by `prep-shards forget`."""
    return any(removal.previous_manifest == fingerprint for removal in manifest.removals)


def why_not_the_same(shards: Place) -> str:
    """Why a run that read these shards cannot go on; continues a sentence on the run."""
    return (
        f"read {shards} before documents were forgotten there: the shards are others now, and with them the order of"
        " all samples"
    )


def read_log(folder: Path) -> Iterator[Mapping[str, object]]:
    """The lines of log.jsonl; a last line that was cut off by a crash is left out."""
    try:
        lines = (folder / LOG).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                return
            raise RunError(f"{folder / LOG}:{number}: not JSON ({error})") from error
        yield entry


def truncate_log(folder: Path, update: int) -> None:
    """Takes from log.jsonl what came after an update, so that a resumed run logs no update twice.

    After update 0 is a new beginning, which measures the untrained model again: nothing is kept.
    """
    entries = read_log(folder) if update else iter(())
    kept = [entry for entry in entries if isinstance(at := entry.get("update"), int) and at <= update]
    replace_file(folder / LOG, "".join(json.dumps(entry) + "\n" for entry in kept).encode())


def first_sample_of(folder: Path, update: int) -> tuple[int, SampleId]:
    """The last logged update up to this one, and its first sample: where to count from."""
    known = (1, SampleId(0, 0, 0))
    for entry in read_log(folder):
        at, place = entry.get("update"), entry.get("place")
        if isinstance(at, int) and isinstance(place, list) and known[0] <= at <= update:
            known = (at, SampleId(*place))
    return known


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, and not before its bytes are on the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
