"""Pieces of the report's page: tables, bars, columns. Every string that comes in is escaped here, once.

A `str` given to these functions is text, whatever it holds; only `Markup`, which they return, is HTML.
"""

import html
from collections.abc import Iterable, Sequence
from typing import NewType

from inspection.plain_text import percent, printable

Markup = NewType("Markup", str)

EMPTY = Markup("")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def escape(text: str) -> Markup:
    """Text as HTML: markup is inert, and characters that are not seen (controls, bidi marks) are spelled out."""
    return Markup(html.escape(printable(text), quote=True))


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("\n".join(part for part in parts if part))


def foreign(text: str) -> Markup:
    """A name that others chose: isolated, so that right-to-left text in it moves nothing around it."""
    return Markup(f"<bdi>{escape(text)}</bdi>")


def section(title: str, body: Markup, *, note: str = "") -> Markup:
    said = f"<p>{escape(note)}</p>\n" if note else ""
    return Markup(f"<section>\n<h2>{escape(title)}</h2>\n{said}{body}\n</section>")


def side_by_side(sections: Iterable[Markup]) -> Markup:
    """Sections in one row where the screen is wide enough."""
    return Markup(f'<div class="pair">\n{join(sections)}\n</div>')


def folded(summary: str, body: Markup, *, printed: bool = False) -> Markup:
    """What only some readers want, behind a click; on paper where it was unfolded, or `printed` in any case."""
    kind = ' class="printed"' if printed else ""
    return Markup(f"<details{kind}>\n<summary>{escape(summary)}</summary>\n{body}\n</details>")


def empty(text: str) -> Markup:
    return Markup(f'<p class="empty">{escape(text)}</p>')


def tiles(figures: Iterable[tuple[str, str, str]]) -> Markup:
    """(name, figure, remark) of the few numbers that matter most."""
    cells = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(figure)}<small>{escape(remark)}</small></dd></div>"
        for name, figure, remark in figures
    ]
    return Markup('<dl class="tiles">\n' + "\n".join(cells) + "\n</dl>")


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = (), mono: Iterable[int] = ()
) -> Markup:
    """A plain table of text; columns by number are right-aligned figures or fixed-pitch names."""
    style = ["n" if k in set(numeric) else "mono" if k in set(mono) else "" for k in range(len(head))]
    top = [f"<th{_class(name)}>{escape(title)}</th>" for title, name in zip(head, style, strict=True)]
    lines = []
    for row in rows:
        cells = [f"<td{_class(name)}>{foreign(cell)}</td>" for cell, name in zip(row, style, strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(lines)
    return Markup(
        f'<div class="wide" tabindex="0"><table class="rows">\n<thead><tr>{"".join(top)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def bar(
    label: Markup, count: int, whole: int, *, start: int = 0, scale: int | None = None, kind: str = "data"
) -> Markup:
    """One row of bars: `count` of `whole` drawn from `start` on, long as a share of `scale` (default `whole`)."""
    scale = whole if scale is None else scale
    width = 100 * count / scale if scale else 0.0
    left = min(100 * start / scale if scale else 0.0, 99.6)  # the least bar still shows at the right end
    none = "" if count else ' class="none"'
    drawn = f'<span class="track"><i{none} style="width:{width:.2f}%;margin-left:{left:.2f}%"></i></span>'
    return Markup(
        f'<tr class="{kind}"><th scope="row">{label}</th><td class="b">{drawn}</td>'
        f'<td class="n">{count:,}</td><td class="n p">{escape(percent(count, whole))}</td></tr>'
    )


def bars(rows: Iterable[Markup]) -> Markup:
    return Markup('<table class="bars">\n<tbody>\n' + "\n".join(rows) + "\n</tbody>\n</table>")


def columns(values: Sequence[tuple[str, int, str]], *, label: str) -> Markup:
    """A histogram of (name below, count, what it says when pointed at); `label` is what is read out."""
    top = max((count for _, count, _ in values), default=0) or 1
    items = [
        f'<li title="{escape(said)}"><b>{_short(count)}</b><span><i style="height:{100 * count / top:.2f}%"></i></span>'
        f"<em>{escape(name)}</em></li>"
        for name, count, said in values
    ]
    return Markup(f'<ol class="columns" aria-label="{escape(label)}">\n' + "\n".join(items) + "\n</ol>")


def color_key(entries: Iterable[tuple[str, str]]) -> Markup:
    """(name of a colour of the style sheet, what it stands for)."""
    items = [f'<li><i style="background:var(--{kind})"></i>{escape(said)}</li>' for kind, said in entries]
    return Markup('<ul class="key">' + "".join(items) + "</ul>")


def page(title: str, style: str, body: Markup) -> str:
    """A whole page that may load nothing from anywhere: the policy holds even against our own mistakes."""
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _short(count: int) -> str:
    """A count in at most six characters.

    >>> [_short(n) for n in (0, 12_345, 123_456, 1_234_567, 63_000_000)]
    ['0', '12,345', '123k', '1.23M', '63.0M']
    """
    if count < 100_000:
        return f"{count:,}"
    number: float = count
    for unit in "kMGT":
        number /= 1_000
        if number < 999.5 or unit == "T":
            break
    return f"{number:.{max(0, 3 - len(f'{number:.0f}'))}f}{unit}"
