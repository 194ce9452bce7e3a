"""The layers: who may import whom, by what the files say and by what a fresh interpreter really loads.

              pipelines                 the only one that imports Beam
             /    |    \\
            /     |   inspection        neither Beam nor torch
           /      |    /     \\
      corpora    bpe  <---  trainer     the only one that imports torch
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

MAY_IMPORT = {
    "corpora": {"corpora"},
    "bpe": {"bpe"},
    "trainer": {"trainer", "bpe"},
    "inspection": {"inspection", "corpora", "bpe", "trainer"},
    "pipelines": {"pipelines", "corpora", "bpe", "inspection"},
}
# Which extras a package may take third-party modules from; [project.dependencies] is open to all.
EXTRAS = {
    "corpora": {"pipelines", "paper"},
    "bpe": {"aws", "gs"},  # drivers of object stores, imported by the first look into one
    "trainer": {"trainer"},
    "inspection": set(),
    "pipelines": {"pipelines", "flink", "gcp", "aws"},
}
# Modules of the trainer that are arrays in, arrays out: inspection shows training samples with them.
NUMPY_ONLY = {"trainer.plan", "trainer.packing", "trainer.masking", "trainer.mixing", "trainer.randomness"}
# What the killable process loads, thousands of times a run.
SMALL_PROCESS = ["pipelines.sandbox_child", "corpora.documents"]
HEAVY = {"apache_beam", "torch", "webdataset", "transformers", "datatrove", "newsplease", "scrapy", "tensorflow"}
# package -> what must not be loaded after all of its modules are imported
NEVER_LOADED = {
    "corpora": HEAVY | {"bpe", "trainer", "inspection", "pipelines"},
    "bpe": HEAVY | {"corpora", "trainer", "inspection", "pipelines"},
    "inspection": HEAVY | {"pipelines"},
    "trainer": (HEAVY - {"torch"}) | {"corpora", "inspection", "pipelines"},
    "pipelines": HEAVY - {"apache_beam"},
}
LOAD_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


class Import(NamedTuple):
    """One imported module, as a file names it."""

    file: str
    line: int
    package: str  # that the file belongs to
    module: str  # absolute
    top: str  # its first part


def imports_of(root: Path, package: str) -> Iterator[Import]:
    for path in sorted((root / package).rglob("*.py")):
        inside = path.relative_to(root).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in modules_named_by(node, inside):
                line = getattr(node, "lineno", 0)
                yield Import(str(path.relative_to(root)), line, package, module, module.partition(".")[0])


def modules_named_by(node: ast.AST, inside: tuple[str, ...]) -> list[str]:
    """Absolute names; `from x import y` gives x and x.y, since y may be a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = ".".join(inside[: len(inside) - node.level]) if node.level else ""
        module = ".".join(filter(None, (above, node.module)))
        return [module, *(f"{module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        function = ast.unparse(node.func)
        named = node.args[0].value
        if function.endswith(("import_module", "__import__")) and isinstance(named, str):
            return [named]
    return []


def load(*modules: str, cwd: Path) -> set[str]:
    """Top-level names that a fresh interpreter holds after importing these."""
    command = [sys.executable, "-c", LOAD_ALL, *modules]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert shown.returncode == 0, shown.stderr[-2000:]
    return set(json.loads(shown.stdout))


def modules_of(root: Path, package: str) -> list[str]:
    paths = sorted((root / package).rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def declared_modules(root: Path, package: str) -> set[str]:
    """Top-level modules of the distributions that pyproject lets a package use."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS[package] for line in extras[extra])]
    names = {normalise(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in wanted}
    found = packages_distributions()
    return {module for module, owners in found.items() if names & {normalise(owner) for owner in owners}} | names


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_packages_below_it(project_root: Path, package: str) -> None:
    wrong = [one for one in imports_of(project_root, package) if one.top in MAY_IMPORT.keys() - MAY_IMPORT[package]]
    assert wrong == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_its_extras_install(project_root: Path, package: str) -> None:
    allowed = declared_modules(project_root, package) | set(sys.stdlib_module_names) | set(MAY_IMPORT)
    wrong = [one for one in imports_of(project_root, package) if one.top not in allowed]
    assert wrong == []


def test_beam_is_imported_by_pipelines_alone_and_torch_by_the_trainer_alone(project_root: Path) -> None:
    for module, owner in {"apache_beam": "pipelines", "torch": "trainer"}.items():
        others = MAY_IMPORT.keys() - {owner}
        assert [one for package in others for one in imports_of(project_root, package) if one.top == module] == []


def test_what_inspection_uses_of_the_trainer_loads_neither_torch_nor_beam(project_root: Path) -> None:
    used = {one.module for one in imports_of(project_root, "inspection") if one.top == "trainer"}
    light = NUMPY_ONLY | (used & set(modules_of(project_root, "trainer")))
    for module in sorted(light):  # each on its own, so that the one at fault is named
        assert not load(module, cwd=project_root) & HEAVY, module


@pytest.mark.parametrize("package", NEVER_LOADED)
def test_importing_all_of_a_package_loads_nothing_of_another_layer(project_root: Path, package: str) -> None:
    assert not load(*modules_of(project_root, package), cwd=project_root) & NEVER_LOADED[package]


def test_the_extraction_process_loads_neither_beam_nor_torch(project_root: Path) -> None:
    assert not load(*SMALL_PROCESS, "corpora.processing", cwd=project_root) & (HEAVY | {"fsspec", "tokenizers"})
