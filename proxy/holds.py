"""The holds of this process, and how its calls share them (docs/decisions/0009).

A call that finds room in a hold that others of its kind have left open starts at once; only where
there is none does the database set more aside. Nothing starts without room in a hold that the
database has committed (C3). Everything here runs on one event loop.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.utils import timezone

from credits import actions as credit
from roocloud.lib.batches import Batches
from roocloud.lib.loops import PerLoop
from roocloud.lib.threads import run_db

if TYPE_CHECKING:
    from credits.models import Hold
    from proxy.admission import Order

logger = logging.getLogger(__name__)

#: How long a hold takes new calls: a budget made meanwhile does not count those (B4).
USABLE = timedelta(seconds=5)
#: A hold that so many calls came to is kept for a moment after the last: more of them will come.
BUSY_CALLS = 8
#: For how many calls more than ask room is set aside where calls are many.
SPARE_CALLS = 16
IDLE_S = 0.5

_Key = tuple[str, ...]


@dataclass(slots=True, eq=False)
class OpenHold:
    """A hold of this process. key: of the calls that may share it. free_nanos: what no call runs on
    and none that ended has cost. calls: that are not settled yet. came: how many came to it so
    far."""

    hold: "Hold"
    key: _Key
    usable_until: datetime
    free_nanos: int = 0
    calls: int = 0
    came: int = 0


class _Pool:
    """The open holds of one event loop."""

    def __init__(self) -> None:
        self.usable: dict[_Key, list[OpenHold]] = {}
        self.every: set[OpenHold] = set()
        self.closing: asyncio.Task[None] | None = None
        self.placing: Batches[Order, OpenHold] = Batches(self._place)

    def find(self, order: "Order") -> OpenHold | None:
        for opened in self.usable.get(_key(order), ()):
            if opened.free_nanos >= order.worst_nanos and order.at < opened.usable_until:
                return opened
        return None

    async def _place(self, orders: Sequence["Order"]) -> Sequence[OpenHold | Exception]:
        at = max(order.at for order in orders)
        requests = [
            credit.HoldRequest(
                order.account_id,
                order.worst_nanos,
                order.subjects,
                spare_nanos=spare_calls * order.worst_nanos,
            )
            for order, spare_calls in zip(orders, self._spare_calls(orders), strict=True)
        ]
        placed = await run_db(credit.place_holds, requests, at=at)
        made: dict[int, OpenHold] = {}
        results: list[OpenHold | Exception] = []
        for order, hold in zip(orders, placed, strict=True):
            if isinstance(hold, Exception):
                results.append(hold)
                continue
            if hold.pk not in made:
                made[hold.pk] = self._open(hold, _key(order), at)
                made[hold.pk].free_nanos = hold.amount_nanos
            made[hold.pk].free_nanos -= order.worst_nanos
            made[hold.pk].calls += 1
            made[hold.pk].came += 1
            results.append(made[hold.pk])
        return results

    def _spare_calls(self, orders: Sequence["Order"]) -> list[int]:
        """For each order, how many calls more of its kind room is asked for; once for each kind."""
        busy = {
            key: SPARE_CALLS
            for key in map(_key, orders)
            if any(opened.came >= BUSY_CALLS for opened in self.usable.get(key, ()))
        }
        return [busy.pop(_key(order), 0) for order in orders]

    def _open(self, hold: "Hold", key: _Key, at: datetime) -> OpenHold:
        midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        opened = OpenHold(hold, key, usable_until=min(at + USABLE, midnight))  # as budgets end
        usable = [one for one in self.usable.get(key, ()) if at < one.usable_until]
        self.usable[key] = [*usable, opened]
        self.every.add(opened)
        return opened

    def retire(self, opened: OpenHold) -> None:
        """Let no more calls share it."""
        usable = [one for one in self.usable.get(opened.key, ()) if one is not opened]
        if usable:
            self.usable[opened.key] = usable
        else:
            self.usable.pop(opened.key, None)

    async def close_idle(self) -> None:
        """Close what no call draws on. If that fails, it is tried again, or swept as orphaned."""
        idle = [opened for opened in self.every if not opened.calls]
        if not idle:
            return
        for opened in idle:
            self.retire(opened)
        holds = [opened.hold for opened in idle]
        try:
            await run_db(credit.settle_holds, [], closing=holds, at=timezone.now())
        except DatabaseError:
            logger.exception("Holds that no call draws on were not closed")
        else:
            self.every.difference_update(idle)

    def close_idle_soon(self) -> None:
        if self.closing is None or self.closing.done():
            self.closing = asyncio.get_running_loop().create_task(self._close_until_none())

    async def _close_until_none(self) -> None:
        while self.every:
            await asyncio.sleep(IDLE_S)
            await self.close_idle()


_pools = PerLoop(_Pool)


def _key(order: "Order") -> _Key:
    return order.account_id, *order.subjects.values()


async def draw(order: "Order") -> OpenHold:
    """Room for an order's worst case, until ``ended``. Raises InsufficientCredit,
    BudgetExhausted."""
    pool = _pools.here()
    found = pool.find(order)
    if found is None:
        return await pool.placing.submit(order)
    found.free_nanos -= order.worst_nanos
    found.calls += 1
    found.came += 1
    return found


def closing(settling: Sequence[OpenHold]) -> list[OpenHold]:
    """Those that are over with these calls; no others will share them. settling: one for each
    call."""
    over = [
        opened
        for opened, calls in Counter(settling).items()
        if calls == opened.calls and opened.came < BUSY_CALLS
    ]
    for opened in over:
        _pools.here().retire(opened)
    return over


def ended(opened: OpenHold, *, worst_nanos: int, cost_nanos: int) -> None:
    """A call of it is over and will be charged ``cost_nanos``: what is left of its room is free."""
    opened.free_nanos += worst_nanos - cost_nanos


def settled(opened: OpenHold) -> None:
    """A call of it was charged."""
    opened.calls -= 1
    if opened.calls:
        return
    if opened.came < BUSY_CALLS:
        _pools.here().every.discard(opened)
    else:
        _pools.here().close_idle_soon()


def abandon(opened: OpenHold) -> None:
    """A call of it cannot be settled: the process says no more that it lives, and the sweep closes
    it."""
    _pools.here().retire(opened)
    _pools.here().every.discard(opened)


async def close() -> None:
    """Give back what no call draws on any more, for shutdown."""
    await _pools.here().close_idle()


def open_ids() -> list[int]:
    """Of all holds of this event loop."""
    return [opened.hold.pk for opened in _pools.here().every]
