"""Dates as pages write them: a string in, an ISO date or date-time out, "" where there is none.

The rule: what is missing from a date stays missing. A time without an offset keeps none, "March 5" is no date, and
nothing depends on the day on which this runs. Numbers alone (`03/04/2016`) are read only where one order is possible.
"""

import re
from datetime import date

__all__ = ["date_in_url", "find_date", "is_plausible"]

FIRST_YEAR = 1990  # no page of the web is older; whoever says so has lost a date
_MONTHS = {name: number for number, names in enumerate(
    [("jan", "january", "januar", "janvier", "enero"), ("feb", "february", "februar", "février", "febrero"),
     ("mar", "march", "märz", "mars", "marzo"), ("apr", "april", "avril", "abril"), ("may", "mai", "mayo"),
     ("jun", "june", "juni", "juin", "junio"), ("jul", "july", "juli", "juillet", "julio"),
     ("aug", "august", "août", "agosto"), ("sep", "sept", "september", "septembre", "septiembre"),
     ("oct", "october", "oktober", "octobre", "octubre"), ("nov", "november", "novembre", "noviembre"),
     ("dec", "december", "dezember", "décembre", "diciembre")], start=1) for name in names}  # fmt: skip
_MONTH = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?(?![a-zà-ü])"
_YEAR, _DAY = r"(?P<year>(?:19|20)\d\d)(?!\d)", r"(?<!\d)(?P<day>\d{1,2})(?!\d)"
_TIME = (
    r"(?:[T ]+(?P<time>\d\d:\d\d(?::\d\d)?)(?:[.,]\d+)?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"  # after a date
)
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?<!\d)(?P<year>(?:19|20)\d\d)-(?P<month>\d\d?)-(?P<day>\d\d?)(?!\d)" + _TIME,
        r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<separator>[/.])(?P<month>\d\d?)(?P=separator)(?P<day>\d\d?)(?!\d)" + _TIME,
        r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<month>[01]\d)(?P<day>[0-3]\d)(?:(?=T?\d{4,6})|(?!\d))",
        _DAY + r"(?:st|nd|rd|th|er)?\.?[\s-]+(?:de |of )?" + _MONTH + r",?[\s-]+(?:de )?" + _YEAR + _TIME,
        _MONTH + r"\s*" + _DAY + r"(?:st|nd|rd|th)?,?\s+" + _YEAR,
        r"(?<!\d)(?P<day>\d\d?)\.\s?(?P<month>\d\d?)\.\s?" + _YEAR + _TIME,  # with dots, the day comes first
        r"(?<!\d)(?P<one>\d\d?)[/-](?P<two>\d\d?)[/-]" + _YEAR + _TIME,
    )
)
_IN_URL = re.compile(r"[/_-]((?:19|20)\d\d)([/_-])(\d\d?|[a-z]{3})\2(\d\d?)(?=[/_.-]|$)", re.IGNORECASE)
_COMPACT_IN_URL = re.compile(r"[/_-]((?:19|20)\d\d)([01]\d)([0-3]\d)(?!\d)")
_MAX_CHARS = 120


def find_date(text: str) -> str:
    """The first date of a short text.

    >>> find_date("Published Sept. 26, 2016"), find_date("2016-09-26 21:18:09 +0200"), find_date("03/04/2016")
    ('2016-09-26', '2016-09-26T21:18:09+02:00', '')
    """
    text = text[:_MAX_CHARS]
    for form in _FORMS:
        if found := form.search(text):
            return _assemble(found.groupdict())
    return ""


def date_in_url(url: str) -> str:
    """The day that a URL names, as most news sites' do.

    >>> date_in_url("http://example.com/news/2016/sep/26/title")
    '2016-09-26'
    """
    if found := _IN_URL.search(url):
        month = _MONTHS.get(found[3].lower(), 0) if found[3].isalpha() else int(found[3])
        return _make_day(int(found[1]), month, int(found[4]))
    if found := _COMPACT_IN_URL.search(url):
        return _make_day(int(found[1]), int(found[2]), int(found[3]))
    return ""


def is_plausible(published: str, *, fetched_at: str) -> bool:
    """Whether a page can have been published then: the web existed, and the page was not yet to be written.

    A day's grace, for time zones.
    """
    if not f"{FIRST_YEAR}" <= published[:4]:
        return False
    try:
        return not fetched_at or (date.fromisoformat(published[:10]) - date.fromisoformat(fetched_at[:10])).days <= 1
    except ValueError:
        return False


def _assemble(parts: dict[str, str | None]) -> str:
    year = int(parts["year"] or 0)
    if parts.get("one"):
        one, two = int(parts["one"] or 0), int(parts["two"] or 0)
        if one <= 12 and two <= 12 and one != two:
            return ""  # two dates are possible
        month, day = (one, two) if one <= 12 else (two, one)
    else:
        written, day = (parts["month"] or "").lower(), int(parts["day"] or 0)
        month = int(written) if written.isdigit() else _MONTHS[written]
    return _with_time(_make_day(year, month, day), parts.get("time"), parts.get("zone"))


def _make_day(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return ""


def _with_time(day: str, time: str | None, zone: str | None) -> str:
    if not day or not time or time > "23:59:59":
        return day
    time = time if len(time) == 8 else f"{time}:00"
    if not zone:
        return f"{day}T{time}"
    if zone[0] not in "+-":
        return f"{day}T{time}Z"
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return f"{day}T{time}{zone[0]}{digits[:2]}:{digits[2:]}"
