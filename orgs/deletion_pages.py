"""The web pages of an organization's export and end. For owners."""

from collections.abc import AsyncGenerator

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.actors import Actor
from audit import actions as audit
from orgs import actions, estate, policy
from orgs.forms import DeleteForm, refuse
from orgs.models import Organization
from orgs.pages import enter
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Forbidden, InvalidInput
from roocloud.lib.threads import run_db


def _enter(request: HttpRequest, organization_id: str) -> tuple[Actor, Organization]:
    actor, found = enter(request, organization_id)
    if not policy.is_owner(actor):
        raise Forbidden("This page is for owners of the organization")
    return actor, found


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/delete``: to ask for it, and to take it back."""
    actor, found = _enter(request, organization_id)
    do = request.POST.get("do")
    if do == "keep":
        actions.take_back_deletion(organization=found, by=actor, at=timezone.now())
        messages.success(request, f"{found.name} stays.")
        return redirect("organization-general", found.pk)
    form = DeleteForm(request.POST if do == "delete" else None)
    if do == "delete" and form.is_valid():
        response: HttpResponse = _ask(request, actor, found, form)
        return response
    return _page(request, found, form)


def _page(request: HttpRequest, found: Organization, form: DeleteForm) -> HttpResponse:
    context = {
        "organization": found,
        "form": form,
        "wait_days": settings.ROOCLOUD_DELETION_WAIT.days,
    }
    return render(request, "orgs/delete.html", context, status=400 if form.errors else 200)


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _ask(request: HttpRequest, actor: Actor, found: Organization, form: DeleteForm) -> HttpResponse:
    try:
        due_at = actions.ask_deletion(
            organization=found, typed=form.cleaned_data["name"], by=actor, at=timezone.now()
        )
    except InvalidInput as refusal:
        refuse(form, refusal)
        return _page(request, found, form)
    messages.warning(request, f"{found.name} is to be deleted on {due_at:%-d %B %Y}.")
    return redirect("delete-organization", found.pk)


@require_safe
@signed_in
def export(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/export``: everything that it owns, streamed as a ZIP archive."""
    actor, found = _enter(request, organization_id)
    response: HttpResponse = _export(request, actor, found)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _export(request: HttpRequest, actor: Actor, found: Organization) -> StreamingHttpResponse:
    at = timezone.now()
    audit.record(
        action="organization.exported",
        actor=actor,
        target_kind="organization",
        target_id=found.pk,
        at=at,
    )
    pieces = estate.zipped(actor, at=at)

    async def body() -> AsyncGenerator[bytes, None]:
        # Piece by piece on the bounded pool: an export that is read slowly holds no connection.
        while (piece := await run_db(next, pieces, None)) is not None:
            yield piece

    return StreamingHttpResponse(
        body(),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{found.slug}-{at:%Y-%m-%d}.zip"',
            "Cache-Control": "no-store",
        },
    )
