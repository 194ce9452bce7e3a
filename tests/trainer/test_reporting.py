"""The log is JSON whatever the numbers are, and the progress line does not flood what is no terminal."""

import io
import json
import math
from pathlib import Path

import pytest

from trainer.plan import SampleId
from trainer.progress import ProgressLine
from trainer.reporting import HeldOutLoss, NextSentence, RunLog, UpdateReport, summarise_losses
from trainer.run_folder import RunError, first_sample_of, read_log, truncate_log
from trainer.tally import Corpus

REPORT = UpdateReport(
    update=1,
    loss=2.0,
    gradient_norm=0.5,
    learning_rate=1e-3,
    n_tokens=1000,
    n_masked=150,
    n_sequences=8,
    n_documents=12,
    tokens_by_corpus=(1000,),
    next_sentence=None,
    seconds=0.5,
    place=SampleId(0, 1, 2),
    digest=0xABC,
    applied=True,
)
ONE = (Corpus("news", 1.0),)
TWO = (Corpus("news", 0.75), Corpus("books", 0.25))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _write(
    folder: Path,
    reports: list[UpdateReport],
    *,
    corpora: tuple[Corpus, ...] = ONE,
    held_out: HeldOutLoss | None = None,
) -> str:
    stream = io.StringIO()
    line = ProgressLine(speaks=True, every_s=0, stream=stream)
    with RunLog(folder, line, speaks=True, n_updates=9, block_tokens=128, corpora=corpora) as log:
        for report in reports:
            log.update(report, held_out=held_out)
    return stream.getvalue()


def test_a_line_of_the_log_holds_what_plots_need(tmp_path: Path) -> None:
    said = _write(tmp_path, [REPORT])
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "update": 1,
        "loss": 2.0,
        "perplexity": math.exp(2.0),
        "lr": 1e-3,
        "tokens_per_s": 2000.0,
        "gradient_norm": 0.5,
        "tokens": 1000,
        "masked": 150,
        "sequences": 8,
        "documents": 12,
        "fill": 0.9766,
        "place": [0, 1, 2],
        "batch": "000000000abc",
    }
    assert said == "update 1/9  loss 2.0000  perplexity 7.4  lr 1.00e-03  2,000 tokens/s\n"


def test_pairs_and_several_corpora_add_their_own_numbers(tmp_path: Path) -> None:
    report = REPORT._replace(next_sentence=NextSentence(0.625, 0.75), tokens_by_corpus=(700, 300))
    held_out = HeldOutLoss(1.5, 0.875, (1.25, math.nan))
    said = _write(tmp_path, [report], corpora=TWO, held_out=held_out)
    (entry,) = read_log(tmp_path)
    expected = {
        "loss": 2.0,
        "next_sentence_loss": 0.625,
        "next_sentence_accuracy": 0.75,
        "tokens_by_corpus": {"news": 700, "books": 300},
        "held_out_loss": 1.5,
        "held_out_perplexity": math.exp(1.5),
        "held_out_next_sentence_accuracy": 0.875,
        "held_out_by_corpus": {"news": math.exp(1.25), "books": None},
    }
    assert expected.items() <= entry.items()
    assert "perplexity 7.4  next sentence 0.6250  lr" in said
    assert "update 1: held-out loss 1.5000, perplexity 4.5 (news 3.5), next sentence 87.5% right\n" in said


def test_a_loss_that_is_no_number_is_null_and_the_update_marked_as_skipped(tmp_path: Path) -> None:
    said = _write(tmp_path, [REPORT, REPORT._replace(update=2, loss=math.nan, gradient_norm=math.inf, applied=False)])
    entry = list(read_log(tmp_path))[1]
    assert (entry["loss"], entry["perplexity"], entry["gradient_norm"], entry["skipped"]) == (None, None, None, True)
    assert "update 2: loss nan, gradient inf; skipped" in said
    assert summarise_losses(tmp_path) == "loss 2.0000 -> 2.0000"


def test_truncating_the_log_takes_later_updates_and_a_torn_last_line(tmp_path: Path) -> None:
    _write(tmp_path, [REPORT._replace(update=update) for update in (1, 2, 3)])
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"update": 4, "lo')
    truncate_log(tmp_path, 2)
    assert [entry["update"] for entry in read_log(tmp_path)] == [1, 2]
    assert first_sample_of(tmp_path, 7) == (2, SampleId(0, 1, 2))


def test_a_run_that_begins_again_measures_the_untrained_model_again_and_one_that_goes_on_keeps_it(
    tmp_path: Path,
) -> None:
    line = ProgressLine(speaks=True, every_s=0, stream=io.StringIO())
    with RunLog(tmp_path, line, speaks=True, n_updates=9, block_tokens=128, corpora=ONE) as log:
        log.start(HeldOutLoss(3.0, None, (3.0,)))
        log.update(REPORT)
    truncate_log(tmp_path, 1)
    assert [(entry["update"], entry.get("held_out_loss")) for entry in read_log(tmp_path)] == [(0, 3.0), (1, None)]
    assert first_sample_of(tmp_path, 7) == (1, SampleId(0, 1, 2))
    truncate_log(tmp_path, 0)
    assert not list(read_log(tmp_path))


def test_a_log_that_is_damaged_in_the_middle_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"update": 1}\nnonsense\n{"update": 3}\n')
    with pytest.raises(RunError, match=r"log\.jsonl:2: not JSON"):
        list(read_log(tmp_path))


def test_only_ranks_that_speak_write(tmp_path: Path) -> None:
    stream = io.StringIO()
    line = ProgressLine(speaks=False, every_s=0, stream=stream)
    with RunLog(tmp_path, line, speaks=False, n_updates=9, block_tokens=128, corpora=ONE) as log:
        log.update(REPORT)
    line.say("hello")
    assert stream.getvalue() == ""
    assert not list(tmp_path.iterdir())


def test_a_terminal_shows_one_line_in_place_and_anything_else_one_line_now_and_then() -> None:
    terminal, plain = Terminal(), io.StringIO()
    for stream in (terminal, plain):
        line = ProgressLine(speaks=True, every_s=1000, stream=stream)
        for text in ("first", "2", "third"):
            line.show(text)
        line.say("done")
    assert terminal.getvalue() == "\rfirst\r2    \rthird\ndone\n"
    assert plain.getvalue() == "first\ndone\n"
