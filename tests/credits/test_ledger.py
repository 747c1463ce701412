"""Money: C1, C3, C8. People's credit is never overspent, and the books prove themselves."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import Entry as AuditEntry
from credits import actions, queries
from credits.models import Account, Entry, Hold
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import InvalidInput
from tests import factories


def give(account, usd, key="gift"):
    return actions.grant(
        account=account, amount_nanos=usd * USD, key=key, by=None, at=timezone.now(), note="test"
    )


def hold(account, nanos):
    request = actions.HoldRequest(account.pk, nanos)
    (placed,) = actions.place_holds([request], at=timezone.now())
    if isinstance(placed, Exception):
        raise placed
    return placed


def settle(held, nanos, key="run-1"):
    """Charge it and close it; whether it was open."""
    charge = actions.Charge(held, key, nanos)
    (was_open,) = actions.settle_holds([charge], closing=[held], at=timezone.now())
    return was_open


@pytest.fixture
def account(alice) -> Account:
    made = actions.account_of(user_id=alice.pk, organization_id=None, at=timezone.now())
    give(made, 10)
    return made


class TestAHold:
    def test_is_refused_beyond_what_open_holds_leave_free(self, account):
        """C3"""
        hold(account, 7 * USD)
        with pytest.raises(actions.InsufficientCredit, match=r"\$10.00 left.*\$7.00 is set aside"):
            hold(account, 4 * USD)
        assert account.holds.count() == 1

    def test_is_one_for_what_asks_at_the_same_moment(self, account):
        requests = [actions.HoldRequest(account.pk, usd * USD) for usd in (3, 4, 4, 2)]
        placed = actions.place_holds(requests, at=timezone.now())
        assert isinstance(placed[2], actions.InsufficientCredit)
        assert placed[0] is placed[1] is placed[3]
        assert Hold.unscoped.get().amount_nanos == 9 * USD

    def test_is_charged_once_for_each_completion_however_many_try(self, account):
        """C8"""
        held = hold(account, 3 * USD)
        charges = [actions.Charge(held, "a", USD), actions.Charge(held, "b", USD // 2)]
        for _ in range(3):
            assert all(actions.settle_holds(charges, closing=[], at=timezone.now()))
        account.refresh_from_db()
        assert (account.balance_nanos, account.held_nanos) == (17 * USD // 2, 3 * USD // 2)
        assert settle(held, USD, "a") is True
        account.refresh_from_db()
        assert (account.balance_nanos, account.held_nanos) == (17 * USD // 2, 0)

    def test_that_is_closed_pays_nothing_more(self, account):
        """C8"""
        held = hold(account, 3 * USD)
        assert [settle(held, 2 * USD, "a"), settle(held, USD, "b")] == [True, False]
        account.refresh_from_db()
        assert (account.balance_nanos, account.held_nanos) == (8 * USD, 0)

    def test_never_pays_more_than_was_set_aside(self, account):
        """C3"""
        with pytest.raises(IntegrityError), transaction.atomic():
            settle(hold(account, USD), USD + 1)

    def test_of_nothing_costs_nothing_and_leaves_no_entry(self, account):
        settle(hold(account, 0), 0)
        assert not Entry.unscoped.filter(kind="charge").exists()

    def test_of_nothing_is_placed_without_any_credit(self, bob):
        empty = actions.account_of(user_id=bob.pk, organization_id=None, at=timezone.now())
        assert hold(empty, 0).amount_nanos == 0
        with pytest.raises(actions.InsufficientCredit, match="administrator of this server"):
            hold(empty, 1)

    def test_is_silent_once_its_process_says_nothing_more(self, account):
        """C4"""
        at = timezone.now()
        mute, told = hold(account, USD), hold(account, USD)
        actions.renew_holds([told.pk], at=at + timedelta(minutes=1))
        assert actions.silent_holds(before=at + timedelta(seconds=30), limit=9) == [mute]

    def test_of_an_organization_says_whom_to_ask(self, alice, acme):
        shared = actions.account_of(user_id=alice.pk, organization_id=acme.pk, at=timezone.now())
        with pytest.raises(actions.InsufficientCredit, match="an admin of your organization"):
            hold(shared, 1)


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    def test_a_dollar_is_not_spent_twice(self, bob):
        """C3: 200 simultaneous requests on one dollar."""
        account = actions.account_of(user_id=bob.pk, organization_id=None, at=timezone.now())
        give(account, 1)
        price = USD // 10

        def run(number: int) -> bool:
            try:
                held = hold(account, price)
                settle(held, price, f"run-{number}")
            except actions.InsufficientCredit:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(8) as pool:
            admitted = sum(pool.map(run, range(200)))

        account.refresh_from_db()
        assert (admitted, account.balance_nanos) == (10, 0)
        assert queries.mismatches() == []

    def test_one_grant_of_a_key_wins(self, bob):
        account = actions.account_of(user_id=bob.pk, organization_id=None, at=timezone.now())

        def run(_: int) -> bool:
            try:
                return give(account, 1, key="same")
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(run, range(24))) == 1

    def test_two_first_uses_make_one_account(self, bob):
        def run(_: int) -> str:
            try:
                at = timezone.now()
                return actions.account_of(user_id=bob.pk, organization_id=None, at=at).pk
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(run, range(16)))) == 1


class TestTheLedger:
    """C1"""

    def test_refuses_change_and_deletion_in_the_database_itself(self, account):
        entry = Entry.unscoped.get()
        for act in (
            lambda: Entry.unscoped.filter(pk=entry.pk).update(note="x"),
            lambda: entry.delete(),
            lambda: entry.save(),
        ):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                act()
        assert Entry.unscoped.get().note == "test"

    def test_refuses_to_have_a_row_replaced(self, account):
        columns = "id, account_id, kind, amount_nanos, key, hold_id, made_by_id, note, posted_at"
        raised = columns.replace("amount_nanos", "amount_nanos + 1")
        row = f"INTO credits_entry ({columns}) SELECT {raised} FROM credits_entry"  # noqa: S608 - names of our own
        statement = (
            f"REPLACE {row}"
            if connection.vendor == "sqlite"
            else f"INSERT {row} ON CONFLICT (id) DO UPDATE SET amount_nanos = EXCLUDED.amount_nanos"
        )
        with (
            pytest.raises(DatabaseError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
        assert Entry.unscoped.get().amount_nanos == 10 * USD

    def test_so_does_the_audit_trail(self, account):
        """L4"""
        for act in (AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(note="x")):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                act()

    def test_takes_a_key_once(self, account):
        assert give(account, 10) is False
        with pytest.raises(IntegrityError), transaction.atomic():
            Entry.unscoped.create(
                account=account, kind="grant", amount_nanos=1, key="gift", posted_at=timezone.now()
            )

    @pytest.mark.parametrize(
        ("kind", "amount"), [("grant", 0), ("grant", -1), ("charge", 1), ("charge", -1), ("x", 1)]
    )
    def test_takes_no_entry_that_its_kind_forbids(self, account, kind, amount):
        with pytest.raises(IntegrityError), transaction.atomic():
            Entry.unscoped.create(
                account=account, kind=kind, amount_nanos=amount, key="k", posted_at=timezone.now()
            )

    @pytest.mark.parametrize("cost", [-1, 2 * USD])
    def test_the_cost_of_a_hold_is_within(self, account, cost):
        held = hold(account, USD)
        with pytest.raises(IntegrityError), transaction.atomic():
            Hold.unscoped.filter(pk=held.pk).update(cost_nanos=cost)

    @pytest.mark.parametrize("amount", [0, -1, 10**18])
    def test_grants_are_bounded(self, account, amount):
        with pytest.raises(InvalidInput):
            actions.grant(
                account=account, amount_nanos=amount, key="k", by=None, at=timezone.now(), note=""
            )

    @given(st.lists(st.tuples(st.integers(0, 4 * USD), st.integers(0, 5 * USD)), max_size=8))
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_its_sum_is_the_balance_whatever_happens(self, account, runs):
        for number, (amount, cost) in enumerate(runs):
            try:
                held = hold(account, amount)
                settle(held, min(cost, amount), f"{held.pk}-{number}")
            except actions.InsufficientCredit:
                continue
        assert queries.mismatches() == []
        assert Account.unscoped.get(pk=account.pk).balance_nanos >= 0

    def test_the_checker_finds_a_wrong_balance(self, account, capsys):
        call_command("check_ledger")
        Account.unscoped.filter(pk=account.pk).update(balance_nanos=1)
        with pytest.raises(CommandError):
            call_command("check_ledger")
        assert account.pk in capsys.readouterr().err


class TestTheBalanceRoute:
    def test_is_a_number_of_the_tokens_context(self, client, account, alice, acme):
        shared = actions.account_of(user_id=alice.pk, organization_id=acme.pk, at=timezone.now())
        give(shared, 3)
        path = "/api/extension/credit-balance"
        assert client.get(path, headers=factories.bearer(alice)).json() == {"balance": 10.0}
        assert client.get(path, headers=factories.bearer(alice, acme)).json() == {"balance": 3.0}

    def test_is_zero_for_somebody_new(self, client, bob):
        path = "/api/extension/credit-balance"
        assert client.get(path, headers=factories.bearer(bob)).json() == {"balance": 0.0}
