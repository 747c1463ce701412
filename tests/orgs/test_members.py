"""Members, roles and invitations; O2, A4, B7."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orgs import actions
from orgs.models import Invitation, Membership, Role
from roocloud.lib.refusals import Forbidden, NotFound, Refusal
from tests import factories


def roles(org) -> dict[str, str]:
    return dict(Membership.unscoped.filter(organization=org).values_list("user__email", "role"))


def put(org, person, role, by):
    return actions.put_member(
        organization=org, user=person, role=role, by=factories.actor(by, org), at=timezone.now()
    )


def remove(org, person, by):
    actions.remove_member(
        organization=org, user_id=person.pk, by=factories.actor(by, org), at=timezone.now()
    )


def hand_over(org, to, by):
    actions.hand_over(organization=org, to=to, by=factories.actor(by, org), at=timezone.now())


def test_an_admin_changes_roles_but_makes_no_owners(adam, bob, acme):
    put(acme, bob, "admin", adam)
    assert roles(acme)[bob.email] == "admin"
    with pytest.raises(Forbidden):
        put(acme, bob, "owner", adam)


def test_an_admin_cannot_touch_an_owner(alice, adam, acme):
    with pytest.raises(Forbidden):
        put(acme, alice, "member", adam)
    with pytest.raises(Forbidden):
        remove(acme, alice, adam)


def test_a_member_may_leave_and_nothing_else(alice, bob, rhea, acme):
    with pytest.raises(Forbidden):
        remove(acme, rhea, bob)
    remove(acme, bob, bob)
    assert bob.email not in roles(acme)


@pytest.mark.django_db(transaction=True)
def test_many_organizations_of_one_name_are_made_at_once(alice):
    def make(_: int) -> str:
        try:
            return factories.organization("Acme", owner=alice).slug
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        slugs = set(pool.map(make, range(40)))

    assert len(slugs) == 40
    assert "acme" in slugs
    assert all(slug.startswith("acme") for slug in slugs)


def test_the_last_owner_stays(alice, acme):
    """O2"""
    with pytest.raises(actions.LastOwner):
        remove(acme, alice, alice)
    with pytest.raises(actions.LastOwner):
        put(acme, alice, "admin", alice)


def test_an_organization_has_an_owner_whatever_happens(alice, adam, bob, rhea, acme):
    """O2: a state machine over memberships."""
    people = [alice, adam, bob, rhea]

    class Memberships(RuleBasedStateMachine):
        @rule(
            by=st.sampled_from(people),
            of=st.sampled_from(people),
            role=st.sampled_from(Role.values),
        )
        def change(self, by, of, role):
            self._try(lambda: put(acme, of, role, by))

        @rule(by=st.sampled_from(people), of=st.sampled_from(people))
        def remove(self, by, of):
            self._try(lambda: remove(acme, of, by))

        @rule(by=st.sampled_from(people), to=st.sampled_from(people))
        def hand_over(self, by, to):
            self._try(lambda: hand_over(acme, to, by))

        def _try(self, act):
            with contextlib.suppress(Refusal, Membership.DoesNotExist):
                act()

        @invariant()
        def has_an_owner(self):
            assert "owner" in roles(acme).values()

    run_state_machine_as_test(
        Memberships,
        settings=settings(
            max_examples=10,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class TestInvitations:
    def invite(self, org, by, email="new@x.example", role="member"):
        return actions.invite(
            organization=org,
            email=email,
            role=role,
            by=factories.actor(by, org),
            at=timezone.now(),
        )

    def accept(self, secret, person, verified=None, at=None):
        return actions.accept_invitation(
            secret=secret,
            user=person,
            verified={person.email} if verified is None else verified,
            at=at or timezone.now(),
        )

    @pytest.fixture
    def new(self, db):
        return factories.user("new@x.example")

    def test_make_a_member_once(self, alice, acme, new):
        _, secret = self.invite(acme, alice)
        assert self.accept(secret, new).role == "member"
        with pytest.raises(NotFound):
            self.accept(secret, new)

    def test_are_bound_to_a_verified_address(self, alice, acme, new, mallory):
        """B7"""
        _, secret = self.invite(acme, alice)
        for person, verified in ((mallory, None), (new, set())):
            with pytest.raises(Forbidden):
                self.accept(secret, person, verified)
        assert self.accept(secret, new).user == new

    def test_end(self, alice, acme, new):
        _, secret = self.invite(acme, alice)
        with pytest.raises(NotFound):
            self.accept(secret, new, at=timezone.now() + timedelta(days=15))

    def test_can_be_revoked(self, alice, acme, new):
        invitation, secret = self.invite(acme, alice)
        actions.revoke_invitation(
            invitation=invitation, by=factories.actor(alice, acme), at=timezone.now()
        )
        with pytest.raises(NotFound):
            self.accept(secret, new)

    def test_grant_no_more_than_their_maker_could_now(self, alice, adam, acme, new):
        """A4"""
        _, secret = self.invite(acme, adam, role="admin")
        put(acme, adam, "member", alice)
        with pytest.raises(NotFound):
            self.accept(secret, new)

    def test_are_made_by_admins_for_less_than_owners(self, adam, bob, acme):
        with pytest.raises(Forbidden):
            self.invite(acme, bob)
        with pytest.raises(Forbidden):
            self.invite(acme, adam, role="owner")

    def test_are_stored_as_hashes(self, alice, acme):
        _, secret = self.invite(acme, alice)
        assert all(secret not in str(v) for v in Invitation.unscoped.values().get().values())

    def test_the_link_admits_a_newcomer_and_joins_after_sign_in(
        self, client, alice, acme, new, settings
    ):
        settings.ROOCLOUD_SIGNUP = "invitation"
        _, secret = self.invite(acme, alice)
        assert b"Acme" in client.get(f"/invitations/{secret}").content
        assert b"Create account" in client.get("/accounts/signup/").content
        client.force_login(new)
        assert client.post(f"/invitations/{secret}").status_code == 403  # not verified yet

    def test_an_invited_browser_may_sign_up_with_that_address_only(
        self, client, alice, acme, settings
    ):
        settings.ROOCLOUD_SIGNUP = "invitation"
        _, secret = self.invite(acme, alice, email="guest@x.example")
        client.get(f"/invitations/{secret}")
        fields = {"email": "other@x.example", "password1": factories.PASSWORD}
        assert b"not the address" in client.post("/accounts/signup/", fields).content

    def test_a_revoked_one_admits_nobody_any_more(self, client, alice, acme, settings):
        """B7: though the browser opened its link in time."""
        settings.ROOCLOUD_SIGNUP = "invitation"
        invitation, secret = self.invite(acme, alice, email="guest@x.example")
        client.get(f"/invitations/{secret}")
        actions.revoke_invitation(
            invitation=invitation, by=factories.actor(alice, acme), at=timezone.now()
        )
        fields = {"email": "guest@x.example", "password1": factories.PASSWORD}
        for answer in (client.get("/accounts/signup/"), client.post("/accounts/signup/", fields)):
            assert b"Accounts are by invitation" in answer.content
        assert not get_user_model().objects.filter(email="guest@x.example").exists()

    def test_a_newcomer_signs_up_verifies_and_joins(
        self, client, alice, acme, settings, mailoutbox
    ):
        """B7: each page leads to the next, and the mail back to the invitation."""
        settings.ROOCLOUD_SIGNUP = "invitation"
        _, secret = self.invite(acme, alice, email="guest@x.example")
        path = f"/invitations/{secret}"
        client.get(path)
        fields = {"email": "guest@x.example", "password1": factories.PASSWORD, "next": path}
        assert client.post("/accounts/signup/", fields)["Location"] == path

        page = client.get(path).content
        assert b"Send the verification mail" in page
        assert b">Join<" not in page

        self.confirm(client, mailoutbox[-1], path)
        assert b">Join<" in client.get(path).content
        assert client.post(path)["Location"] == f"/organizations/{acme.pk}"
        assert roles(acme)["guest@x.example"] == "member"

    def test_the_verification_mail_can_be_asked_for(self, client, alice, acme, new, mailoutbox):
        _, secret = self.invite(acme, alice)
        path = f"/invitations/{secret}"
        client.force_login(new)
        assert b"Send the verification mail" in client.get(path).content
        client.post("/accounts/email/", {"email": new.email, "action_send": "1", "next": path})
        self.confirm(client, mailoutbox[-1], path)
        assert b">Join<" in client.get(path).content

    def test_somebody_else_is_told_whose_it_is(self, client, alice, acme, mallory):
        _, secret = self.invite(acme, alice)
        client.force_login(mallory)
        page = client.get(f"/invitations/{secret}").content
        assert b"Sign in with new@x.example instead" in page
        assert b">Join<" not in page
        assert b"Send the verification mail" not in page

    def confirm(self, client, mail, path) -> None:
        """Follow the mail's link and its button, which lead to ``path``."""
        link = urlsplit(re.search(r"https?://\S+/confirm-email/\S+", mail.body)[0])
        page = client.get(f"{link.path}?{link.query}").content.decode()
        fields = dict(re.findall(r'<input type="hidden" name="(next)" value="([^"]+)">', page))
        assert client.post(link.path, fields)["Location"] == path


