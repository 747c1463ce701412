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

import msgspec
import redis.asyncio
from django.conf import settings
from redis.exceptions import NoScriptError, RedisError

from roocloud.lib.batches import Batches
from roocloud.lib.loops import PerLoop

logger = logging.getLogger(__name__)

#: How long a lease lives without being renewed: what a killed process held is free again then.
LEASE_S = 30
#: What share of a limit a process has of its own while it cannot ask the others.
ALONE = 0.25
#: Seconds during which Redis is not asked again after it did not answer.
_SHUN_S = 2.0
_TIMEOUT_S = 0.5
#: Seconds within which a lease that was given back is ended.
_END_S = 0.05


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


# ARGV[1]: JSON, {buckets: [key, microseconds a unit takes, burst], leases: [key, most, seconds],
# parts: what is asked, done in order}. A part is {[bucket, cost] to take of, [lease, holder] to
# take, [lease, holder] to end}; buckets and leases are named by their place in those lists.
# Answers for each part {index of the refused key or 0, microseconds to wait, then for each bucket
# the microseconds by which it is ahead of now}. A bucket is read and written once, however many
# parts name it.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local asked = cjson.decode(ARGV[1])
local ahead, taken, working, joined = {}, {}, {}, {}

for b, bucket in ipairs(asked.buckets) do
  ahead[b] = math.max(tonumber(redis.call('GET', bucket[1]) or '0') - now, 0)
end
for l, lease in ipairs(asked.leases) do
  redis.call('ZREMRANGEBYSCORE', lease[1], '-inf', now)
end

local function take(buckets, leases)
  local after, result = {}, {0, 0}
  for i, one in ipairs(buckets) do
    local b, cost = one[1], one[2]
    local _, unit, burst = unpack(asked.buckets[b])
    after[i] = ahead[b] + unit * math.min(cost, burst)
    if after[i] > unit * burst then
      return {i, after[i] - unit * burst, ahead[b]}
    end
    result[2 + i] = after[i]
  end
  for i, one in ipairs(leases) do
    local l = one[1]
    local key, most = unpack(asked.leases[l])
    working[l] = working[l] or redis.call('ZCARD', key)
    if working[l] >= most and not redis.call('ZSCORE', key, one[2]) then
      return {#buckets + i, 1000000}
    end
  end
  for i, one in ipairs(buckets) do
    ahead[one[1]], taken[one[1]] = after[i], true
  end
  for _, one in ipairs(leases) do
    local l = one[1]
    local key, _, life = unpack(asked.leases[l])
    working[l] = working[l] + redis.call('ZADD', key, now + life * 1000000, one[2])
    joined[l] = true
  end
  return result
end

local results = {}
for n, part in ipairs(asked.parts) do
  local buckets, leases, ended = unpack(part)
  for _, one in ipairs(ended) do
    local l = one[1]
    local gone = redis.call('ZREM', asked.leases[l][1], one[2])
    working[l] = working[l] and working[l] - gone
  end
  results[n] = take(buckets, leases)
end
for b in pairs(taken) do
  local full_at = string.format('%.0f', now + ahead[b])
  redis.call('SET', asked.buckets[b][1], full_at, 'PX', math.ceil(ahead[b] / 1000) + 1)
end
for l in pairs(joined) do
  redis.call('EXPIRE', asked.leases[l][1], asked.leases[l][3] + 1)
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


def _document(parts: Sequence[_Part]) -> bytes:
    """As the script reads it."""
    buckets: dict[str, tuple[int, list[Any]]] = {}
    leases: dict[str, tuple[int, list[Any]]] = {}

    def bucket(ask: Ask) -> int:
        if ask.key not in buckets:
            plain = [_name(ask.key), 60_000_000 / ask.per_minute, ask.burst]
            buckets[ask.key] = len(buckets) + 1, plain
        return buckets[ask.key][0]

    def lease(one: Lease) -> int:
        if one.key not in leases:
            leases[one.key] = len(leases) + 1, [_name(one.key), one.most, LEASE_S]
        return leases[one.key][0]

    plain_parts = [
        [
            [[bucket(ask), ask.cost] for ask in part.asks],
            [[lease(one), one.holder] for one in part.leases],
            [[lease(one), one.holder] for one in part.ended],
        ]
        for part in parts
    ]
    return msgspec.json.encode(
        {
            "buckets": [plain for _, plain in buckets.values()],
            "leases": [plain for _, plain in leases.values()],
            "parts": plain_parts,
        }
    )


class _Shared:
    """Connections to Redis for one event loop. What is asked at the same moment goes together, and
    leases end with what is asked next."""

    def __init__(self) -> None:
        self.client: Any = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        self.parts: Batches[_Part, list[float]] = Batches(self._do)
        self._ended: list[Lease] = []
        self._ending: asyncio.Task[None] | None = None

    def end(self, leases: Sequence[Lease]) -> None:
        """Within _END_S."""
        self._ended += leases
        if self._ending is None or self._ending.done():
            self._ending = asyncio.get_running_loop().create_task(self._end_soon())

    async def _end_soon(self) -> None:
        await asyncio.sleep(_END_S)
        await self._end()

    async def _end(self) -> None:
        if not self._ended:
            return
        try:
            await self.parts.submit(_Part())
        except (RedisError, OSError, TimeoutError):
            _shun()

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        await self._end()
        await self.client.aclose()

    async def _do(self, parts: Sequence[_Part]) -> Sequence[list[float]]:
        if ended := self._ended:
            self._ended = []
            parts = [_Part(ended=ended), *parts]
            return (await self._do(parts))[1:]
        document = _document(parts)
        try:
            answers = await self.client.evalsha(_SCRIPT_SHA, 0, document)
        except NoScriptError:  # a Redis that was restarted
            await self.client.script_load(_SCRIPT)
            answers = await self.client.evalsha(_SCRIPT_SHA, 0, document)
        return [[refused, *(wait / 1e6 for wait in waits)] for refused, *waits in answers]


def _name(key: str) -> str:
    return f"limits:{key}"


_redis = PerLoop(_Shared)


async def close() -> None:
    """End the running loop's connections, for shutdown."""
    shared = _redis.forget()
    if shared is not None:
        await shared.close()


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


def give_back(leases: Sequence[Lease]) -> None:
    """End leases, of this event loop at once, of others in a moment."""
    local.give_back(leases)
    if leases and settings.REDIS_URL and time.monotonic() >= _shunned_until:
        _redis.here().end(leases)


async def _shared(asks: Sequence[Ask], leases: Sequence[Lease]) -> list[float] | None:
    """The script's answer in seconds; None without Redis."""
    if not settings.REDIS_URL or time.monotonic() < _shunned_until:
        return None
    try:
        return await _redis.here().parts.submit(_Part(asks, leases))
    except (RedisError, OSError, TimeoutError):
        _shun()
        return None


def _shun() -> None:
    global _shunned_until
    _shunned_until = time.monotonic() + _SHUN_S
    logger.warning("Redis does not answer: rates are limited by this process alone")
