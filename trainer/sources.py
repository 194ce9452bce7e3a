"""The finished runs that a training reads: their manifests, checked to belong together, and their blocks.

In: folders with a manifest, with a mixture of such folders by weight (bpe.mixture), or with a corpus that grows by such
folders (bpe.growing). Out: `Source`, which numbers the blocks of a split and reads any of them. The rule: only what the
manifests list is opened, and every block is verified against them before it is used.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bpe.errors import ShardError
from bpe.growing import is_growing
from bpe.manifest import FILE_NAME, Manifest, ShardEntry, VocabularyEntry, parse_manifest, verify_files
from bpe.mixture import FILE_NAME as MIXTURE
from bpe.mixture import is_mixture, load_mixture, open_source, parse_weight
from bpe.places import Place, parse_place
from bpe.shards import Shard, ShardBlock, check_shard, open_shard
from bpe.vocabulary import BYTE_LETTERS, SPECIAL_TOKENS, load_vocabulary
from trainer.mixing import Part
from trainer.stored import StoredShards

_OPEN_SHARDS = 64  # a run may have tens of thousands; only those of the current window are needed


_SMALL_BYTES = 64 << 20  # a fraction of a second to hash


class Run(NamedTuple):
    """A finished run of shards."""

    folder: Place
    manifest: Manifest
    fingerprint: str  # sha256 of the manifest's file
    weight: Fraction = Fraction(1)  # times that its train blocks are seen in an epoch
    growing: Place | None = None  # the growing corpus that it is a window of


class BlockPlace(NamedTuple):
    """Where a block is stored."""

    run: int  # ordinal among the runs of the source
    shard: ShardEntry
    block: int  # of the shard


def open_runs(
    folders: Sequence[str | Place], generations: Sequence[int | None] = (), *, known: Iterable[Run] = ()
) -> tuple[Run, ...]:
    """The runs in these folders and mixtures, all encoded with one vocabulary; ShardError names what does not fit.

    `generations` says which one is read of each folder that grows, by default the newest. Windows that are `known`
    already are not opened again.
    """
    windows = {(run.folder, run.fingerprint): run for run in known if run.growing}
    asked = generations or (None,) * len(folders)
    runs = tuple(
        run
        for folder, generation in zip(folders, asked, strict=True)
        for run in _open_folder(parse_place(folder), generation, windows)
    )
    first = vocabulary_of(runs[:1])
    for run in runs[1:]:
        other = vocabulary_of((run,))
        if (other.fingerprint, other.encoding) != (first.fingerprint, first.encoding):
            raise ShardError(
                run.folder,
                "vocabulary",
                f"{other.encoding} ids of vocabulary {other.fingerprint[:16]}, but {runs[0].folder} holds "
                f"{first.encoding} ids of {first.fingerprint[:16]}; encode both with one vocabulary",
            )
    return runs


def vocabulary_of(runs: tuple[Run, ...]) -> VocabularyEntry:
    """The vocabulary that runs share."""
    run = runs[0]
    if run.manifest.vocabulary is None:
        raise ShardError(run.folder, "vocabulary", "holds documents but no shards; make them with `prep-shards encode`")
    return run.manifest.vocabulary


def group_runs(runs: Sequence[Run]) -> tuple[tuple[Run, ...], ...]:
    """The runs by corpus: windows of a growing one are one corpus together, any other run is one of its own.

    So the corpora of a run stay as many, and in the same order, however many windows come.
    """
    corpora: list[tuple[Run, ...]] = []
    for run in runs:
        if corpora and run.growing is not None and corpora[-1][-1].growing == run.growing:
            corpora[-1] += (run,)
        else:
            corpora.append((run,))
    return tuple(corpora)


def find_word_starts(runs: tuple[Run, ...]) -> npt.NDArray[np.bool_]:
    """bool [vocabulary], whether an id begins a word: its text starts with a space, or it is a special one.

    Read from the vocab.json beside the first run's manifest; ShardError where it is another's.
    """
    expected, path = vocabulary_of(runs), runs[0].folder / "vocab.json"
    vocabulary = load_vocabulary(path)
    if vocabulary.fingerprint != expected.fingerprint:
        raise ShardError(
            path,
            "",
            f"is vocabulary {vocabulary.fingerprint[:16]}, but the shards were encoded with "
            f"{expected.fingerprint[:16]}; put that one there",
        )
    spaces = tuple(BYTE_LETTERS[byte] for byte in b" \t\n\r")
    return np.array([token in SPECIAL_TOKENS or token.startswith(spaces) for token in vocabulary.tokens])


def check_shards(runs: tuple[Run, ...]) -> None:
    """ShardError where the shards on disk are not those of the manifests: missing, of another size, or not listed.

    Small runs on a disk are read whole and compared by sha256. Others are verified block by block as they are read,
    and as they are fetched; `inspect-shards verify` reads all of them.
    """
    for run in runs:
        folder = run.folder / "shards"
        for fault in verify_files(run.manifest, run.folder, full=False):
            if fault.path.startswith(f"{folder}/"):
                raise fault
    if sum(shard.bytes for run in runs for shard in run.manifest.shards) <= _SMALL_BYTES:
        for run in runs:
            if isinstance(run.folder, Path):
                for shard in run.manifest.shards:
                    check_shard(run.folder / shard.name, shard)


class Source:
    """The blocks of one split of some runs, numbered in the order of runs, shards and blocks."""

    def __init__(self, runs: tuple[Run, ...], *, split: str) -> None:
        self.runs = runs
        self.corpora = group_runs(runs)
        self.corpus_of_run = np.repeat(np.arange(len(self.corpora)), list(map(len, self.corpora)))
        self.split = split
        self.name = ", ".join(str(run.folder) for run in runs)
        self._shards = [
            (number, shard) for number, run in enumerate(runs) for shard in run.manifest.shards if shard.split == split
        ]
        counts = [shard.blocks.offset.size for _, shard in self._shards]
        self._ends = np.cumsum(np.array(counts, dtype=np.int64))
        self.n_tokens = sum(shard.n_tokens for _, shard in self._shards)
        self.epoch_tokens = int(sum(shard.n_tokens * runs[number].weight for number, shard in self._shards))  # about
        n_blocks = [0] * len(self.corpora)
        for (number, _), n in zip(self._shards, counts, strict=True):
            n_blocks[self.corpus_of_run[number]] += n
        self.parts = _make_parts(self.corpora, n_blocks)
        self._stored = StoredShards([(runs[number].folder / shard.name, shard) for number, shard in self._shards])
        self._open: OrderedDict[int, Shard] = OrderedDict()

    def __len__(self) -> int:
        """Number of blocks."""
        return int(self._ends[-1]) if self._ends.size else 0

    def place(self, number: int) -> BlockPlace:
        """Where block `number` is stored."""
        shard = int(np.searchsorted(self._ends, number, side="right"))
        run, entry = self._shards[shard]
        return BlockPlace(run, entry, number - int(self._ends[shard]) + entry.blocks.offset.size)

    def read(self, number: int) -> ShardBlock:
        """Block `number`, verified; ShardError names the shard that cannot be trusted."""
        shard, block = self._find(number)
        return self._stored.read(shard, block) or self._shard(shard).block(block)

    def expect(self, numbers: Iterable[int]) -> None:
        """Fetches what these blocks need, in threads, where it lies in an object store: they are read soon."""
        if self._stored:
            self._stored.expect(map(self._find, numbers))

    def _find(self, number: int) -> tuple[int, int]:
        """The ordinal of the shard that a block is of, and the block's number in it."""
        return int(np.searchsorted(self._ends, number, side="right")), self.place(number).block

    def _shard(self, number: int) -> Shard:
        if number not in self._open:
            run, entry = self._shards[number]
            self._stored.wait_for(number)
            self._open[number] = open_shard(self.runs[run].folder / entry.name, entry)
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return self._open[number]


