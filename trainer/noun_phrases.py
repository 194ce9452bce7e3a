"""Noun phrases of an English sentence, by words that can be listed: a stand-in for a parser.

In: a sentence. Out: its noun phrases, as they stand there. The rule: what ends a phrase is a list of words (articles,
prepositions, auxiliaries, common verbs of irregular past) and suffixes (-ed, -ing, -ly), so an unknown verb may be
taken into a phrase and a bare plural may be missed. Enough for alternatives to a given phrase, not for parsing.

    a determiner and up to three words    the trophy, his longtime rival
    names                                 Joan, Uncle Vernon
    either with a possessive after it     Ann's problems
    up to two words after a preposition   of food, with chewing gum
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_MAX_WORDS = {"determiner": 3, "name": 3, "preposition": 2, "possessive": 2}
_PRONOUNS = """he him his himself she her hers herself it its itself they them their theirs themselves"""
_DETERMINERS = """the a an this that these those my your his her its our their some any each every no another all both
many several few one two three four five six"""
# Not "to": what follows it bare is a verb more often than not.
_PREPOSITIONS = """of in on at by with for from about into onto over under through during between behind after before
against around near without toward towards upon across along inside outside within above below beside off"""
_OTHERS = """
to i me mine myself you yours yourself we us ours ourselves who whom whose which what when where why how
and or but nor so yet if because since although though while whereas unless until as than whether even once
anyone someone everyone nobody something nothing anything everything there here
be am is are was were been being have has had having do does did doing done
can could will would shall should may might must ought cannot let
not never ever always often still already just only too very much more most less least again also soon now then later
ago away back down up out together instead rather quite simply really finally perhaps maybe luckily today yesterday
tomorrow well far long otherwise right look
ate began bit blew bought broke brought built came caught chose cut drank drove fed fell felt fit fought found gave got
grew heard held hid hit kept knew laid lay led left lent lost made meant met paid put ran read rode rose said sat saw
sent set shot slept sold spent spoke stole stood struck stuck swam taken takes took taught threw told thought
understood went woke won wore wrote gone given get gets give gives go goes come comes know knows make makes see sees
say says take think thinks want wants keep keeps like likes tell tells need needs seem seems fix find finds leave
leaves ask asks try tries follow follows envies hates loves
"""
PRONOUNS, PREPOSITIONS, DETERMINERS = (frozenset(words.split()) for words in (_PRONOUNS, _PREPOSITIONS, _DETERMINERS))
_CLOSED = PRONOUNS | PREPOSITIONS | DETERMINERS | frozenset(_OTHERS.split())
_WORD = re.compile(r"\w+(?:-\w+)*(?:n['’]t|['’](?:s|re|ve|ll|d|m)\b)?|[^\w\s]")
_POSSESSIVE = re.compile(r"['’]s$")


class Phrase(NamedTuple):
    """A noun phrase and where it stands."""

    text: str
    start: int  # character of the sentence
    end: int


class _Word(NamedTuple):
    text: str
    start: int
    end: int


def find_noun_phrases(sentence: str) -> list[Phrase]:
    """Noun phrases by where they start, longer ones after those that they begin with; none twice at one place.

    >>> [phrase.text for phrase in find_noun_phrases("Joan made sure to thank Ann's aunt for all the help.")]
    ['Joan', 'Ann', "Ann's aunt", 'the help']
    """
    words = [_Word(match[0], match.start(), match.end()) for match in _WORD.finditer(sentence)]
    found = {(phrase.start, phrase.end): phrase for phrase in _scan(sentence, words)}
    return [found[place] for place in sorted(found)]


def _scan(sentence: str, words: Sequence[_Word]) -> Iterator[Phrase]:
    taken = 0  # words before this one are in a phrase already
    for place, word in enumerate(words):
        if place < taken:
            continue
        lower = word.text.lower()
        first, last = place, place
        if lower in DETERMINERS:
            last = _end_of_run(words, place + 1, _MAX_WORDS["determiner"])
            last = place if last == place + 1 else last
        elif lower in PREPOSITIONS and place + 1 < len(words) and not _is_name(words[place + 1]):
            first, last = place + 1, _end_of_run(words, place + 1, _MAX_WORDS["preposition"])
        elif _is_name(word):
            last = _end_of_run(words, place, _MAX_WORDS["name"], names=True)
        if last > first:
            yield _cut(sentence, words, first, last)
            taken = last
            if _POSSESSIVE.search(words[last - 1].text):
                taken = _end_of_run(words, last, _MAX_WORDS["possessive"])
                if taken > last:
                    yield _cut(sentence, words, first, taken)


def _end_of_run(words: Sequence[_Word], first: int, limit: int, *, names: bool = False) -> int:
    """Where a run of open words ends: after a possessive, before a word of the lists, or after so many."""
    last = first
    while last < min(len(words), first + limit) and (_is_name if names else _is_open)(words[last]):
        last += 1
        if _POSSESSIVE.search(words[last - 1].text):
            break
    return last


def _is_open(word: _Word) -> bool:
    """Whether a word may be a noun or stand before one."""
    bare = _POSSESSIVE.sub("", word.text).lower()
    if not bare[0].isalpha() or bare in _CLOSED or "'" in bare or "’" in bare:
        return False
    return not (len(bare) > 4 and bare.endswith(("ed", "ly", "ing")))


def _is_name(word: _Word) -> bool:
    return word.text[0].isupper() and _is_open(word)


def _cut(sentence: str, words: Sequence[_Word], first: int, last: int) -> Phrase:
    start, end = words[first].start, words[last - 1].end
    end -= len(match[0]) if (match := _POSSESSIVE.search(sentence[start:end])) else 0
    return Phrase(sentence[start:end], start, end)
