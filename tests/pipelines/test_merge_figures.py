"""What the steps of several runs reported becomes one report: sums, bounds where sums are not known, no guesses."""

from pipelines.merge_figures import merge_details


def test_figures_of_steps_are_added_up_or_given_as_bounds() -> None:
    def near(found: int, estimate: float | None, key: str) -> dict[str, object]:
        return {
            "threshold": 0.8, "recall_estimate": estimate, "pairs_found": found, "earlier_documents": found,
            "canaries": {"planted": 2, "expected": 1.5}, "pairs_by_similarity": {"0.80": found},
            "largest_buckets": [{"documents": found, "key": key, "first_id": "a"}],
        }  # fmt: skip

    def contamination(found: int) -> dict[str, object]:
        task = {
            "task": "RTE", "texts": 10, "texts_too_short": 2, "ngrams": 99, "texts_found": found, "share_found": 0.0,
            "texts_widespread": 0, "documents": found, "cuts": 1, "documents_dropped": 0,
        }  # fmt: skip
        text = {"task": "RTE", "split": "dev", "documents": found, "words": "a b"}
        return {"tasks": [task], "texts_found_most_often": [text], "notes": ["n"]}

    many = [
        {"warning": "mind", "near_duplicates": near(9, 0.9, "k"), "decontamination": contamination(2), "odd": 1},
        {"warning": "mind", "near_duplicates": near(30, 1.0, "k"), "decontamination": contamination(4), "odd": 2},
    ]
    merged = merge_details(many)
    assert merged["warning"] == "mind"
    assert merged["odd"] == [1, 2]
    assert merged["near_duplicates"] == {
        "threshold": 0.8, "recall_estimate": 0.975, "pairs_found": 39, "earlier_documents": 9,
        "canaries": {"planted": 4, "expected": 3.0}, "pairs_by_similarity": {"0.80": 39},
        "largest_buckets": [{"documents": 30, "key": "k", "first_id": "a"}], "runs_added_up": 2,
    }  # fmt: skip
    [task] = merged["decontamination"]["tasks"]  # type: ignore[index]
    assert (task["texts"], task["texts_found"], task["documents"], task["cuts"]) == (10, 4, 6, 2)
    assert task["share_found"] == 0.5
    assert merged["decontamination"]["texts_found_most_often"][0]["documents"] == 6  # type: ignore[index]
    again = merge_details([merged, many[0]])
    assert again["near_duplicates"]["runs_added_up"] == 3  # type: ignore[index]
    assert again["decontamination"]["notes"] == merged["decontamination"]["notes"]  # type: ignore[index]
