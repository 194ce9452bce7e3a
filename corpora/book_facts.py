"""What a book says of itself: the header of a Project Gutenberg file in, title, authors, language and date out.

The rule: a fact that is not stated is "", never guessed.
"""

import re
from typing import NamedTuple

__all__ = ["NO_FACTS", "BookFacts", "declared_charset", "language_code", "read_header", "split_names"]


class BookFacts(NamedTuple):
    """Title, authors and the like, as stated."""

    title: str
    authors: tuple[str, ...]
    language: str  # ISO 639-1 where there is one
    published: str  # ISO date, month or year of the release


NO_FACTS = BookFacts("", (), "", "")

_KEYS = {
    "title": "title", "titel": "title", "titre": "title", "título": "title", "titolo": "title", "nimeke": "title",
    "author": "author", "authors": "author", "autor": "author", "auteur": "author", "autore": "author",
    "language": "language", "sprache": "language", "langue": "language", "idioma": "language", "lingua": "language",
    "release date": "released", "posting date": "posted",
}  # fmt: skip
_FIELD = re.compile(r"\s{0,3}([A-Za-zÀ-ÿ][A-Za-zÀ-ÿ ]{2,30}?)\s*:\s+(\S.*)$")
_OLD_DATE = re.compile(r"\W*(\w+,?\s+\d{4})\s+\[E-?(?:text|book)\s+#\d+\]", re.IGNORECASE)
_CHARSET = re.compile(
    rb"^\s*Character set encoding:\s*(?:\S+\s*\()?([A-Za-z0-9_.:-]{2,40})", re.MULTILINE | re.IGNORECASE
)
_CHARSET_BYTES = 8_192
_BRACKETS = re.compile(r"\s*\[[^\]]*\]?")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_DATE = re.compile(r"(?:(?P<month>[A-Za-z]{3,9})\.?\s*(?P<day>\d{1,2})?(?:st|nd|rd|th)?\s*,?\s+)?(?P<year>\d{4})\b")
_LANGUAGES = {
    "afrikaans": "af", "arabic": "ar", "bulgarian": "bg", "catalan": "ca", "chinese": "zh", "czech": "cs",
    "danish": "da", "dutch": "nl", "english": "en", "esperanto": "eo", "estonian": "et", "finnish": "fi",
    "french": "fr", "galician": "gl", "german": "de", "greek": "el", "hebrew": "he", "hungarian": "hu",
    "icelandic": "is", "irish": "ga", "italian": "it", "japanese": "ja", "korean": "ko", "latin": "la",
    "norwegian": "no", "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru", "serbian": "sr",
    "slovenian": "sl", "spanish": "es", "swedish": "sv", "tagalog": "fil", "turkish": "tr", "ukrainian": "uk",
    "welsh": "cy", "deutsch": "de", "français": "fr", "español": "es", "italiano": "it",
}  # fmt: skip


def read_header(lines: list[str]) -> BookFacts:
    """The facts that a header states as "Title: …"; a value may go on in indented lines.

    >>> read_header(["Title: Vice Versa", "       or A Lesson to Fathers", "Release Date: October 9, 2008 [EBook #1]"])
    BookFacts(title='Vice Versa or A Lesson to Fathers', authors=(), language='', published='2008-10-09')
    """
    found: dict[str, str] = {}
    open_key = ""
    for line in lines:
        field = _FIELD.match(line)
        key = _KEYS.get(field[1].lower(), "") if field else ""
        if field and key and key not in found:
            found[key] = field[2].strip()
            open_key = key if key in ("title", "author") else ""
        elif open_key and line[:3].isspace() and line.strip():
            found[open_key] += " " + line.strip()
        else:
            open_key = ""
            old = _OLD_DATE.match(line)
            if old:
                found.setdefault("old date", old[1])
    released = found.get("released") or found.get("old date") or found.get("posted") or ""
    return BookFacts(
        " ".join(found.get("title", "").split()),
        split_names(found.get("author", "")),
        language_code(found.get("language", "")),
        _read_date(_BRACKETS.sub("", released)),
    )


def declared_charset(body: bytes) -> str:
    """What a header says of the file's encoding, "" if nothing."""
    found = _CHARSET.search(body[:_CHARSET_BYTES])
    return found[1].decode("latin-1") if found else ""


def split_names(names: str) -> tuple[str, ...]:
    """
    >>> split_names("Mary Shelley and  Percy Shelley")
    ('Mary Shelley', 'Percy Shelley')
    """
    return tuple(name for part in re.split(r"\s+and\s+|\s*[;&]\s*", names) if (name := " ".join(part.split())))


def language_code(language: str) -> str:
    """The code of a language's name, or of a tag such as en-GB; of several, the first's; "" if it is not known."""
    first = re.split(r"[,;/]| and ", language.strip().lower())[0].strip()
    if re.fullmatch(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*", first):
        return re.split("[-_]", first)[0]
    return _LANGUAGES.get(first.partition(" ")[0], "")


def _read_date(text: str) -> str:
    """
    >>> _read_date("March, 1994"), _read_date("December 16, 2009"), _read_date("1890"), _read_date("soon")
    ('1994-03', '2009-12-16', '1890', '')
    """
    found = _DATE.search(text)
    if not found:
        return ""
    month = next((n for n, name in enumerate(_MONTHS, 1) if name.startswith((found["month"] or "?").lower())), 0)
    if not month:
        return found["year"]
    day = int(found["day"] or 0)
    return f"{found['year']}-{month:02d}" + (f"-{day:02d}" if 1 <= day <= 31 else "")
