"""Credit that people pay for by card (docs/decisions/0043-payments.md).

Off unless both of Stripe's secrets are set. What is added is what Stripe says was paid, once for
each payment however often it says so; no amount is taken from a browser. Amounts are nano-dollars.
"""

import logging
from datetime import datetime
from typing import Literal, get_args, get_type_hints

import msgspec
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts import queries as people
from accounts.actors import Actor
from audit import actions as audit
from credits import actions, policy, stripe_client
from credits.models import Payment
from roocloud.lib import wire
from roocloud.lib.money import NANOS_PER_USD
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound

logger = logging.getLogger(__name__)

NANOS_PER_CENT = NANOS_PER_USD // 100
LEAST_NANOS = NANOS_PER_USD
MOST_NANOS = 10_000 * NANOS_PER_USD


def is_on() -> bool:
    return bool(settings.ROOCLOUD_STRIPE_SECRET_KEY and settings.ROOCLOUD_STRIPE_WEBHOOK_SECRET)


def may_pay(actor: Actor) -> bool:
    """Whether the actor may add credit to the account of their context by paying for it."""
    return is_on() and policy.may_decide(actor)


def begin(*, by: Actor, amount_nanos: int, key: str, at: datetime) -> str:
    """The address of the page on which the actor pays. The same key leads to the same page (C6).

    Raises NotFound where payments are off, Forbidden, InvalidInput (``amount``), Unavailable.
    """
    if not is_on():
        raise NotFound("There are no payments here")
    if not may_pay(by):
        raise Forbidden("Owners and admins of the organization add credit")
    if not LEAST_NANOS <= amount_nanos <= MOST_NANOS or amount_nanos % NANOS_PER_CENT:
        raise InvalidInput("must be from 1 to 10,000 USD, in whole cents", field="amount")
    account = actions.account_of(user_id=by.user_id, organization_id=by.organization_id, at=at)
    with transaction.atomic():
        payment, is_new = Payment.unscoped.get_or_create(
            account=account,
            by_id=by.user_id,
            key=key,
            defaults={"amount_nanos": amount_nanos, "begun_at": at},
        )
        if is_new:
            audit.record(
                action="payment.begun",
                actor=by,
                organization_id=account.organization_id,
                target_kind="payment",
                target_id=payment.pk,
                after={"amount_nanos": amount_nanos},
                at=at,
            )
    if not payment.checkout_url:
        payment.checkout_url = stripe_client.begin_checkout(
            payment_id=payment.pk,
            cents=payment.amount_nanos // NANOS_PER_CENT,
            description=f"{settings.ROOCLOUD_PRODUCT_NAME} credit",
            email=people.email_of(by.user_id),
            back_to=f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('billing')}",
        )
        payment.save(update_fields=["checkout_url"])
    return payment.checkout_url


# --- What Stripe tells ------------------------------------------------------------------------


class Subject(msgspec.Struct):
    """What an event is about: as much of a checkout session or of a charge as is used here.
    Amounts are in cents of ``currency``."""

    client_reference_id: str | None = None
    metadata: dict[str, str] | None = None
    payment_intent: str | None = None
    payment_status: str | None = None
    currency: str | None = None
    amount_total: int | None = None
    amount_refunded: int | None = None


class Data(msgspec.Struct):
    object: Subject


class Event(msgspec.Struct):
    """An event of a kind that means something here, as Stripe publishes its shape."""

    id: str
    type: Literal[
        "checkout.session.completed", "checkout.session.async_payment_succeeded", "charge.refunded"
    ]
    data: Data


class _Kind(msgspec.Struct):
    type: str


def read(body: bytes) -> Event | None:
    """None for an event of another kind, whose object may be anything. Raises InvalidInput."""
    value = wire.loads(body)
    kinds = get_args(get_type_hints(Event)["type"])
    return wire.convert(value, Event) if wire.convert(value, _Kind).type in kinds else None


def take(event: Event, *, at: datetime) -> None:
    """Act on an event whose signature was verified. Those of other payments than ours are passed
    over.

    Raises InvalidInput (``currency``, ``amount``) for what no checkout of ours can come to, and
    Conflict for a refund that comes before its payment: Stripe sends both again.
    """
    about = event.data.object
    if event.type == "charge.refunded":
        if payment_id := (about.metadata or {}).get("payment"):
            _refund(payment_id, about, event_id=event.id, at=at)
    elif about.payment_status == "paid" and about.client_reference_id:
        _pay(about.client_reference_id, about, event_id=event.id, at=at)


def _pay(payment_id: str, about: Subject, *, event_id: str, at: datetime) -> None:
    with transaction.atomic():
        payment = _locked(payment_id, event_id)
        if payment is None or payment.paid_at:
            return
        if not about.payment_intent:
            raise InvalidInput("is missing", field="payment_intent")
        paid_nanos = _nanos(about.amount_total, about.currency)
        payment.payment_id, payment.paid_nanos, payment.paid_at = (
            about.payment_intent,
            paid_nanos,
            at,
        )
        payment.save(update_fields=["payment_id", "paid_nanos", "paid_at"])
        actions.grant(
            account=payment.account,
            amount_nanos=paid_nanos,
            key=f"stripe:{about.payment_intent}",
            by=None,
            at=at,
            note=f"Paid by card, {payment.pk}",
        )


def _refund(payment_id: str, about: Subject, *, event_id: str, at: datetime) -> None:
    """Stripe says how much of a payment was given back in all, so that an event which is repeated
    or overtaken takes nothing twice."""
    with transaction.atomic():
        payment = _locked(payment_id, event_id)
        if payment is None:
            return
        if not payment.paid_at:
            raise Conflict("The payment of this refund is not known yet")
        whole_nanos = min(_nanos(about.amount_refunded, about.currency), payment.paid_nanos)
        more_nanos = whole_nanos - payment.refunded_nanos
        if more_nanos <= 0:
            return
        payment.refunded_nanos = whole_nanos
        payment.save(update_fields=["refunded_nanos"])
        actions.correct(
            account=payment.account,
            amount_nanos=-more_nanos,
            key=f"stripe:{payment.payment_id}:refunded:{whole_nanos}",
            by=None,
            at=at,
            note=f"Refund of {payment.pk}",
        )


def _locked(payment_id: str, event_id: str) -> Payment | None:
    """The row is the lock: of events that come at once one counts."""
    rows = Payment.unscoped.select_for_update(of=["self"]).select_related("account")
    found = rows.filter(pk=payment_id).first()
    if found is None:
        logger.info("An event of a payment that is not ours", extra={"event": event_id})
    return found


def _nanos(cents: int | None, currency: str | None) -> int:
    if currency != "usd":
        raise InvalidInput("must be usd", field="currency")
    if not cents or not 0 < cents * NANOS_PER_CENT <= 2 * MOST_NANOS:
        raise InvalidInput("is no amount that was asked for", field="amount")
    return cents * NANOS_PER_CENT
