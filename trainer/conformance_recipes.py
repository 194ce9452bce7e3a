"""Rules of recipes: the numbers of Tables 1 to 3 and 9 for pretraining, and of Table 10 for the tasks of finetuning."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.conformance_rules import Inputs, Outcome, Rule, judge, unchecked
from trainer.packing import BOS, EOS
from trainer.settings import load_settings

_BASE = {"layers": 12, "hidden": 768, "heads": 12, "feed_forward": 3072}
_LARGE = {"layers": 24, "hidden": 1024, "heads": 16, "feed_forward": 4096}
_TABLE_9 = {
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "batch_sequences": 8192,
    "updates": 500_000,
    "adam_beta1": 0.9,
    "adam_beta2": 0.98,
    "adam_epsilon": 1e-6,
    "weight_decay": 0.01,
    "clip_norm": 0.0,
    "block_tokens": 512,
    "input_format": "full-sentences",
}
_SMALL_BATCH = {**_BASE, "batch_sequences": 256, "updates": 1_000_000, "peak_learning_rate": 1e-4}
_WARM = {"warmup_updates": 10_000}
_RECIPES: dict[str, Mapping[str, object]] = {
    "roberta-base": {**_TABLE_9, **_BASE, "peak_learning_rate": 6e-4, "warmup_updates": 24_000},
    "roberta-large": {**_TABLE_9, **_LARGE, "peak_learning_rate": 4e-4, "warmup_updates": 30_000},
    "table3/256": {**_SMALL_BATCH, **_WARM},
    "table3/2k": {**_BASE, "batch_sequences": 2048, "updates": 125_000, "peak_learning_rate": 7e-4},
    "table3/8k": {**_BASE, "batch_sequences": 8192, "updates": 31_000, "peak_learning_rate": 1e-3},
    "table1/dynamic": {**_SMALL_BATCH, **_WARM, "mask_patterns": 0},
    "table1/static": {**_SMALL_BATCH, **_WARM, "mask_patterns": 10},
    "table2/full-sentences": {**_SMALL_BATCH, **_WARM, "input_format": "full-sentences"},
    "table2/doc-sentences": {**_SMALL_BATCH, **_WARM, "input_format": "doc-sentences", "batch_tokens": 256 * 512},
    "table2/segment-pair": {**_SMALL_BATCH, **_WARM, "input_format": "segment-pair"},
    "table2/sentence-pair": {**_SMALL_BATCH, **_WARM, "input_format": "sentence-pair", "batch_tokens": 256 * 512},
}
_GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
_SQUAD = ("squad1", "squad2")
Allowed = Mapping[str, tuple[float, ...]]
# What a task may be finetuned with by Table 10, each field among these values.
_GLUE_ALLOWED: Allowed = {
    "learning_rate": (1e-5, 2e-5, 3e-5),
    "batch": (16, 32),
    "epochs": (10,),
    "weight_decay": (0.1,),
}
_SQUAD_ALLOWED: Allowed = {"learning_rate": (1.5e-5,), "batch": (48,), "epochs": (2,), "weight_decay": (0.01,)}
_RACE_ALLOWED: Allowed = {"learning_rate": (1e-5,), "batch": (16,), "epochs": (4,), "weight_decay": (0.1,)}
_WARMUP_SHARE = 0.06


def _check_recipe(name: str) -> Callable[[Inputs], Outcome]:
    def check(_: Inputs) -> Outcome:
        try:
            found = dataclasses.asdict(load_settings(name, {}))
        except ValueError as error:
            if "there is no recipe" not in str(error):
                return judge(False, str(error))
            return unchecked(f"there is no recipe {name}")
        wanted = dict(_RECIPES[name])
        if found.get("batch_tokens") and wanted.get("batch_tokens") == found["batch_tokens"]:
            wanted.pop("batch_sequences", None)  # which a budget of tokens replaces
        wrong = {field: found.get(field) for field, value in wanted.items() if found.get(field) != value}
        return judge(not wrong, f"{wrong}" if wrong else f"{len(wanted)} numbers")

    return check


def _check_tasks(names: tuple[str, ...], table: Allowed) -> Callable[[Inputs], Outcome]:
    def check(_: Inputs) -> Outcome:
        tasks = _find_module("trainer.tasks")
        if tasks is None:
            return unchecked("this version does not finetune")
        wrong: list[str] = []
        for name in names:
            try:
                defaults = tasks.find_task(name).defaults
            except ValueError as error:
                return unchecked(str(error))
            allowed = {**table, "warmup_share": (_WARMUP_SHARE,)}
            found = {field: getattr(defaults, field, None) for field in allowed}
            wrong += [f"{name} {field} {found[field]}" for field in allowed if found[field] not in allowed[field]]
        return judge(not wrong, "; ".join(wrong) if wrong else ", ".join(names))

    return check


def _check_pair_input(_: Inputs) -> Outcome:
    inputs = _find_module("trainer.inputs")
    if inputs is None:
        return unchecked("this version does not finetune")
    first, second = np.array([7, 8], np.uint16), np.array([9], np.uint16)
    pair = inputs.join_ids([first, second], max_tokens=512).ids.tolist()
    single = inputs.join_ids([first], max_tokens=512).ids.tolist()
    return judge(pair == [BOS, 7, 8, EOS, EOS, 9, EOS] and single == [BOS, 7, 8, EOS], f"{pair}")


def _find_module(name: str) -> Any:
    """A module, or None where this version does not have it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def _table_of(recipe: str) -> str:
    return f"Table {recipe[5]}" if recipe.startswith("table") else "Table 9"


PRETRAINING = tuple(
    Rule(f"recipe-{name.replace('/', '-')}", f"recipe {name}", _table_of(name), _check_recipe(name))
    for name in _RECIPES
)
FINETUNING = (
    Rule("pair-input", "pairs are <s> A </s></s> B </s>", "fairseq", _check_pair_input),
    Rule(
        "glue",
        "GLUE: 1 to 3e-5, batch 16 or 32, 10 epochs, decay 0.1, 6 % warm-up",
        "Table 10",
        _check_tasks(_GLUE, _GLUE_ALLOWED),
    ),
    Rule("squad", "SQuAD: 1.5e-5, batch 48, 2 epochs, decay 0.01", "Table 10", _check_tasks(_SQUAD, _SQUAD_ALLOWED)),
    Rule("race", "RACE: 1e-5, batch 16, 4 epochs, decay 0.1", "Table 10", _check_tasks(("race",), _RACE_ALLOWED)),
)
