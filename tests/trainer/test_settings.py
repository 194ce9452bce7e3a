"""Recipes hold the paper's numbers; a wrong one is refused in one line that names the nearest right one."""

import dataclasses
from pathlib import Path

import pytest

from trainer.command_line import OneLineParser, add_setting_flags, parse_flags
from trainer.settings import Settings, accumulation_steps, load_settings, make_settings, training_fields


def test_the_paper_s_recipes_are_those_of_table_9() -> None:
    base, large = load_settings("roberta-base", {}), load_settings("roberta-large", {})
    assert (base.layers, base.hidden, base.heads, base.feed_forward) == (12, 768, 12, 3072)
    assert (large.layers, large.hidden, large.heads, large.feed_forward) == (24, 1024, 16, 4096)
    assert (base.peak_learning_rate, base.warmup_updates) == (6e-4, 24_000)
    assert (large.peak_learning_rate, large.warmup_updates) == (4e-4, 30_000)
    for recipe in (base, large):
        assert (recipe.batch_sequences, recipe.updates, recipe.block_tokens) == (8192, 500_000, 512)
        assert (recipe.adam_beta1, recipe.adam_beta2, recipe.adam_epsilon) == (0.9, 0.98, 1e-6)
        assert (recipe.weight_decay, recipe.clip_norm, recipe.dropout, recipe.attention_dropout) == (
            0.01,
            0.0,
            0.1,
            0.1,
        )
    assert training_fields(Settings()) == training_fields(base)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("roberta-bse", "there is no recipe 'roberta-bse'; did you mean 'roberta-base'?"),
        ("nowhere.toml", "no recipe at nowhere.toml"),
    ],
)
def test_an_unknown_recipe_is_refused(recipe: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load_settings(recipe, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiden = 3", "there is no field 'hiden'; did you mean 'hidden'?"),
        ("hidden = 1.5", "hidden is 1.5; it must be of type int"),
        ("layers = true", "layers is True; it must be of type int"),
        ("hidden = 100\nheads = 3", "hidden 100 is not a multiple of heads 3"),
        ("updates = 10\nwarmup_updates = 10", "warmup_updates 10 must be below updates 10"),
        ("dropout = 1.0", "dropout is 1.0; it must be at least 0 and below 1"),
        ("batch_sequences = 0", "batch_sequences is 0; it must be at least 1"),
        ('device = "tpu"', "device is 'tpu'; known: auto, cpu, cuda"),
        ('input_format = "pairs"', "input_format is 'pairs'; known: full-sentences"),
        ("hidden = ", "own.toml: Invalid value"),
    ],
)
def test_a_wrong_field_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load_settings(str(path), {})


def test_whole_numbers_stand_for_real_ones() -> None:
    assert make_settings({"clip_norm": 1}, where="here").clip_norm == 1.0


def test_a_batch_that_cannot_be_divided_is_explained_with_the_nearest_that_can() -> None:
    settings = Settings(batch_sequences=100, micro_batch=8)
    assert accumulation_steps(dataclasses.replace(settings, batch_sequences=96), n_ranks=3) == 4
    with pytest.raises(
        ValueError, match=r"among 3 ranks in micro-batches of 8; nearest that can: batch_sequences 96 or 120$"
    ):
        accumulation_steps(settings, n_ranks=3)
    with pytest.raises(ValueError, match=r"nearest that can: batch_sequences 96 or 112, or micro_batch 5$"):
        accumulation_steps(settings, n_ranks=2)
    with pytest.raises(ValueError, match=r"nearest that can: batch_sequences 128$"):
        accumulation_steps(settings, n_ranks=16)


def test_an_unknown_flag_is_refused_in_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser("pretrain.py", allow_abbrev=False)
    add_setting_flags(parser)
    with pytest.raises(SystemExit, match="2"):
        parse_flags(parser, ["--max-update", "3"])
    expected = "pretrain.py: there is no flag --max-update; did you mean '--max-updates'? (see --help)\n"
    assert capsys.readouterr().err == expected
