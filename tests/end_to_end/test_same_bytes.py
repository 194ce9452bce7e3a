"""The run's promise: the same input and settings give the same bytes, however and wherever it is run."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

Digest = Callable[[Path], dict[str, str]]


@pytest.fixture
def flags(sample: str, vocabulary: Path, tmp_path: Path) -> list[str]:
    base = ["beam", "run", "pipelines/ccnews.py", "--input", sample, "--vocabulary", str(vocabulary)]
    return [*base, "--held-out", "0.05", "--output", str(tmp_path / "out")]


def test_two_workers_write_the_same_bytes_as_one(command, flags, reference_run: Path, digest: Digest, tmp_path: Path):
    command(*flags, "--workers", "2")
    assert digest(tmp_path / "out") == digest(reference_run)


def test_replayed_bundles_write_the_same_bytes(command, flags, reference_run: Path, digest: Digest, tmp_path: Path):
    command(*flags, "--workers", "1", "--direct_runner_bundle_repeat=2")
    assert digest(tmp_path / "out") == digest(reference_run)


def test_splitting_and_naming_the_input_otherwise_writes_the_same_bytes(
    command, vocabulary: Path, project_root: Path, reference_run: Path, digest: Digest, tmp_path: Path
):
    files = sorted((project_root / "tests/data/sample").glob("*.warc.gz"), reverse=True)
    (tmp_path / "list.txt").write_text("".join(f"{file}\n" for file in files))
    words = ["python", "pipelines/ccnews.py", "--input", f"@{tmp_path / 'list.txt'}", "--vocabulary", str(vocabulary)]
    command(*words, "--held-out", "0.05", "--output", str(tmp_path / "out"))
    assert digest(tmp_path / "out") == digest(reference_run)


def test_a_portable_runner_with_external_workers_writes_the_same_bytes(
    command, flags, start_pool, environment: dict[str, str], reference_run: Path, digest: Digest, tmp_path: Path
):
    portable = ["--runner", "PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"]
    command(*flags, *portable, f"--environment_config=localhost:{start_pool(environment)}")
    assert digest(tmp_path / "out") == digest(reference_run)


@pytest.mark.slow
def test_killed_at_random_moments_and_run_again_it_writes_the_same_bytes(
    command, flags, environment, project_root: Path, reference_run: Path, digest: Digest, tmp_path: Path
):
    moments = random.Random(1907)
    for attempt in range(20):
        if (tmp_path / "out" / "manifest.json").exists():  # finished in spite of us: begin anew
            for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
        seconds = moments.uniform(0.5, 9.0)
        run = subprocess.Popen(
            [*flags, "--workers", str(1 + attempt % 2)], cwd=project_root, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            run.wait(seconds)
        except subprocess.TimeoutExpired:
            if attempt % 3 == 0:
                run.kill()  # the driver alone: its workers have to notice
            else:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    command(*flags)
    assert digest(tmp_path / "out") == digest(reference_run)


def test_sigterm_stops_within_five_seconds_and_the_next_run_goes_on(
    command, flags, environment, project_root: Path, reference_run: Path, digest: Digest, tmp_path: Path
):
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        for note in (tmp_path / "out" / "work").glob("*/progress/*"):
            note.unlink()
        run = subprocess.Popen(
            flags, cwd=project_root, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        wait_for_split(tmp_path / "out" / "work", run)
        run.send_signal(signal_number)
        started = time.monotonic()
        _, errors = run.communicate(timeout=30)
        assert time.monotonic() - started < 5
        assert run.returncode == 128 + signal_number
        assert "the same command goes on from here" in errors
        wait_for_nobody(run.pid)  # a worker that outlives its driver would write the next run's first note
    command(*flags)
    assert digest(tmp_path / "out") == digest(reference_run)


def wait_for_split(work: Path, run: "subprocess.Popen[str]") -> None:
    """Waits until the run has begun to extract, which it shows by a note of its progress."""
    end = time.monotonic() + 60
    while time.monotonic() < end and run.poll() is None:
        if any(work.glob("*/progress/*.json")):
            return
        time.sleep(0.05)
    raise AssertionError("the run never began to extract, or ended before it could be stopped")


def wait_for_nobody(group: int) -> None:
    """Waits until no process of the group is left: workers end with their driver."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not any(is_alive_in(process, group) for process in psutil.process_iter(["status"])):
            return
        time.sleep(0.05)
    raise AssertionError("workers were still there 20 seconds after their driver")


def is_alive_in(process: psutil.Process, group: int) -> bool:
    """Whether a process of the group still works; one that nobody has reaped yet does not."""
    try:
        return os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE
    except ProcessLookupError:
        return False


def test_a_finished_run_is_recognised_and_not_done_again(command, flags, reference_run: Path, sample, vocabulary):
    before = {path: path.stat().st_mtime_ns for path in reference_run.rglob("*")}
    words = [*flags[:-1], str(reference_run)]
    done = command(*words)
    assert "already finished" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in reference_run.rglob("*")} == before


def test_a_folder_of_other_settings_is_refused_until_overwrite_is_said(command, flags, digest: Digest, tmp_path: Path):
    short = [word for word in flags if word not in ("--held-out", "0.05")]
    command(*flags, "--keep-work")
    refused = command(*short, "--no-deduplicate", status=2)
    assert "--overwrite" in refused.stderr
    assert refused.stderr.count("\n") == 1
    command(*short, "--no-deduplicate", "--overwrite")
    command(*flags, "--overwrite")
    assert not (tmp_path / "out" / "work").exists()
