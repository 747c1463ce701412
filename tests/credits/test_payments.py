"""Paying for credit at Stripe: off by default; what Stripe says was paid, once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.test import Client

from credits import actions, queries, stripe_client
from credits.models import Account, Entry, Payment
from roocloud import checks
from roocloud.lib.money import NANOS_PER_USD as USD
from tests.credits.test_budget_pages import text_of
from tests.factories import NOON
from tests.fakes import stripe as fake


@pytest.fixture(scope="module")
def server():
    with fake.fake_stripe() as running:
        yield running


@pytest.fixture
def on(server, settings, monkeypatch):
    settings.ROOCLOUD_STRIPE_SECRET_KEY = fake.SECRET_KEY
    settings.ROOCLOUD_STRIPE_WEBHOOK_SECRET = fake.WEBHOOK_SECRET
    monkeypatch.setattr(stripe_client, "API", server.url)
    server.sessions.clear()
    server.asked = server.fails = 0
    return server


@pytest.fixture
def payment(on, client, alice, acme):
    """alice's, begun for $25 and not paid yet."""
    client.force_login(alice)
    client.post("/billing/pay", {"amount": "25", "key": "k"})
    return Payment.unscoped.get()


def tell(body, client=None, **more):
    return (client or Client()).post(**fake.signed(body, **more))


def completed(payment, *, event_id="evt_1", kind="checkout.session.completed", **session):
    return fake.event(kind, fake.session(payment.pk, **session), event_id=event_id)


def refunded(payment, cents, *, event_id="evt_r", **charge):
    about = fake.charge(payment.pk, refunded=cents, **charge)
    return fake.event("charge.refunded", about, event_id=event_id)


def balance(org) -> int:
    assert queries.mismatches() == []  # C1
    account = Account.unscoped.filter(organization=org).first()
    return account.balance_nanos // 10**7 if account else 0  # cents


class TestSwitchedOff:
    def test_there_is_nothing(self, client, alice, acme):
        client.force_login(alice)
        assert client.get("/billing/pay").status_code == 404
        assert client.post("/billing/pay", {"amount": "25", "key": "k"}).status_code == 404
        assert tell({"id": "evt_1"}, client).status_code == 404
        assert "Add credit" not in text_of(client.get("/billing"))

    @pytest.mark.parametrize("name", ["SECRET_KEY", "WEBHOOK_SECRET"])
    def test_half_of_it_is_refused_at_the_start(self, settings, client, alice, acme, name):
        setattr(settings, f"ROOCLOUD_STRIPE_{name}", "x")
        client.force_login(alice)
        assert client.get("/billing/pay").status_code == 404
        with pytest.raises(ImproperlyConfigured, match="ROOCLOUD_STRIPE"):
            checks.refuse_unsafe_settings()

    def test_a_missing_library_is_named(self, on, monkeypatch):
        assert checks.half_set_payments(None) == []
        monkeypatch.setattr(checks, "find_spec", lambda _: None)
        assert "make extras" in checks.half_set_payments(None)[0].msg


class TestTheCheckout:
    def test_leads_to_stripe_once_for_each_page(self, on, client, alice, acme):
        """C6: the amount is the server's, and the same page is the same payment."""
        client.force_login(alice)
        assert "Add credit" in text_of(client.get("/billing"))
        for _ in range(2):
            answer = client.post("/billing/pay", {"amount": "12.50", "key": "k", "cents": "1"})
            assert "https://checkout.stripe.com/c/pay/" in answer.content.decode()
        made = Payment.unscoped.get()
        (asked,) = on.sessions.values()
        assert on.asked == 1
        assert asked["line_items[0][price_data][unit_amount]"] == "1250"
        assert asked["client_reference_id"] == made.pk
        assert asked["payment_intent_data[metadata][payment]"] == made.pk
        assert balance(acme) == 0

    def test_of_a_stripe_that_fails_is_tried_again_with_the_same_payment(
        self, on, client, alice, acme
    ):
        """E1: 503, what was typed is kept, and nothing is half there."""
        client.force_login(alice)
        on.fails = 500
        answer = client.post("/billing/pay", {"amount": "7", "key": "k"})
        assert answer.status_code == 503
        assert 'value="7"' in answer.content.decode()
        on.fails = 0
        client.post("/billing/pay", {"amount": "7", "key": "k"})
        assert [*on.sessions] == [Payment.unscoped.get().pk]

    def test_of_a_stripe_that_is_not_there(self, on, client, alice, acme, monkeypatch):
        monkeypatch.setattr(stripe_client, "API", "http://127.0.0.1:9")
        client.force_login(alice)
        assert client.post("/billing/pay", {"amount": "7", "key": "k"}).status_code == 503

    @pytest.mark.parametrize("amount", ["0.99", "10000.01", "5.001", "x", "", "-5", "NaN"])
    def test_takes_whole_cents_within_bounds(self, on, client, alice, acme, amount):
        client.force_login(alice)
        answer = client.post("/billing/pay", {"amount": amount, "key": "k"})
        assert answer.status_code == 200
        assert "errorlist" in answer.content.decode()
        assert not Payment.unscoped.exists()

    def test_is_for_who_decides(self, on, client, bob, rhea, adam, acme):
        """A1, A2: members ask instead; a person pays for their own account."""
        for person, status in ((bob, 403), (rhea, 403), (adam, 200)):
            client.force_login(person)
            assert client.get("/billing/pay").status_code == status
            assert ("Add credit" in text_of(client.get("/billing"))) is (status == 200)
        client.force_login(bob)
        client.post("/account/context", {"organization": ""})
        client.post("/billing/pay", {"amount": "5", "key": "k"})
        assert Payment.unscoped.get().account.user_id == bob.pk


