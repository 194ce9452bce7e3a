"""Killed at any step, forgetting leaves the old run, or the new one, or what the same command completes.

The kills are real: a child process ends itself with SIGKILL right before its n-th change to the file system, for
every n there is. Python tells an audit hook of each such change before it is made.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bpe.errors import ShardError
from bpe.manifest import load_manifest
from inspection.run_folder import RunFolder
from inspection.verify import verify_run
from pipelines.inputs import InputFile
from pipelines.prep_shards import main
from pipelines.runs import check_output, find_finished_run

ROOT = Path(__file__).resolve().parents[2]

# Kills forks of itself, so that the imports are paid for once. A line of JSON in, a line of JSON out: was it killed?
KILLER = """
import json, os, shutil, signal, sys
import pipelines.encode_command, pipelines.forget_command, pipelines.vocabulary_command
from pipelines.prep_shards import main

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

def die_before(step, root):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        changes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        )
        # rmtree works with names relative to open folders, so every removal counts
        if changes and (event in ("os.remove", "os.rmdir") or str(arguments[0]).startswith(root)):
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
    sys.addaudithook(hook)

for line in sys.stdin:
    template, folder, words = json.loads(line)
    warm = folder + "-warm"  # what is imported on the way is imported once
    shutil.copytree(template, warm)
    assert main(["forget", warm, *words]) == 0
    killed = [True]
    while killed[-1]:
        step = len(killed) - 1
        run = os.path.join(folder, f"step-{step:03d}")
        shutil.copytree(template, run)
        child = os.fork()
        if child == 0:
            die_before(step, run)
            os._exit(main(["forget", run, *words]))
        status = os.waitpid(child, 0)[1]
        killed.append(os.WIFSIGNALED(status))
        assert killed[-1] or os.waitstatus_to_exitcode(status) == 0, status
    print(json.dumps(killed[1:]), file=answers, flush=True)
"""
KillAtEachStep = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def kill_at_each_step() -> Iterator[KillAtEachStep]:
    """Copies a run as often as the command has steps, each killed before its n-th change; the last one is not."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def kill(template: Path, folder: Path, *words: str) -> list[Path]:
            process.stdin.write(json.dumps([str(template), str(folder), words]) + "\n")
            process.stdin.flush()
            killed = json.loads(process.stdout.readline())
            assert killed == [True] * (len(killed) - 1) + [False]
            return sorted(folder.iterdir())

        yield kill
        process.stdin.close()
        assert process.wait() == 0


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file outside of work/, which is nobody's business."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: digest for name, digest in names.items() if not name.startswith("work/")}


def state_of(folder: Path, old: dict[str, str], new: dict[str, str]) -> str:
    """old, new, or half: what a reader finds."""
    if b"shardmill-removal-1" in (folder / "manifest.json").read_bytes():
        with pytest.raises(ShardError, match="prep-shards forget"):
            load_manifest(folder)
        return "half"
    manifest = load_manifest(folder)
    assert list(verify_run(RunFolder(folder, manifest), quick=False)) == []
    found = tree(folder)
    assert found in (old, new)
    return "old" if found == old else "new"


class Killed(NamedTuple):
    """Copies of a run in which forgetting was killed, step by step; tests work on copies of these."""

    words: list[str]
    copies: list[Path]
    states: list[str]
    new: dict[str, str]  # the tree that an undisturbed command leaves


@pytest.fixture(scope="module")
def killed(
    little_corpus, write_corpus, kill_at_each_step: KillAtEachStep, tmp_path_factory: pytest.TempPathFactory
) -> Killed:
    """One page, and all of another part, are forgotten, so that files are rewritten, made and removed."""
    folder = tmp_path_factory.mktemp("killed")
    documents, rejections = ([one for one in rows if one.source[-9] != "2"] for rows in little_corpus)
    write_corpus(folder / "run", documents[:16], rejections[:2])
    whole = [one.document_id.hex() for one in documents[:16] if one.source.endswith("-0.warc.gz")]
    words = ["--url", documents[1].url, *(word for one in whole for word in ("--document-id", one))]
    copies = kill_at_each_step(folder / "run", folder / "steps", *words)
    old, new = tree(folder / "run"), tree(copies[-1])
    return Killed(words, copies, [state_of(copy, old, new) for copy in copies], new)


