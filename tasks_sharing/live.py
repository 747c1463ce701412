"""News of running tasks, from where they are recorded to where they are watched.

What travels is that a task changed, and no content. The channel layer may lose it, or be down: who
watches looks at the task itself every few seconds (D8), and who records neither waits for the layer
nor fails with it (E3).
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)

#: Seconds that the layer is given for one message.
_LAYER_S = 2
#: Seconds between the first two attempts to join a group; it doubles, up to the second figure.
_JOIN_AGAIN_S, _JOIN_AGAIN_MOST_S = 2, 30
#: Tasks whose news may wait for the layer; news beyond them is dropped.
_MAX_WAITING = 1_000
#: Seconds between two complaints about the layer.
_COMPLAIN_S = 60


def announce(task_pk: str) -> None:
    """Tell who watches the task that it changed, once the caller's transaction is committed."""
    transaction.on_commit(partial(_hand_over, task_pk), robust=True)


# --- Telling ----------------------------------------------------------------------------------

_waiting: set[str] = set()
_telling: set[asyncio.Task[None]] = set()
#: Event loops of this process on which somebody watches, each with how many do.
_watched: dict[asyncio.AbstractEventLoop, int] = {}
_complained_at = float("-inf")


@lru_cache(maxsize=1)
def _own_loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own, so that a slow layer delays no request."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="live", daemon=True).start()
    return loop


def _hand_over(task_pk: str) -> None:
    """Returns at once. Changes of a task that come before its news are sent are one."""
    if task_pk in _waiting or len(_waiting) >= _MAX_WAITING:
        return
    # The layer in memory knows the loops of this process alone, and is not safe between them.
    loops = [_own_loop()] if settings.REDIS_URL else list(_watched)
    for loop in loops:
        _waiting.add(task_pk)
        try:
            loop.call_soon_threadsafe(_begin_to_tell, task_pk)
        except RuntimeError:  # a loop that has ended
            _waiting.discard(task_pk)


def _begin_to_tell(task_pk: str) -> None:
    task = asyncio.get_running_loop().create_task(_tell(task_pk))
    _telling.add(task)
    task.add_done_callback(_telling.discard)


async def _tell(task_pk: str) -> None:
    _waiting.discard(task_pk)
    try:
        async with asyncio.timeout(_LAYER_S):
            await _layer().group_send(_group(task_pk), {"type": "task.changed"})
    except Exception:  # noqa: BLE001 - whatever the layer raises: watchers look for themselves
        _complain()


def _layer() -> Any:
    return get_channel_layer()


def _group(task_pk: str) -> str:
    return f"tasks.live.{task_pk}"


def _complain() -> None:
    global _complained_at
    if time.monotonic() - _complained_at > _COMPLAIN_S:
        _complained_at = time.monotonic()
        logger.warning("The channel layer does not answer: pages follow tasks more slowly")


# --- Watching ---------------------------------------------------------------------------------


@asynccontextmanager
async def watching(task_pk: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever the task changed; whoever waits for it clears it."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    _watched[loop] = _watched.get(loop, 0) + 1
    listener = asyncio.create_task(_listen(_group(task_pk), changed))
    try:
        yield changed
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
        _watched[loop] -= 1
        if not _watched[loop]:
            del _watched[loop]


async def _listen(group: str, changed: asyncio.Event) -> None:
    """Join the group, and again where that fails, until cancelled."""
    layer, pause = _layer(), _JOIN_AGAIN_S
    while True:
        try:
            async with _joined(layer, group) as hear:
                pause = _JOIN_AGAIN_S
                while True:
                    await hear()
                    changed.set()
        except Exception:  # noqa: BLE001 - the same
            _complain()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _JOIN_AGAIN_MOST_S)


@asynccontextmanager
async def _joined(layer: Any, group: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """What waits for the next message to the group. It leaves nothing behind in the layer.

    Not by new_channel(): where Redis is down, that leaves a queue of a name that nobody knows. A
    layer makes one for a name that is received from, too.
    """
    channel, is_joined = f"specific.{uuid4().hex}", False
    hearing = _receiving(layer, channel)

    async def hear() -> None:
        nonlocal hearing
        await hearing
        hearing = _receiving(layer, channel)

    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(_LAYER_S):
            await layer.group_add(group, channel)
        is_joined = True
        yield hear
    finally:
        await _end(hearing)
        if not is_joined:
            # A layer drops the queue when receive() is cancelled while it waits for a message, and
            # this one may not have come that far. It does now, for the queue is there.
            hearing = _receiving(layer, channel)
            await asyncio.sleep(0)
            await _end(hearing)
        with suppress(Exception):
            async with asyncio.timeout(_LAYER_S):
                await layer.group_discard(group, channel)


def _receiving(layer: Any, channel: str) -> asyncio.Future[Any]:
    hearing: asyncio.Future[Any] = asyncio.ensure_future(layer.receive(channel))
    # What fails when nobody waits for it any more is no news.
    hearing.add_done_callback(lambda done: done.cancelled() or done.exception())
    return hearing


async def _end(hearing: asyncio.Future[Any]) -> None:
    hearing.cancel()
    await asyncio.wait([hearing], timeout=_LAYER_S)
