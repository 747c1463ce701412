"""Stripe's library, which speaks through the one outbound client (K1). It is an extra, so it is
imported where it is used."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from django.conf import settings

from roocloud.lib import outbound
from roocloud.lib.refusals import InvalidInput, Unavailable

if TYPE_CHECKING:
    from stripe import StripeClient

API = "https://api.stripe.com"
_ANSWER_S = 20
_MAX_ANSWER = 2**20


def client() -> "StripeClient":
    """For calls from synchronous code."""
    from stripe import APIConnectionError, HTTPClient, StripeClient

    class Outbound(HTTPClient):
        name = "outbound"

        def request(
            self,
            method: str,
            url: str,
            headers: Mapping[str, str] | None,
            post_data: Any = None,
            **_: Any,
        ) -> tuple[str, int, Mapping[str, str]]:
            try:
                return asyncio.run(_asked(method, url, headers, post_data))
            except (aiohttp.ClientError, OSError) as fault:
                raise APIConnectionError(str(fault) or "no answer in time") from fault

        def close(self) -> None:
            """Each request has a connection of its own."""

    return StripeClient(
        settings.ROOCLOUD_STRIPE_SECRET_KEY,
        http_client=Outbound(),
        base_addresses={"api": API},
        max_network_retries=0,
    )


async def _asked(
    method: str, url: str, headers: Mapping[str, str] | None, body: str | bytes | None
) -> tuple[str, int, Mapping[str, str]]:
    async with (
        asyncio.timeout(_ANSWER_S),
        outbound.errand() as session,
        session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        data = b""
        while len(data) < _MAX_ANSWER and (piece := await response.content.readany()):
            data += piece
        return data.decode("utf-8", "replace"), response.status, dict(response.headers)


def begin_checkout(
    *, payment_id: str, cents: int, description: str, email: str | None, back_to: str
) -> str:
    """The address of a page at Stripe on which that amount is paid. The same payment gets the same
    page, however often it is asked for. Raises Unavailable."""
    from stripe import StripeError

    marks = {"payment": payment_id}
    try:
        session = client().v1.checkout.sessions.create(
            params={
                "mode": "payment",
                "client_reference_id": payment_id,
                "metadata": marks,
                "payment_intent_data": {"metadata": marks, "description": description},
                "line_items": [
                    {
                        "quantity": 1,
                        "price_data": {
                            "currency": "usd",
                            "unit_amount": cents,
                            "product_data": {"name": description},
                        },
                    }
                ],
                "success_url": f"{back_to}?paid=yes",
                "cancel_url": back_to,
                **({"customer_email": email} if email else {}),
            },
            options={"idempotency_key": payment_id},
        )
    except StripeError as fault:
        raise Unavailable("Stripe does not answer as it should; try again in a moment") from fault
    if not session.url:
        raise Unavailable("Stripe gave no page to pay on; try again in a moment")
    return session.url


def verify(body: bytes, signature: str | None) -> None:
    """That an event is Stripe's, and new. Raises InvalidInput."""
    from stripe import SignatureVerificationError, WebhookSignature

    try:
        WebhookSignature.verify_header(
            body, signature, settings.ROOCLOUD_STRIPE_WEBHOOK_SECRET, tolerance=300
        )
    except (SignatureVerificationError, UnicodeDecodeError):
        raise InvalidInput("This is not signed as Stripe signs") from None
