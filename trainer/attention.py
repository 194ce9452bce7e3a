"""Attention without padding, as fast on blocks that end in padding as on full ones.

In: queries, keys and values, and which tokens see each other. Out: for each token the mix of the values it sees. The
rule: tokens see what the mask says; the kernels differ, the numbers do not but in rounding.

A mask keeps PyTorch from its fastest kernel, and FULL-SENTENCES blocks nearly always end in a few tokens of padding.
So on GPUs, in half precision, the flattened batch is given to that kernel as runs of tokens that see each other: the
tokens of each row, and its padding, which sees itself and is seen by nobody. Nothing is moved, and no shape depends on
the data.

Axes: B sequences, T tokens (Q where they look at T others), H heads, E features of a head, S = 2 B runs.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_CAPABILITY = (8, 0)  # Ampere: the kernel's oldest
_LARGEST_HEAD = 256


class Visible(NamedTuple):
    """Which tokens see each other, in the one way that the device takes."""

    mask: Tensor | None  # bool, broadcast to [B, H, Q, T]
    borders: Tensor | None  # int32 [S + 1], where runs of tokens begin in the flattened batch, and its end


def find_visible(attention_BT: Tensor | None, documents_BT: Tensor | None = None, *, head_size: int) -> Visible | None:
    """All but padding, which is False in `attention_BT`, or with `documents_BT` a token's own document; None for all.

    Documents see each other nowhere, not by way of `<s>` either: it belongs to the first document of its block. So a
    block of one document is as it is without `documents_BT`, and a block of several is as each of them alone.
    """
    if documents_BT is not None:
        if attention_BT is not None:
            # Padding as a document of its own sees something, if only itself; softmax over nothing is not a number.
            documents_BT = documents_BT.masked_fill(~attention_BT, -1)
        return Visible((documents_BT[:, :, None] == documents_BT[:, None, :])[:, None], None)
    if attention_BT is None:
        return None
    if takes_borders(attention_BT.device, head_size=head_size):
        return Visible(None, find_borders(attention_BT))
    return Visible(attention_BT[:, None, None, :], None)


def takes_borders(device: torch.device, *, head_size: int) -> bool:
    """Whether flash attention is there for what is computed now; it wants rows of whole 16 bytes."""
    return (
        device.type == "cuda"
        and head_size % 8 == 0
        and head_size <= _LARGEST_HEAD
        and torch.is_autocast_enabled("cuda")
        and bool(torch.backends.cuda.flash_sdp_enabled())  # type: ignore[no-untyped-call]
        and torch.cuda.get_device_capability(device) >= _CAPABILITY
    )


def find_borders(attention_BT: Tensor) -> Tensor:
    """Where tokens and padding begin: row by row, without waiting for the GPU; runs may be empty."""
    b, t = attention_BT.shape
    starts_B = torch.arange(0, b * t, t, device=attention_BT.device, dtype=torch.int32)
    ends_B2 = torch.stack((starts_B + attention_BT.sum(1, dtype=torch.int32), starts_B + t), dim=1)
    return functional.pad(ends_B2.flatten(), (1, 0))


def attend(query_key_value_BTD: Tensor, visible: Visible | None, *, heads: int, dropout: float) -> Tensor:
    """Multi-head attention, [B, T, D], of queries, keys and values side by side, [B, T, 3 D]."""
    b, t, d = query_key_value_BTD.shape
    shape = (b, t, 3, heads, d // 3 // heads)
    if visible is not None and visible.borders is not None:
        query_NHE, key_NHE, value_NHE = query_key_value_BTD.view(shape).flatten(0, 1).unbind(1)
        mixed_NHE = attend_within(query_NHE, key_NHE, value_NHE, visible.borders, longest=t, dropout=dropout)
        return mixed_NHE.reshape(b, t, d // 3)
    query_BHTE, key_BHTE, value_BHTE = query_key_value_BTD.view(shape).permute(2, 0, 3, 1, 4)
    mask = None if visible is None else visible.mask
    mixed_BHTE = functional.scaled_dot_product_attention(
        query_BHTE, key_BHTE, value_BHTE, attn_mask=mask, dropout_p=dropout
    )
    return mixed_BHTE.transpose(1, 2).reshape(b, t, d // 3)


def attend_within(
    query_NHE: Tensor, key_NHE: Tensor, value_NHE: Tensor, borders: Tensor, *, longest: int, dropout: float
) -> Tensor:
    """Each token's view of the tokens of its run, N = B T; half precision on a GPU.

    `torch.nn.attention.varlen` calls the same kernel, but knows no dropout.
    """
    mixed_NHE: Tensor = torch.ops.aten._flash_attention_forward(
        query_NHE, key_NHE, value_NHE, borders, borders, longest, longest, dropout, False, False
    )[0]
    return mixed_NHE


def project(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
    """Logits [N, V]; on GPUs the product is that of a vocabulary rounded up.

    Rows of 50,265 numbers begin at odd addresses, which the fast kernels do not take, neither here nor in the backward
    pass.
    """
    spare = -len(weight_VD) % 64 if hidden_ND.device.type == "cuda" else 0
    if not spare:
        return functional.linear(hidden_ND, weight_VD, bias_V)
    return project_rounded(hidden_ND, weight_VD, bias_V, spare=spare)


def project_rounded(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, *, spare: int) -> Tensor:
    """Logits [N, V], computed with so many more ids."""
    weight_VD = functional.pad(weight_VD, (0, 0, 0, spare))
    return functional.linear(hidden_ND, weight_VD, functional.pad(bias_V, (0, spare)))[:, :-spare]
