"""``/roomote/devices``: the phones and companions of a person, as pages."""

import base64
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

import qrcode
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from qrcode.image.svg import SvgPathImage

from accounts import fresh
from accounts.actors import Actor, web_actor
from bridge.devices import queue, registry
from bridge.devices.models import Device, QueuedCommand
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Conflict, Forbidden

_PER_PAGE = 50
_WORDS = {
    "new_task": "Start of a task",
    "user_message": "Message",
    "abort_task": "Stop of a task",
    "pause_task": "Pause of a task",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command in a device's queue, as its page shows it."""

    row: QueuedCommand

    @property
    def title(self) -> str:
        return _WORDS.get(self.row.kind, self.row.kind)

    @property
    def is_pending(self) -> bool:
        return self.row.state == QueuedCommand.State.PENDING


@require_safe
@signed_in
def devices(request: HttpRequest) -> HttpResponse:
    """``/roomote/devices``: all of them."""
    at = timezone.now()
    found = registry.mine(web_actor(request))
    listed = [(device, device.is_connected(at)) for device in found]
    return render(request, "bridge/devices.html", {"devices": listed})


@require_safe
@signed_in
def device(request: HttpRequest, device_pk: str) -> HttpResponse:
    """``/roomote/devices/{id}``: one, with what waits for it."""
    actor, at = web_actor(request), timezone.now()
    found = _find(actor, device_pk)
    page = Paginator(queue.waiting(actor, found), _PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "device": found,
        "is_online": found.is_connected(at),
        "may_command": registry.standing_of(found, at=at).may_command,
        "waiting": [Waiting(row) for row in page],
        "page": page,
    }
    return render(request, "bridge/device.html", context)


def _find(actor: Actor, device_pk: str) -> Device:
    return get_object_or_404(Device.objects.visible_to(actor).alive(), pk=device_pk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def pair(request: HttpRequest) -> HttpResponse:
    """``/roomote/devices/pair``: shows a code, and another before that is too old. Without a script
    a button does."""
    at = timezone.now()
    if not fresh.is_fresh(request, at=at):
        return fresh.ask_again(request, at=at)
    context: dict[str, object] = {"since": int(at.timestamp() * 1000)}
    if request.method == "POST":
        context |= _shown(web_actor(request), at=at)
    return render(request, "bridge/pair.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def code(request: HttpRequest) -> JsonResponse:
    """``POST /roomote/devices/pair/code``: a code. ``GET ?since=``: whether one was claimed since
    then, in milliseconds, and by what."""
    actor, at = web_actor(request), timezone.now()
    if request.method == "POST":
        if not fresh.is_fresh(request, at=at):
            raise Forbidden("Show who you are again")
        return JsonResponse(_shown(actor, at=at))
    since = request.GET.get("since", "")
    seconds = int(since) / 1000 if since.isdecimal() and len(since) < 15 else 0
    since_at = datetime.fromtimestamp(seconds, at.tzinfo)
    found = registry.paired_since(by=actor, since=since_at)
    if found is None:
        return JsonResponse({"name": None})
    return JsonResponse({"name": found.name, "url": reverse("paired-device", args=[found.pk])})


def _shown(actor: Actor, *, at: datetime) -> dict[str, str]:
    """A new code: its address for cameras, as text and as picture."""
    _, secret = registry.make_code(by=actor, at=at)
    # Behind the #, which no browser sends and no log has.
    address = f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('roomote')}#pair={secret}"
    drawn = BytesIO()
    qrcode.make(address, image_factory=SvgPathImage).save(drawn)
    image = base64.b64encode(drawn.getvalue()).decode()
    return {"address": address, "image": f"data:image/svg+xml;base64,{image}"}


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def confirm(request: HttpRequest, device_pk: str) -> HttpResponse:
    """Vouch for a device again, after a fresh sign-in."""
    actor, at = web_actor(request), timezone.now()
    found = _find(actor, device_pk)
    if not fresh.is_fresh(request, at=at):
        return fresh.ask_again(request, at=at)
    if request.method != "POST":
        return render(request, "bridge/confirm_device.html", {"device": found})
    registry.confirm(device=found, by=actor, at=at)
    messages.success(request, f"{found.name} may send commands again.")
    return redirect("paired-device", found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def remove(request: HttpRequest, device_pk: str) -> HttpResponse:
    """Ask, then end a device."""
    actor = web_actor(request)
    found = _find(actor, device_pk)
    if request.method != "POST":
        return render(request, "bridge/remove_device.html", {"device": found})
    registry.remove(device=found, by=actor, at=timezone.now())
    messages.success(request, f"{found.name} is removed.")
    return redirect("paired-devices")


@require_POST
@signed_in
def cancel(request: HttpRequest, device_pk: str, key: str) -> HttpResponse:
    """Take back a command that waits for a device."""
    actor = web_actor(request)
    found = _find(actor, device_pk)
    try:
        queue.cancel(device=found, key=key, by=actor, at=timezone.now())
    except Conflict:
        messages.warning(request, "It went out already, and cannot be taken back.")
    else:
        messages.success(request, "Taken back.")
    return redirect("paired-device", found.pk)
