"""Group commit (roocloud.lib.batches)."""

import asyncio

from roocloud.lib.batches import Batches


def test_of_a_crowd_a_few_go_on_at_a_time():
    """Between them the loop sees to what has come meanwhile."""

    async def crowd() -> list[int]:
        async def work(parts):
            return parts

        batches, went, between = Batches(work), [], []

        async def call(number):
            went.append(await batches.submit(number))

        calls = [asyncio.create_task(call(number)) for number in range(100)]
        while len(went) < 100:
            before = len(went)
            await asyncio.sleep(0)
            between.append(len(went) - before)
        await asyncio.gather(*calls)
        assert went == sorted(went)
        return between

    assert max(asyncio.run(crowd())) <= 8
