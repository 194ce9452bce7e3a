"""Takes out of wikitext what is no wikitext: comments, notes, formulas, code, galleries. Text in, text out.

The rule: one pass from left to right, in time that is linear in the text; whichever opens first wins, as in MediaWiki.
What stands in `<nowiki>` stays, its special characters written as entities, so that no later step takes it for markup.
An element that is never closed loses its tag and nothing else; so does a note inside which another note begins.
"""

import re

from corpora.wikitext_marks import FORMULA, GAP, NOTHING, close_up

__all__ = ["remove_opaque"]

# What is left in the place of an element with its content.
_REPLACEMENTS = {
    **dict.fromkeys(("references", "indicator", "maplink"), NOTHING),
    **dict.fromkeys(("ref", "templatestyles", "section"), ""),
    **dict.fromkeys(("math", "chem", "ce"), FORMULA),
    **dict.fromkeys(("hiero", "score"), GAP),
    **dict.fromkeys(
        ("gallery", "pre", "source", "syntaxhighlight", "timeline", "graph", "imagemap", "inputbox", "mapframe"),
        "\n\n",
    ),
    **dict.fromkeys(("templatedata", "includeonly", "categorytree", "table", "ul", "ol", "dl"), "\n\n"),
    "nowiki": "",
}
_OPENING = re.compile(rf"<!--|<({'|'.join(_REPLACEMENTS)})(?=[\s/>])", re.IGNORECASE)
_CLOSINGS = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in _REPLACEMENTS}
_OTHER_NOTE = re.compile(r"<ref(?:\s[^<>]*)?(?<!/)>", re.IGNORECASE)
_SPECIAL = re.compile(r"[\[\]{}|'<>=*#:;!_&~\n-]")
_PLAIN_FORMULA = re.compile(r"[A-Za-z0-9 ,.=+()/-]{1,40}")
_BLANK_AROUND_COMMENT = re.compile(r"[ \t]*\n")


def remove_opaque(text: str) -> str:
    """The text without them; see the module."""
    if "<" not in text:
        return text
    parts: list[str] = []
    done = 0
    closings: dict[str, re.Match[str] | None] = {}
    while opening := _OPENING.search(text, done):
        parts.append(text[done : opening.start()])
        if opening[1] is None:
            done = _skip_comment(text, opening.start(), parts)
            continue
        name = opening[1].lower()
        tag_end = text.find(">", opening.end())
        if tag_end < 0:
            done = opening.end()
            continue
        content = tag_end + 1
        if text[tag_end - 1] == "/":
            _append(parts, _REPLACEMENTS[name], text, content)
            done = content
            continue
        closing = _find_closing(text, name, content, closings)
        if closing is None or (name == "ref" and _OTHER_NOTE.search(text, content, closing.start())):
            done = content
            continue
        done = closing.end()
        _append(parts, _replace(name, text[opening.end() : content], text[content : closing.start()]), text, done)
    parts.append(text[done:])
    return "".join(parts)


def _append(parts: list[str], replacement: str, text: str, position: int) -> None:
    if replacement:
        parts.append(replacement)
    else:
        close_up(parts, text, position)


def _find_closing(text: str, name: str, position: int, known: dict[str, re.Match[str] | None]) -> re.Match[str] | None:
    """The next closing tag; what an earlier search found is used again, or each unclosed tag would cost a search."""
    if name in known:
        last = known[name]
        if last is None or last.start() >= position:
            return last
    known[name] = _CLOSINGS[name].search(text, position)
    return known[name]


def _skip_comment(text: str, start: int, parts: list[str]) -> int:
    """Where reading goes on after a comment. One that stands in a line of its own takes the line with it."""
    end = text.find("-->", start + 4)
    if end < 0:
        return len(text)
    end += 3
    line = text.rfind("\n", 0, start) + 1
    if not text[line:start].strip(" \t") and (blank := _BLANK_AROUND_COMMENT.match(text, end)):
        return blank.end()
    return end


def _replace(name: str, tag: str, content: str) -> str:
    if name == "nowiki":
        return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", content)
    if name == "math" and _PLAIN_FORMULA.fullmatch(content):
        return content
    if name in ("source", "syntaxhighlight") and "inline" in tag:
        return GAP
    return _REPLACEMENTS[name]
