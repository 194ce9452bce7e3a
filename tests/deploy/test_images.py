"""Images are made of files that are there, of pinned libraries, and run as nobody in particular."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILES = sorted([*(ROOT / "deploy").rglob("Dockerfile"), *(ROOT / "deploy").rglob("*.Dockerfile")])
OURS = [path for path in DOCKERFILES if path.parent.name == "images"]
INSTRUCTIONS = {"FROM", "ARG", "COPY", "RUN", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
FROM_A_CHECKOUT = ["trainer", "worker"]


def instructions(path: Path) -> list[list[str]]:
    """Words of each instruction of a Dockerfile, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def pins() -> dict[str, str]:
    return dict(line.split("==") for line in (ROOT / "deploy/constraints.txt").read_text().split())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_images_copy_only_what_is_there(path: Path):
    stages = {words[3] for words in instructions(path) if words[0] == "FROM" and len(words) == 4}
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    for words in instructions(path):
        assert words[0] in INSTRUCTIONS
        if words[0] == "COPY" and words[1].startswith("--from="):
            assert words[1].removeprefix("--from=") in stages
        elif words[0] == "COPY":
            assert all((ROOT / source).exists() for source in words[1:-1])
            assert not {source.split("/")[0] for source in words[1:-1]} & set(ignored)


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_pip_installs_extras_that_there_are_every_library_of_which_is_pinned(path: Path):
    for words in instructions(path):
        line = " ".join(words)
        if words[0] != "RUN" or "pip " not in line:
            continue
        for command in re.findall(r"pip (?:install|wheel)[^&]*", line):
            assert "--no-cache-dir" in command
            assert "-c /opt/shardmill/constraints.txt" in command or "PIP_CONSTRAINT=/constraints.txt" in line
            for extra in ",".join(re.findall(r"\[([\w,]+)\]", command)).split(","):
                required = PROJECT["project"]["optional-dependencies"][extra] if extra else []
                assert {canonical(one) for one in required} <= pins().keys()
    assert {canonical(one) for one in PROJECT["project"]["dependencies"]} <= pins().keys()


def canonical(requirement: str) -> str:
    """A requirement's name, as pins have it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


@pytest.mark.parametrize("name", FROM_A_CHECKOUT)
def test_images_of_the_checkout_have_all_our_packages_by_the_same_steps(name: str):
    path = ROOT / f"deploy/images/{name}.Dockerfile"
    copied = {source for one in instructions(path) if one[0] == "COPY" for source in one[1:-1]}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) <= copied
    assert "useradd --uid 10001 --create-home shardmill" in path.read_text()
    wheel = [one for one in instructions(path) if one[0] == "RUN" and "wheel" in one]
    assert wheel == [one for one in instructions(ROOT / "deploy/images/worker.Dockerfile") if "wheel" in one]


def test_the_worker_image_has_the_pinned_beam():
    words = instructions(ROOT / "deploy/images/worker.Dockerfile")
    assert {one[1] for one in words if one[0] == "FROM"} == {f"apache/beam_python3.11_sdk:{pins()['apache-beam']}"}


def test_only_the_trainer_has_torch_and_only_the_workers_have_beam():
    extras = {path.stem: set(re.findall(r"\[([\w,]+)\]\"", path.read_text())) for path in OURS}
    assert extras == {"worker": {"pipelines,gcp,aws"}, "trainer": {"trainer"}, "driver": set()}


def test_the_driver_and_the_launcher_are_made_from_the_worker():
    for path in (ROOT / "deploy/images/driver.Dockerfile", ROOT / "deploy/dataflow/Dockerfile"):
        words = instructions(path)
        assert [one for one in words if one[0] == "FROM"][-1] == ["FROM", "${WORKER}"]
        assert ["ARG", f"WORKER=shardmill-worker:{PROJECT['project']['version']}"] in words


def test_images_that_kubernetes_runs_as_they_are_do_not_run_as_root():
    for name in ("driver", "trainer"):
        users = [one[1] for one in instructions(ROOT / f"deploy/images/{name}.Dockerfile") if one[0] == "USER"]
        assert users == ["10001"]
