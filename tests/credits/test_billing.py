"""The pages of billing: who sees what, running sums, and statements that add up."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.actors import ORGANIZATION_KEY
from audit.models import Entry as Trail
from credits import actions, ledger, queries
from credits.ledger import Filters, Show
from credits.models import Entry
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.credits.test_budget_pages import text_of

NOON = datetime(2026, 9, 30, 12, tzinfo=UTC)


@pytest.fixture
def account(alice, acme):
    return actions.account_of(user_id=alice.pk, organization_id=acme.pk, at=NOON)


@pytest.fixture
def books(account, alice, bob):
    """Two months: credit, charges of two people, and what is free of cost."""

    def add(usd, at, key, note="Budget of the year"):
        actions.grant(account=account, amount_nanos=usd * USD, key=key, by=None, note=note, at=at)

    def charge(nanos, at, key, person, model="v/one"):
        request = actions.HoldRequest(account.pk, nanos, {"member": person.pk, "model": model})
        (hold,) = actions.place_holds([request], at=at)
        actions.settle_holds([actions.Charge(hold, key, nanos)], closing=[hold], at=at)

    add(100, NOON, "g-1")
    charge(1_500_000_001, NOON + timedelta(hours=11, minutes=59), "c-1", alice)
    charge(2 * USD, NOON + timedelta(hours=12), "c-2", bob)  # the first moment of October
    charge(250_000_000, NOON + timedelta(days=2), "c-3", bob, "v/two")
    add(10, NOON + timedelta(days=2), "g-2", "=Top-up")
    charge(750_000_000, NOON + timedelta(days=2, hours=3), "c-4", alice)
    return account


@pytest.fixture
def as_(client):
    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


def lines_of(actor, show=Show.ALL, **days):
    found, before = [], ""
    while True:
        batch, before = ledger.page(actor, Filters(show, **days), before=before)
        found += batch
        if not before:
            return found


class TestTheLedger:
    def test_has_the_balance_after_each_line(self, books, alice, acme):
        """C1: the newest line's is the balance."""
        lines = lines_of(factories.actor(alice, acme))

        assert [line.entry.key for line in lines] == [
            "completion:c-4", "g-2", "completion:c-3", "completion:c-2", "completion:c-1", "g-1",
        ]  # fmt: skip
        books.refresh_from_db()
        assert lines[0].sum_nanos == books.balance_nanos
        sums = [line.sum_nanos for line in lines]
        amounts = [line.entry.amount_nanos for line in lines]
        assert sums == [sum(amounts[at:]) for at in range(len(lines))]

    @pytest.mark.parametrize("show", [Show.ADDED, Show.CHARGES])
    def test_sums_up_what_is_shown(self, books, alice, acme, show):
        every = lines_of(factories.actor(alice, acme))
        wanted = [line for line in every if (line.entry.kind == "charge") == (show is Show.CHARGES)]

        shown = lines_of(factories.actor(alice, acme), show)

        assert [line.entry for line in shown] == [line.entry for line in wanted]
        amounts = [line.entry.amount_nanos for line in wanted]
        assert [line.sum_nanos for line in shown] == [
            sum(amounts[at:]) for at in range(len(amounts))
        ]

    def test_keeps_the_balance_right_on_every_page_and_for_chosen_days(
        self, books, alice, acme, monkeypatch
    ):
        actor = factories.actor(alice, acme)
        whole = {line.entry.pk: line.sum_nanos for line in lines_of(actor)}
        monkeypatch.setattr(ledger, "PAGE", 2)

        paged = lines_of(actor)
        first, last = (
            datetime(2026, 9, 30, tzinfo=UTC).date(),
            datetime(2026, 10, 1, tzinfo=UTC).date(),
        )
        of_days = lines_of(actor, first=first, last=last)

        assert [line.entry.pk for line in paged] == [*whole]
        assert [line.entry.key for line in of_days] == ["completion:c-2", "completion:c-1", "g-1"]
        assert all(whole[line.entry.pk] == line.sum_nanos for line in [*paged, *of_days])

    def test_page_filters_names_and_links(self, books, as_, alice):
        page = as_(alice).get("/billing/ledger")
        assert "Alice Archer" in text_of(page)
        assert 'href="/usage/c-1"' in page.content.decode()
        added = text_of(as_(alice).get("/billing/ledger", {"show": "added", "last": "2026-10-01"}))
        assert "Budget of the year" in added
        assert "Sum of these" in added
        assert "v/one" not in added

    @pytest.mark.parametrize(
        "query", ["show=x", "first=x", "last=9999-12-31", "before=x~y", "before=2026-01-01~-9" + "9" * 40]
    )  # fmt: skip
    def test_of_what_makes_no_sense_is_a_page(self, books, as_, alice, query):
        assert as_(alice).get(f"/billing/ledger?{query}").status_code == 200

    def test_asks_as_much_for_many_lines_as_for_few(self, books, as_, alice, bob):
        client = as_(alice)
        client.get("/billing")
        counts = []
        for number in (0, 1):
            for page in ("/billing", "/billing/ledger", "/billing/statements/2026-10"):
                with CaptureQueriesContext(
                    connection,
                ) as asked:
                    assert client.get(page).status_code == 200
                counts.append(len(asked))
            if number == 0:
                for more in range(20):
                    at = NOON + timedelta(days=3, minutes=more)
                    request = actions.HoldRequest(
                        books.pk, USD // 10, {"member": bob.pk, "model": f"v/{more}"}
                    )
                    (hold,) = actions.place_holds([request], at=at)
                    charge = actions.Charge(hold, f"more-{more}", USD // 10)
                    actions.settle_holds([charge], closing=[hold] if more % 2 else [], at=at)
        assert counts[:3] == counts[3:]
        assert max(counts) <= 22


class TestAStatement:
    """Opening balance + entries = closing balance = the sum of the ledger."""

    GOLDEN = {
        "2026-09": (0, 100_000_000_000, -1_500_000_001, 98_499_999_999),
        "2026-10": (98_499_999_999, 10_000_000_000, -3_000_000_000, 105_499_999_999),
        "2026-11": (105_499_999_999, 0, 0, 105_499_999_999),
    }

    @pytest.mark.parametrize("month", GOLDEN)
    def test_adds_up(self, books, alice, acme, month):
        """C1"""
        found = ledger.statement(factories.actor(alice, acme), ledger.read_month(month))
        figures = (
            found.opening_nanos, found.added_nanos, found.charged_nanos, found.closing_nanos,
        )  # fmt: skip
        assert figures == self.GOLDEN[month]
        assert found.adds_up
        end = ledger.next_month(found.month)
        entries = Entry.unscoped.filter(
            account=books, posted_at__lt=datetime(end.year, end.month, 1, tzinfo=UTC)
        )
        assert found.closing_nanos == sum(entries.values_list("amount_nanos", flat=True))

    def test_apart_by_day_and_model(self, books, alice, acme):
        found = ledger.statement(factories.actor(alice, acme), ledger.read_month("2026-10"))
        assert [(f"{day.name:%d}", day.count, day.amount_nanos) for day in found.days] == [
            ("01", 1, -2 * USD), ("02", 2, -USD),
        ]  # fmt: skip
        assert [(one.name, one.amount_nanos) for one in found.models] == [
            ("v/one", -2_750_000_000), ("v/two", -250_000_000),
        ]  # fmt: skip

    def test_page_shows_every_digit(self, books, as_, alice):
        page = text_of(as_(alice).get("/billing/statements/2026-09"))
        assert "$98.499999999" in page
        assert "-$1.500000001" in page
        assert "Acme" in page
        assert "do not add up" not in page

    @pytest.mark.django_db(transaction=True)
    def test_csv_leads_from_one_balance_to_the_other(self, books, alice, acme, monkeypatch):
        """L4: and that it was taken is on the trail."""
        monkeypatch.setattr(ledger, "_EXPORT_BATCH", 2)

        async def download() -> str:
            client = AsyncClient()
            await client.aforce_login(alice)
            answer = await client.get("/billing/statements/2026-10.csv")
            return b"".join([part async for part in answer]).decode()

        text = asyncio.run(download())
        rows = list(csv.DictReader(io.StringIO(text)))

        assert [row["kind"] for row in rows] == [
            "opening balance", "charge", "charge", "grant", "charge", "closing balance",
        ]  # fmt: skip
        assert [row["balance_usd"] for row in rows] == [
            "98.499999999", "96.499999999", "96.249999999", "106.249999999", "105.499999999",
            "105.499999999",
        ]  # fmt: skip
        assert rows[1]["who"] == "bob@acme.example"
        assert rows[3]["note"] == "'=Top-up"
        assert Trail.objects.filter(action="ledger.exported", target_id="2026-10").exists()

    @pytest.mark.parametrize(
        "month", ["2026-13", "x", "2020-01", "9999-12", "2026-10-01", "0001-01"]
    )
    def test_of_no_month_is_not_found(self, books, as_, alice, month):
        for path in (f"/billing/statements/{month}", f"/billing/statements/{month}.csv"):
            assert as_(alice).get(path).status_code == 404

    def test_of_this_month_is_there_before_anything_happened(self, as_, alice, acme):
        month = f"{timezone.now():%Y-%m}"
        assert "Nothing was added" in text_of(as_(alice).get(f"/billing/statements/{month}"))


class TestWhoSeesWhat:
    def test_owners_and_admins_see_the_ledger_and_others_do_not(
        self, books, as_, alice, adam, bob, rhea
    ):
        """A1"""
        pages = (
            "/billing/ledger",
            "/billing/statements/2026-10",
            "/billing/statements/2026-10.csv",
        )
        for person, status in ((alice, 200), (adam, 200), (bob, 403), (rhea, 403)):
            client = as_(person)
            assert [client.get(page).status_code for page in pages] == [status] * 3, person
            first = text_of(client.get("/billing"))
            assert "$105.50" in first
            assert ("Budget of the year" in first) is (status == 200), person

    def test_a_demoted_admin_loses_it_at_once(self, books, as_, adam, acme):
        """A4"""
        client = as_(adam)
        assert client.get("/billing/ledger").status_code == 200
        acme.memberships.filter(user=adam).update(role="member")
        assert client.get("/billing/ledger").status_code == 403

    def test_a_personal_account_is_its_owners_alone(self, books, as_, bob, mallory):
        """A1"""
        factories.account(bob, dollars=7)
        for person, is_theirs in ((bob, True), (mallory, False)):
            client = as_(person)
            session = client.session
            session[ORGANIZATION_KEY] = ""
            session.save()
            text = text_of(client.get("/billing/ledger"))
            assert ("$7.00" in text) is is_theirs
            assert "$100.00" not in text

    def test_a_member_sees_what_their_own_requests_set_aside(self, books, as_, alice, bob):
        """A1, MO3"""
        at = timezone.now()
        for person, usd in ((alice, 3), (bob, 4)):
            request = actions.HoldRequest(
                books.pk, usd * USD, {"member": person.pk, "model": "v/one"}
            )
            actions.place_holds([request], at=at)
        own, every = (text_of(as_(person).get("/billing")) for person in (bob, alice))
        assert "<span>$4.00</span>" in own
        assert "<span>$3.00</span>" not in own
        assert "<span>$3.00</span>" in every
        assert "<span>$4.00</span>" in every
        assert "$98.50" in every  # free


def test_the_books_prove_themselves(books):
    """C1"""
    assert queries.mismatches() == []
