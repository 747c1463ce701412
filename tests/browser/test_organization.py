"""An owner sets an organization up: its picture, its people, and what is asked before they go."""

from pathlib import Path

import pytest

from tests import factories
from tests.browser.test_access import faults
from tests.orgs.test_general import picture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_an_owner_sets_it_up(visitor, alice, bob, acme, tmp_path):
    owner = visitor()
    owner.sign_in(alice)
    page = owner.go(f"/organizations/{acme.pk}")
    page.click("nav >> text=General")
    logo = Path(tmp_path, "logo.png")
    logo.write_bytes(picture())
    page.set_input_files("input[name=logo]", logo)
    page.click("button:has-text('Upload')")
    page.wait_for_selector("img.place__logo")
    page.fill("input[name=name]", "Acme Rockets")
    page.click("button:has-text('Rename')")
    page.wait_for_selector("h1:has-text('Acme Rockets')")
    owner.look("organization-general")

    page.click("nav >> text=Invitations")
    owner.look("organization-invitations-empty")
    page.fill("textarea", "new@x.example\nnobody\nbob@acme.example")
    page.select_option("select[name=deliver]", "links")
    page.click("button:has-text('Invite')")
    page.wait_for_selector("text=is a member already")
    owner.look("organization-invited")
    page.click("text=Done")
    page.fill("input[name=max_uses]", "5")
    page.click("button:has-text('Make a link')")
    page.wait_for_selector("text=A link for 5 people")
    page.click("text=Done")
    page.wait_for_selector("text=0 of 5 joined")
    owner.look("organization-invitations")

    page.click("nav >> text=Members")
    page.fill("#q", "bob")
    page.press("#q", "Enter")
    page.wait_for_selector("text=1 of the members match")
    page.click("text=Change")
    owner.look("organization-member")
    page.click("text=Take out of")
    owner.look("organization-take-out")
    page.click("button:has-text('Take out')")
    page.wait_for_selector("text=Bob is taken out")
    owner.look("organization-members")


def test_its_pages_are_for_everybody(visitor, alice, bob, acme):
    """axe-core finds nothing serious."""
    owner = visitor()
    owner.sign_in(alice)
    member = f"members/{bob.pk}"
    for path in (
        "",
        "general",
        "invitations",
        "domains",
        "single-sign-on",
        "delete",
        member,
        f"{member}/remove",
        f"{member}/hand-over",
    ):
        page = owner.go(f"/organizations/{acme.pk}/{path}".rstrip("/"))
        assert faults(page) == [], path


def test_an_admin_proves_a_domain(visitor, adam, acme, monkeypatch):
    admin = visitor()
    admin.sign_in(adam)
    page = admin.go(f"/organizations/{acme.pk}")
    page.click("nav >> text=Domains")
    page.fill("input[name=name]", "Acme.example")
    page.click("button:has-text('Add')")
    page.wait_for_selector("text=_roocloud-challenge.acme.example")
    admin.look("organization-domains")
    text = page.inner_text("dd code[id]")
    monkeypatch.setattr("orgs.actions.domains.txt_records", lambda _name: ["v=spf1", text])
    page.click("button:has-text('Check')")
    page.wait_for_selector("text=acme.example is verified")
    page.click("button:has-text('Let people join')")
    page.wait_for_selector("text=People there join as members")
    admin.look("organization-domains-verified")


def test_an_owner_has_it_deleted_and_keeps_it(visitor, alice, acme):
    owner = visitor()
    owner.sign_in(alice)
    page = owner.go(f"/organizations/{acme.pk}/general")
    page.click("text=Delete…")
    owner.look("organization-delete")
    page.fill("input[name=name]", "Acme")
    page.click("button:has-text('Delete it')")
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_selector("h1:has-text('is to be deleted')")
    owner.look("organization-to-be-deleted")
    owner.go(f"/organizations/{acme.pk}")
    page.click("text=an owner can keep it")
    page.click("button:has-text('Keep Acme')")
    page.wait_for_selector("text=Acme stays")


def test_a_member_sees_who_is_there_and_leaves(visitor, bob, acme):
    member = visitor()
    member.sign_in(bob)
    page = member.go(f"/organizations/{acme.pk}")
    member.look("organization-as-member")
    page.click("main a:has-text('You')")
    page.click("text=Leave Acme")
    page.click("button:has-text('Leave')")
    page.wait_for_selector("text=You have left Acme")
