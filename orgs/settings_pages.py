"""The web pages of an organization's settings."""

import difflib
import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from orgs import actions, documents
from orgs.forms import SettingsForm
from orgs.models import SettingsRevision
from orgs.pages import enter_as_admin
from roocloud.lib import wire
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Refusal


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True)


def _diff(before: Any, after: Any) -> list[tuple[str, str]]:
    """(state, line) of what changes; state is added, removed or empty."""
    lines = difflib.unified_diff(
        _pretty(before).splitlines(), _pretty(after).splitlines(), lineterm="", n=2
    )
    states = {"+": "added", "-": "removed"}
    return [(states.get(line[:1], ""), line) for line in list(lines)[2:]]


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def organization_settings(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings``: edit, look at the difference, save."""
    actor, found = enter_as_admin(request, organization_id)
    current = actions.current_revision(found)
    if current is None:
        raise LookupError("an organization without settings")
    initial = {"document": _pretty(current.document), "read_version": current.version}
    form = SettingsForm(request.POST or None, initial=initial)
    diff: list[tuple[str, str]] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            document = wire.loads(form.cleaned_data["document"].encode("utf-8", "surrogatepass"))
            if request.POST.get("do") == "save":
                actions.save_settings(
                    organization=found,
                    document=document,
                    read_version=form.cleaned_data["read_version"],
                    by=actor,
                    note=form.cleaned_data["note"],
                    at=timezone.now(),
                )
                messages.success(request, "Saved. Editors read it within the hour.")
                return redirect("organization-settings", found.pk)
            diff = _diff(current.document, documents.dump(documents.parse(document)))
        except Refusal as refusal:
            where = f"{refusal.field}: " if refusal.field else ""
            form.add_error("document", f"{where}{refusal.message}")
    revisions = SettingsRevision.unscoped.filter(organization=found).order_by("-version")
    context = {
        "organization": found,
        "form": form,
        "diff": diff,
        "current": current,
        "page": Paginator(revisions, 10).get_page(request.GET.get("page")),
    }
    return render(request, "orgs/settings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def roll_back(request: HttpRequest, organization_id: str, version: int) -> HttpResponse:
    """Look at an earlier version beside the present one, and bring it back."""
    actor, found = enter_as_admin(request, organization_id)
    current = actions.current_revision(found)
    earlier = get_object_or_404(SettingsRevision.unscoped.filter(organization=found), pk=version)
    if current is None:
        raise LookupError("an organization without settings")
    if request.method == "POST":
        actions.roll_back(
            organization=found,
            to_version=version,
            read_version=current.version,
            by=actor,
            at=timezone.now(),
        )
        messages.success(request, f"Version {version} is in force again, as a new version.")
        return redirect("organization-settings", found.pk)
    context = {
        "organization": found,
        "earlier": earlier,
        "diff": _diff(current.document, earlier.document),
    }
    return render(request, "orgs/roll_back.html", context)
