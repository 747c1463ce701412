"""D4 under fire: events that are sent again after kills. Run by ``make faults``."""

import asyncio
import random
from collections import deque
from contextlib import ExitStack

import aiohttp
import pytest
from django.db.models import Sum

from tasks_sharing.models import Message, Task
from telemetry.models import Event
from tests import factories
from tests.faults.test_repeats import another_process, say

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

EVENTS, KILLS, LIST, TASKS = 200_000, 50, 100, 200
#: Of five events two count once however often they come; the others add nothing up.
COUNTED = ("Task Message", "LLM Completion")


def event(number: int) -> dict:
    """No two are alike; the tasks take turns."""
    kind = dict(enumerate(COUNTED)).get(number % 5, "Tool Used")
    if kind == "Tool Used":
        return {"type": kind, "properties": {"mode": "code", "toolUses": number}}
    facts: dict = {"taskId": f"task-{number // 5 % TASKS}", "mode": "code"}
    if kind == "Task Message":
        facts["message"] = {"ts": number, "type": "say", "say": "text", "text": f"said {number}"}
    else:
        facts |= {"inputTokens": number, "outputTokens": 1, "cost": 0.001}
    return {"type": kind, "properties": facts}


class Servers:
    """Two processes; the one that was killed is followed by another."""

    def __init__(self, stack: ExitStack, public_url: str) -> None:
        self._start = lambda: stack.enter_context(another_process(public_url))
        self._alive = [self._start(), self._start()]

    @property
    def urls(self) -> list[str]:
        return [url for url, _ in self._alive]

    async def kill(self) -> None:
        _, kill = self._alive.pop(0)
        kill()
        self._alive.append(await asyncio.to_thread(self._start))


async def send(servers: Servers, headers: dict[str, str]) -> int:
    """Every event until it has a 2xx, as editors do; how many lists were sent again."""
    draw = random.Random(4)  # noqa: S311 - which server is asked
    lists = [range(first, first + LIST) for first in range(0, EVENTS, LIST)]
    kills = {number * len(lists) // (KILLS + 1) for number in range(1, KILLS + 1)}
    waiting, stored, again = deque((numbers, False) for numbers in lists), 0, 0

    async def post(client, numbers, *, is_retry: bool) -> bool:
        more = {"X-Retry-Queue": "true"} if is_retry else {}
        body = [event(number) for number in numbers]
        try:
            url = f"{draw.choice(servers.urls)}/api/events"
            async with client.post(url, json=body, headers=more) as answer:
                assert answer.status < 300 or answer.status >= 429, await answer.text()
                return answer.status < 300
        except aiohttp.ClientError:
            return False

    async def editor(client) -> None:
        nonlocal stored, again
        while stored < len(lists):
            if not waiting:
                await asyncio.sleep(0.05)  # what others are sending may come back
                continue
            numbers, is_retry = waiting.popleft()
            if await post(client, numbers, is_retry=is_retry):
                stored += 1
                if stored in kills:
                    await servers.kill()
            else:
                again += 1
                waiting.append((numbers, True))

    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as client:
        await asyncio.gather(*(editor(client) for _ in range(4)))
    return again


def test_two_hundred_thousand_events_through_fifty_kills_count_once(live_url, alice):
    """D4: no 4xx but 429, and what was answered with 2xx is stored."""
    headers = {**factories.bearer(alice)}
    with ExitStack() as stack:
        again = asyncio.run(send(Servers(stack, live_url), headers))

    counted = [event(number) for number in range(EVENTS) if number % 5 < len(COUNTED)]
    used = sum(one["properties"].get("inputTokens", 0) for one in counted)
    stored = Event.unscoped.filter(type__in=COUNTED).count()
    lost, twice = max(len(counted) - stored, 0), max(stored - len(counted), 0)
    say(
        f"D4: {EVENTS:,} events, {KILLS} kills, {again} lists sent again:"
        f" {lost} lost, {twice} twice"
    )
    assert again > 0
    assert (lost, twice) == (0, 0)
    assert Event.unscoped.exclude(type__in=COUNTED).count() >= EVENTS - len(counted)
    assert Message.unscoped.count() == sum("message" in one["properties"] for one in counted)
    assert Task.unscoped.count() == TASKS
    assert Task.unscoped.aggregate(tokens=Sum("tokens_in"))["tokens"] == used
