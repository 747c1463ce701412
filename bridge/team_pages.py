"""``/organizations/{id}/editors``: the running editors of an organization's members, for owners and
admins to watch, where its policy lets them. To everybody else these pages do not exist."""

from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import memberships
from accounts.actors import Actor, web_actor
from bridge import overview, rest, watch_events, watching
from bridge.models import Instance
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
    """``/organizations/{id}/editors/{person}/{instanceId}``: one of them. Who opens it watches from
    here on, as over the socket: it says what the editor is at, even if no script follows."""
    actor, at = web_actor(request), timezone.now()
    begun = watching.begin(
        viewer_id=actor.user_id,
        organization_id=organization_id,
        owner_id=user_id,
        instance_id=instance_id,
        signed_on=actor.signed_on,
        at=at,
    )
    if begun is None:
        raise Http404
    _, row = begun
    if isinstance(request, ASGIRequest):  # else there is no event loop, thus no socket
        async_to_sync(_tell_owner)(row)
    [editor] = overview.of_team([row], at=at)
    context = {
        **conversation(actor, editor),
        "editor": editor,
        "team": overview.of_team(overview.team(actor, organization_id, at=at)[:PAGE], at=at),
    }
    return render(request, "bridge/watch.html", context)


async def _tell_owner(row: Instance) -> None:
    """On the event loop of the sockets, from which the view was called."""
    if bridge := rest.serving():
        await watch_events.tell_owners(bridge.hub(), [(row.owner_id, row.instance_id)])


def _name(actor: Actor, organization_id: str) -> str:
    """Raises Http404 for everybody who may not watch there."""
    if not watching.allowed([(actor.user_id, organization_id, actor.signed_on)]):
        raise Http404
    mine = memberships.of(user_id=actor.user_id)
    return next(one.organization_name for one in mine if one.organization_id == organization_id)
