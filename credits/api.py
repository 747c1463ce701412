"""``GET /api/extension/credit-balance`` (protocol/tasks-and-telemetry.md §5), and where Stripe
tells of payments."""

from typing import TypedDict

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.bearer import BearerView
from credits import payments, queries, stripe_client
from roocloud.lib.access import Access
from roocloud.lib.money import nanos_to_usd
from roocloud.lib.openapi import json_answer
from roocloud.lib.refusals import NotFound


class Balance(TypedDict):
    balance: float


class CreditBalance(BearerView):
    """USD as a JSON number, of the token's context."""

    @extend_schema(responses=json_answer(Balance))
    def get(self, request: Request) -> Response:
        body = Balance(balance=nanos_to_usd(queries.balance_nanos(self.actor)))
        return Response(body, headers={"Cache-Control": "no-store"})


class StripeEvents(APIView):
    """``POST /api/webhooks/stripe``. 2xx only after commit: Stripe sends again what failed."""

    access = Access("signature")

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        if not payments.is_on():
            raise NotFound("Not found")
        body = request.body
        stripe_client.verify(body, request.headers.get("Stripe-Signature"))
        if event := payments.read(body):
            payments.take(event, at=timezone.now())
        return Response({"success": True})
