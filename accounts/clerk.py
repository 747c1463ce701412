"""The Clerk-compatible routes (protocol/auth.md §3 to §6)."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import actions, tokens
from accounts.bearer import ClientTokenView, PublicApiView
from accounts.models import User
from roocloud.lib import wire
from roocloud.lib.access import Access
from roocloud.lib.ids import new_id
from roocloud.lib.openapi import OBJECT, json_answer
from roocloud.lib.refusals import InvalidInput, NotFound


def _form_body(*fields: str) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in fields}
    return {
        "application/x-www-form-urlencoded": {"type": "object", "properties": properties},
        "application/json": {"type": "object", "properties": properties},
    }


def _fields(request: Request) -> dict[str, Any]:
    django_request = request._request
    return wire.form_or_json(django_request.body, django_request.headers.get("Content-Type", ""))


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput("must be text", field=name)
    return value


def _sign_in(sign_in_id: str) -> dict[str, Any]:
    return {
        "object": "sign_in",
        "id": sign_in_id,
        "status": "needs_first_factor",
        "supported_first_factors": [{"strategy": "oauth_custom"}, {"strategy": "ticket"}],
        "created_session_id": None,
    }


class SignIns(PublicApiView):
    """``/v1/client/sign_ins``"""

    access = Access("public", "the ticket is the credential; the GET form is a constant")

    @extend_schema(request=_form_body("strategy", "ticket"), responses=OBJECT)
    def post(self, request: Request) -> Response:
        """Exchange a ticket. The client token is in the ``Authorization`` response header, bare:
        editors store the header's value as it is (trap 1)."""
        fields = _fields(request)
        if _text(fields, "strategy") != "ticket":
            raise InvalidInput('must be "ticket"', field="strategy")
        code = _text(fields, "ticket")
        if not code:
            raise InvalidInput("is missing", field="ticket")
        made = actions.redeem_ticket(
            code=code, user_agent=request.headers.get("User-Agent", ""), at=timezone.now()
        )
        body = {
            "object": "sign_in",
            "id": new_id("sia"),
            "status": "complete",
            "created_session_id": made.session.pk,
        }
        headers = {"Authorization": made.client_token, "Cache-Control": "no-store"}
        return Response({"response": body, "client": None}, headers=headers)

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        """The form that the self-hosting guide shows; no client calls it."""
        return Response({"response": _sign_in(new_id("sia"))})


class PrepareFirstFactor(PublicApiView):
    """``POST /v1/client/sign_ins/{id}/prepare_first_factor``, of the guide; no client calls it."""

    access = Access("public", "answers where to sign in, which is no secret")

    @extend_schema(request=_form_body("strategy", "redirect_url"), responses=OBJECT)
    def post(self, request: Request, sign_in_id: str) -> Response:
        fields = _fields(request)
        if not sign_in_id.startswith("sia_"):
            raise NotFound("There is no such sign-in")
        if _text(fields, "strategy") != "oauth_custom":
            raise InvalidInput('must be "oauth_custom"', field="strategy")
        query = urlencode({"auth_redirect": _text(fields, "redirect_url")})
        url = f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('extension-sign-in')}?{query}"
        verification = {
            "status": "unverified",
            "strategy": "oauth_custom",
            "external_verification_redirect_url": url,
        }
        return Response(
            {"response": {**_sign_in(sign_in_id), "first_factor_verification": verification}}
        )


class SessionTokens(ClientTokenView):
    """``POST /v1/client/sessions/{id}/tokens``, called by every editor window each 50 s."""

    @extend_schema(
        request=_form_body("_is_native", "organization_id"), responses=json_answer(dict[str, str])
    )
    def post(self, request: Request, session_id: str) -> Response:
        fields = _fields(request)
        organization_id = _text(fields, "organization_id") if "organization_id" in fields else None
        jwt = actions.session_token(
            session=self.client_session,
            session_id=session_id,
            organization_id=organization_id,
            at=timezone.now(),
        )
        return Response({"object": "token", "jwt": jwt}, headers={"Cache-Control": "no-store"})


class RemoveSession(ClientTokenView):
    """``POST /v1/client/sessions/{id}/remove``: sign-out."""

    @extend_schema(request=_form_body("_is_native"), responses=OBJECT)
    def post(self, request: Request, session_id: str) -> Response:
        if session_id != self.client_session.pk:
            raise actions.SessionGone("There is no such session")
        actions.end_session(session=self.client_session, by=self.actor, at=timezone.now())
        body = {"object": "session", "id": session_id, "status": "removed"}
        return Response({"response": body})


def _person(user: User) -> dict[str, Any]:
    """Without nulls but for the names: one elsewhere voids the whole answer (trap 8)."""
    email_id = f"idn_{user.pk.removeprefix('user_')}"
    return {
        "id": user.pk,
        "first_name": user.first_name or None,
        "last_name": user.last_name or None,
        "primary_email_address_id": email_id,
        "email_addresses": [{"id": email_id, "email_address": user.email}],
        "public_metadata": {"extension_bridge_enabled": True},
    }


class Me(ClientTokenView):
    """``GET /v1/me``"""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        return Response({"response": _person(self.client_session.user)})


class Jwks(PublicApiView):
    """``GET /.well-known/jwks.json``: the public keys that verify session tokens."""

    access = Access("public", "public keys")

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        return Response(tokens.jwks(), headers={"Cache-Control": "public, max-age=300"})
