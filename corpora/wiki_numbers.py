"""Numbers as English Wikipedia's templates write them: grouping, powers of ten, fractions, superscripts, words.

Text in, text out; None where the text is no number.
"""

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

__all__ = [
    "format_decimal",
    "format_fraction",
    "group_digits",
    "ordinal",
    "parse_number",
    "spell_number",
    "to_superscript",
]

_SUPERSCRIPTS = str.maketrans("0123456789+-−–()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁽⁾ⁿ")
_SUPERSCRIPT = re.compile(r"[0-9+\-−–()n]+")
_NUMBER = re.compile(r"([+\-−–]?)(\d{1,30}(?:,\d{3})*|\d{0,30})(?:\.(\d{0,30}))?(?:[eE]([+\-−]?\d{1,2}))?", re.ASCII)
_PLAIN = re.compile(r"([+\-−]?)(\d+)(\.\d*)?", re.ASCII)
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def parse_number(text: str) -> tuple[Decimal, int] | None:
    """A number and how many of its decimals count (negative: of its zeros do not), as `{{convert}}` takes both.

    >>> parse_number("1,300"), parse_number("−2.50"), parse_number("12.3e6"), parse_number("5 km")
    ((Decimal('1300'), -2), (Decimal('-2.50'), 2), (Decimal('1.23E+7'), -5), None)
    """
    found = _NUMBER.fullmatch(text.strip())
    if not found or not (found[2] or found[3]):
        return None
    sign, whole, decimals, exponent = found.groups()
    whole = whole.replace(",", "") or "0"
    power = int((exponent or "0").replace("−", "-"))
    if decimals is not None:
        n_decimals = len(decimals)
    else:
        n_decimals = -(len(whole) - len(whole.rstrip("0")))
    try:
        value = Decimal(f"{'-' if sign in ('-', '−', '–') else ''}{whole}.{decimals or '0'}E{power}")
    except InvalidOperation:
        return None
    value = value if decimals else value.quantize(Decimal(1)) if power == 0 else value
    return value, n_decimals - power


def group_digits(number: str) -> str:
    """A plain number with commas between its thousands, and a true minus sign; anything else as it is.

    >>> group_digits("1234567.1234"), group_digits("-1000"), group_digits("few")
    ('1,234,567.1234', '−1,000', 'few')
    """
    found = _PLAIN.fullmatch(number.strip())
    if not found:
        return number
    sign = found[1].replace("-", "−")
    return f"{sign}{int(found[2]):,}{found[3] or ''}" if len(found[2]) <= 60 else number


def format_decimal(value: Decimal, n_decimals: int, *, group: bool = True) -> str:
    """A number rounded half up to so many decimals; negative ones round its last digits to zero.

    >>> format_decimal(Decimal("2092.147"), -2), format_decimal(Decimal("-0.04"), 1)
    ('2,100', '0.0')
    """
    rounded = value.quantize(Decimal(1).scaleb(-n_decimals), ROUND_HALF_UP)
    text = f"{abs(rounded):{',' if group else ''}.{max(n_decimals, 0)}f}"
    return f"−{text}" if rounded < 0 else text


def format_fraction(parts: list[str]) -> str | None:
    """The parameters of `{{frac}}` as text: (2) 1/2, (3, 4) 3/4, (1, 3, 4) 1 3/4.

    >>> format_fraction(["2"]), format_fraction(["1", "3", "4"])
    ('1/2', '1 3/4')
    """
    parts = [part.strip() for part in parts if part.strip()]
    if len(parts) == 1:
        return f"1/{parts[0]}"
    if len(parts) == 2:
        return f"{parts[0]}/{parts[1]}"
    return f"{parts[0]} {parts[1]}/{parts[2]}" if len(parts) == 3 else None


def to_superscript(text: str) -> str:
    """Digits and signs raised, since 10² must not read 102; words ("1st") stay on the line.

    >>> to_superscript("−12"), to_superscript("st")
    ('⁻¹²', 'st')
    """
    text = text.strip()
    return text.translate(_SUPERSCRIPTS) if _SUPERSCRIPT.fullmatch(text) else text


def ordinal(number: str) -> str:
    """
    >>> ordinal("1"), ordinal("12"), ordinal("103")
    ('1st', '12th', '103rd')
    """
    if not number.isdecimal():
        return number
    ending = "th" if number[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
    return number + ending


def spell_number(number: int) -> str | None:
    """A number below a million in words, hyphenated as English is; None where it is larger or negative.

    >>> spell_number(42), spell_number(1_100)
    ('forty-two', 'one thousand one hundred')
    """
    if not 0 <= number < 1_000_000:
        return None
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    size, name = (100, "hundred") if number < 1_000 else (1_000, "thousand")
    many, rest = divmod(number, size)
    joint = " and " if name == "hundred" else " "
    return f"{spell_number(many)} {name}" + (f"{joint}{spell_number(rest)}" if rest else "")
