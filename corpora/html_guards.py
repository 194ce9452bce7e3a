"""Makes any HTML safe to hand to a parser: text in, the same page out, without the shapes that parsers break on.

The rule: text is never lost here. Markup that costs parsers their time or their memory is taken away, what stood
between the tags stays.

What breaks them, measured: lxml stops reading at a nesting of 255 and says nothing (everything behind that place is
gone); resiliparse needs time quadratic in the nesting (8,000 divs 1.1 s, 200,000 minutes, deaf to signals); one tag
with 5 MB of attributes takes libxml2 100 s. Nearly every page is cleared by two counts that cost microseconds;
the others are rewritten tag by tag, in linear time.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["HtmlLimits", "flatten", "guard_html", "has_many_elements", "replace_unreadable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HtmlLimits:
    """How much of a shape is harmless."""

    max_depth: int = 200  # open elements; below lxml's 255 with room for the elements that parsers add
    kept_depth: int = 60  # levels that are left of a page nested more deeply: its text costs parsers time at each level
    max_formatting_depth: int = 4  # of those, like <b>: where it is not closed, parsers reopen it in each paragraph
    max_tag_chars: int = 20_000  # attributes included; in longer tags only class and id are kept
    max_elements: int = 15_000  # for extractors that need time quadratic in them, as trafilatura does
    unchecked_tags: int = 5_000  # fewer cannot nest deeply enough to take seconds
    unchecked_chars: int = 400_000  # a shorter page cannot hold enough attributes to take seconds

    def __post_init__(self) -> None:
        if not 10 <= self.max_depth <= 240:
            raise ValueError(f"max_depth is {self.max_depth}; lxml reads up to 254, so it is between 10 and 240")
        if not 1 <= self.kept_depth <= self.max_depth:
            raise ValueError(f"kept_depth is {self.kept_depth}; it is between 1 and max_depth, {self.max_depth}")
        if self.max_tag_chars < 1_000:
            raise ValueError(f"max_tag_chars is {self.max_tag_chars}; ordinary tags have up to 1,000 characters")


_DEFAULT_LIMITS = HtmlLimits()

_VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
                   "track", "wbr", "frame", "keygen", "basefont", "bgsound"])  # fmt: skip
_FORMATTING = frozenset(
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
_INLINE = _FORMATTING | {"span", "abbr", "cite", "label", "mark", "q", "sub", "sup", "time", "ins", "del", "kbd"}
_CLOSED_BY_ITSELF = frozenset(
    ["p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot"]
)

# One token of HTML as browsers see it. Raw text runs to its end tag; a quote that is not closed runs to the end.
_TOKEN = re.compile(
    r"<!--(?:.*?(?:-->|\Z))"
    r"|<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)(?P<raw_attributes>(?=[\s/>])[^>]*)>"
    r"(?P<raw_text>.*?)(?:</(?P=raw)(?=[\s/>])[^>]*(?:>|\Z)|\Z)"
    r"|<(?P<slash>/?)(?P<name>[a-z][^\s/>]*)"
    r"(?P<attributes>(?>[^>\"'=]+|=\s*+\"[^\"]*+(?:\"|\Z)|=\s*+'[^']*+(?:'|\Z)|[=\"'])*+)(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_KEPT_ATTRIBUTES = re.compile(r"\s(?:class|id|itemprop)\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=]+)", re.IGNORECASE)
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")
_CONTROL_BYTES = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r") + b"\x7f"
_NONCHARACTERS = ("\ufffe".encode(), "\uffff".encode())
_SURROGATE = re.compile("[\ud800-\udfff]")


@lru_cache(maxsize=1)  # a page is asked for twice, by the quick look and by the extraction
def guard_html(html: str, limits: HtmlLimits = _DEFAULT_LIMITS) -> str:
    """The page itself if it is surely harmless, else the page without what cannot be read, and flattened."""
    html = replace_unreadable(html)
    if html.count("<") <= limits.unchecked_tags and len(html) <= limits.unchecked_chars:
        return html
    if _could_nest_deeply(html, limits) or _has_long_tag(html, limits):
        return flatten(html, limits)
    return html


def replace_unreadable(text: str) -> str:
    """Lone surrogates become U+FFFD; characters that end a page for some parser (NUL, for one) are left out."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        text = _SURROGATE.sub("\ufffd", text)
        data = text.encode("utf-8")
    # Bytes are looked through ten times as fast as characters, and hardly any page has one of these.
    if len(data.translate(None, _CONTROL_BYTES)) == len(data) and not any(end in data for end in _NONCHARACTERS):
        return text
    return _UNREADABLE.sub("", text)


