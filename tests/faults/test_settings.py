"""D7 with its full figure: settings that many save at once. Run by ``make faults``."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.utils import timezone

from orgs import actions
from orgs.models import SettingsRevision
from tests import factories
from tests.faults.test_money import say

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

WRITES, WRITERS = 10_000, 8


def test_of_ten_thousand_writes_at_once_none_is_lost(alice, acme):
    """D7: each writer counts its own saves in the document. A write that overwrote another's would
    take a count back."""
    actor = factories.actor(alice, acme)
    first = actions.current_revision(acme)
    actions.save_settings(
        organization=acme,
        document={**first.document, "hiddenMcps": ["0"] * WRITERS},
        read_version=first.version,
        by=actor,
        at=timezone.now(),
    )

    def write(writer: int) -> int:
        saved = 0
        for _ in range(WRITES // WRITERS):
            current = actions.current_revision(acme)
            counts = list(current.document["hiddenMcps"])
            counts[writer] = str(int(counts[writer]) + 1)
            try:
                actions.save_settings(
                    organization=acme,
                    document={**current.document, "hiddenMcps": counts},
                    read_version=current.version,
                    by=actor,
                    at=timezone.now(),
                )
                saved += 1
            except actions.VersionConflict:
                pass
            finally:
                connections.close_all()
        return saved

    with ThreadPoolExecutor(WRITERS) as pool:
        saved = list(pool.map(write, range(WRITERS)))

    counted = [int(count) for count in actions.current_revision(acme).document["hiddenMcps"]]
    rows = SettingsRevision.unscoped.filter(organization=acme).order_by("version")
    chain = list(rows.values_list("previous_version", "version"))
    gaps = sum(right[1] != left[1] + 1 for left, right in itertools.pairwise(chain))
    forks = sum(right[0] != left[1] for left, right in itertools.pairwise(chain))
    lost = sum(saved) - sum(counted)
    say(
        f"D7: {WRITES:,} writes by {WRITERS}: {sum(saved)} saved, {WRITES - sum(saved)} refused,"
        f" {lost} lost, {gaps} gaps, {forks} forks"
    )
    assert counted == saved
    assert (lost, gaps, forks) == (0, 0, 0)
    assert len(chain) == sum(saved) + 2
    assert 0 < sum(saved) < WRITES
