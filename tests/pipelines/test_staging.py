"""What workers elsewhere install: one checkout makes one wheel, and libraries have the versions of this environment."""

import importlib.metadata
import zipfile
from pathlib import Path

import pytest

from pipelines import staging
from pipelines.settings import Execution


def test_a_checkout_makes_the_same_wheel_whenever_it_is_built(tmp_path: Path):
    root = staging.checkout_root()
    before = {path.name for path in root.iterdir()}
    one, other = (staging.build_wheel(root, tmp_path / name) for name in ("one", "other"))
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    assert {path.name for path in root.iterdir()} == before
    names = zipfile.ZipFile(one).namelist()
    for package in ("pipelines", "corpora", "bpe", "trainer", "inspection"):
        assert f"{package}/__init__.py" in names
    assert any(name.endswith(".toml") for name in names)  # the recipes


def test_libraries_are_pinned_as_they_are_here_and_beam_is_left_to_the_image():
    pins = dict(line.split("==") for line in staging.pinned_requirements())
    assert pins["trafilatura"] == importlib.metadata.version("trafilatura")
    assert {"numpy", "pyarrow", "lxml", "courlan"} <= pins.keys()
    assert not {"apache-beam", "torch", "shardmill"} & pins.keys()


@pytest.mark.parametrize("option", ["--sdk_container_image=example.org/w:1", "--extra_package=/w.whl"])
def test_who_brings_the_code_has_no_wheel_made(option: str):
    with staging.staged_code(Execution(output="gs://b/o", runner="DataflowRunner", beam_options=(option,))) as options:
        assert options == ()


def test_a_folder_that_is_no_checkout_is_named_with_the_remedy(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n[tool.setuptools]\npackages = ["gone"]\n')
    for name in ("README.md", "LICENSE"):
        (tmp_path / name).touch()
    with pytest.raises(OSError, match="gone"):
        staging.build_wheel(tmp_path, tmp_path / "out")


def test_an_installation_without_source_says_what_to_do(tmp_path: Path):
    import subprocess
    import sys

    wheel = staging.build_wheel(staging.checkout_root(), tmp_path / "build")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from pipelines.staging import checkout_root; checkout_root()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True, check=False
    )
    assert "is no checkout" in done.stderr
    assert "--sdk_container_image" in done.stderr
