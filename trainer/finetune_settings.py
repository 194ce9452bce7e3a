"""What a finetuning is made of, in one frozen dataclass: a task's defaults, and flags in their place.

In: the task's `Defaults` and the values given on the command line. Out: `FinetuneSettings`, checked once. The rule: a
field is either *training*, and then an output of another value of it may not be added to, or it changes no result.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from trainer.settings import Settings
from trainer.tasks import Defaults

Value = int | float | str
_AUTO = {"device": ("auto", "cpu", "cuda"), "precision": ("auto", "float32", "bfloat16")}


def _training(default: Value, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "training": True})


def _running(default: Value, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "training": False})


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSettings:
    """Settings of all seeds of one output; those without a default here have the task's."""

    learning_rate: float = dataclasses.field(metadata={"help": "highest learning rate", "training": True})
    batch: int = dataclasses.field(metadata={"help": "examples per update, over all ranks", "training": True})
    epochs: int = dataclasses.field(metadata={"help": "times that training data are gone through", "training": True})
    weight_decay: float = dataclasses.field(metadata={"help": "decoupled weight decay", "training": True})
    warmup_share: float = dataclasses.field(
        metadata={"help": "share of the updates over which the learning rate rises to its peak", "training": True}
    )
    patience: int = dataclasses.field(
        metadata={"help": "measurements without a better one that end a seed; 0: never", "training": True}
    )
    max_updates: int = _training(0, "updates of the whole schedule, where epochs make more; 0: as epochs make")
    evaluate_every: int = _training(0, "updates between two measurements on dev; 0: an epoch")
    max_tokens: int = _training(512, "longest row in tokens, <s> and </s> included; the model's positions bound it")
    clip_norm: float = _training(0.0, "largest norm of the gradient; 0 does not clip")
    seeds: int = _running(5, "seeds 1 to N are finetuned, the median is reported")
    micro_batch: int = _running(0, "examples per forward pass and rank; 0: all that the rank has of a batch")
    device: str = _running("auto", "where to compute: auto, cpu or cuda")
    precision: str = _running("auto", "of matrix products: auto, float32 or bfloat16")
    log_every: int = _running(10, "seconds between two progress lines where there is no terminal")

    def __post_init__(self) -> None:
        for name, floor in _FLOORS.items():
            if not getattr(self, name) >= floor:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {floor}")
        if not self.warmup_share < 1:
            raise ValueError(f"warmup_share is {self.warmup_share}; it must be below 1")
        for name, known in _AUTO.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; known: {', '.join(known)}")


_FLOORS = {
    "learning_rate": 0,
    "batch": 1,
    "epochs": 1,
    "weight_decay": 0,
    "warmup_share": 0,
    "patience": 0,
    "max_updates": 0,
    "evaluate_every": 0,
    "max_tokens": 8,
    "clip_norm": 0,
    "seeds": 1,
    "micro_batch": 0,
    "log_every": 0,
}


def settings_of_task(defaults: Defaults, given: Mapping[str, Value]) -> FinetuneSettings:
    """The task's settings with those given in their place; ValueError says what is wrong."""
    known: dict[str, Any] = {**dataclasses.asdict(defaults), **given}
    return FinetuneSettings(**known)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field; one that is not given leaves the task's value."""
    types = get_type_hints(FinetuneSettings)
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(FinetuneSettings):
        default = "the task's, by Table 10" if field.default is dataclasses.MISSING else field.default
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            type=types[field.name],
            default=argparse.SUPPRESS,
            choices=_AUTO.get(field.name),
            metavar=None if field.name in _AUTO else {int: "N", float: "X"}[types[field.name]],
            help=f"{field.metadata['help']} (default: {default})".replace("%", "%%"),
        )


def given_flags(namespace: argparse.Namespace) -> dict[str, Value]:
    """The values of those flags that were given."""
    names = {field.name for field in dataclasses.fields(FinetuneSettings)}
    return {name: value for name, value in vars(namespace).items() if name in names}


def training_fields(settings: FinetuneSettings) -> dict[str, Value]:
    """The fields that results depend on."""
    plain = dataclasses.asdict(settings)
    return {field.name: plain[field.name] for field in dataclasses.fields(settings) if field.metadata["training"]}


def schedule_of(settings: FinetuneSettings, *, n_examples: int) -> Settings:
    """The course of learning rate and Adam over this many examples: 6 % warm-up, then down in a line to 0."""
    updates = updates_per_epoch(settings, n_examples=n_examples) * settings.epochs
    updates = min(updates, settings.max_updates or updates)
    return Settings(
        updates=updates,
        warmup_updates=min(int(settings.warmup_share * updates), updates - 1),
        peak_learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
    )


def updates_per_epoch(settings: FinetuneSettings, *, n_examples: int) -> int:
    """Batches of an epoch; the last may be short."""
    return -(-n_examples // settings.batch)
