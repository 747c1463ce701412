"""``/roomote``: remote control as pages. They are whole without a script, but only to be read: what
happens, and what is sent, goes over the socket."""

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.actors import Actor, web_actor
from bridge import overview
from bridge.overview import Editor, State
from orgs import queries as orgs
from roocloud.lib.access import signed_in
from tasks_sharing import news
from tasks_sharing import queries as tasks

#: Tasks of an editor's history that are offered to be resumed.
_MOST_EARLIER = 30
_LAST_PART = "1000000"


@require_safe
@signed_in
def roomote(request: HttpRequest) -> HttpResponse:
    """``/roomote``: the editors of whoever is signed in."""
    actor = web_actor(request)
    context = _listed(actor, at=timezone.now())
    context["watched_in"] = orgs.watched_organizations(actor.user_id)
    return render(request, "bridge/roomote.html", context)


@require_safe
@signed_in
def editor(request: HttpRequest, instance_id: str) -> HttpResponse:
    """``/roomote/{instanceId}``: one of them, with the conversation of its task."""
    actor, at = web_actor(request), timezone.now()
    found = overview.find(actor, instance_id, at=at)
    if found is None:
        raise Http404
    context = {
        **_listed(actor, at=at),
        **conversation(actor, found),
        "editor": found,
        "earlier": _earlier(actor, found),
    }
    return render(request, "bridge/editor.html", context)


def _listed(actor: Actor, *, at: datetime) -> dict[str, Any]:
    """The editors in the parts of the list, each part with its heading, empty ones too; and the
    starts that wait for one."""
    editors = overview.editors(actor, at=at)
    headings = {
        State.NEEDS: "Needs you",
        State.RUNNING: "Running",
        State.IDLE: "Idle",
        State.OFFLINE: "Offline",
    }
    parts = [
        (state, heading, [one for one in editors if one.state is state])
        for state, heading in headings.items()
    ]
    return {"parts": parts, "is_empty": not editors, "waiting": overview.waiting(actor)}


def conversation(actor: Actor, editor: Editor) -> dict[str, Any]:
    """What the page of its task shows last; nothing where none is open or stored, and where it is
    not the one that the actor gets under this id."""
    task = tasks.find_task(task_id=editor.task_id, viewer_id=actor.user_id)
    if task is None or task.owner_id != editor.row.owner_id:
        return {"task": None}
    transcript = news.transcript_of(task)
    page = transcript.page(_LAST_PART)
    return {
        "task": transcript.task,
        "transcript": transcript,
        "span": transcript.span,
        "page": page,
        "window": transcript.window(page),
    }


def _earlier(actor: Actor, editor: Editor) -> list[tuple[str, str]]:
    """(task id, title) of what the editor can take up again, as far as it is known here."""
    ids = [pk for pk in editor.instance.task_history if pk != editor.task_id][:_MOST_EARLIER]
    titles = tasks.titles(actor, ids)
    return [(pk, titles[pk] or "Task without a prompt") for pk in ids if pk in titles]


# --- To be installed ----------------------------------------------------------------------------


@require_safe
@signed_in
def manifest(request: HttpRequest) -> JsonResponse:
    """``/roomote/manifest.webmanifest``"""
    icons = [
        {"src": static("images/roomote.svg"), "sizes": "any", "type": "image/svg+xml"},
        {"src": static("images/roomote-192.png"), "sizes": "192x192", "type": "image/png"},
        {"src": static("images/roomote-512.png"), "sizes": "512x512", "type": "image/png"},
        {
            "src": static("images/roomote-maskable.png"),
            "sizes": "512x512",
            "type": "image/png",
            "purpose": "maskable",
        },
    ]
    start = reverse("roomote")
    document = {
        "id": start,
        "name": "Roomote",
        "short_name": "Roomote",
        "description": "Your running editors, on your phone",
        "start_url": start,
        "scope": start,
        "display": "standalone",
        "background_color": "#f7f4ed",
        "theme_color": "#1f5f4f",
        "icons": icons,
    }
    return JsonResponse(document, content_type="application/manifest+json")


@require_safe
@signed_in
def worker(request: HttpRequest) -> HttpResponse:
    """``/roomote/worker.js``: the service worker. It may serve ``/roomote`` itself, which is above
    its own folder."""
    answer = render(request, "bridge/worker.js", content_type="text/javascript")
    answer.headers["Service-Worker-Allowed"] = reverse("roomote")
    return answer


@require_safe
@signed_in
def offline(request: HttpRequest) -> HttpResponse:
    """``/roomote/offline``: what the service worker shows while the server cannot be reached. It
    is kept on the device, so it says nothing about anybody."""
    return render(request, "bridge/offline.html")
