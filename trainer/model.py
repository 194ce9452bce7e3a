"""RoBERTa (section 3): a BERT encoder with post-layer-norm and a masked-language-model head.

In: token ids, which of them are padding, and which are to be predicted. Out: logits at the predicted tokens only,
which is six sevenths of the vocabulary projection saved. The rule: weights, and so logits, are those of the published
model: learned positions from 2 on, no segment embeddings, exact GELU, the projection tied to the token embeddings.

Only where settings ask for it there is more: for pair formats BERT's next-sentence head on `<s>`, an embedding for each
of the two segments, and attention that stays within a document.

Axes: B sequences, T tokens (Q where they look at T others), D hidden, H heads, E = D / H, V vocabulary, N predicted
tokens, C whether a second segment does not follow, or does.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.attention import Visible, attend, find_visible, project
from trainer.packing import PAD
from trainer.randomness import Purpose, derive_seed
from trainer.settings import Settings

NORM_EPSILON = 1e-5
INIT_STD = 0.02
N_SEGMENTS = 2


class Shape(NamedTuple):
    """Sizes of a model."""

    vocabulary_size: int
    max_tokens: int = 512
    layers: int = 12
    hidden: int = 768
    heads: int = 12
    feed_forward: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    segment_embeddings: bool = False
    next_sentence: bool = False  # whether there is a head for pairs


def shape_of(settings: Settings, *, vocabulary_size: int) -> Shape:
    """The shape that settings ask for."""
    return Shape(
        vocabulary_size=vocabulary_size,
        max_tokens=settings.block_tokens,
        layers=settings.layers,
        hidden=settings.hidden,
        heads=settings.heads,
        feed_forward=settings.feed_forward,
        dropout=settings.dropout,
        attention_dropout=settings.attention_dropout,
        segment_embeddings=settings.segment_embeddings,
        next_sentence=settings.is_pair,
    )


def make_model(settings: Settings, *, vocabulary_size: int) -> "MaskedLanguageModel":
    """The model, its weights drawn on the processor so that they are the same on every device."""
    model = MaskedLanguageModel(shape_of(settings, vocabulary_size=vocabulary_size))
    seed = derive_seed(seed=settings.seed, purpose=Purpose.WEIGHTS, place=(0, 0, 0))
    init_weights(model, torch.Generator().manual_seed(seed))
    return model


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = shape.attention_dropout
        self.query_key_value = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.output = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, hidden_BTD: Tensor, visible: Visible | None) -> Tensor:
        """Each token's view of the visible ones; `None` is all of them."""
        dropout = self.dropout if self.training else 0.0
        mixed_BTD = attend(self.query_key_value(hidden_BTD), visible, heads=self.heads, dropout=dropout)
        output_BTD: Tensor = self.output(mixed_BTD)
        return output_BTD


