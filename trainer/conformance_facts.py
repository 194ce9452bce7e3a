"""Outputs of fairseq's own code, to compare ours with: read from a JSON file, never part of the project.

    {"packing":  [{"sizes": [4, 3, ...], "block": 9, "complete": [[0, 8], ...], "complete_doc": [[0, 7], ...]}, ...],
     "encoding": [{"text": "Hello world!", "ids": [31414, 232, 328]}, ...],
     "lr":       {"warmup": 24000, "peak": 0.0006, "total": 500000, "values": [[1, 0.0], ...]},
     "adam":     {"lr": ..., "betas": [...], "eps": ..., "weight_decay": ..., "initial": [...],
                  "gradients": [[...], ...], "after_each_step": [[...], ...]}}

In: the path of such a file, or of its gzip. Out: `Facts`. The rule: a part that is not there is None, and what is not
what it should be is refused by name.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class FactsError(Exception):
    """A file of facts that cannot be used; command lines exit 1 with its one line."""


class Packing(NamedTuple):
    """What fairseq's packer makes of sentences of these sizes, `</s>` counted; size 1 is a separator."""

    sizes: list[int]
    block: int  # tokens
    complete: list[list[int]]  # borders in the stream, [start, end) of each block
    complete_doc: list[list[int]]


class Encoding(NamedTuple):
    """What fairseq makes of a text."""

    text: str
    ids: list[int]


class Rates(NamedTuple):
    """The learning rates of some updates, the first one being 1."""

    warmup: int
    peak: float
    total: int
    values: list[tuple[int, float]]


class AdamSteps(NamedTuple):
    """What Adam makes of a vector, step by step."""

    lr: float
    betas: list[float]
    eps: float
    weight_decay: float
    initial: list[float]
    gradients: list[list[float]]
    after_each_step: list[list[float]]


class Facts(NamedTuple):
    """What there is."""

    packing: list[Packing] | None = None
    encoding: list[Encoding] | None = None
    rates: Rates | None = None
    adam: AdamSteps | None = None


def read_facts(path: Path) -> Facts:
    """The facts in a file; ValueError where there is no file, FactsError where it holds something else."""
    if not path.is_file():
        raise ValueError(f"no facts at {path}; give the path of a .json or .json.gz file")
    data = path.read_bytes()
    try:
        plain = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FactsError(f"{path}: not JSON ({error}); get the file again") from error
    if not isinstance(plain, dict):
        raise FactsError(f"{path}: an object was expected; get the file again")
    return Facts(
        _read(path, plain, "packing", lambda cases: [Packing(**_only(Packing, case)) for case in cases]),
        _read(path, plain, "encoding", lambda cases: [Encoding(**_only(Encoding, case)) for case in cases]),
        _read(path, plain, "lr", lambda part: Rates(**_only(Rates, part))),
        _read(path, plain, "adam", lambda part: AdamSteps(**_only(AdamSteps, part))),
    )


def _read(path: Path, plain: Mapping[str, Any], name: str, make: Callable[[Any], T]) -> T | None:
    if name not in plain:
        return None
    try:
        return make(plain[name])
    except (TypeError, KeyError, AttributeError) as error:
        raise FactsError(f"{path}: {name} is not as it should be ({error!r}); get the file again") from error


def _only(kind: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a kind of fact, all of which must be there."""
    return {name: plain[name] for name in kind._fields}
