"""Templates of words: foreign languages, names of ships, foreign scripts, sums of money. A call in, text out."""

import re

from corpora.wiki_calls import Call, Handler
from corpora.wiki_languages import LANGUAGE_NAMES

__all__ = ["CURRENCY_SIGNS", "SHIP_PREFIXES", "WORD_TEMPLATES", "render_language"]

_CODE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_NO = ("no", "none", "n", "off")


def render_language(code: str, call: Call, *, skip: int = 0) -> str | None:
    """`{{lang-ru|word|romanization|translation}}`, or `{{langx|ru|word|…}}` with `skip` 1."""
    word, roman, meaning = (call.first(skip + index) for index in (1, 2, 3))
    if not word:
        return roman or None
    label = call.first("label") or LANGUAGE_NAMES.get(code, "")
    parts = [word if not label or label in _NO else f"{label}: {word}"]
    if roman := call.first("translit", "tr") or roman:
        parts.append(f"romanized: {roman}")
    if meaning := call.first("lit", "translation") or meaning:
        parts.append(f"lit. '{meaning}'")
    return ", ".join(parts)


def _langx(call: Call) -> str | None:
    return render_language(call.first(1).lower(), call, skip=1)


def _russian(call: Call) -> str | None:
    return render_language("ru", call)


def _lang(call: Call) -> str | None:
    return call.first(2, "text") or None


def _transliteration(call: Call) -> str | None:
    """`{{transl|ar|ALA|word}}`: the last parameter is the word, whatever stands before."""
    words = call.numbered()
    return words[-1] if words else None


def _nihongo(call: Call) -> str | None:
    """English (kanji, romaji, note); the romaji leads where there is no English."""
    english, kanji, roman = (call.first(index) for index in (1, 2, 3))
    notes = [note for note in (kanji, roman if english else "", call.first(4, "extra")) if note]
    if notes and call.first("lead").lower() in ("yes", "y"):
        notes[0] = f"Japanese: {notes[0]}"
    leading = english or roman
    if not notes:
        return leading or None
    return f"{leading} ({', '.join(notes)})" if leading else ", ".join(notes)


def _nihongo_romaji_first(call: Call) -> str | None:
    english, kanji, roman = (call.first(index) for index in (1, 2, 3))
    notes = ", ".join(note for note in (kanji, english) if note)
    return (f"{roman} ({notes})" if notes else roman) if roman else notes or None


_CHINESE = {"c": "Chinese", "t": "traditional Chinese", "s": "simplified Chinese", "p": "pinyin", "w": "Wade–Giles",
            "j": "Jyutping", "y": "Cantonese Yale", "poj": "Pe̍h-ōe-jī", "l": "lit. ", "tl": "Tâi-lô"}  # fmt: skip


def _chinese(call: Call) -> str | None:
    bare = call.first("labels").lower() in _NO
    parts = []
    for key, label in _CHINESE.items():
        if value := call.first(key):
            value = f"'{value}'" if key == "l" else value
            parts.append(value if bare else f"{label}{value}" if key == "l" else f"{label}: {value}")
    return "; ".join(parts) or call.first(1) or None


def _interlanguage_link(call: Call) -> str | None:
    """`{{ill|Title|fr|Titre}}`, and the older order of `{{ill|fr|Titre|Title}}`."""
    shown = call.first("lt", "display", "text")
    if not shown and _CODE.fullmatch(call.first(1)) and call.first(1) in LANGUAGE_NAMES and call.first(3):
        shown = call.first(4, 3)
    return shown or call.first(1) or None


def _sic(call: Call) -> str | None:
    words = "".join(call.positional[:2]).strip()
    if call.first("hide", "nolink").lower() in ("y", "yes") and words:
        return words
    return f"{words} [sic]".strip()


# Templates named as the prefix of a ship, {{USS|Enterprise|CV-6}}.
_PREFIXES = """
uss hms hmas hmcs hmnzs hmis ss ms mv rms rv usns uscgc usat usav ins sms js jds roks tcg arm ara hdms hnoms hswms hnlms
spss rfa hmt hmy hmhs mts
"""
SHIP_PREFIXES = frozenset(_PREFIXES.split())


def _ship(call: Call) -> str | None:
    return _name_ship(call.first(1), call.first(2), call.first(3), call.first(4))


def _name_ship(prefix: str, name: str, number: str, form: str) -> str | None:
    if not name:
        return None
    full, hull = f"{prefix} {name}".strip(), f" ({number})" if number else ""
    shapes = {"": f"{full}{hull}", "1": number, "2": name, "3": f"{name}{hull}", "5": f"{prefix} {number}", "6": full}
    return shapes.get(form, full) or None


def name_ship(call: Call) -> str | None:
    """A call whose template is itself the prefix."""
    prefix = call.name.upper()
    return _name_ship(prefix, call.first(1), call.first(2), call.first(3))


