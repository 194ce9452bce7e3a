"""What the steps of several runs reported, as one report of the run that they are merged into.

In: the details of the runs' manifests, plain values by step. Out: one of each. The rule: what counts something is
added up, what cannot be known without making the run again is given as a bound, and says so; nothing is made up.
Documents by kind and gaps are counted from totals elsewhere (`pipelines.merging`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from corpora.contamination_counts import SHOWN_TEXTS
from pipelines.near_rows import LARGEST_BUCKETS

COUNTED_ELSEWHERE = ("kinds", "gaps")
_FIRST_KNOWS = ("earlier_documents",)  # later runs count documents of the earlier ones among them
_AT_LEAST = ("texts_found", "texts_widespread")
_SIZES = ("texts", "texts_too_short", "ngrams")  # of the evaluation sets: the same in every run
NOTE = "of runs that were merged: texts found are at least as many as in any of them, and may be more"

Details = Mapping[str, object]


def merge_details(many: Sequence[Details]) -> dict[str, object]:
    """The details of the merged run, by step; steps that only some runs report are those runs' alone."""
    names = dict.fromkeys(name for details in many for name in details if name not in COUNTED_ELSEWHERE)
    return {name: _merge_step(name, [details[name] for details in many if name in details]) for name in names}


def _merge_step(name: str, values: Sequence[object]) -> object:
    if all(value == values[0] for value in values[1:]) and (len(values) == 1 or not isinstance(values[0], Mapping)):
        return values[0]
    reports = [value for value in values if isinstance(value, Mapping)]
    if name == "near_duplicates":
        return _merge_near(reports)
    if name == "decontamination":
        return _merge_decontamination(reports)
    return list(values)  # a step that we know nothing of: all that was said


def _merge_near(reports: Sequence[Details]) -> dict[str, object]:
    """Figures of `pipelines.near_report`. A bucket that grew is there as it was last."""
    merged: dict[str, object] = {}
    for name, value in reports[0].items():
        if name == "runs_added_up":
            continue
        values = [report.get(name) for report in reports]
        if name == "recall_estimate":
            merged[name] = _recall(reports)
        elif name == "largest_buckets":
            merged[name] = _largest(values)
        elif name in _FIRST_KNOWS or name in ("threshold", "recall_asked", "keys_per_document", "large_bucket"):
            merged[name] = value
        else:
            merged[name] = _add(values)
    # A bucket that grew from run to run counts in each, as does a component.
    return merged | {"runs_added_up": sum(_number(report.get("runs_added_up", 1)) for report in reports)}


def _recall(reports: Sequence[Details]) -> float | None:
    """Pairs found over pairs expected, the latter from each run's own estimate."""
    found = expected = 0.0
    for report in reports:
        n, estimate = report.get("pairs_found"), report.get("recall_estimate")
        if isinstance(n, int) and isinstance(estimate, (int, float)) and estimate > 0:
            found, expected = found + n, expected + n / estimate
    return round(found / expected, 6) if expected else None


def _largest(lists: Sequence[object]) -> list[object]:
    last: dict[object, Mapping[str, object]] = {}
    for rows in lists:
        for row in rows if isinstance(rows, Sequence) else ():
            last[row["key"]] = row
    largest = sorted(last.values(), key=lambda row: (-_number(row["documents"]), str(row["key"])))
    return list(largest[:LARGEST_BUCKETS])


def _merge_decontamination(reports: Sequence[Details]) -> dict[str, object]:
    """Figures of `corpora.contamination_counts`: documents add up; which texts they share with tasks is not kept."""
    tasks: dict[object, dict[str, object]] = {}
    for report in reports:
        for row in _rows(report, "tasks"):
            known = tasks.setdefault(row["task"], {})
            tasks[row["task"]] = {name: _merge_task(name, known.get(name), value) for name, value in row.items()}
    for row in tasks.values():
        searched = _number(row.get("texts")) - _number(row.get("texts_too_short"))
        row["share_found"] = round(_number(row.get("texts_found")) / searched, 6) if searched else 0.0
    found: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for report in reports:
        for row in _rows(report, "texts_found_most_often"):
            found[row["task"], row["split"], row["words"]] += _number(row["documents"])
    most = sorted(found.items(), key=lambda pair: (-pair[1], str(pair[0])))[:SHOWN_TEXTS]
    notes = reports[0].get("notes")
    said = [note for note in notes if note != NOTE] if isinstance(notes, list) else []
    return {
        "tasks": list(tasks.values()),
        "texts_found_most_often": [
            {"task": task, "split": split, "documents": n, "words": words} for (task, split, words), n in most
        ],
        "notes": [*said, NOTE],
    }


def _merge_task(name: str, before: object, value: object) -> object:
    if before is None or not isinstance(value, int) or name in _SIZES:
        return value
    return max(_number(before), value) if name in _AT_LEAST else _number(before) + value


def _rows(report: Details, name: str) -> list[Mapping[str, object]]:
    rows = report.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _add(values: Sequence[object]) -> object:
    """Numbers added up, objects name by name; anything else as the first has it."""
    if all(isinstance(value, (int, float)) for value in values):
        total = sum(value for value in values if isinstance(value, (int, float)))
        return round(total, 6) if isinstance(total, float) else total
    objects = [value for value in values if isinstance(value, Mapping)]
    if not objects:
        return values[0]
    names = dict.fromkeys(name for one in objects for name in one)
    return {name: _add([one.get(name, 0) for one in objects]) for name in names}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
