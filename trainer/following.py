"""Which generation of a growing corpus an epoch trains on: chosen by rank 0, recorded, then the same for all ranks.

In: --data, and RUN/data.jsonl where there is one. Out: the runs of shards that the run began with, and for each epoch,
once it is open, its blocks. The rule: rank 0 records an epoch durably before it tells the others, and all agree on it
before any of them draws a sample, so whatever was drawn can be drawn again.

With `follow` an epoch reads the newest complete generation at its border; without, what the epoch before read, so that
a run stays at the generation that it began with. What was recorded of an epoch stands in both cases.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.growing import FILE_NAME, is_growing
from bpe.mixture import check_vocabulary
from bpe.places import Place, parse_place
from bpe.shared_vocabulary import SharedVocabulary
from trainer.data_record import DATA, EpochRecord, FolderRecord, append_record, read_records
from trainer.epoch_data import EpochSources, describe_folders, describe_newest
from trainer.parallel import Ranks, all_agree, sum_over_ranks
from trainer.plan import SampleId
from trainer.run_folder import SETTINGS, RunError
from trainer.sources import Source, check_shards, open_runs, vocabulary_of
from trainer.streaming import RankBatch, epochs_begun
from trainer.tally import name_runs

_RESTORE = "restore the file, or start again with another --output"


class EpochFacts(NamedTuple):
    """What there is to tell of an epoch."""

    generations: dict[str, int]  # of growing corpora, by name
    n_tokens: int  # of all corpora; about, where weights are fractions
    n_blocks: int  # repeats not counted


class RunData:
    """What a run reads, epoch by epoch; all ranks call a method at the same time."""

    def __init__(
        self, data: Sequence[str], run: Path, ranks: Ranks, *, follow: bool, say: Callable[[str], None]
    ) -> None:
        """ValueError where `follow` has nothing to follow, RunError or ShardError where data or records are bad."""
        self._folders = tuple(map(parse_place, data))
        self._run, self._ranks, self._follow, self._say = run, ranks, follow, say
        growing = [is_growing(folder) for folder in self._folders]
        if follow and not any(growing):
            raise ValueError(
                f"--follow-data: there is no growing corpus in --data {' '.join(data)}; leave the flag out, or name one"
            )
        self._records = list(_read_begun(run, growing)) if ranks.speaks else []  # the other ranks are told
        self._place = SampleId(0, 0, 0)
        self._facts: dict[int, EpochFacts] = {}
        self.stays = not follow and len({record.data for record in self._records}) < 2  # at one generation
        self.first: EpochRecord | None = None  # what epoch 0 reads; None where nothing grows
        if any(growing):
            self._sources = EpochSources()
            self.source: Source | EpochSources = self._sources
            self.first = self._settle(0)
            self.runs = self._sources.add(self.first).runs  # of the first epoch
        else:
            self.runs = open_runs(self._folders)
            self.source = Source(self.runs, split="train")
        check_shards(self.runs)
        self._checked = {(run.folder, run.fingerprint) for run in self.runs}

    def go_on(self, place: SampleId) -> None:
        """Where the run goes on; RunError where what is read there should be recorded, but is not."""
        self._place = place
        if self.first is None:
            return
        if self._ranks.speaks and place.epoch >= len(self._records):
            raise RunError(f"{self._run / DATA}: no line of epoch {place.epoch}, where the run goes on; {_RESTORE}")
        self.open_epoch(place.epoch)

    def open_epoch(self, epoch: int) -> None:
        """Opens an epoch, its record on the disk before that."""
        record = self._settle(epoch)
        facts = self._facts[epoch] = _describe(record, self._open(record))
        read = ", ".join(f"generation {number} of {name}" for name, number in facts.generations.items())
        goes_on = epoch == self._place.epoch and self._place[1:] != (0, 0)
        self._say(
            f"epoch {epoch}{' goes on' if goes_on else ''}: {read}; "
            f"{facts.n_tokens:,} tokens in {facts.n_blocks:,} blocks"
        )

    def describe_begun(self, batch: RankBatch) -> dict[str, int]:
        """What the log says of the last epoch that begins in a batch; {} where none does, or nothing grows."""
        begun = [epoch for epoch in epochs_begun(batch) if epoch in self._facts]
        if not begun:
            return {}
        facts = self._facts[begun[-1]]
        alone = len(facts.generations) == 1
        generations = {"generation" if alone else f"generation/{name}": n for name, n in facts.generations.items()}
        return {"epoch": begun[-1], **generations, "epoch_tokens": facts.n_tokens}

    def _settle(self, epoch: int) -> EpochRecord:
        """The record of an epoch, the same on all ranks, and on the disk unless it is the first."""
        chosen = self._choose(epoch) if self._ranks.speaks else None
        told = [one.generation or 0 for one in chosen.data] if chosen else [0] * len(self._folders)
        generations = [number or None for number in sum_over_ranks(told, self._ranks)]
        record = chosen or EpochRecord(epoch, describe_folders(self._folders, generations))
        read = repr([one.manifest_sha256 for one in record.data]).encode()
        if not all_agree(int(hashlib.sha256(read).hexdigest()[:7], 16), self._ranks):
            raise RunError("the ranks do not find the same manifests in --data; give all of them the same")
        return record

    def _choose(self, epoch: int) -> EpochRecord:
        """What was recorded of an epoch, or is from now on: what it is to read. On rank 0 only."""
        if epoch < len(self._records):
            return EpochRecord(epoch, _put_into(self._records[epoch].data, self._folders))
        assert epoch == len(self._records)
        if not self._records:
            record = EpochRecord(epoch, describe_newest(self._folders))  # claim_folder writes it
        else:
            before = _put_into(self._records[-1].data, self._folders)
            record = EpochRecord(epoch, describe_newest(self._folders) if self._follow else before)
            _refuse_older(before, record.data)
            self._open(record)  # what cannot be read is not recorded
            append_record(self._run, record)
        self._records.append(record)
        return record

    def _open(self, record: EpochRecord) -> Source:
        """The blocks of an epoch, after a look at what is new among them."""
        source = self._sources.add(record)
        first = vocabulary_of(self.runs)
        wanted = SharedVocabulary(first.fingerprint, first.encoding, first.size)
        check_vocabulary(
            vocabulary_of(source.runs), wanted, path=source.runs[0].folder / FILE_NAME, other=self.runs[0].folder
        )
        new = tuple(run for run in source.runs if (run.folder, run.fingerprint) not in self._checked)
        check_shards(new)
        self._checked.update((run.folder, run.fingerprint) for run in new)
        return source


def _read_begun(run: Path, growing: Sequence[bool]) -> tuple[EpochRecord, ...]:
    """The records of a run; () where it has not begun. RunError where they are not of folders such as these."""
    if not (run / SETTINGS).exists():
        return ()  # whatever an earlier start left, no sample was drawn
    records = read_records(run)
    if any(growing) and not records:
        raise RunError(f"{run} holds a run, but no {DATA}, which says what its epochs read; {_RESTORE}")
    if records and [one.generation is not None for one in records[0].data] != list(growing):
        folders = " ".join(str(one.folder) for one in records[0].data)
        raise RunError(f"{run / DATA}: the run began with --data {folders}; repeat it, or name another --output")
    return records


def _put_into(data: Sequence[FolderRecord], folders: Sequence[Place]) -> tuple[FolderRecord, ...]:
    """The same records of folders that may have been moved since."""
    return tuple(one._replace(folder=folder) for one, folder in zip(data, folders, strict=True))


def _refuse_older(before: Sequence[FolderRecord], after: Sequence[FolderRecord]) -> None:
    """ShardError where a corpus has shrunk, or a generation is another by now."""
    for old, new in zip(before, after, strict=True):
        if (new.generation or 0) < (old.generation or 0):
            raise ShardError(
                old.folder / FILE_NAME,
                "generation",
                f"{new.generation}, but the epoch before read {old.generation}; restore the newest of generations/",
            )


def _describe(record: EpochRecord, source: Source) -> EpochFacts:
    names = name_runs([corpus[0] for corpus in source.corpora])
    named = {corpus[0].growing: name for corpus, name in zip(source.corpora, names, strict=True)}
    generations = {named[one.folder]: one.generation for one in record.data if one.generation is not None}
    return EpochFacts(generations, source.epoch_tokens, len(source))
