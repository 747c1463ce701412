"""Asking for credit: who may, once; who answers, once; and who is told."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.actors import ORGANIZATION_KEY
from audit.models import Entry as Trail
from credits import actions, top_ups
from credits.models import Account, Entry, TopUp
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound
from tests import factories
from tests.credits.test_budget_pages import text_of


@pytest.fixture
def root(db):
    return factories.user("root@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def ask(bob, acme):
    def run(person=bob, org=acme, *, usd=25, key="k-1"):
        return top_ups.ask(
            by=factories.actor(person, org), amount_nanos=usd * USD, reason="The big\nmigration",
            key=key, at=timezone.now(),
        )  # fmt: skip

    return run


def grant(by, top_up, usd=25, *, org=None):
    return top_ups.grant(
        by=factories.actor(by, org), top_up_id=top_up.pk, amount_nanos=usd * USD, answer="Fine",
        at=timezone.now(),
    )  # fmt: skip


def decline(by, top_up, *, org=None, answer="Use the small model"):
    return top_ups.decline(
        by=factories.actor(by, org), top_up_id=top_up.pk, answer=answer, at=timezone.now()
    )


def balance(org) -> int:
    return Account.unscoped.get(organization=org).balance_nanos // USD


class TestAsking:
    def test_tells_who_may_answer_and_leaves_a_trace(
        self, ask, bob, alice, adam, rhea, root, mailoutbox, django_capture_on_commit_callbacks
    ):
        """L4: each is led to the page on which they can answer."""
        with django_capture_on_commit_callbacks(execute=True):
            made = ask()

        assert (made.state, made.reason) == ("asked", "The big migration")
        mails = {mail.to[0]: mail for mail in mailoutbox}
        assert set(mails) == {alice.email, adam.email, root.email}
        assert f"/admin/credits/topup/{made.pk}/decide/" in mails[root.email].body
        assert f"/billing/requests/{made.pk}" in mails[alice.email].body
        assert "bob@acme.example asks for $25.00 of credit for Acme" in mails[alice.email].body
        trace = Trail.objects.get(action="top_up.asked")
        assert (trace.actor_id, trace.target_id) == (bob.pk, made.pk)

    def test_the_same_page_asks_once(self, ask):
        """C6"""
        assert ask().pk == ask(usd=26).pk
        assert TopUp.unscoped.get().amount_nanos == 25 * USD

    def test_again_waits_for_the_answer(self, ask, bob, root):
        first = ask()
        with pytest.raises(top_ups.AlreadyAsked):
            ask(key="k-2")
        decline(root, first)
        assert ask(key="k-2").pk != first.pk

    def test_is_for_who_may_spend(self, ask, rhea, bob):
        with pytest.raises(Forbidden):
            ask(rhea)
        assert ask(bob, None).account.user_id == bob.pk

    @pytest.mark.parametrize(("usd", "field"), [(0, "amount"), (-1, "amount"), (10**9, "amount")])
    def test_needs_an_amount(self, ask, usd, field):
        with pytest.raises(InvalidInput) as refused:
            ask(usd=usd)
        assert refused.value.field == field


class TestTheAnswer:
    def test_a_grant_is_one_entry_of_the_ledger_however_often(
        self, ask, root, bob, acme, mailoutbox, django_capture_on_commit_callbacks
    ):
        """C6, L4"""
        made = ask()
        with django_capture_on_commit_callbacks(execute=True):
            assert grant(root, made, 20) is True
        assert grant(root, made, 30) is False

        assert balance(acme) == 20
        entry = Entry.unscoped.get()
        assert (entry.kind, entry.made_by_id, entry.note) == ("grant", root.pk, "Fine")
        made.refresh_from_db()
        assert (made.state, made.granted_nanos, made.decided_by_id) == (
            "granted",
            20 * USD,
            root.pk,
        )
        assert [mail.to for mail in mailoutbox] == [[bob.email]]
        assert "$20.00 of credit was added, of $25.00" in mailoutbox[0].body
        assert Trail.objects.filter(action__in=["top_up.granted", "credit.granted"]).count() == 2

    @pytest.mark.parametrize("who", ["alice", "adam", "bob", "rhea", "mallory"])
    def test_nobody_grants_without_the_right(self, ask, request, acme, evil, who):
        """A4: owners and admins neither; being staff is not enough, nor is the right without."""
        made = ask()
        person = request.getfixturevalue(who)
        for org in (None, evil if who == "mallory" else acme):
            with pytest.raises(Forbidden):
                grant(person, made, org=org)
        for flag in ("is_staff", "is_superuser"):
            person.is_staff, person.is_superuser = flag == "is_staff", flag == "is_superuser"
            person.save()
            with pytest.raises(Forbidden):
                grant(person, made)
        assert not Entry.unscoped.exists()

    def test_owners_and_admins_decline_and_members_do_not(
        self, ask, alice, adam, bob, mallory, acme, evil, root
    ):
        """A1: who is elsewhere is told nothing."""
        made = ask()
        with pytest.raises(Forbidden):
            decline(bob, made, org=acme)
        with pytest.raises(NotFound):
            decline(mallory, made, org=evil)
        with pytest.raises(NotFound):
            decline(alice, made)  # in her personal context
        with pytest.raises(InvalidInput) as refused:
            decline(adam, made, org=acme, answer=" ")
        assert refused.value.field == "answer"
        assert decline(adam, made, org=acme) is True
        assert decline(alice, made, org=acme) is False
        with pytest.raises(Conflict):
            grant(root, made)
        assert not Entry.unscoped.exists()

    def test_nobody_declines_their_own_by_being_alone(self, ask, bob):
        made = ask(bob, None)
        with pytest.raises(Forbidden):
            decline(bob, made)

    @pytest.mark.django_db(transaction=True)
    def test_of_many_at_once_one_counts(self, ask, root, acme):
        """C6: 20 grants, 20 declines and one effect."""
        made = ask()

        def answer(number):
            try:
                return grant(root, made) if number % 2 else decline(root, made)
            except Conflict:
                return False
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(answer, range(40)))

        assert done.count(True) == 1
        made.refresh_from_db()
        assert balance(acme) == made.granted_nanos // USD
        assert made.state in ("granted", "declined")

    def test_the_database_keeps_its_states_apart(self, ask):
        made = ask()
        for wrong in ({"state": "granted"}, {"granted_nanos": 1}, {"amount_nanos": 0}):
            with pytest.raises(IntegrityError), transaction.atomic():
                TopUp.unscoped.filter(pk=made.pk).update(**wrong)


class TestThePages:
    def test_from_the_form_to_the_answer(self, client, bob, adam, root, acme):
        """The same page sent twice asks once (C6); the admin's grant is one too."""
        client.force_login(bob)
        page = client.get("/billing/ask?amount=12").content.decode()
        assert 'value="12"' in page
        key = re.search(r'name="key" value="([^"]+)"', page)[1]
        for _ in range(2):
            sent = {"amount": "12.50", "reason": "For the release", "key": key}
            assert client.post("/billing/ask", sent).url == "/billing"
        made = TopUp.unscoped.get()
        assert "Ask for credit" not in text_of(client.get("/billing"))

        client.force_login(adam)
        assert "For the release" in text_of(client.get("/billing"))
        shown = text_of(client.get(f"/billing/requests/{made.pk}"))
        assert f"/budgets?for=member%3A{bob.pk}#new" in shown
        assert "decide" not in shown

        client.force_login(root)
        decide = f"/admin/credits/topup/{made.pk}/decide/"
        assert client.get(f"/admin/credits/topup/{made.pk}/change/").url == decide
        refused = client.post(decide, {"amount": "", "grant": ""})
        assert "must be above zero" in refused.content.decode()
        for _ in range(2):
            sent = {"amount": "12.5", "answer": "Here you are", "grant": ""}
            assert client.post(decide, sent).status_code == 302
        assert Account.unscoped.get().balance_nanos == 12_500_000_000

        client.force_login(bob)
        shown = text_of(client.get(f"/billing/requests/{made.pk}"))
        assert "<strong>$12.50</strong> was added" in shown
        assert "Here you are" in shown

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"amount": "x"}, "not an amount"), ({"amount": "0"}, "more than zero"),
            ({"amount": "-3"}, "more than zero"), ({"reason": " "}, "required"),
            ({"reason": "\0"}, "Null characters"), ({"amount": "0.0000000001"}, "finer"),
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_said_beside_the_field(self, client, bob, acme, wrong, said):
        client.force_login(bob)
        sent = {"amount": "5", "reason": "Kept as it was typed", "key": "k", **wrong}
        answer = client.post("/billing/ask", sent)
        assert answer.status_code == 200
        text = text_of(answer)
        assert said in text
        assert "errorlist" in text
        assert "reason" in wrong or "Kept as it was typed" in text
        assert not TopUp.unscoped.exists()

    def test_asking_again_while_one_waits_is_a_conflict_that_keeps_what_was_typed(
        self, client, ask, bob
    ):
        ask()
        client.force_login(bob)
        answer = client.post("/billing/ask", {"amount": "5", "reason": "More of it", "key": "k-2"})
        assert answer.status_code == 409
        assert "asked already" in text_of(answer)
        assert "More of it" in text_of(answer)

    def test_an_admin_declines_with_a_reason(self, client, ask, adam):
        made = ask()
        client.force_login(adam)
        page = f"/billing/requests/{made.pk}"
        assert "errorlist" in text_of(client.post(page, {"answer": ""}))
        assert client.post(page, {"answer": "Not this month"}).url == "/billing"
        made.refresh_from_db()
        assert (made.state, made.answer) == ("declined", "Not this month")

    def test_others_see_none_of_it(self, client, ask, bob, rhea, mallory, evil, root):
        """A1, A2: a foreign request is not found; the admin's page wants the right."""
        made = ask()
        for person in (rhea, mallory):
            client.force_login(person)
            assert client.get(f"/billing/requests/{made.pk}").status_code == 404
            assert client.post(f"/billing/requests/{made.pk}", {"answer": "x"}).status_code == 404
        client.force_login(rhea)
        assert client.get("/billing/ask").status_code == 403
        assert (
            client.post("/billing/ask", {"amount": "5", "reason": "x", "key": "k"}).status_code
            == 403
        )
        client.force_login(bob)
        assert client.post(f"/billing/requests/{made.pk}", {"answer": "x"}).status_code == 403
        assert client.post(f"/admin/credits/topup/{made.pk}/decide/").status_code == 302
        clerk = factories.user("clerk@example.com", is_staff=True)
        client.force_login(clerk)
        assert client.get(f"/admin/credits/topup/{made.pk}/decide/").status_code == 403
        made.refresh_from_db()
        assert made.state == "asked"

    def test_in_another_context_it_is_not_there(self, client, ask, bob):
        made = ask()
        client.force_login(bob)
        session = client.session
        session[ORGANIZATION_KEY] = ""
        session.save()
        assert client.get(f"/billing/requests/{made.pk}").status_code == 404


def test_credit_asked_for_is_the_contexts_own(ask, bob, acme):
    """A3: the account comes from who asks."""
    in_acme, own = ask(), ask(bob, None, key="k-3")
    assert in_acme.account.organization_id == acme.pk
    assert (own.account.user_id, own.account.organization_id) == (bob.pk, None)
    assert (
        actions.account_of(user_id=bob.pk, organization_id=None, at=timezone.now()) == own.account
    )
