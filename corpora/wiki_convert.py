"""`{{convert}}` and `{{cvt}}`: a quantity in one unit, shown in others too. Parameters in, text of the sentence out.

The rule: a number is never shown that the template would not show; what is not understood gives None, and is counted.

The rounding is the template's (Help:Convert, "Default rounding"): as many digits as the input has, corrected for the
ratio of the two numbers, but at least two that count; temperatures are measured from absolute zero for that, and keep
three. Numbers of a range are all shown with the precision of the one that needs most.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from corpora.wiki_numbers import format_decimal, parse_number, spell_number
from corpora.wiki_units import COMPOSITES, Unit, find_unit

__all__ = ["convert_quantity"]

_FUDGE = 1e-14  # logarithms of powers of ten come out a little low
_MAX_VALUES = 6
_MAX_DIGITS = 30
# What may stand between two numbers -> how it is written before unit names, and before symbols.
_RANGES = {
    **dict.fromkeys(("-", "–", "to(-)", "and(-)"), ("–", "–")),
    **dict.fromkeys(("to", "or", "and"), ("", "")),
    **dict.fromkeys(("by", "x", "×", "*", "by(x)", "x(by)"), (" by ", " × ")),
    **dict.fromkeys(("±", "+/-", "+-"), (" ± ", " ± ")),
    "+": (" + ", " + "),
    "/": ("/", "/"),
    ",": (", ", ", "),
    "to about": (" to about ", " to about "),
}
_REPEATS_SYMBOL = frozenset(("by", "x", "×", "*", "by(x)", "x(by)"))
_INLINE_RANGE = re.compile(r"([+−-]?[\d.,]{1,30}(?:e\d{1,2})?) ?(?:–|-|&ndash;) ?([\d.,]{1,30}(?:e\d{1,2})?)", re.ASCII)
_FRACTION = re.compile(r"(?:(\d{1,15})(?:\+| +)|([+−-]))?(\d{1,15})(?:/{1,2}|⁄)(\d{1,15})", re.ASCII)
_POWERS = {"thousand": "³", "million": "⁶", "billion": "⁹", "trillion": "¹²", "quadrillion": "¹⁵"}
_DISPLAYS = {
    "or": (" or ", ""),
    "comma": (", ", ""),
    "sqbr": (" [", "]"),
    "br": (" ", ""),
    "br()": (" (", ")"),
    "/": (" / ", ""),
    "slash": (" / ", ""),
    "": (" (", ")"),
    "b": (" (", ")"),
    "flip": (" (", ")"),
    "nocat": (" (", ")"),
}
_US_SPELLING = (("metre", "meter"), ("litre", "liter"), ("tonne", "metric ton"))


class _Value(NamedTuple):
    """A number as it was given."""

    number: float
    shown: str
    n_decimals: float  # that count; negative for zeros that do not


class _Quantity(NamedTuple):
    """Numbers with a unit, or two with a unit each ("6 ft 1 in")."""

    values: tuple[_Value, ...]
    joints: tuple[str, ...]  # keys of _RANGES between them
    units: tuple[Unit, ...]


class _Request(NamedTuple):
    """All that the call asks for."""

    given: _Quantity
    targets: tuple[tuple[Unit, ...], ...]
    n_decimals: int | None
    words: tuple[str, ...]  # parameters left over, for adj=mid and disp=x


def convert_quantity(positional: Sequence[str], named: Mapping[str, str], *, abbreviate: bool = False) -> str | None:
    """What the template shows, None if that cannot be said.

    >>> convert_quantity(["1300", "mi", "km"], {}), convert_quantity(["5", "ft", "11", "in", "cm"], {"abbr": "on"})
    ('1,300 miles (2,100 km)', '5 ft 11 in (180 cm)')
    >>> convert_quantity(["60", "to", "70", "mph"], {"adj": "on"}), convert_quantity(["-40", "C"], {})
    ('60-to-70-mile-per-hour (97 to 113 km/h)', '−40 °C (−40 °F)')
    """
    options = {key: value.strip() for key, value in named.items()}
    try:
        request = _read(positional, options)
        return None if request is None else _show(request, options, abbreviate=abbreviate)
    except (OverflowError, ZeroDivisionError, ArithmeticError):
        return None


def _read(positional: Sequence[str], options: Mapping[str, str]) -> _Request | None:
    given = [parameter.strip().replace("\xa0", " ").replace("&nbsp;", " ") for parameter in positional]
    quantity, rest = _read_quantity(given)
    if quantity is None:
        return None
    targets: tuple[tuple[Unit, ...], ...] | None = None
    if rest and rest[0] and parse_number(rest[0]) is None:
        targets = _read_targets(rest[0])
        rest = rest[1:] if targets else rest
    elif rest and not rest[0]:
        rest = rest[1:]
    n_decimals = None
    if rest and re.fullmatch(r"[-−]?\d{1,2}", rest[0], re.ASCII):
        n_decimals, rest = int(rest[0].replace("−", "-")), rest[1:]
    if targets is None:
        if any(rest) and "adj" not in options and options.get("disp") != "x":
            return None  # a unit that is not known
        pair = tuple(unit.code for unit in quantity.units)
        targets = _read_targets(COMPOSITES[pair] if len(pair) == 2 else quantity.units[0].default)
    wanted = quantity.units[0].quantity
    if not targets or any(unit.quantity != wanted for group in targets for unit in group):
        return None
    return _Request(quantity, targets, n_decimals, tuple(rest))


def _read_quantity(given: Sequence[str]) -> tuple[_Quantity | None, list[str]]:
    first, index = _read_values(given[0] if given else ""), 1
    if first is None:
        return None, []
    values, joints = list(first), ["-"] * (len(first) - 1)
    while index + 1 < len(given) and given[index] in _RANGES and len(values) < _MAX_VALUES:
        more = _read_values(given[index + 1])
        if more is None:
            return None, []
        joints.append(given[index])
        values += more
        index += 2
    unit = find_unit(given[index]) if index < len(given) else None
    if unit is None:
        return None, []
    index += 1
    units: tuple[Unit, ...] = (unit,)
    if len(values) == 1 and index + 1 < len(given):
        smaller, second = find_unit(given[index + 1]), _read_values(given[index])
        if smaller and second and len(second) == 1 and (unit.code, smaller.code) in COMPOSITES:
            values, units, index = [*values, *second], (unit, smaller), index + 2
    return _Quantity(tuple(values), tuple(joints), units), list(given[index:])


def _read_values(text: str) -> list[_Value] | None:
    """The number in a parameter, or the two of a range that was written into one."""
    inline = _INLINE_RANGE.fullmatch(text)
    values = [_read_value(part) for part in (inline.groups() if inline else (text,))]
    return [value for value in values if value] if all(values) else None


def _read_value(text: str) -> _Value | None:
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        whole, sign, above, below = fraction.groups()
        if not int(below):
            return None
        number = (int(whole or 0) + int(above) / int(below)) * (-1 if sign in ("-", "−") else 1)
        shown = f"{whole + ' ' if whole else ''}{'−' if sign in ('-', '−') else ''}{above}/{below}"
        return _Value(number, shown, max(math.log10(int(below)), 1))
    parsed = parse_number(text)
    if parsed is None:
        return None
    value, n_decimals = parsed
    mantissa, _, exponent = text.replace("−", "-").replace(",", "").lower().partition("e")
    shown = format_decimal(Decimal(mantissa.replace("–", "-")), len(mantissa.partition(".")[2]))
    if exponent:
        raised = str(int(exponent)).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
        shown = f"{shown}×10{raised}"
    return _Value(float(value), shown, n_decimals)


def _read_targets(code: str) -> tuple[tuple[Unit, ...], ...] | None:
    """The units to show: one, several separated by spaces, or a composite such as "ftin"."""
    groups: list[tuple[Unit, ...]] = []
    for word in code.replace("+", " ").split(" "):
        composite = next((pair for pair in COMPOSITES if word == "".join(pair)), None)
        units = [find_unit(part) for part in (composite or (word,))]
        if not all(units):
            return None
        groups.append(tuple(unit for unit in units if unit))
    return tuple(groups) if groups else None


def _show(request: _Request, options: Mapping[str, str], *, abbreviate: bool) -> str | None:
    style = _Style.read(options, abbreviate=abbreviate)
    given = _show_given(request.given, style)
    shown = [_show_target(request, target, options, style) for target in request.targets]
    if not all(shown):
        return None
    converted = "; ".join(text for text in shown if text)
    flipped = options.get("order") == "flip" or options.get("disp") == "flip"
    if flipped:
        given = _show_given(request.given, style._replace(input_symbol=style.output_symbol, hyphenated=False))
        leading = style._replace(output_symbol=style.input_symbol)
        shown = [_show_target(request, target, options, leading, leads=True) for target in request.targets]
        converted, given = given, "; ".join(text for text in shown if text)
    if options.get("adj") in ("mid", "pre") and request.words and request.words[0]:
        given = _insert_word(given, request.words[0], options["adj"])
    return _arrange(given, converted, request, options)


def _arrange(given: str, converted: str, request: _Request, options: Mapping[str, str]) -> str | None:
    display = options.get("disp", "")
    if display in ("out", "output only"):
        return converted
    if display in ("number", "output number only"):
        return converted.split(" ")[0]
    if display in ("input", "input only"):
        return given
    if display in ("unit", "unit2", "unit or text", "preunit") or display.startswith("table"):
        return None
    if display == "x" and request.words:
        before, after = request.words[0], request.words[1] if len(request.words) > 1 else ""
        return f"{given}{'' if before.startswith(' ') else ' '}{before}{converted}{after}"
    before, after = _DISPLAYS.get(display, _DISPLAYS[""])
    return f"{given}{before}{converted}{after}"


def _insert_word(given: str, word: str, place: str) -> str:
    number, _, unit = given.partition("-" if "-" in given else " ")
    if place == "pre":
        return f"{number} {word.strip()} {unit}"
    return f"{given}{word}" if word.startswith("-") else f"{given} {word}"


class _Style(NamedTuple):
    """How numbers and units are written."""

    input_symbol: bool
    output_symbol: bool
    named_multiples: bool  # "2 million km²" where it would be "2×10⁶ km²"
    hyphenated: bool
    american: bool
    group: bool
    spelled: str

    @staticmethod
    def read(options: Mapping[str, str], *, abbreviate: bool) -> "_Style":
        abbr = options.get("abbr") or ("on" if abbreviate else "out")
        return _Style(
            input_symbol=abbr in ("on", "in", "unit", "~", "mos"),
            output_symbol=abbr in ("on", "out", "unit", "~", "mos"),
            named_multiples=abbr == "unit",
            hyphenated=options.get("adj") in ("on", "mid", "pre", "1") or options.get("sing") == "on",
            american=options.get("sp") == "us",
            group=options.get("comma") not in ("off", "no"),
            spelled=options.get("spell", ""),
        )


def _show_given(quantity: _Quantity, style: _Style) -> str:
    numbers = [value.shown if style.group else value.shown.replace(",", "") for value in quantity.values]
    if style.spelled:
        numbers = [_spell(value, style.spelled) if index == 0 or style.spelled else value.shown
                   for index, value in enumerate(quantity.values)]  # fmt: skip
    if len(quantity.units) == 2:
        joint = "-" if style.hyphenated and not style.input_symbol else " "
        parts = [
            _attach(number, unit, value.shown == "1", style, symbol=style.input_symbol, hyphenated=style.hyphenated)
            for number, unit, value in zip(numbers, quantity.units, quantity.values, strict=True)
        ]
        return joint.join(parts)
    single = quantity.values[-1].shown == "1" and len(numbers) == 1
    return _join(
        numbers, quantity.joints, quantity.units[0], style, symbol=style.input_symbol, single=single,
        hyphenated=style.hyphenated,
    )  # fmt: skip


def _join(
    numbers: Sequence[str], joints: Sequence[str], unit: Unit, style: _Style, *, symbol: bool, single: bool,
    hyphenated: bool,
) -> str:  # fmt: skip
    """Numbers and what stands between them, then the unit; it is repeated in dimensions ("2 m × 3 m")."""
    symbol = symbol or "temperature" in unit.quantity
    hyphenated = hyphenated and not symbol
    if symbol and any(joint in _REPEATS_SYMBOL for joint in joints):
        numbers = [
            *(_attach(number, unit, False, style, symbol=True, hyphenated=False) for number in numbers[:-1]),
            numbers[-1],
        ]
    text = numbers[0]
    for joint, number in zip(joints, numbers[1:], strict=True):
        before_name, before_symbol = _RANGES[joint]
        between = (before_symbol if symbol else before_name) or f" {joint} "
        if joint.endswith("(-)") and not symbol:
            between = f" {joint[:-3]} "
        text += (between.replace(" ", "-") if hyphenated and between.strip().isalpha() else between) + number
    return _attach(text, unit, single, style, symbol=symbol, hyphenated=hyphenated)


def _attach(text: str, unit: Unit, single: bool, style: _Style, *, symbol: bool, hyphenated: bool) -> str:
    if symbol or "temperature" in unit.quantity:
        if unit.multiple and not style.named_multiples:
            text = f"{text}×10{_POWERS[unit.multiple]}"
        elif unit.multiple:
            text = f"{text} {unit.multiple}"
        return f"{text}{'' if unit.symbol.startswith('/') else ' '}{unit.symbol}"
    name = unit.name if single or hyphenated else unit.plural
    for british, american in _US_SPELLING if style.american else ():
        name = name.replace(british, american)
    if unit.multiple:
        name = f"{unit.multiple} {name}"
    return f"{text}-{name.replace(' ', '-')}" if hyphenated else f"{text} {name}"


def _spell(value: _Value, how: str) -> str:
    words = spell_number(int(value.number)) if value.number == int(value.number) else None
    if words is None:
        return value.shown
    return words.capitalize() if how[0].isupper() else words


def _show_target(
    request: _Request, target: tuple[Unit, ...], options: Mapping[str, str], style: _Style, *, leads: bool = False
) -> str | None:
    quantity, unit = request.given, target[-1]
    numbers = _convert_values(quantity, unit)
    if len(target) == 2:
        return None if len(numbers) > 1 else _show_composite(numbers[0], quantity, target, request, style)
    decimals = [
        _count_decimals(value, number, quantity, unit, request.n_decimals, options)
        for value, number in zip(_values_to_convert(quantity), numbers, strict=True)
    ]
    most = max(decimals)
    if any(abs(count) > _MAX_DIGITS for count in decimals):
        return None
    each = options.get("round") == "each" or options.get("sigfig")
    shown = [
        _format(number, count if each else most, options, style)
        for number, count in zip(numbers, decimals, strict=True)
    ]
    if options.get("spell") == "on":
        shown = [_spell(_Value(float(text), text, 0), "on") if text.isdecimal() else text for text in shown]
    single = shown == ["1"]
    hyphenated = style.hyphenated and (leads or not style.output_symbol)
    return _join(shown, quantity.joints, unit, style, symbol=style.output_symbol, single=single, hyphenated=hyphenated)


def _values_to_convert(quantity: _Quantity) -> tuple[_Value, ...]:
    """One value where two units were given: the sum, as precise as its second part."""
    if len(quantity.units) == 1:
        return quantity.values
    return (_Value(quantity.values[0].number, "", max(quantity.values[1].n_decimals, 0)),)


def _convert_values(quantity: _Quantity, unit: Unit) -> list[float]:
    if len(quantity.units) == 2:
        first, second = quantity.values
        sign = -1 if first.number < 0 else 1
        size = first.number * quantity.units[0].scale + sign * second.number * quantity.units[1].scale
        return [size / unit.scale]
    given = quantity.units[0]
    if given.inverse != unit.inverse:
        if given.inverse:
            return [given.scale / value.number / unit.scale for value in quantity.values]
        return [unit.scale / (value.number * given.scale) for value in quantity.values]
    if given.code == unit.code:
        return [value.number for value in quantity.values]
    return [(value.number + given.offset) * given.scale / unit.scale - unit.offset for value in quantity.values]


def _count_decimals(
    value: _Value, converted: float, quantity: _Quantity, unit: Unit, asked: int | None, options: Mapping[str, str]
) -> int:
    """How many decimals a converted number is shown with; negative: so many of its last digits are zeros."""
    if asked is not None:
        return asked
    size = abs(converted)
    sigfig = options.get("sigfig", "")
    if sigfig.isascii() and sigfig.isdecimal() and 0 < int(sigfig) <= _MAX_DIGITS:
        return int(sigfig) - 1 - math.floor(math.log10(size) + _FUDGE) if size else 0
    given = quantity.units[-1]
    if given.quantity == "temperature":
        kelvins = abs((value.number + given.offset) * given.scale)
        least = 2 if kelvins < 1e-8 else 2 - math.floor(math.log10(kelvins) + _FUDGE)
        return max(math.floor(value.n_decimals), least)
    if not size or not value.number:
        return 0
    if len(quantity.units) == 2 and given.code == "in":
        ratio = math.log10(unit.scale) + 2  # inches after feet ask for more
    else:
        ratio = math.log10(abs(value.number) / size)
    least = 1 - math.floor(math.log10(size) + _FUDGE)
    return max(math.floor(value.n_decimals + ratio + math.log10(2)), least)


def _format(number: float, n_decimals: int, options: Mapping[str, str], style: _Style) -> str:
    step = options.get("round", "")
    # Twelve digits are what a double has to spare: 0.3 * 10 must not round as 2.9999999999999996.
    exact = Decimal(f"{number:.12g}")
    if step in ("5", "10", "25", "50", "0.5"):
        size = Decimal(step)
        exact, n_decimals = round(exact / size) * size, 1 if step == "0.5" else 0
    return format_decimal(exact, n_decimals, group=style.group)


def _show_composite(
    number: float, quantity: _Quantity, target: tuple[Unit, ...], request: _Request, style: _Style
) -> str | None:
    """Feet and inches, stones and pounds."""
    larger, smaller = target
    value = _values_to_convert(quantity)[0]
    decimals = max(0, _count_decimals(value, number, quantity, smaller, request.n_decimals, {}))
    per = round(larger.scale / smaller.scale)
    rounded = Decimal(f"{abs(number):.12g}").quantize(Decimal(1).scaleb(-decimals))
    whole, rest = divmod(rounded, per)
    parts = [
        _attach(format_decimal(part, count), unit, part == 1, style, symbol=style.output_symbol, hyphenated=False)
        for part, count, unit in ((whole, 0, larger), (rest, decimals, smaller))
    ]
    return ("−" if number < 0 else "") + " ".join(parts)
