"""An organization that lets people at its domains in by its single sign-on alone; A4, B4, B4a."""

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.utils import timezone

from accounts import actions as accounts
from accounts import tokens
from accounts.actors import Actor, TokenKind
from accounts.editors import find
from accounts.memberships import role_of
from accounts.models import ClientSession
from bridge import tokens as bridge
from orgs import actions
from orgs.models import Membership, SingleSignOn
from roocloud.lib.fresh import forget_everything
from roocloud.lib.ids import digest
from roocloud.lib.refusals import Forbidden, InvalidInput
from tests import factories
from tests.orgs.test_single_sign_on import issuer, sign_on, verified, walk

__all__ = ["issuer", "sign_on"]  # fixtures
EDITOR = "vscode://RooVeterinaryInc.roo-cline"
SETTINGS = "/api/extension-settings"


def require(org, by, *, is_required=True, helper=None):
    actions.require_single_sign_on(
        organization=org, is_required=is_required, break_glass_id=(helper or by).pk,
        by=factories.actor(by, org), at=timezone.now(),
    )  # fmt: skip
    forget_everything()  # as after five seconds


@pytest.fixture
def asked(sign_on, alice, adam, bob, acme):
    """bob and adam, who are asked; alice is the owner who is not."""
    for person in (alice, adam, bob):
        verified(person)
    require(acme, alice)


def proven(org) -> frozenset[str]:
    return frozenset({f"sso-{org.pk}"})


def enters(person, org, *providers) -> bool:
    found = role_of(user_id=person.pk, organization_id=org.pk, signed_on=frozenset(providers))
    return found is not None


class TestWhoIsAsked:
    def test_is_who_has_a_verified_address_at_a_proven_domain(
        self, asked, alice, adam, bob, rhea, mallory, acme, evil
    ):
        """rhea has verified none, mallory is a guest with one elsewhere."""
        at = timezone.now()
        verified(mallory)
        actions.put_member(organization=acme, user=mallory, role="admin", by=None, at=at)
        found = {one.email: enters(one, acme) for one in (alice, adam, bob, rhea, mallory)}
        assert found == {
            alice.email: True, adam.email: False, bob.email: False, rhea.email: True,
            mallory.email: True,
        }  # fmt: skip
        assert enters(bob, acme, f"sso-{acme.pk}")
        assert not enters(bob, acme, f"sso-{evil.pk}")
        assert enters(mallory, evil)

    def test_is_every_owner_but_the_one_who_helps(self, asked, alice, bob, acme):
        at = timezone.now()
        actions.put_member(organization=acme, user=bob, role="owner", by=None, at=at)
        assert (enters(alice, acme), enters(bob, acme)) == (True, False)
        actions.put_member(organization=acme, user=alice, role="admin", by=None, at=at)
        assert (enters(alice, acme), enters(bob, acme)) == (False, True)  # or nobody could help

    def test_is_nobody_where_it_is_not_required_or_no_domain_is_proven(
        self, asked, alice, bob, acme
    ):
        acme.domains.update(verified_at=None)
        assert enters(bob, acme)
        acme.domains.update(verified_at=timezone.now())
        require(acme, alice, is_required=False)
        assert enters(bob, acme)

    def test_is_found_in_one_query_where_nobody_asks(self, bob, acme, django_assert_num_queries):
        with django_assert_num_queries(1):
            assert enters(bob, acme)


class TestBrowsers:
    def test_that_signed_in_otherwise_stay_out_of_it_at_once(
        self, client, sign_on, alice, bob, acme
    ):
        """B4: sessions that exist included."""
        verified(bob)
        client.force_login(bob)
        page = f"/organizations/{acme.pk}"
        assert client.get(page).status_code == 200
        require(acme, alice)
        answer = client.get(page)
        assert answer.status_code == 403
        assert b"asks for its single sign-on" in answer.content
        assert client.post("/account/context", {"organization": acme.pk}).status_code == 403
        assert client.get("/account").status_code == 200
        assert b"Personal account" in client.get("/").content

    def test_that_came_by_it_get_in(self, client, asked, sign_on, bob, acme):
        sign_on.person["email"] = bob.email
        walk(client, acme)
        assert client.get(f"/organizations/{acme.pk}").status_code == 200
        answer = client.post("/account/context", {"organization": acme.pk})
        assert answer.status_code == 302

    def test_make_no_ticket_for_it_otherwise(self, client, asked, bob, acme):
        client.force_login(bob)
        fields = {"auth_redirect": EDITOR, "state": "0123456789abcdef", "organization": acme.pk}
        assert client.post("/extension/sign-in", fields).status_code == 403
        assert client.post("/extension/sign-in", {**fields, "organization": ""}).status_code == 200


