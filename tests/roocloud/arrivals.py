"""Patterns in which requests arrive at several processes, what the limits of ``roocloud.lib.limits``
made of them, and whether a generic cell rate algorithm may have decided so.

As a program it is one of the processes: a plan comes in as JSON, what happened goes out as JSON.
"""

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from roocloud.lib import limits
from roocloud.lib.ids import new_id

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 4
SECONDS = 2.0
#: At a time, so that the machine decides them when they arrive.
_TOGETHER = 10
#: Seconds until the first arrival, from when every process is ready.
_HEAD_START_S = 0.2
#: Redis counts in microseconds, which every decision may round.
_ROUNDING = 0.05


@dataclass(frozen=True, slots=True)
class Pattern:
    """arrivals: for each process (seconds from the beginning, cost)."""

    name: str
    per_minute: int
    burst: int
    arrivals: list[list[tuple[float, int]]]

    @property
    def per_s(self) -> float:
        return self.per_minute / 60

    @property
    def largest(self) -> int:
        """Units of the dearest request; what is above the burst counts as the burst."""
        costs = (cost for process in self.arrivals for _, cost in process)
        return min(max(costs), self.burst)


@dataclass(frozen=True, slots=True)
class Decision:
    """It was made at some time between ``asked_at`` and ``told_at``, on the machine's clock."""

    asked_at: float
    told_at: float
    cost: int
    passed: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """asked, passed: requests. units_over: by how many units more passed than may in some stretch of
    time; below 0 for what was always left. wrongly_refused: requests for which there was room at
    whatever instant they were decided."""

    pattern: str
    asked: int
    passed: int
    units_over: float
    wrongly_refused: int


# --- Patterns ---------------------------------------------------------------------------------


def patterns(count: int, *, seed: int) -> list[Pattern]:
    draw = random.Random(seed)  # noqa: S311 - arrivals
    kinds = (_below, _steady, _herd, _bursts, _random, _heavy)
    return [kinds[number % len(kinds)](draw) for number in range(count)]


def _pattern(
    name: str,
    draw: random.Random,
    moments: Sequence[tuple[float, int]],
    *,
    per_s: int,
    burst: int,
) -> Pattern:
    """Each moment falls to a process by chance."""
    arrivals: list[list[tuple[float, int]]] = [[] for _ in range(PROCESSES)]
    for moment in sorted(moments):
        draw.choice(arrivals).append(moment)
    return Pattern(name, per_s * 60, burst, arrivals)


def _below(draw: random.Random) -> Pattern:
    """Evenly, at nine tenths of the limit: none may be refused."""
    per_s = draw.randrange(20, 80)
    step = 1 / (per_s * 0.9)
    moments = [(n * step, 1) for n in range(int(SECONDS / step))]
    return _pattern("below the limit", draw, moments, per_s=per_s, burst=draw.randrange(20, 60))


def _steady(draw: random.Random) -> Pattern:
    """Evenly, at twice the limit."""
    per_s = draw.randrange(10, 50)
    moments = [(n / (2 * per_s), 1) for n in range(int(SECONDS * 2 * per_s))]
    return _pattern("at twice the limit", draw, moments, per_s=per_s, burst=draw.randrange(1, 40))


def _herd(draw: random.Random) -> Pattern:
    """All at once, to each process as many."""
    at = draw.uniform(0, 1)
    burst = draw.randrange(4, 60)
    per_process: list[list[tuple[float, int]]] = [[(at, 1)] * burst for _ in range(PROCESSES)]
    return Pattern("a herd", draw.randrange(5, 40) * 60, burst, per_process)


def _bursts(draw: random.Random) -> Pattern:
    """Now many, then none."""
    starts = [draw.uniform(0, SECONDS) for _ in range(5)]
    moments = [(start, 1) for start in starts for _ in range(draw.randrange(5, 40))]
    burst = draw.randrange(5, 50)
    return _pattern("bursts", draw, moments, per_s=draw.randrange(5, 60), burst=burst)


def _random(draw: random.Random) -> Pattern:
    """As independent callers do."""
    per_s = draw.randrange(10, 60)
    moments = [(draw.uniform(0, SECONDS), 1) for _ in range(int(per_s * SECONDS * 1.5))]
    return _pattern("at random", draw, moments, per_s=per_s, burst=draw.randrange(1, 30))


