"""A document as token ids: what encoding makes, shards store, and the trainer reads back."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MAX_SENTENCE_TOKENS = 65_535  # sentence lengths are uint16


class TokenizedDocument(NamedTuple):
    """Ids without any separator or special token; `sentence_lengths` sums to `ids.size`."""

    document_id: bytes  # bytes16
    ids: npt.NDArray[np.uint16]  # [n_tokens]
    sentence_lengths: npt.NDArray[np.uint16]  # [n_sentences], each >= 1
