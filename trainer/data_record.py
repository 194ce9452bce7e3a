"""RUN/data.jsonl: which generation of each growing corpus every epoch of a run reads.

In: the folders of --data as an epoch finds them. Out: one line for each epoch that has begun, from 0 on:

    {"epoch": 1, "data": [{"folder": "../news", "generation": 2, "manifest_sha256": "…"},
                          {"folder": "../books", "generation": null, "manifest_sha256": "…"}]}

The rule: a line is on the disk before any sample of its epoch is drawn, and is never written again, so whoever resumes
or inspects the run reads what was read then. `folder` is relative to RUN, in the order of --data; `manifest_sha256` is
that of the generation's file, and where nothing grows (`null`) of mixture.json, or else of the run's manifest. Runs
whose data do not grow have no such file: their settings.json says it all.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bpe.places import Place, relative_address, resolve_address
from trainer.run_folder import RunError, replace_file

DATA = "data.jsonl"
_REMEDY = "restore the file, or start again with another --output"


class FolderRecord(NamedTuple):
    """One folder of --data, as an epoch reads it."""

    folder: Place
    generation: int | None  # from 1; None where it does not grow
    manifest_sha256: str


class EpochRecord(NamedTuple):
    """What an epoch reads."""

    epoch: int
    data: tuple[FolderRecord, ...]


def read_records(run: Path) -> tuple[EpochRecord, ...]:
    """The epochs that have begun, from 0 on; () where there is no data.jsonl. RunError where it cannot be trusted.

    A last line without its end was cut off by a crash: no sample of that epoch was drawn, so it is left out.
    """
    path = run / DATA
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return ()
    records = tuple(
        _parse_record(line, run=run, where=f"{path}:{number}", epoch=number - 1)
        for number, line in enumerate(lines, 1)
        if line.endswith(b"\n")
    )
    for number, record in enumerate(records, 1):
        if [_grows(one) for one in record.data] != [_grows(one) for one in records[0].data]:
            raise RunError(f"{path}:{number}: its folders are not those of line 1; {_REMEDY}")
    return records


def begin_records(run: Path, record: EpochRecord) -> None:
    """Writes the first line, before there is a settings.json: what an earlier start left without one is replaced."""
    assert record.epoch == 0
    run.mkdir(parents=True, exist_ok=True)
    replace_file(run / DATA, _dump_record(record, run))
    _sync_names(run)


def append_record(run: Path, record: EpochRecord) -> None:
    """Adds the line of the next epoch; it is on the disk when this returns."""
    with (run / DATA).open("r+b") as stream:
        data = stream.read()
        stream.seek(data.rfind(b"\n") + 1)  # over a line that was cut off
        stream.truncate()
        stream.write(_dump_record(record, run))
        stream.flush()
        os.fsync(stream.fileno())


def _dump_record(record: EpochRecord, run: Path) -> bytes:
    # Relative to the run, so that both may be moved together.
    data = [{**one._asdict(), "folder": relative_address(one.folder, run)} for one in record.data]
    return (json.dumps({"epoch": record.epoch, "data": data}) + "\n").encode()


def _parse_record(line: bytes, *, run: Path, where: str, epoch: int) -> EpochRecord:
    try:
        plain = json.loads(line)
        record = EpochRecord(plain["epoch"], tuple(_parse_folder(one, run) for one in plain["data"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{where}: not what an epoch reads ({error}); {_REMEDY}") from error
    if record.epoch != epoch or not record.data:
        raise RunError(f"{where}: of epoch {record.epoch!r}, where epoch {epoch} belongs; {_REMEDY}")
    return record


def _parse_folder(plain: Mapping[str, object], run: Path) -> FolderRecord:
    folder, generation, digest = plain["folder"], plain["generation"], plain["manifest_sha256"]
    if not isinstance(folder, str) or not isinstance(digest, str):
        raise ValueError("folder and manifest_sha256 are texts")
    if generation is not None and (type(generation) is not int or generation < 1):
        raise ValueError(f"generation {generation!r}")
    return FolderRecord(resolve_address(folder, run), generation, digest)


def _grows(record: FolderRecord) -> bool:
    return record.generation is not None


def _sync_names(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
