"""GLUE's tasks of one sentence or two: their files, their labels, their metrics (section 4.3.1 and Table 10).

In: a folder of official files, GLUE's own or those of the data set it took them from, each plain or .gz: the task's
folder, or the one that holds it under GLUE's name for it. Out: examples, and files for GLUE's server. The rule: every
line is an example or is named as broken. In a test split there is no such choice: the server wants each index.

    CoLA    train.tsv dev.tsv test.tsv (the first two without header), or in_domain_train.tsv in_domain_dev.tsv
            out_of_domain_dev.tsv, of which GLUE's dev is the last two together; also under raw/
    SST-2, STS-B, QNLI, RTE, WNLI, QQP    train.tsv dev.tsv test.tsv
    MRPC    train.tsv dev.tsv test.tsv, or msr_paraphrase_train.txt (GLUE's dev is cut out of it by dev_ids.tsv; where
            that is not there, every tenth record is, and this is said) msr_paraphrase_test.txt
    MNLI    train.tsv {dev,test}_{matched,mismatched}.tsv, or multinli_1.0_{train,dev_matched,dev_mismatched}.txt
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from bpe.encoding import Encoder
from trainer import metrics
from trainer.heads import SentenceHead, classification_loss, regression_loss
from trainer.inputs import join_texts
from trainer.model import Shape
from trainer.tables import Row, Table, pick_columns, read_table
from trainer.tasks import (
    Batch,
    Broken,
    DataError,
    Defaults,
    Features,
    Outputs,
    Scores,
    Split,
    Splits,
    Targets,
    find_file,
)

MAX_SCORE = 5.0  # of STS-B


class Example(NamedTuple):
    """One sentence or two, and what is said of them."""

    key: str  # the index, as GLUE's server wants it
    texts: tuple[str, ...]
    label: float | None  # number of the class, or the score; None in a test split


class File(NamedTuple):
    """A file by the names that it goes by."""

    names: tuple[str, ...]
    header: tuple[str, ...] = ()  # of files that have none


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Where a task's splits are: for each, alternatives of files that make it up together."""

    train: tuple[tuple[File, ...], ...]
    dev: dict[str, tuple[tuple[File, ...], ...]]
    test: dict[str, tuple[tuple[File, ...], ...]]
    folder: str  # GLUE's name for it
    texts: tuple[tuple[str, ...], ...]  # columns, by the names they go by
    label: tuple[str, ...]  # its column
    labels: tuple[str, ...]  # by class; () for a score


def _tsv(name: str) -> tuple[tuple[File, ...], ...]:
    return ((File((f"{name}.tsv",)),),)


def _plain(folder: str, texts: Sequence[str], labels: tuple[str, ...], label: str = "label") -> Files:
    return Files(
        train=_tsv("train"),
        dev={"dev": _tsv("dev")},
        test={"test": _tsv("test")},
        folder=folder,
        texts=tuple((column,) for column in texts),
        label=(label,),
        labels=labels,
    )


_COLA_HEADER = ("source", "label", "mark", "sentence")
_BINARY = ("0", "1")
_ENTAILMENT = ("not_entailment", "entailment")
_MSR_TRAIN = ("msr_paraphrase_train.txt",)
_MATCHES = ("matched", "mismatched")


def _cola(name: str) -> File:
    return File((f"{name}.tsv", f"raw/{name}.tsv"), _COLA_HEADER)


