"""Budgets: C3 for limits beside the balance, and what people are told."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db import connections
from django.utils import timezone

from credits import actions, budgets
from credits.models import Account, Budget, BudgetSpan
from roocloud.lib.ids import new_id
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound
from tests import factories

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def account(alice, acme) -> Account:
    made = actions.account_of(user_id=alice.pk, organization_id=acme.pk, at=NOON)
    actions.grant(account=made, amount_nanos=100 * USD, key="g", by=None, at=NOON, note="")
    return made


@pytest.fixture
def limit(account, alice, acme):
    """``limit("member", 5, subject=…)``: a budget in USD."""

    def make(scope="account", usd=10, *, period="month", subject="", at=NOON) -> Budget:
        return budgets.put_budget(
            by=factories.actor(alice, acme), account=account, scope=scope, subject=subject,
            period=period, limit_nanos=usd * USD, at=at,
        )  # fmt: skip

    return make


def hold(account, usd, *, at=NOON, **subjects):
    request = actions.HoldRequest(account.pk, int(usd * USD), subjects)
    (placed,) = actions.place_holds([request], at=at)
    return placed


def hold_with_spare(account, usd, *, spare):
    request = actions.HoldRequest(account.pk, usd * USD, {}, spare_nanos=spare * USD)
    (placed,) = actions.place_holds([request], at=NOON)
    return placed


def spend(account, usd, *, at=NOON, **subjects):
    placed = hold(account, usd, at=at, **subjects)
    if isinstance(placed, Exception):
        raise placed
    settle(placed, usd, at=at)


def settle(placed, usd, *, at=NOON):
    charge = actions.Charge(placed, new_id("run"), int(usd * USD))
    actions.settle_holds([charge], closing=[placed], at=at)


class TestSpareRoom:
    """What lies idle for later calls is never what another one lacks."""

    def test_is_set_aside_where_there_is_plenty(self, account):  # it has $100
        assert hold_with_spare(account, 1, spare=4).amount_nanos == 5 * USD
        assert Account.unscoped.get().held_nanos == 5 * USD

    def test_is_not_where_credit_runs_low(self, account):
        spend(account, 30)
        assert hold_with_spare(account, 1, spare=4).amount_nanos == 1 * USD

    def test_is_not_where_a_budget_runs_low(self, account, limit):
        limit(usd=50)
        assert hold_with_spare(account, 1, spare=4).amount_nanos == 1 * USD
        assert BudgetSpan.unscoped.get().held_nanos == 1 * USD

    def test_counts_against_budgets_like_the_rest(self, account, limit):
        limit(usd=90)
        placed = hold_with_spare(account, 1, spare=4)
        assert BudgetSpan.unscoped.get().held_nanos == placed.amount_nanos == 5 * USD
        settle(placed, 1)
        assert BudgetSpan.unscoped.get().held_nanos == 0


class TestRoom:
    def test_every_budget_that_matches_must_have_it_and_the_tightest_is_named(self, account, limit):
        """MO1"""
        limit("account", 20)
        limit("member", 5, subject="user_bob")
        limit("model", 8, subject="v/m")

        spend(account, 4, member="user_bob", model="v/m")
        refused = hold(account, 5, member="user_bob", model="v/m")

        assert isinstance(refused, budgets.BudgetExhausted)
        assert "Your monthly budget of $5.00 is used up: $4.00 spent" in refused.message
        assert "begins anew on 1 April" in refused.message
        assert "an admin of your organization" in refused.message
        assert not isinstance(hold(account, 4, member="user_eve", model="v/m"), Exception)
        assert isinstance(hold(account, 1, member="user_eve", model="v/m"), Exception)
        assert not isinstance(hold(account, 1, member="user_eve", model="v/other"), Exception)

    def test_what_is_set_aside_is_not_free(self, account, limit):
        limit("account", 10)
        first = hold(account, 7)
        assert "$7.00 set aside" in hold(account, 4).message
        settle(first, 1)
        assert not isinstance(hold(account, 4), Exception)

    def test_a_refusal_sets_nothing_aside_anywhere(self, account, limit):
        limit("account", 50)
        limit("model", 1, subject="v/m")
        assert isinstance(hold(account, 5, model="v/m"), Exception)
        account.refresh_from_db()
        assert account.held_nanos == 0
        assert not BudgetSpan.unscoped.filter(held_nanos__gt=0).exists()

    def test_one_for_each_member_counts_apart(self, account, limit):
        limit("member", 5)
        spend(account, 5, member="user_bob")
        assert isinstance(hold(account, 1, member="user_bob"), Exception)
        spend(account, 5, member="user_eve")

    @pytest.mark.parametrize(
        ("period", "same", "later"),
        [
            ("day", timedelta(hours=11), timedelta(hours=12)),
            ("week", timedelta(days=4, hours=11), timedelta(days=4, hours=12)),
            ("month", timedelta(days=13, hours=11), timedelta(days=13, hours=12)),
        ],
    )
    def test_begins_anew_with_its_period(self, account, limit, period, same, later):
        limit("account", 5, period=period)
        spend(account, 5)
        assert isinstance(hold(account, 1, at=NOON + same), Exception)
        spend(account, 5, at=NOON + later)

    def test_a_total_never_does(self, account, limit):
        limit("account", 5, period="total")
        spend(account, 5)
        refused = hold(account, 1, at=NOON + timedelta(days=4000))
        assert "anew" not in refused.message

    def test_counts_what_was_spent_before_it_was_made(self, account, limit):
        spend(account, 3, at=NOON - timedelta(days=40))
        spend(account, 4, member="user_bob")
        limit("account", 5, at=NOON + timedelta(hours=1))
        limit("member", 4, at=NOON + timedelta(hours=1))
        later = NOON + timedelta(hours=2)
        assert "budget of $5.00" in hold(account, 2, at=later, member="user_eve").message
        assert isinstance(hold(account, 1, at=later, member="user_bob"), Exception)
        assert not isinstance(hold(account, 1, at=later, member="user_eve"), Exception)

    def test_zero_stops_what_costs_and_not_what_is_free(self, account, limit):
        limit("model", 0, subject="v/m")
        assert isinstance(hold(account, 1, model="v/m"), Exception)
        assert not isinstance(hold(account, 0, model="v/m"), Exception)

    def test_costs_one_query_where_there_are_none(self, account, django_assert_num_queries):
        requests = [actions.HoldRequest(account.pk, USD) for _ in range(20)]
        with django_assert_num_queries(4):
            actions.place_holds(requests, at=NOON)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_do_not_overspend_a_budget(account, limit):
    """C3"""
    limit("member", 1, subject="user_bob")

    def run(_: int) -> bool:
        try:
            placed = hold(account, 0.1, member="user_bob")
            if isinstance(placed, Exception):
                return False
            settle(placed, 0.1)
            return True
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(run, range(100))) == 10
    span = BudgetSpan.unscoped.get()
    assert (span.spent_nanos, span.held_nanos) == (USD, 0)


@pytest.mark.django_db(transaction=True)
class TestTheWarning:
    def test_reaches_the_admins_and_the_member_once(self, account, limit, bob):
        limit("member", 10, subject=bob.pk, at=timezone.now())
        for usd in (7, 1, 1):
            spend(account, usd, at=timezone.now(), member=bob.pk)
        told = sorted(to for message in mail.outbox for to in message.to)
        assert told == ["adam@acme.example", "alice@acme.example", "bob@acme.example"]
        assert "nearly used up" in mail.outbox[0].subject
        assert "$8.00 is spent" in mail.outbox[0].body

    @pytest.mark.parametrize("scope", ["member", "key", "model"])
    def test_names_what_it_is_about(self, account, acme, limit, bob, scope):
        key = factories.api_key(bob, acme, name="Nightly build").key
        subject, name = {
            "member": (bob.pk, "Bob"), "key": (key.pk, str(key)), "model": ("v/m", "v/m"),
        }[scope]  # fmt: skip
        limit(scope, 10, at=timezone.now())  # for each of them

        spend(account, 9, at=timezone.now(), **{scope: subject})

        body = mail.outbox[0].body
        assert f"Of a monthly budget of $10.00 for {name}, $9.00 is spent" in body
        assert "user_" not in body
        assert "key_" not in body


class TestSettingThem:
    def test_again_changes_the_limit(self, limit):
        limit("account", 10)
        limit("account", 20)
        assert Budget.unscoped.get().limit_nanos == 20 * USD

    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            ({"scope": "x"}, "scope"), ({"period": "x"}, "period"), ({"usd": -1}, "limit"),
            ({"usd": 10**9}, "limit"), ({"subject": "x"}, "subject"),
        ],
    )  # fmt: skip
    def test_bad_facts_are_named(self, limit, facts, field):
        with pytest.raises(InvalidInput) as refused:
            limit(**facts)
        assert refused.value.field == field

    def test_is_for_admins_of_the_same_organization(self, account, limit, bob, mallory, acme, evil):
        """A1, A2"""
        budget = limit("account", 10)
        strangers = [
            factories.actor(bob, acme),
            factories.actor(mallory, evil),
            factories.actor(bob),
        ]
        for stranger in strangers:
            with pytest.raises(Forbidden):
                budgets.put_budget(
                    by=stranger, account=account, scope="account", subject="", period="day",
                    limit_nanos=1, at=NOON,
                )  # fmt: skip
            with pytest.raises((Forbidden, NotFound)):
                budgets.remove_budget(by=stranger, budget_id=budget.pk, at=NOON)
        assert Budget.unscoped.count() == 1

    def test_removing_one_lets_its_holds_settle(self, account, limit, alice, acme):
        budget = limit("account", 10)
        held = hold(account, 5)
        budgets.remove_budget(by=factories.actor(alice, acme), budget_id=budget.pk, at=NOON)
        settle(held, 1)
        account.refresh_from_db()
        assert (account.balance_nanos, account.held_nanos) == (99 * USD, 0)
