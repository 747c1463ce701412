"""D1 under fire: commands for devices through breaks and kills. Run by ``make faults``."""

import random
import time
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.utils import timezone

from bridge.devices import registry
from bridge.devices.models import QueuedCommand
from tests.bridge import fleet
from tests.faults.test_repeats import another_process, say

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

COMMANDS, DEVICES, TASKS, EXPIRED, BREAKS, KILLS = 100_000, 50, 50, 1_000, 50, 15
SERVERS = 2
REMOVED, PEOPLE, PROCESSES = 200, 4, 4


def test_a_hundred_thousand_commands_through_breaks_and_kills(alice, settings):
    """D1: 0 lost, 0 twice, 0 after their end, and those of a task in order."""
    settings.ROOCLOUD_DEVICE_QUEUE = COMMANDS
    draw = random.Random(9)  # noqa: S311 - what breaks when
    faults = ["break"] * BREAKS + ["kill"] * KILLS
    draw.shuffle(faults)
    public_url = settings.ROOCLOUD_PUBLIC_URL
    with ExitStack() as stack, fleet.running(alice, DEVICES) as devices:
        servers = [stack.enter_context(another_process(public_url)) for _ in range(SERVERS)]

        def open_those_of(place: int) -> None:
            for number in range(place, DEVICES, SERVERS):
                devices.open(number, servers[place][0])

        at = timezone.now()
        long_ago = at - timedelta(days=2)
        fleet.give(devices.devices, range(EXPIRED), tasks=TASKS, at=long_ago)
        for place in range(SERVERS):
            open_those_of(place)
        each = COMMANDS // len(faults)
        for turn, fault in enumerate(faults):
            end = COMMANDS if turn == len(faults) - 1 else (turn + 1) * each
            fleet.give(devices.devices, range(turn * each, end), tasks=TASKS, at=at)
            if fault == "break":
                devices.cut(draw.randrange(DEVICES))
            else:
                place = draw.randrange(SERVERS)
                servers[place][1]()
                servers[place] = stack.enter_context(another_process(public_url))
                open_those_of(place)
        fleet.all_settled(patience_s=600)
        seen = devices.seen()

    states = Counter(QueuedCommand.unscoped.values_list("state", flat=True))
    lost, twice = max(COMMANDS - seen.applied, 0), max(seen.applied - COMMANDS, 0)
    say(
        f"D1: {COMMANDS:,} commands, {BREAKS} breaks, {KILLS} kills: {lost} lost,"
        f" {twice} twice, {seen.late} after their end,"
        f" {seen.misordered} out of order; {seen.repeated} came again and were not carried out again"
    )
    assert states == {"acknowledged": COMMANDS, "expired": EXPIRED}
    assert (lost, twice, seen.misordered, seen.late) == (0, 0, 0, 0)
    assert seen.repeated > 0


def test_two_hundred_removals_under_traffic_end_every_socket(alice, bob, adam, rhea, settings):
    """B4: each within 5 s, and what they were to get does not come."""
    each = REMOVED // PEOPLE
    public_url, longest_s = settings.ROOCLOUD_PUBLIC_URL, 0.0
    with ExitStack() as stack:
        urls = [stack.enter_context(another_process(public_url))[0] for _ in range(PROCESSES)]
        for person in (alice, bob, adam, rhea):
            devices = stack.enter_context(fleet.running(person, each))
            for number in range(each):
                devices.open(number, urls[number % PROCESSES])
            fleet.all_connected(devices, each, patience_s=60)
            at = timezone.now()
            fleet.give(devices.devices, range(20 * each), tasks=TASKS, at=at)
            for one in devices.devices:
                registry.remove(device=one.device, by=None, at=timezone.now())
            began = time.monotonic()
            fleet.all_connected(devices, 0, patience_s=5)
            longest_s = max(longest_s, time.monotonic() - began)
            done = devices.seen().applied
            fleet.all_settled(patience_s=1)
            assert devices.seen().applied == done
    say(
        f"B4: {REMOVED} devices removed under traffic, the last socket ended after {longest_s:.1f} s"
    )