def concatenate_blocks(blocks: Sequence[ShardBlock]) -> tuple[npt.NDArray[Any], ...]:
    """Tokens, sentence lengths and sentences per document of several blocks, as one block's."""
    return (
        np.concatenate([block.tokens for block in blocks]),
        np.concatenate([block.sentence_lengths for block in blocks]),
        np.concatenate([block.sentences_per_document for block in blocks]),
    )


def _make_parts(corpora: Sequence[tuple[Run, ...]], counts: Sequence[int]) -> tuple[Part, ...]:
    """The blocks of each corpus; windows are seen once an epoch each, and so are their blocks together."""
    parts, first = [], 0
    for runs, n_blocks in zip(corpora, counts, strict=True):
        parts.append(Part(first, n_blocks, runs[0].weight))
        first += n_blocks
    return tuple(parts)


def _open_folder(folder: Place, generation: int | None, windows: Mapping[tuple[Place, str], Run]) -> Iterator[Run]:
    """The run in a folder, or those of the mixture in it."""
    if not is_mixture(folder):
        yield _open_run(folder)
        return
    mixture = load_mixture(folder, generation=generation)
    growing = folder if is_growing(folder) and not (folder / MIXTURE).is_file() else None
    for source in mixture.sources:
        path = folder / source.run
        if growing and (path, source.manifest_sha256) in windows:
            yield windows[path, source.manifest_sha256]
            continue
        manifest = open_source(folder, source)
        yield Run(path, manifest, source.manifest_sha256, parse_weight(source.weight), growing)


def _open_run(folder: Place) -> Run:
    file = folder / FILE_NAME if folder.is_dir() else folder
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(file, "", "no manifest, so there is no finished run here; finish the run first") from error
    manifest = parse_manifest(data, path=str(file))
    return Run(file.parent, manifest, hashlib.sha256(data).hexdigest())
