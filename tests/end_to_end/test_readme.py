"""The README's commands are run as they stand, in order, in a copy of the project; what they promise happens."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)  # "sh no-run" is for what takes months or clusters


@pytest.fixture
def copy(project_root: Path, tmp_path: Path) -> Path:
    """What git tracks, with the environment linked: the commands write into their folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=project_root, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (project_root / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project_root / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_readme_does_what_it_says(copy: Path):
    blocks = BLOCK.findall((copy / "README.md").read_text())
    assert len(blocks) >= 2
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euc", block], cwd=copy, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    log = [json.loads(line) for line in (copy / "quickstart" / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "update" in line and "lr" in line]
    assert len(losses) == 60
    assert losses[-1] < losses[0] - 1
    assert (copy / "quickstart" / "news" / "report.html").is_file()


def test_the_makefile_types_the_commands_of_the_readme(project_root: Path):
    """One story in two places: what `make quickstart` runs is what the README shows."""
    shown = (project_root / "README.md").read_text()
    made = (project_root / "Makefile").read_text()
    for command in ("--size 4096", "--held-out 0.05", "--recipe tiny", "--max-updates 60", "inspect-shards summary"):
        assert command in shown
        assert command in made