class TestPages:
    def test_create_switch_and_look(self, client, bob):
        client.force_login(bob)
        answer = client.post("/organizations", {"name": "Bob's"})
        page = client.get(answer["Location"])
        assert b"Bob&#x27;s is ready" in page.content
        client.post("/account/context", {"organization": ""})
        assert b"Personal account" in client.get("/").content

    def test_change_and_remove_a_member(self, client, alice, bob, acme):
        client.force_login(alice)
        path = f"/organizations/{acme.pk}/members/{bob.pk}"
        client.post(path, {"role": "admin"})
        assert roles(acme)[bob.email] == "admin"
        assert b"Take Bob out of Acme?" in client.get(f"{path}/remove").content
        assert bob.email in roles(acme)
        client.post(f"{path}/remove")
        assert bob.email not in roles(acme)

    def test_the_last_owner_is_told_why(self, client, alice, acme):
        client.force_login(alice)
        path = f"/organizations/{acme.pk}/members/{alice.pk}"
        answer = client.post(f"{path}/remove")
        assert answer.status_code == 409
        assert b"at least one owner" in answer.content
        answer = client.post(path, {"role": "member"})
        assert answer.status_code == 400
        assert b'data-state="error"' in answer.content
        assert b"at least one owner" in answer.content

    def test_an_owner_hands_over(self, client, alice, bob, acme):
        client.force_login(alice)
        path = f"/organizations/{acme.pk}/members/{bob.pk}"
        assert b"Hand Acme over" in client.get(path).content
        assert b"Hand Acme over to Bob?" in client.get(f"{path}/hand-over").content
        client.post(f"{path}/hand-over")
        assert (roles(acme)[bob.email], roles(acme)[alice.email]) == ("owner", "admin")
        assert client.get(f"{path}/hand-over").status_code == 403

    @pytest.mark.parametrize(
        "document", ["{", "[]", '{"allowList": 1, "defaultSettings": {}}', "\x00"]
    )
    def test_bad_settings_are_explained(self, client, alice, acme, document):
        client.force_login(alice)
        fields = {"document": document, "form": "json", "read_version": 1}
        answer = client.post(f"/organizations/{acme.pk}/settings/text", fields)
        assert answer.status_code == 400
        assert b"errorlist" in answer.content


class TestClerkRoutes:
    def get(self, client, person, path):
        _, token = factories.client_session(person)
        return client.get(path, headers={"Authorization": f"Bearer {token}"})

    def test_memberships_hold_no_null(self, client, bob, acme):
        """Trap 8."""
        rows = self.get(client, bob, "/v1/me/organization_memberships").json()["response"]
        assert rows[0]["organization"]["name"] == "Acme"
        assert rows[0]["role"] == "member"
        assert isinstance(rows[0]["created_at"], int)
        assert None not in [*rows[0].values(), *rows[0]["organization"].values()]

    def test_memberships_are_two_queries(self, client, bob, acme, django_assert_num_queries):
        """Trap 9."""
        _, token = factories.client_session(bob)
        with django_assert_num_queries(2):
            client.get(
                "/v1/me/organization_memberships", headers={"Authorization": f"Bearer {token}"}
            )

    def test_the_record_carries_the_flag(self, client, bob, mallory, acme):
        """Trap 11."""
        path = f"/v1/organizations/{acme.pk}"
        found = self.get(client, bob, path).json()["response"]
        assert found["public_metadata"]["extension_bridge_enabled"] is True
        assert self.get(client, mallory, path).status_code == 404
