"""A merge of windows is the run that all of their input gives at once, and nobody ever reads half of one."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from bpe.errors import ShardError
from bpe.growing import load_growing, window_folder
from bpe.manifest import load_manifest
from corpora.documents import RawPage
from corpora.warc import read_pages
from inspection.growing import open_growing
from inspection.verify import verify_run
from pipelines import ccnews
from pipelines.compacting import choose_windows, compact_windows, find_leftovers
from pipelines.generations import begin_corpus, describe_window, next_generation, publish, read_generation
from pipelines.near_state import EarlierRun, open_earlier_runs
from pipelines.prep_shards import main
from pipelines.runs import hold_output
from pipelines.settings import Execution, SelectionRules

ROOT = Path(__file__).resolve().parents[2]
RULES = ("--near-duplicates", "0.7:0.95", "--expected-documents", "10000")
LIMIT = ("--limit-bytes", "150000")
SHARDS = ("--shard-bytes", "65536", "--block-tokens", "2000", "--held-out", "0.1", "--min-tokens", "300")
WORDS = ("--workers", "1")
MERGED = window_folder(1, 2)


class Grown(NamedTuple):
    """Two windows, the run of all of their input, and a file of a third window that copies from both."""

    corpus: Path
    batch: Path
    third: Path
    words: tuple[str, ...]  # that all of the runs were made with


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, byte_vocabulary) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    words = (*LIMIT, *RULES, *SHARDS, "--vocabulary", byte_vocabulary.path)
    files = [ROOT / f"tests/data/sample/CC-NEWS-SAMPLE-0000{number}.warc.gz" for number in (0, 1)]
    runs = [folder / "corpus" / window_folder(number, number) for number in (1, 2)]
    make_run(runs[0], files[:1], words)
    make_run(runs[1], files[1:], words, against=runs[:1])
    make_run(folder / "batch", files, words)
    list_windows(folder / "corpus", 2)
    return Grown(folder / "corpus", folder / "batch", write_third(folder / "THIRD.warc", files), words)


def make_run(output: Path, inputs: list[Path], words: tuple[str, ...], *, against: list[Path] = ()) -> None:
    earlier = ["--against", *map(str, against)] if against else []
    assert ccnews.run(["--input", *map(str, inputs), "--output", str(output), *words, *WORDS, *earlier]) == 0


def list_windows(corpus: Path, n_windows: int) -> None:
    """A generation for each window, as whoever follows a crawl publishes them."""
    newest = None
    for number in range(1, n_windows + 1):
        window = describe_window(str(corpus), number, number)
        if newest is None:
            growing = begin_corpus(str(corpus), window, settings_hash="5" * 64)
        else:
            growing = next_generation(newest, [*newest.growing.windows, window])
        newest = publish(str(corpus), growing)


def write_third(path: Path, files: list[Path]) -> Path:
    """Pages of both files once more: under their address, under another, and there with a word or two changed."""
    with path.open("wb") as stream:
        for file in files:
            with file.open("rb") as crawl:
                pages = [page for page in read_pages(crawl, source=file.name) if isinstance(page, RawPage)]
            for k, page in enumerate([page for page in pages if b"</p>" in page.body and page.status == 200][:30]):
                url, body = page.url if k % 3 == 0 else f"http://third.example/{file.stem}/{k}", page.body
                if k % 3 == 2:
                    body = body.replace(b"</p>", f" It was story {k} of the day.</p>".encode(), 1)
                http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
                head = (
                    f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2019-12-01T00:00:00Z\r\n"
                    f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
                )
                stream.write(head.encode() + http + b"\r\n\r\n")
    return path


@pytest.fixture
def corpus(grown: Grown, tmp_path: Path) -> Path:
    """A copy of the corpus of two windows, to change."""
    return shutil.copytree(grown.corpus, tmp_path / "corpus")


@pytest.fixture(scope="module")
def merged(grown: Grown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus after its windows were merged; not to be changed."""
    copy = shutil.copytree(grown.corpus, tmp_path_factory.mktemp("merged") / "corpus")
    assert main(["compact", str(copy), *WORDS]) == 0
    return copy


