"""The shared cache as a convenience: one that does not answer is one that knows nothing (E1)."""

import logging
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def recall(key: str) -> Any | None:
    """What is remembered under the key; None for nothing and for a cache that is down."""
    try:
        return cache.get(key)
    except RedisError:
        logger.warning("The cache did not answer", exc_info=True)
        return None


def remember(key: str, value: Any, *, seconds: int) -> None:
    """Keep a value for whoever asks next, if the cache is up."""
    try:
        cache.set(key, value, seconds)
    except RedisError:
        logger.warning("The cache did not take a value", exc_info=True)
