"""The command as a user meets it: a falling loss, exact resumption, ranks that agree, and faults that are one line."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bpe.manifest import Removal, dump_manifest, load_manifest
from trainer.plan import SampleId, batch_size, samples_of_update
from trainer.replay import open_order
from trainer.run_folder import RunError, first_sample_of

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def _updates(folder: Path, *keys: str) -> list[tuple[Any, ...]]:
    """The lines of updates, by these keys."""
    return [tuple(entry[key] for key in ("update", *keys)) for entry in _log(folder) if "loss" in entry]


def _wait_for_update(folder: Path, update: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "log.jsonl").exists() and (folder / "log.jsonl").read_text().count("\n") >= update:
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.fixture(scope="module")
def finished(small_data: Path, small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 updates on one rank that nothing disturbed."""
    import torch

    from trainer.pretrain import main

    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = ["--recipe", str(small_recipe), "--data", str(small_data), "--output", str(folder), "--device", "cpu"]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main([*arguments, "--max-updates", "40", "--evaluate-every", "20"]) == 0
    torch.set_num_threads(n_threads)
    return folder


def test_the_loss_falls_and_the_log_holds_each_update_once(finished: Path) -> None:
    losses = [loss for _, loss in _updates(finished, "loss")]
    assert [update for update, *_ in _updates(finished)] == list(range(1, 41))
    assert losses[0] == pytest.approx(6.2, abs=0.2)  # ln 500
    assert sum(losses[-5:]) / 5 < losses[0] - 0.4
    untrained, entry = _log(finished)[:2]
    assert untrained.keys() == {"update", "held_out_loss", "held_out_perplexity"}
    assert {"update", "loss", "perplexity", "lr", "tokens_per_s", "place", "batch"} <= entry.keys()
    held_out = [(e["update"], e["held_out_loss"]) for e in _log(finished) if "held_out_loss" in e]
    assert [update for update, _ in held_out] == [0, 20, 40]
    assert held_out[0][1] == pytest.approx(losses[0], abs=0.1)
    assert held_out[2][1] < held_out[1][1] < held_out[0][1]


def test_the_folder_of_a_run_says_which_samples_an_update_read(finished: Path) -> None:
    order, description = open_order(finished)
    size = batch_size(description.settings)
    known = first_sample_of(finished, 30)
    assert known[0] == 30
    assert samples_of_update(order, 30, batch=size, known=known) == samples_of_update(order, 30, batch=size)
    assert known[1] == SampleId(*next(place for update, place in _updates(finished, "place") if update == 30))


def _run_until_killed(run: Path, start: Callable[[], "subprocess.Popen[str]"]) -> int:
    """Kills a run of 40 updates when it has logged 30 and saved 28; returns how many it had logged.

    Checkpoints are written beside the updates, and a busy machine may look away for longer than ten updates take: a
    run that came to its end is begun anew.
    """
    for _ in range(10):
        shutil.rmtree(run, ignore_errors=True)
        process = start()
        _wait_for_update(run, 30, process)
        while process.poll() is None and not (run / "checkpoints" / "update-00000028").exists():
            time.sleep(0.001)
        process.kill()
        process.communicate()
        n_logged = len(_updates(run))
        if n_logged < 40:
            return n_logged
    raise AssertionError("ten runs came to their end before they could be killed")