@pytest.fixture
def compact(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit status, output, complaints."""

    def run(folder: Path | str, *words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main(["compact", str(folder), *WORDS, *map(str, words)])
        except SystemExit as error:
            status = int(error.code or 0)
        return status, *capsys.readouterr()

    return run


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file outside of work/."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: digest for name, digest in names.items() if not name.startswith("work/")}


def said_by(run: Path) -> dict[str, object]:
    """A run's manifest without the files that tell how the run came about, and without what its steps reported."""
    plain = json.loads((run / "manifest.json").read_text())
    plain["statistics"].pop("details")
    return {name: value for name, value in plain.items() if name not in ("report", "state")}


def faults_of(corpus: Path) -> list[str]:
    return [str(fault) for run in open_growing(str(corpus)).runs for fault in verify_run(run, quick=False)]


def test_the_merged_run_is_the_run_of_all_input_byte_for_byte(grown: Grown, merged: Path) -> None:
    ours, theirs = tree(merged / MERGED), tree(grown.batch)
    differ = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert differ == {"manifest.json", "report.html", "state/deduplication.json"}
    assert said_by(merged / MERGED) == said_by(grown.batch)
    rejected = load_manifest(merged / MERGED).books.rejected
    assert rejected["near_duplicate"] >= 1
    assert rejected["too_few_tokens"] >= 1  # measured on the texts that the windows kept of these
    [run] = open_growing(str(merged)).runs
    assert run.path == merged / MERGED
    assert faults_of(merged) == []


def test_a_later_run_against_the_merged_one_is_the_run_against_the_windows(
    grown: Grown, merged: Path, tmp_path: Path
) -> None:
    windows = [grown.corpus / window_folder(number, number) for number in (1, 2)]
    make_run(tmp_path / "one", [grown.third], grown.words, against=windows)
    make_run(tmp_path / "other", [grown.third], grown.words, against=[merged / MERGED])
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    differ = {name for name in one if one[name] != other.get(name)}
    assert one.keys() == other.keys()
    assert differ == {"manifest.json", "report.html", "state/deduplication.json"}
    books = load_manifest(tmp_path / "other").books
    assert {"duplicate_url", "duplicate_text", "near_duplicate"} <= books.rejected.keys()
    assert books.rejected["near_duplicate"] >= 2
    against_merged_and_third(merged / MERGED, tmp_path / "one", windows)
    merge_after_a_merge(merged, tmp_path)


def against_merged_and_third(merged: Path, third: Path, windows: list[Path]) -> None:
    """A run that was made against the windows is known to follow the run that they became."""
    rules = rules_of(merged)
    assert [run.folder for run in open_earlier_runs([str(third), str(merged)], rules)] == [str(merged), str(third)]
    with pytest.raises(ValueError, match=r"00000001-00000002.*holds documents of .*00000001.*name one of them"):
        open_earlier_runs([str(windows[0]), str(merged)], rules)
    with pytest.raises(ValueError, match="named twice"):
        open_earlier_runs([str(merged), str(merged)], rules)
    with pytest.raises(ValueError, match=r"made against 2 run\(s\) that are not named"):
        open_earlier_runs([str(third)], rules)


def rules_of(run: Path) -> SelectionRules:
    from corpora.near_duplicates import parse_rules

    return SelectionRules(near_duplicates=parse_rules("0.7:0.95", expected_documents=10_000))


def merge_after_a_merge(merged: Path, tmp_path: Path) -> None:
    """A third window that names the windows, or the run that they became, is merged with that run."""
    for made in ("one", "other"):
        corpus = shutil.copytree(merged, tmp_path / f"corpus-{made}")
        shutil.copytree(tmp_path / made, corpus / window_folder(3, 3))
        newest = read_generation(str(corpus))
        assert newest is not None
        publish(str(corpus), next_generation(newest, [*newest.growing.windows, describe_window(str(corpus), 3, 3)]))
        assert main(["compact", str(corpus), *WORDS]) == 0
        [window] = load_growing(corpus).windows
        assert (window.first, window.last) == (1, 3)
        assert faults_of(corpus) == []
        manifest = load_manifest(corpus / window.run)
        assert manifest.settings["selection"]["against"] == []  # type: ignore[index]
        state = json.loads((corpus / window.run / "state/deduplication.json").read_text())
        assert (len(state["stands_for"]), state["made_against"]) == (4, [])
    one, other = (said_by(tmp_path / f"corpus-{made}" / window_folder(1, 3)) for made in ("one", "other"))
    assert one == other


def test_runs_made_against_merged_ones_are_put_in_order_by_whom_they_follow(tmp_path: Path, merged: Path) -> None:
    rules, description = rules_of(merged), json.loads((merged / MERGED / "state/deduplication.json").read_text())
    inputs = iter("abcd")

    def fake(made_against: list[str], stands_for: list[str]) -> Path:
        name = next(inputs)
        folder = tmp_path / name
        (folder / "state").mkdir(parents=True)
        manifest = json.loads((merged / MERGED / "manifest.json").read_text())
        manifest["inputs"][0]["name"] = name
        (folder / "manifest.json").write_text(json.dumps(manifest))
        state = {**description, "made_against": made_against, "stands_for": stands_for}
        (folder / "state/deduplication.json").write_text(json.dumps(state))
        return folder

    def opened(*folders: Path) -> list[EarlierRun]:
        return open_earlier_runs([str(folder) for folder in folders], rules)

    first = fake([], ["1", "2", "3"])
    fourth = fake(["1", "2", "3"], [])  # made before the first three were merged, so it names more runs
    known = {run.folder: run.identity for run in opened(first, fourth)}
    fifth = fake([known[str(first)], known[str(fourth)]], [])
    assert [run.folder for run in opened(fifth, fourth, first)] == [str(first), str(fourth), str(fifth)]


def test_windows_that_were_merged_already_are_left_alone(merged: Path, compact) -> None:
    before = tree(merged)
    status, out, err = compact(merged)
    assert (status, err) == (0, "")
    assert "nothing to do" in out
    assert "--prune" in out
    assert tree(merged) == before


def test_what_is_kept_takes_no_space_twice_and_goes_with_prune(merged: Path, tmp_path: Path, compact) -> None:
    copy = shutil.copytree(merged, tmp_path / "corpus")
    for path in (copy / MERGED / "documents").iterdir():  # a copy of a tree has no links
        [old] = copy.glob(f"windows/0000000[12]/documents/{path.name}")
        assert (merged / MERGED / "documents" / path.name).stat().st_nlink == 2
        old.unlink()
        os.link(path, old)
    newest = read_generation(str(copy))
    assert newest is not None
    assert [one.run for one in find_leftovers(str(copy), newest.growing)] == [window_folder(k, k) for k in (1, 2)]
    shutil.copytree(copy / window_folder(2, 2), copy / window_folder(3, 3))  # of a window that is still being made
    kept = tree(copy / MERGED)
    status, out, _ = compact(copy, "--prune", "--dry-run")
    assert (status, "nothing was changed" in out) == (0, True)
    status, out, err = compact(copy, "--prune")
    assert (status, err) == (0, "")
    assert "2 folders" in out
    assert sorted(path.name for path in (copy / "windows").iterdir()) == ["00000001-00000002", "00000003"]
    assert tree(copy / MERGED) == kept
    assert faults_of(copy) == []
    assert load_growing(copy, generation=2).windows[0].run == window_folder(1, 1)
    assert compact(copy, "--prune")[1].startswith("nothing to do")


def test_too_few_windows_are_not_merged(corpus: Path, compact) -> None:
    before = tree(corpus)
    for words in (("--min-windows", 3), ("--windows", "2..2")):
        status, out, err = compact(corpus, *words)
        assert (status, err) == (0, "")
        assert out.startswith("nothing to do")
    assert tree(corpus) == before


def test_a_dry_run_shows_what_would_be_merged_and_changes_nothing(corpus: Path, compact) -> None:
    before = tree(corpus)
    status, out, err = compact(corpus, "--dry-run")
    assert (status, err) == (0, "")
    assert "2 windows become one run" in out
    assert "nothing was run" in out
    status, out, _ = compact(corpus, "--dry-run", "json")
    assert (status, json.loads(out)["name"]) == (0, "compact-ccnews")
    assert tree(corpus) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--windows", "2..1"), "as in 1..30"),
        (("--windows", "0..1"), "as in 1..30"),
        (("--windows", "1-2"), "as in 1..30"),
        (("--windows", "1..3"), "has windows 1 to 2"),
        (("--min-windows", "0"), "at least 1"),
        (("--prune", "--windows", "1..2"), "merges nothing"),
        (("--lock-fd", "0"), "descriptor of the corpus's lock"),
        (("--lock-fd", "1000"), "descriptor of the corpus's lock"),
        (("--wndows", "1..2"), "did you mean --windows"),
    ],
    ids=["backwards", "zero", "dash", "beyond", "none", "prune", "another", "closed", "misspelt"],
)
def test_a_wrong_command_is_one_line_and_changes_nothing(corpus: Path, compact, words: tuple[str, ...], says: str):
    before = tree(corpus)
    status, _, err = compact(corpus, *words)
    assert (status, err.count("\n")) == (2, 1)
    assert says in err
    assert tree(corpus) == before


