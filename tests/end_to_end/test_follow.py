"""A follower's windows are what one run over the same files gives, whenever it is killed and however it is stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

Digest = Callable[[Path], dict[str, str]]
PAGES = ("CC-NEWS-SAMPLE-00000.warc.gz", "CC-NEWS-SAMPLE-00001.warc.gz")


@pytest.fixture(scope="module")
def news(project_root: Path) -> Path:
    return project_root / "tests/data/sample"


@pytest.fixture(scope="module")
def shared_flags(vocabulary: Path) -> list[str]:
    return ["--vocabulary", str(vocabulary), "--held-out", "0.05", "--workers", "1", "--follow"]


@pytest.fixture(scope="module")
def undisturbed(command, news: Path, shared_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A growing corpus of two windows, one for each file, made without any trouble."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    done = command(
        *("beam", "run", "pipelines/ccnews.py", "--input", str(news), "--output", str(output)),
        *(*shared_flags, "--once", "--window-files", "1"),
    )
    assert len(re.findall(r"^\S+Z window \d: 1 files, ", done.stdout, re.MULTILINE)) == 2
    return output


class Follower:
    """A follower in a process group of its own."""

    def __init__(self, words: list[str], *, cwd: Path, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                words, cwd=cwd, env=env, stdout=stream, stderr=stream, start_new_session=True
            )

    def wait_for(self, condition: Callable[[], Any], *, seconds: float = 120) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def said(self, pattern: str) -> "re.Match[str] | None":
        return re.search(pattern, self.log.read_text())

    def kill(self) -> None:
        """Kills the follower alone, and waits for what it had started to notice."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive


@pytest.fixture
def start(
    project_root: Path, environment: dict[str, str], shared_flags, tmp_path: Path
) -> Iterator[Callable[..., Follower]]:
    started: list[Follower] = []

    def begin(*flags: str) -> Follower:
        words = ["beam", "run", "pipelines/ccnews.py", *shared_flags, "--output", str(tmp_path / "out"), *flags]
        log = tmp_path / f"follower-{len(started)}.log"
        started.append(Follower(words, cwd=project_root, env={**environment, "PYTHONUNBUFFERED": "1"}, log=log))
        return started[-1]

    yield begin
    for follower in started:
        if follower.process.poll() is None:
            os.killpg(follower.process.pid, signal.SIGKILL)
            follower.process.wait()


def generation(output: Path) -> int:
    path = output / "manifest.json"
    return int(json.loads(path.read_text())["generation"]) if path.exists() else 0


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


def test_files_become_windows_as_they_appear_and_sigterm_ends_it(
    start, news: Path, undisturbed: Path, digest: Digest, tmp_path: Path
):
    (tmp_path / "in").mkdir()
    output = tmp_path / "out"
    follower = start("--input", str(tmp_path / "in"), "--every", "1s", "--settle", "1s", "--metrics-port", "0")
    address = follower.wait_for(lambda: follower.said(r"(http://127\.0\.0\.1:\d+)/metrics"))[1]
    assert fetch(f"{address}/healthz") == "ok\n"
    for number, name in enumerate(PAGES, start=1):
        shutil.copyfile(news / name, tmp_path / "in" / name)
        follower.wait_for(lambda wanted=number: follower.said(rf"window {wanted}: 1 files, .*generation {wanted} "))
        assert generation(output) == number
        assert f"shardmill_follow_generation {number}.0\n" in fetch(f"{address}/metrics")
    metrics = fetch(f"{address}/metrics")
    assert 'shardmill_follow_documents_total{outcome="kept"} 107.0\n' in metrics
    assert "shardmill_follow_pending_files 0.0\n" in metrics
    follower.process.send_signal(signal.SIGTERM)
    assert follower.process.wait(timeout=30) == 0
    assert follower.said("stopped; the same command goes on from here")
    assert digest(output) == digest(undisturbed)


def test_windows_hold_what_one_run_over_all_files_holds(undisturbed: Path, reference_run: Path, rows):
    for folder, columns in (("documents", None), ("rejected", ("document_id", "url", "reason", "dropped_by"))):
        together = [row for number in (1, 2) for row in rows(undisturbed / f"windows/{number:08d}", folder)]
        shown, expected = (
            sorted(json.dumps({key: row[key] for key in columns or row}, default=str) for row in many)
            for many in (together, rows(reference_run, folder))
        )
        assert shown == expected


def test_readers_see_the_windows_as_one_corpus(command, undisturbed: Path, reference_run: Path):
    tokens = json.loads((reference_run / "manifest.json").read_text())["counts"]["tokens"]
    assert f"{tokens:,}" in command("inspect-shards", "summary", str(undisturbed)).stdout
    command("inspect-shards", "verify", str(undisturbed))


def test_killed_at_every_stage_and_started_again_it_writes_the_same_bytes(
    start, command, news: Path, undisturbed: Path, digest: Digest, tmp_path: Path
):
    output, flags = tmp_path / "out", ["--input", str(news), "--window-files", "1", "--once"]
    stages: list[Callable[[], bool]] = [
        lambda: any((output / "windows/00000001/work").rglob("*.parquet")),  # planned, and its pages are extracted
        lambda: (output / "windows/00000001/manifest.json").exists(),  # its run is finished, but not published
        lambda: generation(output) == 1,
        lambda: any((output / "windows/00000002/shards").glob("*.tar")),
    ]
    for stage in stages:
        follower = start(*flags)
        follower.wait_for(stage)
        follower.kill()
    finished = start(*flags)
    assert finished.process.wait(timeout=120) == 0, finished.log.read_text()
    assert digest(output) == digest(undisturbed)
    assert not list((output / "work").glob("window-*"))


