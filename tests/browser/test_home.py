"""The start page of a newcomer and of an admin, and the check of a connection."""

import json

import pytest
from django.utils import timezone

from bridge.models import Instance
from credits import top_ups
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.bridge.conftest import instance
from tests.browser.test_access import faults

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_newcomer_checks_the_connection(visitor, bob, acme):
    mine = visitor(bypass_csp=True)
    mine.sign_in(bob)
    page = mine.go("/")
    assert faults(page) == []
    page.click("text=Check my connection")
    page.wait_for_selector("text=Not everything has been heard of yet")
    factories.client_session(bob, label="VS Code")
    page.click("text=Check again")
    page.wait_for_selector("text=0 minutes ago, VS Code")
    mine.look("connect-check")
    assert faults(page) == []


def test_an_admin_sees_what_waits(visitor, alice, bob, acme):
    at = timezone.now()
    top_ups.ask(
        by=factories.actor(bob, acme), amount_nanos=25 * USD, reason="The big migration", key="k", at=at
    )  # fmt: skip
    command = {"ts": 1, "type": "ask", "ask": "command", "text": "npm test"}
    shown = instance(taskAsk=command, task={"taskStatus": "interactive", "taskAsk": command})
    Instance.unscoped.create(
        owner=alice, instance_id="window-1", host="desk", snapshot=json.dumps(shown), sid="s",
        first_seen_at=at, last_seen_at=at,
    )  # fmt: skip
    admin = visitor(bypass_csp=True)
    admin.sign_in(alice)
    page = admin.go("/")
    admin.look("home-admin")
    assert faults(page) == []
    page.click("text=Bob asks for $25.00 of credit")
    page.wait_for_selector("text=Request for credit")
