"""What the subcommands of `inspect-shards` do: flags in, lines to print and an exit status out."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tqdm import tqdm

from inspection import growing, lookup, rows, samples, show, trace, verify
from inspection.errors import NotFoundError
from inspection.growing import names_growing, open_growing
from inspection.lookup import Record
from inspection.mixtures import (
    mixture_lines,
    mixture_values,
    names_mixture,
    open_mixture,
    refuse_mixture,
)
from inspection.run_folder import RunFolder, open_run
from inspection.summary import summary_lines, summary_values
from trainer.plan import SampleId


class Answer(NamedTuple):
    """What a command prints and exits with."""

    lines: list[str]
    status: int = 0


def summarise(flags: argparse.Namespace) -> Answer:
    shown = [_summarise_one(place) for place in flags.out]
    if flags.json:
        values = [one.values for one in shown]
        return _as_json(values[0] if len(values) == 1 else {"runs": values})
    return _paragraphs([one.lines for one in shown], gap=2)


def show_records(flags: argparse.Namespace) -> Answer:
    runs = _open_runs(flags.out)
    if flags.document is not None or flags.shard is not None:
        run, record = _find_asked(runs, flags)
        if flags.json:
            return _as_json(show.record_values(run, record))
        return Answer(show.record_lines(run, record, with_ids=flags.ids, max_chars=flags.chars))
    if flags.rejected:
        rejections = growing.list_rejections_in(runs, reason=flags.reason, limit=flags.limit)
        if flags.json:
            return _as_json({"rejected": [show.rejection_values(one) for one in rejections]})
        return Answer(show.rejection_lines(rejections) if rejections else ["nothing was rejected"])
    documents = growing.list_documents_in(runs, limit=flags.limit)
    if flags.json:
        return _as_json({"documents": [one._asdict() for one in documents]})
    return Answer(show.listed_lines(documents) if documents else ["no documents"])


def verify_files(flags: argparse.Namespace) -> Answer:
    faults: list[str] = []
    several = names_mixture(flags.out)
    if names_growing(flags.out):  # opening it compares the manifests of its runs with those that are listed
        corpus = open_growing(flags.out)
        runs, faults = list(corpus.runs), list(growing.generation_faults(corpus))
    elif several:
        runs = [part.run for part in open_mixture(flags.out).parts]
    else:
        runs = [open_run(flags.out)]
    answers = [_verify_run(run, quick=flags.quick) for run in runs]
    status = max([*(answer.status for answer in answers), int(bool(faults))])
    if flags.json:
        values = [answer.values for answer in answers]
        whole = {"ok": not status, "runs": values} | ({"faults": faults} if faults else {})
        return _as_json(whole if several else values[0], status=status)
    return Answer([*faults, *(line for answer in answers for line in answer.lines)], status)


class _Summary(NamedTuple):
    """A summary in both of its forms."""

    lines: list[str]
    values: dict[str, object]


def _summarise_one(place: str) -> _Summary:
    if names_growing(place):
        corpus = open_growing(place)
        return _Summary(growing.growing_lines(corpus), growing.growing_values(corpus))
    if names_mixture(place):
        mixture = open_mixture(place)
        return _Summary(mixture_lines(mixture), mixture_values(mixture))
    run = open_run(place)
    return _Summary(summary_lines(run), summary_values(run))


def _open_runs(place: str) -> tuple[RunFolder, ...]:
    """The run in a folder, or those of the windows of a growing corpus; ShardError for a mixture."""
    if names_growing(place):
        return open_growing(place).runs
    refuse_mixture(place)
    return (open_run(place),)


class _Verified(NamedTuple):
    """What was found of one run."""

    lines: list[str]
    values: dict[str, object]
    status: int


def _verify_run(run: RunFolder, *, quick: bool) -> _Verified:
    files, n_bytes = verify.count_files(run), verify.count_bytes(run)
    with tqdm(
        total=n_bytes, desc="verify", unit="B", unit_scale=True, leave=False, dynamic_ncols=True, file=sys.stderr,
        disable=True if quick else None,  # None: shown on a terminal only
    ) as bar:  # fmt: skip
        faults = list(verify.verify_run(run, quick=quick, advance=bar.update))
    values: dict[str, object] = {
        "ok": not faults,
        "quick": quick,
        "files": files,
        "bytes": n_bytes,
        "faults": [fault._asdict() for fault in faults],
    }
    if faults:
        n = len(faults)
        lines = [*map(verify.fault_line, faults), f"{run.path}: {n} fault{'' if n == 1 else 's'}"]
        return _Verified(lines, values, 1)
    how = "there and of the right size" if quick else "every byte is what the manifest says"
    documents = run.manifest.counts.documents
    line = f"OK {run.path}: {files:,} files, {n_bytes:,} bytes, {documents:,} documents; {how}"
    return _Verified([line], values, 0)


def trace_back(flags: argparse.Namespace) -> Answer:
    warc_root = trace.open_warc_root(flags.warc_root)
    if flags.run is not None:  # a sample may be of all runs of a mixture
        traced = [
            samples.trace_sample(training, sample, warc_root=warc_root)
            for training in [samples.open_training_run(flags.run, corpus=flags.out)]
            for sample in _find_samples(training, flags)
        ]
        if flags.json:
            return _as_json({"samples": [samples.sample_values(one) for one in traced]})
        return _paragraphs([samples.sample_lines(one) for one in traced])
    runs = _open_runs(flags.out)
    if flags.url is not None:
        records = growing.find_records_of_url_in(runs, flags.url)[: flags.limit]
    else:
        records = [_find_asked(runs, flags)[1]]
    traces = [trace.trace_record(record, warc_root=warc_root) for record in records]
    if flags.json:
        values = [trace.trace_values(one) for one in traces]
        return _as_json({"records": values} if flags.url is not None else values[0])
    return _paragraphs([trace.trace_lines(one) for one in traces])


COMMANDS: dict[str, Callable[[argparse.Namespace], Answer]] = {
    "summary": summarise,
    "show": show_records,
    "verify": verify_files,
    "trace": trace_back,
}


def _find_asked(runs: Sequence[RunFolder], flags: argparse.Namespace) -> tuple[RunFolder, Record]:
    if flags.document is not None:
        return growing.find_record_in(runs, rows.parse_id(flags.document))
    run = growing.find_shard_run(runs, flags.shard)
    return run, lookup.find_record_at(run, flags.shard, flags.block, flags.position)


def _find_samples(training: samples.TrainingRun, flags: argparse.Namespace) -> list[SampleId]:
    if flags.sample is not None:
        return [samples.parse_sample(flags.sample)]
    batch = samples.find_samples(training, flags.update)
    if flags.row is None:
        return batch[: flags.limit]
    if flags.row >= len(batch):
        raise NotFoundError(f"update {flags.update} has rows 0 to {len(batch) - 1}, there is no row {flags.row}")
    return [batch[flags.row]]


def _as_json(values: object, *, status: int = 0) -> Answer:
    return Answer([json.dumps(values, indent=2)], status)


def _paragraphs(many: list[list[str]], *, gap: int = 1) -> Answer:
    """Several answers, empty lines between them."""
    lines: list[str] = []
    for paragraph in many:
        lines += ([""] * gap if lines else []) + paragraph
    return Answer(lines)