FILES = {
    "cola": Files(
        train=((File(("train.tsv",), _COLA_HEADER),), (_cola("in_domain_train"),)),
        dev={"dev": ((File(("dev.tsv",), _COLA_HEADER),), (_cola("in_domain_dev"), _cola("out_of_domain_dev")))},
        test={"test": _tsv("test")},
        folder="CoLA",
        texts=(("sentence",),),
        label=("label",),
        labels=_BINARY,
    ),
    "sst2": _plain("SST-2", ("sentence",), _BINARY),
    "mrpc": Files(
        train=((File(("train.tsv",)),), (File(_MSR_TRAIN),)),
        dev={"dev": _tsv("dev")},
        test={"test": ((File(("test.tsv",)),), (File(("msr_paraphrase_test.txt",)),))},
        folder="MRPC",
        texts=(("#1 String",), ("#2 String",)),
        label=("Quality",),
        labels=_BINARY,
    ),
    "stsb": _plain("STS-B", ("sentence1", "sentence2"), (), label="score"),
    "qqp": _plain("QQP", ("question1", "question2"), _BINARY, label="is_duplicate"),
    "mnli": Files(
        train=((File(("train.tsv", "multinli_1.0_train.txt")),),),
        dev={f"dev_{kind}": ((File((f"dev_{kind}.tsv", f"multinli_1.0_dev_{kind}.txt")),),) for kind in _MATCHES},
        test={f"test_{kind}": _tsv(f"test_{kind}") for kind in _MATCHES},
        folder="MNLI",
        texts=(("sentence1",), ("sentence2",)),
        label=("gold_label",),
        labels=("contradiction", "neutral", "entailment"),
    ),
    "qnli": _plain("QNLI", ("question", "sentence"), _ENTAILMENT),
    "rte": _plain("RTE", ("sentence1", "sentence2"), _ENTAILMENT),
    "wnli": _plain("WNLI", ("sentence1", "sentence2"), _BINARY),
}
# What GLUE's server calls a test split's file, where that is not the folder's name.
_SERVER_NAMES = {("mnli", "test_matched"): "MNLI-m", ("mnli", "test_mismatched"): "MNLI-mm"}
_ACCURACY = ("accuracy",)
# The grid of Table 10 is {1,2,3}e-5 and {16,32}; these are the values that fairseq's examples give for each task.
_DEFAULTS = {
    "cola": (("matthews_correlation",), Defaults(learning_rate=1e-5, batch=16, epochs=10)),
    "sst2": (_ACCURACY, Defaults(learning_rate=1e-5, batch=32, epochs=10)),
    "mrpc": (("accuracy", "f1"), Defaults(learning_rate=1e-5, batch=16, epochs=10)),
    "stsb": (("pearson", "spearmanr", "combined_score"), Defaults(learning_rate=2e-5, batch=16, epochs=10)),
    "qqp": (("accuracy", "f1"), Defaults(learning_rate=1e-5, batch=32, epochs=10)),
    "mnli": (_ACCURACY, Defaults(learning_rate=1e-5, batch=32, epochs=10)),
    "qnli": (_ACCURACY, Defaults(learning_rate=1e-5, batch=32, epochs=10)),
    "rte": (_ACCURACY, Defaults(learning_rate=2e-5, batch=16, epochs=10)),
}


def read_glue(task: str, folder: Path) -> Splits[Example]:
    """The splits of a task; DataError where training's or dev's files are not there or hold no example."""
    files = FILES[task]
    if not _is_there(folder, files) and _is_there(folder / files.folder, files):
        folder = folder / files.folder
    test = [_read_split(name, alternatives, files, folder, test=True) for name, alternatives in files.test.items()]
    found = tuple(filter(None, test))
    if task == "mrpc" and find_file(folder, _MSR_TRAIN) and not find_file(folder, ["train.tsv"]):
        train, dev = _hold_out(folder, files)
        return Splits(train, (dev,), found)
    required = {"train": files.train, **files.dev}
    read = [_read_split(name, alternatives, files, folder) for name, alternatives in required.items()]
    for (name, alternatives), split in zip(required.items(), read, strict=True):
        if split is None:
            raise DataError(f"{folder}: no {name} split; looked for {_describe(alternatives)}, plain or .gz")
    first, *rest = filter(None, read)
    return Splits(first, tuple(rest), found)


def write_server_file(path: Path, predictions: Sequence[tuple[str, str]]) -> Path:
    """Indices and predictions as GLUE's server reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("index\tprediction\n" + "".join(f"{index}\t{said}\n" for index, said in predictions))
    return path


def server_name(task: str, split: str) -> str:
    """The server's name for a split's file; other splits have their own added."""
    name = _SERVER_NAMES.get((task, split), FILES[task].folder)
    return f"{name}.tsv" if split.startswith("test") else f"{FILES[task].folder}-{split}.tsv"


@dataclass(frozen=True)
class SentenceTask:
    """A task whose examples are one row each: classes, or a score where there are none."""

    name: str

    @property
    def metric_names(self) -> tuple[str, ...]:
        return _DEFAULTS[self.name][0]

    @property
    def chosen_metric(self) -> str:
        return self.metric_names[0]

    @property
    def defaults(self) -> Defaults:
        return _DEFAULTS[self.name][1]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; none for a score."""
        return FILES[self.name].labels

    def read(self, folder: Path) -> Splits[Example]:
        return read_glue(self.name, folder)

    def encode(self, split: Split[Example], encoder: Encoder, *, max_tokens: int, training: bool) -> list[Features]:
        joined = [join_texts(encoder, example.texts, max_tokens=max_tokens) for example in split.examples]
        return [
            Features((row.ids,), self._target(example), (number,), row.n_cut)
            for number, (example, row) in enumerate(zip(split.examples, joined, strict=True))
        ]

    def _target(self, example: Example) -> Targets:
        number = np.array([example.label or 0])
        return number.astype(np.int64) if self.labels else number.astype(np.float32)

    def make_head(self, shape: Shape) -> nn.Module:
        return SentenceHead(shape, n_outputs=max(1, len(self.labels)))

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        if self.labels:
            return classification_loss(outputs[0], batch.targets[:, 0])
        return regression_loss(outputs[0][:, 0], batch.targets[:, 0])

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """Probabilities of the classes, or the score."""
        values: Scores = (outputs[0].softmax(dim=-1) if self.labels else outputs[0]).cpu().numpy()
        return list(values)

    def metrics(
        self, split: Split[Example], features: Sequence[Features], scores: Sequence[Scores]
    ) -> dict[str, float]:
        right = np.array([example.label or 0 for example in split.examples])
        values = np.stack(list(scores)).astype(np.float64)
        if not self.labels:
            pearson, spearman = metrics.pearson(values[:, 0], right), metrics.spearman(values[:, 0], right)
            return {"pearson": pearson, "spearmanr": spearman, "combined_score": (pearson + spearman) / 2}
        predicted, classes = values.argmax(axis=1), right.astype(np.int64)
        known = {"accuracy": metrics.accuracy, "f1": metrics.f1, "matthews_correlation": metrics.matthews_correlation}
        return {name: known[name](predicted, classes) for name in self.metric_names}

    def write_predictions(
        self, folder: Path, split: Split[Example], features: Sequence[Features], scores: Sequence[Scores]
    ) -> list[Path]:
        if self.labels:
            said = [self.labels[int(values.argmax())] for values in scores]
        else:
            said = [f"{min(MAX_SCORE, max(0.0, float(values[0]))):.3f}" for values in scores]
        indices = [example.key for example in split.examples]
        path = folder / server_name(self.name, split.name)
        return [write_server_file(path, list(zip(indices, said, strict=True)))]


