"""``/organizations/{id}/editors``: the running editors of an organization's members, for owners and
admins to watch, where its policy lets them. To everybody else these pages do not exist."""

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import memberships
from accounts.actors import Actor, web_actor
from bridge import overview, watching
from bridge.pages import conversation
from roocloud.lib.access import signed_in

PAGE = 50


@require_safe
@signed_in
def team(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/editors``"""
    actor, at = web_actor(request), timezone.now()
    name = _name(actor, organization_id)
    rows = overview.team(actor, organization_id, at=at)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    context = {
        "organization_id": organization_id,
        "organization_name": name,
        "page": page,
        "team": overview.of_team(page, at=at),
    }
    return render(request, "bridge/team.html", context)


@require_safe
@signed_in
def watch(
    request: HttpRequest, organization_id: str, user_id: str, instance_id: str
) -> HttpResponse:
    """``/organizations/{id}/editors/{person}/{instanceId}``: one of them."""
    actor, at = web_actor(request), timezone.now()
    rows = watching.instances(actor.user_id, organization_id)
    row = rows.filter(owner_id=user_id, instance_id=instance_id).first()
    if row is None:
        raise Http404
    [editor] = overview.of_team([row], at=at)
    context = {
        **conversation(actor, editor),
        "editor": editor,
        "team": overview.of_team(overview.team(actor, organization_id, at=at)[:PAGE], at=at),
    }
    return render(request, "bridge/watch.html", context)


def _name(actor: Actor, organization_id: str) -> str:
    """Raises Http404 for everybody who may not watch there."""
    if not watching.allowed([(actor.user_id, organization_id)]):
        raise Http404
    mine = memberships.of(user_id=actor.user_id)
    return next(one.organization_name for one in mine if one.organization_id == organization_id)
