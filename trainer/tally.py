"""What a run was trained on: how many tokens of which corpus, against the weights asked for, and how full blocks were.

In: the runs of shards, and log.jsonl. Out: names, shares, and lines for people. The rule: what was seen is added up
from the log, which holds each update once, so the sums are exact after any number of resumptions.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from trainer.run_folder import read_log
from trainer.sources import Run, Source


class Corpus(NamedTuple):
    """One run of shards, as the log and people know it."""

    name: str
    wanted: float | None  # share of the tokens that its weight asks for; None where that changes from epoch to epoch


class Seen(NamedTuple):
    """Sums over the updates of a log, in the order of corpora where there are several."""

    n_tokens: int
    n_sequences: int
    n_documents: int  # pieces of documents in blocks: one cut at the end of a block counts in the next one again
    by_corpus: tuple[int, ...]


def list_corpora(source: Source, *, stays: bool = True) -> tuple[Corpus, ...]:
    """The corpora of a split, in the order of its runs; `stays` is whether all epochs read this source."""
    tokens = [float(sum(_weighted_tokens(run, source.split) for run in runs)) for runs in source.corpora]
    whole = sum(tokens) or 1.0
    names = name_runs([runs[0] for runs in source.corpora])
    return tuple(Corpus(name, n / whole if stays else None) for name, n in zip(names, tokens, strict=True))


def describe_weights(source: Source) -> str:
    """How corpora are mixed, for people; "" where each is seen once an epoch."""
    if all(run.weight == 1 for run in source.runs):
        return ""
    names = name_runs([runs[0] for runs in source.corpora])
    mixed = [f"{float(runs[0].weight):g} x {name}" for runs, name in zip(source.corpora, names, strict=True)]
    return f" ({' + '.join(mixed)}: about {source.epoch_tokens:,} an epoch)"


def name_runs(runs: Sequence[Run]) -> tuple[str, ...]:
    """The names of runs' folders, with as many of the folders around them as it takes to tell the runs apart.

    A window goes by the folder of its growing corpus. The same folder given twice is told apart by `#2`.
    """
    paths = [(run.growing or run.folder).resolve().parts for run in runs]
    for depth in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    return tuple(
        name if name not in names[:number] else f"{name}#{names[:number].count(name) + 1}"
        for number, name in enumerate(names)
    )


def count_seen(folder: Path, corpora: Sequence[Corpus]) -> Seen:
    """The sums of log.jsonl over the updates that say how many sequences they had."""
    sums = Seen(0, 0, 0, (0,) * len(corpora))
    for entry in read_log(folder):
        n_sequences = _count(entry, "sequences")
        if not n_sequences:
            continue
        of_corpora = entry.get("tokens_by_corpus")
        sums = Seen(
            sums.n_tokens + _count(entry, "tokens"),
            sums.n_sequences + n_sequences,
            sums.n_documents + _count(entry, "documents"),
            tuple(
                n + (_count(of_corpora, corpus.name) if isinstance(of_corpora, Mapping) else 0)
                for n, corpus in zip(sums.by_corpus, corpora, strict=True)
            ),
        )
    return sums


def describe_seen(seen: Seen, corpora: Sequence[Corpus], *, block_tokens: int) -> list[str]:
    """Lines for the end of a run; none where nothing was seen."""
    if not seen.n_sequences:
        return []
    lines = [
        f"{seen.n_tokens:,} tokens in {seen.n_sequences:,} blocks, "
        f"{seen.n_tokens / (seen.n_sequences * block_tokens):.1%} full, "
        f"{seen.n_documents / seen.n_sequences:.2f} documents each"
    ]
    of_corpora = sum(seen.by_corpus)
    if of_corpora and len(corpora) > 1:
        shares = [
            f"{corpus.name} {n:,} ({n / of_corpora:.1%}"
            f"{'' if corpus.wanted is None else f', asked for {corpus.wanted:.1%}'})"
            for corpus, n in zip(corpora, seen.by_corpus, strict=True)
        ]
        lines.append(f"tokens by corpus: {', '.join(shares)}")
    return lines


def _weighted_tokens(run: Run, split: str) -> Fraction:
    return run.weight * sum(shard.n_tokens for shard in run.manifest.shards if shard.split == split)


def _count(entry: Mapping[str, object], key: str) -> int:
    value = entry.get(key)
    return value if isinstance(value, int) else 0
