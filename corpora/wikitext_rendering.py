"""Renders the brackets of wikitext: templates, links and tables in, what a reader sees of them in a sentence out.

The rule: each part of the text is looked at once, and whatever is dropped is jumped over. Marks of
`corpora.wikitext_marks` stand for what was dropped.
"""

import re
from collections.abc import Sequence

from corpora.wiki_calls import Handler, read_call
from corpora.wiki_languages import INTERWIKI_PREFIXES
from corpora.wiki_templates import NOTE, QUIET, find_template
from corpora.wikitext_brackets import LINK, TABLE, match_brackets
from corpora.wikitext_marks import GAP, NOTHING, close_up

__all__ = ["render_brackets"]

_NAME = re.compile(r"\s{0,99}([^|{}\[\]<>\n]{0,255})")
_TARGET = re.compile(r"[^|\[\]{}\n]{0,255}")
_TITLES = frozenset(("pagename", "pagenamebase", "fullpagename", "subpagename"))
# Nine of ten links, rendered without a frame. "=" would name a parameter if it got out of its link.
_SIMPLE_LINK = re.compile(r"\[\[([^\[\]{}|=\n]+)(?:\|([^\[\]{}|=\n]*))?\]\]")
_DROPPED_NAMESPACES = frozenset(("file", "image", "category", "media", "special"))
# A result much longer than its call was made by no template that is known here.
_MAX_GROWTH = 4
_MAX_EXTRA_CHARS = 2_000
_TRICK = re.compile(r"^:?(?:[A-Za-z ]{1,20}:)?(.*?)(?: \([^()]*\)|, .*)?$", re.DOTALL)


class _Frame:
    """A template or link that is open: its parameters so far, each in pieces."""

    __slots__ = ("arguments", "handler", "start")

    def __init__(self, start: int, handler: Handler | None) -> None:
        self.start = start
        self.handler = handler  # None for a link
        self.arguments: list[list[str]] = [[]]

    def add_text(self, text: str) -> None:
        """Text of the article: "|" separates parameters."""
        first, *others = text.split("|")
        self.arguments[-1].append(first)
        self.arguments.extend([other] for other in others)

    def add_result(self, text: str) -> None:
        """What a bracket inside was rendered to."""
        self.arguments[-1].append(text)


def render_brackets(text: str, *, title: str = "") -> str:
    """The text without templates, links and tables; `title` is what `{{PAGENAME}}` shows."""
    text = _SIMPLE_LINK.sub(_render_simple_link, text)
    starts, ends, kinds, partners, opens = match_brackets(text)
    out: list[str] = []
    frames: list[_Frame] = []
    done = index = 0
    while index < len(starts):
        start, end, kind, partner = starts[index], ends[index], kinds[index], partners[index]
        if done < start:
            _add(frames, out, text[done:start], is_result=False)
        done, index = end, index + 1
        if partner < 0:
            if kind == TABLE:
                # What stands behind an unclosed opener are attributes: a line with "|" is left out.
                _add(frames, out, "\n|" if opens[index - 1] else "\n", is_result=True)
            elif kind == LINK and opens[index - 1] and _is_dropped_target(_target_at(text, end)):
                done = _line_end(text, end, starts[index] if index < len(starts) else len(text))
        elif not opens[index - 1]:
            frame = frames.pop()
            _add(frames, out, _render_frame(frame, end - frame.start), is_result=True)
        else:
            handler = _choose(text, kind, end, starts[partner], title)
            if not isinstance(handler, str):
                frames.append(_Frame(start, handler))
                continue
            done, index = ends[partner], partner + 1
            if handler:
                _add(frames, out, handler, is_result=True)
            elif not frames:
                close_up(out, text, done)
    out.append(text[done:])
    return "".join(out)


def _add(frames: Sequence[_Frame], out: list[str], text: str, *, is_result: bool) -> None:
    if not frames:
        out.append(text)
    elif is_result:
        frames[-1].add_result(text)
    else:
        frames[-1].add_text(text)


def _choose(text: str, kind: int, position: int, close: int, title: str) -> Handler | str | None:
    """How a matched bracket is rendered: what replaces all of it, a template's function, or None: a link.

    Its content begins at `position` and ends at `close`.
    """
    if kind == TABLE:
        return "\n\n"
    if kind == LINK:
        return NOTHING if _is_dropped_target(_target_at(text, position)) else None
    found = _NAME.match(text, position)
    name = found[1].strip().replace("_", " ").lower() if found else ""
    if name in _TITLES:
        return title
    handler = find_template(name)
    if handler is None:
        # One that fills several lines is a box beside the text: no gap in a sentence.
        return NOTHING if "\n" in text[position:close] else GAP
    if handler in (QUIET, NOTE):
        return NOTHING if handler == QUIET else ""
    return handler


def _target_at(text: str, position: int) -> str:
    found = _TARGET.match(text, position)
    return found[0] if found else ""


def _is_dropped_target(target: str) -> bool:
    """Whether a link shows nothing in the text: files, categories, and the same article in other languages."""
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip().lower()
    return bool(colon) and (prefix in _DROPPED_NAMESPACES or prefix in INTERWIKI_PREFIXES)


def _line_end(text: str, position: int, next_bracket: int) -> int:
    """Where the line ends that an unclosed file begins on, but not beyond the next bracket."""
    end = text.find("\n", position, next_bracket)
    return next_bracket if end < 0 else end


def _render_frame(frame: _Frame, n_source_chars: int) -> str:
    result = _render_link(frame.arguments) if frame.handler is None else frame.handler(read_call(frame.arguments))
    if result is None or len(result) > _MAX_GROWTH * n_source_chars + _MAX_EXTRA_CHARS:
        return GAP
    return result


def _render_simple_link(found: re.Match[str]) -> str:
    target, label = found.groups()
    if ":" in target and _is_dropped_target(target):
        return NOTHING
    return _show_link(target, label)


def _render_link(arguments: Sequence[Sequence[str]]) -> str:
    """A link's label; the target where it has none, as the pipe trick shortens it where that is empty."""
    label = "|".join("".join(pieces) for pieces in arguments[1:]) if len(arguments) > 1 else None
    return _show_link("".join(arguments[0]), label)


def _show_link(target: str, label: str | None) -> str:
    if label is None:
        return target.strip().removeprefix(":")
    if label and not label.isspace():
        return label
    short = _TRICK.match(target.strip())
    return short[1] if short else target
