"""The report's sections on how documents were chosen: the cut, near-duplicates, decontamination, gaps.

In: the manifest's details, plain values by the name of the step that gave them. Out: a section for each
step that said something. The rule: a value is shown as it is, whatever its shape, so that no figure a step
reports is left out: single values in one table, counts as bars, lists of records as a table each.
"""

from collections.abc import Mapping, Sequence

from inspection import report_html as html
from inspection.report_html import Markup

MAX_ROWS = 200
_SAID = {
    "warning": ("Before this is trained on", ""),
    "cut": ("Ranking", "Documents were ranked by score; those below the cut were rejected."),
    "near_duplicates": (
        "Near-duplicates",
        "Pairs of documents whose word 5-grams overlap more than the threshold, each pair verified. Recall is estimated"
        " from the pairs found, canaries are altered copies planted to be found, and a sample of pairs was tested again"
        " by other code. A short text inside a long page is not looked for.",
    ),
    "decontamination": ("Evaluation sets", "Passages that documents share with evaluation sets, by task."),
    "gaps": ("Gaps", "Places where part of a sentence could not be rendered, and the documents that have such places."),
}


def selection_sections(details: Mapping[str, object]) -> list[Markup]:
    """A section for each step, those we have words for first."""
    names = [*(name for name in _SAID if name in details), *sorted(details.keys() - _SAID.keys() - {"kinds"})]
    return [_section(name, details[name]) for name in names]


def _section(name: str, value: object) -> Markup:
    title, note = _SAID.get(name, (_words(name).capitalize(), ""))
    return html.section(title, _show(value), note=note)


def _show(value: object) -> Markup:
    """A value of any shape: single values first, then what holds more."""
    if not isinstance(value, Mapping):
        return _show_many(value) if _is_list(value) else html.empty(_plain(value))
    single = {key: one for key, one in value.items() if not isinstance(one, Mapping) and not _is_list(one)}
    parts = []
    if single:
        rows = [(_words(key), _plain(one)) for key, one in single.items()]
        parts.append(html.table(("", ""), rows, numeric=(1,)))
    for key in [key for key in value if key not in single]:
        shown = _show_counts(value[key]) if _is_counts(value[key]) else _show(value[key])
        parts.append(html.join([Markup(f"<h3>{html.escape(_words(key))}</h3>"), shown]))
    return html.join(parts) or html.empty("Nothing.")


def _show_counts(counts: object) -> Markup:
    assert isinstance(counts, Mapping)
    whole = sum(counts.values())
    return html.bars(html.bar(html.foreign(str(name)), int(n), whole) for name, n in counts.items())


def _show_many(values: object) -> Markup:
    assert isinstance(values, Sequence)
    if not values:
        return html.empty("None.")
    if not all(isinstance(one, Mapping) for one in values):
        return html.join(html.empty(_plain(value)) for value in values[:MAX_ROWS])
    head = list(values[0])
    rows = [tuple(_plain(one.get(key, "")) for key in head) for one in values[:MAX_ROWS]]
    numeric = [k for k, key in enumerate(head) if isinstance(values[0][key], (int, float))]
    return html.table(tuple(map(_words, head)), rows, numeric=numeric)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_counts(value: object) -> bool:
    """Whether these are parts of a whole: counts by a quantity, as in a histogram; names tell of things apart."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(type(one) is int and str(name)[:1].isdigit() for name, one in value.items())


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: object) -> str:
    """A single value for people.

    >>> [_plain(one) for one in (12_345, 0.98765, 1.0, None, True, "35x3")]
    ['12,345', '0.9877', '1', 'unknown', 'yes', '35x3']
    """
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
