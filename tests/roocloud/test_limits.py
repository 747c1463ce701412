"""M1: limits are shared by all processes; without Redis they get stricter, never open."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from roocloud.lib import limits
from roocloud.lib.ids import new_id
from roocloud.lib.limits import Ask, Lease
from roocloud.lib.loops import PerLoop
from tests.roocloud import arrivals

pytestmark = pytest.mark.stored


def ask(key, *, per_minute=60, burst=20, cost=1) -> Ask:
    return Ask(key, per_minute, burst, cost)


@pytest.fixture
def key() -> str:
    return new_id("test")


@pytest.fixture(autouse=True)
async def _closed():
    yield
    await limits.close()


async def test_a_burst_passes_and_what_follows_is_told_when_to_come_back(key):
    verdicts = [await limits.take([ask(key)]) for _ in range(21)]
    assert [v.refused for v in verdicts] == [None] * 20 + [key]
    assert verdicts[0].remaining == 19
    assert verdicts[19].remaining == 0
    assert 0 < verdicts[20].retry_after_s <= 1
    assert 18 < verdicts[19].reset_s <= 20


async def test_a_cost_counts_as_many_and_at_most_as_the_burst(key):
    assert (await limits.take([ask(key, cost=15)])).remaining == 5
    assert (await limits.take([ask(key, cost=6)])).refused == key
    assert (await limits.take([ask(f"{key}-2", cost=10**9)])).refused is None


async def test_all_is_taken_or_nothing(key):
    other = f"{key}-other"
    await limits.take([ask(other, burst=1)])
    refused = await limits.take([ask(key), ask(other, burst=1)], [Lease(f"{key}-l", 1, "a")])
    assert refused.refused == other
    assert (await limits.take([ask(key)], [Lease(f"{key}-l", 1, "b")])).remaining == 19


async def test_leases_are_held_renewed_and_given_back(key):
    mine, theirs = Lease(key, 1, "a"), Lease(key, 1, "b")
    assert (await limits.take([], [mine])).refused is None
    assert (await limits.take([], [theirs])).refused == key
    await limits.renew([mine])
    assert (await limits.take([], [theirs])).refused == key
    limits.give_back([mine])
    assert (await limits.take([], [theirs])).refused is None


def test_many_event_loops_share_one_limit(key):
    def run(_: int) -> int:
        async def spend() -> int:
            verdicts = [await limits.take([ask(key, per_minute=1)]) for _ in range(50)]
            await limits.close()
            return sum(v.refused is None for v in verdicts)

        return asyncio.run(spend())

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 20


async def test_it_refills_evenly(key, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("roocloud.lib.limits.time.monotonic", lambda: clock[0])
    alone = limits._Local()
    taken = 0
    for _ in range(600):  # a minute, ten tries a second
        taken += alone.take([ask(key)], [], share=1)[0] == 0
        clock[0] += 0.1
    assert 79 <= taken <= 81, "the burst, and one a second"


async def test_without_redis_it_is_stricter_and_never_open(key, settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    monkeypatch.setattr(limits, "_redis", PerLoop(limits._Shared))
    monkeypatch.setattr(limits, "_shunned_until", 0.0)
    allowed = [(await limits.take([ask(key)])).refused is None for _ in range(20)]
    assert sum(allowed) == 20 * limits.ALONE
    assert (await limits.take([], [Lease(f"{key}-l", 4, "a")])).refused is None
    assert (await limits.take([], [Lease(f"{key}-l", 4, "b")])).refused is not None


def test_without_redis_a_large_cost_is_owed_whole(key, monkeypatch):
    """M1: else what costs more than a process's share would pass for the share."""
    clock = [1000.0]
    monkeypatch.setattr("roocloud.lib.limits.time.monotonic", lambda: clock[0])
    alone = limits._Local()
    passed = 0
    for _ in range(600):  # ten minutes, a try a second, each as much as the whole burst
        passed += alone.take([ask(key, cost=20)], [], share=limits.ALONE)[0] == 0
        clock[0] += 1
    assert passed == 8, "one in 80 seconds, for a quarter of one unit a second"


@pytest.mark.postgresql
def test_four_processes_decide_as_one_would(settings):
    """M1: one pattern of each kind; ``make faults`` has fifty."""
    for found in arrivals.played(arrivals.patterns(6, seed=1), redis_url=settings.REDIS_URL):
        assert found.units_over <= 0, found
        assert found.wrongly_refused == 0, found
        assert found.passed > 0, found
