"""A chart of curves as one SVG file: numbers in, a picture out that needs nothing else to be seen.

In: named curves of (x, y), y above 0. Out: SVG text. The rule: y is on a logarithmic scale, for a loss that falls by
halves; every tick says its number; names are in a column of their own beside the plot, so that no label hides a curve.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

# Okabe and Ito's colours, told apart by people who are colour-blind; yellow is left out, it is hard to see on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("", "8 4", "2 4", "10 4 2 4")  # of a second, third, fourth round of colours
LEFT, RIGHT, TOP, BOTTOM = 84, 28, 56, 64  # px around the plot
WIDTH, HEIGHT = 640, 400  # px of the plot alone
LINE, CHARACTER, SAMPLE = 22, 7.4, 34  # px: of the legend, a line's height, the width of a letter at 13 px, the stroke
MAX_TICKS = 8
MAX_VALUE = 1e30  # of a point, and of 1 / y: what lies beyond has diverged, and would flatten all the rest
# Digits of the ticks of a logarithmic axis, from coarse to fine.
_DIGITS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0))
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Curve(NamedTuple):
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]  # (x, y) by growing x


class Scale(NamedTuple):
    """The plot's edges in the units of the data; y is logarithmic."""

    x_last: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + WIDTH * value / self.x_last

    def y(self, value: float) -> float:
        """Pixels from the top."""
        height = math.log(value / self.y_low) / math.log(self.y_high / self.y_low)
        return TOP + HEIGHT * (1 - height)


def draw_chart(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> str:
    """The chart; points that have no place on it (x below 0, y not above 0, or beyond MAX_VALUE) are left out."""
    curves = [Curve(name, tuple(filter(_has_place, points))) for name, points in curves]
    scale = make_scale(curves)
    legend = max((len(curve.name) for curve in curves), default=0) * CHARACTER + SAMPLE + 20
    width, height = round(LEFT + WIDTH + RIGHT + legend), max(TOP + HEIGHT + BOTTOM, TOP + LINE * len(curves) + 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="13" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(LEFT, 30, title, size=16, weight="600"),
        *_draw_axes(scale, x_label=x_label, y_label=y_label),
        *(part for number, curve in enumerate(curves) for part in _draw_curve(number, curve, scale)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def make_scale(curves: Sequence[Curve]) -> Scale:
    """Edges that hold every point: x from 0 on, y with a little room above and below."""
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    low, high = (min(ys), max(ys)) if ys else (1.0, 10.0)
    room = max((high / low) ** 0.05, 1.1)  # also where all are the same
    return Scale(max(1.0, *xs) if xs else 1.0, low / room, high * room)


def linear_ticks(first: float, last: float) -> list[float]:
    """Multiples of a round number between two, 3 to MAX_TICKS + 1 of them.

    >>> linear_ticks(0, 1_000)
    [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]
    """
    power = 10.0 ** math.floor(math.log10(last - first))
    step = next(step * power for step in (0.1, 0.2, 0.5, 1.0, 2.0) if (last - first) / (step * power) <= MAX_TICKS)
    return [number * step for number in range(math.ceil(first / step), math.floor(last / step * (1 + 1e-9)) + 1)]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, as evenly as a logarithm allows; evenly spaced ones where the range is narrow.

    >>> logarithmic_ticks(90, 5_000)
    [100.0, 300.0, 1000.0, 3000.0]
    >>> logarithmic_ticks(810, 1_010)
    [850.0, 900.0, 950.0, 1000.0]
    """
    for digits in _DIGITS:
        found = list(_within(low, high, digits))
        if len(found) >= 4:
            return found[:: math.ceil(len(found) / MAX_TICKS)]
    return linear_ticks(low, high)


def show_number(value: float) -> str:
    """A number as short as it can be.

    >>> [show_number(value) for value in (0, 3.5, 250, 1_500, 4_096_000, 2e12)]
    ['0', '3.5', '250', '1.5k', '4.096M', '2T']
    """
    for unit, name in _UNITS:
        if abs(value) >= unit * (1 - 1e-9):
            return f"{value / unit:.4g}{name}"
    return f"{value:.4g}"


def _within(low: float, high: float, digits: Sequence[float]) -> Iterator[float]:
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in digits:
            if low <= (value := digit * 10.0**exponent) <= high:
                yield value


def _has_place(point: tuple[float, float]) -> bool:
    return 0 <= point[0] <= MAX_VALUE and 1 / MAX_VALUE <= point[1] <= MAX_VALUE


def _draw_axes(scale: Scale, *, x_label: str, y_label: str) -> Iterator[str]:
    bottom, right = TOP + HEIGHT, LEFT + WIDTH
    for value in linear_ticks(0.0, scale.x_last):
        x = scale.x(value)
        yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#e3e3e3"/>'
        yield _text(x, bottom + 20, show_number(value), anchor="middle")
    for value in logarithmic_ticks(scale.y_low, scale.y_high):
        y = scale.y(value)
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e3e3e3"/>'
        yield _text(LEFT - 8, y + 4, show_number(value), anchor="end")
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="#555" fill="none"/>'
    yield _text(LEFT + WIDTH / 2, bottom + 46, x_label, anchor="middle")
    x, y = 24, TOP + HEIGHT / 2
    yield f'<g transform="rotate(-90 {x} {y})">{_text(x, y, y_label, anchor="middle")}</g>'


def _draw_curve(number: int, curve: Curve, scale: Scale) -> Iterator[str]:
    """A line through its points, and its name in the legend."""
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    stroke = f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2" fill="none" stroke-linejoin="round"' + (
        f' stroke-dasharray="{dash}"' if dash else ""
    )
    points = [f"{scale.x(x):.1f} {scale.y(y):.1f}" for x, y in curve.points]
    if len(points) == 1:  # a line of one point would not be seen
        points.append(points[0])
    if points:
        yield f'<path d="M{"L".join(points)}" {stroke} stroke-linecap="round"/>'
    x, y = LEFT + WIDTH + RIGHT, TOP + LINE * number + 8
    yield f'<path d="M{x} {y}h{SAMPLE - 8}" {stroke}/>'
    yield _text(x + SAMPLE, y + 4, curve.name)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: str = "400") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