def make_task(name: str) -> SentenceTask:
    """The task of this name."""
    return SentenceTask(name)


def _is_there(folder: Path, files: Files) -> bool:
    alternatives = [*files.train, *(other for each in files.dev.values() for other in each)]
    return any(find_file(folder, file.names) for together in alternatives for file in together)


def _describe(alternatives: tuple[tuple[File, ...], ...]) -> str:
    return ", or ".join(" and ".join(" or ".join(file.names) for file in together) for together in alternatives)


def _read_split(
    name: str, alternatives: tuple[tuple[File, ...], ...], files: Files, folder: Path, *, test: bool = False
) -> Split[Example] | None:
    """The split from the first alternative whose files are all there."""
    for together in alternatives:
        paths = [find_file(folder, file.names) for file in together]
        tables = [
            read_table(path, header=file.header) for path, file in zip(paths, together, strict=True) if path is not None
        ]
        if len(tables) == len(together):
            return _make_split(name, tables, files, test=test)
    return None


def _make_split(name: str, tables: Sequence[Table], files: Files, *, test: bool = False) -> Split[Example]:
    examples: list[Example] = []
    broken = [bad for table in tables for bad in table.broken]
    for table in tables:
        numbered = next((column for column in ("index", "id") if column in table.columns), None)
        columns = [*files.texts, *(() if test else (files.label,)), *(((numbered,),) if numbered else ())]
        for number, row in enumerate(pick_columns(table, columns)):
            example = _make_example(row, files, str(number) if numbered is None else row.cells[-1], test=test)
            if isinstance(example, str):
                broken.append(Broken(str(table.path), row.line, example))
            else:
                examples.append(example)
    if not examples:
        raise DataError(f"{tables[0].path}: none of {len(broken)} lines is an example: {broken[0].reason}")
    return Split(name, tuple(examples), tuple(sorted(broken)))


def _make_example(row: Row, files: Files, index: str, *, test: bool) -> Example | str:
    """An example, or what is wrong with the line."""
    texts = row.cells[: len(files.texts)]
    if test:
        return Example(index, texts, None)
    if not any(texts):
        return "no text"
    said = row.cells[len(texts)]
    if files.labels:
        if said not in files.labels:
            return f"the label is {said!r}, none of {', '.join(files.labels)}"
        return Example(index, texts, files.labels.index(said))
    try:
        score = float(said)
    except ValueError:
        return f"the score is {said!r}, not a number"
    return Example(index, texts, score) if 0 <= score <= MAX_SCORE else f"the score is {said}, not in 0 to {MAX_SCORE}"


def _hold_out(folder: Path, files: Files) -> tuple[Split[Example], Split[Example]]:
    """MRPC's train and dev, both out of its training records: dev is those that GLUE chose, else every tenth."""
    path = find_file(folder, _MSR_TRAIN)
    assert path is not None
    table = read_table(path)
    ids_path = find_file(folder, ["dev_ids.tsv"])
    note = ""
    if ids_path is None:
        held = {row.line for row in table.rows[::10]}
        note = f"every tenth record of {path.name}, because there is no dev_ids.tsv: not GLUE's dev"
    else:
        ids = {row.cells for row in read_table(ids_path, header=("#1 ID", "#2 ID")).rows}
        held = {row.line for row in pick_columns(table, (("#1 ID",), ("#2 ID",))) if row.cells in ids}
    train = table._replace(rows=tuple(row for row in table.rows if row.line not in held))
    dev = table._replace(rows=tuple(row for row in table.rows if row.line in held), broken=())
    return _make_split("train", [train], files), _make_split("dev", [dev], files)._replace(note=note)
