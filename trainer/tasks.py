"""What a task is to finetuning: files to examples, examples to rows of ids, rows to scores, scores to metrics.

In: the name of a task. Out: a `Task`, from the module that knows it. The rule: the loop knows nothing of labels,
spans or choices. It sees features: rows of ids that are scored together, and targets that only the task understands.
How the kinds of task fit:

    one sentence or a pair   a feature per example, one row
    spans (SQuAD)            a feature per window, one row; `aside` holds where its tokens stand in the passage
    choices (RACE)           a feature per example, a row per option
    ranking (WNLI)           a feature per example, a row per candidate, as many as there are
    pairs (QNLI --pairwise)  a feature per two examples of a question, a row for each

Axes: R rows of a batch, T tokens, D hidden, B features of a batch, K whatever the task says.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from bpe.encoding import Encoder
from trainer.model import Shape

Ids = npt.NDArray[np.uint16]
Scores = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]
E = TypeVar("E")

# task -> the module that has `make_task(name) -> Task`
_MODULES = {
    **dict.fromkeys(("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"), "trainer.glue"),
    "qnli-pairwise": "trainer.pairwise",
    "wnli": "trainer.winograd",
    **dict.fromkeys(("squad1", "squad2"), "trainer.squad"),
    "race": "trainer.race",
}
TASK_NAMES = tuple(_MODULES)


class DataError(Exception):
    """A task's files are not there, or not what they should be; command lines exit 1 with its one line."""


class Broken(NamedTuple):
    """A record of a file that is no example."""

    path: str
    line: int  # counted from 1; for JSON, the record's number
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """How a task is finetuned unless flags say otherwise (Table 10)."""

    learning_rate: float
    batch: int  # features per update, over all ranks
    epochs: int
    weight_decay: float = 0.1
    warmup_share: float = 0.06  # of all updates
    patience: int = 3  # measurements on dev without a better one, after which training ends; 0 never ends early


class Split(NamedTuple, Generic[E]):
    """One set of examples; the records that were read are `len(examples) + len(broken)`."""

    name: str  # train, dev, dev_matched, test, ...
    examples: tuple[E, ...]
    broken: tuple[Broken, ...] = ()
    note: str = ""  # what whoever compares results must know of it, if anything


class Splits(NamedTuple, Generic[E]):
    """What a folder of a task holds."""

    train: Split[E]
    dev: tuple[Split[E], ...]  # early stopping looks at the first
    test: tuple[Split[E], ...] = ()  # without answers: what a benchmark's server asks for


class Features(NamedTuple):
    """Rows that are scored together, and what is to come out."""

    rows: tuple[Ids, ...]  # uint16 [n_tokens] each, `<s>` and `</s>` included, no padding
    targets: Targets  # [K], the same K in a whole split; zeros where unknown
    examples: tuple[int, ...]  # which of the split's examples they are of
    n_cut: int = 0  # tokens that were left out, because a row would have been too long
    aside: npt.NDArray[np.int32] | None = None  # for the task's own predictions, such as places of tokens in a text


class Batch(NamedTuple):
    """The rows of B features, one below the other."""

    input_ids: Tensor  # int64 [R, T]
    attention: Tensor | None  # bool [R, T], False on padding; None where there is none
    owners: Tensor  # int64 [R], the feature of each row, 0 to B - 1, in order
    targets: Tensor  # [B, K], of the features' type
    n_features: int  # B


Outputs = tuple[Tensor, ...]  # what a head gives, in float32; the first axis of each is R


class Task(Protocol[E]):
    """One task; an implementation holds settings only, never data."""

    @property
    def name(self) -> str:
        """As the command line has it."""

    @property
    def metric_names(self) -> tuple[str, ...]:
        """As the benchmark names them, in the order of reports; more is better for each."""

    @property
    def chosen_metric(self) -> str:
        """The one that decides when to stop, and which state is kept."""

    @property
    def defaults(self) -> Defaults:
        """Table 10's settings."""

    def read(self, folder: Path) -> Splits[E]:
        """The folder's examples; DataError names the files that it looked for, or what is wrong in one."""

    def encode(self, split: Split[E], encoder: Encoder, *, max_tokens: int, training: bool) -> list[Features]:
        """Features in the order of examples; no row is longer than `max_tokens`, what is cut is counted.

        For training, features without an answer may be left out; else every example must have at least one.
        """

    def make_head(self, shape: Shape) -> nn.Module:
        """What turns hidden states into outputs: `forward(hidden_RTD, attention_RT | None) -> Outputs`.

        Its weights are drawn by the caller. A class of a classifier is a row of the parameters whose names begin with
        `projection`, so that a head of another number of classes is told from one that fits.
        """

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The loss, summed over the batch's features, so that batches may be split in any way."""

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """For each feature an array of numbers whose mean over several models makes sense, such as probabilities.

        Its shape depends on the feature alone, never on the padding beside it.
        """

    def metrics(self, split: Split[E], features: Sequence[Features], scores: Sequence[Scores]) -> dict[str, float]:
        """The values of `metric_names`, fractions of 1 (or as the benchmark defines them)."""

    def write_predictions(
        self, folder: Path, split: Split[E], features: Sequence[Features], scores: Sequence[Scores]
    ) -> list[Path]:
        """Writes what the benchmark's server or script reads, under its name for the file; the files written."""


def find_task(name: str) -> Task[Any]:
    """The task of this name; ValueError where there is none."""
    if name not in _MODULES:
        raise ValueError(f"there is no task {name!r}; known: {', '.join(TASK_NAMES)}")
    try:
        module = importlib.import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if error.name != _MODULES[name]:
            raise
        raise ValueError(f"task {name!r} needs {_MODULES[name]}, which this version does not have") from error
    task: Task[Any] = module.make_task(name)
    return task


def find_file(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these names that the folder has, as it is or with .gz after it."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def require_file(folder: Path, names: Sequence[str]) -> Path:
    """The same; DataError, with all the names, where there is none."""
    path = find_file(folder, names)
    if path is None:
        raise DataError(f"{folder}: none of {', '.join(names)} is there, nor with .gz after it; see --help for layouts")
    return path
