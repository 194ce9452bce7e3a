"""The files of deploy/ as data, and the schemas that they must have."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SCHEMAS = ROOT / "tests" / "data" / "schemas"
KUBERNETES = "v1.37.0-local-strict"  # of kubernetes-validate: fields that are not named are refused


@cache
def _kubernetes(name: str) -> Any:
    return json.loads(files("kubernetes_validate").joinpath("kubernetes-json-schema", KUBERNETES, name).read_text())


def _schema_of(path: Path, document: Any) -> Any:
    """Of a resource by its kind, of any other file by its name; KeyError where there is none."""
    fields = document if isinstance(document, dict) else {}
    kind, version = fields.get("kind", ""), fields.get("apiVersion", "")
    ours = SCHEMAS / f"{(kind or path.stem).lower()}.json"
    if ours.exists():
        return json.loads(ours.read_text())
    group, _, number = version.rpartition("/")
    name = "-".join(filter(None, [kind.lower(), group.split(".")[0], number]))
    try:
        return _kubernetes(f"{name}.json")
    except FileNotFoundError:
        raise KeyError(f"{path.name}: no schema of {kind or path.stem} {version}; put one into {SCHEMAS}") from None


@pytest.fixture(scope="session")
def complaints() -> Callable[[Path, Any], list[str]]:
    """What a document's schema finds wrong with it."""
    registry: Registry[Any] = Resource.from_contents(_kubernetes("_definitions.json")) @ Registry()

    def check(path: Path, document: Any) -> list[str]:
        schema = _schema_of(path, document)
        Draft202012Validator.check_schema(schema)
        return [one.message for one in Draft202012Validator(schema, registry=registry).iter_errors(document)]

    return check


def load(path: Path) -> list[Any]:
    """The documents of a YAML file; a JSON file is one."""
    text = path.read_text()
    return [json.loads(text)] if path.suffix == ".json" else list(yaml.safe_load_all(text))


@pytest.fixture(scope="session")
def resources() -> dict[str, dict[str, Any]]:
    """Each resource of deploy/kubernetes by its kind and name."""
    found = [one for path in sorted((DEPLOY / "kubernetes").iterdir()) for one in load(path)]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


@pytest.fixture(scope="session")
def containers(resources: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every container of every pod, however deep its template lies."""
    return [container for one in resources.values() for container in _containers(one)]


def _containers(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("containers", "initContainers"):
                yield from inner
            else:
                yield from _containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _containers(inner)
