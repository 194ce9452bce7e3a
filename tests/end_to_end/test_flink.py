"""Flink: the cluster that one command starts, jobs on it, and what is said before one is submitted that cannot run.

Jobs need Beam's job server: a jar named in SHARDMILL_FLINK_JOB_SERVER_JAR (`…-flink-1.20-job-server-….jar` is for
Flink 1.20), or the one that Beam downloads. Where neither can be had they are skipped, with the reason.
"""

import contextlib
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from apache_beam.utils.subprocess_server import JavaJarServer

from pipelines.flink import (
    JAR_VARIABLE,
    check_cluster,
    check_flink,
    check_jar,
    check_worker_pool,
    compare_versions,
    our_versions,
)
from pipelines.settings import Execution

Pool = Callable[[dict[str, str]], int]
Digest = Callable[[Path], dict[str, str]]

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]  # the first start downloads 300 MB

DEFAULT_FLINK = "2.2"
RELEASES = {"1.20": "1.20.1", "2.2": "2.2.0"}
REFUSAL_SECONDS = 20.0
JOB_SECONDS = 600.0


class JobServer(NamedTuple):
    """What starts jobs, or why there is none."""

    flink: str  # minor version that it is for
    missing: str


class Cluster(NamedTuple):
    port: int  # of its REST interface
    pool_port: int
    home: Path
    words: list[str]  # the command
    flags: list[str]

    def state(self) -> dict[str, int]:
        """Process ids by name of the part."""
        return {one["name"]: one["pid"] for one in json.loads((self.home / "run/state.json").read_text())}

    def ask(self, path: str, *, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def job_server() -> JobServer:
    """Found once a session: a refusal is quick, and nothing is downloaded before the answer is yes."""
    named = os.environ.get(JAR_VARIABLE, "")
    if named:
        version = re.search(r"flink-(\d+\.\d+)-", Path(named).name)
        missing = "" if Path(named).is_file() else f"{JAR_VARIABLE}={named}: no such file"
        return JobServer(version[1] if version else DEFAULT_FLINK, missing)
    url = JavaJarServer.path_to_beam_jar(f":runners:flink:{DEFAULT_FLINK}:job-server:shadowJar")
    if (Path(JavaJarServer.JAR_CACHE) / url.rpartition("/")[2]).is_file():
        return JobServer(DEFAULT_FLINK, "")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REFUSAL_SECONDS):
            return JobServer(DEFAULT_FLINK, "")
    except (OSError, ValueError) as error:
        return JobServer(
            DEFAULT_FLINK, f"no job server for Flink: {JAR_VARIABLE} is not set, and {Path(url).name}: {error}"
        )


@pytest.fixture(scope="module")
def cluster(
    project_root: Path, job_server: JobServer, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A running cluster of the job server's version, with two TaskManagers."""
    if not shutil.which("java"):
        pytest.skip("no java on PATH")
    if job_server.flink not in RELEASES:
        pytest.skip(f"the job server is for Flink {job_server.flink}, and these tests know {', '.join(RELEASES)}")
    home, ports = tmp_path_factory.mktemp("flink"), (free_port(), free_port())
    flags = ["--home", str(home), "--port", str(ports[0]), "--pool-port", str(ports[1])]
    flags += ["--flink-version", RELEASES[job_server.flink]]
    words = [sys.executable, str(project_root / "deploy/flink/local-cluster")]
    done = run(words, "start", flags)
    if "cannot be installed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    yield Cluster(*ports, home, words, flags)
    assert run(words, "stop", flags).returncode == 0


@pytest.fixture(scope="module")
def on_flink(cluster: Cluster, job_server: JobServer) -> list[str]:
    """The flags of a job on the cluster."""
    if job_server.missing:
        pytest.skip(job_server.missing)
    words = ["--runner", "flink", "--flink-master", f"localhost:{cluster.port}", "--workers", "2"]
    return [*words, "--worker-pool", f"localhost:{cluster.pool_port}", f"--flink_version={job_server.flink}"]


def run(words: list[str], command: str, flags: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*words, command, *flags], capture_output=True, text=True, timeout=800, check=False)


def test_the_cluster_is_up_says_so_and_is_not_started_twice(cluster: Cluster):
    status = run(cluster.words, "status", cluster.flags)
    assert status.returncode == 0
    assert "taskmanager-1" in status.stdout
    again = run(cluster.words, "start", cluster.flags)
    assert (again.returncode, "already up" in again.stdout) == (0, True)


