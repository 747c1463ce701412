"""Who did what, as an owner looks for it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit import actions as audit
from audit import chain, verifying
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def done(alice, bob, acme):
    at = timezone.now()
    for number, (person, action, target, before, after) in enumerate(
        [
            (alice, "organization_settings.saved", acme.pk, {"version": 3}, {"version": 4, "changed": ["allowList", "mcps"]}),
            (alice, "membership.changed", bob.pk, {"role": "member"}, {"role": "admin"}),
            (bob, "share.created", "share_4fJq0t9wYx2k7Rr5sN1mP3vB", None, {"visibility": "public", "expires": "2026-12-20T09:00:00Z"}),
            (None, "api_key.revoked", "key_aa", None, None),
        ]
    ):  # fmt: skip
        audit.record(
            action=action, actor=factories.actor(person, acme) if person else None,
            target_kind=action.partition(".")[0], target_id=target, organization_id=acme.pk,
            before=before, after=after, at=at - timedelta(hours=number * 7),
        )  # fmt: skip
    chain.link(at=at)
    verifying.check(at=at)


def test_an_owner_finds_who_did_it(visitor, done, alice, acme):
    """AU2, screen 5.8"""
    mine = visitor()
    mine.sign_in(alice)
    page = mine.go(f"/organizations/{acme.pk}")
    page.click("nav a:has-text('Audit trail')")
    page.wait_for_selector("text=Intact: verified on")
    mine.look("audit")
    page.click("text=Search and filter")
    page.select_option("select[name=what]", "members")
    page.click("button:has-text('Show')")
    page.wait_for_selector("text=role: member → admin")
    assert "share.created" not in page.inner_text(".trail")
    page.click("summary:has-text('membership.changed')")
    page.click(".trail__entry[open] summary:has-text('As JSON')")
    assert '"before": {' in page.inner_text(".trail__entry[open] pre")
    mine.look("audit-entry")
