"""Settings that a second admin approves: O1, D7."""

import re

import pytest
from django.utils import timezone

from accounts.actors import TokenKind
from audit.models import Entry
from orgs import actions, notices
from orgs.actions.drafts import merge
from orgs.models import SettingsDraft
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound
from tests import factories
from tests.orgs.test_settings_pages import confirm, current, enter, hidden, save, somebody_saves

MCP = {"id": "m", "name": "M", "description": "", "url": "https://m.example/", "content": "{}"}


@pytest.fixture
def path(acme) -> str:
    return f"/organizations/{acme.pk}/settings"


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def act(rule, by, org, **facts):
    return rule(by=factories.actor(by, org, kind=TokenKind.WEB), at=timezone.now(), **facts)


@pytest.fixture
def demanded(acme, alice):
    act(actions.demand_approval, alice, acme, organization=acme, is_demanded=True)
    acme.refresh_from_db()


def propose(by, org, **changes):
    now = current(org)
    return act(
        actions.propose, by, org, organization=org, document={**now.document, **changes},
        read_version=now.version, note="why not",
    )  # fmt: skip


def approve(by, org, draft):
    return act(actions.approve_draft, by, org, draft_id=draft.pk, read_version=current(org).version)


class TestTheDemand:
    def test_is_the_owners(self, acme, alice, adam, bob, rhea):
        """O1"""
        for person in (adam, bob, rhea):
            with pytest.raises(Forbidden):
                act(actions.demand_approval, person, acme, organization=acme, is_demanded=True)
        act(actions.demand_approval, alice, acme, organization=acme, is_demanded=True)
        act(actions.demand_approval, alice, acme, organization=acme, is_demanded=True)
        (entry,) = Entry.objects.filter(action="organization_settings.approval_switched")
        assert (entry.actor_id, entry.after) == (alice.pk, {"isDemanded": True})

    @pytest.mark.usefixtures("demanded")
    def test_holds_for_every_way_to_save(self, acme, alice):
        """O1"""
        first = current(acme)
        for rule, facts in (
            (actions.save_settings, {"document": first.document}),
            (actions.roll_back, {"to_version": first.version}),
        ):
            with pytest.raises(actions.ApprovalNeeded):
                act(rule, alice, acme, organization=acme, read_version=first.version, **facts)
        assert current(acme) == first

    def test_is_switched_after_a_fresh_sign_in(self, browser, path, acme, adam):
        """O1"""
        asked = browser.post(f"{path}/approval", {"is_demanded": "on"})
        acme.refresh_from_db()
        assert not acme.settings_need_approval
        assert confirm(browser, asked)["Location"] == path
        acme.refresh_from_db()
        assert acme.settings_need_approval
        browser.force_login(adam)
        assert browser.get(f"{path}/approval").status_code == 403


