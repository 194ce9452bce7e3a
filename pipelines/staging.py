"""What workers elsewhere install: a wheel of the code that submits, and its libraries, pinned.

In: the checkout and the environment of this process. Out: files in a temporary folder and the options of Beam
that stage them. The rule: workers run the very code and library versions of the machine that submits, since both
decide bytes of documents and are written into the manifest.

Libraries go as a requirements file that each worker resolves by itself. Beam would rather download them here and
stage every archive, but it does so for source archives of its own choice, takes minutes, and needs the index even to
look at a job. Workers that must not reach an index get an image instead (deploy/images/worker.Dockerfile).
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.settings import Execution

DISTRIBUTION = "shardmill"
WORKER_EXTRAS = ("pipelines", "gcp", "aws", "paper")  # those of them that are installed here
# Each of these says how workers come by our code; then nothing of ours is built.
OWN_CODE_OPTIONS = (
    "--sdk_container_image", "--worker_harness_container_image", "--prebuild_sdk_container_engine",
    "--extra_package", "--extra_packages", "--setup_file",
)  # fmt: skip
_OF_IMAGE = {"apache-beam", "pip", "setuptools", "wheel"}  # Beam's image has them, at the version of the submission
_EPOCH = "315532800"  # 1980-01-01, the earliest that a zip can say: one checkout makes one wheel
_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_REMEDY = "name an image with --sdk_container_image, or a wheel with --extra_package"


@contextmanager
def staged_code(execution: Execution) -> Iterator[tuple[str, ...]]:
    """Options that bring our code to workers; the files live as long as the context.

    Empty where the command says itself where the code comes from. ValueError where no wheel can be made.
    """
    if execution.runner != "DataflowRunner" or names_any(execution.beam_options, OWN_CODE_OPTIONS):
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix="shardmill-stage-") as name:
        folder = Path(name)
        options = [f"--extra_package={build_wheel(checkout_root(), folder)}"]
        if not names_any(execution.beam_options, ("--requirements_file",)):
            requirements = folder / "requirements.txt"
            requirements.write_text("".join(f"{line}\n" for line in pinned_requirements()))
            options += [f"--requirements_file={requirements}", "--requirements_cache=skip"]
        yield tuple(options)


def names_any(options: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether one of these options is among the arguments.

    >>> names_any(["--setup_file=/a/setup.py"], ["--setup_file"]), names_any(["--setup"], ["--setup_file"])
    (True, False)
    """
    return any(option.split("=", 1)[0] in wanted for option in options)


def checkout_root() -> Path:
    """The checkout that this code runs from; ValueError where it was installed without its source."""
    root = Path(__file__).resolve().parents[1]
    try:
        name = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        name = ""
    if name != DISTRIBUTION:
        raise ValueError(f"{root} is no checkout, so no wheel can be made of it for the workers: {_REMEDY}")
    return root


def build_wheel(root: Path, folder: Path) -> Path:
    """A wheel of the checkout, of the same bytes whenever it is built; needs setuptools and no network.

    Built from a copy: a build leaves folders behind, and takes up what earlier builds have left.
    """
    source, target = folder / "source", folder / "wheel"
    target.mkdir(parents=True)
    _copy_source(root, source)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(target)],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(target.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["no wheel was made"])[-1]
        raise ValueError(f"cannot make a wheel of {root}: {said}; pip install 'setuptools>=77', or {_REMEDY}")
    shutil.rmtree(source)
    return wheels[0]


def pinned_requirements(extras: Sequence[str] = WORKER_EXTRAS) -> list[str]:
    """Lines `name==version` of all that our extras need, as installed here, less what Beam's own image has."""
    chosen = [extra for extra in extras if _is_installed(extra)]
    pins: dict[str, str] = {}
    waiting = [(DISTRIBUTION, tuple(chosen))]
    seen = set(waiting)
    while waiting:
        for name, wanted in _needs(*waiting.pop()):
            if name in _OF_IMAGE or (name, wanted) in seen or not _version(name):
                continue
            pins[name] = f"{name}=={_version(name)}"
            seen.add((name, wanted))
            waiting.append((name, wanted))
    return [pins[name] for name in sorted(pins)]


def _is_installed(extra: str) -> bool:
    required = set(_needs(DISTRIBUTION, (extra,))) - set(_needs(DISTRIBUTION, ()))
    return all(_version(name) for name, _ in required)


def _needs(name: str, extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, extras) of what a distribution asks for; markers other than of extras are left to what is installed."""
    for line in importlib.metadata.requires(name) or ():
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        asked = _EXTRA.search(match[3] or "")
        if asked is None or asked[1] in extras:
            needed = tuple(sorted(extra.strip() for extra in (match[2] or "").split(",") if extra.strip()))
            yield re.sub(r"[-_.]+", "-", match[1]).lower(), needed


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _copy_source(root: Path, source: Path) -> None:
    """What the wheel is made of, with modes that do not depend on who checked it out."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(root / name, source / name)
    for package in project["tool"]["setuptools"]["packages"]:
        shutil.copytree(root / package, source / package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for path in source.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
