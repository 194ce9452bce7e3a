"""What stands on the encoder in finetuning: a classifier on `<s>`, and losses over its outputs.

In: hidden states of the last layer. Out: numbers per row. The rule: as in the original, the state of `<s>` passes
dropout, a dense layer, tanh, dropout and a projection; the dense layer is new (pretraining has no pooler).

Axes: R rows, T tokens, D hidden, C classes, B features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model import Encoder, Shape
from trainer.packing import EOS
from trainer.tasks import Outputs


class SentenceHead(nn.Module):
    """Scores of a row by the state of its `<s>`: a number per class, or one for regression and ranking."""

    def __init__(self, shape: Shape, *, n_outputs: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(shape.dropout)
        self.dense = nn.Linear(shape.hidden, shape.hidden)
        self.projection = nn.Linear(shape.hidden, n_outputs)

    def forward(self, hidden_RTD: Tensor, _attention_RT: Tensor | None) -> Outputs:
        """One tensor, [R, C]."""
        state_RD = self.dropout(hidden_RTD[:, 0])
        state_RD = self.dropout(torch.tanh(self.dense(state_RD)))
        return (self.projection(state_RD),)


class FinetunedModel(nn.Module):
    """The encoder of a pretrained model and a task's head."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, ids_RT: Tensor, attention_RT: Tensor | None) -> Outputs:
        """The head's outputs, in float32 whatever the matrix products are computed in."""
        segments_RT = None if self.encoder.segments is None else find_segments(ids_RT)
        outputs: Outputs = self.head(self.encoder(ids_RT, attention_RT, segments_RT), attention_RT)
        return tuple(output.float() for output in outputs)


def find_segments(ids_RT: Tensor) -> Tensor:
    """0 for tokens of the first segment, 1 after the first `</s></s>`, int64, as pair formats are pretrained."""
    is_border_RT = (ids_RT[:, 1:] == EOS) & (ids_RT[:, :-1] == EOS)
    seen_RT = torch.cumsum(functional.pad(is_border_RT, (2, 0))[:, :-1], dim=1)  # from the column after the border on
    return (seen_RT > 0).long()


def classification_loss(logits_BC: Tensor, classes_B: Tensor) -> Tensor:
    """Cross-entropy in nats, summed."""
    return functional.cross_entropy(logits_BC, classes_B, reduction="sum")


def regression_loss(values_B: Tensor, targets_B: Tensor) -> Tensor:
    """Squared error, summed."""
    return functional.mse_loss(values_B, targets_B, reduction="sum")


def ranking_loss(scores_R: Tensor, owners_R: Tensor, rights_R: Tensor, *, margin: float) -> Tensor:
    """How far each wrong row is from being `margin` below its feature's right one; means over wrong rows, summed.

    `rights_R` is True at exactly one row of each feature; a feature without a wrong row adds nothing.
    """
    n_features = int(owners_R[-1]) + 1
    right_B = torch.zeros(n_features, device=scores_R.device).index_add(0, owners_R[rights_R], scores_R[rights_R])
    owners_W = owners_R[~rights_R]
    short_W = functional.relu(margin - (right_B[owners_W] - scores_R[~rights_R]))
    n_wrong_B = torch.bincount(owners_W, minlength=n_features).clamp(min=1)
    return (short_W / n_wrong_B[owners_W]).sum()
