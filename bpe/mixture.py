"""mixture.json, format 1: one training set out of several finished runs, by reference and with weights; nothing copied.

In: the file. Out: a `Mixture`. The rule: a mixture is of these very manifests. It names each by its sha256, so a run
that was rebuilt, or had documents taken out of it, is not trained on under an old mixture; and what does not agree is
never repaired or skipped, it is a `ShardError` that names the file and the key.

    {"format": "shardmill-mixture-1",
     "sources": [{"manifest_sha256": "…", "run": "../ccnews", "weight": "1"}, …],
     "vocabulary": {"encoding": "fairseq", "fingerprint": "…", "size": 50265}}

`run` is a folder relative to the mixture's own, so that both may be moved together. `weight` is how often a source is
seen in one epoch, as a decimal number in text: as it was written, and the same fraction on every machine.
"""

import hashlib
import json
import re
from fractions import Fraction
from typing import NamedTuple

from bpe.entries import VocabularyEntry
from bpe.errors import ShardError
from bpe.growing import is_growing, load_growing
from bpe.manifest import FILE_NAME as MANIFEST
from bpe.manifest import Manifest, parse_manifest
from bpe.places import Place
from bpe.shared_vocabulary import SharedVocabulary, read_shared_vocabulary
from bpe.strict_json import Node, parse_json, read_choice, read_items, read_object, read_sha256, read_text

__all__ = [
    "FILE_NAME",
    "FORMAT",
    "MAX_WEIGHT",
    "Mixture",
    "MixtureSource",
    "check_vocabulary",
    "dump_mixture",
    "is_mixture",
    "load_mixture",
    "open_source",
    "parse_mixture",
    "parse_weight",
]

FORMAT = "shardmill-mixture-1"
FILE_NAME = "mixture.json"
MAX_WEIGHT = 1000
_WEIGHT = re.compile(r"\d{1,4}(?:\.\d{1,6})?|\.\d{1,6}", re.ASCII)
_AGAIN = "make the mixture again with `prep-shards mix --overwrite`"


class MixtureSource(NamedTuple):
    """A run that is mixed in."""

    run: str  # its folder, relative to the mixture's, with slashes
    manifest_sha256: str
    weight: str  # times that it is seen in an epoch, in decimals


class Mixture(NamedTuple):
    """A training set out of several runs."""

    sources: tuple[MixtureSource, ...]
    vocabulary: SharedVocabulary


def is_mixture(folder: Place) -> bool:
    """Whether several runs are read where this folder is named: it holds a mixture, or a growing corpus."""
    return (folder / FILE_NAME).is_file() or is_growing(folder)


def load_mixture(folder: Place, *, generation: int | None = None) -> Mixture:
    """The mixture in a folder; ShardError where it cannot be trusted. Its runs are not looked at.

    A growing corpus is the mixture of its windows, once each: of the newest generation, or of the one asked for.
    """
    path = folder / FILE_NAME
    if not path.is_file() and is_growing(folder):
        return _windows_of(folder, generation)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ShardError(path, "", "no mixture here; make one with `prep-shards mix`") from error
    return parse_mixture(data, path=str(path))


def _windows_of(folder: Place, generation: int | None) -> Mixture:
    growing = load_growing(folder, generation=generation)
    if growing.vocabulary is None:
        raise ShardError(
            folder / MANIFEST, "vocabulary", "holds documents but no shards, so there is nothing to train on"
        )
    sources = tuple(MixtureSource(window.run, window.manifest_sha256, "1") for window in growing.windows)
    return Mixture(sources, growing.vocabulary)


def parse_mixture(data: bytes, *, path: str = FILE_NAME) -> Mixture:
    """The mixture in these bytes; `path` is what errors call them."""
    root = parse_json(data, path)
    node = read_object(root, ("format", *Mixture._fields))
    read_choice(node["format"], (FORMAT,))
    sources = tuple(_read_source(item) for item in read_items(node["sources"]))
    if not sources:
        node["sources"].fail(f"a mixture of nothing; {_AGAIN}")
    if len({source.run for source in sources}) != len(sources):
        node["sources"].fail(f"a run is named twice; give it one weight, and {_AGAIN}")
    return Mixture(sources, read_shared_vocabulary(node["vocabulary"]))


def dump_mixture(mixture: Mixture) -> bytes:
    """The one form of a mixture; what is returned can be parsed."""
    plain = {
        "format": FORMAT,
        "sources": [source._asdict() for source in mixture.sources],
        "vocabulary": mixture.vocabulary._asdict(),
    }
    data = (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode("ascii")
    assert parse_mixture(data) == mixture
    return data


def parse_weight(text: str) -> Fraction:
    """A weight; ValueError where it is none.

    >>> parse_weight("1.5"), parse_weight(".25")
    (Fraction(3, 2), Fraction(1, 4))
    """
    weight = Fraction(text) if _WEIGHT.fullmatch(text) else Fraction(0)
    if not 0 < weight <= MAX_WEIGHT:
        raise ValueError(
            f"{text[:40]!r} is no weight; it says how often a corpus is seen in an epoch: a decimal number above 0, at"
            f" most {MAX_WEIGHT}, with at most 6 digits after the point"
        )
    return weight


def open_source(folder: Place, source: MixtureSource) -> Manifest:
    """The manifest of a source of the mixture in `folder`; ShardError unless it is the very one that was mixed."""
    path = folder / source.run / MANIFEST
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "read the newest generation" if is_growing(folder) else _AGAIN
        found = f"no finished run here, but {_list_in(folder)} names it; move both together, or {remedy}"
        raise ShardError(path, "", found) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != source.manifest_sha256:
        remedy = _AGAIN
        if is_growing(folder):
            remedy = "if documents are being forgotten, `prep-shards forget` with the corpus's folder completes that"
        found = f"sha256 {digest[:16]}, but {_list_in(folder)} was made of {source.manifest_sha256[:16]}; {remedy}"
        raise ShardError(path, "", found)
    return parse_manifest(data, path=str(path))


def _list_in(folder: Place) -> Place:
    """The file that names the runs."""
    return folder / (MANIFEST if is_growing(folder) else FILE_NAME)


def check_vocabulary(found: VocabularyEntry | None, wanted: SharedVocabulary, *, path: Place, other: Place) -> None:
    """ShardError unless a run's ids are of this vocabulary and encoding; `other` is the run that they are those of."""
    if found is None:
        raise ShardError(path, "vocabulary", "holds documents but no shards; make them with `prep-shards encode`")
    if (found.fingerprint, found.encoding) != (wanted.fingerprint, wanted.encoding):
        raise ShardError(
            path,
            "vocabulary",
            f"{found.encoding} ids of vocabulary {found.fingerprint[:16]}, but {other} holds {wanted.encoding} ids of"
            f" {wanted.fingerprint[:16]}; encode both with one vocabulary",
        )


def _read_source(node: Node) -> MixtureSource:
    fields = read_object(node, MixtureSource._fields)
    weight = read_text(fields["weight"])
    try:
        parse_weight(weight)
    except ValueError as error:
        fields["weight"].fail(f"{error}; {_AGAIN}")
    return MixtureSource(_read_folder(fields["run"]), read_sha256(fields["manifest_sha256"]), weight)


def _read_folder(node: Node) -> str:
    """A relative folder, which may be outside of the mixture's own but is never an address."""
    name = read_text(node)
    if name.startswith(("/", "~")) or ":" in name or "\\" in name or not name.isprintable():
        node.fail(f"{name[:80]!r} is not a folder relative to the mixture's; {_AGAIN}")
    return name
