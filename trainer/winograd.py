"""WNLI by ranking what a pronoun may stand for (section 5.1, "WNLI").

In: WNLI's pairs, a sentence with a pronoun and the same (or its part) with a noun phrase in the pronoun's place. Out:
a feature per pair: a row with that phrase, and one with each other noun phrase of the sentence. The rule: the phrase
is right where its row has the highest score; training is on the right ones alone, since a wrong phrase does not say
which one is right, and asks that they be ahead of each other phrase by a margin.

Where this deviates from the paper and fairseq:
- candidates are found by `trainer.noun_phrases`, not by spaCy's parser;
- the data are GLUE's pairs, not WSC with marked spans, so the phrase is found by aligning the two sentences;
- a row's score is a projection of `<s>`, as for every other task here; fairseq takes the probability that the
  masked-language-model head gives to the phrase.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from bpe.encoding import Encoder
from trainer import metrics
from trainer.glue import FILES, Example, read_glue, server_name, write_server_file
from trainer.heads import SentenceHead, ranking_loss
from trainer.inputs import join_texts
from trainer.model import Shape
from trainer.noun_phrases import PRONOUNS, find_noun_phrases
from trainer.tasks import Batch, Defaults, Features, Outputs, Scores, Split, Splits

MARGIN = 1.0
_WORD = re.compile(r"\w+")
_POSSESSIVE = re.compile(r"['’]s?$")
_INDEFINITE = re.compile(r"^(?:an?|some)\s+", re.IGNORECASE)
_DETERMINER = re.compile(r"^(?:the|an?|some|this|that|his|her|its|their|my|your|our)\s+", re.IGNORECASE)


class Place(NamedTuple):
    """Where a second sentence has a phrase in place of a pronoun of the first."""

    pronoun: tuple[int, int]  # characters of the first sentence
    phrase: tuple[int, int]  # characters of the second sentence


class WinogradTask:
    """WNLI."""

    name = "wnli"
    metric_names = ("accuracy",)
    chosen_metric = "accuracy"
    defaults = Defaults(learning_rate=1e-5, batch=16, epochs=10)

    def read(self, folder: Path) -> Splits[Example]:
        return read_glue("wnli", folder)

    def encode(self, split: Split[Example], encoder: Encoder, *, max_tokens: int, training: bool) -> list[Features]:
        """The row of the pair first, then one per other phrase; for training only right pairs that have others."""
        features = []
        for number, example in enumerate(split.examples):
            sentence, said = example.texts
            others = list_alternatives(sentence, said)
            if training and not (example.label and others):
                continue
            rows = [join_texts(encoder, (sentence, text), max_tokens=max_tokens) for text in (said, *others)]
            target = np.array([int(example.label or 0)], np.int64)
            n_cut = sum(row.n_cut for row in rows)
            features.append(Features(tuple(row.ids for row in rows), target, (number,), n_cut))
        return features

    def make_head(self, shape: Shape) -> nn.Module:
        return SentenceHead(shape, n_outputs=1)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        firsts_R = batch.owners.diff(prepend=batch.owners.new_full((1,), -1)) == 1
        return ranking_loss(outputs[0][:, 0], batch.owners, firsts_R, margin=MARGIN)

    def scores(self, outputs: Outputs, batch: Batch) -> list[Scores]:
        """Each row's share among those of its feature, by softmax."""
        values = outputs[0][:, 0]
        return [values[batch.owners == number].softmax(dim=0).cpu().numpy() for number in range(batch.n_features)]

    def metrics(
        self, split: Split[Example], features: Sequence[Features], scores: Sequence[Scores]
    ) -> dict[str, float]:
        right = np.array([int(example.label or 0) for example in split.examples])
        return {"accuracy": metrics.accuracy(np.array([_is_first(values) for values in scores]), right)}

    def write_predictions(
        self, folder: Path, split: Split[Example], features: Sequence[Features], scores: Sequence[Scores]
    ) -> list[Path]:
        labels = FILES[self.name].labels
        said = [
            (example.key, labels[_is_first(values)]) for example, values in zip(split.examples, scores, strict=True)
        ]
        return [write_server_file(folder / server_name(self.name, split.name), said)]


