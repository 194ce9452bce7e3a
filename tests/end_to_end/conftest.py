"""Commands run as a user runs them: separate processes, real files, the exit status looked at."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def environment(project_root: Path) -> dict[str, str]:
    """The environment's commands first on the path; worker pools start the literal word `python`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONHASHSEED": "random"}


@pytest.fixture(scope="session")
def command(project_root: Path, environment: dict[str, str]) -> Command:
    """Runs a command in the project's root; asserts its exit status."""

    def run(*words: str, status: int = 0, timeout: float = 240) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [str(word) for word in words],
            cwd=project_root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def sample(project_root: Path) -> str:
    """The bundled sample, as a pattern."""
    return str(project_root / "tests" / "data" / "sample" / "*.warc.gz")


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory, command: Command, sample: str) -> Path:
    """A small vocabulary trained on the bundled sample, as the quickstart does it."""
    folder = tmp_path_factory.mktemp("vocabulary")
    command("beam", "run", "pipelines/ccnews.py", "--input", sample, "--output", str(folder / "news"))
    output = folder / "vocab.json"
    command(
        "prep-shards", "vocabulary", "train", "--input", str(folder / "news"), "--size", "4096", "--output", str(output)
    )
    return output


@pytest.fixture(scope="session")
def reference_run(tmp_path_factory: pytest.TempPathFactory, command: Command, sample: str, vocabulary: Path) -> Path:
    """An undisturbed run over the sample with one worker: what every other run must equal."""
    output = tmp_path_factory.mktemp("reference") / "out"
    flags = ["--input", sample, "--output", str(output), "--vocabulary", str(vocabulary), "--held-out", "0.05"]
    command("beam", "run", "pipelines/ccnews.py", *flags, "--workers", "1")
    return output


def tree_digest(folder: Path) -> dict[str, str]:
    """sha256 of every file of a run, work folder aside."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and "work" not in path.relative_to(folder).parts
    )
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def digest() -> Callable[[Path], dict[str, str]]:
    return tree_digest


@pytest.fixture(scope="module")
def manifest(run: Path) -> dict[str, Any]:
    """What the manifest of a module's own run holds."""
    loaded: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def rows() -> Callable[[Path, str], list[dict[str, Any]]]:
    """The rows of a run's documents/ or rejected/."""
    return lambda run, folder: ds.dataset(run / folder).to_table().to_pylist()


@pytest.fixture
def start_pool(project_root: Path, free_port: Callable[[], int]) -> Iterator[Callable[[dict[str, str]], int]]:
    """Starts a Beam worker pool in an environment and gives its port; pools and their workers end with the test."""
    pools: list[subprocess.Popen[bytes]] = []

    def start(environment: dict[str, str]) -> int:
        port = free_port()
        words = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
        pools.append(subprocess.Popen(words, cwd=project_root, env=environment, start_new_session=True))
        wait_for_port(port)
        return port

    yield start
    for pool in pools:
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
