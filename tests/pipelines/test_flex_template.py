"""The Flex Template says what our flags say."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import PIPELINES
from pipelines.flex_template import flags_of, main

ROOT = Path(__file__).resolve().parents[2]
OF_BEAM = {"sdk_container_image"}
METADATA = json.loads((ROOT / "deploy/dataflow/metadata.json").read_text())
PARAMETERS: dict[str, dict[str, Any]] = {one["name"]: one for one in METADATA["parameters"]}


def flags_of_all() -> dict[str, Any]:
    parsers = [importlib.import_module(f"pipelines.{name}").make_parser() for name in PIPELINES]
    return {word: action for parser in parsers for action in parser._actions for word in action.option_strings}


def test_every_parameter_is_a_flag_of_a_pipeline():
    flags = flags_of_all()
    assert [name for name in PARAMETERS if f"--{name.replace('_', '-')}" not in flags] == ["pipeline", *OF_BEAM]


def test_defaults_are_those_of_the_flags_and_pass_their_own_patterns():
    flags = flags_of_all()
    for name, parameter in PARAMETERS.items():
        assert parameter.keys() <= {"name", "label", "helpText", "paramType", "isOptional", "regexes", "defaultValue"}
        assert parameter["label"]
        assert parameter["helpText"].endswith(".")
        patterns = [re.compile(one) for one in parameter["regexes"]]
        if "defaultValue" in parameter:
            default = parameter["defaultValue"]
            assert all(pattern.search(default) for pattern in patterns)
            assert str(flags[f"--{name.replace('_', '-')}"].default).lower() == default


def test_choices_of_flags_pass_the_patterns():
    flags = flags_of_all()
    assert all(re.search(PARAMETERS["pipeline"]["regexes"][0], name) for name in PIPELINES)
    assert all(re.search(PARAMETERS["encoding"]["regexes"][0], choice) for choice in flags["--encoding"].choices)
    assert re.search(PARAMETERS["near_duplicates"]["regexes"][0], "0.5:0.99")


def test_the_container_spec_holds_the_same_metadata():
    spec = json.loads((ROOT / "deploy/dataflow/flex-template.json").read_text())
    assert spec["metadata"] == METADATA
    assert spec["sdkInfo"] == {"language": "PYTHON"}


def test_parameters_become_flags_and_beams_options_stay():
    parser = importlib.import_module("pipelines.ccnews").make_parser()
    given = ["--pipeline=ccnews", "--held_out=0.1", "--overwrite=true", "--strict=false", "--months=", "--job_name=a"]
    assert list(flags_of(given, parser)) == ["--held-out=0.1", "--overwrite", "--job_name=a"]


@pytest.mark.parametrize("argv", [[], ["--pipeline=none"], ["--pipeline=ccnews", "--overwrite=perhaps"]])
def test_a_wrong_parameter_is_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
