"""Stories (Trinh & Le 2018): pages ranked by the n-grams that they share with questions of commonsense reasoning.

In: a page, and the questions. Out: a `Document` with its score, or a `Rejection`. The rule: a score is the same bits on
every machine: whole numbers are counted, and one correctly rounded division makes a float of them.

The formula, quoted from memory of the paper (section 4): the similarity of a document to the questions is
(1 F1(1) + 2 F1(2) + 3 F1(3) + 4 F1(4)) / 10, where F1(n) is the harmonic mean of n-gram precision and recall between
the document and the n-grams of all questions, pooled; the top 0.1 % of Common Crawl's documents were taken, the best of
which scored 0.083.

What the paper leaves open, and what is done here:

* Words: runs of letters and digits in lower case, inner apostrophes included ("doesn't" is one word); everything else
  only separates. N-grams of a document run on across its sentences and lines, those of a question across its sentences,
  never from one question to another or across the gap where a pronoun is asked for.
* Pooling: n-grams of all distinct questions, with how often they occur.
* Counting: clipped. An n-gram that occurs a times in the document and b times in the pool is shared min(a, b) times.
  With S shared, D in the document and P in the pool, precision is S/D, recall S/P, and F1 = 2 S / (D + P).
* Of what the share is taken: of the documents in English that pass the rules of quality, before deduplication.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpora.commonsense import Question, fingerprint_questions, merge_questions
from corpora.documents import Document, RawPage, Rejection
from corpora.processing import ProcessingSettings, library_versions, process_page
from corpora.targets import PublishedTargets

__all__ = [
    "CONTAMINATION_NOTE",
    "DEFAULT_KEEP",
    "LONGEST_NGRAM",
    "TARGETS",
    "QuestionPool",
    "StoriesSettings",
    "make_pool",
    "process_story",
    "score",
    "split_words",
    "story_versions",
]

# Size and number as RoBERTa's authors and others report them of the published corpus.
TARGETS = PublishedTargets(
    documents=947_247, gib=31.8, mean_bytes=36_000.0, source="STORIES as published by Trinh & Le 2018"
)
CONTAMINATION_NOTE = (
    "These documents were selected by their overlap with questions of the Winograd schema challenge (WSC, PDP). WNLI of"
    " GLUE derives from WSC: results on WSC, PDP and WNLI of a model that was trained on them are not those of a model"
    " that never saw the task, even where no passage is shared word for word."
)
DEFAULT_KEEP = 0.001  # of the documents; the card of one mirror of the corpus says 1 %
LONGEST_NGRAM = 4

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_WEIGHTS = range(1, LONGEST_NGRAM + 1)  # of F1(1), F1(2), ...


class NgramTable(NamedTuple):
    """The distinct n-grams of one length in a pool, sorted; each is named by its number.

    An n-gram is written as (number of its first n-1 words' n-gram) * (number of words) + (number of its last word).
    """

    keys: npt.NDArray[np.int64]  # [m]
    counts: npt.NDArray[np.int64]  # [m], how often each occurs in the questions
    total: int  # sum of counts


class QuestionPool(NamedTuple):
    """The n-grams of some questions, made to be looked up in."""

    words: dict[str, int]  # word -> its number, the unigrams being numbered as the words are
    tables: tuple[NgramTable, ...]  # of length 1, 2, 3, 4


class _Questions:
    """The part of the settings that the manifest does not show: no field of the dataclass, so it is not described."""

    asked: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class StoriesSettings(_Questions):
    """All that decides what becomes of a page, and its score.

    The questions travel in it to whoever scores; what describes it, compares it and hashes it is their fingerprint.
    Made by `StoriesSettings.of`.
    """

    questions: str  # fingerprint of the set of questions
    n_questions: int
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)

    @classmethod
    def of(cls, questions: Iterable[Question], *, processing: ProcessingSettings | None = None) -> "StoriesSettings":
        """Settings that score by these questions; ValueError where there is none."""
        asked = tuple(sorted(merge_questions(questions)))
        if not asked:
            raise ValueError("Stories are ranked by questions, and there is none; name files of them with --questions")
        made = cls(
            questions=fingerprint_questions(asked),
            n_questions=len(asked),
            processing=processing or ProcessingSettings(),
        )
        object.__setattr__(made, "asked", asked)
        return made


def story_versions(settings: StoriesSettings) -> dict[str, str]:
    """The installed versions of what shapes a document and its score; ValueError where one is missing."""
    return library_versions(settings.processing)


def process_story(page: RawPage, settings: StoriesSettings) -> Document | Rejection:
    """What becomes of a page of a WARC, or of a text of a WET file: cleaned as any page is, and scored."""
    verdict = process_page(page, settings.processing)
    if isinstance(verdict, Rejection):
        return verdict
    return verdict._replace(score=score(verdict.text, _pool_of(settings)))


@lru_cache(maxsize=4)
def _pool_of(settings: StoriesSettings) -> QuestionPool:
    return make_pool(settings.asked)


def split_words(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> split_words("The trophy doesn't fit -- it's 2 cm too_large!")
    ['the', 'trophy', "doesn't", 'fit', "it's", '2', 'cm', 'too', 'large']
    """
    return _WORD.findall(text.lower().replace("’", "'"))


def make_pool(questions: Iterable[Question]) -> QuestionPool:
    """The pooled n-grams of questions, which are taken as they come: `merge_questions` makes them distinct."""
    pieces = [split_words(piece) for question in questions for piece in question.pieces]
    words = {word: number for number, word in enumerate(sorted({word for piece in pieces for word in piece}))}
    tables = []
    # Of the n-grams one shorter, then of these.
    numbers: dict[tuple[str, ...], int] = {(word,): number for word, number in words.items()}
    for n in _WEIGHTS:
        counts = Counter(tuple(piece[k : k + n]) for piece in pieces for k in range(len(piece) - n + 1))
        key_of = {
            ngram: numbers[ngram] if n == 1 else numbers[ngram[:-1]] * len(words) + words[ngram[-1]] for ngram in counts
        }
        ordered = sorted(counts, key=key_of.__getitem__)
        keys, n_times = ([of[ngram] for ngram in ordered] for of in (key_of, counts))
        tables.append(NgramTable(np.array(keys, np.int64), np.array(n_times, np.int64), sum(n_times)))
        numbers = {ngram: number for number, ngram in enumerate(ordered)}
    return QuestionPool(words, tuple(tables))


def score(text: str, pool: QuestionPool) -> float:
    """How much a text is like the questions of a pool, from 0 to 1.

    >>> pool = make_pool([Question(("the cat sat",))])
    >>> score("The cat sat.", pool), score("A dog ran.", pool)
    (0.6, 0.0)

    (A text of three words has no 4-gram, and F1(4) of nothing is 0.)
    """
    words = split_words(text)
    return _weigh(_count_shared(words, pool), len(words), pool)


def _count_shared(words: list[str], pool: QuestionPool) -> list[int]:
    """Shared n-grams of length 1, 2, 3, 4, clipped.

    Most n-grams of a document are in no question, and one that is begins with one that is: so each length only
    looks at the places where the length before it found something.
    """
    ids = np.fromiter(map(pool.words.get, words, repeat(-1)), np.int64, len(words))
    places = np.flatnonzero(ids >= 0)  # where an n-gram of the pool starts
    found = ids[places]  # its number
    shared = [_clip(found, pool.tables[0])]
    for n in _WEIGHTS[1:]:
        table = pool.tables[n - 1]
        inside = places < len(words) - n + 1
        places, found = places[inside], found[inside]
        last = ids[places + n - 1]
        places, found, last = places[last >= 0], found[last >= 0], last[last >= 0]
        keys = found * len(pool.words) + last
        at = np.searchsorted(table.keys, keys)
        hit = at < table.keys.size
        hit[hit] = table.keys[at[hit]] == keys[hit]
        places, found = places[hit], at[hit]
        shared.append(_clip(found, table))
    return shared


def _clip(found: npt.NDArray[np.int64], table: NgramTable) -> int:
    return int(np.minimum(np.bincount(found, minlength=table.counts.size), table.counts).sum())


def _weigh(shared: list[int], n_words: int, pool: QuestionPool) -> float:
    """The weighted mean of F1(n) as one fraction of whole numbers, of which the nearest float is taken."""
    numerator, denominator = 0, 1
    for n, n_shared, table in zip(_WEIGHTS, shared, pool.tables, strict=True):
        both = max(n_words - n + 1, 0) + table.total
        if both:  # else neither has an n-gram of this length, and F1 is 0
            numerator, denominator = numerator * both + denominator * 2 * n * n_shared, denominator * both
    return numerator / (denominator * sum(_WEIGHTS))
