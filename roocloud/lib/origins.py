"""Which pages are ours, for connections that a cookie opens (R3)."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host


def is_own_page(headers: Mapping[bytes, str]) -> bool:
    """Whether a request can come from a page of this deployment. To the origin of the page browsers
    send no Origin over plain HTTP; from others they send it, Sec-Fetch-Site, or both."""
    origin = headers.get(b"origin")
    if origin is not None and not _is_ours(origin, host=headers.get(b"host", "")):
        return False
    return headers.get(b"sec-fetch-site", "same-origin") == "same-origin"


def _is_ours(origin: str, *, host: str) -> bool:
    """By the public address, or the address that the page and this request both have (``host``: the
    Host header), if it is one of ours."""
    urls = (settings.ROOCLOUD_PUBLIC_URL, *settings.CSRF_TRUSTED_ORIGINS)
    if origin in {_origin(url) for url in urls}:
        return True
    domain, _ = split_domain_port(host)
    return urlsplit(origin).netloc == host and validate_host(domain, settings.ALLOWED_HOSTS)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
