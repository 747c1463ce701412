"""``/health``: does this process answer, and do its parts."""

import time

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError

from roocloud.lib.access import public
from roocloud.lib.caching import recall, remember

#: Without these a process can answer nothing; a load balancer leaves it alone meanwhile.
_VITAL = ("database", "cache")
_LIFE = "jobs-ran"
#: Seconds after which jobs that did not run count as down.
_SILENT_S = 180
_started = time.monotonic()


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _cache() -> bool:
    try:
        cache.set("health", 1, timeout=5)
    except (RedisError, OSError):
        return False
    return True


def jobs_ran() -> None:
    """Scheduler, queue and a worker are there."""
    remember(_LIFE, 1, seconds=_SILENT_S)


def _jobs() -> bool:
    """Of a deployment that has just started, nothing is known yet."""
    return bool(recall(_LIFE)) or time.monotonic() - _started < _SILENT_S


@public(reason="load balancers ask it; it says up or down and nothing else")
def health(request: HttpRequest) -> JsonResponse:
    """200 ``ok``; 503 ``down`` without database or cache; 200 ``degraded`` while jobs do not run,
    for then pages and completions still do. ``parts`` says which."""
    parts = {"database": _database(), "cache": _cache()}
    parts["jobs"] = parts["cache"] and _jobs()
    is_up = all(parts[name] for name in _VITAL)
    status = "down" if not is_up else "ok" if all(parts.values()) else "degraded"
    return JsonResponse({"status": status, "parts": parts}, status=200 if is_up else 503)
