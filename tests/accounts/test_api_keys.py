"""API keys: who they stand for, and when they stop (B4)."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from accounts import actions, api_keys
from accounts.actors import TokenKind
from accounts.bearer import API_KINDS, PROXY_KINDS, Origin, authenticate, rights_cache
from accounts.models import ApiKey, User
from audit.models import Entry
from orgs.actions import put_member, remove_member
from roocloud.lib.addresses import client_address, network_of
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, Unauthenticated
from tests import factories

NOW = factories.NOON


@pytest.fixture
def issued(bob, acme) -> api_keys.Issued:
    return make(bob, acme)


def make(person, org=None, **facts) -> api_keys.Issued:
    new = api_keys.NewKey(**{"name": "notebook", **facts})
    return api_keys.make_key(by=factories.actor(person, org), new=new, at=NOW)


def ask(secret, *, at=NOW, kinds=PROXY_KINDS, **origin):
    return authenticate(f"Bearer {secret}", at=at, kinds=kinds, origin=Origin(**origin))


def works(secret, *, at=NOW) -> bool:
    """Beyond what a cache of five seconds may know."""
    rights_cache.clear()
    try:
        ask(secret, at=at)
    except Unauthenticated:
        return False
    return True


def trail(key) -> list[tuple[str, str]]:
    return sorted(Entry.objects.filter(target_id=key.pk).values_list("action", "organization_id"))


class TestMaking:
    def test_stands_for_its_maker_in_its_context_and_carries_its_limits(self, issued, bob, acme):
        actor = ask(make(bob, acme, name="narrow", model_ids=["v/b", "v/a", "v/a"]).secret)
        assert (actor.user_id, actor.organization_id, actor.role) == (bob.pk, acme.pk, "member")
        assert (actor.kind, actor.key.name) == (TokenKind.API_KEY, "narrow")
        assert actor.key.model_ids == {"v/a", "v/b"}
        assert not actor.key.allows("v/c")
        assert ask(issued.secret).key.allows("v/c")

    def test_of_a_personal_account_has_no_organization(self, bob, acme):
        assert ask(make(bob).secret).organization_id is None

    def test_keeps_a_digest_and_four_characters(self, issued, settings, bob):
        row = ApiKey.unscoped.values().get()
        assert issued.secret not in str(row)
        assert row["last_four"] == issued.secret[-4:]
        assert issued.secret.startswith("rk_")
        settings.ROOCLOUD_API_KEY_PREFIX = "acme-key"
        assert make(bob).secret.startswith("acme-key_")
        assert works(issued.secret)

    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            ({"name": " "}, "name"), ({"lifetime": timedelta(0)}, "lifetime"),
            ({"lifetime": timedelta(days=5000)}, "lifetime"), ({"model_ids": ["x" * 201]}, "models"),
            ({"model_ids": [str(n) for n in range(201)]}, "models"),
        ],
    )  # fmt: skip
    def test_names_bad_facts(self, bob, facts, field):
        with pytest.raises(InvalidInput) as refused:
            make(bob, **facts)
        assert refused.value.field == field

    def test_ends_at_some_number(self, bob, acme, monkeypatch):
        monkeypatch.setattr(api_keys, "MAX_KEYS", 1)
        first = make(bob, acme)
        make(bob)
        with pytest.raises(Conflict):
            make(bob, acme)
        api_keys.revoke_key(key=first.key, by=factories.actor(bob, acme), at=NOW)
        make(bob, acme)

    def test_two_keys_never_share_a_secret(self, issued, bob):
        other = make(bob).key
        with pytest.raises(IntegrityError):
            ApiKey.unscoped.filter(pk=other.pk).update(secret_hash=issued.key.secret_hash)


class TestStopping:
    """B4: within five seconds, which is how long rights are cached."""

    def test_every_reason_stops_it(self, bob, acme, alice):
        by, admin = factories.actor(bob, acme), factories.actor(alice, acme)
        for stop in (
            lambda key: api_keys.revoke_key(key=key, by=by, at=NOW),
            lambda key: api_keys.pause_key(key=key, by=by, at=NOW),
            lambda key: remove_member(organization=acme, user_id=bob.pk, by=admin, at=NOW),
        ):
            put_member(organization=acme, user=bob, role="member", by=admin, at=NOW)
            key, secret = (issued := make(bob, acme)).key, issued.secret
            assert works(secret)
            stop(key)
            assert not works(secret)

    def test_the_end_of_its_owner_stops_it(self, issued, bob):
        ask(issued.secret)
        actions.deactivate(user_id=bob.pk, at=NOW)
        with pytest.raises(Unauthenticated):
            ask(issued.secret)
        User.objects.filter(pk=bob.pk).update(is_active=True)
        assert works(issued.secret)

    def test_revoking_and_pausing_are_seen_here_at_once(self, bob, acme):
        by = factories.actor(bob, acme)
        for stop in (api_keys.revoke_key, api_keys.pause_key):
            issued = make(bob, acme)
            ask(issued.secret)
            stop(key=issued.key, by=by, at=NOW)
            with pytest.raises(Unauthenticated):
                ask(issued.secret)

    def test_what_another_process_did_is_seen_within_five_seconds(self, issued):
        ask(issued.secret)
        ApiKey.unscoped.update(revoked_at=NOW)
        assert ask(issued.secret, at=NOW + timedelta(seconds=4.9))
        with pytest.raises(Unauthenticated, match="revoked"):
            ask(issued.secret, at=NOW + timedelta(seconds=5))

    def test_it_ends_by_itself(self, bob):
        issued = make(bob, lifetime=timedelta(days=1))
        assert works(issued.secret, at=NOW + timedelta(hours=23))
        assert not works(issued.secret, at=NOW + timedelta(days=1))

    def test_a_changed_role_is_the_keys_role(self, issued, bob, acme, alice):
        """A4"""
        put_member(
            organization=acme, user=bob, role="readonly", by=factories.actor(alice, acme), at=NOW
        )
        rights_cache.clear()
        assert ask(issued.secret).role == "readonly"

    def test_it_opens_nothing_else(self, issued):
        """B3: also right after the proxy knew it."""
        ask(issued.secret)
        for _ in (1, 2):
            with pytest.raises(Unauthenticated):
                ask(issued.secret, kinds=API_KINDS)
            rights_cache.clear()

    def test_a_reset_password_and_signing_out_everywhere_pause_all(self, bob, acme):
        """B7: whoever had the account may have made keys."""
        first, second = make(bob, acme), make(bob)
        actions.recover_account(user=bob, session_key=None, at=NOW)
        assert not works(first.secret)
        by = factories.actor(bob, acme)
        for one in (first, second):
            api_keys.resume_key(key=one.key, by=by, at=NOW)
            assert works(one.secret)
        actions.end_other_sessions(by=by, at=NOW)
        assert not works(first.secret)
        assert not works(second.secret)


class TestPausing:
    def test_ends_with_resuming_and_leaves_its_trail(self, issued, bob, acme):
        by = factories.actor(bob)  # whatever context the page is in
        for _ in (1, 2):
            api_keys.pause_key(key=issued.key, by=by, at=NOW)
        for _ in (1, 2):
            api_keys.resume_key(key=issued.key, by=by, at=NOW)
        assert works(issued.secret)
        deeds = ["made", "paused", "resumed"]
        assert trail(issued.key) == [(f"api_key.{deed}", acme.pk) for deed in deeds]

    def test_what_an_admin_paused_an_admin_resumes(self, issued, bob, adam, acme):
        owner, admin = factories.actor(bob, acme), factories.actor(adam, acme)
        api_keys.pause_key(key=issued.key, by=admin, at=NOW)
        with pytest.raises(Forbidden):
            api_keys.resume_key(key=issued.key, by=owner, at=NOW)
        assert not works(issued.secret)
        api_keys.resume_key(key=issued.key, by=admin, at=NOW)
        assert works(issued.secret)

    def test_a_revoked_key_is_not_resumed(self, issued, bob, acme):
        by = factories.actor(bob, acme)
        api_keys.pause_key(key=issued.key, by=by, at=NOW)
        api_keys.revoke_key(key=issued.key, by=by, at=NOW)
        api_keys.resume_key(key=issued.key, by=by, at=NOW)
        assert not works(issued.secret)


class TestRotating:
    def rotate(self, issued, person, hours=24):
        return api_keys.rotate_key(
            key=issued.key, by=factories.actor(person), overlap=timedelta(hours=hours), at=NOW
        )

    def test_both_secrets_work_for_the_overlap(self, issued, bob):
        old = issued.secret
        new = self.rotate(issued, bob).secret
        almost, over = NOW + timedelta(hours=23), NOW + timedelta(hours=24)
        assert (works(old, at=almost), works(new, at=almost)) == (True, True)
        assert (works(old, at=over), works(new, at=over)) == (False, True)
        assert ask(new).key.key_id == issued.key.pk

    def test_without_overlap_the_old_one_stops_at_once(self, issued, bob):
        ask(issued.secret)
        self.rotate(issued, bob, hours=0)
        with pytest.raises(Unauthenticated):
            ask(issued.secret)

    def test_only_the_last_secret_lives_on(self, issued, bob):
        second = self.rotate(issued, bob)
        third = self.rotate(second, bob)
        assert [works(one.secret) for one in (issued, second, third)] == [False, True, True]

    def test_revoking_ends_both(self, issued, bob):
        new = self.rotate(issued, bob)
        api_keys.revoke_key(key=new.key, by=factories.actor(bob), at=NOW)
        assert not works(issued.secret)
        assert not works(new.secret)

    def test_is_the_owners_alone_and_of_limited_overlap(self, issued, bob, alice):
        with pytest.raises(Forbidden):
            self.rotate(issued, alice)
        for hours in (-1, 7 * 24 + 1):
            with pytest.raises(InvalidInput):
                self.rotate(issued, bob, hours=hours)
        assert works(issued.secret)

    def test_of_two_at_once_one_wins(self, issued, bob):
        stale = api_keys.Issued(ApiKey.unscoped.get(pk=issued.key.pk), issued.secret)
        new = self.rotate(issued, bob)
        with pytest.raises(Conflict):
            self.rotate(stale, bob)
        assert works(new.secret)


def test_is_visible_to_its_owner_and_to_admins_where_it_spends(
    bob, adam, rhea, mallory, acme, evil
):
    """A1"""
    key, personal = make(bob, acme).key, make(bob).key

    def seen(person, org=None):
        rows = ApiKey.objects.visible_to(factories.actor(person, org))
        return set(rows.values_list("pk", flat=True))

    assert seen(bob, acme) == seen(bob) == {key.pk, personal.pk}
    assert seen(adam, acme) == {key.pk}
    assert seen(adam) == seen(rhea, acme) == seen(mallory, evil) == set()


class TestTheLastUse:
    def test_is_noted_once_a_minute_without_the_address(self, issued):
        at = timezone.now()
        ask(issued.secret, at=at, network="203.0.113.0/24", app="OpenAI/Python " + "x" * 200)
        row = ApiKey.unscoped.get()
        assert (row.last_used_at, row.last_used_network) == (at, "203.0.113.0/24")
        assert row.last_used_app.startswith("OpenAI/Python x")
        assert len(row.last_used_app) == 100

        ask(issued.secret, at=at + timedelta(seconds=30), network="198.51.100.0/24")
        assert ApiKey.unscoped.get().last_used_at == at
        ask(issued.secret, at=at + timedelta(seconds=60), network="198.51.100.0/24")
        assert ApiKey.unscoped.get().last_used_network == "198.51.100.0/24"

    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("203.0.113.77", "203.0.113.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"),
            ("unix:", ""), ("", ""), ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("fe80::1%eth0", "fe80::/48"), ("::1", "::/48"),
        ],
    )  # fmt: skip
    def test_keeps_the_network_alone(self, address, network):
        assert network_of(address) == network

    @pytest.mark.parametrize(
        ("proxies", "forwarded", "address"),
        [
            (0, "6.6.6.6", "10.0.0.1"), (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
            (2, "6.6.6.6, 203.0.113.7, 10.0.0.9", "203.0.113.7"), (2, "203.0.113.7", "203.0.113.7"),
            (1, "", "10.0.0.1"),
        ],
    )  # fmt: skip
    def test_believes_only_proxies_of_ours(self, settings, proxies, forwarded, address):
        """B6"""
        settings.ROOCLOUD_TRUSTED_PROXIES = proxies
        assert client_address("10.0.0.1", forwarded) == address
