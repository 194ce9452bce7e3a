"""The recipes that come with the project load, hold the published numbers, and say where each number is from."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from trainer.settings import Settings, Value, find_recipe, known_recipes, load_settings, training_fields

TABLES = {
    "table1": ("dynamic", "static"),
    "table2": ("doc-sentences", "full-sentences", "segment-pair", "sentence-pair"),
    "table3": ("256", "2k", "8k"),
}
BASE: dict[str, Value] = {"layers": 12, "hidden": 768, "heads": 12, "feed_forward": 3072}
LARGE: dict[str, Value] = {"layers": 24, "hidden": 1024, "heads": 16, "feed_forward": 4096}
# arXiv 1907.11692: batch, updates, peak learning rate of Tables 3 and 9, of section 2.4 for Tables 1 and 2, updates of
# Table 4; warm-up only where it is published.
PUBLISHED: dict[str, dict[str, Value]] = {
    "roberta-base": BASE | {"batch_sequences": 8192, "updates": 500_000, "peak_learning_rate": 6e-4}
    | {"warmup_updates": 24_000, "adam_beta2": 0.98, "input_format": "full-sentences", "mask_patterns": 0},
    "roberta-large": LARGE | {"batch_sequences": 8192, "updates": 500_000, "peak_learning_rate": 4e-4}
    | {"warmup_updates": 30_000, "adam_beta2": 0.98, "input_format": "full-sentences", "mask_patterns": 0},
    "roberta-large-100k": LARGE | {"batch_sequences": 8192, "updates": 100_000, "peak_learning_rate": 4e-4},
    "roberta-large-300k": LARGE | {"batch_sequences": 8192, "updates": 300_000, "peak_learning_rate": 4e-4},
    **{
        f"{table}/{row}": BASE
        | {"batch_sequences": 256, "updates": 1_000_000, "peak_learning_rate": 1e-4, "warmup_updates": 10_000}
        for table in ("table1", "table2")
        for row in TABLES[table]
    },
    "table3/256": BASE | {"batch_sequences": 256, "updates": 1_000_000, "peak_learning_rate": 1e-4},
    "table3/2k": BASE | {"batch_sequences": 2048, "updates": 125_000, "peak_learning_rate": 7e-4},
    "table3/8k": BASE | {"batch_sequences": 8192, "updates": 31_000, "peak_learning_rate": 1e-3},
}  # fmt: skip
# Of every published recipe.
ALWAYS: dict[str, Value] = {
    "block_tokens": 512, "mask_fraction": 0.15, "mask_kept": 0.1, "mask_randomised": 0.1,
    "dropout": 0.1, "attention_dropout": 0.1, "adam_beta1": 0.9, "adam_epsilon": 1e-6,
    "weight_decay": 0.01, "clip_norm": 0.0, "fairseq_compat": False, "document_attention": False,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recipes of one's own, which start from one another."""
    texts = {
        "first": 'base = "tiny"\nlayers = 3',
        "second": 'base = "first.toml"\nheads = 4',
        "loop-a": 'base = "loop-b.toml"',
        "loop-b": 'base = "loop-a.toml"',
        "itself": 'base = "itself.toml"',
        "wrong-below": 'base = "wrong.toml"',
        "wrong": "hiden = 3",
        "no-name": "base = 3",
        "lost": 'base = "lost-too.toml"',
        "misspelt": 'base = "table2/ful-sentences"',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", sorted(known_recipes()))
def test_every_recipe_loads(name: str) -> None:
    load_settings(name, {})


@pytest.mark.parametrize("name", sorted(known_recipes()))
def test_every_number_of_a_recipe_says_where_it_is_from(name: str) -> None:
    text = find_recipe(name).read_text()
    assert text.startswith("# ")
    if name == "tiny":  # it says once that its numbers are its own
        return
    for line in text.split("# Running")[0].splitlines():
        assert not line.partition("#")[0].strip() or "#" in line or line.startswith("base = "), line


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_recipe_of_the_paper_holds_the_published_numbers(name: str) -> None:
    assert _differing(load_settings(name, {}), ALWAYS | PUBLISHED[name]) == {}


def test_recipes_are_the_published_ones_and_two_sizes_of_each_table_for_trying() -> None:
    rows = {f"{table}/{row}" for table, names in TABLES.items() for row in names}
    tried = {f"{table}/{size}/{row}" for table, names in TABLES.items() for row in names for size in ("tiny", "small")}
    assert set(known_recipes()) == set(PUBLISHED) | rows | tried | {"tiny", "small"}


@pytest.mark.parametrize("size", ["", "tiny/", "small/"])
def test_the_rows_of_a_table_differ_in_what_the_table_is_about_and_in_nothing_else(size: str) -> None:
    about = {
        "table1": {"mask_patterns"},
        "table2": {"input_format", "segment_embeddings", "batch_tokens"},
        "table3": {"batch_sequences", "updates", "warmup_updates", "peak_learning_rate", "adam_beta2"},
    }
    for table, rows in TABLES.items():
        recipes = [training_fields(load_settings(f"{table}/{size}{row}", {})) for row in rows]
        differing = {name for name in recipes[0] if len({fields[name] for fields in recipes}) > 1}
        assert differing == about[table]


@pytest.mark.parametrize("size", ["", "tiny/", "small/"])
def test_each_row_of_table_2_reads_as_many_tokens_an_update_and_pairs_know_their_segments(size: str) -> None:
    recipes = {row: load_settings(f"table2/{size}{row}", {}) for row in TABLES["table2"]}
    whole = recipes["full-sentences"].batch_sequences * recipes["full-sentences"].block_tokens
    for row, settings in recipes.items():
        assert settings.input_format == row
        assert settings.segment_embeddings == settings.is_pair
        assert settings.batch_tokens == (whole if row in ("doc-sentences", "sentence-pair") else 0)


@pytest.mark.parametrize("size", ["", "tiny/", "small/"])
def test_the_rows_of_table_3_read_as_many_sequences_in_all(size: str) -> None:
    recipes = [load_settings(f"table3/{size}{row}", {}) for row in TABLES["table3"]]
    first, *others = [settings.batch_sequences * settings.updates for settings in recipes]
    assert others == pytest.approx([first, first], rel=0.01)  # the paper rounds 31,250 to 31K
    assert [settings.adam_beta2 for settings in recipes] == [0.999, 0.98, 0.98]


@pytest.mark.parametrize("size", ["", "tiny/", "small/"])
def test_static_masks_are_ten_and_dynamic_ones_are_drawn_anew(size: str) -> None:
    patterns = [load_settings(f"table1/{size}{row}", {}).mask_patterns for row in TABLES["table1"]]
    assert patterns == [0, 10]


def test_a_recipe_takes_from_its_base_what_it_does_not_state_and_a_flag_wins_over_both(folder: Path) -> None:
    settings = load_settings(str(folder / "second.toml"), {"hidden": 64})
    assert (settings.layers, settings.heads, settings.hidden, settings.block_tokens) == (3, 4, 64, 128)
    stated = tomllib.loads(find_recipe("table2/doc-sentences").read_text())
    below, above = load_settings(stated.pop("base"), {}), load_settings("table2/doc-sentences", {})
    assert training_fields(above) == training_fields(below) | stated


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("loop-a", "loop-a.toml: base leads back to where it came from (loop-a.toml -> loop-b.toml -> loop-a.toml)"),
        ("itself", "itself.toml: base leads back to where it came from (itself.toml -> itself.toml)"),
        ("wrong-below", "wrong.toml: there is no field 'hiden'; did you mean 'hidden'?"),
        ("no-name", "no-name.toml: base is 3; it must be the name of a recipe"),
        ("lost", "lost.toml: base: no recipe at"),
        ("misspelt", "misspelt.toml: base: there is no recipe 'table2/ful-sentences'; did you mean 'table2/full-"),
    ],
)
def test_a_base_that_cannot_be_is_refused_in_one_line_that_names_the_recipe(
    folder: Path, name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=r"\.toml") as caught:
        load_settings(str(folder / f"{name}.toml"), {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _differing(settings: Settings, expected: Mapping[str, Value]) -> dict[str, tuple[Value, Value]]:
    """Fields that are not as expected, with both values."""
    found = {name: getattr(settings, name) for name in expected}
    return {name: (found[name], value) for name, value in expected.items() if found[name] != value}
