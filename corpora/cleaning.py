"""Makes extracted text uniform: text in, clean text out; a paragraph is a line, and lines are separated by one "\\n".

The rule: cleaning is idempotent, and what it does to a line depends on that line alone.

What is done: mojibake is undone and Unicode normalised to NFC (ftfy), line and paragraph separators become "\\n", every
other space becomes " ", invisible characters and lines of boilerplate go, and so does a line equal to the one before.
What is not: quotation marks stay as they were typed; the zero-width joiners that Persian, Indic scripts and emoji are
written with stay; HTML entities that were escaped twice are undone, but only where no `<` shows that they are code.
"""

import re
import unicodedata
from functools import cache
from typing import Any

__all__ = ["BOILERPLATE_LINES", "BOILERPLATE_SENTENCES", "clean_line", "clean_text", "normalise_text"]

# Printable ASCII without "&" and the punctuation of English typesetting: ftfy leaves such lines as they are (a test
# proves it), and they are 96 % of English news.
_PLAIN = re.compile(r"[ -%'-~‘’“”–—…]*")
_LINE_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile(r"[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_INVISIBLE = re.compile(  # soft hyphen, zero-width space, word joiner, byte order mark, marks of direction, controls
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb]"
)
_ESCAPED_TWICE = re.compile(r"&(?:amp;)+(?=#?\w{1,32};)")
_MAX_ROUNDS = 16

# Lines that are nothing else, letters and digits only, lower case.
BOILERPLATE_LINES = frozenset(
    phrase
    for line in """
    advertisement|advertisements|advertising|ad|ads|sponsored|sponsored content|promoted content|paid content
    advertisement continue reading below|article continues below advertisement|story continues below advertisement
    story continues below|story continues after ad|scroll to continue|continue reading|continue reading below
    read more|read full story|read the full story|read next|up next|most read|most popular|trending|trending now
    recommended|recommended for you|you may also like|you might also like|you may be interested in|related
    related articles|related stories|related posts|related content|related topics|related news
    more from this section|more on this story|share|share this|share this article|share this story|share this post
    share on facebook|share on twitter|share via|share this with|share this on|share via email|share to facebook
    share to twitter|tweet|tweet this|pin it|email|email this article|print|print this article|print article|save
    save article|bookmark|like this|like loading|whatsapp|facebook|twitter|linkedin|reddit|pinterest|copy link
    link copied|follow us|follow us on twitter|follow us on facebook|like us on facebook|subscribe|subscribe now
    subscribe to our newsletter|sign up|sign up now|sign up for our newsletter|newsletter|log in|login|register
    comments|leave a comment|leave a reply|post a comment|add a comment|view comments|show comments|no comments
    comments are closed|loading|loading comments|back to top|top|skip to content|menu|search|close|next|previous
    previous article|next article|click here|play video|watch video|video|photos|gallery|view gallery
    all rights reserved|terms of use|privacy policy|cookie policy|accept|accept all|accept cookies|i accept|got it
    manage cookies|cookie settings|advertise with us|contact us|about us|tags|filed under|topics|source link
    """.splitlines()
    for phrase in line.strip().split("|")
    if phrase
)
BOILERPLATE_SENTENCES = (
    "this site uses cookies", "this website uses cookies", "we use cookies", "our site uses cookies",
    "our website uses cookies", "by continuing to use this site", "by continuing to browse", "by using this site",
    "by clicking accept", "by clicking i agree", "please enable javascript", "javascript is disabled",
    "you need to enable javascript", "your browser does not support", "your browser is out of date",
    "please disable your ad blocker", "you must be logged in to", "please log in or register to",
    "sign up for our daily newsletter", "sign up to our newsletter", "subscribe to our newsletter",
    "your email address will not be published", "required fields are marked", "click to share on",
    "notify me of new comments", "notify me of follow-up comments", "copyright ©",
)  # fmt: skip
_MAX_BOILERPLATE_CHARS = 200
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


def clean_text(text: str) -> str:
    """The text in its uniform shape; "" if nothing is left of it.

    >>> clean_text("The\\xa0mayor said: â€œnoâ€\\x9d.\\r\\nAdvertisement\\u2028He  left.")
    'The mayor said: “no”.\\nHe left.'
    """
    kept: list[str] = []
    for line in _LINE_BREAKS.sub("\n", text).split("\n"):
        cleaned = clean_line(line)
        if cleaned and not (kept and kept[-1] == cleaned) and not is_boilerplate(cleaned):
            kept.append(cleaned)
    return "\n".join(kept)


def normalise_text(text: str) -> str:
    """The uniform shape alone, for text whose encoding is certain and which is no web page: nothing is repaired.

    >>> normalise_text("Cafe\\u0301\\xa0au  lait\\r\\n\\nAdvertisement â€œ")
    'Café au lait\\nAdvertisement â€œ'
    """
    lines = (_normalise_line(line) for line in _LINE_BREAKS.sub("\n", text).split("\n"))
    return "\n".join(line for line in lines if line)


def _normalise_line(line: str) -> str:
    if not _PLAIN.fullmatch(line):
        line = unicodedata.normalize("NFC", _INVISIBLE.sub("", line))
    return _SPACES.sub(" ", line).strip(" ")


def is_boilerplate(line: str) -> bool:
    """Whether a line is furniture of the page: a button, a label, a notice about cookies."""
    if len(line) > _MAX_BOILERPLATE_CHARS:
        return False
    bare = _EDGES.sub("", line).lower()
    return not bare or line[0] == "©" or bare in BOILERPLATE_LINES or bare.startswith(BOILERPLATE_SENTENCES)


def clean_line(line: str) -> str:
    if _PLAIN.fullmatch(line):
        return (line if "  " not in line else _SPACES.sub(" ", line)).strip(" ")
    for _ in range(_MAX_ROUNDS):
        before = line
        line = _INVISIBLE.sub("", _fix(line)).replace("\n", " ")
        line = _SPACES.sub(" ", line).strip(" ")
        if line == before:
            break  # a fixed point: what one step uncovers, the next round has seen
    return line


def _fix(line: str) -> str:
    fix_text, config = _ftfy()
    fixed: str = fix_text(_ESCAPED_TWICE.sub("&", line), config)
    return _LINE_BREAKS.sub(" ", fixed)


@cache
def _ftfy() -> tuple[Any, Any]:
    import ftfy

    return ftfy.fix_text, ftfy.TextFixerConfig(explain=False, uncurl_quotes=False, normalization="NFC")
