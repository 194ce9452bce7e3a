"""QNLI as ranking: the sentences of one question are compared with each other (section 5.1, test results).

In: QNLI's files. Out: features of a question's sentences, a row each. The rule: where a question has several
sentences, the one with the highest score answers it and the others do not, so examples of a test split are not judged
each on its own. That is how leaders of the benchmark are measured, not how the task is defined: dev results of this
task and of plain qnli are not comparable.

Half of the questions have one sentence only, which is judged on its own: the loss is the ranking of a pair plus
whether each row answers its question.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bpe.encoding import Encoder
from trainer import metrics
from trainer.glue import FILES, Example, read_glue, server_name, write_server_file
from trainer.heads import SentenceHead
from trainer.inputs import join_texts
from trainer.model import Shape
from trainer.tasks import Batch, Defaults, Features, Outputs, Scores, Split, Splits

_NOBODY = -1  # in place of a second row's class


class PairwiseTask:
    """QNLI by pairs."""

    name = "qnli-pairwise"
    metric_names = ("accuracy",)
    chosen_metric = "accuracy"
    defaults = Defaults(learning_rate=1e-5, batch=32, epochs=10)

    def read(self, folder: Path) -> Splits[Example]:
        return read_glue("qnli", folder)

    def encode(self, split: Split[Example], encoder: Encoder, *, max_tokens: int, training: bool) -> list[Features]:
        """For training each pair of an answer and a sentence that is none; else all sentences of a question."""
        joined = [join_texts(encoder, example.texts, max_tokens=max_tokens) for example in split.examples]
        groups = group_by_question(split.examples)
        chosen = [pair for group in groups for pair in pairs_of(group, split.examples)] if training else groups
        features = []
        for numbers in chosen:
            classes = [int(split.examples[number].label or 0) for number in numbers[:2]]
            targets = np.array([*classes, _NOBODY][:2], np.int64)
            n_cut = sum(joined[number].n_cut for number in numbers)
            features.append(Features(tuple(joined[number].ids for number in numbers), targets, numbers, n_cut))
        return features

    def make_head(self, shape: Shape) -> nn.Module:
        return SentenceHead(shape, n_outputs=1)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        scores_R = outputs[0][:, 0]
        targets_BC = batch.targets.to(scores_R.dtype)
        targets_R = targets_BC[targets_BC != _NOBODY]  # features' rows are in order, first before second
        judged = functional.binary_cross_entropy_with_logits(scores_R, targets_R, reduction="none")
        n_rows_B = torch.bincount(batch.owners, minlength=batch.n_features)
        signs_R = 2 * targets_R - 1
        ahead_B = torch.zeros(batch.n_features, device=scores_R.device).index_add(0, batch.owners, signs_R * scores_R)
        ranked_B = functional.softplus(-ahead_B)
        return (judged / n_rows_B[batch.owners]).sum() + ranked_B[n_rows_B == 2].sum()

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """The probability of each row, on its own, that it answers its question."""
        values = outputs[0][:, 0].sigmoid().cpu()
        return [values[(batch.owners == number).cpu()].numpy() for number in range(batch.n_features)]

    def metrics(
        self, split: Split[Example], features: Sequence[Features], scores: Sequence[Scores]
    ) -> dict[str, float]:
        right = np.array([int(example.label or 0) for example in split.examples])
        return {"accuracy": metrics.accuracy(_predict(len(split.examples), features, scores), right)}

    def write_predictions(
        self, folder: Path, split: Split[Example], features: Sequence[Features], scores: Sequence[Scores]
    ) -> list[Path]:
        labels = FILES["qnli"].labels
        predicted = _predict(len(split.examples), features, scores).tolist()
        said = [(example.key, labels[number]) for example, number in zip(split.examples, predicted, strict=True)]
        return [write_server_file(folder / server_name("qnli", split.name), said)]


def make_task(_name: str) -> PairwiseTask:
    """The task."""
    return PairwiseTask()


def group_by_question(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """Numbers of examples that have one question, in the order of their first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        groups[example.texts[0]].append(number)
    return [tuple(numbers) for numbers in groups.values()]


def pairs_of(group: tuple[int, ...], examples: Sequence[Example]) -> Iterator[tuple[int, ...]]:
    """Each answer with each other sentence of its question; sentences alone where there is no such pair."""
    answers = [number for number in group if examples[number].label]
    others = [number for number in group if not examples[number].label]
    if answers and others:
        yield from ((answer, other) for answer in answers for other in others)
    else:
        yield from ((number,) for number in group)


def _predict(n_examples: int, features: Sequence[Features], scores: Sequence[Scores]) -> metrics.Classes:
    predicted = np.zeros(n_examples, np.int64)
    for feature, values in zip(features, scores, strict=True):
        answers = values >= 0.5 if len(values) == 1 else np.arange(len(values)) == int(values.argmax())
        predicted[list(feature.examples)] = answers
    return predicted
