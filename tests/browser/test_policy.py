"""The policy editor, as owners, admins and members see it."""

import pytest

from accounts.actors import TokenKind
from orgs import actions
from orgs.models import SettingsDraft
from tests import factories
from tests.browser.test_access import faults
from tests.factories import NOON
from tests.orgs.test_settings_pages import MCP, current, somebody_saves

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PROFILES = {
    "fast": {"apiProvider": "roo", "apiModelId": "anthropic/claude-haiku"},
    "a profile with a name that is long": {"apiProvider": "ollama", "ollamaModelId": "qwen"},
}


def confirm(page) -> None:
    """O1: who one is, again."""
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("form:has(input[name=password]) button[type=submit]")


def test_a_change_is_made_proposed_looked_at_and_approved(visitor, alice, adam, bob, acme):
    """O1: by an owner and another admin; members have no such page."""
    somebody_saves(acme, adam, providerProfiles=PROFILES, mcps=[MCP])
    actions.demand_approval(
        organization=acme, is_demanded=True, by=factories.actor(alice, acme, kind=TokenKind.WEB),
        at=NOON,
    )  # fmt: skip
    root = f"/organizations/{acme.pk}/settings"
    mine, other, member = visitor(), visitor(), visitor()
    mine.sign_in(alice)
    page = mine.go(root)
    page.click("nav[aria-label=Settings] >> text=Allowed models")
    page.select_option("[name=allow_all]", "false")
    page.select_option("[name='roo:is']", "all")
    page.select_option("[name='anthropic:is']", "some")
    row = page.locator(".allowed__row", has=page.locator("[name='anthropic:is']"))
    row.locator("summary").click()
    page.fill("[name='anthropic:models']", "claude-sonnet")
    mine.look("policy-models")
    assert faults(page) == []
    page.click("text=Keep and go on")
    page.click("nav[aria-label=Settings] >> text=Tasks and sharing")
    page.fill("[name='cloudSettings.taskShareExpirationDays']", "x")
    page.click("text=Review what changes")
    page.wait_for_selector(".field[data-state=error] >> text=Enter a number")
    mine.look("policy-error")
    assert [said for said in mine.complaints if "400" not in said] == []
    mine.complaints.clear()
    page.fill("[name='cloudSettings.taskShareExpirationDays']", "7")
    page.click("text=Review what changes")
    page.wait_for_selector("text=Between version")
    page.fill("[name=note]", "Only what we pay for")
    mine.look("policy-review")
    assert faults(page) == []
    mine.go(f"{root}/preview?of=mine")
    page.wait_for_selector("text=Refused")
    page.go_back()
    page.fill("[name=note]", "Only what we pay for")
    page.click("text=Propose")
    page.wait_for_selector("text=Another owner or admin must approve it")

    other.sign_in(adam)
    page = other.go(root)
    page.click("text=Look at it")
    other.look("policy-proposal")
    page.click("text=Approve, for all")
    confirm(page)
    page.wait_for_selector("text=Approved and in force")
    assert current(acme).document["allowList"]["providers"]["roo"] == {"allowAll": True}
    assert not SettingsDraft.unscoped.waiting().exists()
    for part in (
        "edit/profiles",
        "profile?name=fast",
        "edit/mcps",
        "mcp?index=0",
        "edit/defaults",
        "edit/marketplace",
        "text?form=yaml",
        "preview",
        f"{current(acme).version}",
    ):
        assert faults(other.go(f"{root}/{part}")) == [], part  # fmt: skip
    for path in ("marketplace", "marketplace/new", "settings"):
        assert faults(other.go(f"/organizations/{acme.pk}/{path}")) == [], path

    member.sign_in(bob)
    assert member.context.request.get(member.base + root).status == 403
