"""What was trained on is added up from the log, corpus by corpus, and corpora are told apart by name."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trainer.run_folder import read_log
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


def test_training_on_two_corpora_tells_their_tokens_and_their_perplexities_after_a_resumption_too(
    small_data: Path, random_shards: ModuleType, tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    shape = random_shards.Shape(
        n_tokens=20_000,
        n_shards=1,
        held_out_tokens=500,
        vocabulary_size=500,
        sentence_tokens=9.0,
        block_tokens=2_000,
        seed=1,
    )
    other = random_shards.make_run(tmp_path / "other", shape)
    run = tmp_path / "run"
    flags = ("--data", small_data, other, "--output", run, "--evaluate-every", 5, "--batch-sequences", 64)
    for updates in (7, 20):
        done = run_here(*flags, "--max-updates", updates)
        assert done.returncode == 0, done.stderr
    logged: list[Any] = list(read_log(run))
    untrained, *entries = logged
    assert untrained["held_out_by_corpus"].keys() == {"small", "other"}
    assert len(entries) == 20
    for entry in entries:
        assert sum(entry["tokens_by_corpus"].values()) == entry["tokens"]
        assert entry["fill"] == pytest.approx(entry["tokens"] / (64 * 32), abs=1e-4)
        assert 64 <= entry["documents"] <= 128
    by_corpus = entries[-1]["held_out_by_corpus"]
    assert by_corpus.keys() == {"small", "other"}
    assert min(by_corpus.values()) < entries[-1]["held_out_perplexity"] < max(by_corpus.values())
    corpora = list_corpora(Source(open_runs([small_data, other]), split="train"))
    seen = count_seen(run, corpora)
    assert seen.n_sequences == 20 * 64
    assert seen.by_corpus[0] / seen.n_tokens == pytest.approx(0.5, abs=0.05)  # an epoch, but for its last batch
    assert all(line in done.stdout for line in describe_seen(seen, corpora, block_tokens=32))
