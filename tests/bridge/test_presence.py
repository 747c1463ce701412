"""Editors that go and come back, all of them at once."""

import random
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from django.db import connections
from django.utils import timezone

from bridge import presence
from bridge.models import Instance
from bridge.presence import Sighting
from bridge.schemas import ExtensionInstance
from tests.bridge.conftest import instance

EDITORS, ROUNDS, PROCESSES = 200, 12, 4


@pytest.mark.postgresql
def test_processes_to_which_all_come_back_do_not_wait_for_each_other(transactional_db, alice):
    """Each writes many rows in one transaction, in the order in which sockets came and went; in
    different orders they would end in a deadlock."""

    def sightings(process: int) -> list[Sighting]:
        return [
            Sighting(
                alice.pk,
                None,
                msgspec.convert(instance(instanceId=f"Window-{n}"), ExtensionInstance),
                f"node-{process}",
                f"sid-{n}",
                timezone.now(),
            )
            for n in range(EDITORS)
        ]

    def come_and_go(process: int) -> None:
        chance = random.Random(process)  # noqa: S311 - the same in every run
        found = sightings(process)
        for _ in range(ROUNDS):
            chance.shuffle(found)
            pks = presence.put(found)
            gone = [(pk, one.sid) for pk, one in zip(pks, found, strict=True)]
            chance.shuffle(gone)
            presence.lose(gone)
        connections.close_all()

    with ThreadPoolExecutor(PROCESSES) as pool:
        for done in [pool.submit(come_and_go, process) for process in range(PROCESSES)]:
            done.result()

    assert Instance.unscoped.filter(sid="").count() == EDITORS
