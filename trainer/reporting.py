"""What a run tells: a progress line for whoever watches, log.jsonl for whoever plots, a summary at the end.

In: what each update did. Out: lines. The rule: only rank 0 speaks, and log.jsonl holds each update once, also after
any number of resumptions.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from trainer.plan import SampleId
from trainer.progress import ProgressLine
from trainer.run_folder import LOG, read_log
from trainer.shares import DIGEST_BITS

_MAX_EXPONENT = 700.0  # e^700 still is a float


class UpdateReport(NamedTuple):
    """What there is to tell of an update."""

    update: int
    loss: float  # nats
    gradient_norm: float
    learning_rate: float
    n_tokens: int  # of the global batch, padding not counted
    n_masked: int
    seconds: float
    place: SampleId  # its first sample
    digest: int  # of its global batch
    applied: bool


def perplexity(loss: float) -> float:
    """e to the loss."""
    return math.exp(min(loss, _MAX_EXPONENT))


class RunLog:
    """log.jsonl and the progress line of a run; silent on ranks that do not speak."""

    def __init__(self, folder: Path, line: ProgressLine, *, speaks: bool, n_updates: int) -> None:
        self._path = folder / LOG if speaks else None
        self._stream: TextIO | None = None
        self._line = line
        self._n_updates = n_updates

    def __enter__(self) -> Self:
        if self._path is not None:
            self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def start(self, held_out: float) -> None:
        """The loss on the held-out split before the first update: what all that follows is compared with."""
        self._write(update=0, **_held_out_entry(held_out))
        self._line.say(f"before training: held-out loss {held_out:.4f}, perplexity {perplexity(held_out):,.1f}")

    def update(self, report: UpdateReport, *, held_out: float | None = None) -> None:
        """One update: one line of the log, with the loss on the held-out split where it was measured after it."""
        speed = report.n_tokens / max(report.seconds, 1e-9)
        self._write(
            update=report.update,
            loss=_finite(report.loss),
            perplexity=_finite(perplexity(report.loss)),
            lr=report.learning_rate,
            tokens_per_s=round(speed, 1),
            gradient_norm=_finite(report.gradient_norm),
            tokens=report.n_tokens,
            masked=report.n_masked,
            place=list(report.place),
            batch=f"{report.digest:0{DIGEST_BITS // 4}x}",
            **({} if report.applied else {"skipped": True}),
            **({} if held_out is None else _held_out_entry(held_out)),
        )
        if not report.applied:
            self._line.say(f"update {report.update}: loss {report.loss}, gradient {report.gradient_norm}; skipped")
        self._line.show(
            f"update {report.update}/{self._n_updates}  loss {report.loss:.4f}  perplexity "
            f"{perplexity(report.loss):,.1f}  lr {report.learning_rate:.2e}  {speed:,.0f} tokens/s",
            always=report.update in (1, self._n_updates),
        )
        if held_out is not None:
            shown = f"held-out loss {held_out:.4f}, perplexity {perplexity(held_out):,.1f}"
            self._line.say(f"update {report.update}: {shown}")

    def _write(self, **entry: object) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()


def summarise_losses(folder: Path) -> str:
    """First and last loss of the log, resumptions included."""
    losses = [entry["loss"] for entry in read_log(folder) if isinstance(entry.get("loss"), float)]
    return f"loss {losses[0]:.4f} -> {losses[-1]:.4f}" if losses else "no loss yet"


def _finite(number: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return number if math.isfinite(number) else None


def _held_out_entry(loss: float) -> dict[str, float | None]:
    return {"held_out_loss": _finite(loss), "held_out_perplexity": _finite(perplexity(loss))}
