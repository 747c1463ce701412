"""``GET /api/extension/credit-balance`` (protocol/tasks-and-telemetry.md §5)."""

from typing import TypedDict

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import BearerView
from credits import queries
from roocloud.lib.money import nanos_to_usd
from roocloud.lib.openapi import json_answer


class Balance(TypedDict):
    balance: float


class CreditBalance(BearerView):
    """USD as a JSON number, of the token's context."""

    @extend_schema(responses=json_answer(Balance))
    def get(self, request: Request) -> Response:
        body = Balance(balance=nanos_to_usd(queries.balance_nanos(self.actor)))
        return Response(body, headers={"Cache-Control": "no-store"})
