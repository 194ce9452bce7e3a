"""What was trained on is added up from the log, corpus by corpus, and corpora are told apart by name."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from trainer.sources import Source, open_runs
from trainer.tally import Corpus, Seen, count_seen, describe_seen, list_corpora, name_runs

TWO = (Corpus("news", 0.75), Corpus("books", 0.25))


def _log(folder: Path, entries: list[dict[str, object]]) -> None:
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_tokens_are_added_up_by_corpus_over_all_updates_that_say_them(tmp_path: Path) -> None:
    update = {"tokens": 900, "sequences": 8, "documents": 12, "tokens_by_corpus": {"news": 600, "books": 300}}
    _log(tmp_path, [{"update": 1, "tokens": 77}, {"update": 2, **update}, {"update": 3, **update}])
    seen = count_seen(tmp_path, TWO)
    assert seen == Seen(1800, 16, 24, (1200, 600))
    assert describe_seen(seen, TWO, block_tokens=128) == [
        "1,800 tokens in 16 blocks, 87.9% full, 1.50 documents each",
        "tokens by corpus: news 1,200 (66.7%, asked for 75.0%), books 600 (33.3%, asked for 25.0%)",
    ]


def test_one_corpus_has_no_shares_and_an_empty_log_nothing_to_say(tmp_path: Path) -> None:
    assert describe_seen(count_seen(tmp_path, TWO), TWO, block_tokens=128) == []
    _log(tmp_path, [{"update": 1, "tokens": 900, "sequences": 8, "documents": 12}])
    assert len(describe_seen(count_seen(tmp_path, TWO[:1]), TWO[:1], block_tokens=128)) == 1


def test_shares_asked_for_are_those_of_weight_times_tokens(small_data: Path) -> None:
    (run,) = open_runs([small_data])
    source = Source((run, run._replace(weight=Fraction(3))), split="train")
    assert [corpus.wanted for corpus in list_corpora(source)] == [0.25, 0.75]
    assert Source((run,), split="held-out").n_tokens > 0
    assert list_corpora(Source((run,), split="train")) == (Corpus("small", 1.0),)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["a/news", "a/books"], ("news", "books")),
        (["a/news/shards", "a/books/shards"], ("news/shards", "books/shards")),
        (["a/x/news", "b/x/news", "c"], ("a/x/news", "b/x/news", None)),
        (["a/news", "a/../a/news", "b"], ("news", "news#2", "b")),
        (["a/news", "b/news", "a/news"], ("a/news", "b/news", "a/news#2")),
    ],
)
def test_names_are_as_short_as_tells_runs_apart(
    small_data: Path, folders: list[str], expected: tuple[str | None, ...]
) -> None:
    (run,) = open_runs([small_data])
    names = name_runs([run._replace(folder=Path(folder)) for folder in folders])
    assert len(set(names)) == len(names)
    assert all(wanted in (None, name) for name, wanted in zip(names, expected, strict=True))
