"""Flink: the cluster that one command starts, and what is said before a job is submitted to one that cannot run it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.flink import check_cluster, check_flink, check_jar, check_worker_pool
from pipelines.settings import Execution

Pool = Callable[[dict[str, str]], int]

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]  # the first start downloads 300 MB


@pytest.fixture(scope="module")
def cluster(
    project_root: Path, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, int, list[str]]]:
    """A running cluster: port of its REST interface, port of its pool, and the command with its flags."""
    if not shutil.which("java"):
        pytest.skip("no java on PATH")
    ports = free_port(), free_port()
    flags = ["--home", str(tmp_path_factory.mktemp("flink")), "--port", str(ports[0]), "--pool-port", str(ports[1])]
    words = [sys.executable, str(project_root / "deploy/flink/local-cluster")]
    done = run(words, "start", flags)
    if "cannot be installed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    yield *ports, [*words, *flags]
    assert run(words, "stop", flags).returncode == 0


def run(words: list[str], command: str, flags: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*words, command, *flags], capture_output=True, text=True, timeout=800, check=False)


def test_the_cluster_is_up_says_so_and_is_not_started_twice(cluster: tuple[int, int, list[str]]):
    _, _, (python, script, *flags) = cluster
    status = run([python, script], "status", flags)
    assert status.returncode == 0
    assert "taskmanager-1" in status.stdout
    again = run([python, script], "start", flags)
    assert (again.returncode, "already up" in again.stdout) == (0, True)


def test_a_cluster_is_checked_for_its_version_before_a_job_is_submitted(cluster: tuple[int, int, list[str]]):
    check_cluster(f"localhost:{cluster[0]}", flink_version="2.2")
    with pytest.raises(ValueError, match=r"runs Flink 2\.2\.0, the job server is for 1\.20; say --flink_version=2\.2"):
        check_cluster(f"localhost:{cluster[0]}", flink_version="1.20")


def test_the_pool_of_the_cluster_starts_a_worker_that_calls_back(cluster: tuple[int, int, list[str]]):
    check_worker_pool(f"localhost:{cluster[1]}")


def test_a_taken_port_is_named(cluster: tuple[int, int, list[str]], tmp_path: Path):
    _, _, (python, script, *_) = cluster
    done = run([python, script], "start", ["--home", str(tmp_path), "--port", str(cluster[0])])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"port {cluster[0]} is taken" in done.stderr


def test_what_is_not_up_has_a_status_of_1_and_nothing_to_stop(
    project_root: Path, free_port: Callable[[], int], tmp_path: Path
):
    words = [sys.executable, str(project_root / "deploy/flink/local-cluster")]
    flags = ["--home", str(tmp_path), "--port", str(free_port()), "--pool-port", str(free_port())]
    assert run(words, "status", flags).returncode == 1
    assert "nothing to stop" in run(words, "stop", flags).stdout


def test_a_cluster_that_does_not_answer_and_a_jar_that_cannot_be_had_are_named(
    free_port: Callable[[], int], tmp_path: Path
):
    with pytest.raises(ValueError, match="no Flink answers there"):
        check_cluster(f"localhost:{free_port()}", flink_version="2.2")
    with pytest.raises(ValueError, match=r"no\.jar: no such file"):
        check_jar(str(tmp_path / "no.jar"), flink_version="2.2")
    with pytest.raises(ValueError, match=r"job server cannot be had from http://localhost.*--flink_job_server_jar"):
        check_jar(f"http://localhost:{free_port()}/job-server.jar", flink_version="2.2")
    with pytest.raises(ValueError, match="nothing answers there"):
        check_worker_pool(f"localhost:{free_port()}")


def test_a_pool_whose_python_has_no_beam_is_found_out(start_pool: Pool, environment: dict[str, str], tmp_path: Path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    port = start_pool({**environment, "PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}"})
    with pytest.raises(ValueError, match="the pool's `python` started no worker"):
        check_worker_pool(f"localhost:{port}", wait_s=5)


def test_a_machine_without_java_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="no java on PATH; install Java 17"):
        check_flink(Execution(output=str(tmp_path / "out"), runner="FlinkRunner"))


def test_flags_of_flink_are_refused_for_another_runner(tmp_path: Path):
    for flag in ("flink_master", "worker_pool"):
        with pytest.raises(ValueError, match=f"--{flag.replace('_', '-')} localhost:1 is for --runner flink"):
            check_flink(Execution(output=str(tmp_path / "out"), **{flag: "localhost:1"}))


def test_a_command_that_cannot_be_submitted_ends_with_one_line_and_writes_nothing(
    command: Any, sample: str, free_port: Callable[[], int], tmp_path: Path
):
    if not shutil.which("java"):
        pytest.skip("no java on PATH")
    words = ["--runner", "flink", "--flink-master", f"localhost:{free_port()}", "--worker-pool", "localhost:1"]
    output = tmp_path / "out"
    done = command("beam", "run", "pipelines/ccnews.py", "--input", sample, "--output", str(output), *words, status=2)
    assert "no Flink answers there" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not output.exists()
