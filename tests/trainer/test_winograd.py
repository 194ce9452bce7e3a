"""WNLI: the phrase that stands for the pronoun is found, and others of the sentence stand against it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.glue import Example, read_glue
from trainer.heads import ranking_loss
from trainer.tasks import Split
from trainer.winograd import WinogradTask, find_place, list_alternatives


@pytest.mark.parametrize(
    ("sentence", "said", "pronoun", "phrase"),
    [
        ("The table won't fit through the door as it is too wide.", "The table is too wide.", "it", "The table"),
        ("I can't see the stage, or around it.", "I can't see the stage, or around the stage.", "it", "the stage"),
        ("Madonna fired her trainer because she couldn't stand her boyfriend.", "She couldn't stand Madonna's boyfriend.", "her", "Madonna's"),  # noqa: E501
        ("Sam pulled up a chair, but it was broken, so he had to stand.", "The chair was broken, so he had to stand.", "it", "The chair"),  # noqa: E501
    ],
)  # fmt: skip
def test_the_phrase_is_where_the_two_sentences_part(sentence: str, said: str, pronoun: str, phrase: str) -> None:
    place = find_place(sentence, said)
    assert place is not None
    assert (sentence[slice(*place.pronoun)], said[slice(*place.phrase)]) == (pronoun, phrase)


def test_alternatives_fit_where_the_phrase_stood() -> None:
    sentence = "Jim gestured toward the barman, who brought a key, and took his glass."
    assert list_alternatives(sentence, "Jim gestured toward the barman, who brought a key, and took Jim's glass.") == [
        "Jim gestured toward the barman, who brought a key, and took the barman's glass.",
        "Jim gestured toward the barman, who brought a key, and took the key's glass.",
    ]


def test_a_sentence_without_a_pronoun_has_no_alternatives() -> None:
    assert list_alternatives("The fish ate the worm.", "The worm was hungry.") == []


def test_nearly_all_real_pairs_are_aligned_and_have_alternatives(shared_data: Path) -> None:
    splits = read_glue("wnli", shared_data / "eval")
    examples = [example for split in (splits.train, *splits.dev, *splits.test) for example in split.examples]
    assert sum(find_place(*example.texts) is not None for example in examples) / len(examples) > 0.95
    assert sum(bool(list_alternatives(*example.texts)) for example in examples) / len(examples) > 0.9


def test_only_rows_within_the_margin_cost_anything() -> None:
    # First feature: right 2.0 against 0.5 (1.5 ahead: nothing) and 1.5 (0.5 short), mean 0.25; second: alone.
    scores, owners = torch.tensor([2.0, 0.5, 1.5, 7.0]), torch.tensor([0, 0, 0, 1])
    rights = torch.tensor([True, False, False, True])
    assert ranking_loss(scores, owners, rights, margin=1.0).item() == pytest.approx(0.25)


def test_a_phrase_is_right_where_it_is_ahead_of_all_others() -> None:
    split = Split("dev", tuple(Example(str(k), ("s", "s"), label) for k, label in enumerate((1, 0, 0, 1))))
    scores = [np.array(row, np.float32) for row in ((0.6, 0.4), (0.3, 0.7), (1.0,), (0.2, 0.5, 0.3))]
    assert WinogradTask().metrics(split, [], scores) == {"accuracy": 0.75}
