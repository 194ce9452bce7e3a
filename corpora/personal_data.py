"""Takes e-mail addresses and public IP addresses out of a text: text in, text and counts out.

The rule: only what is surely one is replaced, by a word that shows what stood there. Private, loopback and
documentation addresses name nobody and stay.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

__all__ = ["Redacted", "redact_personal_data"]

EMAIL_MARK = "<email>"
ADDRESS_MARK = "<ip>"
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@-])")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9a-f]*:[0-9a-f]*:)[0-9a-f:]{6,39}(?![\w:]|\.\d)", re.IGNORECASE | re.ASCII)


class Redacted(NamedTuple):
    """The text, and how much was taken out of it."""

    text: str
    n_emails: int
    n_addresses: int


def redact_personal_data(text: str) -> Redacted:
    """The text with marks in place of personal data.

    >>> redact_personal_data("Write to joe@example.com from 8.8.8.8, not 10.0.0.1.")
    Redacted(text='Write to <email> from <ip>, not 10.0.0.1.', n_emails=1, n_addresses=1)
    """
    n_addresses = 0

    def redact(found: re.Match[str]) -> str:
        nonlocal n_addresses
        if not _is_public(found[0]):
            return found[0]
        n_addresses += 1
        return ADDRESS_MARK

    text, n_emails = _EMAIL.subn(EMAIL_MARK, text) if "@" in text else (text, 0)
    text = _IPV6.sub(redact, _IPV4.sub(redact, text))
    return Redacted(text, n_emails, n_addresses)


def _is_public(written: str) -> bool:
    try:
        address = IPv6Address(written) if ":" in written else IPv4Address(written)
    except AddressValueError:
        return False  # a version number, a time
    return address.is_global
