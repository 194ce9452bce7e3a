"""Random shards for the trainer's tests, the facts of fairseq, and a trainer to start as a user would."""

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Tiny beyond `tiny`: two layers of 32, so that an update takes a few milliseconds.
SMALL = {
    "layers": 2,
    "hidden": 32,
    "heads": 2,
    "feed_forward": 64,
    "block_tokens": 32,
    "batch_sequences": 8,
    "micro_batch": 4,
    "updates": 60,
    "warmup_updates": 6,
    "peak_learning_rate": 3e-3,
    "evaluate_every": 0,
    "checkpoint_every": 10,
}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def random_shards() -> ModuleType:
    """`make_run(folder, Shape(...))`."""
    return _load(ROOT / "tests" / "benchmarks" / "random_shards.py")


@pytest.fixture(scope="session")
def small_data(random_shards: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 tokens in 3 shards of several blocks, 2,000 held out, 500 ids."""
    shape = random_shards.Shape(
        n_tokens=20_000, n_shards=3, held_out_tokens=2_000, vocabulary_size=500, sentence_tokens=9.0, block_tokens=2_000
    )
    return random_shards.make_run(tmp_path_factory.mktemp("data") / "small", shape)


@pytest.fixture(scope="session")
def fairseq(shared_data: Path) -> dict[str, Any]:
    """Outputs of fairseq's own code."""
    with gzip.open(shared_data / "conformance" / "fairseq.json.gz", "rt") as stream:
        facts: dict[str, Any] = json.load(stream)
    return facts


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in SMALL.items()))
    return path


class Finished(NamedTuple):
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run_here(small_recipe: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs the command in this process, which has torch already: one rank, one thread."""
    import torch

    from trainer.pretrain import main

    def run(*arguments: object) -> Finished:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            code = main(["--recipe", str(small_recipe), "--device", "cpu", *map(str, arguments)])
        except SystemExit as exit_:
            code = int(str(exit_.code))
        finally:
            torch.set_num_threads(n_threads)
        out, err = capfd.readouterr()
        return Finished(code, out, err)

    return run


@pytest.fixture
def start_trainer(small_recipe: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `pretrain.py` as a user does, by torchrun where there is more than one rank."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, n_ranks: int = 1) -> "subprocess.Popen[str]":
        launch = [sys.executable]
        if n_ranks > 1:
            launch += ["-m", "torch.distributed.run", f"--nproc-per-node={n_ranks}", "--standalone"]
        command = [*launch, "trainer/pretrain.py", "--recipe", str(small_recipe), "--device", "cpu"]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