@pytest.mark.usefixtures("demanded")
class TestAProposal:
    def test_is_in_force_when_another_admin_has_looked_at_it(
        self, browser, client, path, acme, alice, adam
    ):
        """O1: by the pages, from the change to the history."""
        before = current(acme)
        proposed = save(browser, path, enter(browser, path, acme, mcps=[MCP]))
        draft = SettingsDraft.unscoped.get()
        page = f"{path}/drafts/{draft.pk}"
        assert proposed["Location"] == page
        assert b"Approve" not in browser.get(page).content
        assert current(acme) == before

        client.force_login(adam)
        shown = client.get(page)
        assert b"m.example" in shown.content
        asked = client.post(page, {**hidden(shown), "do": "approve"})
        assert current(acme) == before
        assert confirm(client, asked)["Location"] == path
        after = current(acme)
        assert (after.document["mcps"], after.note) == ([MCP], "why not")
        assert (after.made_by_id, after.approved_by_id) == (alice.pk, adam.pk)
        entry = Entry.objects.get(action="organization_settings.saved")
        assert (entry.actor_id, entry.after["draftedBy"]) == (adam.pk, alice.pk)
        assert b"approved by Adam" in re.sub(rb"\s+", b" ", client.get(path).content)

    def test_is_told_to_the_other_admins(
        self, acme, alice, adam, mailoutbox, django_capture_on_commit_callbacks
    ):
        """O1"""
        with django_capture_on_commit_callbacks(execute=True):
            draft = propose(alice, acme, mcps=[MCP])
        assert [mail.to for mail in mailoutbox] == [[adam.email]]
        for said in ("Alice", "why not", f"/settings/drafts/{draft.pk}"):
            assert said in mailoutbox[0].body
        approve(adam, acme, draft)
        notices.tell_of_proposal(draft_id=draft.pk, user_id=adam.pk)
        assert len(mailoutbox) == 1

    def test_is_not_approved_by_who_wrote_it(self, acme, alice):
        """O1: nor by an owner."""
        draft = propose(alice, acme, hiddenMcps=["x"])
        with pytest.raises(Forbidden):
            approve(alice, acme, draft)

    def test_is_not_decided_by_who_is_no_admin(self, acme, alice, bob, rhea, mallory, evil):
        """O1, A1"""
        draft = propose(alice, acme, hiddenMcps=["x"])
        for person in (bob, rhea):
            with pytest.raises(Forbidden):
                approve(person, acme, draft)
            with pytest.raises(Forbidden):
                act(actions.turn_down_draft, person, acme, draft_id=draft.pk)
        with pytest.raises(NotFound):
            act(actions.turn_down_draft, mallory, evil, draft_id=draft.pk)

    def test_is_decided_once(self, acme, alice, adam):
        draft = propose(alice, acme, hiddenMcps=["x"])
        approve(adam, acme, draft)
        for rule in (actions.turn_down_draft, actions.bring_up_to_date):
            with pytest.raises(actions.DraftDecided):
                act(rule, adam, acme, draft_id=draft.pk)
        with pytest.raises(actions.DraftDecided):
            approve(adam, acme, draft)

    def test_that_is_stale_is_refused_and_can_be_brought_up_to_date(
        self, client, path, acme, alice, adam
    ):
        """D7: 409 with a way on."""
        draft = propose(alice, acme, hiddenMcps=["mine"])
        approve(adam, acme, propose(alice, acme, hideMarketplaceMcps=True))
        client.force_login(adam)
        page = f"{path}/drafts/{draft.pk}"
        shown = client.get(page)
        stale = confirm(client, client.post(page, {**hidden(shown), "do": "approve"}))
        assert stale.status_code == 409
        assert b"Bring it onto version" in stale.content

        shown = client.post(page, {"do": "update"}, follow=True)
        assert client.post(page, {**hidden(shown), "do": "approve"})["Location"] == path
        document = current(acme).document
        assert (document["hiddenMcps"], document["hideMarketplaceMcps"]) == (["mine"], True)

    def test_that_was_not_looked_at_is_not_approved(self, client, path, acme, alice, adam):
        """O1"""
        draft = propose(alice, acme, mcps=[MCP])
        client.force_login(adam)
        fields = {"read_version": current(acme).version, "previewed": "x", "do": "approve"}
        assert client.post(f"{path}/drafts/{draft.pk}", fields).status_code == 409
        assert "mcps" not in current(acme).document

    @pytest.mark.parametrize(("who", "what"), [("alice", "withdrawn"), ("adam", "refused")])
    def test_can_be_turned_down(self, client, path, acme, alice, adam, who, what):
        draft = propose(alice, acme, hiddenMcps=["x"])
        client.force_login({"alice": alice, "adam": adam}[who])
        page = f"{path}/drafts/{draft.pk}"
        assert client.post(page, {"do": "turn-down"}).status_code == 302
        assert Entry.objects.filter(action=f"organization_settings.{what}").exists()
        assert b"turned it down" in client.get(page).content
        assert client.post(page, {"do": "approve"}).status_code == 409

    def test_an_earlier_version_comes_back_by_one(self, browser, path, acme, alice, adam):
        first = current(acme)
        approve(adam, acme, propose(alice, acme, mcps=[MCP]))
        restore = f"{path}/{first.version}/restore"
        assert b">Restore</button>" not in browser.get(restore).content
        shown = browser.post(restore, {"do": "edit"}, follow=True)
        save(browser, path, shown)
        approve(adam, acme, SettingsDraft.unscoped.waiting().get())
        assert current(acme).document == first.document


def test_without_a_demand_an_admin_may_still_ask_for_a_second_look(acme, alice, adam):
    draft = propose(alice, acme, hiddenMcps=["x"])
    assert approve(adam, acme, draft).document["hiddenMcps"] == ["x"]


def test_a_proposal_of_an_older_version_is_none(acme, alice, adam):
    """D7"""
    stale = current(acme)
    somebody_saves(acme, adam, hiddenMcps=["x"])
    with pytest.raises(actions.VersionConflict):
        act(
            actions.propose, alice, acme, organization=acme, document=stale.document,
            read_version=stale.version, note="",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("mine", "theirs", "merged"),
    [
        ({"a": 1, "b": {"c": 1}}, {"a": 2, "b": {"c": 1}}, {"a": 2, "b": {"c": 1}}),
        ({"a": 3, "b": {"c": 1}}, {"a": 2, "b": {"c": 2}}, {"a": 3, "b": {"c": 2}}),
        ({"a": 1, "b": {"c": 1, "d": 1}}, {"a": 1, "b": {"e": 1}}, {"a": 1, "b": {"d": 1, "e": 1}}),
        ({"a": 1}, {"a": 1, "b": {"c": 1}, "f": 1}, {"a": 1, "f": 1}),
        ({"b": {"c": 1}}, {"a": 5, "b": {"c": 1}}, {"b": {"c": 1}}),
        ({"a": 1, "b": 7}, {"a": 1, "b": {"c": 9}}, {"a": 1, "b": 7}),
        ({"a": [1], "b": {"c": 1}}, {"a": [2], "b": {"c": 1}}, {"a": [1], "b": {"c": 1}}),
    ],
)
def test_two_changes_are_joined_key_by_key(mine, theirs, merged):
    """What I did not touch is theirs; what both touched is mine."""
    assert merge({"a": 1, "b": {"c": 1}}, mine, theirs) == merged


def test_what_is_no_valid_document_together_is_said_so(acme, alice, adam, browser, path):
    """D7: I allow a model alone, they take its provider's entry out of those that may have models."""
    only = {"allowAll": False, "providers": {"roo": {"allowAll": True}}}
    enter(
        browser, path, acme, allowList={"allowAll": True, "providers": {"roo": {"allowAll": False}}}
    )
    somebody_saves(acme, adam, allowList=only)
    answer = browser.post(f"{path}/review", {"do": "update"})
    assert answer.status_code == 409
    assert b"no valid settings" in answer.content
    with pytest.raises(InvalidInput):
        act(actions.bring_up_to_date, alice, acme, draft_id=SettingsDraft.unscoped.get().pk)
