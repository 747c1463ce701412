"""Domains: proven by the DNS, never of public mail, joined by with a verified address; B7."""

from datetime import timedelta
from types import SimpleNamespace

import dns.exception
import dns.resolver
import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.models import Entry
from orgs import actions, public_mail, tasks
from orgs.models import Departure, Domain, Membership
from roocloud.lib import lookups
from roocloud.lib.refusals import (
    Conflict,
    Forbidden,
    InvalidInput,
    TooManyRequests,
    Unavailable,
)
from tests import factories

DAY = timedelta(days=1)


@pytest.fixture
def zone(monkeypatch):
    """What the DNS says: texts by name; an exception where it fails."""
    texts: dict[str, object] = {}

    def resolve(_self, name, kind, *, lifetime, search):
        assert (kind, lifetime <= 5, search) == ("TXT", True, False)
        found = texts.get(name)
        if found is None:
            raise dns.resolver.NXDOMAIN
        if isinstance(found, Exception):
            raise found
        return [SimpleNamespace(strings=[text.encode()]) for text in found]

    monkeypatch.setattr("dns.resolver.Resolver.__init__", lambda self: None)
    monkeypatch.setattr("dns.resolver.Resolver.resolve", resolve)
    return texts


def add(org, by, name="acme.example", at=None):
    return actions.add_domain(
        organization=org, name=name, by=factories.actor(by, org), at=at or timezone.now()
    )


def verify(domain, by, at=None):
    actions.verify_domain(
        domain=domain, by=factories.actor(by, domain.organization), at=at or timezone.now()
    )


def publish(zone, domain):
    zone[actions.record_name(domain)] = ["v=spf1 -all", actions.record_text(domain)]


@pytest.fixture
def owned(zone, alice, acme):
    domain = add(acme, alice)
    publish(zone, domain)
    verify(domain, alice)
    actions.set_joining(
        domain=domain, is_on=True, by=factories.actor(alice, acme), at=timezone.now()
    )
    return domain


def person(email, *, verified=True):
    made = factories.user(email)
    EmailAddress.objects.create(user=made, email=email, verified=verified, primary=True)
    return made


def role_of(user, org):
    return (
        Membership.unscoped.filter(user=user, organization=org)
        .values_list("role", flat=True)
        .first()
    )


class TestProof:
    def test_is_the_record_of_this_organization(self, zone, alice, acme, evil, mallory):
        domain, theirs = add(acme, alice), add(evil, mallory)
        assert domain.token != theirs.token
        publish(zone, theirs)
        with pytest.raises(InvalidInput, match="not there yet"):
            verify(domain, alice)
        domain.refresh_from_db()
        assert domain.verified_at is None
        publish(zone, domain)
        verify(domain, alice, at=timezone.now() + timedelta(minutes=1))
        domain.refresh_from_db()
        assert domain.verified_at
        assert Entry.objects.filter(action="domain.verified", target_id="acme.example").count() == 1

    def test_belongs_to_one_organization(self, zone, owned, evil, mallory):
        theirs = add(evil, mallory)
        publish(zone, theirs)
        with pytest.raises(Conflict):
            verify(theirs, mallory)
        with pytest.raises(IntegrityError), transaction.atomic():
            Domain.unscoped.filter(pk=theirs.pk).update(verified_at=timezone.now())

    @pytest.mark.parametrize(
        "fault", [dns.exception.Timeout(), dns.resolver.NoNameservers(), OSError("no network")]
    )
    def test_says_nothing_where_the_dns_does_not_answer(self, zone, alice, acme, fault):
        domain = add(acme, alice)
        zone[actions.record_name(domain)] = fault
        with pytest.raises(Unavailable):
            verify(domain, alice)

    def test_is_not_looked_for_again_and_again(self, zone, alice, acme):
        domain, at = add(acme, alice), timezone.now()
        for after_s, refusal in ((0, InvalidInput), (4, TooManyRequests), (5, InvalidInput)):
            with pytest.raises(refusal):
                verify(domain, alice, at=at + timedelta(seconds=after_s))

    @pytest.mark.parametrize(
        "name",
        ["gmail.com", "GMX.de.", "example", "", "a b.example", "http://acme.example", "-a.example",
         "acme.example/x", "a..example", "10.0.0.1:5", "münchen.example", "x" * 250 + ".example"],
    )  # fmt: skip
    def test_is_not_for_public_mail_nor_for_what_is_no_domain(self, alice, acme, name):
        with pytest.raises(InvalidInput) as refused:
            add(acme, alice, name)
        assert refused.value.field == "name"

    def test_of_the_same_domain_is_asked_for_once(self, alice, acme):
        add(acme, alice)
        with pytest.raises(InvalidInput, match="already"):
            add(acme, alice, "ACME.example.")

    def test_is_for_admins(self, owned, bob, acme):
        """A4"""
        by, at = factories.actor(bob, acme), timezone.now()
        for act in (
            lambda: add(acme, bob, "b.example"),
            lambda: verify(owned, bob),
            lambda: actions.set_joining(domain=owned, is_on=False, by=by, at=at),
            lambda: actions.remove_domain(domain=owned, by=by, at=at),
        ):
            with pytest.raises(Forbidden):
                act()

    def test_public_mail_is_in_lower_case(self):
        assert all(name == name.lower().strip() and "." in name for name in public_mail.DOMAINS)
        assert len(public_mail.DOMAINS) > 150


