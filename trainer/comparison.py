"""What runs came to, side by side: each run's log in, a table and a chart out.

In: folders of runs of `pretrain.py`. Out: table.json, table.md and curves.svg in the comparison's folder. The rule:
every figure is read from what the runs wrote, so it is the same after any number of resumptions; a perplexity counts as
reached at the first measurement that is at or below it, nothing is read between two.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from trainer.checkpoints import MODEL, list_checkpoints
from trainer.comparison_chart import Curve, draw_chart
from trainer.run_folder import CHECKPOINTS, RunError, read_description, read_log, replace_file

FORMAT = "shardmill-comparison-1"
TABLE_JSON, TABLE_MD, CHART = "table.json", "table.md", "curves.svg"
_NONE = "-"


class Measurement(NamedTuple):
    """Held-out perplexity at one point of a run."""

    update: int
    tokens: int  # read until then, padding not counted
    seconds: float  # spent on updates until then, measurements and checkpoints not counted
    perplexity: float  # of masked tokens


class Reached(NamedTuple):
    """When a run first measured some perplexity or less."""

    tokens: int
    seconds: float


class RunResult(NamedTuple):
    """One run: a line of the table and a curve of the chart."""

    name: str  # of the recipe, with the seed where there are several
    input_format: str
    seed: int
    parameters: int  # numbers that are trained; 0 where no checkpoint was written
    updates: int
    tokens: int
    seconds: float  # spent on updates
    curve: tuple[Measurement, ...]  # the first is of the untrained model

    @property
    def tokens_per_s(self) -> float:
        """Tokens read in a second of training."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def reached(self, share: float) -> Reached | None:
        """When perplexity first was this share of the untrained model's; None where it never was."""
        for measured in self.curve:
            if measured.perplexity <= share * self.curve[0].perplexity:
                return Reached(measured.tokens, measured.seconds)
        return None


def read_result(folder: Path, *, name: str) -> RunResult:
    """What the run in this folder came to so far; RunError where it never measured held-out perplexity."""
    description = read_description(folder)
    if description is None:
        raise RunError(f"{folder} holds no run")
    curve: list[Measurement] = []
    update, tokens, seconds = 0, 0, 0.0
    for entry in read_log(folder):
        update = int(_number(entry.get("update")))
        read, speed = int(_number(entry.get("tokens"))), _number(entry.get("tokens_per_s"))
        tokens += read
        seconds += read / speed if speed else 0.0
        perplexity = entry.get("held_out_perplexity")
        if isinstance(perplexity, float):
            curve.append(Measurement(update, tokens, seconds, perplexity))
    if not curve or curve[0].update:
        raise RunError(f"{folder}: held-out perplexity was not measured from the start; name another --output")
    return RunResult(
        name=name,
        input_format=description.settings.input_format,
        seed=description.settings.seed,
        parameters=_count_parameters(folder),
        updates=update,
        tokens=tokens,
        seconds=seconds,
        curve=tuple(curve),
    )


def write_comparison(folder: Path, results: Sequence[RunResult]) -> None:
    """Writes the table twice, for programs and for people, and the chart."""
    plain = {"format": FORMAT, "runs": [_plain(result) for result in results]}
    replace_file(folder / TABLE_JSON, (json.dumps(plain, indent=1) + "\n").encode())
    replace_file(folder / TABLE_MD, write_markdown(results).encode())
    curves = [Curve(result.name, tuple((float(at.tokens), at.perplexity) for at in result.curve)) for result in results]
    chart = draw_chart(
        curves,
        title="Held-out perplexity",
        x_label="tokens read, padding not counted",
        y_label="perplexity of masked tokens (log scale)",
    )
    replace_file(folder / CHART, chart.encode())


def write_markdown(results: Sequence[RunResult]) -> str:
    """The table for people: a Markdown table with aligned columns, and what its figures mean."""
    rows = [_HEAD, *map(_cells, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["| " + " | ".join(_align(row, widths)) + " |" for row in rows]
    rule = (f"{'-' * width}{'-' if column < _N_TEXT else ':'}" for column, width in enumerate(widths))
    lines.insert(1, "|" + "|".join(f"-{part}" for part in rule) + "|")
    return "\n".join(lines) + f"\n\n{_NOTE}\n"


_N_TEXT = 2  # columns of text; the others hold figures
_HEAD = (
    *("recipe", "format", "parameters", "updates", "tokens", "start", "end"),
    *("tokens to 1/2", "s to 1/2", "tokens to 1/4", "s to 1/4", "tokens/s"),
)
_NOTE = (
    "start, end: perplexity of masked tokens of the held-out split, in the run's own input format, before the first\n"
    "update and after the last. to 1/2, to 1/4: tokens and seconds of training until it was first measured to be half\n"
    "or a quarter of the start; - where it never was. Tokens do not count padding, seconds do not count measurements."
)


def _cells(result: RunResult) -> tuple[str, ...]:
    half, quarter = result.reached(1 / 2), result.reached(1 / 4)
    return (
        result.name,
        result.input_format,
        f"{result.parameters:,}",
        f"{result.updates:,}",
        f"{result.tokens:,}",
        f"{result.curve[0].perplexity:,.1f}",
        f"{result.curve[-1].perplexity:,.1f}",
        *(cell for when in (half, quarter) for cell in _when(when)),
        f"{result.tokens_per_s:,.0f}",
    )


def _when(reached: Reached | None) -> Iterator[str]:
    yield f"{reached.tokens:,}" if reached else _NONE
    yield f"{reached.seconds:,.1f}" if reached else _NONE


def _align(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if column < _N_TEXT else cell.rjust(width)


def _plain(result: RunResult) -> dict[str, object]:
    shares = {"half": result.reached(1 / 2), "quarter": result.reached(1 / 4)}
    return {
        "recipe": result.name,
        "input_format": result.input_format,
        "seed": result.seed,
        "parameters": result.parameters,
        "updates": result.updates,
        "tokens": result.tokens,
        "seconds": round(result.seconds, 3),
        "tokens_per_s": round(result.tokens_per_s, 1),
        "start_perplexity": result.curve[0].perplexity,
        "end_perplexity": result.curve[-1].perplexity,
        "to": {name: reached and reached._asdict() for name, reached in shares.items()},
        "curve": [measured._asdict() for measured in result.curve],
    }


def _count_parameters(folder: Path) -> int:
    """From the header of the last checkpoint's weights, where each tensor, the tied one too, is once."""
    found = list_checkpoints(folder / CHECKPOINTS)
    if not found:
        return 0
    total = 0
    with safe_open(found[-1] / MODEL, framework="numpy") as weights:
        for key in weights.keys():  # noqa: SIM118 (it is no mapping)
            size = 1
            for length in weights.get_slice(key).get_shape():
                size *= length
            total += size
    return total


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
