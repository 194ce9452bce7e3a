"""A set of recipes is trained, table and chart follow from the logs, and a killed comparison goes on where it was."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.comparison import Measurement, RunResult, read_result
from trainer.comparison_chart import MAX_TICKS, Curve, draw_chart, linear_ticks, logarithmic_ticks, make_scale
from trainer.run_folder import RunError

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
MICRO = """
layers = 1
hidden = 32
heads = 2
feed_forward = 64
block_tokens = 32
batch_sequences = 8
micro_batch = 8
updates = 40
warmup_updates = 3
peak_learning_rate = 1e-2
evaluate_every = 10
evaluation_sequences = 32
checkpoint_every = 5
device = "cpu"
"""
TWO = {
    "deep": MICRO.replace("layers = 1", "layers = 2"),
    "doc": 'base = "shallow.toml"\ninput_format = "doc-sentences"\nbatch_tokens = 256',
    "shallow": MICRO,
}
Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three recipes that train in a second."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in TWO.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


@pytest.fixture
def compare(recipes: Path, small_data: Path, capfd: pytest.CaptureFixture[str]) -> Compare:
    """The command in this process: exit code, stdout, stderr."""
    return lambda *arguments: _run(capfd, recipes, small_data, *arguments)


def _run(
    capfd: pytest.CaptureFixture[str], recipes: Path, data: Path, output: Path, *arguments: object
) -> tuple[int, str, str]:
    from trainer.compare import main

    given = [str(argument) for argument in arguments]
    if "--recipes" not in given:
        given += ["--recipes", str(recipes)]
    if "--data" not in given:
        given += ["--data", str(data)]
    try:
        code = main(["--output", str(output), *given])
    except SystemExit as exit_:
        code = int(str(exit_.code))
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def finished(recipes: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that nothing disturbed."""
    from trainer.compare import main

    output = tmp_path_factory.mktemp("finished") / "comparison"
    assert main(["--recipes", str(recipes), "--data", str(small_data), "--output", str(output)]) == 0
    return output


def _table(folder: Path) -> list[dict[str, Any]]:
    plain = json.loads((folder / "table.json").read_text())
    assert plain["format"] == "shardmill-comparison-1"
    return list(plain["runs"])


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_every_recipe_of_a_folder_has_a_run_a_line_and_a_curve(finished: Path) -> None:
    rows = _table(finished)
    assert [row["recipe"] for row in rows] == ["deep", "doc", "shallow"]
    assert [row["input_format"] for row in rows] == ["full-sentences", "doc-sentences", "full-sentences"]
    assert rows[0]["parameters"] > rows[1]["parameters"] == rows[2]["parameters"] > 500 * 32
    for row in rows:
        log = _log(finished / row["recipe"])
        assert row["updates"] == 40
        assert row["tokens"] == sum(entry.get("tokens", 0) for entry in log)
        assert [at["update"] for at in row["curve"]] == [0, 10, 20, 30, 40]
        assert row["start_perplexity"] == log[0]["held_out_perplexity"] == pytest.approx(500, rel=0.1)
        assert row["end_perplexity"] == log[-1]["held_out_perplexity"] < 0.9 * row["start_perplexity"]
    drawn = ElementTree.fromstring((finished / "curves.svg").read_text())
    texts = [element.text for element in drawn.iter(f"{SVG}text")]
    assert {"deep", "doc", "shallow"} <= set(texts)
    shown = (finished / "table.md").read_text()
    assert re.search(r"^\| recipe +\| format +\| +parameters \|", shown, re.M)
    assert len({len(line) for line in shown.splitlines() if line.startswith("|")}) == 1


def test_a_finished_comparison_is_shown_again_and_nothing_is_trained(finished: Path, compare: Compare) -> None:
    logs = {path: path.read_bytes() for path in finished.glob("*/log.jsonl")}
    files = [(finished / name).read_bytes() for name in ("table.json", "table.md", "curves.svg")]
    code, out, err = compare(finished)
    assert (code, err) == (0, "")
    assert out.count("finished before") == len(logs) == 3
    assert (finished / "table.md").read_text() in out
    assert {path: path.read_bytes() for path in logs} == logs
    assert [(finished / name).read_bytes() for name in ("table.json", "table.md", "curves.svg")] == files