class TestTheNight:
    def test_forgets_a_domain_after_three_days_without_its_record(self, zone, owned):
        at = timezone.now()
        zone.clear()
        for days, is_verified in ((0, True), (2.9, True), (3.1, False)):
            actions.recheck_domain(domain_id=owned.pk, at=at + days * DAY)
            owned.refresh_from_db()
            assert bool(owned.verified_at) == is_verified
        assert Entry.objects.filter(action="domain.lost").count() == 1

    def test_forgives_a_record_that_comes_back_and_a_dns_that_fails(self, zone, owned):
        at = timezone.now()
        zone.clear()
        actions.recheck_domain(domain_id=owned.pk, at=at)
        publish(zone, owned)
        actions.recheck_domain(domain_id=owned.pk, at=at + DAY)
        zone[actions.record_name(owned)] = dns.exception.Timeout()
        actions.recheck_domain(domain_id=owned.pk, at=at + 5 * DAY)
        owned.refresh_from_db()
        assert (bool(owned.verified_at), owned.missing_since) == (True, None)

    def test_looks_at_every_verified_domain(self, zone, owned, alice, acme):
        add(acme, alice, "new.example")
        zone.clear()
        tasks.recheck_domains()
        owned.refresh_from_db()
        assert owned.missing_since
        assert Domain.unscoped.get(name="new.example").checked_at is None


