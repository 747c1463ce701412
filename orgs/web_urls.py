"""URLs that both this server and the clients' ``new URL()`` take for URLs.

Python's parsers let through what JavaScript's refuses, and one refused URL costs every member all
settings (trap 16). So this is a narrow grammar of our own, well inside the WHATWG URL standard.
"""

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_URL = re.compile(
    r"https?://"
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<host>[a-z0-9.-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#][!#-;=?-\[\]_a-z~]*)?",  # printable ASCII but "<>\^`{|}
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9-]{1,63}", re.IGNORECASE)
#: A host whose last label looks like this is read as an IPv4 address in some notation.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_PLAIN = frozenset("0123456789-")
_HANGUL_FILLERS = "\u115f\u1160"  # letters by category, and invisible


def is_web_url(text: str) -> bool:
    """Whether ``text`` is an http or https URL of a plain host, without a user name."""
    found = _URL.fullmatch(text)
    if found is None:
        return False
    if found["port"] and not 0 < int(found["port"]) < 2**16:
        return False
    if found["ipv6"]:
        return _is_address(IPv6Address, found["ipv6"])
    return _is_host(found["host"])


def _is_address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if _NUMBER.fullmatch(labels[-1]):
        return _is_address(IPv4Address, host)
    return all(_decodes(label) for label in labels if label.lower().startswith("xn--"))


def _decodes(label: str) -> bool:
    """Whether a label in Punycode stands for a plain word. Of anything else than lower-case letters
    of a left-to-right script, digits and hyphens, the versions of IDNA disagree."""
    try:
        word = label.encode().decode("idna")
    except UnicodeError:
        return False
    return not word.isascii() and all(c in _PLAIN or _is_letter(c) for c in word)


def _is_letter(c: str) -> bool:
    return c not in _HANGUL_FILLERS and all(
        unicode.category(c) in ("Ll", "Lo") and unicode.bidirectional(c) == "L"
        for unicode in (unicodedata.ucd_3_2_0, unicodedata)
    )
