"""What a run reports of its near-duplicates: plain values for the manifest, which depend on nothing but the input.

Counts arrive as (name, how often) and are added up; chances as whole numbers, since a sum of floats depends on its
order.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from corpora.near_duplicates import NearDuplicateRules
from pipelines.near_rows import CHANCE_UNIT, LARGE_BUCKET, LARGEST_BUCKETS

_COUNTS = (
    *("documents", "without_words", "short", "earlier_documents", "rows", "buckets", "large_buckets"),
    *("candidates", "documents_read_again", "pairs_verified", "pairs_without_text", "pairs_found", "id_collisions"),
    *("components", "unconverged", "dropped"),
)


def make_report(
    tally: Mapping[str, int], largest: Iterable[tuple[int, str, str]], rules: NearDuplicateRules
) -> dict[str, object]:
    """All figures of a run, in the order in which people read them.

    `recall_estimate` is the share of the pairs above the threshold that were compared, judged from those found: a pair
    of similarity J stands for 1/p(J) pairs. `canaries` are planted copies, just above the threshold. `precision_check`
    tests accepted pairs again with code that shares nothing with the fast way.
    """
    return {
        "threshold": rules.threshold,
        "recall_asked": rules.recall,
        "keys_per_document": f"{rules.bands} of {rules.rows} values",
        "recall_estimate": _ratio(tally.get("pairs_found", 0) * CHANCE_UNIT, tally.get("pairs_expected", 0)),
        **{name: tally.get(name, 0) for name in _COUNTS},
        "canaries": {
            "planted": tally.get("canaries_planted", 0),
            "found": tally.get("canaries_found", 0),
            "expected": round(tally.get("canaries_expected", 0) / CHANCE_UNIT, 2),
        },
        "precision_check": {
            "pairs": tally.get("sampled_pairs", 0),
            "confirmed": tally.get("sampled_pairs_confirmed", 0),
        },
        "pairs_by_similarity": _group(tally, "similarity"),
        "components_by_size": _sizes(_group(tally, "component_sizes")),
        "large_bucket": LARGE_BUCKET,
        "largest_buckets": [
            {"documents": n, "key": key, "first_id": first}
            for n, key, first in sorted(largest, key=lambda one: (-one[0], one[1]))[:LARGEST_BUCKETS]
        ],
    }


def _group(tally: Mapping[str, int], group: str) -> dict[str, int]:
    return {name.split("/")[1]: n for name, n in sorted(tally.items()) if name.startswith(f"{group}/") and n}


def _sizes(by_ceiling: Mapping[str, int]) -> dict[str, int]:
    """Named by the sizes they span.

    >>> _sizes({"16": 1, "2": 9, "4": 2})
    {'2': 9, '3-4': 2, '9-16': 1}
    """
    named: defaultdict[str, int] = defaultdict(int)
    for ceiling in sorted(map(int, by_ceiling)):
        name = str(ceiling) if ceiling == 2 else f"{ceiling // 2 + 1}-{ceiling}"
        named[name] += by_ceiling[str(ceiling)]
    return dict(named)


def _ratio(part: int, whole: int) -> float | None:
    """None where there is nothing to judge from."""
    return round(part / whole, 6) if whole else None