def _heavy(draw: random.Random) -> Pattern:
    """Of unequal cost, as tokens are; some above the burst."""
    burst = draw.randrange(500, 3000)
    moments = [(draw.uniform(0, SECONDS), draw.randrange(1, burst * 5 // 4)) for _ in range(60)]
    return _pattern("of unequal cost", draw, moments, per_s=draw.randrange(500, 5000), burst=burst)


# --- Processes --------------------------------------------------------------------------------


def played(chosen: Sequence[Pattern], *, redis_url: str) -> list[Finding]:
    """Every pattern by PROCESSES processes, and what was found about each."""
    found = []
    for first in range(0, len(chosen), _TOGETHER):
        some = chosen[first : first + _TOGETHER]
        for pattern, decisions in zip(some, _play(some, redis_url=redis_url), strict=True):
            found.append(judged(pattern, decisions))
    return found


def _play(chosen: Sequence[Pattern], *, redis_url: str) -> list[list[Decision]]:
    keys = [new_id("test") for _ in chosen]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "REDIS_URL": redis_url}
    with ExitStack() as ends:
        running = [
            ends.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.roocloud.arrivals"],
                    cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(PROCESSES)
        ]  # fmt: skip
        for number, process in enumerate(running):
            own = [
                {"key": key, **asdict(pattern), "arrivals": pattern.arrivals[number]}
                for key, pattern in zip(keys, chosen, strict=True)
            ]
            _say(process, own)
        assert [_hear(process) for process in running] == ["ready"] * PROCESSES
        begin_at = time.monotonic() + _HEAD_START_S
        for process in running:
            _say(process, begin_at)
        told = [_hear(process) for process in running]
    return [
        [Decision(*one) for answer in told for one in answer[number]]
        for number in range(len(chosen))
    ]


def _say(process: "subprocess.Popen[str]", document: object) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(document) + "\n")
    process.stdin.flush()


def _hear(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout
    return json.loads(process.stdout.readline())


def main() -> None:
    chosen = json.loads(sys.stdin.readline())
    settings.REDIS_URL  # noqa: B018 - reads all settings, which takes long, before anything is timed
    logging.disable(logging.WARNING)
    limits._TIMEOUT_S = 60  # a busy machine is no dead Redis
    sys.stdout.write('"ready"\n')
    sys.stdout.flush()
    begin_at = json.loads(sys.stdin.readline())
    json.dump(asyncio.run(_ask_all(chosen, begin_at)), sys.stdout)


async def _ask_all(chosen: list[dict[str, Any]], begin_at: float) -> list[Any]:
    found = await asyncio.gather(
        *(
            asyncio.gather(*(_ask(begin_at + at, cost, one) for at, cost in one["arrivals"]))
            for one in chosen
        )
    )
    await limits.close()
    return found


async def _ask(at: float, cost: int, pattern: dict[str, Any]) -> tuple[float, float, int, bool]:
    await asyncio.sleep(at - time.monotonic())
    ask = limits.Ask(pattern["key"], pattern["per_minute"], pattern["burst"], cost)
    asked_at = time.monotonic()
    verdict = await limits.take([ask])
    return asked_at, time.monotonic(), min(cost, ask.burst), verdict.refused is None


# --- Judgement --------------------------------------------------------------------------------


def judged(pattern: Pattern, decisions: Sequence[Decision]) -> Finding:
    passed = [one for one in decisions if one.passed]
    refused = [one for one in decisions if not one.passed]
    return Finding(
        pattern=pattern.name,
        asked=len(decisions),
        passed=len(passed),
        units_over=_units_over(pattern, passed),
        wrongly_refused=sum(_had_room(pattern, passed, one) for one in refused),
    )


def _units_over(pattern: Pattern, passed: Sequence[Decision]) -> float:
    """In a stretch of time no more pass than the burst and what has been refilled in it; of those that
    were surely decided within it."""
    by_end = sorted(passed, key=lambda one: one.told_at)
    worst = -float(pattern.burst)
    for start in {one.asked_at for one in passed}:
        units = 0
        for one in by_end:
            if one.asked_at >= start:
                units += one.cost
                allowed = pattern.burst + (one.told_at - start) * pattern.per_s
                worst = max(worst, units - allowed - _ROUNDING)
    return worst


def _had_room(pattern: Pattern, passed: Sequence[Decision], refused: Decision) -> bool:
    """Whether no stretch of time before the refusal was full, even if all that may have been decided
    within it was."""
    earlier = [one for one in passed if one.asked_at <= refused.told_at]
    for start in {one.told_at for one in earlier}:
        units = sum(one.cost for one in earlier if one.told_at >= start)
        refilled = max(refused.asked_at - start, 0) * pattern.per_s
        if units + refused.cost > pattern.burst + refilled - _ROUNDING:
            return False
    return True


if __name__ == "__main__":
    main()
