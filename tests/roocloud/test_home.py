"""The start page: what needs me, what runs, what it cost; and the way to a first task."""

import json
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.models import Instance
from credits import budgets, top_ups
from orgs.actions import invite
from proxy import usage_days
from roocloud.lib.money import NANOS_PER_USD as USD
from tasks_sharing import actions as tasks
from tests import factories
from tests.bridge.conftest import instance
from tests.proxy.test_usage import log, text_of


@pytest.fixture
def home(client):
    def look(person) -> str:
        client.force_login(person)
        return text_of(client.get("/"))

    return look


def window(person, number=1, **changes):
    at = timezone.now()
    shown = instance(instanceId=f"window-{number}", workspacePath=f"/work/{number}", **changes)
    return Instance.unscoped.create(
        owner=person, instance_id=f"window-{number}", host="desk", sid="s", node="n",
        workspace_path=f"/work/{number}", snapshot=json.dumps(shown), first_seen_at=at, last_seen_at=at,
    )  # fmt: skip


def ask(person, org, *, usd=25, key="k"):
    return top_ups.ask(
        by=factories.actor(person, org), amount_nanos=usd * USD, reason="The big migration", key=key,
        at=timezone.now(),
    )  # fmt: skip


class TestWhatNeedsMe:
    def test_is_not_there_for_who_nobody_waits_for(self, home, bob, acme):
        assert "Needs you" not in home(bob)

    def test_has_the_question_of_an_editor(self, home, bob, mallory, acme):
        command = {"ts": 1, "type": "ask", "ask": "command", "text": "npm test"}
        window(bob, task={"taskStatus": "interactive", "taskAsk": command}, taskAsk=command)
        text = home(bob)
        assert "Needs you" in text
        assert '"/roomote/window-1"' in text
        assert "npm test" in text
        assert "npm test" not in home(mallory)

    def test_has_requests_for_credit_for_those_who_answer_them(
        self, home, alice, adam, bob, rhea, mallory, evil, acme
    ):
        """A1"""
        made = ask(bob, acme)
        for person, sees in (
            (alice, True),
            (adam, True),
            (bob, False),
            (rhea, False),
            (mallory, False),
        ):
            assert (f"/billing/requests/{made.pk}" in home(person)) is sees, person
        root = factories.user("root@example.com", is_staff=True, is_superuser=True)
        assert "1 request for credit on this server" in home(root)
        top_ups.decline(
            by=factories.actor(adam, acme), top_up_id=made.pk, answer="No", at=timezone.now()
        )
        assert "Needs you" not in home(alice)

    def test_has_invitations_to_addresses_that_are_proven_mine(
        self, home, mallory, bob, alice, acme
    ):
        """B7: an address that somebody merely claims shows nothing."""
        at = timezone.now()
        address = EmailAddress.objects.create(user=mallory, email=mallory.email, verified=False)
        invite(
            organization=acme, email=mallory.email, role="member",
            by=factories.actor(alice, acme), at=at,
        )  # fmt: skip
        assert "invites you" not in home(mallory)
        address.verified = True
        address.save()
        assert "Acme invites you" in home(mallory)
        assert "invites you" not in home(bob)

    def test_has_budgets_that_run_out(self, home, alice, bob, acme):
        account = factories.account(alice, acme)
        budgets.put_budget(
            by=factories.actor(alice, acme), account=account, scope="account", subject="",
            period="month", limit_nanos=USD, at=timezone.now(),
        )  # fmt: skip
        assert "runs out" not in home(bob)
        account.budgets.get().spans.update_or_create(
            starts_on=timezone.now().date().replace(day=1), defaults={"spent_nanos": 9 * USD // 10}
        )
        assert "A budget runs out" in home(bob)


class TestWhatItCost:
    def test_is_mine_and_for_admins_everybodys(self, home, alice, bob, acme):
        """A1: of this month alone."""
        log(bob, acme, 1, cost_nanos=3 * USD)
        log(alice, acme, 1, cost_nanos=4 * USD)
        log(alice, acme, 1, cost_nanos=100 * USD, at=timezone.now() - timedelta(days=40))
        usage_days.rebuild()
        mine, team = home(bob), home(alice)
        assert "<strong>$3.00</strong>" in mine
        assert "$7.00" not in mine
        assert "<strong>$4.00</strong>" in team
        assert "<strong>$7.00</strong>" in team


class TestTheWayToAFirstTask:
    def test_leads_with_the_settings_to_paste(self, home, client, bob, acme, settings):
        text = home(bob)
        for name in ("CLERK_BASE_URL", "ROO_CODE_API_URL", "ROO_CODE_PROVIDER_URL"):
            assert f"export {name}={settings.ROOCLOUD_PUBLIC_URL}" in text
        assert "Check my connection" in text
        factories.client_session(bob, label="VS Code")
        text = home(bob)
        assert "CLERK_BASE_URL" not in text
        assert "VS Code is signed in" in text
        created = tasks.Event("Task Created", {"taskId": "t-1"})
        tasks.record_event(actor=factories.actor(bob, acme), event=created, at=timezone.now())
        assert "To your first task" not in home(bob)

    def test_is_not_for_who_only_reads(self, home, rhea, acme):
        assert "To your first task" not in home(rhea)

    def test_is_checked_link_by_link(self, client, bob, mallory, acme):
        """Each as it happens at the door that editors use; nobody else's counts."""

        def state() -> dict[str, bool]:
            links = client.get("/connect/check").context["links"]
            return {link.name: link.is_fine for link in links}

        client.force_login(bob)
        assert set(state().values()) == {False}
        assert "Not everything" in text_of(client.get("/connect/check"))
        headers = factories.bearer(bob, acme)
        assert [name for name, is_fine in state().items() if is_fine] == ["Sign-in"]
        client.get("/api/extension-settings", headers=headers)
        assert [name for name, is_fine in state().items() if is_fine] == ["Sign-in", "Settings"]
        event = {"type": "Task Created", "properties": {"taskId": "t-1"}}
        client.post(
            "/api/events", json.dumps(event), content_type="application/json", headers=headers
        )
        page = text_of(client.get("/connect/check"))
        assert "is connected" in page
        assert "pass /socket.io/ on" in page
        window(bob)
        assert all(state().values())
        client.force_login(mallory)
        assert set(state().values()) == {False}

    def test_is_for_who_is_signed_in(self, client, db):
        assert client.get("/connect/check").url.startswith("/accounts/login/")


def test_asks_as_much_for_many_as_for_few(client, alice, adam, bob, acme):
    client.force_login(alice)

    def fill(first, last):
        for number in range(first, last):
            window(alice, number)
            event = tasks.Event("Task Created", {"taskId": f"t-{number}"})
            tasks.record_event(actor=factories.actor(alice, acme), event=event, at=timezone.now())
            member = factories.user(f"m{number}@acme.example")
            acme.memberships.create(
                user=member, role="member", created_at=timezone.now(), updated_at=timezone.now()
            )
            ask(member, acme)

    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/").status_code == 200
        return len(captured)

    fill(0, 1)
    client.get("/")
    few = asked()
    fill(1, 12)
    assert asked() == few
    assert few <= 24
