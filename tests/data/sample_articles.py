"""Reads the prose of the bundled sample, and composes more of it: text files in, articles out.

Two forms of file lie in `sample_prose`. `LANGUAGE-*.txt` holds whole articles: a line `= title`, a line
`@ byline | section`, then paragraphs of one line each. `family-*.txt` holds a kind of story in parts: lists of names
(`[name: first | second]`) and, under `[paragraph]`, five ways to say each paragraph.

The rule: the same files give the same articles, in the same order, on every machine.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

PROSE = Path(__file__).parent / "sample_prose"
N_WAYS = 5  # to say each paragraph of a family; prime, see `_choose_ways`
_SLOT = re.compile(r"(^|[.?!]\"? )?\{(\w+)\}")  # the first group is there where a sentence begins
T = TypeVar("T")


class Article(NamedTuple):
    """A text as its writer wrote it, before any page was put around it."""

    key: str  # file and ordinal, e.g. "english-1/3"
    language: str  # ISO 639-1
    title: str
    byline: str
    section: str
    paragraphs: tuple[str, ...]


class Family(NamedTuple):
    """A kind of story in parts."""

    name: str
    titles: tuple[str, ...]
    names: dict[str, tuple[str, ...]]
    paragraphs: tuple[tuple[str, ...], ...]  # each in N_WAYS ways


def pick(choices: Sequence[T], *seed: object) -> T:
    """One of the choices, decided by a hash of the seed."""
    return choices[number(*seed) % len(choices)]


def number(*seed: object) -> int:
    """A number of 32 bits that depends on nothing but the seed."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, seed)).encode()).digest()[:4], "big")


def read_articles(path: Path, *, language: str) -> list[Article]:
    """All articles of a file, in its order."""
    articles = []
    for ordinal, block in enumerate(re.split(r"(?m)^= ", path.read_text(encoding="utf-8"))[1:]):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if len(lines) < 3 or not lines[1].startswith("@ "):
            raise ValueError(f"{path.name}: article {ordinal} needs a title, a line '@ byline | section' and text")
        byline, section = (part.strip() for part in lines[1][2:].split("|"))
        key = f"{path.stem}/{ordinal}"
        articles.append(Article(key, language, lines[0], byline, section, tuple(lines[2:])))
    return articles


def read_family(path: Path) -> Family:
    """A family's parts; refuses a paragraph that is not there in `N_WAYS` ways."""
    names: dict[str, tuple[str, ...]] = {}
    parts: list[tuple[str, list[str]]] = []
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        if named := re.fullmatch(r"\[(\w+): (.+)\]", line):
            names[named[1]] = tuple(part.strip() for part in named[2].split(" | "))
        elif part := re.fullmatch(r"\[(\w+)\]", line):
            parts.append((part[1], []))
        else:
            parts[-1][1].append(line)
    for place, (part_name, ways) in enumerate(parts):
        if part_name != "title" and len(ways) != N_WAYS:
            raise ValueError(f"{path.name}: part {place} ({part_name}) has {len(ways)} ways, not {N_WAYS}")
    titles = tuple(way for part_name, ways in parts if part_name == "title" for way in ways)
    paragraphs = tuple(tuple(ways) for part_name, ways in parts if part_name == "paragraph")
    return Family(path.stem, titles, names, paragraphs)


def compose(family: Family, *, n_articles: int) -> list[Article]:
    """The first `n_articles` stories of a family."""
    return [_compose_one(family, ordinal) for ordinal in range(n_articles)]


def _compose_one(family: Family, ordinal: int) -> Article:
    # Each list is walked with a stride of its own, so that two stories that share one name do not share the next.
    bound = {name: values[_walk(family.name, name, ordinal, len(values))] for name, values in family.names.items()}
    ways = _choose_ways(ordinal, len(family.paragraphs))
    paragraphs = tuple(_fill(texts[way], bound) for texts, way in zip(family.paragraphs, ways, strict=True))
    title = _fill(family.titles[ordinal % len(family.titles)], bound)
    return Article(f"{family.name}/{ordinal}", "en", title, bound["byline"], bound["section"], paragraphs)


def _choose_ways(ordinal: int, n_paragraphs: int) -> list[int]:
    # Lines over a field of five points: two stories (slope, start) meet in one paragraph at most, so that no two of
    # the first 25 are near-duplicates. Six paragraphs is what that holds for: the slope itself is the sixth.
    assert n_paragraphs <= N_WAYS + 1
    slope, start = divmod(ordinal, N_WAYS)
    ways = [(slope * place + start) % N_WAYS for place in range(min(n_paragraphs, N_WAYS))]
    return ways + [slope % N_WAYS] * (n_paragraphs - len(ways))


def _walk(family: str, name: str, ordinal: int, n_values: int) -> int:
    start = number(family, name, "start") % n_values
    strides = [stride for stride in (1, 2, 3, 5, 7) if n_values % stride or stride == 1]
    return (start + ordinal * pick(strides, family, name, "stride")) % n_values


def _fill(text: str, bound: dict[str, str]) -> str:
    return _SLOT.sub(lambda slot: _put(slot, bound), text)


def _put(slot: re.Match[str], bound: dict[str, str]) -> str:
    word = bound[slot[2]]
    return word if slot[1] is None else slot[1] + word[0].upper() + word[1:]
