"""``/metrics``: the figures of this process in Prometheus' text form. ``/api/admin/metrics``: those
of remote control, by the names of protocol/bridge.md §8.5."""

import ipaddress
import math
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge import metrics as bridge
from roocloud import machine
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


@bearer_checked(Access("operator"))
@require_safe
def admin_metrics(request: HttpRequest) -> JsonResponse:
    """``GET /api/admin/metrics``: for site administrators, and whoever may read ``/metrics``. Rates
    are of this process and a second, over the last minute; see bridge.figures."""
    if not (_may_read(request) or admin.site.has_permission(request)):
        raise Http404
    at = timezone.now()
    document = bridge.document(at=at)
    throughput = bridge.throughput()
    return JsonResponse(
        {**document, "performance": _performance(throughput)}, headers={"Cache-Control": "no-store"}
    )


def _performance(throughput: float) -> dict[str, Any]:
    """Utilization from 0 to 100, bytes a second; the connections of this process that are in use,
    null without a pool."""
    stats = _pool_stats()
    return {
        "cpuUtilization": _percent(machine.cpu_used()),
        "memoryUtilization": _percent(machine.memory_used()),
        "networkThroughput": round(throughput),
        "databaseConnections": stats and stats["pool_size"] - stats["pool_available"],
    }


def _percent(ratio: float) -> float | None:
    return None if math.isnan(ratio) else round(100 * ratio, 1)


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
        stats = _pool_stats()
        for name, text in _POOL.items():
            if stats:
                yield GaugeMetricFamily(f"roocloud_database_{name}", text, value=stats.get(name, 0))


def _pool_stats() -> dict[str, int] | None:
    pool = getattr(connection, "pool", None) if connection.vendor == "postgresql" else None
    return dict(pool.get_stats()) if pool else None


registry.register(_Database())
ProcessCollector(registry=registry)
_queries = Histogram(
    "roocloud_database_query_seconds",
    "Queries, as this process waited for them.",
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 20),
    registry=registry,
)
for _name, _text, _of in (
    ("cpu", "Load of the last minute, of all cores.", machine.cpu_used),
    ("memory", "Memory in use, of the container or the machine.", machine.memory_used),
    ("disk", "Space in use where the data directory is.", machine.disk_used),
):
    Gauge(f"roocloud_{_name}_used_ratio", _text, registry=registry).set_function(_of)


def time_queries() -> None:
    """Called once, while apps are loaded."""
    connection_created.connect(_watch, dispatch_uid="roocloud.metrics")


def _watch(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(_timed)


def _timed(execute: Callable[..., Any], *call: Any) -> Any:
    began = time.perf_counter()
    try:
        return execute(*call)
    finally:
        _queries.observe(time.perf_counter() - began)
