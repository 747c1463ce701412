"""``/metrics``: the figures of this process in Prometheus' text form."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from roocloud.lib.access import Access, bearer_checked
from roocloud.lib.metrics import registry

#: What reverse proxies add to a request that they pass on.
_PASSED_ON = (
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via",
)  # fmt: skip
#: Figures of psycopg's pool.
_POOL = {
    "pool_size": "Connections to the database.",
    "pool_available": "Connections that nobody uses.",
    "requests_waiting": "Callers that wait for a connection.",
}


@bearer_checked(Access("operator"))
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Whoever may not read it, finds nothing there."""
    if not _may_read(request):
        raise Http404
    return HttpResponse(
        generate_latest(registry),
        content_type=CONTENT_TYPE_LATEST,
        headers={"Cache-Control": "no-store"},
    )


def _may_read(request: HttpRequest) -> bool:
    token = settings.ROOCLOUD_METRICS_TOKEN
    if token:
        return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}")
    # A reverse proxy on this machine connects from loopback as well: nothing may say that the
    # request was passed on, and it must have been addressed to loopback.
    is_passed_on = any(name in request.headers for name in _PASSED_ON)
    host = urlsplit(f"//{request.get_host()}").hostname or ""
    return (
        not is_passed_on
        and _is_loopback(request.META.get("REMOTE_ADDR", ""))
        and (host == "localhost" or _is_loopback(host))
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class _Database(Collector):
    def describe(self) -> list[Metric]:
        return []  # asked for when it is registered, before there is a database

    def collect(self) -> Iterator[Metric]:
        """Of PostgreSQL alone: SQLite has no pool."""
        pool = getattr(connection, "pool", None) if connection.vendor == "postgresql" else None
        if pool is None:
            return
        stats = pool.get_stats()
        for name, text in _POOL.items():
            yield GaugeMetricFamily(f"roocloud_database_{name}", text, value=stats.get(name, 0))


registry.register(_Database())