class Layer(nn.Module):
    """Attention, then feed-forward; each is added to its input and then normalised."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.attention_norm = nn.LayerNorm(shape.hidden, eps=NORM_EPSILON)
        self.inner = nn.Linear(shape.hidden, shape.feed_forward)
        self.outer = nn.Linear(shape.feed_forward, shape.hidden)
        self.output_norm = nn.LayerNorm(shape.hidden, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, hidden_BTD: Tensor, visible: Visible | None) -> Tensor:
        hidden_BTD = self.attention_norm(hidden_BTD + self.dropout(self.attention(hidden_BTD, visible)))
        fed_BTD = self.outer(functional.gelu(self.inner(hidden_BTD)))
        output_BTD: Tensor = self.output_norm(hidden_BTD + self.dropout(fed_BTD))
        return output_BTD


class Encoder(nn.Module):
    """Embeddings and layers: what finetuning keeps."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary_size, shape.hidden, padding_idx=PAD)
        # fairseq counts positions from padding_idx + 1, so 512 tokens need 514 rows.
        self.positions = nn.Embedding(shape.max_tokens + PAD + 1, shape.hidden, padding_idx=PAD)
        self.segments = nn.Embedding(N_SEGMENTS, shape.hidden) if shape.segment_embeddings else None
        self.norm = nn.LayerNorm(shape.hidden, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(shape.dropout)
        self.head_size = shape.hidden // shape.heads
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(
        self,
        ids_BT: Tensor,
        attention_BT: Tensor | None,
        segments_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of the last layer; `attention_BT` is False on padding, None where there is none.

        Without `segments_BT` all is segment 0. With `documents_BT` a token sees its own document only.
        """
        positions_T = torch.arange(PAD + 1, PAD + 1 + ids_BT.shape[1], device=ids_BT.device)
        positions_BT = positions_T if attention_BT is None else torch.where(attention_BT, positions_T, PAD)
        embedded_BTD = self.tokens(ids_BT) + self.positions(positions_BT)
        if self.segments is not None:
            embedded_BTD = embedded_BTD + self.segments(
                torch.zeros_like(ids_BT) if segments_BT is None else segments_BT
            )
        hidden_BTD: Tensor = self.dropout(self.norm(embedded_BTD))
        visible = find_visible(attention_BT, documents_BT, head_size=self.head_size)
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD, visible)
        return hidden_BTD


class Predictions(NamedTuple):
    """What a forward pass says of a batch, as logits."""

    tokens_NV: Tensor  # of the chosen tokens
    follows_BC: Tensor | None  # of pairs


class MaskedLanguageModel(nn.Module):
    """The encoder, the head that predicts masked tokens, and for pairs the one that tells what follows what."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.head_dense = nn.Linear(shape.hidden, shape.hidden)
        self.head_norm = nn.LayerNorm(shape.hidden, eps=NORM_EPSILON)
        self.head_bias = nn.Parameter(torch.zeros(shape.vocabulary_size))

        # BERT's pooler and next-sentence classifier.
        self.pair_dense = nn.Linear(shape.hidden, shape.hidden) if shape.next_sentence else None
        self.pair_output = nn.Linear(shape.hidden, 2) if shape.next_sentence else None

    def forward(
        self,
        ids_BT: Tensor,
        attention_BT: Tensor | None,
        chosen_N: Tensor,
        segments_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> Predictions:
        """Logits at the chosen places of the flattened batch, and of the pairs where the model is for pairs."""
        hidden_BTD = self.encoder(ids_BT, attention_BT, segments_BT, documents_BT)
        hidden_ND = hidden_BTD.flatten(0, 1).index_select(0, chosen_N)
        hidden_ND = self.head_norm(functional.gelu(self.head_dense(hidden_ND)))
        tokens_NV = project(hidden_ND, self.encoder.tokens.weight, self.head_bias)
        if self.pair_dense is None or self.pair_output is None:
            return Predictions(tokens_NV, None)
        return Predictions(tokens_NV, self.pair_output(torch.tanh(self.pair_dense(hidden_BTD[:, 0]))))


@torch.no_grad()
def init_weights(model: nn.Module, generator: torch.Generator) -> None:
    """normal(0, 0.02) for every weight, zero for biases and for the padding's rows."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.normal_(0.0, INIT_STD, generator=generator)
        if isinstance(module, nn.Linear):
            module.bias.zero_()
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()


def count_parameters(model: nn.Module) -> int:
    """Numbers that are trained, the tied projection counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def flop_per_token(shape: Shape, *, block_tokens: int, mask_fraction: float) -> float:
    """Floating-point operations of one token's training, forward and backward, without recomputation.

    6 per weight of the matrix products in the layers, 12 L D T for attention's scores and sums, and 6 per weight of
    the head for the share of tokens that pass it.
    """
    d = shape.hidden
    per_layer = 4 * d * d + 2 * d * shape.feed_forward
    head = d * d + shape.vocabulary_size * d
    attention = 12 * shape.layers * d * block_tokens
    return 6.0 * shape.layers * per_layer + attention + 6.0 * mask_fraction * head
