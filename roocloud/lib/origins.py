"""Which pages are ours, for connections that a cookie opens (R3)."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host


def is_ours(origin: str, *, host: str) -> bool:
    """Whether an ``Origin`` header names this deployment: its public address, or the address that
    the page and this request both have (``host``: the Host header), if it is one of ours."""
    urls = (settings.ROOCLOUD_PUBLIC_URL, *settings.CSRF_TRUSTED_ORIGINS)
    if origin in {_origin(url) for url in urls}:
        return True
    domain, _ = split_domain_port(host)
    return urlsplit(origin).netloc == host and validate_host(domain, settings.ALLOWED_HOSTS)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
