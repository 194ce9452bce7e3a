"""Text for a terminal: what came from the web made harmless, numbers made readable, rows made a table.

Titles, URLs and texts are other people's bytes: none of them may move the cursor, hide characters or
turn the line round, so nothing reaches the terminal that has not been through `printable`.
"""

import unicodedata
from collections.abc import Iterable, Sequence

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # control, format (bidi marks), surrogates, unassigned
_KEPT_FORMAT = frozenset({"\u200c", "\u200d"})  # joiners that Persian, Hindi and emoji are written with


def printable(text: str, *, keep_newlines: bool = False) -> str:
    r"""The text with every character that is not seen written as its escape.

    >>> printable("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    if text.isprintable():
        return text
    kept = "\n\t" if keep_newlines else ""
    return "".join(c if c in kept or c.isprintable() else _escape(c) for c in text)


def one_line(text: str, *, max_chars: int) -> str:
    """The beginning of a text on one line, its white space collapsed, an ellipsis where it was cut.

    >>> one_line("One\\n\\ntwo  three four", max_chars=12)
    'One two thr…'
    """
    line = printable(" ".join(text[: 8 * max_chars + 64].split()))
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"


def percent(part: float, whole: float) -> str:
    """A share, with one digit more where it would round to nothing.

    >>> percent(1, 3), percent(0, 3), percent(3, 3), percent(1, 3000), percent(1, 0)
    ('33.3 %', '0 %', '100 %', '0.03 %', '–')
    """
    if not whole:
        return "–"
    share = 100 * part / whole
    if share in (0, 100):
        return f"{share:.0f} %"
    if share < 0.01:
        return "< 0.01 %"
    if 99.99 < share < 100:
        return "> 99.99 %"
    return f"{share:.2f} %" if share < 0.1 or 99.9 < share < 100 else f"{share:.1f} %"


def size(n_bytes: float) -> str:
    """Bytes in binary units.

    >>> size(999), size(1536), size(76 * 2**30)
    ('999 B', '1.50 KiB', '76.0 GiB')
    """
    if n_bytes < 1024:
        return f"{n_bytes:,.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        n_bytes /= 1024
        if n_bytes < 1023.95 or unit == "TiB":
            break
    return f"{n_bytes:,.{max(0, 3 - len(f'{n_bytes:.0f}'))}f} {unit}"


def format_table(rows: Iterable[Sequence[str]], *, align: str, indent: str = "  ", gap: str = "  ") -> list[str]:
    """Lines of aligned columns; `align` has a letter a column, l or r.

    >>> format_table([("kept", "1,024"), ("short", "7")], align="lr")
    ['  kept   1,024', '  short      7']
    """
    table = [tuple(row) for row in rows]
    widths = [max((_width(row[k]) for row in table), default=0) for k in range(len(align))]
    return [indent + gap.join(map(_pad, row, widths, align)).rstrip() for row in table]


def heading(title: str) -> list[str]:
    """A title and its underline, after an empty line."""
    return ["", title, "-" * _width(title)]


def _pad(text: str, width: int, side: str) -> str:
    space = " " * (width - _width(text))
    return space + text if side == "r" else text + space


def _width(text: str) -> int:
    """Terminal cells: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in _KEPT_FORMAT:
        return character
    if unicodedata.category(character) not in _UNSEEN:
        return " "  # the other spaces
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
