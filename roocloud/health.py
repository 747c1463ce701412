"""``/health``: does this process answer, and do its parts."""

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError

from roocloud.lib.access import public


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


@public(reason="load balancers ask it; it says up or down and nothing else")
def health(request: HttpRequest) -> JsonResponse:
    """200 when the database and the cache answer, else 503 that names the part."""
    parts = {"database": _database(), "cache": _cache()}
    return JsonResponse(
        {"status": "ok" if all(parts.values()) else "degraded", "parts": parts},
        status=200 if all(parts.values()) else 503,
    )
