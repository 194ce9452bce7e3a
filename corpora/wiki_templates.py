"""The templates of English Wikipedia that stand inside sentences: a name in, what to do with it out.

The rule: what is not known here is not guessed: it is dropped and counted as a gap. The answers: a function that
renders the call; a character to show; NOTE and QUIET, dropped, and no reader of the sentence misses them (notes and
marks of editors; pronunciations, pictures and boxes, which leave separators behind); None for what is not known.
"""

import re
from collections.abc import Callable

from corpora.wiki_calls import Call, Handler
from corpora.wiki_dates import DATE_TEMPLATES
from corpora.wiki_numbers import group_digits
from corpora.wiki_quantities import QUANTITY_TEMPLATES
from corpora.wiki_template_names import (
    BLOCKS,
    BRACKETED,
    CHARACTERS,
    NOTE_NAMES,
    NOTE_PREFIXES,
    PREFIXED,
    QUIET_NAMES,
    QUIET_PREFIXES,
    SHOWN,
)
from corpora.wiki_words import WORD_TEMPLATES, render_language

__all__ = ["NOTE", "QUIET", "find_template"]

NOTE, QUIET = "note", "quiet"

_FUNCTION = re.compile(r"(formatnum|lc|uc|lcfirst|ucfirst|plural|#language|nse)\s*:(.*)", re.DOTALL)


def _shown(call: Call) -> str | None:
    number = SHOWN[call.name]
    return call.first(number, "text") or (call.first(1) if len(call.positional) == 1 else None)


def _flag(call: Call) -> str | None:
    return call.first("name", 1) or None


def _prefixed(call: Call) -> str | None:
    """`{{circa|3000}}`; two dates are a span."""
    prefix, first, second = PREFIXED[call.name], call.first(1), call.first(2)
    if not first:
        return prefix.strip()
    return f"{prefix}{first} – {prefix}{second}" if second and call.name == "circa" else f"{prefix}{first}"


def _small_capitals(call: Call) -> str | None:
    return call.first(1).upper() or None


def _block(call: Call) -> str | None:
    text = call.first("text", "quote", 1)
    return f"\n\n{text}\n\n" if text else ""


def _concatenated(call: Call) -> str | None:
    joint = "+" if call.name in ("keypress", "key press") else ""
    return joint.join(call.numbered()) or None


def _list_in_line(call: Call) -> str | None:
    return ", ".join(call.numbered()) or None


def _bracketed(call: Call) -> str | None:
    return BRACKETED[call.name].format(call.first(1)) if call.first(1) else None


def _born_as(call: Call) -> str | None:
    return f"née {call.first(1)}".strip()


def _patent(call: Call) -> str | None:
    return f"U.S. Patent {group_digits(call.first(1))}" if call.first(1) else None


def _sort_name(call: Call) -> str | None:
    return " ".join(call.numbered()[:2]) or None


def _character_name(call: Call) -> str | None:
    """`{{unichar|2013|EN DASH}}`."""
    code = call.first(1).upper()
    return f"U+{code} {call.first(2).upper()}".strip() if code else None


def _era(call: Call) -> str | None:
    sign = call.name.upper()
    return f"{call.first(1)} {sign}".strip()


_TEMPLATES: dict[str, Handler] = {
    **dict.fromkeys(SHOWN, _shown),
    **dict.fromkeys(("flag", "flagcountry", "flagu", "flaglink"), _flag),
    **dict.fromkeys(PREFIXED, _prefixed),
    **dict.fromkeys(("sc", "small caps", "smallcaps all"), _small_capitals),
    **dict.fromkeys(BLOCKS, _block),
    **dict.fromkeys(("linktext", "keypress", "key press", "not a typo", "notatypo"), _concatenated),
    **dict.fromkeys(("hlist", "ubl", "unbulleted list", "csv"), _list_in_line),
    **dict.fromkeys(BRACKETED, _bracketed),
    **dict.fromkeys(("née", "nee", "born as"), _born_as),
    **dict.fromkeys(("us patent", "uspatent", "patent"), _patent),
    **dict.fromkeys(("sortname", "sort name"), _sort_name),
    **dict.fromkeys(("unichar", "u+"), _character_name),
    **dict.fromkeys(("ad", "ce", "bc", "bce"), _era),
    **QUANTITY_TEMPLATES,
    **DATE_TEMPLATES,
    **WORD_TEMPLATES,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "lc": str.lower,
    "uc": str.upper,
    "lcfirst": lambda text: text[:1].lower() + text[1:],
    "ucfirst": lambda text: text[:1].upper() + text[1:],
    "formatnum": group_digits,
    "nse": str.strip,
}


def find_template(name: str) -> Handler | str | None:
    """What to do with a template of this name (lower case): see the module.

    >>> find_template("snd"), find_template("cite web"), find_template("no such template")
    (' – ', 'note', None)
    """
    handler = _TEMPLATES.get(name)
    if handler:
        return handler
    if name in NOTE_NAMES or name.startswith(NOTE_PREFIXES):
        return NOTE
    if name in QUIET_NAMES or name.startswith(QUIET_PREFIXES):
        return QUIET
    if name in CHARACTERS:
        return CHARACTERS[name]
    if name.startswith("lang-"):
        return _language_of(name[5:])
    if name.startswith("script/"):
        return _first_parameter
    if function := _FUNCTION.fullmatch(name):
        return _FUNCTIONS.get(function[1]) and _call_function
    return None


def _language_of(code: str) -> Handler:
    return lambda call: render_language(code, call)


def _first_parameter(call: Call) -> str | None:
    return call.first(1) or None


def _call_function(call: Call) -> str | None:
    """`{{lc:TEXT}}`: the text stands in the name."""
    function = _FUNCTION.fullmatch(call.name)
    return _FUNCTIONS[function[1]](function[2].strip()) if function else None
