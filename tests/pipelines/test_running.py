"""How a pipeline's command fails: known options pass, mistyped ones are named, causes fit on one line."""

import pytest

from pipelines.running import check_beam_options, innermost_message
from pipelines.settings import Execution


def execution(*options: str, runner: str = "FnApiRunner") -> Execution:
    return Execution(output="/out", runner=runner, beam_options=options)


def test_options_of_beam_pass_through():
    check_beam_options(execution("--direct_runner_bundle_repeat=2", "--environment_type=LOOPBACK"), known=[])


MISTYPED = [("--inptu", "--input"), ("--direct_num_worker=2", "--direct_num_workers")]


@pytest.mark.parametrize(("option", "meant"), MISTYPED)
def test_a_mistyped_option_is_named_with_the_one_meant(option: str, meant: str):
    with pytest.raises(ValueError, match=rf"unknown argument {option.split('=')[0]}; did you mean {meant}\?"):
        check_beam_options(execution(option), known=["--input", "--output"])


def test_files_that_the_shell_has_spread_out_are_explained():
    with pytest.raises(ValueError, match="in quotes"):
        check_beam_options(execution("warcs/b.warc.gz"), known=["--input"])


def test_a_remote_runner_may_know_options_that_we_do_not():
    check_beam_options(execution("--checkpointing_interval=1000", runner="FlinkRunner"), known=[])


def test_the_cause_of_a_failure_is_its_last_named_line():
    wrapped = RuntimeError("Traceback:\n  File \"x.py\", line 1\nOSError: disk full: /out [while running 'Write']\n\n")
    assert innermost_message(wrapped) == "OSError: disk full: /out [while running 'Write']"
    assert innermost_message(KeyError("x")) == "KeyError: 'x'"
