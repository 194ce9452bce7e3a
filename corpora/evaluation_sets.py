"""Evaluation sets as they are published: files in, the texts of their dev and test splits out.

GLUE (CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI, AX), SQuAD 1.1 and 2.0, RACE, WSC and PDP, as their authors
give them or as rows (JSON lines, Parquet) of a copy. `corpora.evaluation_formats` says which fields count.

Training splits are set aside unread: that a model has seen the training texts of a task says nothing against its
score, and they overlap with news and Wikipedia because they were taken from there. GLUE's dev split of MRPC is a part
of `msr_paraphrase_train.txt`, so it counts only where there is a dev.tsv.

The rule: each file of the folder is in the report, as read, set aside or not recognised, with the reason.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from corpora.evaluation_formats import FIELDS, NotThisFormat, read_file, suffix_of

__all__ = [
    *("COMMON_PHRASES", "TRAINING_SPLIT", "EvaluationFile", "EvaluationSets", "EvaluationText"),
    *("classify_file", "list_files_by_fate", "read_evaluation_sets"),
]

COMMON_PHRASES = "common-phrases.txt"  # passages, one a line, that are no contamination wherever they stand
TRAINING_SPLIT = "training split"


class EvaluationText(NamedTuple):
    """One text of a split of a task."""

    task: str  # as GLUE, SQuAD, RACE and WSC call themselves: a key of FIELDS
    split: str  # dev, test, or all where a set has no splits
    text: str


class EvaluationFile(NamedTuple):
    """What became of one file."""

    name: str
    task: str  # "" where it is not recognised
    split: str
    n_texts: int  # fields read, repetitions included; 0 where nothing was
    note: str  # why nothing was read, or what was odd; "" where all is well

    @property
    def is_read(self) -> bool:
        return self.n_texts > 0


class EvaluationSets(NamedTuple):
    """All that was read: distinct texts in order, whatever files they came from and in whatever order."""

    texts: tuple[EvaluationText, ...]
    common_phrases: tuple[str, ...]
    files: tuple[EvaluationFile, ...]
    fingerprint: str  # of texts and phrases, hexadecimal


def read_evaluation_sets(folder: str, files: Iterable[tuple[str, Callable[[], bytes]]]) -> EvaluationSets:
    """Reads every file that is recognised; `files` are names below `folder`, and functions that load them.

    The folder's own name is looked at too, so that it may be one set alone. Raises ValueError where nothing was
    recognised, RecordError where a recognised file is damaged.
    """
    above = folder.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    texts: set[EvaluationText] = set()
    phrases: set[str] = set()
    reports = []
    for name, load in sorted(files, key=lambda pair: pair[0]):
        if name == COMMON_PHRASES:
            found = {line.strip() for line in load().decode("utf-8-sig").splitlines() if line.strip()}
            phrases |= found
            reports.append(EvaluationFile(name, "", "", 0, f"{len(found)} phrases that are not looked for"))
            continue
        report, of_file = _read_one(name, above, load)
        reports.append(report)
        texts |= of_file
    if not texts:
        raise ValueError(_say_nothing_found(folder, reports))
    ordered = tuple(sorted(texts))
    return EvaluationSets(ordered, tuple(sorted(phrases)), tuple(reports), _fingerprint(ordered, sorted(phrases)))


def _read_one(name: str, above: str, load: Callable[[], bytes]) -> tuple[EvaluationFile, set[EvaluationText]]:
    task, split = classify_file(f"{above}/{name}")
    if not task:
        return EvaluationFile(name, "", "", 0, "not recognised: neither its name nor its folder's names a set"), set()
    if split == "train":
        return EvaluationFile(name, task, split, 0, TRAINING_SPLIT), set()
    try:
        texts, n_incomplete = read_file(name, load(), task)
    except NotThisFormat as error:
        return EvaluationFile(name, "", "", 0, f"not recognised as {task}: {error}"), set()
    note = f"{_count(n_incomplete, 'row')} without one of its fields" if n_incomplete else ""
    if not texts:
        note = f"not recognised as {task}: it holds no text"
    return EvaluationFile(name, task, split, len(texts), note), {EvaluationText(task, split, text) for text in texts}


# What a part of a path is called, compared in lower case between characters that are neither letters nor digits.
_TASKS = {
    "CoLA": "cola|in_domain_dev|out_of_domain_dev|in_domain_train",
    "SST-2": "sst2|sst-2",
    "MRPC": "mrpc|msr_paraphrase",
    "STS-B": "stsb|sts-b|stsbenchmark|sts-dev|sts-test|sts-train",
    "QQP": "qqp",
    "MNLI": "mnli|multinli",
    "QNLI": "qnli",
    "RTE": "rte",
    "WNLI": "wnli",
    "AX": "ax|diagnostic",
    "SQuAD": r"squad(?:[-_]?v?[12](?:\.\d)?)?|xquad|(?:dev|test|train)-v[12]\.\d",
    "RACE": "race",
    "WSC": r"wsc\d*|wscollection|winograd",
    "PDP": r"pdp(?:-?60)?|pdpchallenge",
}
_PATTERNS = {task: re.compile(rf"(?<![a-z0-9])(?:{names})(?![a-z0-9])") for task, names in _TASKS.items()}
_SPLITS = {"train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev",
           "test": "test"}  # fmt: skip
assert _TASKS.keys() == FIELDS.keys()


def classify_file(path: str) -> tuple[str, str]:
    """Task and split of a file by its name and folders, the nearest first; ("", "") where they say nothing.

    >>> classify_file("glue/MNLI/dev_matched.tsv"), classify_file("RACE/test/high/1.txt"), classify_file("wsc273.txt")
    (('MNLI', 'dev'), ('RACE', 'test'), ('WSC', 'all'))
    """
    parts = path.lower().split("/")[::-1]
    task = next((task for part in parts for task, pattern in _PATTERNS.items() if pattern.search(part)), "")
    if not task or (task == "RACE" and suffix_of(path) == ".txt" and not parts[0].removesuffix(".gz")[:-4].isdigit()):
        return "", ""
    named = (_SPLITS[word] for part in parts for word in re.split(r"[^a-z]+", part) if word in _SPLITS)
    return task, next(named, "all")


def list_files_by_fate(files: Iterable[EvaluationFile]) -> list[str]:
    """Lines for people: what was read, by task and split, then what was not, by folder and reason.

    >>> read = EvaluationFile("RTE/dev.tsv", "RTE", "dev", 554, "")
    >>> list_files_by_fate([read, EvaluationFile("a.md", "", "", 0, "not recognised")])
    ['RTE dev: 554 texts of 1 file', 'a.md: not recognised']
    """
    files = list(files)
    n_files, n_texts = Counter[str](), Counter[str]()
    other: dict[tuple[str, str], list[str]] = {}
    for file in files:
        if file.is_read:
            n_files[f"{file.task} {file.split}"] += 1
            n_texts[f"{file.task} {file.split}"] += file.n_texts
        if file.note:
            other.setdefault((file.name.rpartition("/")[0], file.note), []).append(file.name)
    lines = [f"{name}: {_count(n_texts[name], 'text')} of {_count(n, 'file')}" for name, n in sorted(n_files.items())]
    for (_, note), names in other.items():
        more = f" and {len(names) - 1:,} more there" if len(names) > 1 else ""
        lines.append(f"{names[0]}{more}: {note}")
    return lines


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _say_nothing_found(folder: str, reports: list[EvaluationFile]) -> str:
    first = f" (the first, {reports[0].name}: {reports[0].note})" if reports else ""
    return (
        f"{folder}: none of its {_count(len(reports), 'file')} is the dev or test split of an evaluation set{first};"
        " put the sets there as published, each in a folder of its name, as in RTE/dev.tsv, SQuAD/dev-v1.1.json,"
        " RACE/test/high/1.txt, wsc273.txt"
    )


def _fingerprint(texts: Iterable[EvaluationText], phrases: Iterable[str]) -> str:
    """Of what was read and not of the files: names, order, compression and repetitions do not count."""
    digest = hashlib.blake2b(digest_size=16)
    for row in (*texts, *(("", "", phrase) for phrase in phrases)):
        for part in row:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