def test_a_generation_that_was_not_published_to_its_end_is_published_again(
    start, news: Path, undisturbed: Path, digest: Digest, tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    (output / "manifest.json").write_bytes((output / "generations/00000001.json").read_bytes())
    follower = start("--input", str(news), "--once")
    assert follower.process.wait(timeout=60) == 0, follower.log.read_text()
    assert digest(output) == digest(undisturbed)


def test_pages_that_are_there_already_make_a_window_of_none(
    start, command, news: Path, undisturbed: Path, tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    (tmp_path / "in").mkdir()
    shutil.copyfile(news / PAGES[0], tmp_path / "in" / "CC-NEWS-AGAIN.warc.gz")
    follower = start("--input", str(tmp_path / "in"), "--once", "--settle", "1s")
    assert follower.process.wait(timeout=120) == 0, follower.log.read_text()
    assert follower.said(r"window 3: 1 files, 91 records = 0 kept \+ 90 rejected \+ 1 broken, 0 tokens; generation 3 ")
    command("inspect-shards", "verify", str(output))


def test_windows_are_merged_into_what_one_run_over_all_files_writes(
    start, command, news: Path, undisturbed: Path, reference_run: Path, digest: Digest, tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    follower = start("--input", str(news), "--once", "--compact-every", "2")
    assert follower.process.wait(timeout=120) == 0, follower.log.read_text()
    assert follower.said("windows 1 to 2 are one run; generation 3 ")
    merged, expected = (digest(folder) for folder in (output / "windows/00000001-00000002", reference_run))
    for folder in ("documents", "rejected", "shards", "vocab.json"):
        assert {k: v for k, v in merged.items() if k.startswith(folder)} == {
            k: v for k, v in expected.items() if k.startswith(folder)
        }
    command("inspect-shards", "verify", str(output))
    again = start("--input", str(news), "--once", "--compact-every", "2")
    assert again.process.wait(timeout=60) == 0, again.log.read_text()
    assert generation(output) == 3


def test_what_is_forgotten_stays_so_while_the_corpus_grows(
    start, command, news: Path, undisturbed: Path, rows, tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    gone = rows(output / "windows/00000001", "documents")[0]["url"]
    command("prep-shards", "forget", str(output), "--url", gone)
    assert generation(output) == 3
    (tmp_path / "in").mkdir()
    shutil.copyfile(news / PAGES[0], tmp_path / "in" / "CC-NEWS-AGAIN.warc.gz")
    follower = start("--input", str(tmp_path / "in"), "--once", "--settle", "1s")
    assert follower.process.wait(timeout=120) == 0, follower.log.read_text()
    assert generation(output) == 4
    kept = [rows(path, "documents") for path in sorted((output / "windows").glob("*")) if any(path.glob("documents/*"))]
    assert gone not in {row["url"] for many in kept for row in many}
    again = [row["reason"] for row in rows(output / "windows/00000003", "rejected") if row["url"] == gone]
    assert again == ["duplicate_url"]  # of a document that is known by its keys, though nothing else of it is left


def test_a_file_that_changes_after_it_was_taken_is_named_once(start, news: Path, undisturbed: Path, tmp_path: Path):
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / PAGES[0]).write_bytes((news / PAGES[0]).read_bytes() + b"more")
    follower = start("--input", str(tmp_path / "in"), "--every", "1s")
    follower.wait_for(lambda: follower.said(rf"{PAGES[0]} has changed since it was taken, and is not read again"))
    follower.wait_for(lambda: follower.said("waiting for new files"))
    assert generation(output) == 2


def test_what_does_not_fit_is_refused_in_one_line(
    command, start, news: Path, shared_flags, undisturbed: Path, reference_run: Path, tmp_path: Path
):
    base = ["beam", "run", "pipelines/ccnews.py", "--input", str(news), *shared_flags, "--once"]
    refused = [
        (["--output", str(undisturbed), "--min-tokens", "9"], 2, "grows with other settings (shards is "),
        (["--output", str(reference_run)], 1, "a finished run that does not grow"),
        (["--output", str(news)], 2, "is not empty and no corpus of ours"),
        (["--output", str(tmp_path / "x"), "--overwrite"], 2, "--overwrite and --follow do not go together"),
        (["--output", str(tmp_path / "x"), "--every", "soon"], 2, "'soon' is no duration"),
        (["--output", str(tmp_path / "x"), "--input", str(tmp_path / "typo")], 2, "typo: no such file"),
    ]
    for flags, status, complaint in refused:
        done = command(*base, *flags, status=status)
        assert complaint in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    base.remove("--follow")
    base.remove("--once")
    assert "is a growing corpus; add to it with --follow" in command(*base, "--output", undisturbed, status=2).stderr


def test_two_followers_do_not_write_to_one_corpus(command, start, news: Path, shared_flags, tmp_path: Path):
    (tmp_path / "in").mkdir()
    follower = start("--input", str(tmp_path / "in"))
    follower.wait_for(lambda: follower.said("waiting for new files"))
    base = ["beam", "run", "pipelines/ccnews.py", "--input", str(news), *shared_flags]
    done = command(*base, "--output", str(tmp_path / "out"), status=2)
    assert "another run is writing to" in done.stderr
