"""Forgetting in a corpus that grows: gone from every window, and no reader takes some windows new and others old.

The kills are real: a child process ends itself with SIGKILL right before its n-th change to the file system.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bpe.errors import ShardError
from bpe.growing import load_growing, window_folder
from bpe.manifest import load_manifest
from corpora.documents import Document, Rejection
from inspection.growing import growing_values, open_growing
from inspection.verify import verify_run
from pipelines.forget_windows import refresh_corpus
from pipelines.generations import begin_corpus, describe_window, next_generation, publish, read_generation, refresh
from pipelines.prep_shards import main
from pipelines.runs import hold_output
from pipelines.work_files import write_work_file

ROOT = Path(__file__).resolve().parents[2]
OLD = window_folder(1, 2)[:-1] + "1"  # of no windows that are listed


@pytest.fixture(scope="module")
def template(little_corpus, write_corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three windows, a crawl file each. The first document of the first window was met again in both others: under
    its own address, which names it, and as a copy of a copy; and the third window has a second page of its site."""
    documents, rejections = little_corpus
    corpus = tmp_path_factory.mktemp("template") / "corpus"
    first = next(one for one in documents if one.source.endswith("0.warc.gz"))
    newest = None
    for number in (1, 2, 3):
        source = f"crawl/NEWS-{number - 1}.warc.gz"
        kept = [one for one in documents if one.source == source]
        lost = [one for one in rejections if one.source == source and one.reason == "too_short"]
        if number > 1:
            lost.append(copy_of(first, source, 9_000, dropped_by=first.document_id))
            again = copy_of(first, source, 9_100, dropped_by=lost[-1].document_id)
            lost.append(again._replace(url=f"https://copies.example/{number}"))
        folder = corpus / window_folder(number, number)
        write_corpus(folder, kept, lost)
        window = describe_window(str(corpus), number, number)
        if newest is None:
            growing = begin_corpus(str(corpus), window, settings_hash="5" * 64)
        else:
            growing = next_generation(newest, [*newest.growing.windows, window])
        newest = publish(str(corpus), growing)
    return corpus


def copy_of(document: Document, source: str, offset: int, *, dropped_by: bytes) -> Rejection:
    document_id = hashlib.blake2b(f"{source} {offset}".encode(), digest_size=16).digest()
    detail = f"kept {dropped_by.hex()}"
    return Rejection(
        document_id, document.url, "deduplicate", "duplicate_text", detail, source, offset, False, dropped_by=dropped_by
    )


@pytest.fixture
def corpus(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "corpus")


@pytest.fixture
def first(template: Path) -> dict[str, object]:
    """The document that all windows know of."""
    return documents_of(template / window_folder(1, 1))[0]


