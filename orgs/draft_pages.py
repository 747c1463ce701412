"""The web pages of proposed settings: approve, refuse, withdraw; and whether approval is needed."""

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from orgs import actions, policy, texts
from orgs.desk import Desk, desk, seal, was_shown
from orgs.forms import ApprovalForm, RestoreForm, described
from orgs.models import SettingsDraft
from orgs.settings_pages import names, settings_page
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Forbidden, InvalidInput

_STALE = (
    "Somebody saved these settings since this was proposed. Bring it onto their version, and look "
    "at the difference again."
)
_NOT_SEEN = "This is not what you last looked at. Look at the difference before you approve it."


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_draft(request: HttpRequest, organization_id: str, draft_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/drafts/{draft_id}``: what it changes; decide about it."""
    at = desk(request, organization_id)
    rows = SettingsDraft.objects.visible_to(at.actor).exclude(proposed_at=None)
    draft = get_object_or_404(rows.filter(organization=at.organization), pk=draft_id)
    if request.method != "POST" or draft.decided_at is not None:
        return _draft_page(request, at, draft, status=409 if request.method == "POST" else 200)
    done = request.POST.get("do")
    if done == "turn-down":
        actions.turn_down_draft(draft_id=draft.pk, by=at.actor, at=timezone.now())
        messages.success(request, "It will not be in force.")
        return redirect("organization-settings", at.organization.pk)
    if done == "update":
        return _bring_up_to_date(request, at, draft)
    form = RestoreForm(request.POST)
    if not form.is_valid() or not was_shown(
        form.cleaned_data["previewed"],
        at.actor,
        at.organization,
        form.cleaned_data["read_version"],
        draft.document,
    ):
        return _draft_page(request, at, draft, complaint=_NOT_SEEN, status=409)
    response: HttpResponse = _approve(request, at, draft, form)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _approve(
    request: HttpRequest, at: Desk, draft: SettingsDraft, form: RestoreForm
) -> HttpResponse:
    try:
        actions.approve_draft(
            draft_id=draft.pk,
            read_version=form.cleaned_data["read_version"],
            by=at.actor,
            at=timezone.now(),
        )
    except actions.VersionConflict:
        return _draft_page(request, at, draft, complaint=_STALE, status=409)
    except InvalidInput as refusal:
        return _draft_page(request, at, draft, complaint=described(refusal), status=400)
    messages.success(request, "Approved and in force. Editors read it within the hour.")
    return redirect("organization-settings", at.organization.pk)


def _bring_up_to_date(request: HttpRequest, at: Desk, draft: SettingsDraft) -> HttpResponse:
    try:
        actions.bring_up_to_date(draft_id=draft.pk, by=at.actor, at=timezone.now())
    except InvalidInput as refusal:
        complaint = f"Both together are no valid settings. {described(refusal)}"
        return _draft_page(request, at, draft, complaint=complaint, status=409)
    messages.success(request, f"It now follows version {at.current.version}.")
    return redirect("settings-draft", at.organization.pk, draft.pk)


def _draft_page(
    request: HttpRequest,
    at: Desk,
    draft: SettingsDraft,
    *,
    complaint: str = "",
    status: int = 200,
) -> HttpResponse:
    version = at.current.version
    is_stale = draft.decided_at is None and draft.base_version != version
    shown = seal(at.actor, at.organization, version, draft.document)
    context = {
        "draft": draft,
        "is_stale": is_stale,
        "is_mine": draft.author_id == at.actor.user_id,
        "complaint": complaint or (_STALE if is_stale else ""),
        "names": names({draft.author_id, draft.decided_by_id}),
        "form": RestoreForm(initial={"read_version": version, "previewed": shown}),
        "diff": texts.difference(at.current.document, draft.document),
    }
    return settings_page(request, at, "orgs/settings_draft.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_approval(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/approval``: owners demand a second admin, or do not."""
    at = desk(request, organization_id)
    if not policy.is_owner(at.actor):
        raise Forbidden("This page is for owners of the organization")
    is_post = request.method == "POST"
    is_demanded = at.organization.settings_need_approval
    form = ApprovalForm(request.POST if is_post else None, initial={"is_demanded": is_demanded})
    if is_post and form.is_valid():
        response: HttpResponse = _switch(request, at, is_demanded=form.cleaned_data["is_demanded"])
        return response
    return settings_page(request, at, "orgs/settings_approval.html", {"form": form})


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _switch(request: HttpRequest, at: Desk, *, is_demanded: bool) -> HttpResponse:
    actions.demand_approval(
        organization=at.organization, is_demanded=is_demanded, by=at.actor, at=timezone.now()
    )
    said = "needs" if is_demanded else "does not need"
    messages.success(request, f"A change now {said} a second admin.")
    return redirect("organization-settings", at.organization.pk)
