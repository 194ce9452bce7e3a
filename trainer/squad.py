"""SQuAD 1.1 and 2.0: a span of the passage as the answer, or in 2.0 none (sections 3 and 5.2 of the paper).

In: the published files (trainer.squad_files). Out: exact match and F1, and predictions as the official script reads
them. The rule: what a window is (trainer.squad_windows), what is chosen of its scores (trainer.squad_answers) and how
that is measured (trainer.squad_metrics) are BERT's and SQuAD's own; here is what the model adds.

In every window each token is scored as the first and as the last of the answer; where the window does not hold it,
`<s>` is to be both. The loss is the mean of the two cross-entropies. For 2.0 a classifier on `<s>` says whether the
window lacks an answer, and its loss is added.

Axes: R rows, T tokens, D hidden. A feature is one row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bpe.encoding import Encoder
from trainer.heads import SentenceHead
from trainer.model import Shape
from trainer.squad_answers import (
    ANSWER_METRICS,
    NO_ANSWER_METRICS,
    measure_answers,
    measure_answers_or_none,
    predict_answers,
    write_answers,
)
from trainer.squad_files import FORMS, Question, ReadFile, find_squad_files, read_squad_file
from trainer.squad_windows import encode_questions
from trainer.tasks import Batch, Defaults, Features, Outputs, Scores, Split, Splits

N_SHOWN = 3  # misplaced answers that a note spells out


class SpanHead(nn.Module):
    """Scores of each token as the first and as the last of the answer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dropout = nn.Dropout(shape.dropout)
        self.projection = nn.Linear(shape.hidden, 2)

    def forward(self, hidden_RTD: Tensor, attention_RT: Tensor | None) -> Outputs:
        """Log-probabilities over a row's tokens [R, T, 2], -inf on padding."""
        scores = self.projection(self.dropout(hidden_RTD)).float()
        if attention_RT is not None:
            scores = scores.masked_fill(~attention_RT[:, :, None], -torch.inf)
        return (functional.log_softmax(scores, dim=1),)


class SpanOrNoneHead(SpanHead):
    """The same, and a classifier on `<s>` of whether there is no answer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.no_answer = SentenceHead(shape, n_outputs=1)

    def forward(self, hidden_RTD: Tensor, attention_RT: Tensor | None) -> Outputs:
        """Log-probabilities [R, T, 2], and log-odds of no answer [R, 1]."""
        return (*super().forward(hidden_RTD, attention_RT), *self.no_answer(hidden_RTD, attention_RT))


@dataclass(frozen=True)
class SpanTask:
    """SQuAD 1.1: each question has an answer in its passage."""

    name: str

    @property
    def metric_names(self) -> tuple[str, ...]:
        return ANSWER_METRICS

    @property
    def chosen_metric(self) -> str:
        return "f1"

    @property
    def defaults(self) -> Defaults:
        """Two epochs are too few to end early in."""
        return Defaults(learning_rate=1.5e-5, batch=48, epochs=2, weight_decay=0.01, patience=0)

    def read(self, folder: Path) -> Splits[Question]:
        """Train and dev, both of one file where that is all there is."""
        found = find_squad_files(folder, self.name)
        train = read_squad_file(found.train, self.name, training=True)
        dev = read_squad_file(found.dev, self.name, training=False)
        return Splits(_make_split("train", train, found.notice), (_make_split("dev", dev, found.notice),))

    def encode(self, split: Split[Question], encoder: Encoder, *, max_tokens: int, training: bool) -> list[Features]:
        """A feature per window; for training without the questions whose answer fits into none."""
        return list(encode_questions(split.examples, encoder, max_tokens=max_tokens, training=training))

    def make_head(self, shape: Shape) -> nn.Module:
        return SpanHead(shape)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean of the cross-entropies of first and last token, in nats, summed over windows."""
        return functional.nll_loss(outputs[0], batch.targets, reduction="sum") / 2

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """A window's log-probabilities as first, then as last token: [2 n_tokens]."""
        spans = outputs[0].cpu().numpy()
        counts = [spans.shape[1]] * len(spans) if batch.attention is None else batch.attention.sum(1).tolist()
        return [row[:count].T.reshape(-1) for row, count in zip(spans, counts, strict=True)]

    def metrics(
        self, split: Split[Question], features: Sequence[Features], scores: Sequence[Scores]
    ) -> dict[str, float]:
        """Those of the official script of 1.1."""
        return measure_answers(split.examples, predict_answers(split.examples, features, scores))

    def write_predictions(
        self, folder: Path, split: Split[Question], features: Sequence[Features], scores: Sequence[Scores]
    ) -> list[Path]:
        """What the official script reads, and the best spans of each question."""
        predictions = predict_answers(split.examples, features, scores)
        return write_answers(folder, split.examples, predictions, may_lack_answer=FORMS[self.name].impossible)


class SpanOrNoneTask(SpanTask):
    """SQuAD 2.0: a passage may lack the answer."""

    @property
    def metric_names(self) -> tuple[str, ...]:
        return (*ANSWER_METRICS, *NO_ANSWER_METRICS)

    def make_head(self, shape: Shape) -> nn.Module:
        return SpanOrNoneHead(shape)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The same, and the cross-entropy of the classifier."""
        lacks_R = (batch.targets[:, 0] == 0).float()
        classified = functional.binary_cross_entropy_with_logits(outputs[1][:, 0], lacks_R, reduction="sum")
        return super().loss(outputs, batch) + classified

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """The same, and the log-odds of no answer: [2 n_tokens + 1]."""
        log_odds = outputs[1].cpu().numpy()
        return [np.concatenate(pair) for pair in zip(super().scores(outputs, batch), log_odds, strict=True)]

    def metrics(
        self, split: Split[Question], features: Sequence[Features], scores: Sequence[Scores]
    ) -> dict[str, float]:
        """Those of the official script of 2.0."""
        return measure_answers_or_none(split.examples, predict_answers(split.examples, features, scores))


def make_task(name: str) -> SpanTask:
    """The task of this name."""
    return SpanOrNoneTask(name) if FORMS[name].impossible else SpanTask(name)


def _make_split(name: str, file: ReadFile, notice: str) -> Split[Question]:
    """A split, and in its note what a reader of the results must know."""
    notes = [notice] if notice else []
    if file.misplaced:
        shown = "; ".join(file.misplaced[:N_SHOWN])
        notes.append(f"{len(file.misplaced)} answers are not trained on, their text still counts as right: {shown}")
    return Split(name, file.questions, file.broken, note=". ".join(notes))
