"""Decontamination in a run: evaluation sets read and indexed once by the driver, parts cleaned by the workers.

The driver calls `plan_decontamination` before anything is written, puts `settings` into the run's settings, and writes
the index to a file of the run's work folder; each worker loads that file. Nothing of the folder of evaluation sets
decides a byte but the texts in it, so it may be moved, renamed or compressed.
"""

import io
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from corpora.contamination_counts import Cleaned, TaskCounts, add_counts, count_cleaned, describe_counts, measure_tasks
from corpora.contamination_index import MIN_WORDS, NGRAM_WORDS, ContaminationIndex, build_index, load_index, save_index
from corpora.decontamination import MODES, DecontaminationRules, clean_texts
from corpora.documents import REJECTION_SCHEMA, Rejection
from corpora.evaluation_sets import EvaluationSets, list_files_by_fate, read_evaluation_sets
from corpora.shingles import describe_hashing
from pipelines.storage import is_url, join, local_path, open_read, open_store, write_atomically

CONTAMINATED = "contaminated"


class DecontaminationPlan(NamedTuple):
    """What a run will do, and the texts it needs for that."""

    rules: DecontaminationRules
    sets: EvaluationSets

    def settings(self) -> dict[str, object]:
        """All of it that decides bytes, for RunSettings.decontamination."""
        return {
            **asdict(self.rules),
            "ngram_words": NGRAM_WORDS,
            "min_words": MIN_WORDS,
            "evaluation_sets": self.sets.fingerprint,
            **describe_hashing(),
        }

    def describe_files(self) -> list[str]:
        """Lines for people: which files were read, set aside, or not recognised."""
        return list_files_by_fate(self.sets.files)

    def write_index(self, path: str) -> None:
        """Builds the index, and writes it with the rules to a file that `Decontaminator` reads."""
        meta = {"rules": asdict(self.rules), "evaluation_sets": self.sets.fingerprint}
        index = build_index(self.sets.texts, common_phrases=self.sets.common_phrases, meta=meta)
        write_atomically(path, partial(_save, index))


def read_flag(value: str) -> tuple[str, str]:
    """Folder and mode of `--decontaminate DIR:MODE`, parted at the last colon; ValueError where it is neither.

    >>> read_flag("s3://bucket/eval:cut")
    ('s3://bucket/eval', 'cut')
    """
    folder, colon, mode = value.rpartition(":")
    if not colon or not folder or mode not in MODES:
        said = ", ".join(f"{folder if colon and folder else 'DIR'}:{one}" for one in MODES)
        raise ValueError(f"--decontaminate is {value!r}; it is a folder of evaluation sets and a mode, as in {said}")
    return folder, mode


def plan_decontamination(value: str) -> DecontaminationPlan | None:
    """What `--decontaminate` asks for, None for ""; reads the evaluation sets.

    Raises ValueError where the flag is wrong or nothing in the folder is recognised, RecordError where a file of a set
    is damaged.
    """
    if not value:
        return None
    folder, mode = read_flag(value)
    names = list_tree(folder)
    if names is None:
        raise ValueError(f"--decontaminate {value}: there is no folder {folder}; see README on where to get the sets")
    files = [(name, partial(_read, join(folder, name))) for name in names]
    return DecontaminationPlan(DecontaminationRules(mode=mode), read_evaluation_sets(folder, files))


class CleanedPart(NamedTuple):
    """A part after decontamination."""

    kept: pa.Table  # as it was, with `contamination` filled in and, in mode cut, texts cut
    rejected: pa.Table  # REJECTION_SCHEMA, one row for each document that was dropped
    altered: list[tuple[bytes, str]]  # id and earlier text of each document that was cut or dropped
    counts: tuple[TaskCounts, ...]


class Decontaminator:
    """Cleans tables of documents by an index file that a plan has written."""

    def __init__(self, index_path: str) -> None:
        self.index = load_index(_read(index_path), name=index_path)
        self.rules = DecontaminationRules(**self.index.meta["rules"])
        self.sizes = measure_tasks(self.index)

    def clean(self, documents: pa.Table) -> CleanedPart:
        """Every row of a table of documents is kept or rejected, in order."""
        texts, languages = documents["text"].to_pylist(), documents["language"].to_pylist()
        cleaned = list(clean_texts(texts, languages, self.index, self.rules))
        kept = documents.filter(pa.array([one.text is not None for one in cleaned], pa.bool_()))
        kept_texts = [one.text for one in cleaned if one.text is not None]
        tasks = [self._name_tasks(one) for one in cleaned if one.text is not None]
        if kept_texts != kept["text"].to_pylist():
            kept = _replace(kept, "text", kept_texts)
        ids = documents["document_id"].to_pylist()
        altered = [
            (document_id, text)
            for document_id, text, one in zip(ids, texts, cleaned, strict=True)
            if one.text is None or one.text != text
        ]
        counts = count_cleaned(cleaned, self.index, self.sizes)
        return CleanedPart(_replace(kept, "contamination", tasks), _reject(documents, cleaned), altered, counts)

    def _name_tasks(self, one: Cleaned) -> list[str]:
        return sorted({self.index.names[self.index.labels[number]][0] for number in one.texts})


def describe_contamination(index_path: str, many: Iterable[tuple[TaskCounts, ...]]) -> dict[str, object]:
    """The counts of all parts of a run as its manifest and report show them, under the name `decontamination`."""
    index = load_index(_read(index_path), name=index_path)
    counts = add_counts([measure_tasks(index), *many])
    return {"mode": index.meta["rules"]["mode"], **describe_counts(counts, index)}


def list_tree(folder: str) -> list[str] | None:
    """Names of all files below a folder, sorted, slashes between their parts; None where there is no such folder."""
    if is_url(folder):
        store, key = open_store(folder)
        paths = sorted(str(path) for path in store.find(key))
        above = key.strip("/") + "/"
        return [path.lstrip("/").removeprefix(above) for path in paths] or None
    root = Path(local_path(folder))
    if not root.is_dir():
        return None
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def _reject(documents: pa.Table, cleaned: list[Cleaned]) -> pa.Table:
    dropped = documents.filter(pa.array([one.text is None for one in cleaned], pa.bool_()))
    details = [one.detail for one in cleaned if one.text is None]
    rows = [
        Rejection(
            stage="decontaminate", reason=CONTAMINATED, detail=detail, broken=False,
            document_id=row["document_id"], url=row["url"], source=row["source"], offset=row["offset"],
        )._asdict()
        for row, detail in zip(dropped.select(_PLACE).to_pylist(), details, strict=True)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, REJECTION_SCHEMA)


_PLACE = ["document_id", "url", "source", "offset"]


def _replace(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(values, field.type))


def _read(path: str) -> bytes:
    with open_read(path) as stream:
        return stream.read()


def _save(index: ContaminationIndex, stream: Any) -> None:
    buffer = io.BytesIO()  # a zip is written with seeks, which not every store has
    save_index(index, buffer)
    stream.write(buffer.getvalue())
