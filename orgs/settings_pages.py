"""The web pages of an organization's settings.

They run code on every member's computer, so a change is made in three steps (O1): look at the
difference, show who you are again, save exactly what was looked at.
"""

import difflib
import json
from typing import Any

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.core.paginator import Paginator
from django.core.signing import Signer
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_http_methods

from accounts.actors import Actor
from orgs import actions
from orgs.forms import RestoreForm, SettingsForm, described
from orgs.models import Organization, SettingsRevision
from orgs.pages import enter_as_admin
from roocloud.lib import wire
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import InvalidInput

Diff = list[tuple[str, str]]

_CONFLICT = (
    "Somebody saved these settings since you opened them. Below is the difference to their version."
)
_NOT_SEEN = "This is not what you last looked at. Look at the difference before you save it."


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def organization_settings(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings``: edit, look at the difference, save."""
    actor, found = enter_as_admin(request, organization_id)
    if request.method != "POST":
        current = _current(found)
        text = _pretty(current.document)
        form = SettingsForm(initial={"document": text, "read_version": current.version})
        return _settings_page(request, found, form)
    form = SettingsForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, found, form)
    if request.POST.get("do") != "save":
        return _preview(request, actor, found, form)
    if not _was_previewed(actor, found, form, form.cleaned_data["document"]):
        return _preview(request, actor, found, form, complaint=_NOT_SEEN)
    response: HttpResponse = _save(request, actor, found, form)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _save(
    request: HttpRequest, actor: Actor, found: Organization, form: SettingsForm
) -> HttpResponse:
    try:
        actions.save_settings(
            organization=found,
            document=form.cleaned_data["document"],
            read_version=form.cleaned_data["read_version"],
            by=actor,
            note=form.cleaned_data["note"],
            at=timezone.now(),
        )
    except actions.VersionConflict:
        return _preview(request, actor, found, form)
    except InvalidInput as refusal:
        form.add_error("document", described(refusal))
        return _settings_page(request, found, form)
    messages.success(request, "Saved. Editors read it within the hour.")
    return redirect("organization-settings", found.pk)


def _preview(
    request: HttpRequest,
    actor: Actor,
    found: Organization,
    form: SettingsForm,
    *,
    complaint: str = "",
) -> HttpResponse:
    """The difference to the version in force now, which is what the next save starts from."""
    current, wanted = _current(found), form.cleaned_data["document"]
    if form.cleaned_data["read_version"] != current.version:
        complaint = _CONFLICT
    if complaint:
        form.add_error(None, complaint)
    shown = request.POST.copy()
    shown["read_version"] = str(current.version)
    shown["previewed"] = _seal(actor, found, current.version, wanted)
    form.data = shown
    diff = _diff(current.document, wanted)
    return _settings_page(request, found, form, diff=diff, status=409 if complaint else 200)


def _settings_page(
    request: HttpRequest,
    found: Organization,
    form: SettingsForm,
    *,
    diff: Diff | None = None,
    status: int = 200,
) -> HttpResponse:
    revisions = SettingsRevision.unscoped.filter(organization=found).order_by("-version")
    context = {
        "organization": found,
        "form": form,
        "diff": diff,
        "current": _current(found),
        "page": Paginator(revisions, 10).get_page(request.GET.get("page")),
    }
    return render(request, "orgs/settings.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def roll_back(request: HttpRequest, organization_id: str, version: int) -> HttpResponse:
    """Look at an earlier version beside the present one, and bring it back."""
    actor, found = enter_as_admin(request, organization_id)
    earlier = get_object_or_404(SettingsRevision.unscoped.filter(organization=found), pk=version)
    if request.method != "POST":
        return _restore_page(request, actor, found, earlier)
    form = RestoreForm(request.POST)
    if not form.is_valid() or not _was_previewed(actor, found, form, earlier.document):
        return _restore_page(request, actor, found, earlier, complaint=_NOT_SEEN)
    response: HttpResponse = _restore(request, actor, found, earlier, form)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _restore(
    request: HttpRequest,
    actor: Actor,
    found: Organization,
    earlier: SettingsRevision,
    form: RestoreForm,
) -> HttpResponse:
    try:
        actions.roll_back(
            organization=found,
            to_version=earlier.version,
            read_version=form.cleaned_data["read_version"],
            by=actor,
            at=timezone.now(),
        )
    except actions.VersionConflict:
        return _restore_page(request, actor, found, earlier, complaint=_CONFLICT)
    messages.success(request, f"Version {earlier.version} is in force again, as a new version.")
    return redirect("organization-settings", found.pk)


def _restore_page(
    request: HttpRequest,
    actor: Actor,
    found: Organization,
    earlier: SettingsRevision,
    *,
    complaint: str = "",
) -> HttpResponse:
    current = _current(found)
    seal = _seal(actor, found, current.version, earlier.document)
    context = {
        "organization": found,
        "earlier": earlier,
        "complaint": complaint,
        "form": RestoreForm(initial={"read_version": current.version, "previewed": seal}),
        "diff": _diff(current.document, earlier.document),
    }
    return render(request, "orgs/roll_back.html", context, status=409 if complaint else 200)


def _current(organization: Organization) -> SettingsRevision:
    current = actions.current_revision(organization)
    if current is None:
        raise LookupError("an organization without settings")
    return current


def _was_previewed(actor: Actor, found: Organization, form: RestoreForm, document: Any) -> bool:
    seal = _seal(actor, found, form.cleaned_data["read_version"], document)
    return constant_time_compare(form.cleaned_data["previewed"], seal)


def _seal(actor: Actor, organization: Organization, read_version: int, document: Any) -> str:
    """Proof that this person was shown what ``document`` changes in ``read_version``."""
    shown = wire.dumps([actor.user_id, organization.pk, read_version, document])
    return Signer(salt="orgs.settings.preview").signature(shown)


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True)


def _diff(before: Any, after: Any) -> Diff:
    """(state, line) of what changes; state is added, removed or empty."""
    lines = difflib.unified_diff(
        _pretty(before).splitlines(), _pretty(after).splitlines(), lineterm="", n=2
    )
    states = {"+": "added", "-": "removed"}
    return [(states.get(line[:1], ""), line) for line in list(lines)[2:]]
