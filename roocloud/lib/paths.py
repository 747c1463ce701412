"""Paths as clients really build them (protocol/auth.md §1, protocol/proxy.md §1).

A base URL with a trailing slash yields ``//v1/…``; both ``…/proxy`` and ``…/proxy/v1`` are
configured as the provider URL, so ``v1`` may be missing or doubled.
"""

import re
from collections.abc import Mapping

_SLASHES = re.compile(r"/{2,}")
_PROXY = re.compile(r"^/proxy(?:/v1)*(?=/|$)")


def canonical(path: str) -> str:
    """The path that the URLconf knows: ``/proxy//v1//v1/models/`` -> ``/proxy/v1/models``."""
    path = _SLASHES.sub("/", path)
    if path.startswith("/proxy"):
        path = _PROXY.sub("/proxy/v1", path.rstrip("/"))
    return path


#: Nobody indexes, keeps, frames or tells elsewhere the address of what is below these (J4).
_CONFIDENTIAL = ("/share/", "/shares/", "/task/", "/roomote")
_CONFIDENTIAL_HEADERS = {
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def confidential_headers(path: str) -> Mapping[str, str]:
    """What every answer of a canonical path carries, if that shows a conversation or a link to one;
    nothing for other paths."""
    if not path.startswith(_CONFIDENTIAL):
        return {}
    # The address of a share opens it. Without any referrer forms would come from no origin, and be
    # refused: pages of the owner, which have some, tell theirs to this server.
    referrer = "no-referrer" if path.startswith("/share/") else "same-origin"
    return {**_CONFIDENTIAL_HEADERS, "Referrer-Policy": referrer}