def test_a_cluster_is_checked_for_its_version_before_a_job_is_submitted(cluster: Cluster, job_server: JobServer):
    master, ours = f"localhost:{cluster.port}", job_server.flink
    check_cluster(master, flink_version=ours)
    found = re.escape(RELEASES[ours])
    with pytest.raises(
        ValueError, match=rf"runs Flink {found}, the job server is for 1\.19; say --flink_version={ours}"
    ):
        check_cluster(master, flink_version="1.19")


def test_the_pool_of_the_cluster_starts_a_worker_that_calls_back_and_is_like_us(cluster: Cluster):
    check_worker_pool(f"localhost:{cluster.pool_port}")


def test_a_taken_port_is_named(cluster: Cluster, tmp_path: Path):
    done = run(cluster.words, "start", ["--home", str(tmp_path), "--port", str(cluster.port)])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"port {cluster.port} is taken" in done.stderr


def test_a_part_that_ended_is_started_again_and_the_others_are_left_alone(cluster: Cluster):
    before = cluster.state()
    for name in ("taskmanager-0", "pool"):
        os.kill(before[name], signal.SIGKILL)
        wait_for(lambda name=name: "gone" in shown(cluster, name))
        done = run(cluster.words, "start", cluster.flags)
        assert (done.returncode, done.stdout.strip()) == (0, f"started again: {name}")
    after = cluster.state()
    assert {name for name in before if before[name] != after[name]} == {"taskmanager-0", "pool"}
    assert run(cluster.words, "status", cluster.flags).returncode == 0


def shown(cluster: Cluster, name: str) -> str:
    """The line of `status` that tells of a part."""
    return next(line for line in run(cluster.words, "status", cluster.flags).stdout.splitlines() if name in line)


def wait_for(condition: Callable[[], Any], seconds: float = JOB_SECONDS) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not so after {seconds:.0f} s")


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


