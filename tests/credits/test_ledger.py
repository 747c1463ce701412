"""Money: C1, C3, C8. People's credit is never overspent, and the books prove themselves."""

from concurrent.futures import ThreadPoolExecutor

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


def hold(account, nanos, key):
    return actions.place_hold(account_id=account.pk, key=key, amount_nanos=nanos, at=timezone.now())


def settle(held, nanos):
    return actions.settle_hold(hold_id=held.pk, cost_nanos=nanos, at=timezone.now())


@pytest.fixture
def account(alice) -> Account:
    made = actions.account_of(user_id=alice.pk, organization_id=None, at=timezone.now())
    give(made, 10)
    return made


class TestAHold:
    def test_is_refused_beyond_what_open_holds_leave_free(self, account):
        """C3"""
        hold(account, 7 * USD, "run-1")
        with pytest.raises(actions.InsufficientCredit, match=r"\$10.00 left.*\$7.00 is set aside"):
            hold(account, 4 * USD, "run-2")
        assert account.holds.count() == 1

    def test_with_the_same_key_is_the_same_hold(self, account):
        """C8"""
        assert hold(account, USD, "run-1") == hold(account, USD, "run-1")

    def test_is_settled_once_however_many_try(self, account):
        """C8"""
        held = hold(account, 3 * USD, "run-1")
        assert [settle(held, 2 * USD), settle(held, USD), settle(held, 0)] == [True, False, False]
        account.refresh_from_db()
        assert account.balance_nanos == 8 * USD

    def test_never_costs_more_than_was_held_nor_less_than_nothing(self, account):
        settle(hold(account, USD, "a"), 5 * USD)
        settle(hold(account, USD, "b"), -5 * USD)
        account.refresh_from_db()
        assert account.balance_nanos == 9 * USD

    def test_of_nothing_costs_nothing_and_leaves_no_entry(self, account):
        settle(hold(account, 0, "free"), 0)
        assert not Entry.unscoped.filter(kind="charge").exists()

    def test_of_nothing_is_placed_without_any_credit(self, bob):
        empty = actions.account_of(user_id=bob.pk, organization_id=None, at=timezone.now())
        assert hold(empty, 0, "free").amount_nanos == 0
        with pytest.raises(actions.InsufficientCredit, match="administrator of this server"):
            hold(empty, 1, "paid")

    def test_of_an_organization_says_whom_to_ask(self, alice, acme):
        shared = actions.account_of(user_id=alice.pk, organization_id=acme.pk, at=timezone.now())
        with pytest.raises(actions.InsufficientCredit, match="an admin of your organization"):
            hold(shared, 1, "paid")


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    def test_a_dollar_is_not_spent_twice(self, bob):
        """C3: 200 simultaneous requests on one dollar."""
        account = actions.account_of(user_id=bob.pk, organization_id=None, at=timezone.now())
        give(account, 1)
        price = USD // 10

        def run(number: int) -> bool:
            try:
                held = hold(account, price, f"run-{number}")
                settle(held, price)
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

    def test_a_settled_hold_is_whole_and_within(self, account):
        held = hold(account, USD, "run-1")
        for change in ({"cost_nanos": 1}, {"cost_nanos": 2 * USD, "settled_at": timezone.now()}):
            with pytest.raises(IntegrityError), transaction.atomic():
                Hold.unscoped.filter(pk=held.pk).update(**change)

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
                settle(hold(account, amount, f"{Hold.unscoped.count()}-{number}"), cost)
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
