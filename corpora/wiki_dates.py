"""Templates of dates and ages: `{{birth date|1809|2|12}}`, `{{as of|2014}}`, `{{age|…}}`. A call in, text out.

The rule: nothing depends on the day on which it is rendered. An age without a second date gives None, and is counted.
"""

import re

from corpora.wiki_calls import Call, Handler

__all__ = ["DATE_TEMPLATES"]

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_YES = ("y", "yes", "true", "1", "on")


def _month_number(text: str) -> int | None:
    if text.isdecimal() and text.isascii() and len(text) <= 2:
        return int(text) if 1 <= int(text) <= 12 else None
    found = [
        number for number, name in enumerate(_MONTHS, 1) if len(text) >= 3 and name.lower().startswith(text.lower())
    ]
    return found[0] if found else None


def _show_date(year: str, month: str, day: str, *, day_first: bool) -> str | None:
    """A date in words; parts from the right may be empty."""
    if not re.fullmatch(r"-?\d{1,5}(?: ?(?:BC|BCE|AD|CE))?", year, re.ASCII):
        return None
    if not month:
        return year
    number = _month_number(month)
    if number is None or (day and not re.fullmatch(r"\d{1,2}", day, re.ASCII)):
        return None
    name = _MONTHS[number - 1]
    if not day:
        return f"{name} {year}"
    return f"{int(day)} {name} {year}" if day_first else f"{name} {int(day)}, {year}"


def _is_day_first(call: Call, *, default: bool = False) -> bool:
    if call.first("df").lower() in _YES:
        return True
    if call.first("mf").lower() in _YES or call.first("df").lower() in ("us", "no", "n", "mdy"):
        return False
    return default


def _date(call: Call) -> str | None:
    if call.positional and not call.first(1).lstrip("-").isdecimal():
        return call.first(1)  # the date was written out
    return _show_date(call.first(1), call.first(2), call.first(3), day_first=_is_day_first(call))


def _years_between(first: list[str], second: list[str]) -> int | None:
    numbers = []
    for year, month, day in (first, second):
        number = _month_number(month) if month else 1
        if (
            not re.fullmatch(r"\d{1,4}", year, re.ASCII)
            or number is None
            or not re.fullmatch(r"\d{0,2}", day, re.ASCII)
        ):
            return None
        numbers.append((int(year), number, int(day or 1)))
    before, after = numbers
    age = after[0] - before[0] - (after[1:] < before[1:])
    return age if age >= 0 else None


def _death_date_and_age(call: Call) -> str | None:
    """Year, month and day of death, then of birth."""
    parts = [call.first(index) for index in range(1, 7)]
    date = _show_date(*parts[:3], day_first=_is_day_first(call))
    age = _years_between(parts[3:], parts[:3])
    return None if date is None or age is None else f"{date} (aged {age})"


def _age(call: Call) -> str | None:
    parts = [call.first(index) for index in range(1, 7)]
    age = _years_between(parts[:3], parts[3:])
    return None if age is None else str(age)


def _as_of(call: Call) -> str | None:
    if call.first("alt"):
        return call.first("alt")
    day_first = call.first("df").lower() != "us"
    month, day = call.first(2), call.first(3)
    date = _show_date(call.first(1), month, day, day_first=day_first) or call.first(1)
    if not date:
        return None
    opening = "Since" if call.first("since").lower() in _YES else "As of"
    if call.first("lc").lower() in _YES:
        opening = opening.lower()
    return f"{opening} {date}{call.first('post')}"


def _old_style(call: Call) -> str | None:
    day, year, old = call.first(1), call.first(2), call.first(3)
    return f"{day} [O.S. {old}] {year}" if old else None


def _old_style_without_year(call: Call) -> str | None:
    return f"{call.first(1)} [O.S. {call.first(2)}]" if call.first(2) else None


DATE_TEMPLATES: dict[str, Handler] = {
    **dict.fromkeys(
        ("birth date", "birth date and age", "death date", "start date", "end date", "film date", "birth-date",
         "death-date", "birth-date and age", "start date and age", "bda", "birth year and age", "birth year", "dts",
         "date", "release date", "death year", "start-date", "end-date", "dob", "date table sorting", "circa date"),
        _date,
    ),
    **dict.fromkeys(("death date and age", "dda", "death-date and age"), _death_date_and_age),
    **dict.fromkeys(("age", "age in years", "age in years nts"), _age),
    **dict.fromkeys(("as of", "asof", "as of now"), _as_of),
    "oldstyledate": _old_style,
    "oldstyledateny": _old_style_without_year,
}  # fmt: skip
