"""``/account/data``: what is stored about a person, to take along and to have deleted (L3)."""

from collections.abc import AsyncGenerator

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import erasure, fresh
from accounts.actors import web_actor
from accounts.forms import EraseForm
from audit import actions as audit
from roocloud.lib import personal
from roocloud.lib.access import signed_in
from roocloud.lib.threads import run_db


@never_cache
@require_safe
@signed_in
def my_data(request: HttpRequest) -> HttpResponse:
    """``/account/data``"""
    actor = web_actor(request)
    context = {
        "erasure": erasure.pending(actor.user_id),
        "obstacles": personal.obstacles(actor.user_id),
        "waits": erasure.WAITS,
    }
    return render(request, "accounts/my_data.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def export(request: HttpRequest) -> HttpResponseBase:
    """``/account/data/export``: asks who it is, then all of the person's data, streamed: a line of
    JSON for each thing."""
    actor, at = web_actor(request), timezone.now()
    if not fresh.is_fresh(request, at=at):
        return fresh.ask_again(request, at=at)
    if request.method != "POST":
        return render(request, "accounts/export_data.html")
    audit.record(
        action="user.exported", actor=actor, target_kind="user", target_id=actor.user_id, at=at
    )

    async def pieces() -> AsyncGenerator[str, None]:
        # In batches on the bounded pool: an export that is read slowly holds no connection.
        for holding in personal.holdings():
            cursor = None
            while True:
                lines, cursor = await run_db(personal.lines, actor.user_id, holding, cursor)
                for line in lines:
                    yield line
                if cursor is None:
                    break

    return StreamingHttpResponse(
        pieces(),
        content_type="application/x-ndjson; charset=utf-8",
        headers={
            "Content-Disposition": 'attachment; filename="my-data.ndjson"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def erase(request: HttpRequest) -> HttpResponse:
    """``/account/data/erase``: asks who it is and whether they mean it. It is done in a week."""
    actor, at = web_actor(request), timezone.now()
    if not fresh.is_fresh(request, at=at):
        return fresh.ask_again(request, at=at)
    form = EraseForm(request.POST or None, email=request.user.email)  # type: ignore[union-attr]  # behind @signed_in
    if request.method == "POST" and form.is_valid():
        try:
            row = erasure.ask(by=actor, at=at)
        except erasure.Obstructed as refused:
            form.add_error(None, refused.message)
        else:
            messages.warning(request, f"Your account will be deleted on {row.due_at:%-d %B %Y}.")
            return redirect("my-data")
    return render(request, "accounts/erase.html", {"form": form, "waits": erasure.WAITS})


@require_POST
@signed_in
def keep(request: HttpRequest) -> HttpResponse:
    """``/account/data/keep``: takes it back."""
    erasure.take_back(by=web_actor(request), at=timezone.now())
    messages.success(request, "Your account stays as it is.")
    return redirect("my-data")
