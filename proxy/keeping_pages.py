"""The page on which an organization has prompts and answers stored, or not."""

from datetime import timedelta
from typing import Any

from allauth.account.decorators import reauthentication_required
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import queries as people
from accounts.actors import Actor
from orgs.pages import enter_as_admin
from proxy import keeping
from roocloud.lib.access import signed_in

_DEFAULT_DAYS = 30


class KeepingForm(forms.Form):
    keeps = forms.BooleanField(
        required=False, label="Store what members ask and what models answer"
    )
    days = forms.IntegerField(
        label="Days",
        min_value=1,
        max_value=keeping.MAX_DAYS,
        required=False,
        help_text=f"Each is deleted after so many days, 1 to {keeping.MAX_DAYS}.",
    )

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("keeps") and not given.get("days") and "days" not in self.errors:
            self.add_error("days", "Say for how many days.")
        return given

    def days_wanted(self) -> int | None:
        return self.cleaned_data["days"] if self.cleaned_data["keeps"] else None


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def organization_prompts(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/prompts``: for owners and admins. What would delete something asks."""
    actor, found = enter_as_admin(request, organization_id)
    present = keeping.of_organizations([found.pk]).get(found.pk)
    initial = {"keeps": bool(present), "days": present.days if present else _DEFAULT_DAYS}
    form = KeepingForm(request.POST or None, initial=initial)
    context = {"organization": found, "form": form, "keeping": present}
    if request.method != "POST" or not form.is_valid():
        names = people.names([present.changed_by_id]) if present else {}
        context["changed_by"] = names.get(present.changed_by_id, "") if present else ""
        return render(request, "proxy/prompts.html", context)
    days = form.days_wanted()
    if not request.POST.get("confirmed"):
        oldest = timezone.now() - timedelta(days=days) if days else None
        if doomed := keeping.count(found.pk, older_than=oldest):
            return render(request, "proxy/fewer_prompts.html", {**context, "doomed": doomed})
    response: HttpResponse = _save(request, actor, days)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _save(request: HttpRequest, actor: Actor, days: int | None) -> HttpResponse:
    organization_id = actor.organization_id or ""
    keeping.set_days(organization_id=organization_id, days=days, by=actor, at=timezone.now())
    said = f"Prompts and answers are stored for {days} days." if days else "None are stored."
    messages.success(request, said)
    return redirect("organization-prompts", organization_id)
