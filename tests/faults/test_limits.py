"""Limits under many patterns of arrival, with the figures that threats.md gives. Run by ``make faults``."""

import pytest

from tests.faults.test_money import say
from tests.roocloud import arrivals

pytestmark = [pytest.mark.faults, pytest.mark.postgresql]

PATTERNS = 50


def test_fifty_patterns_at_four_processes_pass_what_one_would(settings):
    """M1"""
    found = arrivals.played(arrivals.patterns(PATTERNS, seed=7), redis_url=settings.REDIS_URL)

    asked, passed = sum(one.asked for one in found), sum(one.passed for one in found)
    worst = max(one.units_over for one in found)
    wrong = sum(one.wrongly_refused for one in found)
    say(
        f"M1: {PATTERNS} patterns x {arrivals.PROCESSES} processes: {asked} requests, {passed} passed,"
        f" {max(worst, 0):.2f} units beyond the limit, {wrong} refused with room left"
    )
    assert worst <= 0
    assert wrong == 0
    assert 0 < passed < asked


def test_without_redis_they_are_stricter():
    """M1: together the processes pass no more than the limit that they would share, except that one
    request alone is never impossible, at each."""
    chosen = arrivals.patterns(PATTERNS, seed=8)
    found = arrivals.played(chosen, redis_url="redis://127.0.0.1:9/0")

    beyond = [
        one.units_over - max(arrivals.PROCESSES * pattern.largest - pattern.burst, 0)
        for pattern, one in zip(chosen, found, strict=True)
    ]
    asked, passed = sum(one.asked for one in found), sum(one.passed for one in found)
    say(
        f"M1: {PATTERNS} patterns without Redis: {asked} requests, {passed} passed,"
        f" {max(*beyond, 0):.2f} units beyond the limit"
    )
    assert max(beyond) <= 0
    assert passed > 0