def test_workers_of_another_python_beam_or_shardmill_are_found_out():
    ours = our_versions()
    compare_versions("pool:1", ours)
    compare_versions("pool:1", {**ours, "python": f"{str(ours['python']).rpartition('.')[0]}.999"})
    for name, theirs, said in (
        ("apache-beam", "2.45.0", "have apache-beam 2.45.0, and here it is"), ("python", "3.1.9", "have python 3.1.9"),
        ("shardmill", None, "have no shardmill"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"pool:1: its workers {said}"):
            compare_versions("pool:1", {**ours, name: theirs})
    with pytest.raises(ValueError, match="cannot read what this Beam pickles"):
        compare_versions("pool:1", {})


def test_beams_own_pool_is_asked_as_well(start_pool: Pool, environment: dict[str, str]):
    check_worker_pool(f"localhost:{start_pool(environment)}")


def test_a_machine_without_java_or_with_an_old_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    job = Execution(output=str(tmp_path / "out"), runner="FlinkRunner")
    with pytest.raises(ValueError, match="no java on PATH; install Java 17"):
        check_flink(job)
    java = tmp_path / "java"
    for said, complaint in (
        ('openjdk version "1.8.0_392"', r"/java is Java 8; the job server and Flink need 11; install Java 17"),
        ("Segmentation fault", r"/java does not say its version; install Java 17"),
    ):
        java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
        java.chmod(0o755)
        with pytest.raises(ValueError, match=complaint):
            check_flink(job)


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


TINY = "tests/data/tiny"
PIPELINES = {
    "ccnews": ["pipelines/ccnews.py", "--input", "tests/data/sample/*.warc.gz", "--near-duplicates", "0.5:0.99"],
    "stories": ["pipelines/stories.py", "--input", f"{TINY}/*.wet.gz", "--questions", f"{TINY}/questions.txt",
                "--keep", "0.25"],
    "books_wiki": ["pipelines/books_wiki.py", "--wikipedia", f"{TINY}/*.xml.bz2", "--books", f"{TINY}/books"],
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_writes_the_same_bytes_on_a_cluster(
    name: str, command: Any, on_flink: list[str], vocabulary: Path, digest: Digest, tmp_path: Path
):
    words = ["beam", "run", *PIPELINES[name], "--vocabulary", str(vocabulary), "--held-out", "0.05"]
    command(*words, "--output", tmp_path / "local", "--workers", "1")
    command(*words, "--output", tmp_path / "flink", *on_flink, timeout=JOB_SECONDS)
    assert "manifest.json" in digest(tmp_path / "local")
    assert digest(tmp_path / "flink") == digest(tmp_path / "local")


def test_all_stages_of_openwebtext_write_the_same_bytes_on_a_cluster(
    command: Any, on_flink: list[str], project_root: Path, index_lines: Any, digest: Digest, tmp_path: Path
):
    lines: list[str] = []
    for path in sorted((project_root / "tests/data/sample").glob("*.warc.gz")):
        shutil.copy(path, tmp_path)
        lines += index_lines(tmp_path / path.name)
    (tmp_path / "cdx-00000.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    urls = [json.loads(line[line.index("{") :])["url"] for line in lines]
    rows = [
        {"url": url, "score": 5, "is_self": False, "over_18": False, "created_utc": 15e8, "id": url} for url in urls
    ]
    (tmp_path / "RS.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ["beam", "run", "pipelines/openwebtext.py", "--submissions", tmp_path / "RS.ndjson"]
    words += ["--from-common-crawl", tmp_path / "cdx-*.gz", "--crawl-root", tmp_path]
    command(*words, "--output", tmp_path / "local", "--workers", "1", timeout=JOB_SECONDS)
    command(*words, "--output", tmp_path / "flink", *on_flink, timeout=JOB_SECONDS)
    assert "manifest.json" in digest(tmp_path / "local")
    assert digest(tmp_path / "flink") == digest(tmp_path / "local")


@pytest.fixture
def words(sample: str, vocabulary: Path, on_flink: list[str], tmp_path: Path) -> list[str]:
    """The reference run, on the cluster."""
    base = ["beam", "run", "pipelines/ccnews.py", "--input", sample, "--vocabulary", str(vocabulary)]
    return [*base, "--held-out", "0.05", "--output", str(tmp_path / "out"), *on_flink]


@pytest.fixture
def begun(words: list[str], environment: dict[str, str], project_root: Path, cluster: Cluster) -> Iterator[Any]:
    """That run, once the cluster has done some of its tasks; it is killed with the test if it goes on."""
    job = subprocess.Popen(
        words, cwd=project_root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: job.poll() is not None or has_begun(cluster))
        assert job.poll() is None, job.communicate()
        yield job
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()


def has_begun(cluster: Cluster) -> bool:
    jobs = cluster.ask("/jobs/overview")["jobs"]
    return any(one["state"] == "RUNNING" and one["tasks"]["finished"] for one in jobs)


def test_a_killed_task_manager_costs_no_byte(
    begun: Any, cluster: Cluster, reference_run: Path, digest: Digest, tmp_path: Path
):
    os.kill(cluster.state()["taskmanager-1"], signal.SIGKILL)
    wait_for(lambda: "gone" in shown(cluster, "taskmanager-1"))
    assert "started again: taskmanager-1" in run(cluster.words, "start", cluster.flags).stdout
    _, said = begun.communicate(timeout=JOB_SECONDS)
    assert begun.returncode == 0, said
    assert digest(tmp_path / "out") == digest(reference_run)


def test_a_killed_pool_and_its_workers_cost_no_byte(
    begun: Any, cluster: Cluster, reference_run: Path, digest: Digest, tmp_path: Path
):
    os.killpg(cluster.state()["pool"], signal.SIGKILL)
    wait_for(lambda: "gone" in shown(cluster, "pool"))
    assert "started again: pool" in run(cluster.words, "start", cluster.flags).stdout
    _, said = begun.communicate(timeout=JOB_SECONDS)
    assert begun.returncode == 0, said
    assert digest(tmp_path / "out") == digest(reference_run)


@pytest.mark.parametrize("where", ["in the cluster", "where it was submitted"])
def test_a_job_that_was_cancelled_and_submitted_again_writes_the_same_bytes(
    where: str, begun: Any, words: list[str], command: Any, cluster: Cluster, reference_run: Path, digest: Digest,
    tmp_path: Path,
):  # fmt: skip
    (job,) = [one["jid"] for one in cluster.ask("/jobs/overview")["jobs"] if one["state"] in ("RUNNING", "RESTARTING")]
    if where == "in the cluster":
        with contextlib.suppress(json.JSONDecodeError, urllib.error.HTTPError):
            cluster.ask(f"/jobs/{job}?mode=cancel", method="PATCH")
    else:
        begun.terminate()
    _, said = begun.communicate(timeout=JOB_SECONDS)
    assert begun.returncode == (1 if where == "in the cluster" else 128 + signal.SIGTERM), said
    wait_for(lambda: cluster.ask(f"/jobs/{job}")["state"] == "CANCELED")
    assert not (tmp_path / "out/manifest.json").exists()
    command(*words, timeout=JOB_SECONDS)
    assert digest(tmp_path / "out") == digest(reference_run)