class TestWhatStripeTells:
    def test_adds_what_was_paid_and_not_what_was_asked_for(self, payment, acme):
        assert tell(completed(payment, cents=2400)).status_code == 200
        assert balance(acme) == 2400
        payment.refresh_from_db()
        assert (payment.payment_id, payment.paid_nanos) == ("pi_1", 24 * USD)
        assert Entry.unscoped.get().key == "stripe:pi_1"

    def test_counts_once_by_event_and_by_payment(self, payment, acme):
        """C6: the same event again, another event of the same payment, and both kinds of it."""
        kinds = ("checkout.session.completed", "checkout.session.async_payment_succeeded")
        for number in range(3):
            for kind in kinds:
                told = completed(payment, event_id=f"evt_{number}", kind=kind)
                assert tell(told).status_code == 200
        assert balance(acme) == 2500

    @pytest.mark.django_db(transaction=True)
    def test_counts_once_when_told_many_times_at_once(self, payment, acme):
        """C6"""

        def send(number):
            try:
                return tell(completed(payment, event_id=f"evt_{number % 3}")).status_code
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(send, range(24))) == {200}
        assert balance(acme) == 2500

    def test_waits_for_money_that_comes_later(self, payment, acme):
        assert tell(completed(payment, paid=False)).status_code == 200
        assert balance(acme) == 0
        tell(completed(payment, kind="checkout.session.async_payment_succeeded"))
        assert balance(acme) == 2500

    def test_takes_back_what_was_refunded_in_parts_and_in_any_order(self, payment, acme):
        tell(completed(payment))
        for cents in (1000, 1000, 700, 2500, 1500):
            assert tell(refunded(payment, cents)).status_code == 200
        assert balance(acme) == 0
        amounts = Entry.unscoped.order_by("pk").values_list("kind", "amount_nanos")
        assert [*amounts] == [
            ("grant", 25 * USD),
            ("correction", -10 * USD),
            ("correction", -15 * USD),
        ]

    def test_a_refund_takes_no_more_than_was_paid(self, payment, acme):
        tell(completed(payment))
        tell(refunded(payment, 9900))
        assert balance(acme) == 0

    def test_a_refund_of_what_is_spent_leaves_less_than_nothing(self, payment, acme):
        tell(completed(payment))
        account = Account.unscoped.get()
        (hold,) = actions.place_holds([actions.HoldRequest(account.pk, 20 * USD)], at=NOON)
        actions.settle_holds([actions.Charge(hold, "c", 20 * USD)], closing=[hold], at=NOON)
        tell(refunded(payment, 2500))
        assert balance(acme) == -2000

    def test_a_refund_before_its_payment_is_sent_again(self, payment, acme):
        assert tell(refunded(payment, 500)).status_code == 409
        tell(completed(payment))
        assert tell(refunded(payment, 500)).status_code == 200
        assert balance(acme) == 2000

    def test_of_other_things_is_passed_over(self, payment, acme):
        """Another product at the same Stripe account, and kinds that mean nothing here."""
        foreign = fake.event("checkout.session.completed", fake.session("order-7"))
        odd = fake.event("invoice.paid", {"metadata": [], "currency": 7})
        unknown = fake.event("charge.refunded", fake.charge("order-7", refunded=5))
        for told in (foreign, odd, unknown):
            assert tell(told).status_code == 200
        assert balance(acme) == 0

    @pytest.mark.parametrize(
        ("session", "field"),
        [
            ({"currency": "jpy"}, "currency"), ({"cents": 0}, "amount"), ({"cents": -1}, "amount"),
            ({"cents": 10**15}, "amount"), ({"intent": None}, "payment_intent"),
        ],
    )  # fmt: skip
    def test_that_no_checkout_can_come_to_is_refused(self, payment, acme, session, field):
        answer = tell(completed(payment, **session))
        assert (answer.status_code, answer.json()["field"]) == (400, field)
        assert balance(acme) == 0

    def test_needs_the_signature(self, payment, client, acme):
        """B3: forged, old, missing, of another body, or of a body that is no text."""
        told = completed(payment)
        good = fake.signed(told)
        wrong = [
            fake.signed(told, secret="whsec_other"),
            fake.signed(told, age_s=400),
            {**good, "headers": {}},
            {**good, "headers": {"Stripe-Signature": "t=x,v1=y"}},
            {**good, "data": good["data"].replace("2500", "9900")},
            {**good, "data": b"\xff\xfe"},
        ]
        for sent in wrong:
            assert client.post(**sent).status_code == 400
        assert balance(acme) == 0
        assert client.post(**good).status_code == 200
        assert balance(acme) == 2500

    @pytest.mark.parametrize("body", [{}, {"type": "charge.refunded"}, [], {"type": 1}])
    def test_that_is_no_event_is_refused(self, on, db, body):
        assert tell(body).status_code == 400


def test_the_database_keeps_a_payment_whole(payment):
    for wrong in ({"paid_nanos": 1}, {"payment_id": "pi"}, {"refunded_nanos": 1}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Payment.unscoped.filter(pk=payment.pk).update(**wrong)
