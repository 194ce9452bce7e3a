"""All that a run is made of, in one frozen dataclass: recipes set its fields, and so do flags.

In: the name of a recipe (a TOML file in `trainer/recipes`, or a path) and the fields given on the command line; a
recipe may start from another, `base = "table2/full-sentences"`, and state only what differs. Out: `Settings`, checked
once. The rule: a field is either *training*, and then a run may not be resumed with another value of it, or *running*,
and then it changes no batch, no mask, no schedule.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from trainer.randomness import MAX_SEED

RECIPES = Path(__file__).resolve().parent / "recipes"
FORMATS = ("full-sentences", "doc-sentences", "segment-pair", "sentence-pair")
PAIR_FORMATS = ("segment-pair", "sentence-pair")  # these add the next-sentence loss
MAX_BLOCK_TOKENS = 65_535  # places in a block are uint16
Value = int | float | str | bool


def _training(default: Value, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "training": True})


def _running(default: Value, text: str, *, choices: tuple[str, ...] = ()) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "training": False, "choices": choices})


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A run; the defaults of training fields are RoBERTa base's (Table 9 and appendix A)."""

    # Model
    layers: int = _training(12, "Transformer layers")
    hidden: int = _training(768, "width of the hidden states")
    heads: int = _training(12, "attention heads per layer")
    feed_forward: int = _training(3072, "inner width of the feed-forward layers")
    segment_embeddings: bool = _training(False, "learn an embedding for each of the two segments of a pair")
    dropout: float = _training(0.1, "dropout of hidden states, a probability")
    attention_dropout: float = _training(0.1, "dropout of attention weights, a probability")
    # Data
    input_format: str = _training("full-sentences", f"how sentences become blocks: {', '.join(FORMATS)}")
    block_tokens: int = _training(512, "longest block in tokens, <s> included")
    window_blocks: int = _training(16, "blocks of shards that are shuffled and packed together")
    document_attention: bool = _training(False, "tokens see only their own document in a block")
    mask_fraction: float = _training(0.15, "share of a block's tokens that are predicted")
    mask_kept: float = _training(0.1, "share of the predicted tokens that stay as they are")
    mask_randomised: float = _training(0.1, "share of the predicted tokens that become a random id")
    mask_patterns: int = _training(
        0, "fixed masks of a sequence, one an epoch in turn (static); 0 draws anew (dynamic)"
    )
    mask_whole_words: bool = _training(False, "choose whole words to predict, not single tokens")
    fairseq_compat: bool = _training(False, "do as fairseq does where the defaults deviate")
    seed: int = _training(0, "seed of weights, order, masks and dropout")
    # Optimisation
    batch_sequences: int = _training(8192, "sequences per update, over all ranks")
    batch_tokens: int = _training(0, "tokens per update in place of batch_sequences, for short sequences; 0 for none")
    updates: int = _training(500_000, "updates of the whole schedule, at whose end the learning rate is 0")
    warmup_updates: int = _training(24_000, "updates over which the learning rate rises to its peak")
    peak_learning_rate: float = _training(6e-4, "highest learning rate")
    adam_beta1: float = _training(0.9, "Adam's decay of the first moment")
    adam_beta2: float = _training(0.98, "Adam's decay of the second moment")
    adam_epsilon: float = _training(1e-6, "Adam's epsilon")
    weight_decay: float = _training(0.01, "decoupled weight decay")
    clip_norm: float = _training(0.0, "largest norm of the gradient; 0 does not clip")
    # Running
    micro_batch: int = _running(32, "sequences per forward pass and rank")
    max_updates: int = _running(0, "stop after this update of the schedule; 0 runs the whole of it")
    device: str = _running("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    precision: str = _running(
        "auto",
        "of matrix products; float16 scales the loss, for GPUs without bfloat16",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    sharding: str = _running(
        "ddp",
        "weights and Adam's moments on every rank (ddp), or a part of them on each (fsdp); checkpoints are the same",
        choices=("ddp", "fsdp"),
    )
    compile: bool = _running(False, "compile each layer; faster after the minute or so that it takes")
    evaluate_every: int = _running(5_000, "updates between two measurements of held-out perplexity; 0 for none")
    evaluation_sequences: int = _running(2_048, "held-out sequences to measure on")
    checkpoint_every: int = _running(5_000, "updates between two checkpoints")
    async_checkpoints: bool = _running(
        True, "write checkpoints beside training, from a copy in memory of 12 bytes a parameter"
    )
    keep_checkpoints: int = _running(3, "checkpoints to keep")
    log_every: int = _running(10, "seconds between two progress lines where there is no terminal")
    max_skipped: int = _running(10, "updates in a row that may be skipped because loss or gradient is not finite")
    tracker: str = _running(
        "none", "curves beside log.jsonl, in RUN/tensorboard or RUN/wandb", choices=("none", "tensorboard", "wandb")
    )
    peak_tflops: float = _running(0.0, "what one GPU could do, in TFLOP/s, for MFU; 0 is by the GPU's name")
    profile: int = _running(0, "updates to profile into RUN/profile, after the first three; 0 for none")

    def __post_init__(self) -> None:
        for name, floor in _FLOORS.items():
            if getattr(self, name) < floor:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {floor}")
        for name in ("dropout", "attention_dropout", "adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        if self.warmup_updates >= self.updates:
            raise ValueError(f"warmup_updates {self.warmup_updates} must be below updates {self.updates}")
        if self.seed > MAX_SEED:
            raise ValueError(f"seed {self.seed} is above {MAX_SEED}")
        if self.input_format not in FORMATS:
            raise ValueError(f"input_format is {self.input_format!r}; known: {', '.join(FORMATS)}")
        self._check_format()
        for field in dataclasses.fields(self):
            choices = field.metadata.get("choices")
            if choices and getattr(self, field.name) not in choices:
                raise ValueError(f"{field.name} is {getattr(self, field.name)!r}; known: {', '.join(choices)}")

    def _check_format(self) -> None:
        """ValueError where fields of the data do not go together."""
        if self.block_tokens > MAX_BLOCK_TOKENS:
            raise ValueError(f"block_tokens is {self.block_tokens}; it must be at most {MAX_BLOCK_TOKENS}")
        if self.segment_embeddings and not self.is_pair:
            raise ValueError(f"segment_embeddings need a pair format, and input_format is {self.input_format}")
        if self.document_attention and self.is_pair:
            raise ValueError(f"document_attention is for blocks of several documents, not for {self.input_format}")
        if self.batch_tokens and self.batch_tokens < self.block_tokens:
            raise ValueError(f"batch_tokens {self.batch_tokens} is less than one block of {self.block_tokens} tokens")

    @property
    def is_pair(self) -> bool:
        """Whether sequences are pairs, and the model learns whether the second segment follows the first."""
        return self.input_format in PAIR_FORMATS

    @property
    def last_update(self) -> int:
        """The update after which this command stops."""
        return min(self.updates, self.max_updates or self.updates)


_FLOORS = {
    "layers": 1,
    "hidden": 1,
    "heads": 1,
    "feed_forward": 1,
    "block_tokens": 8,
    "window_blocks": 1,
    "mask_patterns": 0,
    "batch_tokens": 0,
    "seed": 0,
    "batch_sequences": 1,
    "updates": 1,
    "warmup_updates": 0,
    "peak_learning_rate": 0,
    "adam_epsilon": 0,
    "weight_decay": 0,
    "clip_norm": 0,
    "micro_batch": 1,
    "max_updates": 0,
    "evaluate_every": 0,
    "evaluation_sequences": 1,
    "checkpoint_every": 1,
    "keep_checkpoints": 1,
    "log_every": 0,
    "max_skipped": 0,
    "peak_tflops": 0,
    "profile": 0,
}


def load_settings(recipe: str, overrides: Mapping[str, Value]) -> Settings:
    """The settings of a recipe with some fields overridden; ValueError names what is wrong and the nearest name."""
    path = find_recipe(recipe)
    return make_settings({**_read_recipe(path, ()), **overrides}, where=recipe_name(path))


def make_settings(values: Mapping[str, object], *, where: str) -> Settings:
    """Settings of these fields, each of the type that it is declared with."""
    return Settings(**_check_fields(values, where=where))


def _check_fields(values: Mapping[str, object], *, where: str) -> dict[str, Any]:
    """The same fields, whole numbers as real ones where those are declared; ValueError names what is none."""
    types = get_type_hints(Settings)
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"{where}: there is no field {name!r}{nearest(name, types)}")
        if type(value) is not types[name] and not (types[name] is float and type(value) is int):
            raise ValueError(f"{where}: {name} is {value!r}; it must be of type {types[name].__name__}")
    return {name: types[name](value) for name, value in values.items()}


def _read_recipe(path: Path, derived: tuple[Path, ...]) -> dict[str, Any]:
    """The fields of a recipe over those of the one that its `base` names; `derived` are the recipes that led here."""
    where = recipe_name(path)
    if path in derived:
        chain = " -> ".join(map(recipe_name, (*derived[derived.index(path) :], path)))
        raise ValueError(f"{where}: base leads back to where it came from ({chain}); take it out of one of them")
    try:
        fields = tomllib.loads(path.read_bytes().decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: {error}") from error
    base = fields.pop("base", None)
    own = _check_fields(fields, where=where)
    if base is None:
        return own
    if not isinstance(base, str):
        raise ValueError(f"{where}: base is {base!r}; it must be the name of a recipe")
    try:
        # A path is seen from the recipe that names it, so that a folder of recipes may be moved.
        below = find_recipe(str(path.parent / base) if base.endswith(".toml") else base).resolve()
    except ValueError as error:
        raise ValueError(f"{where}: base: {error}") from error
    return {**_read_recipe(below, (*derived, path)), **own}


def known_recipes() -> dict[str, Path]:
    """The recipes that come with the project, by name: `table2/full-sentences`."""
    return {path.relative_to(RECIPES).with_suffix("").as_posix(): path for path in sorted(RECIPES.rglob("*.toml"))}


def recipe_name(path: Path) -> str:
    """What errors call a recipe: its path among the project's own, else its file's name."""
    return path.relative_to(RECIPES).as_posix() if path.is_relative_to(RECIPES) else path.name


def find_recipe(recipe: str) -> Path:
    """The file of a recipe that comes with the project, or the one at this path."""
    if recipe.endswith(".toml"):
        if not Path(recipe).is_file():
            raise ValueError(f"no recipe at {recipe}")
        return Path(recipe).resolve()
    known = known_recipes()
    if recipe not in known:
        raise ValueError(f"there is no recipe {recipe!r}{nearest(recipe, known)}; known: {', '.join(known)}")
    return known[recipe]


def nearest(name: str, known: Mapping[str, object]) -> str:
    """The end of an error about an unknown name: the known one that was probably meant."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def training_fields(settings: Settings) -> dict[str, Value]:
    """The fields that a resumed run must share."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["training"]
    }


def check_batch(settings: Settings, *, n_ranks: int) -> str:
    """ValueError where a global batch cannot be divided among ranks, naming what can; else the division, for people."""
    if settings.batch_tokens:
        fewest = 2 * n_ranks * settings.block_tokens  # two sequences a rank, so that none has fewer micro-batches
        if settings.batch_tokens < fewest or settings.micro_batch < 2:
            raise ValueError(
                f"a batch of {settings.batch_tokens} tokens cannot be divided among {n_ranks} ranks in micro-batches "
                f"of {settings.micro_batch} sequences; batch_tokens must be {fewest} or more, micro_batch 2 or more"
            )
        at_once = settings.micro_batch * settings.block_tokens
        return f"{settings.batch_tokens:,} tokens an update, {n_ranks} rank(s), {at_once:,} tokens at once"
    steps = accumulation_steps(settings, n_ranks=n_ranks)
    return f"{n_ranks} rank(s) x {steps} x {settings.micro_batch} sequences"


def accumulation_steps(settings: Settings, *, n_ranks: int) -> int:
    """Forward passes per update and rank; ValueError names the nearest batch, or micro-batch, that divides."""
    at_once = n_ranks * settings.micro_batch
    steps, rest = divmod(settings.batch_sequences, at_once)
    if steps and not rest:
        return steps
    near = f"{steps * at_once} or {(steps + 1) * at_once}" if steps else f"{at_once}"
    share, uneven = divmod(settings.batch_sequences, n_ranks)
    fitting = [size for size in range(1, settings.micro_batch + 1) if share % size == 0]
    remedy = f", or micro_batch {fitting[-1]}" if share and not uneven else ""
    raise ValueError(
        f"a batch of {settings.batch_sequences} sequences cannot be divided among {n_ranks} ranks in micro-batches of "
        f"{settings.micro_batch}; nearest that can: batch_sequences {near}{remedy}"
    )
