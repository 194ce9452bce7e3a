"""Reads one `<page>` element of a MediaWiki export: its XML bytes in, its title, namespace and wikitext out.

The rule: nothing here raises on any bytes, and nothing is expanded: five named entities and character references are
all that XML can say in such an element. An element that says more (a document type, CDATA, an entity of its own) was
written by no MediaWiki and is refused by the caller.
"""

import re
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["PageHead", "PageText", "Site", "make_url", "read_head", "read_site", "read_text", "read_timestamp"]

DEFAULT_HOST = "en.wikipedia.org"
_BASE = re.compile(rb"<base>\s*https?://([A-Za-z0-9.-]+)(/[^<\s]*)?\s*</base>")
_NAMESPACE_NAME = re.compile(rb'<namespace key="-?[1-9]\d*"[^>]*>([^<]*)</namespace>')
_TITLE = re.compile(rb"<title>([^<]*)</title>")
_NS = re.compile(rb"<ns>\s*(-?\d{1,6})\s*</ns>")
_REDIRECT = re.compile(rb"<redirect[\s/>]")
_TIMESTAMP = re.compile(rb"<timestamp>([^<]*)</timestamp>")
_MODEL = re.compile(rb"<model>([^<]*)</model>")
_TEXT = re.compile(rb"<text(?:\s[^<>]*)?>")
_NAMED = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
_REFERENCE = re.compile(r"&(?:(lt|gt|quot|apos|amp)|#(\d{1,9})|#[xX]([0-9A-Fa-f]{1,8}));")
# Not one of these can be in XML 1.0; a careless exporter writes them all the same.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_MAX_CODE_POINT = 0x10FFFF


class Site(NamedTuple):
    """What an export says of its wiki before its first page."""

    host: str
    path: str  # of its pages, "/wiki/"
    namespaces: frozenset[str]  # names of all but the main one, lower case


class PageHead(NamedTuple):
    """What stands before a page's revisions."""

    title: str
    namespace: int  # 0 is that of articles
    is_redirect: bool


class PageText(NamedTuple):
    """A page's last revision."""

    title: str
    model: str  # "wikitext", "" where the export does not say
    text: str  # wikitext; "" where there is none


def read_site(head: bytes) -> Site:
    """The wiki that an export is of; English Wikipedia where the export does not say."""
    base = _BASE.search(head)
    host = base[1].decode("ascii").lower() if base else DEFAULT_HOST
    path = (base[2] or b"").decode("utf-8", "replace") if base else ""
    names = frozenset(unescape(found[1]).lower() for found in _NAMESPACE_NAME.finditer(head))
    return Site(host, path[: path.rfind("/") + 1] or "/wiki/", names)


def make_url(site: Site, title: str) -> str:
    """A page's URL, escaped as MediaWiki escapes it.

    >>> make_url(Site("en.wikipedia.org", "/wiki/", frozenset()), "What's Up, Doc? (1972 film)/C++")
    'https://en.wikipedia.org/wiki/What%27s_Up,_Doc%3F_(1972_film)/C%2B%2B'
    """
    return f"https://{site.host}{site.path}{quote(title.replace(' ', '_'), safe=';@$!*(),/~:')}"


def read_head(xml: bytes, site: Site) -> PageHead:
    """Title, namespace and whether the page is a redirect, from the bytes before its first revision."""
    stop = xml.find(b"<revision>")
    head = xml[: stop if stop >= 0 else len(xml)]
    found = _TITLE.search(head)
    title = unescape(found[1]).strip() if found else ""
    number = _NS.search(head)
    if number:
        namespace = int(number[1])
    else:  # exports before version 0.5 do not number them
        prefix, colon, _ = title.partition(":")
        namespace = -99 if colon and prefix.lower() in site.namespaces else 0
    return PageHead(title, namespace, bool(_REDIRECT.search(head)))


def read_text(xml: bytes) -> PageText:
    """The page's title, and what its last revision says."""
    title = _TITLE.search(xml)
    last = xml[max(0, xml.rfind(b"<revision>")) :]
    opening = _TEXT.search(last)
    text = ""
    if opening and not opening[0].endswith(b"/>"):
        close = last.find(b"</text>", opening.end())
        text = unescape(last[opening.end() : close if close >= 0 else len(last)])
    model = _MODEL.search(last)
    return PageText(
        title=unescape(title[1]).strip() if title else "",
        model=unescape(model[1]) if model else "",
        text=text,
    )


def read_timestamp(xml: bytes) -> str:
    """When the last revision was made, as written; "" where it does not say."""
    found = _TIMESTAMP.search(xml, max(0, xml.rfind(b"<revision>")))
    return unescape(found[1]) if found else ""


def unescape(raw: bytes) -> str:
    """Text of an element without elements in it; what no text can hold is dropped or replaced.

    >>> unescape(b"a &lt;b&gt; &amp;nbsp;&#xD800;&#13;&lol9;")
    'a <b> &nbsp;\\ufffd\\n&lol9;'
    """
    text = raw.decode("utf-8", "replace")
    if "&#" in text:
        text = _REFERENCE.sub(_expand, text)
    elif "&" in text:
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'")
        text = text.replace("&amp;", "&")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


def _expand(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code <= _MAX_CODE_POINT and not 0xD800 <= code <= 0xDFFF else "\ufffd"
