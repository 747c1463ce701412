"""Several people at once, and links that several people join by; A4, B6, B7."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import Entry
from orgs import actions, addresses, tasks
from orgs.models import Domain, Invitation, Membership
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound, Refusal, TooManyRequests
from tests import factories

PASTE = """
New One <new@x.example>, second@x.example;third@x.example
bob@acme.example
NEW@x.example
not an address
"""


def many(org, by, entries=PASTE, role="member", **options):
    return actions.invite_many(
        organization=org, entries=entries, role=role, by=factories.actor(by, org),
        at=timezone.now(), **options,
    )  # fmt: skip


def link(org, by, role="member", max_uses=2, **options):
    return actions.make_link(
        organization=org, role=role, max_uses=max_uses, by=factories.actor(by, org),
        at=timezone.now(), **options,
    )  # fmt: skip


def own_domain(org, name="acme.example"):
    at = timezone.now()
    Domain.unscoped.create(organization=org, name=name, token="t", created_at=at, verified_at=at)


def accept(secret, person, verified=None, at=None):
    return actions.accept_invitation(
        secret=secret,
        user=person,
        verified={person.email} if verified is None else verified,
        at=at or timezone.now(),
    )


def role_of(person, org):
    return Membership.unscoped.filter(user=person, organization=org).values_list("role").first()


class TestManyAtOnce:
    def test_each_line_has_its_outcome(self, alice, bob, acme):
        found = [(one.entry, one.refusal) for one in many(acme, alice)]
        assert found == [
            ("New One <new@x.example>", ""),
            ("second@x.example", ""),
            ("third@x.example", ""),
            ("bob@acme.example", "is a member already"),
            ("NEW@x.example", "stands here twice"),
            ("not an address", "is not an e-mail address"),
        ]
        assert set(Invitation.unscoped.values_list("email", flat=True)) == {
            "new@x.example", "second@x.example", "third@x.example",
        }  # fmt: skip
        assert Entry.objects.filter(action="invitation.created").count() == 3

    def test_a_later_one_takes_the_place_of_an_earlier(self, alice, mallory, acme):
        [first] = many(acme, alice, mallory.email)
        [second] = many(acme, alice, mallory.email, role="admin")
        with pytest.raises(NotFound):
            accept(first.secret, mallory)
        assert accept(second.secret, mallory).role == "admin"

    def test_two_hundred_cost_a_few_queries(self, alice, acme, django_assert_max_num_queries):
        """SQLite takes a thousand values at a time, so there they are four statements more."""
        entries = "\n".join(f"p{n}@x.example" for n in range(200))
        with django_assert_max_num_queries(16):
            assert len(many(acme, alice, entries)) == 200

    def test_has_bounds(self, alice, acme, monkeypatch):
        """B6"""
        with pytest.raises(InvalidInput, match="200 addresses"):
            many(acme, alice, "a@x.example," * 201)
        with pytest.raises(InvalidInput, match="at least one"):
            many(acme, alice, " ,\n;")
        monkeypatch.setattr("orgs.actions.invitations.MAX_PER_HOUR", 4)
        many(acme, alice)
        for act in (
            lambda: many(acme, alice, "d@x.example,e@x.example"),
            lambda: [link(acme, alice) for _ in range(2)],
        ):
            with pytest.raises(TooManyRequests), transaction.atomic():
                act()
        many(acme, alice, "d@x.example")

    def test_offers_no_more_than_its_maker_holds(self, adam, bob, acme):
        """A4"""
        with pytest.raises(Forbidden):
            many(acme, adam, role="owner")
        with pytest.raises(Forbidden):
            many(acme, bob)
        assert not Invitation.unscoped.exists()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(max_size=80))
    def test_any_text_is_read_as_addresses_or_not(self, text):
        """F5"""
        for entry in addresses.entries(text):
            found = addresses.address(entry)
            assert found == "" or ("@" in found and found == found.lower().strip())


class TestALink:
    def test_lets_several_people_join_and_no_more(self, alice, mallory, acme):
        made, secret = link(acme, alice, max_uses=2)
        people = [factories.user(f"p{n}@x.example") for n in range(3)]
        assert [accept(secret, one).role for one in people[:2]] == ["member", "member"]
        with pytest.raises(NotFound):
            accept(secret, people[2])
        made.refresh_from_db()
        assert made.uses == 2

    def test_is_not_used_up_by_members(self, alice, bob, acme):
        made, secret = link(acme, alice, max_uses=1, role="admin")
        assert accept(secret, bob).role == "member"
        made.refresh_from_db()
        assert made.uses == 0

    def test_needs_a_verified_address(self, alice, mallory, acme):
        """B7"""
        _, secret = link(acme, alice)
        with pytest.raises(Forbidden, match="verified address"):
            accept(secret, mallory, verified=set())
        assert role_of(mallory, acme) is None

    def test_may_ask_for_an_address_at_a_domain(self, alice, mallory, acme):
        """B7"""
        own_domain(acme)
        _, secret = link(acme, alice, domain="acme.example")
        for verified in (
            {"x@evil.example"}, {"x@sub.acme.example"}, {"x@acme.example.evil.example"},
            {"acme.example@evil.example"}, set(),
        ):  # fmt: skip
            with pytest.raises(Forbidden, match="for addresses at"):
                accept(secret, mallory, verified=verified)
        accept(secret, mallory, verified={"m@evil.example", "m@acme.example"})

    def test_ends_is_revoked_and_is_renewed(self, alice, mallory, acme):
        by, at = factories.actor(alice, acme), timezone.now()
        made, secret = link(acme, alice, lifetime=timedelta(days=1))
        with pytest.raises(NotFound):
            accept(secret, mallory, at=at + timedelta(days=1, seconds=1))
        newer = actions.new_link(invitation=made, by=by, at=at)
        with pytest.raises(NotFound):
            accept(secret, mallory)
        actions.revoke_invitation(invitation=made, by=by, at=at)
        with pytest.raises(NotFound):
            accept(newer, mallory)
        with pytest.raises(NotFound):
            actions.new_link(invitation=made, by=by, at=at)

    def test_grants_no_more_than_its_maker_could_now(self, alice, adam, mallory, acme):
        """A4"""
        at = timezone.now()
        _, secret = link(acme, adam, role="admin")
        actions.put_member(organization=acme, user=adam, role="member", by=None, at=at)
        with pytest.raises(NotFound):
            accept(secret, mallory)
        actions.put_member(organization=acme, user=adam, role="admin", by=None, at=at)
        assert accept(secret, mallory).role == "admin"

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [({"role": "owner"}, "role"), ({"role": "king"}, "role"), ({"max_uses": 0}, "max_uses"),
         ({"max_uses": 1001}, "max_uses"), ({"lifetime": timedelta()}, "days"),
         ({"lifetime": timedelta(days=91)}, "days")],
    )  # fmt: skip
    def test_has_bounds(self, alice, acme, wrong, field):
        with pytest.raises(InvalidInput) as refused:
            link(acme, alice, **wrong)
        assert refused.value.field == field

    def test_the_database_counts_too(self, alice, acme):
        made, _ = link(acme, alice)
        rows = Invitation.unscoped.filter(pk=made.pk)
        for wrong in ({"uses": 3}, {"max_uses": 0}, {"email": "a@x.example"}):
            with pytest.raises(IntegrityError), transaction.atomic():
                rows.update(**wrong)

    @pytest.mark.django_db(transaction=True)
    def test_lets_no_more_join_when_all_come_at_once(self, alice, acme):
        made, secret = link(acme, alice, max_uses=3)
        people = [factories.user(f"p{n}@x.example") for n in range(12)]

        def join(person) -> bool:
            try:
                accept(secret, person)
            except Refusal:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(6) as pool:
            joined = sum(pool.map(join, people))

        made.refresh_from_db()
        assert (joined, made.uses) == (3, 3)


class TestThePage:
    @pytest.fixture
    def page(self, client, adam, acme):
        client.force_login(adam)
        return f"/organizations/{acme.pk}/invitations"

    def fields(self, **changed):
        return {"do": "invite", "entries": PASTE, "role": "member", "days": "7",
                "deliver": "links", **changed}  # fmt: skip

    def test_shows_the_links_of_a_paste_once(self, client, page):
        shown = client.post(page, self.fields()).content.decode()
        links = set(re.findall(r"/invitations/inv_[\w-]+", shown))
        assert len(links) == 3
        assert shown.count("Not invited") == 3
        assert "no-store" in client.post(page, self.fields())["Cache-Control"]
        listed = client.get(page).content.decode()
        assert not any(link in listed for link in links)
        assert "second@x.example" in listed

    def test_mails_a_link_that_works(
        self, client, page, acme, mailoutbox, django_capture_on_commit_callbacks
    ):
        """I1: no link waits in a queue, so a mail sent twice would be of one invitation."""
        with django_capture_on_commit_callbacks(execute=True):
            shown = client.post(page, self.fields(deliver="mail")).content
        assert b"/invitations/inv_" not in shown
        assert sorted(mail.to[0] for mail in mailoutbox) == [
            "new@x.example", "second@x.example", "third@x.example",
        ]  # fmt: skip
        mail = next(mail for mail in mailoutbox if mail.to == ["new@x.example"])
        assert "Adam (adam@acme.example) invites you to join Acme" in mail.body
        secret = re.search(r"/invitations/(\S+)", mail.body)[1]
        invitation = Invitation.unscoped.get(email="new@x.example")
        assert invitation.mailed_at
        tasks.mail_invitation(invitation_id=invitation.pk)
        assert len(mailoutbox) == 3
        assert accept(secret, factories.user("new@x.example")).organization == acme

    def test_makes_a_link_and_another_one(self, client, page, acme, mallory):
        shown = client.post(page, {"do": "link", "role": "member", "max_uses": "5", "days": "1"})
        first = re.search(r"/invitations/(inv_[\w-]+)", shown.content.decode())[1]
        invitation = Invitation.unscoped.get()
        shown = client.post(f"{page}/{invitation.pk}/link")
        second = re.search(r"/invitations/(inv_[\w-]+)", shown.content.decode())[1]
        assert first != second
        assert accept(second, mallory).organization == acme
        assert b"1 of 5 joined" in client.get(page).content

    @pytest.mark.parametrize(
        ("sent", "said"),
        [
            ({"role": "owner"}, b"Only an owner invites owners"),
            ({"role": "king"}, b"Select a valid choice"),
            ({"entries": ""}, b"This field is required"),
            ({"days": "4000"}, b"Select a valid choice"),
            ({"deliver": "pigeon"}, b"Select a valid choice"),
        ],
    )
    def test_keeps_what_was_typed_and_says_what_is_wrong(self, client, page, sent, said):
        """A4: adam is no owner."""
        answer = client.post(page, self.fields(**sent))
        assert answer.status_code == 400
        assert said in answer.content
        assert ("entries" in sent) or b"second@x.example" in answer.content
        assert not Invitation.unscoped.exists()

    def test_is_for_admins(self, client, page, bob, acme):
        """A1, A3"""
        client.force_login(bob)
        assert client.get(page).status_code == 403
        assert client.post(page, self.fields()).status_code == 403
        assert not Invitation.unscoped.exists()

    def test_lists_fifty_at_the_cost_of_one(
        self, client, page, alice, acme, django_assert_num_queries, django_assert_max_num_queries
    ):
        many(acme, alice, "a@x.example")
        client.get(page)
        with django_assert_max_num_queries(20) as few:
            client.get(page)
        many(acme, alice, ",".join(f"p{n}@x.example" for n in range(80)))
        with django_assert_num_queries(len(few.captured_queries)):
            shown = client.get(page).content
        assert b"Page 1 of 2" in shown


def test_a_newcomer_signs_up_by_a_link_verifies_and_joins(
    client, alice, acme, settings, mailoutbox
):
    """B7: by a link for a domain, with an address there and no other."""
    settings.ROOCLOUD_SIGNUP = "invitation"
    own_domain(acme)
    _, secret = link(acme, alice, domain="acme.example")
    path = f"/invitations/{secret}"
    assert b"addresses at <strong>acme.example</strong>" in client.get(path).content
    fields = {"email": "x@evil.example", "password1": factories.PASSWORD, "next": path}
    assert b"not the address" in client.post("/accounts/signup/", fields).content
    client.post("/accounts/signup/", {**fields, "email": "Zoe@acme.example"})
    page = client.get(path).content.decode()
    assert "show that zoe@acme.example is yours" in page
    assert client.post(path).status_code == 403

    mailed = urlsplit(re.search(r"https?://\S+/confirm-email/\S+", mailoutbox[-1].body)[0])
    client.post(mailed.path)
    assert EmailAddress.objects.get(email="zoe@acme.example").verified
    assert b">Join<" in client.get(path).content
    assert client.post(path)["Location"] == f"/organizations/{acme.pk}"
    assert Membership.unscoped.get(user__email="zoe@acme.example").role == "member"
