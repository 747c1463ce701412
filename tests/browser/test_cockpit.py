"""Is all well? As a site administrator sees it at a glance."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit import actions as audit
from audit import chain, verifying
from proxy import usage_days
from proxy.models import Completion
from tasks_sharing.models import Task
from telemetry.models import Backfill
from tests import factories
from tests.admin.rows import fill

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def busy_day(alice, acme):
    at = timezone.now()
    fill(alice, acme)
    for hours in range(23):
        for number in range(1 + hours * 7 % 11):
            Completion.unscoped.create(
                user_id=alice.pk, model_id="v/m0", upstream_name="u0", is_stream=True,
                status="failed" if number > 7 else "done", cost_nanos=10**8 * number, first_byte_ms=300 + number,
                started_at=at - timedelta(hours=hours), saved_at=at, ended_at=at,
            )  # fmt: skip
        Task.unscoped.create(
            owner=alice, task_id=f"h{hours}", created_at=at - timedelta(hours=hours), last_activity_at=at
        )  # fmt: skip
        action = "user.signed_in" if hours % 4 else "user.sign_in_failed"
        audit.record(
            action=action, actor=None, target_kind="user", target_id=alice.pk, at=at - timedelta(hours=hours)
        )  # fmt: skip
    usage_days.rebuild()
    Backfill.unscoped.create(
        user_id="u", task_pk="t", state="failed", received_at=at, tried_at=at, error="x"
    )
    chain.link(at=at)
    verifying.check(at=at)


def test_the_first_page_tells_what_to_look_at(visitor, busy_day):
    mine = visitor()
    mine.sign_in(factories.user("root@example.com", is_staff=True, is_superuser=True))
    page = mine.go("/admin/")
    assert "to look at" in page.inner_text(".cockpit__verdict")
    page.click(".cockpit__verdict a:has-text('Backfills that failed')")
    page.wait_for_selector("text=1 backfill")
    mine.look("admin-backfills")
    mine.go("/audit")
