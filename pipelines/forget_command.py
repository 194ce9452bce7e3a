"""`prep-shards forget`: takes documents out of a finished run, or a growing corpus, for good, and out of its shards.

prep-shards forget RUN --url https://example.com/story --domain example.org
prep-shards forget RUN --list takedowns.txt --dry-run
prep-shards forget RUN                                    # completes one that was interrupted

A URL means every record of that page, a domain all of its subdomains too. The documents go from RUN/documents and
RUN/shards; RUN/rejected keeps their ids without any address, so that the books balance. Rejected records of the same
pages, and duplicates of the documents, lose their addresses; duplicates stay dropped. Files that hold nothing of it
stay as they are, byte for byte. Exit status 1 where something that was asked for is not in the run.

In a corpus that grows they go from all windows, those that older generations list included, and a new generation is
published; older ones cannot be opened any more. Until then every reader refuses the corpus.

The vocabulary, which may have been trained on the texts, does not change, nor do other folders made from this run.
"""

import argparse
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bpe.errors import ShardError
from bpe.growing import is_growing, load_growing
from bpe.manifest import FILE_NAME, verify_files
from inspection.plain_text import one_line
from inspection.run_folder import RunFolder, open_run
from pipelines.command import print_lines
from pipelines.forget_commit import clear_staging, complete_interrupted, is_interrupted
from pipelines.forget_request import Target, hash_request, parse_target, read_targets
from pipelines.forget_survey import Survey, survey_run, survey_runs
from pipelines.forget_windows import Windows, complete_windows, forget_in_windows, join_surveys, open_windows
from pipelines.forgetting import Changes, forget
from pipelines.options import HelpFormatter
from pipelines.runs import hold_output

MAX_NAMED = 20  # things that a list on the terminal names; --dry-run names all


