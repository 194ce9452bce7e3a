"""What every test may ask for: the project's root and the folder of real data made by others."""

import os
from pathlib import Path

import pytest

# Scripts, not tests: run by hand and by `make bench`.
collect_ignore_glob = ["data/*.py", "benchmarks/*.py"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data of others, read in place and never copied: `$SHARDMILL_DATA`, or beside the checkout."""
    folder = Path(os.environ.get("SHARDMILL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SHARDMILL_DATA to its folder")
    return folder
