"""Database work from plain ASGI code.

Outside Django's handler ``sync_to_async`` queues all callers for one thread, and nothing gives the
connection back. This pool is bounded, and every call ends without a held connection.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import connections

P = ParamSpec("P")
R = TypeVar("R")


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.ROOCLOUD_DB_THREADS, thread_name_prefix="db")


def _closing(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return func(*args, **kwargs)
    finally:
        connections.close_all()


async def run_db(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run one whole action on the pool. A cancelled caller does not stop the action: what it began
    it finishes, so shield the await where its result matters."""
    call = partial(copy_context().run, partial(_closing, func, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_pool(), call)
