"""`--dry-run`: a job of one size for any input, shown without a run, a file or a network."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MANY = 100_000
# One and the same command gives sizes that differ by some 100 bytes: pickles of classes hold random ids, compressed.
NOISE_BYTES = 1024
CORPORA = ["ccnews", "openwebtext", "stories", "books_wiki"]
DATAFLOW = ["--runner", "dataflow", "--project", "my-project", "--region", "us-central1",
            "--temp_location", "gs://bucket-a/tmp"]  # fmt: skip
OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"the network was asked: {event} {arguments}")
sys.addaudithook(refuse)
from pipelines.cli import main
sys.exit(main(sys.argv[1:]))
"""


def write_list(path: Path, n: int, ending: str) -> str:
    path.write_text("".join(f"https://example.org/{k:06d}{ending}\n" for k in range(n)))
    return f"@{path}"


def arguments(corpus: str, folder: Path, n: int) -> list[str]:
    """A command that reads n files."""
    if corpus == "books_wiki":
        return ["--books", write_list(folder / "list.txt", n, ".txt")]
    named = write_list(folder / "list.txt", n, ".warc.gz")
    if corpus == "openwebtext":
        return ["--stage", "extract", "--fetched", named]
    if corpus == "stories":
        (folder / "questions.txt").write_text("The trophy does not fit into the suitcase because it is too big.\n")
        return ["--input", named, "--questions", str(folder / "questions.txt")]
    return ["--input", named]


def plan(corpus: str, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    status = importlib.import_module(f"pipelines.{corpus}").run([*flags, "--dry-run", "json"])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    one: dict[str, Any] = json.loads(shown.out)
    return one


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_job_has_the_same_size_for_one_file_and_for_a_hundred_thousand(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = str(tmp_path / "out")
    one, many = (plan(corpus, capsys, *arguments(corpus, tmp_path, n), "--output", output) for n in (1, MANY))
    assert one["steps"] == many["steps"]
    assert abs(one["proto_bytes"] - many["proto_bytes"]) < NOISE_BYTES
    assert many["proto_bytes"] < 1 << 20  # Dataflow takes 10 MB
    assert not Path(output).exists()


def test_the_job_that_chooses_urls_does_not_grow_with_the_number_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sizes = []
    for n in (1, 1_000):
        folder = tmp_path / str(n)
        folder.mkdir()
        for k in range(n):
            (folder / f"RS_{k:04d}").touch()
        shown = plan("openwebtext", capsys, "--stage", "urls", "--submissions", str(folder / "RS_*"),
                     "--output", str(tmp_path / "out"))  # fmt: skip
        sizes.append(shown["proto_bytes"])
    assert abs(sizes[0] - sizes[1]) < NOISE_BYTES


def dry_run_offline(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, in which asking the network fails and no temporary file may stay."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "run", "pipelines/ccnews.py", *flags],
        capture_output=True, text=True, env=environment, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(temporary.iterdir()) == []
    return done


def test_a_dry_run_for_dataflow_is_the_request_that_makes_the_job_and_needs_no_network(tmp_path: Path):
    pytest.importorskip("google.cloud.dataflow", reason="apache-beam[gcp] is not installed")
    done = dry_run_offline(
        tmp_path, "--input", write_list(tmp_path / "list.txt", 3, ".warc.gz"), "--output", "gs://bucket-a/news",
        *DATAFLOW, "--workers", "7", "--worker_machine_type", "n2-standard-4",
        "--subnetwork", "regions/r/subnetworks/s",
        "--service_account_email", "w@my-project.iam.gserviceaccount.com", "--dry-run", "json",
    )  # fmt: skip
    shown = json.loads(done.stdout)
    request = shown["request"]
    environment, pool = request["environment"], request["environment"]["workerPools"][0]
    assert request["type"] == "JOB_TYPE_BATCH"
    assert request["name"] == shown["name"]
    assert request["labels"]["shardmill"] == "ccnews"
    assert pool["machineType"] == "n2-standard-4"
    assert pool["subnetwork"] == "regions/r/subnetworks/s"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert pool["workerHarnessContainerImage"].startswith("gcr.io/cloud-dataflow/v1beta3/beam_python3.")
    assert environment["serviceAccountEmail"] == "w@my-project.iam.gserviceaccount.com"
    assert environment["sdkPipelineOptions"]["options"]["save_main_session"] is False
    names = {file["name"] for file in shown["staged"]}
    assert {"shardmill-0.1.0-py3-none-any.whl", "requirements.txt", "extra_packages.txt"} <= names


def test_an_image_brings_the_code_so_that_none_is_staged(tmp_path: Path):
    pytest.importorskip("google.cloud.dataflow", reason="apache-beam[gcp] is not installed")
    done = dry_run_offline(
        tmp_path, "--input", "https://example.org/a.warc.gz", "--output", "gs://bucket-a/news", *DATAFLOW,
        "--sdk_container_image", "example.org/worker:1", "--dry-run=json",
    )  # fmt: skip
    shown = json.loads(done.stdout)
    assert not [file for file in shown["staged"] if file["name"].endswith(".whl")]
    assert shown["request"]["environment"]["workerPools"][0]["workerHarnessContainerImage"] == "example.org/worker:1"


def test_text_shows_our_transforms_as_a_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from pipelines import ccnews

    assert ccnews.run(["--input", "https://example.org/a.warc.gz", "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  Choose documents" in lines
    assert "    Remove duplicates" in lines
    assert lines[-1] == "nothing was run, nothing was written"
