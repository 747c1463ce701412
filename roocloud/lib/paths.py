"""Paths as clients really build them (protocol/auth.md §1, protocol/proxy.md §1).

A base URL with a trailing slash yields ``//v1/…``; both ``…/proxy`` and ``…/proxy/v1`` are
configured as the provider URL, so ``v1`` may be missing or doubled.
"""

import re

_SLASHES = re.compile(r"/{2,}")
_PROXY = re.compile(r"^/proxy(?:/v1)*(?=/|$)")


def canonical(path: str) -> str:
    """The path that the URLconf knows: ``/proxy//v1//v1/models`` -> ``/proxy/v1/models``."""
    path = _SLASHES.sub("/", path)
    return _PROXY.sub("/proxy/v1", path)
