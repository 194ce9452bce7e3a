"""Flink: the cluster that one command starts, and what is said before a job is submitted to one that cannot run it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.flink import check_cluster, check_jar, check_worker_pool

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]  # the first start downloads 300 MB


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, list[str]]]:
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


def test_what_is_not_up_has_a_status_of_1_and_nothing_to_stop(project_root: Path, tmp_path: Path):
    words = [sys.executable, str(project_root / "deploy/flink/local-cluster")]
    flags = ["--home", str(tmp_path), "--port", str(free_port()), "--pool-port", str(free_port())]
    assert run(words, "status", flags).returncode == 1
    assert "nothing to stop" in run(words, "stop", flags).stdout


def test_a_cluster_that_does_not_answer_and_a_jar_that_is_not_there_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="no Flink answers there"):
        check_cluster(f"localhost:{free_port()}", flink_version="2.2")
    with pytest.raises(ValueError, match=r"no\.jar: no such file"):
        check_jar(str(tmp_path / "no.jar"), flink_version="2.2")
    with pytest.raises(ValueError, match="nothing answers there"):
        check_worker_pool(f"localhost:{free_port()}")


def test_a_pool_whose_python_has_no_beam_is_found_out(tmp_path: Path):
    port = free_port()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    pool = subprocess.Popen(words, env={**os.environ, "PATH": path}, start_new_session=True)
    try:
        wait_for_port(port)
        with pytest.raises(ValueError, match="the pool's `python` started no worker"):
            check_worker_pool(f"localhost:{port}", wait_s=5)
    finally:
        os.killpg(pool.pid, signal.SIGKILL)
        pool.wait()


def wait_for_port(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nobody listens on port {port}")
