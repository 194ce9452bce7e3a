"""Names and sizes that the project promises: nothing shadows, is vague, strays, or speaks of one machine."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGES = ("pipelines", "corpora", "bpe", "trainer", "inspection")
TOP_LEVEL = {
    *PACKAGES,
    *("tests", "deploy", "pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
}
VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}
MAX_LINES = 500
# A name the design gives to a command's module, in a package that is never first on the path (trainer's scripts are).
ALLOWED_SHADOWS = {"inspection/trace.py"}
# Each in two halves, so that this file is not an example of itself.
MACHINE = [
    r"(?<![\w.-])/ro" + r"ot/",
    r"(?<![\w.-])/ho" + r"me/\w",
    r"(?<![\w.-])/Use" + r"rs/\w",
    "bash_" + "jobs",
    r"--(extra-)?index" + r"-url|index" + r"_url",
    "find-" + "links",
    r"https?://[^/\s\"'<>]*(arti" + "factory|nex" + "us|dev" + r"pi|pypi-mir" + "ror|pypi-pro" + "xy)",
]


@pytest.fixture(scope="module")
def tracked(project_root: Path) -> list[Path]:
    """Paths in git, relative to the root."""
    shown = subprocess.run(["git", "ls-files", "-z"], cwd=project_root, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip(f"not a git checkout: {shown.stderr.strip()}")
    names = filter(None, shown.stdout.split("\0"))
    return [Path(name) for name in names if (project_root / name).is_file()]


def modules_in(root: Path) -> list[Path]:
    return [path.relative_to(root) for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]


def names_of_dependencies(root: Path) -> set[str]:
    """Import names of everything pyproject asks for, installed or not."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names = {normalise(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in lines}
    found = packages_distributions()
    return names | {module for module, owners in found.items() if names & {normalise(owner) for owner in owners}}


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def test_no_module_shadows_the_standard_library_a_dependency_or_a_package(project_root: Path) -> None:
    taken = set(sys.stdlib_module_names) | names_of_dependencies(project_root) | set(PACKAGES)
    inside = [path for path in modules_in(project_root) if not path.stem.startswith("__")]
    assert {str(path) for path in inside if path.stem in taken} <= ALLOWED_SHADOWS
    folders = {path.parent for path in inside} - {Path(package) for package in PACKAGES}
    assert [str(folder) for folder in folders if folder.name in taken] == []


def test_no_module_or_folder_has_a_vague_name(tracked: list[Path]) -> None:
    python = [path for path in tracked if path.suffix == ".py"]
    vague = [
        path for path in python if {word for part in path.with_suffix("").parts for word in part.split("_")} & VAGUE
    ]
    assert vague == []


def test_the_top_level_is_the_fixed_set_of_folders_and_files(tracked: list[Path]) -> None:
    found = {path.parts[0] for path in tracked}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL


def test_no_module_is_longer_than_a_person_reads_at_once(project_root: Path, tracked: list[Path]) -> None:
    python = [path for path in tracked if path.suffix == ".py"]
    lengths = {str(path): (project_root / path).read_text(encoding="utf-8").count("\n") for path in python}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_every_module_opens_by_saying_what_it_is(project_root: Path) -> None:
    silent = []
    for path in modules_in(project_root):
        text = (project_root / path).read_text(encoding="utf-8")
        if text.strip() and not text.lstrip().startswith(('"""', 'r"""')):
            silent.append(str(path))
    assert silent == []


def test_tests_are_not_packages(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.parts[0] == "tests" and path.name == "__init__.py"] == []


def test_no_tracked_file_speaks_of_one_machine(project_root: Path, tracked: list[Path]) -> None:
    here = [re.escape(f"{folder}/") for folder in (project_root, Path.home()) if folder != Path("/")]
    pattern = re.compile("|".join([*MACHINE, *here]))
    found = []
    for path in tracked:
        try:
            text = (project_root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not text
        found += [(str(path), match[0]) for match in pattern.finditer(text)]
    assert found == []
