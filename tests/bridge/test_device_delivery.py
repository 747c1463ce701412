"""D1 with many devices and commands; with the full figures and kills in tests/faults."""

import random
from datetime import timedelta

from django.utils import timezone

from bridge.devices.models import QueuedCommand
from tests.bridge import fleet

COMMANDS, DEVICES, TASKS, EXPIRED, CUTS = 20_000, 20, 50, 200, 10


def test_twenty_thousand_commands_are_carried_out_once_and_in_order(world, alice):
    """D1: through connections that break; none is lost, and none comes after its end."""
    draw = random.Random(1)  # noqa: S311 - which connection breaks
    with fleet.running(alice, DEVICES) as devices:
        at = timezone.now()
        long_ago = at - timedelta(days=2)
        fleet.give(devices.devices, range(EXPIRED), tasks=TASKS, at=long_ago)
        fleet.give(devices.devices, range(COMMANDS // 2), tasks=TASKS, at=at)
        for number in range(DEVICES):
            devices.open(number, world.url)
        for start in range(COMMANDS // 2, COMMANDS, COMMANDS // 2 // CUTS):
            devices.cut(draw.randrange(DEVICES))
            some = range(start, start + COMMANDS // 2 // CUTS)
            fleet.give(devices.devices, some, tasks=TASKS, at=at)

        fleet.all_settled(patience_s=120)

        seen = devices.seen()
    states = dict.fromkeys(("acknowledged", "expired"), 0)
    for state in QueuedCommand.unscoped.values_list("state", flat=True):
        states[state] += 1
    assert states == {"acknowledged": COMMANDS, "expired": EXPIRED}
    assert (seen.applied, seen.misordered, seen.late) == (COMMANDS, 0, 0)
