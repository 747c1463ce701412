"""Group commit: what waits while one batch is worked on goes into the next one together.

A commit costs the database the same for one row as for fifty, and a round trip the same for one
command as for fifty. So callers that would each make their own hand their part in here instead, and
each awaits its own result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

from roocloud.lib.loops import PerLoop

T = TypeVar("T")
R = TypeVar("R")


#: Faults of what the work asks, and not of a part.
_DOWN = OperationalError, InterfaceError, RedisError, OSError, TimeoutError


#: How many callers go on at a time. Between them the loop looks at its sockets: else the first of a
#: crowd would be answered when the last has done its next step, and the crowd stay one for ever.
_AT_A_TIME = 8


class _Lane(Generic[T, R]):
    """What waits on one event loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.worker: asyncio.Task[None] | None = None


class Batches(Generic[T, R]):
    """``work`` does a batch of parts and gives a result for each, in order; a result that is an
    exception is raised for its part alone."""

    def __init__(
        self, work: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], *, limit: int = 128
    ) -> None:
        self._work = work
        self._limit = limit
        self._lanes: PerLoop[_Lane[T, R]] = PerLoop(_Lane)

    async def submit(self, part: T) -> R:
        """The part's own result. A cancelled caller does not take its part back."""
        loop, lane = asyncio.get_running_loop(), self._lanes.here()
        future: asyncio.Future[R] = loop.create_future()
        lane.waiting.append((part, future))
        if lane.worker is None:
            lane.worker = loop.create_task(self._run(lane))
        return await future

    async def _run(self, lane: _Lane[T, R]) -> None:
        try:
            while lane.waiting:
                batch, lane.waiting = lane.waiting[: self._limit], lane.waiting[self._limit :]
                await self._do(batch)
        finally:
            lane.worker = None

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([part for part, _ in batch])
        except Exception as fault:  # noqa: BLE001 - it is raised to the callers
            is_down = isinstance(fault, _DOWN)
            if len(batch) > 1 and not is_down:  # one part may have spoiled it for the others
                for single in batch:
                    await self._do([single])
                return
            results = [fault] * len(batch)
        for place, ((_, future), result) in enumerate(zip(batch, results, strict=True), 1):
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
