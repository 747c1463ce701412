"""Stripe on loopback: its checkout, as strict as the real one, and its events as it publishes them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from stripe import WebhookSignature

from tests.fakes.loopback import on_loopback

SECRET_KEY = "sk_test_fake"
WEBHOOK_SECRET = "whsec_test_fake"


@dataclass
class Stripe:
    """fails: the status of the next answer, if it is to fail."""

    url: str = ""
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)  # by Idempotency-Key
    asked: int = 0
    fails: int = 0

    async def create(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.fails:
            error = {"error": {"type": "api_error", "message": "An error occurred"}}
            return web.json_response(error, status=self.fails)
        if request.headers.get("Authorization") != f"Bearer {SECRET_KEY}":
            error = {"error": {"type": "invalid_request_error", "message": "Invalid API Key"}}
            return web.json_response(error, status=401)
        form = {name: str(value) for name, value in (await request.post()).items()}
        assert (form["mode"], form["line_items[0][price_data][currency]"]) == ("payment", "usd")
        key = request.headers["Idempotency-Key"]
        assert self.sessions.setdefault(key, form) == form
        url = f"https://checkout.stripe.com/c/pay/cs_test_{key}"
        return web.json_response({**session(form["client_reference_id"]), "url": url})


@contextmanager
def fake_stripe() -> Iterator[Stripe]:
    running, app = Stripe(), web.Application()
    app.router.add_post("/v1/checkout/sessions", running.create)
    with on_loopback(app) as url:
        running.url = url
        yield running


def session(payment: str, *, cents: int = 2500, currency: str = "usd", paid: bool = True,
            intent: str | None = "pi_1") -> dict[str, Any]:  # fmt: skip
    """A Checkout Session of mode payment."""
    return {
        "id": f"cs_test_{payment}", "object": "checkout.session", "after_expiration": None,
        "allow_promotion_codes": None, "amount_subtotal": cents, "amount_total": cents,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "billing_address_collection": None, "cancel_url": "https://cloud.example/billing",
        "client_reference_id": payment, "consent": None, "created": 1_790_000_000,
        "currency": currency, "customer": None, "customer_creation": "if_required",
        "customer_details": {"email": "alice@acme.example", "name": "Alice", "tax_ids": []},
        "customer_email": "alice@acme.example", "expires_at": 1_790_086_400, "invoice": None,
        "livemode": False, "locale": None, "metadata": {"payment": payment}, "mode": "payment",
        "payment_intent": intent, "payment_link": None, "payment_method_types": ["card"],
        "payment_status": "paid" if paid else "unpaid", "setup_intent": None,
        "shipping_options": [], "status": "complete", "submit_type": None, "subscription": None,
        "success_url": "https://cloud.example/billing?paid=yes",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}, "url": None,
    }  # fmt: skip


def charge(
    payment: str, *, refunded: int, cents: int = 2500, intent: str = "pi_1"
) -> dict[str, Any]:
    """A charge of which ``refunded`` cents were given back in all."""
    return {
        "id": "ch_1", "object": "charge", "amount": cents, "amount_captured": cents,
        "amount_refunded": refunded, "balance_transaction": "txn_1", "captured": True,
        "created": 1_790_000_000, "currency": "usd", "customer": None, "description": "credit",
        "disputed": False, "livemode": False, "metadata": {"payment": payment}, "paid": True,
        "payment_intent": intent, "payment_method": "pm_1", "refunded": refunded == cents,
        "status": "succeeded",
    }  # fmt: skip


def event(kind: str, about: dict[str, Any], *, event_id: str = "evt_1") -> dict[str, Any]:
    return {
        "id": event_id, "object": "event", "api_version": "2026-10-28.endive",
        "created": 1_790_000_000, "data": {"object": about}, "livemode": False,
        "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None}, "type": kind,
    }  # fmt: skip


def signed(body: dict[str, Any], *, secret: str = WEBHOOK_SECRET, age_s: int = 0) -> dict[str, Any]:
    """What Django's test client posts for an event."""
    text = json.dumps(body)
    header = WebhookSignature.generate_signature_header(text, secret, int(time.time()) - age_s)
    return {
        "path": "/api/webhooks/stripe", "data": text, "content_type": "application/json",
        "headers": {"Stripe-Signature": header},
    }  # fmt: skip