def copy_of(path: Path, tmp_path: Path) -> Path:
    return shutil.copytree(path, tmp_path / path.name)


def test_a_kill_at_any_step_leaves_what_the_same_command_completes(killed: Killed, tmp_path: Path, capsys):
    states = killed.states
    assert [state for k, state in enumerate(states) if k == 0 or state != states[k - 1]] == ["old", "half", "new"]
    assert states.count("half") >= 8  # a rename or a removal each
    for k, (path, state) in enumerate(zip(killed.copies, states, strict=True)):
        copy = copy_of(path, tmp_path)
        without_a_word = state == "half" and k % 2
        assert main(["forget", str(copy), *([] if without_a_word else killed.words)]) == 0
        assert tree(copy) == killed.new, (path, state)
        assert not (copy / "work").exists()
    capsys.readouterr()


def test_a_kill_while_completing_is_completed_too(
    killed: Killed, half_done: Path, kill_at_each_step: KillAtEachStep, tmp_path: Path, capsys
):
    again = kill_at_each_step(half_done, tmp_path / "again")
    assert len(again) > 3
    for copy in again:
        if b"shardmill-removal-1" in (copy / "manifest.json").read_bytes():
            assert main(["forget", str(copy)]) == 0
        assert tree(copy) == killed.new
    capsys.readouterr()


@pytest.fixture
def half_done(killed: Killed, tmp_path: Path) -> Path:
    """A run whose removal was interrupted in the middle of renaming."""
    half = [copy for copy, state in zip(killed.copies, killed.states, strict=True) if state == "half"]
    return copy_of(half[len(half) // 2], tmp_path)


def test_no_pipeline_takes_a_half_done_removal_for_an_unfinished_run(half_done: Path):
    with pytest.raises(ShardError, match="prep-shards forget"):
        check_output(str(half_done), {}, [InputFile("a", "/a", 1)], overwrite=True)
    with pytest.raises(ShardError, match="prep-shards forget"):
        find_finished_run(str(half_done))


def test_a_dry_run_does_not_complete_anything(half_done: Path, capsys):
    held = tree(half_done)
    assert main(["forget", str(half_done), "--domain", "example.org", "--dry-run"]) == 1
    assert "prep-shards forget" in capsys.readouterr().err
    assert tree(half_done) == held


def test_staged_files_that_are_gone_or_damaged_are_not_made_up_for(half_done: Path, capsys):
    staged = [path for path in sorted((half_done / "work" / "forget").rglob("*")) if path.is_file()]
    data = staged[0].read_bytes()
    staged[0].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    held = tree(half_done)
    assert main(["forget", str(half_done)]) == 1
    assert "neither here nor in work/forget" in capsys.readouterr().err
    assert tree(half_done) == held
    shutil.rmtree(half_done / "work")
    assert main(["forget", str(half_done)]) == 1
    assert "restore the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "edit",
    [
        lambda journal: journal["replace"][0].update(name="../x"),
        lambda journal: journal["remove"].append("/etc/passwd"),
        lambda journal: journal["manifest"].update(name="x\\y"),
        lambda journal: journal.update(extra=1),
    ],
)
def test_a_journal_leads_nowhere_else(half_done: Path, capsys, edit: Callable[[dict], None]):
    journal = json.loads((half_done / "manifest.json").read_text())
    edit(journal)
    (half_done / "manifest.json").write_text(json.dumps(journal))
    assert main(["forget", str(half_done)]) == 1
    assert half_done.name in capsys.readouterr().err
