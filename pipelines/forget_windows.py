"""Forgetting in a corpus that grows: in all of its windows together, and then in what its newest generation says.

In: the folder of a corpus, and targets. Out: every finished run below `windows/` without them, those that only older
generations list included, and a generation with the manifests of the new ones. The rule: what is to be done is written
down in `work/forgetting.json` before the first window changes, and stays there until the generation is published. A
window is told from what a generation lists by its manifest's hash, so in between every reader refuses the corpus; and
the same command, or one that names nothing, goes on from there.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.growing import FILE_NAME
from bpe.manifest import load_manifest
from bpe.strict_json import parse_json, read_choice, read_items, read_object, read_text
from inspection.run_folder import RunFolder
from pipelines.forget_commit import clear_staging, complete_interrupted, is_interrupted, staging_folder
from pipelines.forget_request import Target, parse_target
from pipelines.forget_survey import Gone, Survey, survey_runs
from pipelines.forgetting import Changes, forget
from pipelines.generations import Generation, find_folders, read_generation, refresh
from pipelines.runs import hold_output
from pipelines.storage import remove, remove_tree, sweep_temporaries, write_atomically

FORMAT = "shardmill-forgetting-1"
_PLAN = "work/forgetting.json"


class Plan(NamedTuple):
    """A removal that has begun."""

    targets: tuple[Target, ...]
    gone: Gone  # what the windows held of it before the first one changed
    reason: str
    date: str


class Windows(NamedTuple):
    """The runs of a corpus; those that the newest generation lists come first, in its order."""

    runs: tuple[RunFolder, ...]
    n_listed: int
    unfinished: tuple[str, ...]  # folders that are no runs yet


def open_windows(folder: Path) -> Windows:
    """All finished runs of a corpus; ShardError where one is damaged, or is being changed."""
    newest = read_generation(str(folder))
    assert newest is not None, "whoever asks has looked"
    listed = [window.run for window in newest.growing.windows]
    others = [one.run for one in find_folders(str(folder)) if one.run not in listed]
    finished = [run for run in others if (folder / run / FILE_NAME).is_file()]
    runs = tuple(RunFolder(folder / run, load_manifest(folder / run)) for run in (*listed, *finished))
    return Windows(runs, len(listed), tuple(run for run in others if run not in finished))


def join_surveys(surveys: Sequence[Survey]) -> Survey:
    """What a request means in several runs that were surveyed together, as if they were one."""
    return surveys[0]._replace(
        forgotten=tuple(one for survey in surveys for one in survey.forgotten),
        emptied=frozenset().union(*(survey.emptied for survey in surveys)),
        dependents=frozenset().union(*(survey.dependents for survey in surveys)),
    )


def forget_in_windows(
    folder: Path, windows: Windows, surveys: Sequence[Survey], targets: Sequence[Target], *, reason: str, date: str
) -> list[Changes]:
    """Carries a request out in all windows and publishes the generation; the changes of those that are listed."""
    whole = join_surveys(surveys)
    plan = Plan(tuple(targets), Gone(whole.ids, whole.urls), reason, date)
    write_atomically(str(folder / _PLAN), lambda stream: stream.write(_dump(plan)))
    return _carry_out(folder, windows, surveys, plan)


def complete_windows(folder: Path) -> bool:
    """Finishes what a killed command had begun in a corpus or in one of its windows; whether there was anything."""
    completed = False
    sweep_temporaries(str(folder / "work"))
    for one in find_folders(str(folder)):
        if is_interrupted(folder / one.run):
            with hold_output(str(folder / one.run)):
                completed |= complete_interrupted(folder / one.run)
                clear_staging(folder / one.run)
    plan = read_plan(folder)
    if plan is not None:
        windows = open_windows(folder)
        _carry_out(folder, windows, survey_runs(windows.runs, plan.targets, gone=plan.gone), plan)
        return True
    before = read_generation(str(folder))
    return refresh(str(folder)) != before or completed


def is_begun(folder: Path) -> bool:
    """Whether a removal has begun in a corpus and is not done."""
    return (folder / _PLAN).is_file()


def refresh_corpus(output: str) -> Generation:
    """`refresh`, for those who may not go on with what somebody wanted forgotten: ShardError where that has begun."""
    if is_begun(Path(output)):
        found = f"documents are being forgotten, or that was interrupted; `prep-shards forget {output}` completes it"
        raise ShardError(Path(output) / _PLAN, "", found)
    return refresh(output)


def read_plan(folder: Path) -> Plan | None:
    """The removal that has begun, None where there is none; ShardError where it cannot be read."""
    path = folder / _PLAN
    if not path.is_file():
        return None
    fields = read_object(
        parse_json(path.read_bytes(), str(path)), ("format", "targets", "ids", "urls", "reason", "date")
    )
    read_choice(fields["format"], (FORMAT,))
    targets = []
    for item in read_items(fields["targets"]):
        kind, given = (read_text(one) for one in read_items(item))
        targets.append(parse_target(kind, given))
    ids = frozenset(bytes.fromhex(read_text(item)) for item in read_items(fields["ids"]))
    urls = frozenset(read_text(item) for item in read_items(fields["urls"]))
    reason, date = (read_text(fields[name], empty=True) for name in ("reason", "date"))
    return Plan(tuple(targets), Gone(ids, urls), reason, date)


def _carry_out(folder: Path, windows: Windows, surveys: Sequence[Survey], plan: Plan) -> list[Changes]:
    """Every step may have been done already by a command that was killed."""
    for name in _unfinished_merges(folder):
        remove_tree(str(folder / name), root=str(folder))  # links to documents; whoever merges makes it again
    changes = []
    for number, (run, survey) in enumerate(zip(windows.runs, surveys, strict=True)):
        if survey.forgotten or survey.emptied:
            changed = _forget_in(run, survey, plan)
            changes += [changed] if number < windows.n_listed else []
    for run in windows.runs:
        path = _local(run)
        if staging_folder(path).exists():  # of one that was killed when all was done
            clear_staging(path)
    refresh(str(folder))
    remove(str(folder / _PLAN))
    return changes


def _forget_in(run: RunFolder, survey: Survey, plan: Plan) -> Changes:
    path = _local(run)
    with hold_output(str(path)):
        try:
            return forget(run, survey, plan.targets, reason=plan.reason, date=plan.date)
        finally:
            if not is_interrupted(path):
                clear_staging(path)


def _local(run: RunFolder) -> Path:
    assert isinstance(run.path, Path)  # the command refuses addresses
    return run.path


def _unfinished_merges(folder: Path) -> Iterator[str]:
    for one in find_folders(str(folder)):
        if one.first != one.last and not (folder / one.run / FILE_NAME).is_file():
            yield one.run


def _dump(plan: Plan) -> bytes:
    plain = {
        "format": FORMAT,
        "targets": [[target.kind, target.given] for target in plan.targets],
        "ids": sorted(one.hex() for one in plan.gone.ids),
        "urls": sorted(plan.gone.urls),
        "reason": plan.reason,
        "date": plan.date,
    }
    return (json.dumps(plain, indent=0) + "\n").encode("ascii")
