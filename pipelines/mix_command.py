"""`prep-shards mix`: one training set out of several finished runs, each seen as often in an epoch as its weight says.

Nothing is copied: the mixture names the runs by path and by the hash of their manifests, and `pretrain.py --data` takes
its folder as it takes a run's. Held out is what the runs themselves hold out, once each, whatever the weights. A
document that one run holds out and another trains on is refused; documents are compared by id, which says where a
record stands in the crawl, so the same text from another place is not noticed (`--against` in `beam run` is for that).
"""

import argparse
import hashlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpe.errors import ShardError
from bpe.manifest import FILE_NAME as MANIFEST
from bpe.manifest import Manifest, parse_manifest, verify_files
from bpe.mixture import (
    FILE_NAME,
    Mixture,
    MixtureSource,
    check_vocabulary,
    dump_mixture,
    is_mixture,
    parse_weight,
)
from bpe.shared_vocabulary import SharedVocabulary
from pipelines.command import print_lines
from pipelines.sharding import HELD_OUT, TRAIN
from pipelines.storage import make_folder, write_atomically


class Source(NamedTuple):
    """A run to be mixed in."""

    folder: Path
    manifest: Manifest
    manifest_sha256: str
    weight: str


def add_mix_parser(commands: Any) -> None:
    """Mounts `mix` on the parser of prep-shards."""
    parser = commands.add_parser("mix", help="mix corpora by weight into one training set", description=__doc__)
    parser.add_argument(
        "--source", nargs="+", action="extend", required=True, metavar="RUN:WEIGHT",
        help="folder of a finished run with shards, and how often it is seen in an epoch: 2 is twice, 0.5 half of it"
             " in each epoch, in turn; without :WEIGHT once",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="OUT", help="folder of the mixture; made if it is not there")
    parser.add_argument("--overwrite", action="store_true", help="replace another mixture in OUT")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(handler=mix)


def mix(flags: argparse.Namespace) -> None:
    """Runs the command; raises ValueError, ShardError or OSError."""
    output = Path(flags.output).resolve()
    if (output / MANIFEST).exists():
        raise ValueError(f"--output {flags.output} holds a run; name a folder of the mixture's own")
    sources = [open_source(*split_source(text)) for text in flags.source]
    mixture = make_mixture(sources, output)
    check_held_out(sources)
    data = dump_mixture(mixture)
    path = output / FILE_NAME
    if is_mixture(output) and path.read_bytes() != data and not flags.overwrite:
        raise ValueError(f"--output {flags.output} holds another mixture; say --overwrite to replace it")
    make_folder(str(output))
    write_atomically(str(path), lambda stream: stream.write(data))
    print_lines(f"mixed {len(sources)} runs in {path}", *describe(sources))


def split_source(text: str) -> tuple[Path, str]:
    """A run's folder and weight.

    >>> split_source("out/ccnews:0.5"), split_source("out/ccnews")
    ((PosixPath('out/ccnews'), '0.5'), (PosixPath('out/ccnews'), '1'))
    """
    folder, colon, weight = text.rpartition(":")
    if not colon:
        folder, weight = text, "1"
    try:
        parse_weight(weight)
    except ValueError as error:
        raise ValueError(f"--source {text}: {error}; write RUN:WEIGHT") from error
    if "://" in text:
        raise ValueError(f"--source {text} is an address; the trainer reads runs from a disk, so fetch it first")
    return Path(folder), weight


def open_source(folder: Path, weight: str) -> Source:
    """A finished run whose shards are all there; ShardError where they are not."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ShardError(path, "", "no manifest, so there is no finished run here; finish the run first")
    data = path.read_bytes()
    manifest = parse_manifest(data, path=str(path))
    for fault in verify_files(manifest, folder, full=False):
        if Path(fault.path).is_relative_to(folder / "shards"):
            raise fault
    if not any(shard.split == TRAIN for shard in manifest.shards):
        raise ShardError(path, "shards", "no shards to train on; make them with `prep-shards encode`")
    return Source(folder.resolve(), manifest, hashlib.sha256(data).hexdigest(), weight)


def make_mixture(sources: Sequence[Source], output: Path) -> Mixture:
    """The mixture, as seen from its own folder; ValueError or ShardError where the sources do not go together."""
    first = sources[0]
    vocabulary = first.manifest.vocabulary
    assert vocabulary is not None  # a manifest with shards has one
    wanted = SharedVocabulary(vocabulary.fingerprint, vocabulary.encoding, vocabulary.size)
    for number, source in enumerate(sources):
        if source.manifest_sha256 in {other.manifest_sha256 for other in sources[:number]}:
            raise ValueError(f"--source {source.folder} is named twice, or copied; give it one weight")
        check_vocabulary(source.manifest.vocabulary, wanted, path=source.folder / MANIFEST, other=first.folder)
    if not sum(int(parse_weight(source.weight) * count_blocks(source)) for source in sources):
        raise ValueError(
            "an epoch of this mixture would hold no block; raise the weights, or encode with smaller blocks"
        )
    return Mixture(
        tuple(
            MixtureSource(
                Path(os.path.relpath(source.folder, output)).as_posix(), source.manifest_sha256, source.weight
            )
            for source in sources
        ),
        wanted,
    )


def check_held_out(sources: Sequence[Source]) -> None:
    """ShardError where a document that one run holds out is trained on from another."""
    for source in sources:
        held_out = pa.chunked_array(read_ids(source, HELD_OUT), pa.binary(16)).combine_chunks()
        for other in sources:
            if other is source or not len(held_out):
                continue
            n_leaks = sum(pc.sum(pc.is_in(ids, value_set=held_out)).as_py() or 0 for ids in read_ids(other, TRAIN))
            if n_leaks:
                raise ShardError(
                    other.folder / MANIFEST,
                    "shards",
                    f"{n_leaks} documents to train on are held out in {source.folder}: what is measured there would"
                    " have been trained on; encode both with the same --held-out",
                )


def read_ids(source: Source, split: str) -> Iterator[pa.Array]:
    """Ids of the documents in each shard of a split, from its lineage."""
    for shard in source.manifest.shards:
        if shard.split == split:
            path = source.folder / shard.lineage.name
            try:
                yield pq.read_table(path, columns=["document_id"])["document_id"].combine_chunks()
            except (pa.ArrowInvalid, KeyError) as error:
                raise ShardError(path, "", f"no table of documents ({error}); rebuild the run") from error


def count_blocks(source: Source) -> int:
    return sum(shard.blocks.offset.size for shard in source.manifest.shards if shard.split == TRAIN)


def describe(sources: Sequence[Source]) -> Iterator[str]:
    """A line for each source, for people."""
    tokens = [sum(shard.n_tokens for shard in one.manifest.shards if shard.split == TRAIN) for one in sources]
    seen = [int(parse_weight(one.weight) * n) for one, n in zip(sources, tokens, strict=True)]
    for source, n_tokens, n_seen in zip(sources, tokens, seen, strict=True):
        share = Fraction(100 * n_seen, sum(seen) or 1)
        yield (
            f"  {source.folder.name}: {n_tokens:,} tokens in {count_blocks(source):,} blocks, weight {source.weight}:"
            f" {n_seen:,} an epoch, {float(share):.1f} %"
        )
