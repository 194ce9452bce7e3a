"""`--follow-data` as a user meets it: generations taken at epoch borders, recorded, and found again after any crash."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bpe.growing import generation_name, window_folder
from trainer.data_record import DATA, read_records
from trainer.plan import SampleId, batch_size, sample_ids, samples_of_update
from trainer.replay import folders_read, open_order
from trainer.run_folder import first_sample_of

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]
LIMIT_S = 120
# An epoch of the first generation has about 6 updates.
FLAGS = ("--window-blocks", 2, "--checkpoint-every", 5)


class Corpus:
    """A growing corpus, and how it grows."""

    def __init__(self, folder: Path, make_window: Callable[[Path, int], object], publish: Callable[..., int]) -> None:
        self.folder = folder
        self._make_window = make_window
        self._publish = publish
        self.n = 0

    def grow(self) -> int:
        """Publishes one window more."""
        self.n += 1
        self._make_window(self.folder / window_folder(self.n, self.n), self.n)
        return self._publish(self.folder, *(window_folder(k, k) for k in range(1, self.n + 1)))


@pytest.fixture
def corpus(random_shards: ModuleType, publish: Callable[..., int], tmp_path: Path) -> Corpus:
    """One generation to begin with."""

    def make_window(folder: Path, number: int) -> None:
        shape = random_shards.Shape(
            n_tokens=1_500, n_shards=2, held_out_tokens=300, vocabulary_size=500, sentence_tokens=9.0,
            block_tokens=500, seed=number,
        )  # fmt: skip
        random_shards.make_run(folder, shape)

    made = Corpus(tmp_path / "news", make_window, publish)
    made.grow()
    return made


def log_of(run: Path) -> list[dict[str, Any]]:
    try:
        lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def batches_of(run: Path) -> list[tuple[Any, ...]]:
    """Of each update: where its batch begins, a digest of names, tokens and masks, and how many are predicted."""
    return [(one["update"], one["place"], one["batch"], one["masked"]) for one in log_of(run) if "loss" in one]


def generations_of(run: Path) -> list[int | None]:
    """By epoch."""
    return [record.data[0].generation for record in read_records(run)]


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(process: "subprocess.Popen[str]") -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def copy_beginning(run: Path, other: Path) -> None:
    """Makes a run that has recorded its epochs, and trained nothing."""
    other.mkdir()
    for name in ("settings.json", DATA):
        shutil.copy(run / name, other / name)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks to kill in /proc")
def test_two_ranks_take_a_new_generation_and_one_rank_goes_on_after_kill_9_as_if_nothing_had_happened(
    corpus: Corpus, tmp_path: Path, start_trainer: Start, run_here: Run
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", corpus.folder, "--follow-data", *FLAGS)
    process = start_trainer(*arguments, "--output", run, "--max-updates", 100_000, "--updates", 100_000, n_ranks=2)
    wait_until(lambda: len(log_of(run)) > 3, process)
    assert generations_of(run)[0] == 1
    corpus.grow()
    wait_until(lambda: any(one.get("generation") == 2 for one in log_of(run)), process)
    for rank in children_of(process):
        os.kill(rank, signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    before = generations_of(run)
    recorded = (run / DATA).read_bytes()
    corpus.grow()

    n_updates = len(batches_of(run)) + 40
    settings = ("--updates", 100_000, "--max-updates", n_updates)
    done = run_here(*arguments, *settings, "--output", run)
    assert done.returncode == 0, done.stderr
    assert (run / DATA).read_bytes().startswith(recorded)  # what was recorded stands
    after = generations_of(run)
    assert after[: len(before)] == before
    assert set(after[len(before) :]) == {3}
    assert f"epoch {len(before)}: generation 3 of news; " in done.stdout

    begun = {one["epoch"]: one for one in log_of(run) if "epoch" in one}
    assert [one["generation"] for one in begun.values()] == after[: len(begun)]
    assert list(begun) == list(range(len(begun)))
    tokens = {one["generation"]: one["epoch_tokens"] for one in begun.values()}
    assert tokens[1] < tokens[2] < tokens[3]

    undisturbed = tmp_path / "undisturbed"
    copy_beginning(run, undisturbed)
    corpus.grow()  # nobody reads it: all epochs are recorded
    assert run_here(*arguments, *settings, "--output", undisturbed).returncode == 0
    assert batches_of(undisturbed) == batches_of(run)
    assert (undisturbed / DATA).read_bytes() == (run / DATA).read_bytes()

    order, description = open_order(run)
    update = next(one["update"] for one in log_of(run) if one.get("generation") == 3)
    size = batch_size(description.settings)
    found = samples_of_update(order, update, batch=size, known=first_sample_of(run, update - 4))
    runs, _ = order.take_batch(SampleId(*batches_of(run)[update - 1][1]), size)
    assert found == list(sample_ids(runs))
    assert SampleId(after.index(3), 0, 0) in found
    windows = {corpus.folder / window_folder(k, k) for k in (1, 2, 3)}
    assert set(folders_read(run, description)) == {corpus.folder, *windows}


def test_without_the_flag_a_run_stays_at_the_generation_that_it_began_with_which_is_read_as_its_windows_are(
    corpus: Corpus, tmp_path: Path, run_here: Run
) -> None:
    run, plain = tmp_path / "run", tmp_path / "plain"
    evaluated = ("--evaluate-every", 20, *FLAGS)
    assert run_here("--data", corpus.folder, "--output", run, "--max-updates", 3, *evaluated).returncode == 0
    window = corpus.folder / window_folder(1, 1)
    corpus.grow()
    for data, output in ((corpus.folder, run), (window, plain)):
        done = run_here("--data", data, "--output", output, "--max-updates", 40, *evaluated)
        assert done.returncode == 0, done.stderr
        if output is run:
            assert "epoch 0 goes on: generation 1 of news; " in done.stdout
    assert batches_of(run) == batches_of(plain)
    assert set(generations_of(run)) == {1}
    assert len(generations_of(run)) > 2
    assert not (plain / DATA).exists()
    # The flag may come later; held-out loss stays that of the first generation.
    for data, output, flags in ((corpus.folder, run, ("--follow-data",)), (window, plain, ())):
        done = run_here("--data", data, "--output", output, "--max-updates", 60, *flags, *evaluated)
        assert done.returncode == 0, done.stderr
    assert generations_of(run)[-1] == 2
    n_same = next(one["update"] for one in log_of(run) if one.get("generation") == 2)
    assert batches_of(run)[: n_same - 1] == batches_of(plain)[: n_same - 1]
    assert batches_of(run)[n_same:] != batches_of(plain)[n_same:]
    ours, theirs = ({one["update"]: one.get("held_out_loss") for one in log_of(folder)} for folder in (run, plain))
    assert 40 < n_same < 60
    assert [ours[update] for update in (0, 20, 40)] == [theirs[update] for update in (0, 20, 40)]
    assert "held_out_by_corpus" not in log_of(run)[-1]  # nor are there more corpora than before
    # And it may go again: the run stays where it is.
    corpus.grow()
    assert run_here("--data", corpus.folder, "--output", run, "--max-updates", 60, *evaluated).returncode == 0
    assert 3 not in generations_of(run)


def test_a_growing_corpus_beside_one_that_does_not_grow_is_one_corpus_in_the_log(
    corpus: Corpus, tmp_path: Path, run_here: Run
) -> None:
    run, books = tmp_path / "run", tmp_path / "books"
    shutil.copytree(corpus.folder / window_folder(1, 1), books)
    arguments = ("--data", corpus.folder, books, "--output", run, "--follow-data", "--updates", 100, *FLAGS)
    assert run_here(*arguments, "--max-updates", 2).returncode == 0
    corpus.grow()
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    assert [[one.generation for one in record.data] for record in read_records(run)[:2]] == [[1, None], [2, None]]
    assert "tokens by corpus: news " in done.stdout
    assert "asked for" not in done.stdout  # shares change from epoch to epoch
    for one in log_of(run):
        assert set(one["tokens_by_corpus"]) == {"news", "books"}
        assert sum(one["tokens_by_corpus"].values()) == one["tokens"]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--follow-data", "--data", "PLAIN"), 2, "--follow-data: there is no growing corpus in --data"),
        (("--follow-data", "--mask-patterns", 10), 2, "--follow-data: static masks see the same blocks in every epoch"),
        (("--data", "CORPUS", "PLAIN"), 1, "the run began with --data"),
        (("--data", "PLAIN"), 1, "the run began with --data"),
    ],
)
def test_what_cannot_be_followed_is_said_in_one_line(
    corpus: Corpus, small_data: Path, tmp_path: Path, run_here: Run, flags: tuple[object, ...], code: int, message: str
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", corpus.folder, "--output", run, *FLAGS)
    assert run_here(*arguments, "--max-updates", 2).returncode == 0
    places = {"PLAIN": small_data, "CORPUS": corpus.folder}
    done = run_here(*arguments, *(places.get(str(flag), flag) for flag in flags))
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr


def test_records_and_generations_that_are_gone_or_changed_stop_the_run_and_are_named(
    corpus: Corpus, tmp_path: Path, run_here: Run
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", corpus.folder, "--output", run, "--follow-data", *FLAGS)
    assert run_here(*arguments, "--max-updates", 2).returncode == 0
    corpus.grow()
    assert run_here(*arguments, "--max-updates", 18).returncode == 0
    assert generations_of(run) == [1, 2]
    records, second = (run / DATA).read_bytes(), corpus.folder / generation_name(2)
    generation, newest = second.read_bytes(), (corpus.folder / "manifest.json").read_bytes()
    first = (corpus.folder / generation_name(1)).read_bytes()
    cases: list[tuple[Path, bytes | None, str]] = [
        (second, generation.replace(b'"grown"', b'"other"'), "00000002.json: sha256"),
        (second, None, "00000002.json: generation 2 is gone"),
        (run / DATA, None, f"no {DATA}, which says what its epochs read"),
        (run / DATA, records.splitlines(keepends=True)[0], "no line of epoch 1"),
        (run / DATA, records.replace(b'"epoch": 1', b'"epoch": 7'), f"{DATA}:2: of epoch 7"),
        (corpus.folder / "manifest.json", first, "generation: 1, but the epoch before read 2"),
    ]
    for path, data, says in cases:
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        done = run_here(*arguments, "--max-updates", 60)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert says in done.stderr
        second.write_bytes(generation)
        (run / DATA).write_bytes(records)
        (corpus.folder / "manifest.json").write_bytes(newest)
    assert run_here(*arguments, "--max-updates", 60).returncode == 0


def test_a_generation_that_cannot_be_read_is_not_recorded_and_the_run_goes_on_once_it_can(
    corpus: Corpus, tmp_path: Path, run_here: Run
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", corpus.folder, "--output", run, "--follow-data", *FLAGS)
    assert run_here(*arguments, "--max-updates", 2).returncode == 0
    corpus.grow()
    shard = next((corpus.folder / window_folder(2, 2) / "shards").glob("*.tar"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-512])
    done = run_here(*arguments, "--max-updates", 40)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert shard.name in done.stderr
    assert generations_of(run) == [1]
    shard.write_bytes(data)
    assert run_here(*arguments, "--max-updates", 40).returncode == 0
    assert generations_of(run)[:2] == [1, 2]


def test_a_record_without_settings_is_of_a_run_that_never_began(corpus: Corpus, tmp_path: Path, run_here: Run) -> None:
    run = tmp_path / "run"
    arguments = ("--data", corpus.folder, "--output", run, "--max-updates", 2, *FLAGS)
    assert run_here(*arguments).returncode == 0
    for path in run.iterdir():
        if path.name != DATA:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    corpus.grow()
    assert run_here(*arguments).returncode == 0
    assert generations_of(run) == [2]


def test_recipes_are_not_compared_on_data_that_grow(
    corpus: Corpus, small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainer.compare import main

    arguments = ["--recipes", str(small_recipe), "--data", str(corpus.folder), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "grows, and recipes are compared on the same shards" in capsys.readouterr().err
