"""What each epoch reads: of a growing corpus the generation that was recorded for it, of all else what was given.

In: records of epochs (trainer.data_record). Out: the runs of shards of each, and their train blocks as a `Source`. The
rule: a record means the bytes that it was made of; where a folder holds others by now it is an error, never another
order.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from bpe.errors import ShardError
from bpe.growing import generation_name, is_growing, load_generation, load_growing
from bpe.manifest import FILE_NAME as MANIFEST
from bpe.manifest import load_manifest
from bpe.mixture import FILE_NAME as MIXTURE
from bpe.places import Place
from trainer.data_record import DATA, EpochRecord, FolderRecord
from trainer.run_folder import was_before_removal, why_not_the_same
from trainer.sources import Run, Source, open_runs

_KEPT_SOURCES = 2  # a batch that runs across a border needs both sides


class EpochNotOpenError(Exception):
    """An epoch that nothing is recorded of yet."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch {epoch} has not begun")
        self.epoch = epoch


class EpochSources:
    """The train blocks of the epochs that were added, by epoch; the last few are kept open."""

    def __init__(self, records: Iterable[EpochRecord] = ()) -> None:
        self._records = {record.epoch: record for record in records}
        self._kept: OrderedDict[tuple[FolderRecord, ...], Source] = OrderedDict()

    def __call__(self, epoch: int) -> Source:
        """What an epoch reads; EpochNotOpenError where it was not added, ShardError where it is there no more."""
        if epoch not in self._records:
            raise EpochNotOpenError(epoch)
        return self._open(self._records[epoch].data)

    def add(self, record: EpochRecord) -> Source:
        """Opens one more epoch."""
        source = self._open(record.data)
        self._records[record.epoch] = record
        return source

    def _open(self, data: tuple[FolderRecord, ...]) -> Source:
        if data not in self._kept:
            known = [run for source in self._kept.values() for run in source.runs]
            self._kept[data] = Source(open_recorded(data, known=known), split="train")
            if len(self._kept) > _KEPT_SOURCES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(data)
        return self._kept[data]


def describe_newest(folders: Sequence[Place]) -> tuple[FolderRecord, ...]:
    """The folders as they are now, growing ones at their newest complete generation."""
    newest = [load_generation(folder)[0].generation if is_growing(folder) else None for folder in folders]
    return describe_folders(folders, newest)


def describe_folders(folders: Sequence[Place], generations: Sequence[int | None]) -> tuple[FolderRecord, ...]:
    """The folders at these generations, None for those that do not grow; ShardError where there is none such."""
    return tuple(map(_describe_folder, folders, generations))


def open_recorded(data: Sequence[FolderRecord], *, known: Iterable[Run] = ()) -> tuple[Run, ...]:
    """The runs of shards of some records; ShardError where a folder is not what was recorded, or lost something.

    Of windows that are `known` already the manifests are not read again.
    """
    try:
        _compare(data)
        return open_runs([one.folder for one in data], [one.generation for one in data], known=known)
    except ShardError as error:
        _explain_removal(data, error)
        raise


def _compare(data: Sequence[FolderRecord]) -> None:
    """ShardError where a folder has another manifest than was recorded."""
    for recorded in data:
        found = _describe_folder(recorded.folder, recorded.generation)
        if found != recorded:
            path, before, now = _manifest_of(*recorded[:2]), recorded.manifest_sha256, found.manifest_sha256
            raise ShardError(
                path,
                "",
                f"sha256 {now[:16]}, but the run read {before[:16]} ({DATA}): it was made again since; restore it, or "
                "start again with another --output",
            )


def _explain_removal(data: Sequence[FolderRecord], error: ShardError) -> None:
    """Another ShardError where a run of shards is only too well what was read: without documents forgotten since."""
    for recorded in data:
        for folder, digest in _runs_of(recorded):
            try:
                manifest = load_manifest(folder)
            except (ShardError, OSError):
                continue
            if was_before_removal(manifest, digest):
                found = f"the run {why_not_the_same(folder)}; start again with another --output"
                raise ShardError(folder / MANIFEST, "", found) from error


def _runs_of(recorded: FolderRecord) -> list[tuple[Place, str]]:
    """The runs of shards in a folder, and the sha256 of their manifests when they were read."""
    if recorded.generation is not None:
        try:
            growing = load_growing(recorded.folder, generation=recorded.generation)
        except ShardError:
            return []
        return [(recorded.folder / window.run, window.manifest_sha256) for window in growing.windows]
    return [(recorded.folder, recorded.manifest_sha256)]


def _describe_folder(folder: Place, generation: int | None) -> FolderRecord:
    path = _manifest_of(folder, generation)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        found = "no manifest, so there is no finished run here; finish the run first"
        if generation is not None:
            found = f"generation {generation} is gone, and an epoch of the run reads it; restore the file"
        raise ShardError(path, "", found) from error
    return FolderRecord(folder, generation, hashlib.sha256(data).hexdigest())


def _manifest_of(folder: Place, generation: int | None) -> Place:
    """The file whose sha256 stands for all that a folder holds."""
    if generation is not None:
        return folder / generation_name(generation)
    if not folder.is_dir():
        return folder  # a manifest itself may be named, too
    return folder / (MIXTURE if (folder / MIXTURE).is_file() else MANIFEST)