def add_forget_parser(commands: Any) -> None:
    """Mounts `forget` on the parser of prep-shards."""
    parser = commands.add_parser(
        "forget", help="take documents out of a finished run and its shards", description=__doc__,
        formatter_class=HelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "run", metavar="RUN", help="folder of a finished run, or of a growing corpus, on a local disk"
    )  # fmt: skip
    what = parser.add_argument_group("what to forget; each may be given more than once")
    what.add_argument("--url", action="append", metavar="URL", help="a page, however its URL is written")
    what.add_argument("--domain", action="append", metavar="HOST", help="a host and all below it")
    what.add_argument("--document-id", action="append", metavar="HEX",
                      help="one document, by its 32 hexadecimal digits")  # fmt: skip
    what.add_argument(
        "--list", action="append", metavar="FILE",
        help="a text file with one a line: `url …`, `domain …`, `id …`, or the bare thing",
    )  # fmt: skip
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept in the manifest; name nothing in it")
    parser.add_argument(
        "--date", default="", metavar="DAY", help="kept in the manifest, as in 2026-01-31; else none is"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(handler=run_forget)


def run_forget(flags: argparse.Namespace) -> None:
    """Runs the command; raises ValueError, ShardError or OSError."""
    if "://" in flags.run:
        raise ValueError(
            f"{flags.run}: files can be replaced safely on a local disk only; copy the run to one, forget there,"
            " and put back what changed, manifest.json last"
        )
    targets = read_request(flags)
    folder = Path(flags.run)
    folder = (folder.parent if folder.name == FILE_NAME else folder).resolve()
    if not (folder / FILE_NAME).is_file():
        open_run(str(folder))  # says what is wrong, before a lock is laid into a strange folder
    if is_growing(folder):
        unknown = _look_in_windows(folder, targets) if flags.dry_run else _forget_in_windows(folder, targets, flags)
    else:
        unknown = _look(folder, targets) if flags.dry_run else _forget(folder, targets, flags)
    if unknown:
        named = ", ".join(_named([f"{one.kind} {_short(one.given)}" for one in unknown], MAX_NAMED))
        raise ShardError(folder, "", f"{len(unknown)} not found in it, kept or rejected: {named}")


def read_request(flags: argparse.Namespace) -> list[Target]:
    """The targets that flags and lists name; ValueError where one is none."""
    if flags.date:
        try:
            if datetime.date.fromisoformat(flags.date).isoformat() != flags.date:
                raise ValueError(flags.date)
        except ValueError as error:
            raise ValueError(f"--date {flags.date} is no day as in 2026-01-31") from error
    targets = [parse_target("url", text) for text in flags.url or ()]
    targets += [parse_target("domain", text) for text in flags.domain or ()]
    targets += [parse_target("id", text) for text in flags.document_id or ()]
    return targets + [target for name in flags.list or () for target in read_targets(Path(name))]


def _look(folder: Path, targets: Sequence[Target]) -> Sequence[Target]:
    """Says what would be done; what was not found."""
    run = open_run(str(folder))
    survey = survey_run(run, _required(targets))
    done = _done_before([run], targets)
    lines = survey_lines(survey, n_documents=run.manifest.counts.documents, limit=None)
    print_lines(*lines, *done, "nothing was changed (--dry-run)")
    return () if done else survey.unknown


def _forget(folder: Path, targets: Sequence[Target], flags: argparse.Namespace) -> Sequence[Target]:
    """Completes what was interrupted, then does what is asked for; what was not found."""
    with hold_output(str(folder)):
        completed = complete_interrupted(folder)
        try:
            if completed:
                print_lines(f"completed an interrupted removal: {folder}")
            return () if completed and not targets else _forget_now(folder, _required(targets), flags)
        finally:
            if not is_interrupted(folder):
                clear_staging(folder)


def _forget_now(folder: Path, targets: Sequence[Target], flags: argparse.Namespace) -> Sequence[Target]:
    run = open_run(str(folder))
    for fault in verify_files(run.manifest, folder, full=False):
        raise fault
    survey = survey_run(run, targets)
    done = _done_before([run], targets)
    print_lines(*survey_lines(survey, n_documents=run.manifest.counts.documents, limit=MAX_NAMED), *done)
    if survey.forgotten or survey.emptied:
        print_lines(*change_lines([forget(run, survey, targets, reason=flags.reason, date=flags.date)]))
    else:
        print_lines(f"nothing to do: {folder}")
    return () if done else survey.unknown


def _look_in_windows(folder: Path, targets: Sequence[Target]) -> Sequence[Target]:
    """Says what would be done in a corpus; what was not found."""
    windows = open_windows(folder)
    surveys = survey_runs(windows.runs, _required(targets))
    done = _done_before(windows.runs, targets)
    print_lines(*windows_lines(windows, surveys, limit=None), *done, "nothing was changed (--dry-run)")
    return () if done else surveys[0].unknown


def _forget_in_windows(folder: Path, targets: Sequence[Target], flags: argparse.Namespace) -> Sequence[Target]:
    """Completes what was interrupted, then does what is asked for in a corpus; what was not found."""
    with hold_output(str(folder)):
        completed = complete_windows(folder)
        if completed:
            print_lines(f"completed an interrupted removal: {folder}")
        if completed and not targets:
            return ()
        windows = open_windows(folder)
        for run in windows.runs:
            for fault in verify_files(run.manifest, run.path, full=False):
                raise fault
        surveys = survey_runs(windows.runs, _required(targets))
        done = _done_before(windows.runs, targets)
        print_lines(*windows_lines(windows, surveys, limit=MAX_NAMED), *done)
        if any(survey.forgotten or survey.emptied for survey in surveys):
            changes = forget_in_windows(folder, windows, surveys, targets, reason=flags.reason, date=flags.date)
            number = load_growing(folder).generation
            print_lines(*change_lines(changes), f"generation {number:,} lists the windows as they are now")
        else:
            print_lines(f"nothing to do: {folder}")
        return () if done else surveys[0].unknown


def windows_lines(windows: Windows, surveys: Sequence[Survey], *, limit: int | None) -> Iterator[str]:
    """What a request means in a corpus, for people."""
    listed, others = surveys[: windows.n_listed], surveys[windows.n_listed :]
    n_documents = sum(run.manifest.counts.documents for run in windows.runs[: windows.n_listed])
    yield from survey_lines(join_surveys(listed), n_documents=n_documents, limit=limit)
    concerned = [survey for survey in others if survey.forgotten or survey.emptied]
    if concerned:
        yield f"and the same in {len(concerned):,} folders of windows that the newest generation does not list"
    for run in windows.unfinished:
        yield f"{run} is no finished run: what it will hold is not looked at; ask again once it is listed"


def survey_lines(survey: Survey, *, n_documents: int, limit: int | None) -> Iterator[str]:
    """What a request means in a run of so many documents, for people."""
    yield f"{len(survey.forgotten):,} of {n_documents:,} documents are to be forgotten"
    yield from _named(
        [f"  {one.document_id.hex()}  {one_line(one.url, max_chars=200)}" for one in survey.forgotten], limit
    )
    others = len(survey.emptied - survey.dependents)
    if others:
        yield f"{others:,} rejected records of the same pages lose their addresses"
    if survey.dependents:
        yield f"{len(survey.dependents):,} documents were dropped as duplicates of these: they stay so, unnamed"
        yield from _named([f"  {one.hex()}" for one in sorted(survey.dependents)], limit)
    if survey.standing_in:
        yield "what was asked for had been dropped as a duplicate of these, which stay: forget them by their ids, too?"
        yield from _named([f"  {one.hex()}" for one in survey.standing_in], limit)
    if survey.forgotten_before:
        yield "forgotten before:"
        yield from _named([f"  {one.kind} {_short(one.given)}" for one in survey.forgotten_before], limit)


def change_lines(changes: Sequence[Changes]) -> Iterator[str]:
    """What was done in some runs, for people."""
    removals = [one.manifest.removals[-1] for one in changes]
    n_documents, n_tokens = sum(one.documents for one in removals), sum(one.tokens for one in removals)
    n_bytes = sum(one.text_bytes for one in removals)
    n_replaced, n_removed = sum(len(one.replaced) for one in changes), sum(len(one.removed) for one in changes)
    yield f"forgotten: {n_documents:,} documents, {n_tokens:,} tokens, {n_bytes:,} bytes of text"
    yield f"{n_replaced:,} files rewritten, {n_removed:,} removed; all others are as they were"


def _done_before(runs: Sequence[RunFolder], targets: Sequence[Target]) -> list[str]:
    """A line where this very request was carried out already: what it names is gone, and cannot be found."""
    wanted = hash_request(targets)
    numbers = [k for run in runs for k, one in enumerate(run.manifest.removals, 1) if one.request_sha256 == wanted]
    return [f"this request was carried out before, as removal {numbers[-1]}"] if numbers else []


def _required(targets: Sequence[Target]) -> Sequence[Target]:
    if not targets:
        raise ValueError("nothing to forget: name it with --url, --domain, --document-id or --list")
    return targets


def _named(lines: Sequence[str], limit: int | None) -> list[str]:
    shown = list(lines[:limit])
    return shown + ([f"  and {len(lines) - len(shown):,} more"] if len(lines) > len(shown) else [])


def _short(text: str) -> str:
    return one_line(text, max_chars=200)
