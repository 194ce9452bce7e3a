"""A command for Dataflow that lacks something ends with one line and its remedy, before anything is built."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import ccnews
from pipelines.dataflow import job_name

GOOD = {"--project": "my-project", "--region": "us-central1", "--temp_location": "gs://bucket-a/tmp",
        "--output": "gs://bucket-a/out", "--input": "gs://bucket-a/a.warc.gz"}  # fmt: skip
WRONG = [
    ({"--project": None}, "needs --project: add --project=my-project"),
    ({"--region": None}, "needs --region"),
    ({"--temp_location": None}, "needs --temp_location: add --temp_location=gs://BUCKET/tmp"),
    ({"--temp_location": "gs://b"}, "--temp_location is gs://b"),
    ({"--project": "My Project"}, "--project is My Project"),
    ({"--region": "moon"}, "--region is moon"),
    ({"--staging_location": "/tmp/x"}, "--staging_location is /tmp/x"),
    ({"--job_name": "Mine"}, "--job_name is Mine"),
    ({"--output": "s3://bucket-a/out"}, "name a gs:// folder"),
    ({"--vocabulary": "/there/vocab.json"}, "copy it to gs:// first"),
    ({"--input": "tests/data/sample/*.warc.gz"}, "copy it to gs:// first"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_what_is_missing_or_out_of_reach_is_one_line(
    change: dict[str, str | None],
    said: str,
    project_root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("google.cloud.dataflow", reason="apache-beam[gcp] is not installed")
    monkeypatch.chdir(project_root)  # the sample is named by a path from there
    flags = [f"{name}={value}" for name, value in {**GOOD, **change}.items() if value is not None]
    assert ccnews.run([*flags, "--runner=dataflow", "--dry-run"]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@settings(deadline=None)
@given(st.text(max_size=100))
def test_any_name_becomes_one_that_dataflow_takes(name: str):
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", job_name(name))
