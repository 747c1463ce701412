"""Rate limits: the generic cell rate algorithm (GCRA) and leases of parallel work (M1).

All processes share them through one script in Redis. While Redis does not answer, each process
limits by itself and more strictly; a deployment without Redis has one process, which limits fully.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import redis.asyncio
from django.conf import settings
from redis.exceptions import NoScriptError, RedisError

from roocloud.lib.batches import Batches

logger = logging.getLogger(__name__)

#: How long a lease lives without being renewed: what a killed process held is free again then.
LEASE_S = 30
#: What share of a limit a process has of its own while it cannot ask the others.
ALONE = 0.25
#: Seconds during which Redis is not asked again after it did not answer.
_SHUN_S = 2.0
_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Ask:
    """cost: units taken of ``per_minute``, which refill evenly; ``burst`` may be taken at once. A
    cost above the burst counts as the burst, so that nothing is impossible."""

    key: str
    per_minute: int
    burst: int
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Lease:
    """One of ``most`` pieces of work under ``key`` at a time; holder: an id of its own."""

    key: str
    most: int
    holder: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """refused: the key without room, None if all had it; then nothing was taken anywhere.

    retry_after_s: until there may be room. limit, remaining: units of the tightest asked key.
    reset_s: until that one is full again.
    """

    refused: str | None
    retry_after_s: float
    limit: int
    remaining: int
    reset_s: float


# ARGV[1]: JSON, a list of what is asked, done in order; each is {buckets: [key, microseconds a unit
# takes, burst, cost], leases to take: [key, most, holder, seconds], leases to end: [key, holder]}.
# Answers for each {index of the refused key or 0, microseconds to wait, then for each bucket the
# microseconds by which it is ahead of now}.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function take(buckets, leases)
  local ahead, result = {}, {0, 0}
  for i, bucket in ipairs(buckets) do
    local key, unit, burst, cost = unpack(bucket)
    local before = math.max(tonumber(redis.call('GET', key) or '0') - now, 0)
    local after = before + unit * math.min(cost, burst)
    if after > unit * burst then
      return {i, after - unit * burst, before}
    end
    ahead[i] = after
    result[2 + i] = after
  end
  for i, lease in ipairs(leases) do
    local key, most, holder = unpack(lease)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= most and not redis.call('ZSCORE', key, holder) then
      return {#buckets + i, 1000000}
    end
  end
  for i, bucket in ipairs(buckets) do
    local full_at = string.format('%.0f', now + ahead[i])
    redis.call('SET', bucket[1], full_at, 'PX', math.ceil(ahead[i] / 1000) + 1)
  end
  for _, lease in ipairs(leases) do
    local key, _, holder, life = unpack(lease)
    redis.call('ZADD', key, now + life * 1000000, holder)
    redis.call('EXPIRE', key, life + 1)
  end
  return result
end

local results = {}
for n, asked in ipairs(cjson.decode(ARGV[1])) do
  local buckets, leases, ended = unpack(asked)
  for _, lease in ipairs(ended) do
    redis.call('ZREM', lease[1], lease[2])
  end
  results[n] = take(buckets, leases)
end
return results
"""


_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # Redis' name