class TestJoining:
    def test_happens_at_sign_in_with_a_verified_address(self, client, owned, acme):
        """B7"""
        zoe, max_ = person("zoe@acme.example"), person("max@acme.example", verified=False)
        for one in (zoe, max_):
            client.post("/accounts/login/", {"login": one.email, "password": factories.PASSWORD})
            client.logout()
        assert role_of(zoe, acme) == "member"
        assert role_of(max_, acme) is None

    @pytest.mark.parametrize(
        "email", ["z@sub.acme.example", "z@acme.example.evil.example", "z@notacme.example"]
    )
    def test_is_for_that_domain_alone(self, owned, acme, email):
        assert actions.join_by_domain(user=person(email), verified=[email], at=timezone.now()) == []

    def test_happens_when_an_address_is_confirmed(self, client, owned, acme, mailoutbox):
        zoe = person("zoe@acme.example", verified=False)
        client.force_login(zoe)
        client.post("/accounts/email/", {"email": zoe.email, "action_send": "1"})
        link = next(word for word in mailoutbox[-1].body.split() if "/confirm-email/" in word)
        client.post("/" + link.partition("//")[2].partition("/")[2])
        assert role_of(zoe, acme) == "member"

    def test_is_never_by_a_domain_that_is_not_proven_or_lets_nobody_join(self, owned, alice, acme):
        zoe, at = person("zoe@acme.example"), timezone.now()
        by = factories.actor(alice, acme)
        actions.set_joining(domain=owned, is_on=False, by=by, at=at)
        assert actions.join_by_domain(user=zoe, verified=[zoe.email], at=at) == []
        actions.set_joining(domain=owned, is_on=True, by=by, at=at)
        Domain.unscoped.update(verified_at=None)
        assert actions.join_by_domain(user=zoe, verified=[zoe.email], at=at) == []

    def test_does_not_bring_back_who_was_taken_out(self, owned, alice, acme):
        zoe, at = person("zoe@acme.example"), timezone.now()
        by = factories.actor(alice, acme)
        assert len(actions.join_by_domain(user=zoe, verified=[zoe.email], at=at)) == 1
        actions.remove_member(organization=acme, user_id=zoe.pk, by=by, at=at)
        assert actions.join_by_domain(user=zoe, verified=[zoe.email], at=at) == []
        actions.put_member(organization=acme, user=zoe, role="member", by=by, at=at)
        assert not Departure.unscoped.exists()

    def test_changes_no_role(self, owned, alice, acme):
        at = timezone.now()
        assert actions.join_by_domain(user=alice, verified=["a@acme.example"], at=at) == []
        assert role_of(alice, acme) == "owner"


class TestThePage:
    def test_adds_checks_and_removes(self, client, zone, adam, acme):
        client.force_login(adam)
        page = f"/organizations/{acme.pk}/domains"
        client.post(page, {"name": "Acme.example"})
        domain = Domain.unscoped.get()
        assert actions.record_text(domain).encode() in client.get(page).content
        answer = client.post(f"{page}/{domain.pk}", {"do": "check"}, follow=True)
        assert b"The record is not there yet" in answer.content
        publish(zone, domain)
        Domain.unscoped.update(checked_at=None)
        answer = client.post(f"{page}/{domain.pk}", {"do": "check"}, follow=True)
        assert b"acme.example is verified" in answer.content
        client.post(f"{page}/{domain.pk}", {"do": "join"})
        assert b"join as members" in client.get(page).content
        client.post(f"{page}/{domain.pk}", {"do": "remove"})
        assert b"No domain yet" in client.get(page).content

    def test_keeps_what_was_typed(self, client, adam, acme):
        client.force_login(adam)
        answer = client.post(f"/organizations/{acme.pk}/domains", {"name": "gmail.com"})
        assert answer.status_code == 400
        assert b'value="gmail.com"' in answer.content
        assert b"nobody&#x27;s own" in answer.content

    def test_offers_proven_domains_for_links(self, client, owned, alice, adam, acme):
        add(acme, alice, "other.example")
        client.force_login(adam)
        page = f"/organizations/{acme.pk}/invitations"
        assert b"Only at acme.example" in client.get(page).content
        fields = {"do": "link", "role": "member", "max_uses": "5", "days": "1"}
        assert client.post(page, {**fields, "domain": "other.example"}).status_code == 400
        shown = client.post(page, {**fields, "domain": "acme.example"}).content
        assert b"A link for 5 people at acme.example" in shown


def test_a_name_without_records_has_none_and_long_texts_are_joined(monkeypatch):
    texts = [SimpleNamespace(strings=[b"a" * 255, b"b"]), SimpleNamespace(strings=[b"\xff"])]
    monkeypatch.setattr("dns.resolver.Resolver.__init__", lambda self: None)
    monkeypatch.setattr("dns.resolver.Resolver.resolve", lambda *_a, **_o: texts)
    assert lookups.txt_records("x.example") == ["a" * 255 + "b", "\ufffd"]
