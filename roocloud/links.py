"""Addresses that clients and the public site open, and that this server has under another name
(protocol/tasks-and-telemetry.md §7, §8)."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import BearerView
from roocloud.lib.access import public, signed_in
from roocloud.lib.openapi import OBJECT


@require_safe
@signed_in
def to_home(request: HttpRequest) -> HttpResponse:
    """``/sign-in``, ``/cloud-agents/setup``; who is signed out signs in on the way."""
    return redirect("home")


@require_safe
@signed_in
def to_organizations(request: HttpRequest) -> HttpResponse:
    """``/checkout/team``: a team is an organization."""
    return redirect("organizations")


@require_safe
@public(reason="the way to the sign-up page, which decides who may")
def to_sign_up(request: HttpRequest) -> HttpResponse:
    """``/sign-up``. Its ``redirect_url`` is left out: it names the public site."""
    return redirect("account_signup")


@require_safe
@signed_in
def to_devices(request: HttpRequest) -> HttpResponse:
    """``/accounts/sessions/``: allauth's list of browsers; ours has editors and jobs too."""
    return redirect("devices")


class CloudAgents(BearerView):
    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        """Agents that run on the server: there are none."""
        return Response({"success": True, "data": []})