def test_borders_are_those_of_listed_runs(merged: Path) -> None:
    newest = read_generation(str(merged))
    assert newest is not None
    with pytest.raises(ValueError, match=r"window 2 is a part of windows/00000001-00000002 already; name 1\.\.2"):
        choose_windows(newest.growing, 2, 2)


def test_what_is_no_growing_corpus_is_refused(grown: Grown, tmp_path: Path, compact) -> None:
    for folder, says in ((tmp_path, "no growing corpus here"), (grown.batch, "does not grow")):
        status, _, err = compact(folder)
        assert (status, err.count("\n")) == (1, 1)
        assert says in err
    assert "local disk" in compact("s3://bucket/corpus")[2]


def test_a_corpus_that_is_followed_is_refused_unless_its_lock_is_passed_on(corpus: Path, compact) -> None:
    with hold_output(str(corpus)) as (lock,):
        status, _, err = compact(corpus, "--min-windows", 9)
        assert (status, err.count("\n")) == (2, 1)
        assert "another run is writing" in err
        with (corpus / "work" / "lock").open() as stranger:
            assert "does not hold its lock" in compact(corpus, "--lock-fd", stranger.fileno())[2]
        command = [sys.executable, "-m", "pipelines.prep_shards", "compact", str(corpus), "--min-windows", "9"]
        done = subprocess.run([*command, "--lock-fd", str(lock)], cwd=ROOT, pass_fds=(lock,), capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert compact_windows(str(corpus), Execution(output=str(corpus)), min_windows=9, lock=lock).window is None
        with (corpus / "work" / "lock").open() as stranger, pytest.raises(BlockingIOError):  # still held
            fcntl.flock(stranger, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_was_forgotten_stays_so_and_is_told_apart_by_its_removal(corpus: Path, compact) -> None:
    for number in (1, 2):  # in each window on its own, so that both have a first removal
        run = corpus / window_folder(number, number)
        [table] = (run / "documents").iterdir()
        one = pq.read_table(table)["document_id"][number].as_py()
        assert main(["forget", str(run), "--document-id", one.hex()]) == 0
    status, _, err = compact(corpus)
    assert (status, err) == (0, "")
    manifest = load_manifest(corpus / MERGED)
    assert [removal.documents for removal in manifest.removals] == [1, 1]
    assert manifest.books.rejected["forgotten"] == 2
    rows = [row for path in sorted((corpus / MERGED / "rejected").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [row["detail"] for row in rows if row["stage"] == "forget"] == ["removal 1", "removal 2"]
    assert faults_of(corpus) == []
    assert load_growing(corpus).generation == 4  # one that takes up the removals, one for the merge


def test_runs_that_do_not_fit_each_other_are_named(corpus: Path, compact) -> None:
    path = corpus / window_folder(2, 2) / "state/deduplication.json"
    path.write_text(path.read_text().replace('"key_version": 1', '"key_version": 9'))
    status, _, err = compact(corpus)
    assert (status, err.count("\n")) == (1, 1)
    assert "compared in another way" in err
    shutil.rmtree(corpus / window_folder(2, 2))
    shutil.copytree(corpus / window_folder(1, 1), corpus / window_folder(2, 2))
    assert "is not that run less what was forgotten" in compact(corpus)[2]


def test_a_damaged_window_ends_the_merge_and_stays_listed(corpus: Path, compact) -> None:
    [shard] = (corpus / window_folder(2, 2) / "shards").glob("*-held-out-*.tar")
    data = shard.read_bytes()
    shard.write_bytes(data[:1500] + bytes([data[1500] ^ 1]) + data[1501:])
    status, _, err = compact(corpus)
    assert (status, err.count("\n")) == (1, 1)
    assert shard.name in err
    assert [window.run for window in load_growing(corpus).windows] == [window_folder(1, 1), window_folder(2, 2)]


KILLER = """
import json, os, signal, sys
import pipelines.compact_command, pipelines.encode_command, pipelines.forget_command, pipelines.vocabulary_command
from pipelines.prep_shards import main

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

for line in sys.stdin:
    words, event, part = json.loads(line)
    child = os.fork()
    if child == 0:
        def hook(name, arguments):
            if name == event and any(part in str(one) for one in arguments[:2]):
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        os._exit(main(words))
    status = os.waitpid(child, 0)[1]
    print(json.dumps(os.WIFSIGNALED(status)), file=answers, flush=True)
"""


@pytest.fixture(scope="module")
def kill() -> Iterator[Callable[..., bool]]:
    """Runs a command that ends itself with SIGKILL right before it does something; whether it came to that."""
    command = [sys.executable, "-c", KILLER]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(words: list[str], event: str, part: str) -> bool:
            process.stdin.write(json.dumps([words, event, part]) + "\n")
            process.stdin.flush()
            return bool(json.loads(process.stdout.readline()))

        yield run
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("event", "part"),
    [
        ("os.rename", f"{MERGED}/shards/ccnews-00000"),
        ("os.rename", f"{MERGED}/manifest.json"),
        ("shutil.rmtree", f"{MERGED}/work"),
        ("os.rename", "generations/00000003.json"),
        ("os.rename", "corpus/manifest.json"),
    ],
    ids=["shard", "commit", "clear", "generation", "publish"],
)
def test_a_kill_leaves_the_corpus_as_it_was_and_the_same_command_goes_on(
    corpus: Path, merged: Path, kill, event: str, part: str
) -> None:
    before = {name: digest for name, digest in tree(corpus).items() if "generations" not in name}
    assert kill(["compact", str(corpus), *WORDS], event, part)
    after = tree(corpus)
    assert {name: after.get(name) for name in before} == before
    assert faults_of(corpus) == []
    assert len(load_growing(corpus).windows) == 2
    assert main(["compact", str(corpus), *WORDS]) == 0
    assert tree(corpus) == tree(merged)


def test_a_merge_that_is_older_than_a_removal_is_made_again(corpus: Path, merged: Path, kill) -> None:
    assert kill(["compact", str(corpus), *WORDS], "os.rename", "generations/00000003.json")
    [table] = (corpus / window_folder(1, 1) / "documents").iterdir()
    one = pq.read_table(table)["document_id"][0].as_py()
    assert main(["forget", str(corpus / window_folder(1, 1)), "--document-id", one.hex()]) == 0
    assert main(["compact", str(corpus), *WORDS]) == 0
    assert one not in pq.read_table(corpus / MERGED / "documents" / table.name)["document_id"].to_pylist()
    assert faults_of(corpus) == []


def test_a_kill_while_folders_are_removed_is_finished_by_the_same_command(merged: Path, tmp_path: Path, kill) -> None:
    copy = shutil.copytree(merged, tmp_path / "corpus")
    assert kill(["compact", str(copy), "--prune"], "os.rmdir", "state")
    assert faults_of(copy) == []
    assert main(["compact", str(copy), "--prune"]) == 0
    assert [path.name for path in (copy / "windows").iterdir()] == [Path(MERGED).name]


def test_documents_without_shards_are_merged_too(tmp_path: Path, compact) -> None:
    files = [ROOT / f"tests/data/sample/CC-NEWS-SAMPLE-0000{number}.warc.gz" for number in (0, 1)]
    corpus, limit = tmp_path / "corpus", ("--limit-bytes", "20000")
    runs = [corpus / window_folder(number, number) for number in (1, 2)]
    make_run(runs[0], files[:1], limit)
    make_run(runs[1], files[1:], limit, against=runs[:1])
    list_windows(corpus, 2)
    assert compact(corpus)[0] == 0
    manifest = load_manifest(corpus / MERGED)
    assert (manifest.shards, manifest.vocabulary) == ((), None)
    assert manifest.counts.documents == sum(load_manifest(run).counts.documents for run in runs)
    assert faults_of(corpus) == []


def test_shard_errors_are_what_a_reader_of_a_pruned_generation_sees(merged: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(merged, tmp_path / "corpus")
    assert main(["compact", str(copy), "--prune"]) == 0
    (copy / "manifest.json").write_bytes((copy / "generations/00000002.json").read_bytes())
    with pytest.raises(ShardError, match="read the newest generation"):
        open_growing(str(copy))
