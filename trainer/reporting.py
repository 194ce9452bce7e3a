"""What a run tells: a progress line for whoever watches, log.jsonl for whoever plots, a summary at the end.

In: what each update did. Out: lines. The rule: only rank 0 speaks, and log.jsonl holds each update once, also after
any number of resumptions.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from trainer.hardware import UNKNOWN, Efficiency
from trainer.plan import SampleId
from trainer.progress import ProgressLine
from trainer.run_folder import LOG, read_log
from trainer.shares import DIGEST_BITS
from trainer.tally import Corpus
from trainer.trackers import Tracker

_MAX_EXPONENT = 700.0  # e^700 still is a float


class NextSentence(NamedTuple):
    """How well an update told whether second segments follow."""

    loss: float  # nats
    accuracy: float  # share of the pairs


class UpdateReport(NamedTuple):
    """What there is to tell of an update."""

    update: int
    loss: float  # nats, of predicted tokens; that of pairs is apart
    gradient_norm: float
    learning_rate: float
    n_tokens: int  # of the global batch, padding not counted
    n_masked: int
    n_sequences: int
    n_documents: int  # pieces of documents in its blocks
    tokens_by_corpus: tuple[int, ...]
    next_sentence: NextSentence | None  # of pair formats
    seconds: float
    place: SampleId  # its first sample
    digest: int  # of its global batch
    applied: bool
    loss_scale: float | None = None  # in float16
    rescaled: bool = False  # skipped because the scale was too high, and it is lowered now


class HeldOutLoss(NamedTuple):
    """What there is to tell of a measurement on held-out sequences."""

    loss: float  # nats, mean over the predicted tokens of all corpora; NaN where there are none
    next_sentence: float | None  # share of the pairs told right; None where the format has none
    by_corpus: tuple[float, ...]  # the loss corpus by corpus; NaN where one has nothing held out


def perplexity(loss: float) -> float:
    """e to the loss."""
    return math.exp(min(loss, _MAX_EXPONENT))


class RunLog:
    """log.jsonl and the progress line of a run; silent on ranks that do not speak."""

    def __init__(
        self,
        folder: Path,
        line: ProgressLine,
        *,
        speaks: bool,
        n_updates: int,
        block_tokens: int,
        corpora: Sequence[Corpus],
        efficiency: Efficiency = UNKNOWN,
        tracker: Tracker | None = None,
    ) -> None:
        self._path = folder / LOG if speaks else None
        self._stream: TextIO | None = None
        self._line = line
        self._n_updates = n_updates
        self._block_tokens = block_tokens
        self._names = [corpus.name for corpus in corpora]
        self._efficiency = efficiency
        self._tracker = tracker

    def __enter__(self) -> Self:
        if self._path is not None:
            self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._tracker is not None:
            self._tracker.close()

    def start(self, held_out: HeldOutLoss) -> None:
        """The loss on the held-out split before the first update: what all that follows is compared with."""
        self._write(update=0, **self._held_out_entry(held_out))
        self._line.say(f"before training: {self._describe_held_out(held_out)}")

    def update(
        self, report: UpdateReport, *, held_out: HeldOutLoss | None = None, begun: Mapping[str, int] | None = None
    ) -> None:
        """One update: one line of the log, with the loss on the held-out split where it was measured after it.

        `begun` says what an epoch reads whose first sample was in it.
        """
        pairs = report.next_sentence
        speed = report.n_tokens / max(report.seconds, 1e-9)
        mfu = self._efficiency.mfu(speed)
        self._write(
            update=report.update,
            loss=_finite(report.loss),
            perplexity=_finite(perplexity(report.loss)),
            lr=report.learning_rate,
            tokens_per_s=round(speed, 1),
            **({} if mfu is None else {"mfu": round(mfu, 4)}),
            gradient_norm=_finite(report.gradient_norm),
            tokens=report.n_tokens,
            masked=report.n_masked,
            sequences=report.n_sequences,
            documents=report.n_documents,
            fill=round(report.n_tokens / (max(1, report.n_sequences) * self._block_tokens), 4),
            place=list(report.place),
            batch=f"{report.digest:0{DIGEST_BITS // 4}x}",
            **({} if report.loss_scale is None else {"loss_scale": report.loss_scale}),
            **({} if report.applied else {"skipped": True}),
            **({} if pairs is None else _pairs_entry(pairs)),
            **self._by_name("tokens_by_corpus", report.tokens_by_corpus),
            **(begun or {}),
            **({} if held_out is None else self._held_out_entry(held_out)),
        )
        if not report.applied:
            why = f"; the loss scale {report.loss_scale:g} is halved" if report.rescaled else ""
            self._line.say(f"update {report.update}: loss {report.loss}, gradient {report.gradient_norm}; skipped{why}")
        self._line.show(
            f"update {report.update}/{self._n_updates}  loss {report.loss:.4f}  perplexity "
            f"{perplexity(report.loss):,.1f}{'' if pairs is None else f'  next sentence {pairs.loss:.4f}'}  "
            f"lr {report.learning_rate:.2e}  {speed:,.0f} tokens/s"
            f"{'' if mfu is None else f'  MFU {mfu:.1%}'}",
            always=report.update in (1, self._n_updates),
        )
        if held_out is not None:
            self._line.say(f"update {report.update}: {self._describe_held_out(held_out)}")

    def _by_name(self, key: str, by_corpus: Sequence[float | None]) -> dict[str, dict[str, float | None]]:
        """An entry of the log with a number for each corpus; {} where there is only one."""
        return {key: dict(zip(self._names, by_corpus, strict=True))} if len(self._names) > 1 else {}

    def _held_out_entry(self, held_out: HeldOutLoss) -> dict[str, object]:
        accuracy = held_out.next_sentence
        return {
            "held_out_loss": _finite(held_out.loss),
            "held_out_perplexity": _finite(perplexity(held_out.loss)),
            **({} if accuracy is None else {"held_out_next_sentence_accuracy": _finite(accuracy)}),
            **self._by_name("held_out_by_corpus", [_finite(perplexity(loss)) for loss in held_out.by_corpus]),
        }

    def _describe_held_out(self, held_out: HeldOutLoss) -> str:
        shown = f"held-out loss {held_out.loss:.4f}, perplexity {perplexity(held_out.loss):,.1f}"
        if len(self._names) > 1:
            by_corpus = zip(self._names, held_out.by_corpus, strict=True)
            shown += (
                f" ({', '.join(f'{name} {perplexity(loss):,.1f}' for name, loss in by_corpus if not math.isnan(loss))})"
            )
        return shown if held_out.next_sentence is None else f"{shown}, next sentence {held_out.next_sentence:.1%} right"

    def _write(self, **entry: object) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()
        if self._tracker is not None:
            self._tracker.update(entry)


def summarise_losses(folder: Path) -> str:
    """First and last loss of the log, resumptions included."""
    losses = [entry["loss"] for entry in read_log(folder) if isinstance(entry.get("loss"), float)]
    return f"loss {losses[0]:.4f} -> {losses[-1]:.4f}" if losses else "no loss yet"


def _finite(number: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return number if math.isfinite(number) else None


def _pairs_entry(pairs: NextSentence) -> dict[str, float | None]:
    return {"next_sentence_loss": _finite(pairs.loss), "next_sentence_accuracy": _finite(pairs.accuracy)}
