"""How much of a corpus is in the evaluation sets, and how much of the evaluation sets in the corpus: counts by task.

In: what became of the documents of a part. Out: `TaskCounts`, one a task and one for all together, that add up over
the parts of a run in any order to the same values.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpora.contamination_index import MIN_WORDS, ContaminationIndex

__all__ = ["ALL_TASKS", "Cleaned", "TaskCounts", "add_counts", "count_cleaned", "describe_counts", "measure_tasks"]

ALL_TASKS = "all tasks"
WIDESPREAD_DOCUMENTS = 10  # GPT-3 ignored what stood in more of them
SHOWN_TEXTS = 20
_SHOWN_WORDS = 20


class Cleaned(NamedTuple):
    """What became of one text."""

    text: str | None  # None where the document is dropped
    texts: tuple[int, ...] = ()  # numbers of the evaluation texts that it shared a passage with, ascending
    cuts: tuple[tuple[int, ...], ...] = ()  # for each cut, the evaluation texts of its passages
    detail: str = ""  # for a person: which task, which passage


class TaskCounts(NamedTuple):
    """Of one task. A document that shares passages with several tasks counts once in each, and once in ALL_TASKS."""

    task: str
    n_texts: int  # in the set: those that differ in their words
    n_unsearched: int  # of them, those of fewer than MIN_WORDS words
    n_ngrams: int  # distinct runs of words looked for
    n_documents: int  # that share a passage with the set
    n_cuts: int  # stretches cut from documents; 0 in other modes
    n_dropped: int  # documents
    found: tuple[tuple[int, int], ...]  # (number of an evaluation text, documents it was found in), ascending


def count_cleaned(
    cleaned: Iterable[Cleaned], index: ContaminationIndex, sizes: Iterable[TaskCounts]
) -> tuple[TaskCounts, ...]:
    """The counts of some documents; `sizes` are those of `measure_tasks`, tasks of which nothing is found included."""
    documents, cuts, dropped = Counter[str](), Counter[str](), Counter[str]()
    found: dict[str, Counter[int]] = {}
    for one in cleaned:
        task_of = {number: index.names[index.labels[number]][0] for number in one.texts}
        tasks = {*task_of.values(), ALL_TASKS} if one.texts else set()
        documents.update(tasks)
        dropped.update(tasks if one.text is None else ())
        for number in one.texts:
            for task in (task_of[number], ALL_TASKS):
                found.setdefault(task, Counter())[number] += 1
        for texts in one.cuts:
            cuts.update({task_of[number] for number in texts} | {ALL_TASKS})
    return tuple(
        size._replace(
            n_documents=documents[size.task],
            n_cuts=cuts[size.task],
            n_dropped=dropped[size.task],
            found=tuple(sorted(found.get(size.task, Counter()).items())),
        )
        for size in sizes
    )


def add_counts(many: Iterable[tuple[TaskCounts, ...]]) -> tuple[TaskCounts, ...]:
    """The sum over parts; all must have been counted with the same index."""
    totals: dict[str, TaskCounts] = {}
    found: dict[str, Counter[int]] = {}
    for counts in many:
        for one in counts:
            total = totals.setdefault(one.task, one._replace(n_documents=0, n_cuts=0, n_dropped=0, found=()))
            if total[:4] != one[:4]:
                raise ValueError(f"counts of {one.task} by two indexes: {total[:4]} and {one[:4]}")
            found.setdefault(one.task, Counter()).update(dict(one.found))
            totals[one.task] = total._replace(
                n_documents=total.n_documents + one.n_documents,
                n_cuts=total.n_cuts + one.n_cuts,
                n_dropped=total.n_dropped + one.n_dropped,
            )
    return tuple(total._replace(found=tuple(sorted(found[task].items()))) for task, total in sorted(totals.items()))


def describe_counts(counts: Iterable[TaskCounts], index: ContaminationIndex) -> dict[str, object]:
    """The counts as a manifest and its report show them: a table of tasks, and the texts found most often."""
    rows = sorted(counts, key=lambda one: (one.task != ALL_TASKS, one.task))
    everywhere = next((dict(one.found) for one in rows if one.task == ALL_TASKS), {})
    most = sorted(everywhere.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_TEXTS]
    return {
        "tasks": [_describe_task(one) for one in rows],
        "texts_found_most_often": [_describe_text(number, n, index) for number, n in most],
        "notes": list(NOTES),
    }


NOTES = (
    "share found: of the evaluation texts that were looked for, those found in at least one document",
    f"texts of fewer than {MIN_WORDS} words are not looked for; a document counts once in each task it shares with",
    f"GPT-3 ignored passages of more than {WIDESPREAD_DOCUMENTS} documents as common phrases; here they count, and are"
    " shown as widespread",
    "STORIES is chosen by its overlap with WSC, and WNLI is made from WSC: in STORIES a high share of both is expected",
)


def _describe_task(one: TaskCounts) -> dict[str, object]:
    searched = one.n_texts - one.n_unsearched
    return {
        "task": one.task,
        "texts": one.n_texts,
        "texts_too_short": one.n_unsearched,
        "ngrams": one.n_ngrams,
        "texts_found": len(one.found),
        "share_found": round(len(one.found) / searched, 6) if searched else 0.0,
        "texts_widespread": sum(n > WIDESPREAD_DOCUMENTS for _, n in one.found),
        "documents": one.n_documents,
        "cuts": one.n_cuts,
        "documents_dropped": one.n_dropped,
    }


def _describe_text(number: int, n_documents: int, index: ContaminationIndex) -> dict[str, object]:
    text = index.text(number)
    return {
        "task": text.task,
        "split": text.split,
        "documents": n_documents,
        "words": " ".join(text.words[:_SHOWN_WORDS]) + (" …" if len(text.words) > _SHOWN_WORDS else ""),
    }


def measure_tasks(index: ContaminationIndex) -> tuple[TaskCounts, ...]:
    """The sizes of the sets, ALL_TASKS first; nothing is found yet."""
    tasks = sorted({task for task, _ in index.names})
    of_text = np.array([tasks.index(task) for task, _ in index.names], np.int64)[index.labels]
    n_words = _count_words(index)
    sizes = []
    for number, task in [(None, ALL_TASKS), *enumerate(tasks)]:
        mine = np.ones(of_text.size, np.bool_) if number is None else of_text == number
        n_ngrams = sum(_count_distinct(runs.hashes[mine[runs.texts]]) for runs in (index.whole, index.short))
        sizes.append(TaskCounts(task, int(mine.sum()), int((n_words[mine] < MIN_WORDS).sum()), n_ngrams, 0, 0, 0, ()))
    return tuple(sizes)


def _count_distinct(ascending: NDArray[np.uint64]) -> int:
    return int(np.count_nonzero(ascending[1:] != ascending[:-1])) + bool(ascending.size)


def _count_words(index: ContaminationIndex) -> NDArray[np.int64]:
    spaces = np.flatnonzero(index.letters == ord(" "))
    return np.diff(np.searchsorted(spaces, index.borders)) + 1
