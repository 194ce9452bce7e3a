"""A mixture of runs, as `summary` and `verify` see it: which they are, and how often each is seen in an epoch.

In: a folder with mixture.json. Out: its runs, and a table of what an epoch of it holds. The rule: a mixture holds no
shards of its own, so whatever is said of documents is said of its runs, each by its own folder.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.mixture import FILE_NAME, Mixture, MixtureSource, is_mixture, load_mixture, open_source, parse_weight
from bpe.places import Place, parse_place, resolve_address
from inspection.plain_text import format_table, heading, one_line
from inspection.run_folder import RunFolder, open_run


class Part(NamedTuple):
    """A run of a mixture."""

    run: RunFolder
    weight: str  # times that it is seen in an epoch, in decimals
    train_tokens: int
    held_out_tokens: int
    epoch_tokens: int  # of training, seen in an epoch


class MixtureFolder(NamedTuple):
    """Where a mixture lies, and what is in it."""

    path: Place
    mixture: Mixture
    parts: tuple[Part, ...]


def names_mixture(place: str) -> bool:
    """Whether this is the folder of a mixture, or its mixture.json."""
    return is_mixture(_folder_of(place))


def open_mixture(place: str) -> MixtureFolder:
    """The mixture in a folder; ShardError where one of its runs is missing or is another one by now."""
    folder = _folder_of(place)
    mixture = load_mixture(folder)
    return MixtureFolder(folder, mixture, tuple(_open_part(folder, mixture, k) for k in range(len(mixture.sources))))


def refuse_mixture(place: str) -> None:
    """ShardError for a mixture where one run is asked for: it says which there are."""
    if names_mixture(place):
        folder = _folder_of(place)
        runs = ", ".join(map(str, list_runs(place)))
        raise ShardError(folder, "", f"a mixture holds no documents of its own; name one of its runs: {runs}")


def list_runs(place: str) -> list[Place]:
    """The folders of the runs of a mixture, or of the one run that is here."""
    folder = _folder_of(place)
    if not names_mixture(place):
        return [open_run(place).path]
    return [_run_folder(folder, source) for source in load_mixture(folder).sources]


def mixture_lines(found: MixtureFolder) -> list[str]:
    """The summary of a mixture as lines of plain text."""
    vocabulary = found.mixture.vocabulary
    total = _epoch_tokens(found.parts)
    head = ("run", "weight", "train tokens", "an epoch", "share", "held out")
    rows = [
        (
            one_line(str(part.run.path), max_chars=120),
            part.weight,
            f"{part.train_tokens:,}",
            f"{part.epoch_tokens:,}",
            f"{100 * part.epoch_tokens / total:.1f} %" if total else "-",
            f"{part.held_out_tokens:,}",
        )
        for part in found.parts
    ]
    facts = [
        ("tokens", f"about {total:,} an epoch"),
        ("vocabulary", f"{vocabulary.size:,} ids, {vocabulary.encoding} encoding"),
        ("  fingerprint", vocabulary.fingerprint),
    ]
    title = one_line(f"mixture of {len(rows)} runs: {found.path}", max_chars=200)
    return [*heading(title)[1:], *format_table(facts, align="ll"), "", *format_table([head, *rows], align="lrrrrr")]


def mixture_values(found: MixtureFolder) -> dict[str, object]:
    """The summary of a mixture as plain values."""
    return {
        "path": str(found.path),
        "vocabulary": found.mixture.vocabulary._asdict(),
        "epoch_tokens": _epoch_tokens(found.parts),
        "runs": [{**part._asdict(), "run": str(part.run.path)} for part in found.parts],
    }


def _epoch_tokens(parts: Sequence[Part]) -> int:
    return sum(part.epoch_tokens for part in parts)


def _open_part(folder: Place, mixture: Mixture, number: int) -> Part:
    source = mixture.sources[number]
    manifest = open_source(folder, source)
    train, held_out = (
        sum(shard.n_tokens for shard in manifest.shards if shard.split == split) for split in ("train", "held-out")
    )
    seen = int(parse_weight(source.weight) * Fraction(train))
    return Part(RunFolder(_run_folder(folder, source), manifest), source.weight, train, held_out, seen)


def _run_folder(folder: Place, source: MixtureSource) -> Place:
    return resolve_address(source.run, folder)  # relative, often beside the mixture: no "mixed/.."


def _folder_of(place: str) -> Place:
    path = parse_place(place)
    return path.parent if path.name == FILE_NAME else path
