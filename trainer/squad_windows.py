"""SQuAD's questions as rows of ids: the question, and a window of the passage.

    <s> question </s></s> window of the passage </s>

In: a question and its passage's tokens. Out: features, one per window, with the place of the answer in each. The rule:
a window that does not hold the whole answer has `<s>` for a target, as BERT has it; the windows of a passage hold each
of its tokens. `aside` of a window that is not for training is int32 [n_context_tokens, 3]: a token's first character,
the one after its last, and 1 where no other window shows more around the token.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bpe.encoding import Encoder, Ids
from trainer.packing import BOS, EOS
from trainer.spans import Tokens, cut_windows, encode_with_places, find_owners, find_span
from trainer.squad_files import NOWHERE, Question
from trainer.tasks import DataError, Features

MAX_QUESTION_TOKENS = 64  # BERT's
STRIDE = 128  # tokens from one window to the next, BERT's
N_SPECIAL = 4  # `<s>`, `</s></s>`, `</s>`
MIN_TOKENS = 16  # a window of 6 tokens beside a question of 6
NO_SPAN = (0, 0)  # `<s>` as first and last


def make_windows(
    question: Question, number: int, passage: Tokens, encoder: Encoder, *, max_tokens: int, training: bool
) -> list[Features]:
    """A question's windows; for training none where the answer fits into none of them. `number` is its example's."""
    asked = encode_with_places(question.question, encoder).ids
    kept = asked[: min(MAX_QUESTION_TOKENS, (max_tokens - N_SPECIAL) // 2)]
    windows = cut_windows(passage.ids.size, room=max_tokens - N_SPECIAL - kept.size, stride=STRIDE)
    owners = find_owners(windows, passage.ids.size)
    answer = find_answer(question, passage)
    features = [
        Features(
            rows=(join_row(kept, passage.ids[first:end]),),
            targets=np.array(place_answer(answer, first, end, before=kept.size + 3), np.int64),
            examples=(number,),
            n_cut=asked.size - kept.size,
            # Kept for predictions alone: for the 130,000 training questions they would be most of the memory.
            aside=None if training else _describe_tokens(passage, first, end, owners[first:end] == window),
        )
        for window, (first, end) in enumerate(windows)
    ]
    if training and answer and not any(feature.targets.any() for feature in features):
        return []
    return features


def find_answer(question: Question, passage: Tokens) -> tuple[int, int] | None:
    """First and last token of the first answer that is at its place, blanks at its ends left out."""
    for answer in question.answers:
        if answer.start != NOWHERE:
            start = answer.start + len(answer.text) - len(answer.text.lstrip())
            return find_span(passage.places, start, answer.start + len(answer.text.rstrip()))
    return None


def place_answer(answer: tuple[int, int] | None, first: int, end: int, *, before: int) -> tuple[int, int]:
    """An answer's first and last token in the row of the window [first, end), which `before` tokens precede."""
    if answer is None or answer[0] < first or answer[1] >= end:
        return NO_SPAN
    return answer[0] - first + before, answer[1] - first + before


def join_row(question: Ids, context: Ids) -> Ids:
    """The ids of a window, specials included."""
    return np.concatenate([[BOS], question, [EOS, EOS], context, [EOS]]).astype(np.uint16)


def _describe_tokens(passage: Tokens, first: int, end: int, owned: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    return np.column_stack([passage.places[first:end], owned]).astype(np.int32)


def encode_questions(
    questions: tuple[Question, ...], encoder: Encoder, *, max_tokens: int, training: bool
) -> Iterator[Features]:
    """The windows of all questions, in order; a passage is encoded once for the questions that follow each other.

    DataError where the model takes less than MIN_TOKENS.
    """
    if max_tokens < MIN_TOKENS:
        raise DataError(f"the model takes {max_tokens} tokens; a question and a window need {MIN_TOKENS} or more")
    context, passage = "", encode_with_places("", encoder)
    for number, question in enumerate(questions):
        if question.context != context:
            context, passage = question.context, encode_with_places(question.context, encoder)
        yield from make_windows(question, number, passage, encoder, max_tokens=max_tokens, training=training)
