"""Alerts and the dashboard ask for numbers that a follower really serves, in PromQL that parses."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from pipelines.follow_health import PREFIX, FollowStatus, serve_health

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
GROUPS = yaml.safe_load((MONITORING / "prometheus-rules.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES}
PANELS = {f"{panel['title']} {one['refId']}": one["expr"] for panel in DASHBOARD["panels"] for one in panel["targets"]}
EXPRESSIONS = ALERTS | PANELS


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Names of the metrics of a follower, each with the names of its labels, as it serves them."""
    with (
        serve_health(FollowStatus(every_s=600.0), host="127.0.0.1", port=0) as address,
        urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer,
    ):
        lines = answer.read().decode().splitlines()
    found = [re.match(r"(\w+)(?:\{(.*)\})? \S+$", line) for line in lines if not line.startswith("#")]
    names: dict[str, set[str]] = {}
    for one in filter(None, found):
        names.setdefault(one[1], set()).update(re.findall(r"(\w+)=", one[2] or ""))
    return names


def selectors(expression: str) -> Iterator[Any]:
    """The series that an expression asks for."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), lambda node: found.append(node) or True)  # type: ignore[func-returns-value]
    for node in found:
        if isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, promql_parser.VectorSelector):
            yield node


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_parse_and_ask_for_numbers_that_there_are(name: str, served: dict[str, set[str]]):
    asked = list(selectors(EXPRESSIONS[name]))
    assert asked
    for selector in asked:
        assert selector.name in served
        for matcher in selector.matchers.matchers:
            assert matcher.name in served[selector.name]


def test_what_grows_is_asked_for_as_a_counter_and_the_rest_as_it_is():
    for expression in EXPRESSIONS.values():
        for function, name in re.findall(rf"(rate|increase)\(({PREFIX}\w+)", expression):
            assert name.endswith("_total"), function


def test_alerts_say_what_is_wrong_and_how_bad_it_is():
    assert len(ALERTS) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for one in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(one["x"], one["x"] + one["w"])
        for y in range(one["y"], one["y"] + one["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_rules_file_that_prometheus_is_told_of_is_there():
    config = yaml.safe_load((MONITORING / "scrape.yaml").read_text())
    assert [name for name in config["rule_files"] if not (MONITORING / name).exists()] == []
    for one in config["scrape_configs"]:
        for rule in one.get("relabel_configs", ()):
            re.compile(rule.get("regex", ".*"))