class _Local:
    """The same for one process."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._leases: dict[str, dict[str, float]] = {}

    def take(self, asks: Sequence[Ask], leases: Sequence[Lease], *, share: float) -> list[float]:
        """As the script answers, in seconds."""
        now, ahead = time.monotonic(), []
        for index, ask in enumerate(asks, start=1):
            unit = 60 / (ask.per_minute * share)
            cost = min(ask.cost, ask.burst)
            # What costs more than the share of the burst passes when nothing else is owed, and is
            # owed whole: nothing is impossible, and in the long run no more passes than the share.
            burst = max(ask.burst * share, cost)
            before = max(self._full_at.get(ask.key, 0) - now, 0)
            after = before + unit * cost
            if after > unit * burst + 1e-9:
                return [index, after - unit * burst, before]
            ahead.append(after)
        for index, lease in enumerate(leases, start=len(asks) + 1):
            held = self._held(lease.key, now)
            if len(held) >= max(int(lease.most * share), 1) and lease.holder not in held:
                return [index, 1]
        for ask, after in zip(asks, ahead, strict=True):
            self._full_at[ask.key] = now + after
        for lease in leases:
            self._leases.setdefault(lease.key, {})[lease.holder] = now + LEASE_S
        if len(self._full_at) > 100_000:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        return [0, 0, *ahead]

    def _held(self, key: str, now: float) -> dict[str, float]:
        held = {who: until for who, until in self._leases.get(key, {}).items() if until > now}
        self._leases[key] = held
        return held

    def give_back(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            held = self._leases.get(lease.key, {})
            held.pop(lease.holder, None)
            if not held:
                self._leases.pop(lease.key, None)

    def clear(self) -> None:
        self._full_at.clear()
        self._leases.clear()


local = _Local()
_shunned_until = 0.0


@dataclass(frozen=True, slots=True)
class _Part:
    """What one caller wants done."""

    asks: Sequence[Ask] = ()
    leases: Sequence[Lease] = ()
    ended: Sequence[Lease] = ()

    def plain(self) -> list[list[list[Any]]]:
        """As the script reads it."""
        return [
            [[_name(a.key), 60_000_000 / a.per_minute, a.burst, a.cost] for a in self.asks],
            [[_name(one.key), one.most, one.holder, LEASE_S] for one in self.leases],
            [[_name(one.key), one.holder] for one in self.ended],
        ]


class _Shared:
    """Connections to Redis for one event loop. What is asked at the same moment goes together."""

    def __init__(self) -> None:
        self.client: Any = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        self.parts: Batches[_Part, list[float]] = Batches(self._do)

    async def _do(self, parts: Sequence[_Part]) -> Sequence[list[float]]:
        document = msgspec.json.encode([part.plain() for part in parts])
        try:
            answers = await self.client.evalsha(_SCRIPT_SHA, 0, document)
        except NoScriptError:  # a Redis that was restarted
            await self.client.script_load(_SCRIPT)
            answers = await self.client.evalsha(_SCRIPT_SHA, 0, document)
        return [[refused, *(wait / 1e6 for wait in waits)] for refused, *waits in answers]


def _name(key: str) -> str:
    return f"limits:{key}"


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()


def _redis() -> _Shared:
    loop = asyncio.get_running_loop()
    shared = _loops.get(loop)
    if shared is None:
        shared = _loops[loop] = _Shared()
    return shared


async def close() -> None:
    """End the running loop's connections, for shutdown."""
    shared = _loops.pop(asyncio.get_running_loop(), None)
    if shared is not None:
        await shared.client.aclose()


async def take(asks: Sequence[Ask], leases: Sequence[Lease] = ()) -> Verdict:
    """Take from every key, or from none."""
    if not asks and not leases:
        return Verdict(None, 0, 0, 0, 0)
    answer = await _shared(asks, leases)
    if answer is None:
        answer = local.take(asks, leases, share=ALONE if settings.REDIS_URL else 1)
    refused, wait, *ahead = answer
    keys = [ask.key for ask in asks] + [lease.key for lease in leases]
    if refused:
        index = int(refused) - 1
        limit = asks[index].burst if index < len(asks) else leases[index - len(asks)].most
        return Verdict(keys[index], wait, limit, 0, wait + (ahead[0] if ahead else 0))
    rooms = [
        (int(ask.burst - used * ask.per_minute / 60), ask.burst, used)
        for ask, used in zip(asks, ahead, strict=True)
    ]
    remaining, limit, used = min(rooms, default=(0, 0, 0.0))
    return Verdict(None, 0, limit, max(remaining, 0), used)


async def renew(leases: Sequence[Lease]) -> None:
    """Let leases live on; called more often than LEASE_S."""
    if leases and await _shared((), leases) is None:
        local.take((), leases, share=1)


async def give_back(leases: Sequence[Lease]) -> None:
    """End leases."""
    local.give_back(leases)
    if not leases or not settings.REDIS_URL or time.monotonic() < _shunned_until:
        return
    try:
        await _redis().parts.submit(_Part(ended=leases))
    except (RedisError, OSError, TimeoutError):
        _shun()


async def _shared(asks: Sequence[Ask], leases: Sequence[Lease]) -> list[float] | None:
    """The script's answer in seconds; None without Redis."""
    if not settings.REDIS_URL or time.monotonic() < _shunned_until:
        return None
    try:
        return await _redis().parts.submit(_Part(asks, leases))
    except (RedisError, OSError, TimeoutError):
        _shun()
        return None


def _shun() -> None:
    global _shunned_until
    _shunned_until = time.monotonic() + _SHUN_S
    logger.warning("Redis does not answer: rates are limited by this process alone")