def _ship_class(call: Call) -> str | None:
    name, kind, form = call.first(1), call.first(2), call.first(3)
    if not name:
        return None
    shapes = {"0": f"{name} class {kind}", "1": f"{name} class", "2": name, "4": f"{name}-class", "5": kind}
    return shapes.get(form, f"{name}-class {kind}".strip())


def _submarine(call: Call) -> str | None:
    name = call.first(1)
    return name if call.first(2) else f"SM {name}" if name else None


CURRENCY_SIGNS = {
    "us$": "US$", "usd": "US$", "gbp": "£", "£": "£", "eur": "€", "euro": "€",
    "€": "€", "jpy": "¥", "jp¥": "¥", "¥": "¥", "cny": "CN¥", "cn¥": "CN¥", "rmb": "RMB", "cad": "CA$", "c$": "C$",
    "can$": "CA$", "aud": "A$", "a$": "A$", "au$": "A$", "nzd": "NZ$", "nz$": "NZ$", "hkd": "HK$", "hk$": "HK$",
    "inr": "₹", "₹": "₹", "indian rupee": "₹", "php": "₱", "₱": "₱", "krw": "₩", "₩": "₩", "chf": "CHF ", "brl": "R$",
    "mxn": "Mex$", "sgd": "S$", "s$": "S$", "rub": "₽", "try": "₺", "ils": "₪", "nis": "₪", "thb": "฿", "ngn": "₦",
    "zar": "R", "twd": "NT$", "nt$": "NT$", "iep": "IR£", "pkr": "₨", "pln": "zł ", "sek": "SEK ", "dkk": "DKK ",
    "nok": "NOK ", "myr": "RM",
}  # fmt: skip


def _money(call: Call) -> str | None:
    amount = call.first(1)
    return CURRENCY_SIGNS[call.name] + amount if amount else CURRENCY_SIGNS[call.name].strip()


def _gloss(call: Call) -> str | None:
    return f"'{call.first(1)}'" if call.first(1) else None


def _literally(call: Call) -> str | None:
    words = " or ".join(f"'{word}'" for word in call.numbered())
    return f"lit. {words}" if words else "lit."


def _etymology(call: Call) -> str | None:
    language = LANGUAGE_NAMES.get(call.first(1).lower(), call.first(1))
    meaning = f" '{call.first(3)}'" if call.first(3) else ""
    return f"from {language} {call.first(2)}{meaning}" if call.first(2) else None


def _cited_in_text(call: Call) -> str | None:
    """`{{harvtxt|Boolos|Jeffrey|1974}}`: the authors, with the year in parentheses."""
    words = call.numbered()
    if len(words) < 2:
        return None
    *authors, year = words
    names = f"{', '.join(authors[:-1])} & {authors[-1]}" if len(authors) > 1 else authors[0]
    return f"({names} {year})" if call.name == "harv" else f"{names} ({year})"


def _bible(call: Call) -> str | None:
    words = call.numbered()
    return f"{words[0]} {words[1]}" if len(words) > 1 else None


WORD_TEMPLATES: dict[str, Handler] = {
    **dict.fromkeys(("lang", "wikt-lang", "wt", "native name", "rtl-lang", "nativename"), _lang),
    **dict.fromkeys(("transl", "transliteration", "translit", "xlit", "translitteration"), _transliteration),
    "langx": _langx,
    **dict.fromkeys(("lang-rus", "langr", "langru"), _russian),
    **dict.fromkeys(("nihongo", "nihongo foot", "nihongo krt"), _nihongo),
    **dict.fromkeys(("nihongo2", "kanji", "jpn"), lambda call: call.first(1) or None),
    "nihongo3": _nihongo_romaji_first,
    **dict.fromkeys(("zh", "lang-zh", "zh-cpl", "zh-cp", "zh-ts"), _chinese),
    **dict.fromkeys(("ill", "interlanguage link", "illm", "interlanguage link multi"), _interlanguage_link),
    **dict.fromkeys(("sic", "sic?", "typo"), _sic),
    "ship": _ship,
    **dict.fromkeys(("sclass", "sclass2", "sclass-"), _ship_class),
    "smu": _submarine,
    **dict.fromkeys(SHIP_PREFIXES, name_ship),
    **dict.fromkeys(CURRENCY_SIGNS, _money),
    **dict.fromkeys(("gloss", "single+double", "singlequote"), _gloss),
    **dict.fromkeys(("lit", "literal translation", "literally"), _literally),
    **dict.fromkeys(("etymology", "ety"), _etymology),
    **dict.fromkeys(("harvtxt", "harv", "harvcoltxt", "citet"), _cited_in_text),
    **dict.fromkeys(("bibleverse", "bibleref", "bibleref2", "bible verse", "bibleverse-nb"), _bible),
}  # fmt: skip
