"""JSON read strictly: every value is asked for by its type, and a fault is named by file and key.

The rule: nothing is guessed. A missing key, an unknown key, a key given twice, a fraction or `true`
where a number of things is due, `NaN`: each is a `ShardError`.
"""

import datetime
import json
import math
from collections.abc import Collection, Iterable
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from bpe.errors import ShardError

MAX_COUNT = 1 << 62


class Node(NamedTuple):
    """A value and where it stands."""

    path: str
    key: str  # as in shards[3].blocks; "" for the whole file
    value: object

    def fail(self, found: str) -> NoReturn:
        raise ShardError(self.path, self.key, found)

    def child(self, name: str, value: object) -> "Node":
        return Node(self.path, f"{self.key}.{name}" if self.key else name, value)


def parse_json(data: bytes, path: str) -> Node:
    """The root of a JSON file."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ShardError(path, "", f"not the JSON it should be: {error}; restore the file or rebuild it") from error
    return Node(path, "", value)


def read_object(node: Node, keys: Iterable[str], *, optional: Collection[str] = ()) -> dict[str, Node]:
    """The members of an object that has exactly these keys, and the optional ones of which it has some."""
    if not isinstance(node.value, dict):
        node.fail(f"an object was expected, found {_kind(node.value)}")
    known = dict.fromkeys(keys) | {name: None for name in optional if name in node.value}
    if node.value.keys() != known.keys():
        for name in known:
            if name not in node.value:
                node.child(name, None).fail(
                    "this key is missing; rebuild the run, or read it with the version that made it"
                )
        unknown = min(node.value.keys() - known.keys())
        node.child(unknown, None).fail("unknown key; it takes a newer version to read this, or the file was edited")
    return {name: node.child(name, node.value[name]) for name in known}


def read_items(node: Node) -> list[Node]:
    """The elements of a list."""
    if not isinstance(node.value, list):
        node.fail(f"a list was expected, found {_kind(node.value)}")
    return [Node(node.path, f"{node.key}[{k}]", value) for k, value in enumerate(node.value)]


def read_text(node: Node, *, empty: bool = False) -> str:
    """A string; one that is not empty, unless it may be."""
    if not isinstance(node.value, str) or not (node.value or empty):
        node.fail(f"a text was expected, found {_kind(node.value)}")
    return node.value


def read_choice(node: Node, choices: tuple[str, ...]) -> str:
    """One of these words."""
    if node.value not in choices:
        node.fail(f"{node.value!r} is none of {', '.join(choices)}")
    return str(node.value)


def read_count(node: Node) -> int:
    """A whole number from 0."""
    if type(node.value) is not int or not 0 <= node.value <= MAX_COUNT:
        node.fail(f"a whole number from 0 was expected, found {_kind(node.value)}")
    return node.value


def read_count_or_none(node: Node) -> int | None:
    return None if node.value is None else read_count(node)


def read_counts_by_name(node: Node) -> dict[str, int]:
    """An object of whole numbers."""
    if not isinstance(node.value, dict):
        node.fail(f"an object was expected, found {_kind(node.value)}")
    return {name: read_count(node.child(name, value)) for name, value in node.value.items()}


def read_plain(node: Node, *, max_depth: int) -> object:
    """Any JSON value whose lists and objects are at most so deep in each other."""
    value = node.value
    if isinstance(value, list | dict):
        if not max_depth:
            node.fail("lists and objects are nested too deeply here")
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for name, member in members:
            read_plain(node.child(str(name), member), max_depth=max_depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):  # 1e999 is JSON, and no number that can be written
        node.fail("the number is too large")
    return value


def read_count_array(node: Node) -> npt.NDArray[np.int64]:
    """A list of whole numbers from 0, as int64 [n]."""
    if not isinstance(node.value, list):
        node.fail(f"a list was expected, found {_kind(node.value)}")
    if set(map(type, node.value)) - {int}:
        node.fail("whole numbers were expected")
    try:
        array = np.array(node.value, np.int64)
    except OverflowError:
        node.fail("a number is too large")
    if array.size and (array.min() < 0 or array.max() > MAX_COUNT):
        node.fail("a number is negative or too large")
    return array


def read_sha256(node: Node) -> str:
    """64 hexadecimal digits in lower case."""
    text = read_text(node)
    if len(text) != 64 or text.strip("0123456789abcdef"):
        node.fail(f"{text[:80]!r} is not a sha256 in 64 lower-case hexadecimal digits")
    return text


def read_date(node: Node) -> str:
    """A calendar day as in 2026-01-31, or "" for none."""
    text = read_text(node, empty=True)
    try:
        if text and datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    return text and node.fail(f"{text[:80]!r} is no day as in 2026-01-31")


def read_relative_name(node: Node, *, opened: bool = True) -> str:
    """A relative name that cannot leave its folder.

    A name that readers open holds neither a colon (URLs, `pipe:`, drives) nor a control character.
    """
    name = read_text(node)
    if name.startswith(("/", "pipe:")) or "://" in name or (opened and ":" in name):
        node.fail(f"{name[:80]!r} is not a relative name; only files beside the manifest are read")
    if "\0" in name or (opened and ("\\" in name or not name.isprintable())):
        node.fail(f"{name[:80]!r} holds a backslash or a control character; rename the file and rebuild")
    if {"", ".", ".."} & set(name.split("/")):
        node.fail(f"{name[:80]!r} leaves its folder or has an empty part; only files beside the manifest are read")
    return name


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:80]
    return "an object" if isinstance(value, dict) else "a list"