@pytest.fixture
def forget(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit status, output, complaints."""

    def run(folder: Path, *words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["forget", str(folder), *map(str, words)])
        return status, *capsys.readouterr()

    return run


def documents_of(run: Path) -> list[dict[str, object]]:
    return [row for path in sorted((run / "documents").iterdir()) for row in pq.read_table(path).to_pylist()]


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file outside of work/."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: digest for name, digest in names.items() if "work/" not in name}


def find_in(folder: Path, needle: str) -> list[str]:
    """Files that hold a text: in their bytes, or in any value of any column of a table."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += json.dumps(pq.read_table(path).to_pylist(), default=repr, ensure_ascii=False).encode()
        found += [str(path.relative_to(folder))] if needle.encode() in data else []
    return found


def faults_of(corpus: Path) -> list[str]:
    return [str(fault) for run in open_growing(str(corpus)).runs for fault in verify_run(run, quick=False)]


def test_a_page_goes_from_the_window_that_has_it_and_its_address_from_all(corpus: Path, first, forget) -> None:
    assert len(find_in(corpus, str(first["url"]))) >= 3
    status, out, err = forget(corpus, "--document-id", first["document_id"].hex(), "--reason", "asked for")
    assert (status, err) == (0, "")
    assert "1 of 30 documents" in out
    assert "4 documents were dropped as duplicates" in out
    assert "generation 4 lists" in out
    for gone in (first["url"], "https://copies.example/", first["text"]):
        assert find_in(corpus, str(gone)) == []
    assert faults_of(corpus) == []
    newest = open_growing(str(corpus))
    assert [len(run.manifest.removals) for run in newest.runs] == [1, 1, 1]
    assert [run.manifest.removals[0].documents for run in newest.runs] == [1, 0, 0]
    assert [window.kept for window in newest.growing.windows] == [len(documents_of(run.path)) for run in newest.runs]
    assert growing_values(newest)["forgotten"] == 1
    assert not (corpus / "work" / "forgetting.json").exists()


def test_what_is_in_one_window_only_is_not_missed_in_the_others(corpus: Path, forget) -> None:
    before = tree(corpus)
    page = documents_of(corpus / window_folder(3, 3))[-1]["url"]
    status, out, err = forget(corpus, "--url", page, "--url", "https://nobody.example/x")
    assert status == 1
    assert "1 not found in it" in err
    assert "https://nobody.example/x" in err
    after = tree(corpus)
    changed = {name.split("/")[1] for name in after if after[name] != before.get(name) and name.startswith("windows")}
    assert changed == {"00000003"}
    status, out, err = forget(corpus, "--url", page, "--url", "https://nobody.example/x")
    assert (status, err) == (0, "")
    assert "carried out before" in out
    assert tree(corpus) == after


def test_a_domain_goes_from_all_windows_and_older_generations_are_refused(corpus: Path, forget) -> None:
    assert forget(corpus, "--domain", "news3.example.org")[0] == 0
    assert find_in(corpus / "windows", "news3.example.org") == []
    assert faults_of(corpus) == []
    (corpus / "manifest.json").write_bytes((corpus / "generations/00000003.json").read_bytes())
    with pytest.raises(ShardError, match="prep-shards forget"):
        open_growing(str(corpus))


def test_windows_that_only_older_generations_list_are_gone_through_too(corpus: Path, first, forget) -> None:
    shutil.copytree(corpus / window_folder(1, 1), corpus / OLD)  # as a merge leaves them
    shutil.copytree(corpus / window_folder(1, 1), corpus / window_folder(1, 2))  # a merge that was interrupted
    (corpus / window_folder(1, 2) / "manifest.json").unlink()
    (corpus / window_folder(4, 4) / "work").mkdir(parents=True)  # the next window, which is being made
    status, out, err = forget(corpus, "--url", first["url"])
    assert (status, err) == (0, "")
    assert "1 of 30 documents" in out
    assert "the same in 1 folders" in out
    assert "windows/00000004 is no finished run" in out
    assert find_in(corpus, str(first["url"])) == []
    assert not (corpus / window_folder(1, 2)).exists()
    assert (corpus / window_folder(4, 4) / "work").is_dir()
    assert len(load_manifest(corpus / OLD).removals) == 1


def test_a_dry_run_names_everything_and_changes_nothing(corpus: Path, first, forget) -> None:
    before = tree(corpus)
    status, out, err = forget(corpus, "--url", first["url"], "--dry-run")
    assert (status, err) == (0, "")
    assert first["document_id"].hex() in out
    assert "nothing was changed" in out
    assert tree(corpus) == before


def test_a_corpus_that_is_written_to_is_left_alone(corpus: Path, first, forget) -> None:
    before = tree(corpus)
    with hold_output(str(corpus)):
        status, _, err = forget(corpus, "--url", first["url"])
    assert (status, err.count("\n")) == (2, 1)
    assert "another run is writing" in err
    assert tree(corpus) == before


def test_nothing_to_forget_is_a_wrong_command(corpus: Path, forget) -> None:
    status, _, err = forget(corpus)
    assert (status, err.count("\n")) == (2, 1)
    assert "nothing to forget" in err


def test_a_removal_in_a_single_window_is_taken_up_by_the_next_writer(corpus: Path, first, forget) -> None:
    assert forget(corpus / window_folder(1, 1), "--url", first["url"])[0] == 0
    with pytest.raises(ShardError, match="prep-shards forget"):
        open_growing(str(corpus))
    assert forget(corpus)[0] == 0
    assert faults_of(corpus) == []
    assert load_growing(corpus).generation == 4
    newest = read_generation(str(corpus))
    assert refresh(str(corpus)) == newest


def test_another_run_in_the_place_of_a_window_is_not_taken_up(corpus: Path, first, forget) -> None:
    shutil.rmtree(corpus / window_folder(2, 2))
    shutil.copytree(corpus / window_folder(3, 3), corpus / window_folder(2, 2))
    before = tree(corpus)
    with pytest.raises(ShardError, match="not that run less what was forgotten"):
        refresh(str(corpus))
    assert forget(corpus, "--url", first["url"])[0] == 1
    assert tree(corpus) == before
    shutil.rmtree(corpus / window_folder(2, 2))
    with pytest.raises(ShardError, match="bring it back"):
        refresh(str(corpus))


def test_work_files_of_a_window_go_too(corpus: Path, first, forget) -> None:
    run = corpus / window_folder(1, 1)
    row = dict(first) | {"authors": tuple(first["authors"]), "contamination": tuple(first["contamination"] or ())}
    path = run / "work" / "abc" / "split.parquet"
    path.parent.mkdir(parents=True)
    write_work_file(str(path), [Document(**row)], n_read=1, administrative=0)
    assert forget(corpus, "--url", first["url"])[0] == 0
    assert not path.exists()


KILLER = """
import json, os, shutil, signal, sys
import pipelines.compact_command, pipelines.encode_command, pipelines.forget_command, pipelines.vocabulary_command
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
        if changes and (event in ("os.remove", "os.rmdir") or str(arguments[0]).startswith(root)):
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
    sys.addaudithook(hook)

for line in sys.stdin:
    template, folder, words, stride = json.loads(line)
    shutil.copytree(template, folder + "-warm")  # what is imported on the way is imported once
    assert main(["forget", folder + "-warm", *words]) == 0
    killed, step = [], 0
    while not killed or killed[-1]:
        run = os.path.join(folder, f"step-{step:03d}")
        shutil.copytree(template, run)
        child = os.fork()
        if child == 0:
            die_before(step, run)
            os._exit(main(["forget", run, *words]))
        status = os.waitpid(child, 0)[1]
        killed.append(os.WIFSIGNALED(status))
        assert killed[-1] or os.waitstatus_to_exitcode(status) == 0, status
        step += stride
    print(json.dumps(killed), file=answers, flush=True)
"""
STRIDE = 3  # of the steps, one of so many is looked at


@pytest.fixture(scope="module")
def kill_at_steps() -> Iterator[Callable[..., list[Path]]]:
    """Copies a corpus for every third step of the command, each killed before it; the last one is not."""
    command = [sys.executable, "-c", KILLER]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def kill(template: Path, folder: Path, *words: str) -> list[Path]:
            process.stdin.write(json.dumps([str(template), str(folder), words, STRIDE]) + "\n")
            process.stdin.flush()
            killed = json.loads(process.stdout.readline())
            assert killed == [True] * (len(killed) - 1) + [False]
            return sorted(folder.iterdir())

        yield kill
        process.stdin.close()
        assert process.wait() == 0


def state_of(corpus: Path, old: dict[str, str], new: dict[str, str]) -> str:
    """old, new, or half: what a reader finds."""
    try:
        assert faults_of(corpus) == []
    except ShardError as error:
        assert "prep-shards forget" in str(error)  # noqa: PT017
        return "half"
    found = {name: digest for name, digest in tree(corpus).items() if ".tmp-" not in name}
    return {str(old): "old", str(new): "new"}[str(found)]


def test_a_kill_at_any_step_leaves_what_the_same_command_completes(
    template: Path, first, tmp_path: Path, kill_at_steps, forget
) -> None:
    domain = str(documents_of(template / window_folder(2, 2))[1]["url"]).split("/")[2]
    words = ["--document-id", first["document_id"].hex(), "--domain", domain]
    copies = kill_at_steps(template, tmp_path / "steps", *words)
    old, new = tree(template), tree(copies[-1])
    states = [state_of(copy, old, new) for copy in copies]
    assert [state for k, state in enumerate(states) if k == 0 or state != states[k - 1]] == ["old", "half", "new"]
    assert states.count("half") >= 10
    for k, (copy, state) in enumerate(zip(copies, states, strict=True)):
        if state == "half" and (copy / "work" / "forgetting.json").exists():
            with pytest.raises(ShardError, match="prep-shards forget"):
                refresh_corpus(str(copy))
        without_a_word = state == "half" and k % 2
        assert forget(copy, *([] if without_a_word else words))[0] == 0
        assert tree(copy) == new, (copy, state)
        left = {str(path.relative_to(copy)) for path in copy.rglob("*") if "work" in path.parts}
        assert left <= {"work", "work/lock"}
