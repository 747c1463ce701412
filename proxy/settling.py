"""Settlements: each completion's end is written down and charged once, however often that fails.

Nobody waits for one: the client has its answer. Those that end within a moment are written
together, and what the database does not take now is tried again for as long as the process lives;
if it dies, the sweep settles its completions at what was last saved (C4).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from django.db import InterfaceError, OperationalError

from proxy import admission, holds, metrics
from proxy.admission import Result
from roocloud.lib.loops import PerLoop
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

_BATCH = 128
#: Seconds from the beginning of one batch to that of the next.
_EVERY_S = 0.05
#: Seconds between two tries; the last one goes on.
_AGAIN_S = (0.1, 0.5, 2, 5, 10, 20, 30, 60)
#: Seconds that an answer waits for its settlement; for longer only if the database is down.
_AWAITED_S = 10
_DOWN = OperationalError, InterfaceError, OSError


class _Lane:
    """What is to be settled on one event loop. awaited: by completion."""

    def __init__(self) -> None:
        self.waiting: deque[Result] = deque()
        self.worker: asyncio.Task[None] | None = None
        self.awaited: dict[str, asyncio.Event] = {}
        self._next_at = 0.0  # loop time of the next batch

    def put(self, result: Result) -> None:
        self.waiting.append(result)
        if self.worker is None or self.worker.done():
            self.worker = asyncio.get_running_loop().create_task(self._work())

    async def over(self, result: Result) -> None:
        key = result.admitted.completion_id
        event = self.awaited[key] = asyncio.Event()
        try:
            async with asyncio.timeout(_AWAITED_S):
                await event.wait()
        except TimeoutError:
            logger.warning("An answer was not stored before its end", extra={"completion": key})
        finally:
            del self.awaited[key]

    async def _work(self) -> None:
        failures, loop = 0, asyncio.get_running_loop()
        while self.waiting:
            await asyncio.sleep(self._next_at - loop.time())
            self._next_at = loop.time() + _EVERY_S
            batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), _BATCH))]
            try:
                await _settle(batch)
            except _DOWN:
                logger.exception("Completions were not settled", extra={"completions": len(batch)})
                self.waiting.extendleft(reversed(batch))
                await asyncio.sleep(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])
                failures += 1
            else:
                failures = 0
                for result in batch if self.awaited else ():
                    if event := self.awaited.get(result.admitted.completion_id):
                        event.set()


_lanes = PerLoop(_Lane)


def settle(result: Result) -> None:
    """Take over what is to be settled. What its call left of its room is free from now on."""
    admitted = result.admitted
    worst_nanos = admitted.order.worst_nanos
    holds.ended(admitted.hold, worst_nanos=worst_nanos, cost_nanos=result.cost_nanos)
    _lanes.here().put(result)


async def settle_now(result: Result) -> None:
    """Take it over, and return when it is settled; or after some seconds, while it is tried on."""
    settle(result)
    await _lanes.here().over(result)


async def settled() -> None:
    """Returns when everything is, for shutdown and tests."""
    lane = _lanes.made_here()
    if lane is not None and lane.worker is not None:
        await lane.worker


async def _settle(batch: Sequence[Result]) -> None:
    """Raises what says that the database is down; another fault is one result's alone."""
    closing = holds.closing([result.admitted.hold for result in batch])
    try:
        costs = await run_db(admission.settle, batch, closing=[one.hold for one in closing])
    except _DOWN:
        raise
    except Exception:
        if len(batch) > 1:
            for result in batch:
                await _settle([result])
            return
        admitted = batch[0].admitted
        logger.exception(
            "A completion cannot be settled", extra={"completion": admitted.completion_id}
        )
        holds.abandon(admitted.hold)
        return
    for result, cost in zip(batch, costs, strict=True):
        holds.settled(result.admitted.hold)
        metrics.count(result, cost)