def make_task(_name: str) -> WinogradTask:
    """The task."""
    return WinogradTask()


def list_alternatives(sentence: str, said: str) -> list[str]:
    """`said` with each other noun phrase of the sentence in place of its own; none where its own is not found.

    >>> list_alternatives("Joan thanked Susan for the help she had given.", "Joan had given.")
    ['Susan had given.', 'The help had given.']
    """
    place = find_place(sentence, said)
    if place is None:
        return []
    start, end = place.phrase
    own = _POSSESSIVE.sub("", said[start:end])
    ending = said[start + len(own) : end]
    found: dict[str, str] = {}
    for phrase in find_noun_phrases(sentence):
        overlaps = phrase.start < place.pronoun[1] and place.pronoun[0] < phrase.end
        if not overlaps and not _is_same(phrase.text, own):
            text = _fit(phrase.text, opens=start == 0)
            found.setdefault(text.lower(), said[:start] + text + ending + said[end:])
    return list(found.values())


def find_place(sentence: str, said: str) -> Place | None:
    """The phrase of `said` whose words before and after stand beside a pronoun of the sentence; None where none does.

    Of several places the one with the most words in common; case and punctuation do not count.
    """
    theirs, ours = _words_of(sentence), _words_of(said)
    best: tuple[int, Place] | None = None
    for number, (word, start, end) in enumerate(theirs):
        if word not in PRONOUNS:
            continue
        n_after = _n_common([w for w, *_ in theirs[number + 1 :]], [w for w, *_ in ours], at_end=True)
        n_before = _n_common([w for w, *_ in theirs[:number]], [w for w, *_ in ours], at_end=False)
        n_common = n_before + n_after
        if not n_common or n_common >= len(ours) or (best is not None and n_common <= best[0]):
            continue
        inside = ours[n_before : len(ours) - n_after]
        best = n_common, Place((start, end), (inside[0][1], _end_with_possessive(said, inside[-1][2])))
    return None if best is None else best[1]


def _n_common(context: Sequence[str], words: Sequence[str], *, at_end: bool) -> int:
    """How many words a sentence ends with that a context begins with, or begins with that a context ends with."""
    for n_words in range(min(len(context), len(words)), 0, -1):
        if at_end and list(words[-n_words:]) == list(context[:n_words]):
            return n_words
        if not at_end and list(words[:n_words]) == list(context[-n_words:]):
            return n_words
    return 0


def _words_of(text: str) -> list[tuple[str, int, int]]:
    return [(match[0].lower(), match.start(), match.end()) for match in _WORD.finditer(text)]


def _end_with_possessive(said: str, end: int) -> int:
    """An apostrophe without s after it, as in "the boys'", belongs to the phrase."""
    return end + 1 if said[end : end + 2] in {"' ", "’ "} else end


def _is_same(phrase: str, own: str) -> bool:
    """Whether one is the other, or a part of it, whatever the determiner: such a phrase is no wrong answer."""
    first, second = (f" {_DETERMINER.sub('', text).lower()} " for text in (phrase, own))
    return first in second or second in first


def _fit(phrase: str, *, opens: bool) -> str:
    """A phrase in a place where it is known already, and may open a sentence: a carrot is the carrot."""
    text = _INDEFINITE.sub("the ", phrase)
    if opens:
        return text[0].upper() + text[1:]
    return text[0].lower() + text[1:] if _DETERMINER.match(text) else text


def _is_first(scores: Scores) -> int:
    """1 where the first row is ahead of all others; a row without others is not known to be right."""
    return int(len(scores) > 1 and scores[0] > scores[1:].max())
