"""Templates of numbers, quantities and formulas: `{{val}}`, `{{frac}}`, `{{chem}}`. A call in, text out."""

import re

from corpora.wiki_calls import Call, Handler
from corpora.wiki_convert import convert_quantity
from corpora.wiki_numbers import format_fraction, group_digits, ordinal, parse_number, spell_number, to_superscript

__all__ = ["QUANTITY_TEMPLATES"]

_CHARGE = re.compile(r"\d*[+−–-]+", re.ASCII)
# Gauges of railways as the template shows them: input, then (conversion).
_GAUGES = {
    "1435mm": "1,435 mm (4 ft 8 1/2 in)", "1000mm": "1,000 mm (3 ft 3 3/8 in)", "1067mm": "1,067 mm (3 ft 6 in)",
    "1668mm": "1,668 mm (5 ft 5 21/32 in)", "1520mm": "1,520 mm (4 ft 11 27/32 in)", "1524mm": "1,524 mm (5 ft)",
    "1600mm": "1,600 mm (5 ft 3 in)", "1676mm": "1,676 mm (5 ft 6 in)", "762mm": "762 mm (2 ft 6 in)",
    "600mm": "600 mm (1 ft 11 5/8 in)", "610mm": "610 mm (2 ft)", "750mm": "750 mm (2 ft 5 1/2 in)",
    "914mm": "914 mm (3 ft)", "1372mm": "1,372 mm (4 ft 6 in)", "950mm": "950 mm (3 ft 1 3/8 in)",
    "4ft8.5in": "4 ft 8 1/2 in (1,435 mm)", "3ft6in": "3 ft 6 in (1,067 mm)", "3ft": "3 ft (914 mm)",
    "2ft6in": "2 ft 6 in (762 mm)", "2ft": "2 ft (610 mm)", "5ft": "5 ft (1,524 mm)", "5ft3in": "5 ft 3 in (1,600 mm)",
    "5ft6in": "5 ft 6 in (1,676 mm)", "standard": "1,435 mm (4 ft 8 1/2 in)", "sg": "1,435 mm (4 ft 8 1/2 in)",
}  # fmt: skip


def _convert(call: Call) -> str | None:
    return convert_quantity(call.positional, call.named, abbreviate=call.name == "cvt")


def _fraction(call: Call) -> str | None:
    return format_fraction(list(call.positional))


def _value(call: Call) -> str | None:
    """`{{val|6.241|0.002|e=18|u=m}}`; groups of digits are written with commas."""
    if not call.first(1) or (any(key in call.named for key in ("ul", "up", "upl")) and call.first("end", "suffix")):
        return None
    number = call.first("p") + group_digits(call.first(1))
    if spread := call.first(2):
        low = call.first(3)
        number += f"(+{spread} −{low})" if low else f" ± {spread}"
    if power := call.first("e"):
        number += f"×10{to_superscript(power)}"
    unit = call.first("u", "ul")
    per = call.first("up", "upl")
    if per:
        unit += f"/{per}"
    return f"{number}{'' if unit.startswith(('%', '°')) and unit[1:] == '' else ' '}{unit}".strip()


def _power_of_ten(call: Call) -> str | None:
    power = to_superscript(call.first(1).replace("-", "−"))
    return f"{'' if call.name == '10^' else '×'}10{power}" if power else None


def _format_number(call: Call) -> str | None:
    return group_digits(call.first(1)) or None


def _superscript(call: Call) -> str | None:
    return to_superscript(call.first(1))


def _stacked(call: Call) -> str | None:
    """`{{su|p=+|b=4}}`: above and below the line."""
    return call.first("b", 2) + to_superscript(call.first("p", 1))


def _chemical(call: Call) -> str | None:
    """`{{chem|NH|4|+}}`: symbols and counts in turn; a charge is raised, counts are not lowered."""
    parts = [part.strip() for part in call.positional]
    return "".join(to_superscript(part) if _CHARGE.fullmatch(part) else part for part in parts) or None


_LOWERED = re.compile(r"_\{([^{}]*)\}")