def test_killed_in_its_second_run_it_goes_on_there_and_comes_to_the_same_numbers(
    finished: Path, recipes: Path, small_data: Path, tmp_path: Path, compare: Compare
) -> None:
    output = tmp_path / "comparison"
    shutil.copytree(finished / "deep", output / "deep")
    before = (output / "deep" / "log.jsonl").read_bytes()
    command = [sys.executable, "-m", "trainer.compare", "--recipes", recipes, "--data", small_data, "--output", output]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(output / "doc" / "checkpoints", "update-*", process)
    finally:
        process.kill()
        process.wait()
    code, out, err = compare(output)
    assert (code, err) == (0, "")
    assert "run 1 of 3: deep: finished before" in out
    assert "resuming after update" in out
    assert (output / "deep" / "log.jsonl").read_bytes() == before
    for here, there in zip(_table(output), _table(finished), strict=True):
        perplexities = [[(at["update"], at["tokens"]) for at in row["curve"]] for row in (here, there)]
        assert perplexities[0] == perplexities[1]
        assert here["end_perplexity"] == pytest.approx(there["end_perplexity"])


def _wait_for(folder: Path, pattern: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if any(folder.glob(pattern)):
            return
        time.sleep(0.01)
    raise AssertionError(f"there is no {pattern} in {folder}; the command ended with {process.poll()}")


def test_stopped_by_sigterm_it_says_so_and_exits_with_the_signal_s_number(tmp_path: Path, compare: Compare) -> None:
    output = tmp_path / "comparison"

    def terminate() -> None:
        while not (output / "deep" / "log.jsonl").exists() or len(_lines(output / "deep")) < 5:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    code, _, err = compare(output)
    thread.join()
    assert code == 128 + signal.SIGTERM
    assert err == "compare: deep was stopped; the same command goes on from there\n"


def _lines(folder: Path) -> list[str]:
    return (folder / "log.jsonl").read_text().splitlines()


def test_each_seed_is_a_run_of_its_own_and_flags_hold_for_all_of_them(
    recipes: Path, tmp_path: Path, compare: Compare
) -> None:
    own = recipes / "shallow.toml"
    code, _, err = compare(
        tmp_path, "--recipes", own, "--seeds", 1, 2, "--max-updates", 4, "--evaluate-every", 2, "--fairseq-compat"
    )
    assert (code, err) == (0, "")
    assert [(row["recipe"], row["seed"], row["updates"]) for row in _table(tmp_path)] == [
        ("shallow seed 1", 1, 4),
        ("shallow seed 2", 2, 4),
    ]
    described = [json.loads((tmp_path / f"shallow-seed-{n}" / "settings.json").read_text()) for n in (1, 2)]
    assert [plain["settings"]["seed"] for plain in described] == [1, 2]
    assert all(plain["settings"]["fairseq_compat"] for plain in described)
    starts = [row["start_perplexity"] for row in _table(tmp_path)]
    assert starts[0] != starts[1]


def test_several_ranks_train_together(recipes: Path, tmp_path: Path, compare: Compare) -> None:
    flags = ("--recipes", recipes / "shallow.toml", "--n-ranks", 2, "--micro-batch", 4, "--max-updates", 2)
    code, out, _ = compare(tmp_path, *flags)
    assert code == 0
    assert "2 rank(s)" in out
    assert [row["updates"] for row in _table(tmp_path)] == [2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--recipes", "table2/tny"), 2, "no folder of recipes 'table2/tny'; did you mean 'table2/tiny'?"),
        (("--recipes", "roberta-bse"), 2, "did you mean 'roberta-base'?"),
        (("--recipes", "tiny", "tiny"), 2, "tiny is asked for twice"),
        (("--recipes", "tiny", "--evaluate-every", 0), 2, "tiny: evaluate_every is 0"),
        (("--recipes", "tiny", "--micro-batch", 5), 2, "nearest that can"),
        (("--recipes", "tiny", "--seed", 1, "--seeds", 1, 2), 2, "--seed and --seeds exclude each other"),
        (("--recipes", "tiny", "--n-ranks", 0), 2, "--n-ranks is 0; it must be at least 1"),
        (("--recipes", "tiny", "--max-update", 3), 2, "there is no flag --max-update; did you mean '--max-updates'?"),
        (("--data", "nowhere"), 1, "no manifest, so there is no finished run here"),
        (("--hidden", 64), 1, "holds a run with hidden 32 (now 64)"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_anything_is_trained(
    finished: Path, tmp_path: Path, compare: Compare, arguments: tuple[object, ...], code: int, message: str
) -> None:
    output = finished if "--hidden" in arguments else tmp_path / "comparison"
    done, out, err = compare(output, *arguments)
    assert (done, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "comparison").exists()


def test_shards_without_a_held_out_split_are_refused(
    random_shards: ModuleType, tmp_path: Path, compare: Compare
) -> None:
    shape = random_shards.Shape(n_tokens=500, n_shards=1, vocabulary_size=500, sentence_tokens=9.0)
    data = random_shards.make_run(tmp_path / "data", shape)
    code, _, err = compare(tmp_path / "comparison", "--data", data)
    assert code == 1
    assert "no held-out split to compare on" in err


def test_two_comparisons_do_not_write_into_one_folder(tmp_path: Path, compare: Compare) -> None:
    from trainer.compare import claim_output

    with claim_output(tmp_path / "comparison"):
        code, out, err = compare(tmp_path / "comparison")
    assert (code, out) == (1, "")
    assert "another comparison writes here" in err


def test_a_run_that_was_not_measured_from_the_start_is_not_compared(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "deep", tmp_path / "deep")
    (tmp_path / "deep" / "log.jsonl").write_text("\n".join(_lines(finished / "deep")[1:]) + "\n")
    with pytest.raises(RunError, match="was not measured from the start"):
        read_result(tmp_path / "deep", name="deep")


def test_a_perplexity_is_reached_at_the_first_measurement_at_or_below_it() -> None:
    curve = tuple(Measurement(n, 10 * n, n / 2, value) for n, value in enumerate((400.0, 300.0, 200.0, 90.0, 120.0)))
    result = RunResult("a", "full-sentences", 0, 1, 4, 40, 2.0, curve)
    assert result.reached(1 / 2) == (20, 1.0)
    assert result.reached(1 / 4) == (30, 1.5)
    assert result.reached(1 / 8) is None
    assert result.tokens_per_s == 20.0


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.builds(
            Curve,
            st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12),
            st.lists(
                st.tuples(st.floats(), st.floats() | st.floats(1, 1e5)),
                max_size=6,
            ).map(lambda points: tuple(sorted(points, key=lambda point: point[0]))),
        ),
        max_size=12,
    )
)
def test_whatever_the_curves_are_the_chart_is_well_formed_and_nothing_lies_outside_it(curves: list[Curve]) -> None:
    drawn = ElementTree.fromstring(draw_chart(curves, title="<&>", x_label="x", y_label="y"))
    width, height = float(drawn.get("width", "")), float(drawn.get("height", ""))
    for path in drawn.iter(f"{SVG}path"):
        for x, y in re.findall(r"[ML]([\d.e+-]+) ([\d.e+-]+)", path.get("d", "")):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
    texts = [(element.text, element.get("x"), element.get("y")) for element in drawn.iter(f"{SVG}text")]
    assert len(set(texts)) == len(texts)


@settings(deadline=None)
@given(st.floats(1e-3, 1e12), st.floats(1.2, 1e6))
def test_ticks_are_few_lie_within_and_are_told_apart(low: float, ratio: float) -> None:
    high = low * ratio
    for first, found in (
        (low, logarithmic_ticks(low, high)),
        (low, linear_ticks(low, high)),
        (0, linear_ticks(0, high)),
    ):
        assert 3 <= len(set(found)) == len(found) <= MAX_TICKS + 1
        assert all(first * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in found)


def test_an_axis_holds_every_point_with_room_around() -> None:
    scale = make_scale([Curve("a", ((0.0, 4000.0), (100.0, 50.0)))])
    assert scale.y_low < 50 < 4000 < scale.y_high
    assert scale.y(4000) < scale.y(math.sqrt(4000 * 50)) < scale.y(50)
    assert scale.y(math.sqrt(4000 * 50)) == pytest.approx((scale.y(4000) + scale.y(50)) / 2)