def test_killed_at_update_30_and_resumed_losses_are_equal_to_the_last_bit(
    finished: Path, small_data: Path, tmp_path: Path, start_trainer: Start, run_here: Run
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", small_data, "--output", run, "--max-updates", 40, "--checkpoint-every", 7)
    n_logged = _run_until_killed(run, lambda: start_trainer(*arguments))
    assert 30 <= n_logged < 40
    newest = max(path.name for path in (run / "checkpoints").glob("update-*"))
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    assert newest >= "update-00000028"
    assert f"resuming after update {int(newest[-8:])}" in done.stdout
    keys = ("loss", "batch", "place", "gradient_norm", "lr")
    assert _updates(run, *keys) == _updates(finished, *keys)


def test_two_ranks_stopped_by_sigterm_save_at_one_update_and_one_rank_goes_on_with_the_same_batches(
    finished: Path, small_data: Path, tmp_path: Path, start_trainer: Start, run_here: Run
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", small_data, "--output", run, "--checkpoint-every", 1000)
    process = start_trainer(*arguments, n_ranks=2)
    _wait_for_update(run, 12, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode != 0, err
    stopped = len(_updates(run))
    assert f"stopped after update {stopped}; the same command goes on from there" in out
    assert out.count("parameters") == out.count(" -> ") == 1  # only rank 0 speaks
    done = run_here(*arguments, "--max-updates", 40, "--micro-batch", 2)
    assert done.returncode == 0, done.stderr
    assert f"resuming after update {stopped}" in done.stdout
    assert _updates(run, "batch", "place", "masked") == _updates(finished, "batch", "place", "masked")
    # Dropout differs between one rank and two; what is learned does not.
    assert _updates(run, "loss")[-1][1] == pytest.approx(_updates(finished, "loss")[-1][1], abs=0.3)


def test_sigterm_saves_and_exits_with_its_number_and_the_run_goes_on_as_if_undisturbed(
    finished: Path, small_data: Path, tmp_path: Path, run_here: Run
) -> None:
    run = tmp_path / "run"
    arguments = ("--data", small_data, "--output", run, "--checkpoint-every", 1000, "--max-updates", 40)
    terminator = threading.Thread(target=_terminate_after, args=(run, 12))
    terminator.start()
    done = run_here(*arguments)
    terminator.join()
    assert done.returncode == 128 + signal.SIGTERM
    stopped = len(_updates(run))
    assert 12 <= stopped < 40
    assert f"stopped after update {stopped}; the same command goes on from there" in done.stdout
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"update-{stopped:08d}"]
    assert run_here(*arguments).returncode == 0
    assert _updates(run, "loss", "batch") == _updates(finished, "loss", "batch")


def _terminate_after(folder: Path, update: int) -> None:
    """Sends this process a SIGTERM once so many updates are logged."""
    while not (folder / "log.jsonl").exists() or (folder / "log.jsonl").read_text().count("\n") < update:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_finished_run_is_recognised_and_left_alone(finished: Path, small_data: Path, run_here: Run) -> None:
    before = (finished / "log.jsonl").read_bytes()
    done = run_here("--data", small_data, "--output", finished, "--max-updates", 40)
    assert (done.returncode, done.stderr) == (0, "")
    assert "finished: 40 of 60 updates are done" in done.stdout
    assert (finished / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--seed", 9), 1, "holds a run with seed 0 (now 9): repeat its settings, or name another --output"),
        (("--resume", "never"), 2, "holds a run, and --resume is never"),
        (("--micro-batch", 3), 2, "nearest that can: batch_sequences 6 or 9, or micro_batch 2"),
        (("--devic", "cpu"), 2, "there is no flag --devic; did you mean '--device'?"),
        (("--data", "nowhere"), 1, "no manifest, so there is no finished run here"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    finished: Path, small_data: Path, run_here: Run, flags: tuple[object, ...], code: int, message: str
) -> None:
    done = run_here("--data", small_data, "--output", finished, "--max-updates", 40, *flags)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_shards_and_other_vocabularies_are_refused(
    finished: Path, random_shards: ModuleType, tmp_path: Path, small_data: Path, run_here: Run
) -> None:
    other = random_shards.make_run(
        tmp_path / "other", random_shards.Shape(n_tokens=500, n_shards=1, vocabulary="other")
    )
    done = run_here("--data", other, "--output", finished)
    assert done.returncode == 1
    assert "vocabulary" in done.stderr
    assert "shards of manifest" in done.stderr
    done = run_here("--data", small_data, other, "--output", tmp_path / "run")
    assert done.returncode == 1
    assert "encode both with one vocabulary" in done.stderr


def test_a_run_whose_shards_have_forgotten_documents_since_does_not_go_on_and_says_why(
    finished: Path, small_data: Path, tmp_path: Path, run_here: Run
) -> None:
    """Whatever was removed: the manifest tells, by the hash of the one before, that it is the same run later on."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(small_data, data)
    shutil.copytree(finished, run)
    before = hashlib.sha256((data / "manifest.json").read_bytes()).hexdigest()
    removal = Removal("a" * 64, {"url": 1}, "", "", 0, 0, 0, 0, 1, 0, (), before)
    manifest = load_manifest(data)
    (data / "manifest.json").write_bytes(dump_manifest(manifest._replace(removals=(removal,))))
    done = run_here("--data", data, "--output", run)
    assert done.returncode == 1
    assert "before documents were forgotten there" in done.stderr
    assert "name another --output" in done.stderr
    assert done.stderr.count("\n") == 1
    settings = json.loads((run / "settings.json").read_text())
    settings["shards"][0]["folder"] = str(data)
    (run / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(RunError, match="its samples cannot be found again"):
        open_order(run)


def test_a_damaged_checkpoint_is_told_and_the_one_before_gives_the_same_losses(
    finished: Path, small_data: Path, tmp_path: Path, run_here: Run
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    last = run / "checkpoints" / "update-00000040" / "model.safetensors"
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    done = run_here("--data", small_data, "--output", run, "--max-updates", 40)
    assert done.returncode == 0, done.stderr
    assert "update-00000040 is damaged (model.safetensors is not what was written)" in done.stdout
    assert "resuming after update 30" in done.stdout
    assert _updates(run, "batch") == _updates(finished, "batch")


def test_a_manifest_that_contradicts_its_shards_fails_before_the_first_step_and_names_the_shard(
    small_data: Path, tmp_path: Path, run_here: Run
) -> None:
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    manifest = (data / "manifest.json").read_text()
    digest = json.loads(manifest)["shards"][1]["sha256"]
    faults = {
        "wrong hash": lambda: (data / "manifest.json").write_text(manifest.replace(digest, digest[::-1])),
        "missing": lambda: (data / "shards/random-00001-of-00004.tar").unlink(),
        "extra": lambda: shutil.copy(data / "shards/random-00000-of-00004.tar", data / "shards/x-00001-of-00004.tar"),
    }
    for name, make in faults.items():
        make()
        done = run_here("--data", data, "--output", tmp_path / "run")
        assert done.returncode == 1, name
        assert "-00001-of-00004.tar" in done.stderr, name
        assert not (tmp_path / "run").exists(), name
        shutil.rmtree(data)
        shutil.copytree(small_data, data)


def test_updates_that_are_not_finite_are_skipped_on_all_ranks_and_too_many_in_a_row_stop_the_run(
    small_data: Path, tmp_path: Path, start_trainer: Start
) -> None:
    run = tmp_path / "run"
    # A rate that throws the weights out of float32's range after the warm-up's first updates.
    flags = ("--peak-learning-rate", 1e30, "--max-skipped", 3, "--checkpoint-every", 1)
    process = start_trainer("--data", small_data, "--output", run, *flags, n_ranks=2)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "was not finite for 4 updates in a row; the last good checkpoint is of update" in err
    skipped = [entry["update"] for entry in _log(run) if entry.get("skipped")]
    last = _updates(run)[-1][0]
    assert skipped == list(range(last - 3, last + 1))
    assert (run / "checkpoints" / f"update-{last - 4:08d}").is_dir()
    assert not (run / "checkpoints" / f"update-{last:08d}").exists()


def test_a_shard_that_breaks_during_the_run_ends_all_ranks_soon_and_is_named(
    random_shards: ModuleType, tmp_path: Path, start_trainer: Start
) -> None:
    shape = random_shards.Shape(
        n_tokens=60_000, n_shards=3, vocabulary_size=500, sentence_tokens=9.0, block_tokens=1000
    )
    data = random_shards.make_run(tmp_path / "data", shape)
    run = tmp_path / "run"
    process = start_trainer("--data", data, "--output", run, "--window-blocks", 1, "--updates", 100_000, n_ranks=2)
    _wait_for_update(run, 3, process)
    for path in (data / "shards").glob("*.tar"):
        with path.open("r+b") as stream:
            for place in range(600, path.stat().st_size, 1024):
                stream.seek(place)
                stream.write(b"\xff")
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 60
    assert process.returncode == 1
    assert "-of-00003.tar" in err


def test_fairseq_s_rules_bfloat16_and_several_runs_of_shards_train_too(
    small_data: Path, random_shards: ModuleType, tmp_path: Path, run_here: Run
) -> None:
    shape = random_shards.Shape(n_tokens=3_000, n_shards=1, vocabulary_size=500, sentence_tokens=9.0, seed=1)
    other = random_shards.make_run(tmp_path / "other", shape)
    run = tmp_path / "run"
    flags = ("--fairseq-compat", "--precision", "bfloat16", "--clip-norm", 1.0, "--max-updates", 12)
    done = run_here("--data", small_data, other, "--output", run, *flags)
    assert done.returncode == 0, done.stderr
    assert "were dropped" in done.stdout
    rates = [rate for _, rate in _updates(run, "lr")]
    assert rates[0] == 0.0
    losses = [loss for _, loss in _updates(run, "loss")]
    assert losses[-1] < losses[0] < 6.5


def test_a_corpus_smaller_than_one_batch_trains(random_shards: ModuleType, tmp_path: Path, run_here: Run) -> None:
    shape = random_shards.Shape(n_tokens=60, n_shards=1, vocabulary_size=500, sentence_tokens=9.0)
    data = random_shards.make_run(tmp_path / "data", shape)
    done = run_here("--data", data, "--output", tmp_path / "run", "--max-updates", 3)
    assert done.returncode == 0, done.stderr
    assert [place[0] for _, place in _updates(tmp_path / "run", "place")][-1] > 0
