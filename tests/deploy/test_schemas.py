"""Every YAML and JSON file of deploy/ has the shape that its reader asks for; no network is needed to know."""

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".yaml", ".yml", ".json"))
Complaints = Callable[[Path, Any], list[str]]


def documents(path: Path) -> list[Any]:
    return [json.loads(path.read_text())] if path.suffix == ".json" else list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_have_the_shape_that_their_reader_asks_for(path: Path, complaints: Complaints):
    found = documents(path)
    assert found
    assert [wrong for document in found for wrong in complaints(path, document)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_field_more_is_refused_wherever_fields_are_named(path: Path, complaints: Complaints):
    document = documents(path)[0]
    assert complaints(path, {**document, "spek": {}})


@pytest.mark.parametrize(
    ("name", "place", "right", "wrong"),
    [
        ("kubernetes/flink-deployment.yaml", ("spec",), "taskManager", "taskManagers"),
        ("kubernetes/flink-deployment.yaml", ("spec", "taskManager", "resource"), "memory", "ram"),
        ("kubernetes/flink-deployment.yaml", ("spec", "taskManager", "podTemplate", "spec", "containers", 1), "image",
         "img"),
        ("kubernetes/pytorchjob.yaml", ("spec", "elasticPolicy"), "maxReplicas", "maxReplica"),
        ("kubernetes/pytorchjob.yaml",
         ("spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "containers", 0), "args", "arguments"),
        ("kubernetes/follow.yaml", ("spec", "template", "spec"), "terminationGracePeriodSeconds", "graceSeconds"),
        ("kubernetes/ccnews-job.yaml", ("spec",), "backoffLimit", "backOffLimit"),
        ("kubernetes/storage.yaml", ("spec",), "accessModes", "accessMode"),
        ("monitoring/prometheus-rules.yaml", ("groups", 0, "rules", 0), "expr", "expression"),
        ("monitoring/scrape.yaml", ("scrape_configs", 0), "job_name", "job"),
        ("monitoring/grafana-dashboard.json", ("panels", 0), "gridPos", "gridpos"),
    ],
)  # fmt: skip
def test_a_misspelt_field_is_refused(
    name: str, place: tuple[str | int, ...], right: str, wrong: str, complaints: Complaints
):
    path = ROOT / "deploy" / name
    document = copy.deepcopy(documents(path)[0])
    inner = document
    for step in place:
        inner = inner[step]
    inner[wrong] = inner.pop(right)
    assert complaints(path, document)


def test_a_value_that_is_not_allowed_is_refused(complaints: Complaints):
    path = ROOT / "deploy/kubernetes/flink-deployment.yaml"
    document = documents(path)[0]
    document["spec"]["flinkVersion"] = "v2_9"
    assert complaints(path, document)


def test_a_file_or_a_resource_without_a_schema_is_an_error(complaints: Complaints, tmp_path: Path):
    for document in ({"kind": "PodMonitor", "apiVersion": "monitoring.coreos.com/v1"}, {"groups": []}):
        with pytest.raises(KeyError, match="no schema of"):
            complaints(tmp_path / "new.yaml", document)


def test_schemas_of_custom_resources_are_made_from_the_operators_definitions(tmp_path: Path):
    """What is open stays open, what is named is closed, prose and status go, pods are Kubernetes' own."""
    spec = importlib.util.spec_from_file_location("make_crd_schemas", ROOT / "tests/data/make_crd_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = {"type": "string", "description": "prose"}
    pod = {"type": "object", "properties": {"metadata": {}, "spec": {}}}
    found = module.reduce(
        {"type": "object", "required": ["a"], "properties": {
            "a": text, "template": pod, "words": {"type": "object", "additionalProperties": text},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "size": {"anyOf": [{}], "x-kubernetes-int-or-string": True}}}
    )  # fmt: skip
    assert found == {
        "type": "object", "required": ["a"], "additionalProperties": False, "properties": {
            "a": {"type": "string"}, "free": {"type": "object"}, "size": {"type": ["integer", "string"]},
            "template": {"$ref": module.REFERENCE.format("io.k8s.api.core.v1.PodTemplateSpec")},
            "words": {"type": "object", "additionalProperties": {"type": "string"}}},
    }  # fmt: skip
