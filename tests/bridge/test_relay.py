"""What joins the bridges of several processes, on a real Redis."""

import asyncio

import pytest
import redis.asyncio

from bridge.relay import Relay
from roocloud.lib.ids import new_id

pytestmark = pytest.mark.postgresql  # as production, which has Redis

PATIENCE_S = 10


class End:
    """One process' end of the relay, and what it heard."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[str, str]] = []
        self.relay = Relay(url, node=new_id("node"), heard=self._hear)

    def _hear(self, room: str, data: bytes) -> None:
        self.heard.append((room, data.decode()))


@pytest.fixture
async def ends(settings):
    ends = [End(settings.REDIS_URL), End(settings.REDIS_URL)]
    yield ends
    for end in ends:
        await end.relay.close()


@pytest.fixture
async def wire(settings):
    """What goes through Redis in a room, as somebody sees it who does not count as a listener."""
    seen: list[object] = []  # first that it watches
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
        watching = client.pubsub()
        await watching.psubscribe("bridge:task:*")

        async def watch():
            while True:
                message = await watching.get_message(timeout=PATIENCE_S)
                seen.append(message)

        task = asyncio.create_task(watch())
        yield seen
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watching.aclose()


async def published(end, room, holds):
    """Publish until that holds; how often that was."""
    count = 0
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            count += 1
            end.relay.publish(room, str(count))
            await asyncio.sleep(0.02)
    return count


async def test_what_one_publishes_the_other_hears_in_order(ends):
    here, there = ends
    room = f"task:{new_id('t')}"
    there.relay.join(room)
    await published(here, room, lambda: there.heard)
    there.heard.clear()

    for number in range(2_000):
        here.relay.publish(room, f"n{number}")

    await published(here, room, lambda: (room, "n1999") in there.heard)
    numbers = [text for _, text in there.heard if text.startswith("n")]
    assert numbers == [f"n{number}" for number in range(2_000)]
    assert here.heard == []


async def test_what_nobody_elsewhere_hears_is_not_published(ends, wire):
    here, there = ends
    room = f"task:{new_id('t')}"
    here.relay.join(room)
    await published(here, room, lambda: len(wire) > 1)

    count = 0
    async with asyncio.timeout(PATIENCE_S):
        while count != len(wire):  # until five in a row stay here
            count = len(wire)
            for number in range(5):
                here.relay.publish(room, str(number))
                await asyncio.sleep(0.02)
    there.relay.join(room)
    await published(here, room, lambda: there.heard)

    assert there.heard[0][0] == room
