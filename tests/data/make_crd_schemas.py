"""Makes the JSON Schemas of the custom resources that deploy/kubernetes uses, out of the operators' own definitions.

    python tests/data/make_crd_schemas.py CRD.yaml --version v1 --source 'Kubeflow training operator 1.9.0' >NAME.json

In: a CustomResourceDefinition as its operator publishes it. Out: the shape of the resource's spec: names, types,
allowed values, what is required; no descriptions, no status. The rule: what the definition does not name is refused, as
`kubectl apply --validate=strict` would, and pods are referred to Kubernetes' own schema and not repeated.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = ("type", "enum", "required", "minimum", "maximum")
POD_FIELDS = {"metadata", "spec"}
REFERENCE = "https://kubernetes.io/api/_definitions.json#/$defs/{}"  # as kubernetes-validate names them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("definition", type=Path, help="CustomResourceDefinition, YAML")
    parser.add_argument("--version", required=True, help="version of the resource, as in v1beta1")
    parser.add_argument("--source", required=True, help="operator and release that the definition is of")
    flags = parser.parse_args()
    definition = yaml.safe_load(flags.definition.read_text())["spec"]
    version = next(one for one in definition["versions"] if one["name"] == flags.version)
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    kind, group = definition["names"]["kind"], definition["group"]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"{kind} of {flags.source}; made by tests/data/make_crd_schemas.py",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": f"{group}/{flags.version}"},
            "kind": {"const": kind},
            "metadata": {"$ref": REFERENCE.format("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")},
            "spec": reduce(spec),
        },
    }
    json.dump(schema, sys.stdout, indent=1)
    print()


def reduce(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without its prose; closed where it names its fields."""
    fields = schema.get("properties", {})
    if fields.keys() >= POD_FIELDS:
        return {"$ref": REFERENCE.format(f"io.k8s.api.core.v1.{'Pod' if 'kind' in fields else 'PodTemplateSpec'}")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {"type": "object"}
    kept: dict[str, Any] = {name: schema[name] for name in KEPT if name in schema}
    if "items" in schema:
        kept["items"] = reduce(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = reduce(schema["additionalProperties"])
    if fields:
        kept["properties"] = {name: reduce(field) for name, field in fields.items()}
        kept["additionalProperties"] = False
    return kept


if __name__ == "__main__":
    main()
