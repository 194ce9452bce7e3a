"""The command as a user meets it: a falling loss, a report, seeds that are added, and faults that are one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from bpe.manifest import dump_manifest, load_manifest
from bpe.training import train_vocabulary
from bpe.vocabulary import dump_vocabulary

ROOT = Path(__file__).resolve().parents[2]
GOOD, BAD = ("bright", "warm", "kind"), ("dull", "cold", "mean")
NOUNS = ("day", "film", "song", "house", "story", "friend")
FAST = ("--learning-rate", "5e-3", "--epochs", "20", "--patience", "0", "--device", "cpu")


class Done(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


def _sentences(n: int) -> list[tuple[int, str]]:
    """Sentences that a single word decides."""
    made = []
    for k in range(n):
        word = (GOOD if k % 2 else BAD)[k // 2 % 3]
        made.append((k % 2, f"The {NOUNS[k % 5]} was a {word} {NOUNS[k // 3 % 6]}."))
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as GLUE's, with SST-2, CoLA, MNLI, RTE, STS-B, QNLI and WNLI in it."""
    root = tmp_path_factory.mktemp("glue")

    def write(task: str, **files: list[str]) -> None:
        (root / task).mkdir()
        for name, lines in files.items():
            (root / task / f"{name}.tsv").write_text("\n".join(lines) + "\n")

    made = _sentences(96)
    single = [f"{text}\t{label}" for label, text in made]
    write("SST-2", train=["sentence\tlabel", *single, "broken"], dev=["sentence\tlabel", *single[:24]],
          test=["index\tsentence", *(f"{k}\t{text}" for k, (_, text) in enumerate(made[:7]))])  # fmt: skip
    cola = [f"x\t{label}\t\t{text}" for label, text in made]
    write("CoLA", train=cola, dev=cola[:24])
    pair = "{k}\t{text}\t{other}\t{label}"
    rows = {
        task: [
            pair.format(k=k, text=text, other=made[(k * 7) % 96][1], label=labels[label])
            for k, (label, text) in enumerate(made[:48])
        ]
        for task, labels in {
            "MNLI": ("contradiction", "entailment"),
            "RTE": ("not_entailment", "entailment"),
            "STS-B": ("0.5", "4.5"),
        }.items()
    }
    header = "index\tsentence1\tsentence2\t"
    mnli = [header + "gold_label", *rows["MNLI"]]
    write("MNLI", train=mnli, dev_matched=mnli[:20], dev_mismatched=mnli[:12])
    write("RTE", train=[header + "label", *rows["RTE"]], dev=[header + "label", *rows["RTE"][:16]])
    write("STS-B", train=[header + "score", *rows["STS-B"]], dev=[header + "score", *rows["STS-B"][:16]])
    question = ["index\tquestion\tsentence\tlabel"]
    for k, (label, text) in enumerate(made[:36]):
        question.append(f"{k}\tWhich {NOUNS[k // 2 % 6]} {k // 2}?\t{text}\t{('not_entailment', 'entailment')[label]}")
    write("QNLI", train=question, dev=question[:20], test=[line.rpartition("\t")[0] for line in question])
    names = [("Ann", "Sue"), ("Bob", "Joe"), ("Kim", "Lee")]
    wnli = ["index\tsentence1\tsentence2\tlabel"]
    for k in range(24):
        first, second = names[k % 3]
        said = (first, second)[k % 2]
        wnli.append(f"{k}\t{first} thanked {second} because she had helped.\t{said} had helped.\t{k % 2}")
    write("WNLI", train=wnli, dev=wnli[:12])
    return root


