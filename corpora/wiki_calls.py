"""A template's call, as the functions that render templates take it: its name and its rendered parameters."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Call", "Handler", "read_call"]


class Call(NamedTuple):
    """One use of a template."""

    name: str  # lower case, spaces for underscores
    positional: tuple[str, ...]
    named: dict[str, str]

    def first(self, *keys: str | int) -> str:
        """The first of these parameters that says something, stripped; positional ones by number, from 1."""
        for key in keys:
            if isinstance(key, int):
                value = self.positional[key - 1] if key <= len(self.positional) else ""
            else:
                value = self.named.get(key, "")
            if value.strip():
                return value.strip()
        return ""

    def numbered(self, start: int = 1) -> list[str]:
        """The positional parameters from this one on, stripped, without the empty ones."""
        return [value.strip() for value in self.positional[start - 1 :] if value.strip()]


Handler = Callable[[Call], str | None]  # None: cannot be rendered, and is counted

_MAX_POSITION = 50


def read_call(arguments: Sequence[Sequence[str]]) -> Call:
    """A call from its parameters, each in pieces: a "=" makes a name only in the first, which is never a result."""
    name = "".join(arguments[0]).strip().replace("_", " ").lower()
    positional: list[str] = []
    named: dict[str, str] = {}
    for pieces in arguments[1:]:
        key, equals, rest = pieces[0].partition("=")
        if not equals:
            positional.append("".join(pieces))
            continue
        key, value = key.strip().lower(), "".join((rest, *pieces[1:])).strip()
        if key.isascii() and key.isdecimal() and 0 < int(key) <= _MAX_POSITION:
            positional += [""] * (int(key) - len(positional))
            positional[int(key) - 1] = value
        else:
            named[key] = value
    return Call(name, tuple(positional), named)