class TestEditors:
    def test_that_signed_in_otherwise_lose_it_within_seconds(
        self, client, sign_on, alice, bob, acme
    ):
        """B4, B4a: tokens stop, no new ones are made, and the socket of the bridge ends."""
        at = timezone.now()
        verified(bob)
        session, client_token = factories.client_session(bob)
        token = tokens.mint(session, organization_id=acme.pk, at=at)
        headers = {"Authorization": f"Bearer {token}"}
        actor = Actor(bob.pk, acme.pk, "member", TokenKind.SESSION, session_id=session.pk)
        socket = digest(bridge.issue(actor, at=at))
        assert client.get(SETTINGS, headers=headers).status_code == 200
        assert bridge.standings([socket], at=at) != [None]

        require(acme, alice)

        assert client.get(SETTINGS, headers=headers).status_code == 401
        assert bridge.standings([socket], at=at) == [None]
        mint = f"/v1/client/sessions/{session.pk}/tokens"
        headers = {"Authorization": f"Bearer {client_token}"}
        form = "application/x-www-form-urlencoded"
        for organization_id, status in ((acme.pk, 404), ("", 200)):
            body = f"organization_id={organization_id}"
            answer = client.post(mint, body, content_type=form, headers=headers)
            assert answer.status_code == status

    def test_keep_how_their_person_signed_in(self, client, asked, bob, acme):
        at = timezone.now()
        by = Actor(bob.pk, acme.pk, "member", TokenKind.WEB, signed_on=proven(acme))
        code = accounts.issue_ticket(by=by, editor=find(EDITOR), state="0123456789abcdef", at=at)
        session = accounts.redeem_ticket(code=code, user_agent="", at=at).session
        assert ClientSession.unscoped.get(pk=session.pk).proofs == proven(acme)
        token = tokens.mint(session, organization_id=acme.pk, at=at)
        answer = client.get(SETTINGS, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200

    def test_of_machines_are_not_asked(self, client, asked, bob, acme):
        """To make a key or a job token asks for it; one that was made works on."""
        by = Actor(bob.pk, acme.pk, "member", TokenKind.WEB, signed_on=proven(acme))
        token = accounts.make_job_token(
            by=by, name="ci", lifetime=timedelta(days=1), at=timezone.now()
        )
        answer = client.get(SETTINGS, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        client.force_login(bob)
        fields = {"name": "x", "organization": acme.pk, "days": "1"}
        assert client.post("/account/tokens/new", fields).status_code == 403


class TestTheRule:
    def test_is_for_owners_and_needs_one_who_helps_and_a_domain(self, sign_on, alice, adam, acme):
        """A4"""
        with pytest.raises(Forbidden):
            require(acme, adam)
        with pytest.raises(InvalidInput) as refused:
            require(acme, alice, helper=adam)
        assert refused.value.field == "break_glass_id"
        acme.domains.update(verified_at=None)
        with pytest.raises(InvalidInput) as refused:
            require(acme, alice)
        assert refused.value.field == "is_required"

    def test_is_set_by_the_page(self, client, sign_on, alice, acme):
        client.force_login(alice)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        page = f"/organizations/{acme.pk}/single-sign-on"
        sent = {"do": "require", "is_required": "on", "break_glass_id": "user_x"}
        assert client.post(page, sent).status_code == 400
        client.post(page, {**sent, "break_glass_id": alice.pk})
        row = SingleSignOn.unscoped.get()
        assert (row.is_required, row.break_glass_id) == (True, alice.pk)

    def test_ends_with_the_single_sign_on(self, asked, alice, bob, acme):
        by = factories.actor(alice, acme)
        actions.remove_single_sign_on(organization=acme, by=by, at=timezone.now())
        assert enters(bob, acme)
        assert Membership.unscoped.filter(user=bob).exists()
        assert EmailAddress.objects.filter(user=bob).exists()