def has_many_elements(html: str, limits: HtmlLimits = _DEFAULT_LIMITS) -> bool:
    """Whether the page is only for an extractor of linear time: 100,000 paragraphs cost trafilatura 10 s."""
    return html.count("<") - html.count("</") > limits.max_elements


_NAME = re.compile(r"<(/?[a-zA-Z][^\s/>]*)")


def _could_nest_deeply(html: str, limits: HtmlLimits) -> bool:
    """Whether the depth of each kind of element, added up, passes the limit: never less than the real depth."""
    depth: dict[str, int] = {}
    deepest: dict[str, int] = {}
    for name in map(str.lower, _NAME.findall(html)):
        if name[0] == "/":
            name = name[1:]
            depth[name] = max(depth.get(name, 0) - 1, 0)
        elif name not in _VOID and name not in _CLOSED_BY_ITSELF:
            depth[name] = now = depth.get(name, 0) + 1
            if now > deepest.get(name, 0):
                deepest[name] = now
    return sum(deepest.values()) > limits.max_depth


def _has_long_tag(html: str, limits: HtmlLimits) -> bool:
    """Whether anything between two `<` is long and is no script or style."""
    return any(
        len(piece) > limits.max_tag_chars and not piece[:8].lower().startswith(("script", "style", "!--"))
        for piece in html.split("<")
    )


def flatten(html: str, limits: HtmlLimits = _DEFAULT_LIMITS) -> str:
    """The page without the tags beyond the limits, and without comments; in linear time."""
    return _Flattener(limits).rewrite(html)


class _Flattener:
    """A stack of open elements that follows a page as a browser would, roughly but never too shallow."""

    def __init__(self, limits: HtmlLimits) -> None:
        self.limits = limits
        self.open: list[tuple[str, bool]] = []  # name, and whether its tag was kept
        self.n_open: dict[str, int] = {}
        self.n_formatting = 0
        self.n_kept = 0
        self.is_line_empty = True  # since a line break that stands for a tag

    def rewrite(self, html: str) -> str:
        pieces: list[str] = []
        position = 0
        for token in _TOKEN.finditer(html):
            between = html[position : token.start()]
            self.is_line_empty = self.is_line_empty and (not between or between.isspace())
            pieces.append(between)
            position = token.end()
            if token["name"]:
                name = token["name"].lower()
                pieces.append(self._end(name) if token["slash"] else self._begin(name, token))
            elif token["raw"]:
                pieces.append(self._shorten(token, token["raw"], token["raw_attributes"]))
        pieces.append(html[position:])
        return "".join(pieces)

    def _shorten(self, token: re.Match[str], name: str, attributes: str) -> str:
        if len(attributes) <= self.limits.max_tag_chars:
            return token[0]
        kept = "".join(_KEPT_ATTRIBUTES.findall(attributes[:4_000]))
        text, end = (token["raw_text"], f"</{name}>") if token["raw"] else ("", "")
        return f"<{name}{kept}>{text}{end}"

    def _begin(self, name: str, token: re.Match[str]) -> str:
        tag = self._shorten(token, name, token["attributes"])
        if name in _VOID:
            return tag
        if name in _CLOSED_BY_ITSELF and self.open and self.open[-1][0] == name:
            return tag if self.open[-1][1] else self._instead(name)
        kept = self.n_kept < self.limits.kept_depth
        if name in _FORMATTING:
            kept = kept and self.n_formatting < self.limits.max_formatting_depth
            self.n_formatting += 1
        self.open.append((name, kept))
        self.n_open[name] = self.n_open.get(name, 0) + 1
        self.n_kept += kept
        return tag if kept else self._instead(name)

    def _end(self, name: str) -> str:
        if not self.n_open.get(name):
            return ""
        while True:
            last, kept = self.open.pop()
            self.n_open[last] -= 1
            self.n_formatting -= last in _FORMATTING
            self.n_kept -= kept
            if last == name:
                return f"</{name}>" if kept else self._instead(name)

    def _instead(self, name: str) -> str:
        """What parts the text where a tag that would have parted it is gone."""
        if name in _INLINE or self.is_line_empty:
            return ""
        self.is_line_empty = True
        return "<p>"
