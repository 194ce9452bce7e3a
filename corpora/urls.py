"""URLs as keys and as things to show: a canonical form for finding duplicates, the host, and no credentials.

The rule: nothing here raises and nothing here resolves or fetches anything; every function is idempotent, and a URL
too odd to be understood comes back as it is rather than being lost.

`canonical_url` is a key, not an address: it is never fetched. What it forgets, and why two URLs that differ only in it
are one page: the scheme if it is http or https, user and password, the case of the host, `www.`, ports 80 and 443, the
dot after the host, `.` and `..` and empty segments, a trailing slash, a directory's index page, session ids, the
fragment (no server ever sees it), parameters that campaigns and sharing buttons add, the order of the others, and how
characters are percent-encoded. It keeps the case of path and query, and parameters that may choose the page
(`id`, `page`, `ref`, `source`): a duplicate that stays costs less than a page that is lost.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

REDACTED = "REDACTED"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TRACKING_PREFIXES = ("utm_", "pk_", "piwik_", "mtm_", "at_", "ns_", "wt_", "wt.", "hsa_", "guce_", "__hs", "oly_")
TRACKING_PARAMETERS = _words(
    """
    fbclid gclid gclsrc dclid gbraid wbraid msclkid yclid ysclid twclid ttclid li_fat_id igshid igsh epik wickedid
    vero_id _ga _gl _hsenc _hsmi hsctatracking mc_cid mc_eid mkt_tok _branch_match_id _openstat s_cid s_kwcid ef_id icid
    ncid cmpid cmp ref_src ref_url sr_share smid smtyp ftag xtor guccounter campaign_id ocid cvid spm zanpid
    """
)
_SESSION_PARAMETERS = frozenset({"jsessionid", "phpsessid", "sessionid", "session_id", "sessid"})

# Names of parameters that carry a secret, letters and digits of the name only. The names of the second set also number
# pages on old sites (`modules.php?name=News&sid=1234`): there, a short number is no secret.
_SECRET_NAMES = _words(
    """
    token jwt bearer password passwd passphrase pwd pass secret signature sig credential credentials ticket jsessionid
    phpsessid sessid sessionid apikey accesskey authkey licensekey privatekey consumerkey awsaccesskeyid googleaccessid
    authorization hmac otp keypairid
    """
)
_SECRET_ENDINGS = ("token", "secret", "password", "passwd", "signature", "apikey", "accesskey", "sessionid", "sessid",
                   "privatekey", "consumerkey", "accesskeyid")  # fmt: skip
_SECRET_BEGINNINGS = ("xamz", "xgoog", "aspsessionid")
_SOMETIMES_SECRET_NAMES = frozenset({"key", "sid", "session", "auth", "pin", "s2s"})
_PAGE_NUMBER = re.compile(r"\d{0,10}", re.ASCII)
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]")

_USERINFO = re.compile(r"^((?:[a-z][a-z0-9+.-]*:)?[/\\]{2})[^/\\?#]*@", re.IGNORECASE)
_BARE_USERINFO = re.compile(r"^(?!mailto:|xmpp:|sips?:|acct:)[^/\\?#@:]*:[^/\\?#]*@", re.IGNORECASE)
_NESTED_USERINFO = re.compile(r"((?::|%3a)(?:/|%2f){2})(?:(?!%2f|%3f)[^/\\?#&\s])*(?:@|%40)", re.IGNORECASE)
_PATH_PARAMETER = re.compile(r";([^=;/]{1,64})=([^;/]*)")
_PARAMETER = re.compile(r"(?:[?&;#]|%3f|%26|%23)([^=&;#?/%]{1,64})(=|%3d)", re.IGNORECASE)
_VALUE = re.compile(r"[^&#]*")
_NESTED_VALUE = re.compile(r"(?:(?!%26|%23)[^&#])*", re.IGNORECASE)
_COOKIELESS_SESSION = re.compile(r"/\(([A-Z])\([^()/]+\)\)", re.IGNORECASE)  # ASP.NET: /(S(lit3py55t21z5v55vlm25s55))/

_OPAQUE = re.compile(r"[a-z][a-z0-9+-]*:(?![/\\]{2})[^/\\0-9]", re.IGNORECASE)  # mailto:, urn:, data:
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(?=[/\\]{2})", re.IGNORECASE)
_IGNORED = re.compile("[\x00-\x1f\x7f]")  # browsers leave them out, wherever they stand
_DEFAULT_PORTS = re.compile(r"(?::0*(?:80|443)?)+$", re.ASCII)
_INDEX_PAGE = re.compile(r"(?:index|default)\.(?:html?|shtml|php\d?|aspx?|jsp)", re.IGNORECASE)
_SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid|sid)=[^;/]*", re.IGNORECASE)
_ESCAPABLE = re.compile(r"%[0-9A-Fa-f]{2}|%|[^A-Za-z0-9\-._~:/@!$&'()*+,;=\[\]?]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED_HOST = re.compile(r"([^:\[\]]{1,253})(:[0-9]*)?")


class _Parts(NamedTuple):
    scheme: str  # lower case; "" for http, https and none
    authority: str  # as written
    path: str
    query: str


def canonical_url(url: str) -> str:
    """The key under which a page is looked for: equal for URLs that lead to the same page.

    >>> canonical_url("HTTPS://www.Example.com:443/News/./index.html?utm_source=x&b=2&a=%7e1#top")
    'example.com/News?a=~1&b=2'
    """
    url = _IGNORED.sub("", url).strip()
    if _OPAQUE.match(url):
        return url
    parts = _split(url)
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    query = _canonical_query(parts.query)
    return scheme + _canonical_host(parts.authority) + _canonical_path(parts.path) + (f"?{query}" if query else "")


def host_of(url: str) -> str:
    """The host, lower case, in its ASCII form, without `www.` and port; "" where there is none.

    >>> host_of("https://WWW.Bücher.example:8080/a"), host_of("urn:isbn:1")
    ('xn--bcher-kva.example', '')
    """
    url = _IGNORED.sub("", url).strip()
    if _OPAQUE.match(url):
        return ""
    host = _canonical_host(_split(url).authority)
    if host.startswith("["):
        return host[: host.find("]") + 1] or host
    return host.partition(":")[0]


def redact_credentials(url: str) -> str:
    """The URL without user and password, and with REDACTED for the values of parameters that carry secrets.

    Secrets are looked for in the query, the fragment, `;name=value` in the path, and in URLs within URLs. All else
    stays as it was written, to the character.

    >>> redact_credentials("https://joe:pw@example.com/a;jsessionid=1F?id=7&access_token=abc&sid=1234")
    'https://example.com/a;jsessionid=REDACTED?id=7&access_token=REDACTED&sid=1234'
    """
    if "@" in url or "%40" in url:
        url = _NESTED_USERINFO.sub(r"\1", _BARE_USERINFO.sub("", _USERINFO.sub(r"\1", url)))
    if "=" not in url and "(" not in url and "%3" not in url:
        return url
    end = min((at for at in (url.find("?"), url.find("#")) if at >= 0), default=len(url))
    path = _COOKIELESS_SESSION.sub(rf"/(\1({REDACTED}))", _PATH_PARAMETER.sub(_redact_path_parameter, url[:end]))
    return path + _redact_parameters(url[end:])


def _redact_path_parameter(found: re.Match[str]) -> str:
    return f";{found[1]}={REDACTED}" if _is_secret(found[1], found[2]) else found[0]


def _redact_parameters(query: str) -> str:
    pieces, position = [], 0
    while found := _PARAMETER.search(query, position):
        value = (_VALUE if found[2] == "=" else _NESTED_VALUE).match(query, found.end())
        assert value is not None  # both patterns match nothing, too
        pieces.append(query[position : found.end()])
        position = found.end()
        if value[0] and _is_secret(found[1], value[0]):
            pieces.append(REDACTED)
            position = value.end()
    return "".join(pieces) + query[position:]


def _is_secret(name: str, value: str) -> bool:
    plain = _NOT_ALPHANUMERIC.sub("", name.lower())
    if plain in _SOMETIMES_SECRET_NAMES:
        return not _PAGE_NUMBER.fullmatch(value)
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS) or plain.startswith(_SECRET_BEGINNINGS)


def _split(url: str) -> _Parts:
    url = url.partition("#")[0]
    scheme = ""
    if found := _SCHEME.match(url):
        scheme, url = found[1].lower(), url[found.end() :]
    before, _, query = url.partition("?")
    before = before.replace("\\", "/").removeprefix("//")
    authority, slash, path = before.partition("/")
    return _Parts("" if scheme in ("http", "https") else scheme, authority, slash + path, query)


def _canonical_host(authority: str) -> str:
    host = _normalise_escapes(authority.rpartition("@")[2]).lower()
    while True:
        shorter = _ascii_host(_DEFAULT_PORTS.sub("", host).rstrip("."))
        if shorter.startswith("www.") and "." in shorter[4:]:
            shorter = shorter[4:]
        if shorter == host:
            return host
        host = shorter


@lru_cache(maxsize=4096)
def _ascii_host(host: str) -> str:
    """Names beyond ASCII in the form that DNS knows; what is no name stays percent-encoded."""
    found = _ESCAPED_HOST.fullmatch(unquote(host, errors="replace")) if "%" in host else None
    if not found:
        return host
    import idna  # here: its tables are large, and few hosts need it

    try:
        return idna.encode(found[1], uts46=True).decode("ascii") + (found[2] or "")
    except (idna.IDNAError, UnicodeError):
        return host


def _canonical_path(path: str) -> str:
    path = _SESSION_IN_PATH.sub("", _COOKIELESS_SESSION.sub("", _normalise_escapes(path)))
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            segments = segments[:-1]
        elif segment not in ("", "."):
            segments.append(segment)
    while segments and _INDEX_PAGE.fullmatch(segments[-1]):
        segments.pop()
    return "".join(f"/{segment}" for segment in segments)


def _canonical_query(query: str) -> str:
    parameters = [parameter for parameter in _normalise_escapes(query).split("&") if parameter]
    return "&".join(sorted(parameter for parameter in parameters if not _is_noise(parameter)))


def _is_noise(parameter: str) -> bool:
    name = parameter.partition("=")[0].lower()
    return name in TRACKING_PARAMETERS or name in _SESSION_PARAMETERS or name.startswith(TRACKING_PREFIXES)


def _normalise_escapes(text: str) -> str:
    """One way to write each character: unreserved ones plain, all others that need it as upper-case UTF-8 escapes."""
    return _ESCAPABLE.sub(_normalise_escape, text)


def _normalise_escape(found: re.Match[str]) -> str:
    written = found[0]
    if len(written) == 3:
        character = chr(int(written[1:], 16))
        return character if character in _UNRESERVED else written.upper()
    return "".join(f"%{byte:02X}" for byte in written.encode("utf-8", "replace"))
