"""C4: processes that are killed with streams running, held to what the upstream made and what clients
had received. Run by ``make faults``."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field

import aiohttp
import pytest
from django.utils import timezone

from credits import queries as books
from credits.models import Entry, Hold
from proxy import actions, admission
from proxy.models import Completion, Upstream
from proxy.running import TICK_S
from roocloud.lib.money import NANOS_PER_USD as USD
from tests.faults.test_repeats import account, another_process, headers, say, session, upstream
from tests.proxy.test_completions import MESSAGES, PRICE

__all__ = ["account", "headers", "upstream"]  # fixtures

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

ROUNDS, EACH = 20, 10
#: Seconds after which what a stream used is in the database, on a machine that is busy.
SAVED_S = TICK_S + 2


@dataclass
class Received:
    """What a client had of a stream: (when, text so far in bytes) of each event."""

    task_id: str
    events: list[tuple[float, int]] = field(default_factory=list)

    def by(self, moment: float) -> int:
        return max((size for at, size in self.events if at <= moment), default=0)


async def read(client: aiohttp.ClientSession, url: str, received: Received) -> None:
    body = {"model": "fake/endless", "messages": MESSAGES, "stream": True}
    asked = {"X-Roo-Task-Id": received.task_id}
    size = 0
    try:
        async with client.post(
            f"{url}/proxy/v1/chat/completions", json=body, headers=asked
        ) as answer:
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        size += len(choice["delta"].get("content") or "")
                    received.events.append((time.monotonic(), size))
    except aiohttp.ClientError:
        return


def test_two_hundred_streams_under_kills(live_url, account, headers, upstream):
    """Each is charged once, at most its hold and at most what the upstream made; whoever had run for
    longer than progress takes to be saved is not free, and pays for what its client had by then."""
    draw = random.Random(9)  # noqa: S311 - when streams begin, and when their process dies
    at = timezone.now()
    actions.put_model(
        model_id="fake/endless", upstream=Upstream.unscoped.get(), upstream_model="endless",
        price=PRICE, facts=actions.ModelFacts(max_tokens=1000, context_window=2000), by=None, at=at,
    )  # fmt: skip
    streams: list[tuple[Received, float]] = []
    upstream.produced = 0

    async def run(number: int, url: str, kill) -> None:
        seen = [Received(f"{number}-{place}") for place in range(EACH)]
        async with session(headers) as client:

            async def one(received: Received) -> None:
                await asyncio.sleep(draw.uniform(0, 3))
                await read(client, url, received)

            asked = [asyncio.create_task(one(received)) for received in seen]
            await asyncio.sleep(draw.uniform(2, 8))
            kill()
            died = time.monotonic()
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        streams.extend((received, died) for received in seen)

    for number in range(ROUNDS):
        with another_process(live_url) as (url, kill):
            asyncio.run(run(number, url, kill))
    while admission.settle_orphans(at=timezone.now() + 2 * admission.ORPHANED_AFTER):
        pass

    rows = {row.task_id: row for row in Completion.unscoped.all()}
    charges = dict(Entry.unscoped.filter(kind="charge").values_list("key", "amount_nanos"))
    ran = [(one, died) for one, died in streams if one.events]
    old = [(one, died) for one, died in ran if one.events[0][0] < died - SAVED_S]
    charged = sum(row.completion_tokens for row in rows.values())
    account.refresh_from_db()
    say(
        f"C4: {ROUNDS} kills under {len(streams)} streams, {len(ran)} running: {len(rows)} charged, "
        f"{len(old)} of them past the time to save, {charged} tokens of {upstream.produced} made"
    )
    assert len(old) > EACH
    assert {one.task_id for one, _ in old} <= rows.keys()
    for one, died in old:
        assert rows[one.task_id].completion_tokens >= one.by(died - SAVED_S) // 4
    assert charged <= upstream.produced
    assert {row.status for row in rows.values()} == {"orphaned"}
    for hold in Hold.unscoped.all():
        mine = [row.cost_nanos for row in rows.values() if row.hold_id == hold.pk]
        assert sum(mine) <= hold.amount_nanos
    assert not Hold.unscoped.open().exists()
    assert len(charges) == sum(row.cost_nanos > 0 for row in rows.values())
    assert account.balance_nanos == 1000 * USD + sum(charges.values())
    assert -sum(charges.values()) == sum(row.cost_nanos for row in rows.values())
    assert books.mismatches() == []