def _equation(call: Call) -> str | None:
    """`{{chem2|C_{n}H_{2n+2}}}`: a formula written in one piece."""
    text = _LOWERED.sub(r"\1", call.first(1))
    return text.replace("<->", "⇌").replace("->", "→").replace("<-", "←") or None


def _gauge(call: Call) -> str | None:
    return _GAUGES.get(re.sub(r"[\s,.]|&nbsp;", "", call.first(1)).lower()) or _GAUGES.get(call.first(1).lower())


_SOLAR = {"solar luminosity": "L☉", "solar mass": "M☉", "solar radius": "R☉", "jupiter mass": "MJ", "earth mass": "M⊕"}


def _in_suns(call: Call) -> str | None:
    return f"{call.first(1)} {_SOLAR[call.name]}".strip()


def _population_density(call: Call) -> str | None:
    """`{{Pop density|people|area|km2|sqmi|prec=1}}`."""
    people, area = parse_number(call.first(1)), parse_number(call.first(2))
    unit = call.first(3)
    if people is None or area is None or not area[0] or unit not in ("km2", "sqmi"):
        return None
    other = "sqmi" if unit == "km2" else "km2"
    decimals = call.first("prec", "preciseround", 5)
    places = int(decimals) if decimals.isascii() and decimals.isdecimal() and len(decimals) == 1 else 1
    shown = f"{float(people[0] / area[0]):.{places}f}"
    rest = [str(places)] if decimals else []
    return convert_quantity([shown, f"PD/{unit}", f"PD/{other}", *rest], {"abbr": "on"})


def _height(call: Call) -> str | None:
    feet, inches = call.first("ft"), call.first("in")
    if feet:
        parts = [feet, "ft", inches, "in", "cm"] if inches else [feet, "ft", "m"]
    elif call.first("m"):
        parts = [call.first("m"), "m", "ftin"]
    else:
        parts = [call.first("cm"), "cm", "ftin"] if call.first("cm") else []
    return convert_quantity(parts, {"abbr": "on"}) if parts else None


def _ordinal(call: Call) -> str | None:
    return ordinal(call.first(1)) or None


def _spell(call: Call) -> str | None:
    number = call.first(1).replace(",", "")
    return spell_number(int(number)) if re.fullmatch(r"\d{1,6}", number, re.ASCII) else None


_MUSIC = {"flat": "♭", "b": "♭", "sharp": "♯", "#": "♯", "natural": "♮", "n": "♮", "doublesharp": "𝄪",
          "doubleflat": "𝄫", "dim": "°", "dimslash": "ø"}  # fmt: skip


def _music(call: Call) -> str | None:
    return _MUSIC.get(call.first(1).lower())


def _joined_number(call: Call) -> str | None:
    """`{{mp|1998 FJ|74}}`, a minor planet: the second part is lowered."""
    return "".join(part.strip() for part in call.positional) or None


QUANTITY_TEMPLATES: dict[str, Handler] = {
    **dict.fromkeys(("convert", "cvt", "conv", "units", "convert/2"), _convert),
    **dict.fromkeys(("frac", "sfrac", "fraction", "tfrac", "dfrac", "fract", "frac2"), _fraction),
    **dict.fromkeys(("val", "ev", "value"), _value),
    **dict.fromkeys(("e", "10^", "esp", "exp10"), _power_of_ten),
    **dict.fromkeys(("formatnum", "format price", "nts", "number", "formatnumber", "num"), _format_number),
    **dict.fromkeys(("sup", "^", "super"), _superscript),
    **dict.fromkeys(("su", "sup sub", "subsup", "physics particle"), _stacked),
    **dict.fromkeys(("chem", "chem/link", "chemf"), _chemical),
    "chem2": _equation,
    **dict.fromkeys(("railgauge", "track gauge", "rail gauge"), _gauge),
    **dict.fromkeys(_SOLAR, _in_suns),
    "pop density": _population_density,
    **dict.fromkeys(("height", "hgt"), _height),
    **dict.fromkeys(("ordinal", "nth", "ord", "ordinal to word"), _ordinal),
    **dict.fromkeys(("number to words", "numtext", "spellnum", "spell number"), _spell),
    "music": _music,
    **dict.fromkeys(("mp", "mpl", "mpl-", "mp-", "okina-free"), _joined_number),
}
