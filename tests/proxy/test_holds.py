"""C3, C4, C8: calls share what the database has set aside for their process, and never more."""

import asyncio
import random
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from credits import actions as credit
from credits import queries as books
from credits.models import Account, Hold
from proxy import admission, holds, settling
from proxy.admission import Admitted, Result
from proxy.models import Completion, new_completion_id
from proxy.pricing import Usage
from roocloud.lib.money import NANOS_PER_USD as USD
from tests.proxy.test_usage import models, order_of  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db(transaction=True)
USED = Usage(100, 10)


@pytest.fixture
def order(models, alice, acme):  # noqa: F811
    return order_of(alice, acme)


def drain(order, left_nanos) -> Account:
    """Leave the account of an order with so much."""
    account = Account.unscoped.get(pk=order.account_id)
    nanos = account.balance_nanos - left_nanos
    (hold,) = credit.place_holds([credit.HoldRequest(account.pk, nanos)], at=order.at)
    credit.settle_holds([credit.Charge(hold, "drain", nanos)], closing=[hold], at=order.at)
    return account


async def draw(order) -> Admitted:
    return Admitted(new_completion_id(), await holds.draw(order), order)


def result_of(call, usage=USED) -> Result:
    cost, at = call.cost_nanos(usage), timezone.now()
    return Result(call, "done", usage, cost, False, "", "east", (), 1, at)


async def settle(*calls, usage=USED) -> None:
    for call in calls:
        settling.settle(result_of(call, usage))
    await settling.settled()


async def standing(order) -> tuple[int, int]:
    account = await sync_to_async(Account.unscoped.get)(pk=order.account_id)
    assert await sync_to_async(books.mismatches)() == []
    return account.balance_nanos, account.held_nanos


async def test_later_calls_take_the_room_that_ended_ones_left(order):
    calls = await asyncio.gather(*(draw(order) for _ in range(4)))
    await settle(*calls[:3])

    later = [await draw(order) for _ in range(3)]

    assert [call.hold is calls[0].hold for call in later] == [True, True, False]
    await settle(calls[3], *later)
    assert (await standing(order))[1] == 0


async def test_the_room_of_an_ended_call_is_free_before_it_is_charged(order):
    calls = await asyncio.gather(*(draw(order) for _ in range(2)))
    for call in calls:
        settling.settle(result_of(call))

    later = await draw(order)

    assert later.hold is calls[0].hold
    await settling.settled()
    assert later.hold.free_nanos == order.worst_nanos - 2 * calls[0].cost_nanos(USED)
    await settle(later)
    assert (await standing(order))[1] == 0


async def test_the_last_call_closes_it(order):
    calls = await asyncio.gather(*(draw(order) for _ in range(5)))
    await settle(*calls[:4])
    assert (await standing(order))[1] > 0
    await settle(calls[4])
    balance, held = await standing(order)
    assert held == 0
    assert not await sync_to_async(Hold.unscoped.open().exists)()
    cost = calls[0].cost_nanos(USED)
    assert balance == 1000 * USD - 5 * cost


async def test_no_call_takes_more_than_is_left(order):
    """C3: whatever is drawn from it, in whatever order it ends."""
    worst = order.worst_nanos
    await sync_to_async(drain)(order, 7 * worst)
    chance = random.Random(3)  # noqa: S311
    running, most = [], 0
    for _ in range(200):
        if running and chance.random() < 0.5:
            await settle(running.pop(chance.randrange(len(running))), usage=Usage(0, 0))
        else:
            try:
                running.append(await draw(order))
            except credit.InsufficientCredit:
                assert len(running) == 7
        most = max(most, len(running))
    assert most == 7
    await settle(*running, usage=Usage(0, 0))
    assert await standing(order) == (7 * worst, 0)


async def test_it_takes_no_call_after_its_time(order, settings):
    """B4: a budget made meanwhile counts every call from then on."""
    first = await draw(order)
    first.hold.free_nanos = 10 * order.worst_nanos
    first.hold.usable_until = timezone.now() - timedelta(seconds=1)
    second = await draw(order)
    assert second.hold is not first.hold
    first.hold.free_nanos = 0
    await settle(first, second)


async def test_another_key_member_or_model_has_its_own(models, order, alice, bob, acme):  # noqa: F811
    """MO1: budgets of one do not pay for another."""
    others = [
        await sync_to_async(order_of)(bob, acme),
        await sync_to_async(order_of)(alice, acme, model="v/two"),
    ]
    calls = await asyncio.gather(*(draw(one) for one in (order, *others)))
    assert len({call.hold.hold.pk for call in calls}) == 3
    await settle(*calls)


async def test_a_call_whose_hold_was_swept_is_not_charged(order):
    """C4, C8: a process that was taken for dead wakes up."""
    call = await draw(order)
    at = timezone.now() + timedelta(minutes=5)
    assert await sync_to_async(admission.settle_orphans)(at=at) == 0
    await settle(call)
    assert await standing(order) == (1000 * USD, 0)
    row = await sync_to_async(Completion.unscoped.get)()
    assert (row.status, row.cost_nanos) == ("orphaned", 0)


async def test_one_that_many_came_to_is_kept_for_a_moment(order):
    """Between two waves of calls, so that the second needs no transaction."""
    calls = await asyncio.gather(*(draw(order) for _ in range(holds.BUSY_CALLS)))
    await settle(*calls)
    again = await draw(order)
    assert again.hold is calls[0].hold
    await settle(again)

    async with asyncio.timeout(10):
        while (await standing(order))[1]:  # noqa: ASYNC110 - the database is asked
            await asyncio.sleep(0.05)
    assert not await sync_to_async(Hold.unscoped.open().exists)()


async def test_where_calls_are_many_room_is_set_aside_for_more(order):
    """Else each call that finds none would wait for a transaction of its own."""
    few = await asyncio.gather(*(draw(order) for _ in range(holds.BUSY_CALLS)))
    assert few[0].hold.hold.amount_nanos == holds.BUSY_CALLS * order.worst_nanos

    call = await draw(order)

    assert call.hold.hold.amount_nanos == (1 + holds.SPARE_CALLS) * order.worst_nanos
    more = await asyncio.gather(*(draw(order) for _ in range(holds.SPARE_CALLS)))
    assert {one.hold for one in more} == {call.hold}
    await settle(*few, call, *more)


async def test_the_end_of_the_process_gives_back_what_was_kept(order):
    calls = await asyncio.gather(*(draw(order) for _ in range(holds.BUSY_CALLS)))
    await settle(*calls)
    assert (await standing(order))[1] > 0
    await holds.close()
    assert (await standing(order))[1] == 0