@pytest.fixture(scope="module")
def pretrained(random_shards: ModuleType, small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates, on shards whose vocabulary is there."""
    from trainer.pretrain import main

    folder = tmp_path_factory.mktemp("pretrained")
    texts = [text for _, text in _sentences(96)] * 2
    vocabulary = train_vocabulary(texts, size=400, min_frequency=2).vocabulary
    shards = random_shards.make_run(
        folder / "shards", random_shards.Shape(n_tokens=5_000, n_shards=1, vocabulary_size=400)
    )
    manifest = load_manifest(shards)
    assert manifest.vocabulary is not None
    entry = manifest.vocabulary._replace(fingerprint=vocabulary.fingerprint)
    (shards / "manifest.json").write_bytes(dump_manifest(manifest._replace(vocabulary=entry)))
    (shards / "vocab.json").write_bytes(dump_vocabulary(vocabulary))
    arguments = ["--recipe", str(small_recipe), "--data", str(shards), "--output", str(folder / "run")]
    assert main([*arguments, "--device", "cpu", "--max-updates", "2"]) == 0
    return folder / "run"


@pytest.fixture
def finetune(data: Path, pretrained: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command in this process: one rank, one thread."""
    import torch

    from trainer.finetune import main

    def run(task: str, output: Path, *arguments: object, checkpoint: Path | None = pretrained) -> Done:
        given = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            command = ["--task", task, "--data", str(data), "--output", str(output), *given, *FAST]
            code = main([*command, *map(str, arguments)])
        except SystemExit as exit_:
            code = int(str(exit_.code))
        finally:
            torch.set_num_threads(n_threads)
        return Done(code, *capfd.readouterr())

    return run


def _losses(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def _report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_the_loss_falls_seeds_are_added_and_a_finished_one_is_left_alone(
    finetune: Callable[..., Done], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = finetune("sst2", out, "--seeds", 2)
    assert done.code == 0, done.err
    losses = _losses(out / "seed-1")
    assert sum(losses[-3:]) / 3 < 0.5 * losses[0]
    report = _report(out)
    assert report["median"]["dev"]["accuracy"] > 0.9
    assert f"accuracy {report['median']['dev']['accuracy']:.4f}" in done.out.splitlines()
    assert report["data"]["train"]["read"] == 97
    [bad] = report["data"]["train"]["broken"]
    assert bad["line"] == 98
    assert f"train: broken: {bad['path']}:98: 1 columns, 2 were expected" in done.out
    predictions = (out / "seed-1" / "predictions" / "SST-2.tsv").read_text().splitlines()
    assert len(predictions) == 8
    assert {line.partition("\t")[2] for line in predictions[1:]} <= {"0", "1"}

    before = {path: path.stat().st_mtime_ns for path in out.glob("seed-*/*")}
    again = finetune("sst2", out, "--seeds", 3)
    assert again.code == 0, again.err
    assert "seed 1: finished before" in again.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [seed["seed"] for seed in _report(out)["seeds"]] == [1, 2, 3]

    other = finetune("sst2", out, "--seeds", 3, "--batch", 8)
    assert other.code == 1
    assert "holds a finetuning with batch 32 (now 8): repeat its settings, or name another --output" in other.err


@pytest.mark.slow
def test_two_ranks_score_as_one_does_and_only_one_speaks(
    finetune: Callable[..., Done], data: Path, pretrained: Path, tmp_path: Path
) -> None:
    assert finetune("cola", tmp_path / "one", "--seeds", 1, "--max-updates", 7).code == 0
    command = ["--task", "cola", "--data", str(data), "--checkpoint", str(pretrained), *FAST, "--seeds", "1"]
    shown = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "trainer/finetune.py",
         *command, "--output", str(tmp_path / "two"), "--max-updates", "7"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("a new head") == 1
    one, two = _losses(tmp_path / "one" / "seed-1"), _losses(tmp_path / "two" / "seed-1")
    assert len(two) == 7
    assert two[0] == pytest.approx(one[0], abs=0.05)  # dropout differs between one rank and two
    assert set(_report(tmp_path / "two")["median"]["dev"]) == {"matthews_correlation"}


def test_a_model_finetuned_on_mnli_is_started_from_and_its_head_is_drawn_anew(
    finetune: Callable[..., Done], tmp_path: Path
) -> None:
    done = finetune("mnli", tmp_path / "mnli", "--seeds", 1, "--max-updates", 3)
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines() if " accuracy " in line][-2:] == [
        "dev_matched",
        "dev_mismatched",
    ]
    once = ("--seeds", 1, "--max-updates", 2)
    for task in ("rte", "stsb"):
        started = finetune(task, tmp_path / task, *once, "--start-from", tmp_path / "mnli", checkpoint=None)
        assert started.code == 0, started.err
        assert "a new head, because the one that was finetuned before has other outputs" in started.out
    assert set(_report(tmp_path / "stsb")["median"]["dev"]) == {"pearson", "spearmanr", "combined_score"}
    same = finetune(
        "rte", tmp_path / "more", "--seeds", 1, "--start-from", tmp_path / "rte" / "seed-1", checkpoint=None
    )
    assert "the head that was finetuned before" in same.out


@pytest.mark.parametrize("arguments", [("wnli",), ("qnli", "--pairwise")])
def test_rankings_are_learned_and_answered_for_each_example(
    finetune: Callable[..., Done], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    task, *flags = arguments
    done = finetune(task, tmp_path / "out", "--seeds", 1, "--batch", 6, *flags)
    assert done.code == 0, done.err
    losses = _losses(tmp_path / "out" / "seed-1")
    assert sum(losses[-3:]) / 3 < 0.5 * losses[0]
    for path in (tmp_path / "out" / "seed-1" / "predictions").iterdir():
        indices = [line.partition("\t")[0] for line in path.read_text().splitlines()[1:]]
        assert indices == [str(k) for k in range(len(indices))]


def test_patience_ends_a_seed_and_its_best_state_is_what_is_kept(finetune: Callable[..., Done], tmp_path: Path) -> None:
    done = finetune("cola", tmp_path / "out", "--seeds", 1, "--learning-rate", 0, "--patience", 2)
    assert done.code == 0, done.err
    [seed] = _report(tmp_path / "out")["seeds"]
    assert (seed["update"], seed["last_update"], seed["updates"]) == (6, 18, 120)


def test_averaged_scores_of_outputs_are_scored_and_predicted_with(
    finetune: Callable[..., Done], data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from trainer.ensemble import main

    for number, rate in enumerate(("1e-3", "2e-3")):
        out = tmp_path / str(number)
        assert finetune("sst2", out, "--seeds", 1, "--max-updates", 6, "--learning-rate", rate).code == 0
    outputs = [str(tmp_path / "0"), str(tmp_path / "1" / "seed-1")]
    assert main([*outputs, "--data", str(data), "--output", str(tmp_path / "mean")]) == 0
    shown = capfd.readouterr().out
    assert shown.startswith("accuracy ")
    assert _report(tmp_path / "mean")["averaged"] == ["0/seed-1", "1/seed-1"]
    assert len((tmp_path / "mean" / "predictions" / "SST-2.tsv").read_text().splitlines()) == 8
    assert finetune("cola", tmp_path / "cola", "--seeds", 1, "--max-updates", 1).code == 0
    assert main([*outputs, str(tmp_path / "cola"), "--data", str(data), "--output", str(tmp_path / "mean")]) == 1
    assert "average outputs of one task, data and vocabulary" in capfd.readouterr().err


def test_a_run_and_its_last_checkpoint_are_the_same_start(pretrained: Path) -> None:
    from trainer.starts import find_vocabulary, load_start

    [checkpoint] = (pretrained / "checkpoints").iterdir()
    run, named = load_start(pretrained), load_start(checkpoint)
    assert (run.path, run.fingerprint, run.shape) == (named.path, named.fingerprint, named.shape)
    assert find_vocabulary(run, None).fingerprint == run.vocabulary


def test_a_seed_that_was_stopped_begins_again_and_ends_as_if_undisturbed(
    finetune: Callable[..., Done], tmp_path: Path
) -> None:
    assert finetune("cola", tmp_path / "calm", "--seeds", 1).code == 0
    log = tmp_path / "out" / "seed-1" / "log.jsonl"
    terminator = threading.Thread(target=_terminate_after, args=(log, 10))
    terminator.start()
    stopped = finetune("cola", tmp_path / "out", "--seeds", 1)
    terminator.join()
    assert stopped.code == 128 + signal.SIGTERM
    assert "stopped in seed 1; the same command begins that seed again" in stopped.out
    assert finetune("cola", tmp_path / "out", "--seeds", 1).code == 0
    assert _losses(log.parent) == _losses(tmp_path / "calm" / "seed-1")


def _terminate_after(log: Path, n_lines: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if log.exists() and log.read_text().count("\n") >= n_lines:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.005)


def test_weights_and_vocabulary_that_do_not_belong_together_are_refused(
    finetune: Callable[..., Done], pretrained: Path, tmp_path: Path
) -> None:
    other = train_vocabulary(["other words here"] * 2, size=400, min_frequency=2).vocabulary
    (tmp_path / "vocab.json").write_bytes(dump_vocabulary(other))
    done = finetune("cola", tmp_path / "out", "--vocabulary", tmp_path / "vocab.json")
    assert done.code == 1
    assert "was trained with vocabulary" in done.err
    assert "give its own as --vocabulary" in done.err
    shutil.copytree(pretrained, tmp_path / "run")
    [model] = tmp_path.glob("run/checkpoints/*/model.safetensors")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    done = finetune("cola", tmp_path / "out", checkpoint=model.parent)
    assert done.code == 1
    assert "is damaged (model.safetensors is not what was written); give another --checkpoint" in done.err


def test_faults_are_one_line_and_say_what_to_do(
    finetune: Callable[..., Done], data: Path, pretrained: Path, tmp_path: Path
) -> None:
    cases = [
        (finetune("qqp", tmp_path / "a"), 1, "no train split; looked for train.tsv, plain or .gz"),
        (finetune("cola", tmp_path / "b", checkpoint=data), 1, "give one as --checkpoint"),
        (finetune("cola", tmp_path / "c", checkpoint=None), 2, "--checkpoint, or --start-from, is needed"),
        (finetune("cola", tmp_path / "d", "--pairwise"), 2, "--pairwise is for --task qnli"),
        (finetune("cola", tmp_path / "e", "--epochs", 0), 2, "epochs is 0; it must be at least 1"),
        (finetune("cola", tmp_path / "f", "--bach", 1), 2, "there is no flag --bach"),
        (finetune("cola", tmp_path / "g", "--vocabulary", data / "none.json"), 1, "no such vocabulary"),
        (finetune("cola", pretrained), 1, "is not of a finetuning"),
    ]
    for done, code, said in cases:
        assert done.code == code, done
        assert said in done.err
        assert done.err.count("\n") == 1
